/** Kafka's codes for what the group room answers, and small pieces that its handlers share. */
import type { GroupError } from "../group/group-types.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { ZERO_UUID } from "../protocol/reader.ts";
import type { RequestContext } from "./handler.ts";
import type { ApiServices } from "./services.ts";

const GROUP_ERROR_CODES: Readonly<Record<GroupError, number>> = {
  "not-coordinator": ErrorCodes.NOT_COORDINATOR,
  loading: ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS,
  "not-available": ErrorCodes.COORDINATOR_NOT_AVAILABLE,
  "unknown-member": ErrorCodes.UNKNOWN_MEMBER_ID,
  "fenced-instance": ErrorCodes.FENCED_INSTANCE_ID,
  "illegal-generation": ErrorCodes.ILLEGAL_GENERATION,
  "rebalance-in-progress": ErrorCodes.REBALANCE_IN_PROGRESS,
  "inconsistent-protocol": ErrorCodes.INCONSISTENT_GROUP_PROTOCOL,
  "group-full": ErrorCodes.GROUP_MAX_SIZE_REACHED,
  "member-id-required": ErrorCodes.MEMBER_ID_REQUIRED,
  "group-not-found": ErrorCodes.GROUP_ID_NOT_FOUND,
  "non-empty-group": ErrorCodes.NON_EMPTY_GROUP,
  "subscribed-to-topic": ErrorCodes.GROUP_SUBSCRIBED_TO_TOPIC,
  "metadata-too-large": ErrorCodes.OFFSET_METADATA_TOO_LARGE,
  // As Kafka answers a group whose state its log refuses (RECORD_LIST_TOO_LARGE, MESSAGE_TOO_LARGE): no client can do anything about it.
  "record-too-large": ErrorCodes.UNKNOWN_SERVER_ERROR,
  "stale-producer-epoch": ErrorCodes.INVALID_PRODUCER_EPOCH,
  "invalid-transaction-state": ErrorCodes.INVALID_TXN_STATE,
  "fenced-member-epoch": ErrorCodes.FENCED_MEMBER_EPOCH,
  "stale-member-epoch": ErrorCodes.STALE_MEMBER_EPOCH,
  "unreleased-instance": ErrorCodes.UNRELEASED_INSTANCE_ID,
  "invalid-regular-expression": ErrorCodes.INVALID_REGULAR_EXPRESSION,
  "unsupported-version": ErrorCodes.UNSUPPORTED_VERSION,
};

export function groupErrorCode(error: GroupError | undefined): number {
  return error === undefined ? ErrorCodes.NONE : GROUP_ERROR_CODES[error];
}

/** `group.version` 1 is finalised and `group.coordinator.rebalance.protocols` names the consumer protocol. */
export function isConsumerProtocolServed({ config, metadata }: ApiServices): boolean {
  const isEnabled = config
    .get("group.coordinator.rebalance.protocols")
    .split(",")
    .some((name) => name.trim() === "consumer");
  return isEnabled && (metadata.image.getFinalizedFeatures().get("group.version") ?? 0) >= 1;
}

/** Bit field of READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS (KIP-430): all that a group knows. There is no authoriser yet. */
export const GROUP_OPERATIONS = (1 << 3) | (1 << 6) | (1 << 8) | (1 << 10) | (1 << 11);

/** As Java writes an InetAddress: "/127.0.0.1". */
export function clientHostOf(context: RequestContext): string {
  const { remoteAddress } = context.connection;
  const host = remoteAddress.slice(0, remoteAddress.lastIndexOf(":"));
  return `/${host.replace(/^\[|\]$/g, "")}`;
}

export interface NamedTopic {
  readonly name: string;
  readonly topicId: string;
}

/** A topic that a request names, or gives the id of (`byId`); undefined when there is none. */
export function resolveTopic(services: ApiServices, topic: NamedTopic, byId: boolean): NamedTopic | undefined {
  const { image } = services.metadata;
  return byId ? image.getTopicById(topic.topicId) : image.getTopic(topic.name);
}

/** The id of a topic that may be unknown. */
export function topicIdOf(services: ApiServices, name: string): string {
  return services.metadata.image.getTopic(name)?.topicId ?? ZERO_UUID;
}
