/**
 * ConsumerGroupHeartbeat (key 68), versions 0-1 (KIP-848).
 *
 * Behaviour: joins (epoch 0), keeps alive, reports what is owned, is told what to own, leaves (-1, and -2 for static members that will be back). Answered when what
 * it tells is durable. From v1 the client makes the member id, and may subscribe by a pattern in RE2's syntax.
 *
 * Not done: authorisation.
 */
import { readConsumerAssignors } from "../config/group-checks.ts";
import { type Assignment, isRefusal, type Refusal } from "../group/consumer/consumer-group-types.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type ConsumerGroupHeartbeatRequest,
  type ConsumerGroupHeartbeatResponse,
  consumerGroupHeartbeatApi,
  newAssignment,
  newConsumerGroupHeartbeatResponse,
  newConsumerGroupHeartbeatResponseTopicPartitions,
} from "../protocol/messages/consumer-group-heartbeat.ts";
import { clientHostOf, groupErrorCode, isConsumerProtocolServed } from "./group-answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

/** From here on the client makes the member id. */
const FIRST_WITH_CLIENT_MEMBER_ID = 1;
const STATIC_LEAVE_EPOCH = -2;
const LONGEST_STRING_BYTES = 32_767;

export class ConsumerGroupHeartbeatHandler implements SerialHandler<ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse> {
  readonly kind = "serial";
  readonly api = consumerGroupHeartbeatApi;
  readonly minVersion = 0;
  readonly maxVersion = 1;
  readonly #services: ApiServices;
  readonly #assignors: readonly string[];

  constructor(services: ApiServices) {
    this.#services = services;
    this.#assignors = readConsumerAssignors(services.config.get("group.consumer.assignors"));
  }

  async handle(request: ConsumerGroupHeartbeatRequest, context: RequestContext): Promise<ConsumerGroupHeartbeatResponse> {
    if (!isConsumerProtocolServed(this.#services)) {
      return newConsumerGroupHeartbeatResponse({ errorCode: ErrorCodes.UNSUPPORTED_VERSION });
    }
    const invalid = this.#findInvalid(request, context.apiVersion);
    if (invalid !== undefined) return newConsumerGroupHeartbeatResponse(invalid);
    const answer = await this.#services.groups.heartbeatConsumer({
      groupId: request.groupId,
      memberId: request.memberId === "" ? this.#services.groups.newMemberId() : request.memberId,
      memberEpoch: request.memberEpoch,
      instanceId: request.instanceId ?? undefined,
      rackId: request.rackId ?? undefined,
      clientId: context.clientId ?? "",
      clientHost: clientHostOf(context),
      rebalanceTimeoutMs: request.rebalanceTimeoutMs === -1 ? undefined : request.rebalanceTimeoutMs,
      topics: request.subscribedTopicNames ?? undefined,
      pattern: request.subscribedTopicRegex ?? undefined,
      serverAssignor: request.serverAssignor ?? undefined,
      owned: toOwned(request),
    });
    if (isRefusal(answer)) return refuse(answer);
    const { memberId, memberEpoch, heartbeatIntervalMs, assignment } = answer;
    return newConsumerGroupHeartbeatResponse({
      memberId,
      memberEpoch,
      heartbeatIntervalMs,
      assignment: assignment === undefined ? null : toAssignment(assignment),
    });
  }

  #findInvalid(request: ConsumerGroupHeartbeatRequest, apiVersion: number): ErrorFields | undefined {
    const { memberEpoch, serverAssignor } = request;
    const needsMemberId = apiVersion >= FIRST_WITH_CLIENT_MEMBER_ID || memberEpoch > 0 || memberEpoch === -1;
    const errorMessage = findInvalid(request, needsMemberId);
    if (errorMessage !== undefined) return { errorCode: ErrorCodes.INVALID_REQUEST, errorMessage };
    if (serverAssignor === null || this.#assignors.includes(serverAssignor)) return undefined;
    const message = `ServerAssignor ${serverAssignor} is not supported. Supported assignors: ${this.#assignors.join(", ")}.`;
    return withMessage(ErrorCodes.UNSUPPORTED_ASSIGNOR, message);
  }
}

/** In Kafka's words and order; undefined when there is nothing to say. */
function findInvalid(request: ConsumerGroupHeartbeatRequest, needsMemberId: boolean): string | undefined {
  const { memberEpoch } = request;
  if (needsMemberId && isBlank(request.memberId)) return "MemberId can't be empty.";
  if (isBlank(request.groupId)) return "GroupId can't be empty.";
  if (request.instanceId !== null && isBlank(request.instanceId)) return "InstanceId can't be empty.";
  if (request.rackId !== null && isBlank(request.rackId)) return "RackId can't be empty.";
  if (memberEpoch === 0) {
    if (request.rebalanceTimeoutMs === -1) return "RebalanceTimeoutMs must be provided in first request.";
    if (request.topicPartitions === null || request.topicPartitions.length > 0) return "TopicPartitions must be empty when (re-)joining.";
    if (request.subscribedTopicNames === null && request.subscribedTopicRegex === null) {
      return "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.";
    }
    return undefined;
  }
  if (memberEpoch === STATIC_LEAVE_EPOCH) return request.instanceId === null ? "InstanceId can't be null." : undefined;
  return memberEpoch < STATIC_LEAVE_EPOCH ? "MemberEpoch is invalid." : undefined;
}

/** Nothing but what Java's String.trim takes away: control characters and blanks, not other white space. */
function isBlank(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x20) return false;
  return true;
}

function refuse({ error, message }: Refusal): ConsumerGroupHeartbeatResponse {
  return newConsumerGroupHeartbeatResponse(withMessage(groupErrorCode(error), message));
}

interface ErrorFields {
  readonly errorCode: number;
  readonly errorMessage: string | null;
}

/** A message in which a name of the request makes too long a string is what Kafka fails on, too. */
function withMessage(errorCode: number, message: string): ErrorFields {
  if (Buffer.byteLength(message) > LONGEST_STRING_BYTES) return { errorCode: ErrorCodes.UNKNOWN_SERVER_ERROR, errorMessage: null };
  return { errorCode, errorMessage: message === "" ? null : message };
}

function toOwned({ topicPartitions }: ConsumerGroupHeartbeatRequest): Assignment | undefined {
  return topicPartitions === null ? undefined : new Map(topicPartitions.map(({ topicId, partitions }) => [topicId, partitions]));
}

function toAssignment(assignment: Assignment) {
  return newAssignment({
    topicPartitions: Array.from(assignment, ([topicId, partitions]) =>
      newConsumerGroupHeartbeatResponseTopicPartitions({ topicId, partitions: [...partitions] }),
    ),
  });
}
