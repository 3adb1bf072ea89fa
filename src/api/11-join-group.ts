/**
 * JoinGroup (key 11), versions 0-9.
 *
 * Behaviour: Kafka's classic group (KIP-134 initial delay, KIP-345 static members, KIP-394 member id required from v4, KIP-814 skipped assignment from
 * v9). The answer waits until the rebalance has its members; the connection waits with it, as in Kafka.
 *
 * A group of the consumer protocol answers its classic members too (KIP-848 migration). Not done: authorisation.
 */
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type JoinGroupRequest,
  type JoinGroupResponse,
  joinGroupApi,
  newJoinGroupResponse,
  newJoinGroupResponseMember,
} from "../protocol/messages/join-group.ts";
import { clientHostOf, groupErrorCode } from "./group-answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

export class JoinGroupHandler implements SerialHandler<JoinGroupRequest, JoinGroupResponse> {
  readonly kind = "serial";
  readonly api = joinGroupApi;
  readonly minVersion = 0;
  readonly maxVersion = 9;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: JoinGroupRequest, context: RequestContext): Promise<JoinGroupResponse> {
    const { groupId, memberId, sessionTimeoutMs, protocolType, protocols } = request;
    const { apiVersion } = context;
    const refusal = this.#findRefusal(request);
    // Below v7 a name must be there.
    const noName = apiVersion >= 7 ? null : "";
    if (refusal !== ErrorCodes.NONE) return newJoinGroupResponse({ errorCode: refusal, memberId, protocolName: noName });
    const answer = await this.#services.groups.join({
      groupId,
      memberId,
      groupInstanceId: request.groupInstanceId ?? undefined,
      clientId: context.clientId ?? "",
      clientHost: clientHostOf(context),
      protocolType,
      protocols,
      sessionTimeoutMs,
      rebalanceTimeoutMs: apiVersion === 0 ? sessionTimeoutMs : request.rebalanceTimeoutMs,
      requiresKnownMemberId: apiVersion >= 4,
      supportsSkippingAssignment: apiVersion >= 9,
    });
    return newJoinGroupResponse({
      errorCode: groupErrorCode(answer.error),
      generationId: answer.generation,
      protocolType: answer.protocolType ?? null,
      protocolName: answer.protocolName ?? noName,
      leader: answer.leaderId,
      skipAssignment: answer.skipAssignment,
      memberId: answer.memberId,
      members: answer.members.map((member) =>
        newJoinGroupResponseMember({
          memberId: member.memberId,
          groupInstanceId: member.groupInstanceId ?? null,
          metadata: member.metadata,
        }),
      ),
    });
  }

  #findRefusal({ groupId, sessionTimeoutMs, memberId, groupInstanceId }: JoinGroupRequest): number {
    const { config } = this.#services;
    if (groupId === "") return ErrorCodes.INVALID_GROUP_ID;
    const isInRange =
      sessionTimeoutMs >= config.getNumber("group.min.session.timeout.ms") &&
      sessionTimeoutMs <= config.getNumber("group.max.session.timeout.ms");
    if (!isInRange) return ErrorCodes.INVALID_SESSION_TIMEOUT;
    return memberId === "" && groupInstanceId === "" ? ErrorCodes.INVALID_REQUEST : ErrorCodes.NONE;
  }
}
