/**
 * The records of consumer groups in __consumer_offsets (KIP-848), in Kafka 4.4's formats, value version 0 each:
 *
 *     key type 3   ConsumerGroupMetadata                   the group's epoch and the hash of its topics' metadata
 *     key type 5   ConsumerGroupMemberMetadata             what a member says of itself
 *     key type 6   ConsumerGroupTargetAssignmentMetadata   the epoch of the target, and when it was made
 *     key type 7   ConsumerGroupTargetAssignmentMember     a member's target
 *     key type 8   ConsumerGroupCurrentMemberAssignment    how far a member has come
 *     key type 16  ConsumerGroupRegularExpression          the topics that a pattern matched
 *
 * Key type 4 (ConsumerGroupPartitionMetadata) was written before Kafka 4.1; the hash has taken its place, and it says nothing that is needed.
 */
import { copyBytes } from "../../base/copy-bytes.ts";
import { decodeRecordKey, decodeRecordValue, encodeRecordKey, encodeRecordValue } from "../../protocol/coordinator-record.ts";
import {
  type ConsumerGroupCurrentMemberAssignmentValue,
  consumerGroupCurrentMemberAssignmentRecord,
  newTopicPartitions,
  type TopicPartitions,
} from "../../protocol/messages/records/consumer-group-current-member-assignment.ts";
import {
  type ConsumerGroupMemberMetadataValue,
  consumerGroupMemberMetadataRecord,
  newClassicMemberMetadata,
  newClassicProtocol,
  newConsumerGroupMemberMetadataValue,
} from "../../protocol/messages/records/consumer-group-member-metadata.ts";
import { consumerGroupMetadataRecord, newConsumerGroupMetadataValue } from "../../protocol/messages/records/consumer-group-metadata.ts";
import { consumerGroupPartitionMetadataRecord } from "../../protocol/messages/records/consumer-group-partition-metadata.ts";
import {
  consumerGroupRegularExpressionRecord,
  newConsumerGroupRegularExpressionValue,
} from "../../protocol/messages/records/consumer-group-regular-expression.ts";
import {
  consumerGroupTargetAssignmentMemberRecord,
  newConsumerGroupTargetAssignmentMemberValue,
  newTopicPartition,
} from "../../protocol/messages/records/consumer-group-target-assignment-member.ts";
import {
  consumerGroupTargetAssignmentMetadataRecord,
  newConsumerGroupTargetAssignmentMetadataValue,
} from "../../protocol/messages/records/consumer-group-target-assignment-metadata.ts";
import type { GroupRecord } from "../group-types.ts";
import {
  type GroupChange,
  MEMBER_STATES,
  type MemberProgress,
  type MemberState,
  type MemberSubscription,
  type OwnedPartitions,
} from "./consumer-group-types.ts";

const VALUE_VERSION = 0;

// --- encode ---

export function encodeChange(groupId: string, change: GroupChange): GroupRecord {
  switch (change.kind) {
    case "member": {
      const { memberId, value } = change;
      return {
        key: encodeRecordKey(consumerGroupMemberMetadataRecord, { groupId, memberId }),
        value: value === undefined ? null : encodeRecordValue(consumerGroupMemberMetadataRecord, toMember(value), VALUE_VERSION),
      };
    }
    case "group-epoch":
      return {
        key: encodeRecordKey(consumerGroupMetadataRecord, { groupId }),
        value:
          change.value === undefined
            ? null
            : encodeRecordValue(consumerGroupMetadataRecord, newConsumerGroupMetadataValue(change.value), VALUE_VERSION),
      };
    case "target-epoch":
      return { key: encodeRecordKey(consumerGroupTargetAssignmentMetadataRecord, { groupId }), value: encodeTargetEpoch(change.value) };
    case "target":
      return encodeTarget(groupId, change);
    case "progress": {
      const { memberId, value } = change;
      return {
        key: encodeRecordKey(consumerGroupCurrentMemberAssignmentRecord, { groupId, memberId }),
        value: value === undefined ? null : encodeRecordValue(consumerGroupCurrentMemberAssignmentRecord, toProgress(value), VALUE_VERSION),
      };
    }
    case "pattern":
      return encodePattern(groupId, change);
  }
}

function toMember(subscription: MemberSubscription): ConsumerGroupMemberMetadataValue {
  const { classic } = subscription;
  return newConsumerGroupMemberMetadataValue({
    instanceId: subscription.instanceId ?? null,
    rackId: subscription.rackId ?? null,
    clientId: subscription.clientId,
    clientHost: subscription.clientHost,
    subscribedTopicNames: [...subscription.topics],
    subscribedTopicRegex: subscription.pattern,
    rebalanceTimeoutMs: subscription.rebalanceTimeoutMs,
    serverAssignor: subscription.serverAssignor ?? null,
    classicMemberMetadata:
      classic === undefined
        ? null
        : newClassicMemberMetadata({
            sessionTimeoutMs: classic.sessionTimeoutMs,
            supportedProtocols: classic.protocols.map(({ name, metadata }) => newClassicProtocol({ name, metadata })),
          }),
  });
}

function encodeTargetEpoch(value: { readonly epoch: number; readonly timestampMs: number } | undefined): Uint8Array | null {
  if (value === undefined) return null;
  const fields = { assignmentEpoch: value.epoch, assignmentTimestamp: BigInt(value.timestampMs) };
  return encodeRecordValue(
    consumerGroupTargetAssignmentMetadataRecord,
    newConsumerGroupTargetAssignmentMetadataValue(fields),
    VALUE_VERSION,
  );
}

function encodeTarget(groupId: string, { memberId, value }: GroupChange & { readonly kind: "target" }): GroupRecord {
  const key = encodeRecordKey(consumerGroupTargetAssignmentMemberRecord, { groupId, memberId });
  if (value === undefined) return { key, value: null };
  const topicPartitions = Array.from(value, ([topicId, partitions]) => newTopicPartition({ topicId, partitions: [...partitions] }));
  const fields = newConsumerGroupTargetAssignmentMemberValue({ topicPartitions });
  return { key, value: encodeRecordValue(consumerGroupTargetAssignmentMemberRecord, fields, VALUE_VERSION) };
}

function toProgress(progress: MemberProgress): ConsumerGroupCurrentMemberAssignmentValue {
  return {
    memberEpoch: progress.epoch,
    previousMemberEpoch: progress.previousEpoch,
    state: MEMBER_STATES[progress.state],
    assignedPartitions: toTopicPartitions(progress.assigned),
    partitionsPendingRevocation: toTopicPartitions(progress.pendingRevocation),
  };
}

function toTopicPartitions(owned: OwnedPartitions): TopicPartitions[] {
  return Array.from(owned, ([topicId, epochs]) =>
    newTopicPartitions({ topicId, partitions: [...epochs.keys()], assignmentEpochs: [...epochs.values()] }),
  );
}

function encodePattern(groupId: string, { pattern, value }: GroupChange & { readonly kind: "pattern" }): GroupRecord {
  const key = encodeRecordKey(consumerGroupRegularExpressionRecord, { groupId, regularExpression: pattern });
  if (value === undefined) return { key, value: null };
  const { topics, version, timestampMs } = value;
  const fields = newConsumerGroupRegularExpressionValue({ topics: [...topics], version, timestamp: BigInt(timestampMs) });
  return { key, value: encodeRecordValue(consumerGroupRegularExpressionRecord, fields, VALUE_VERSION) };
}

// --- decode ---

export interface DecodedChange {
  readonly groupId: string;
  /** Undefined: a record that needs nothing done. */
  readonly change: GroupChange | undefined;
}

/** Undefined when the record is not one of a consumer group. DecodeError when it is not in Kafka's format. */
export function decodeChange(type: number, key: Uint8Array, value: Uint8Array | null): DecodedChange | undefined {
  switch (type) {
    case consumerGroupMetadataRecord.type: {
      const { groupId } = decodeRecordKey(consumerGroupMetadataRecord, key);
      const decoded = value === null ? undefined : decodeRecordValue(consumerGroupMetadataRecord, value);
      return { groupId, change: { kind: "group-epoch", value: decoded } };
    }
    case consumerGroupPartitionMetadataRecord.type:
      return { groupId: decodeRecordKey(consumerGroupPartitionMetadataRecord, key).groupId, change: undefined };
    case consumerGroupMemberMetadataRecord.type: {
      const { groupId, memberId } = decodeRecordKey(consumerGroupMemberMetadataRecord, key);
      const decoded = value === null ? undefined : fromMember(decodeRecordValue(consumerGroupMemberMetadataRecord, value));
      return { groupId, change: { kind: "member", memberId, value: decoded } };
    }
    case consumerGroupTargetAssignmentMetadataRecord.type: {
      const { groupId } = decodeRecordKey(consumerGroupTargetAssignmentMetadataRecord, key);
      if (value === null) return { groupId, change: { kind: "target-epoch", value: undefined } };
      const { assignmentEpoch, assignmentTimestamp } = decodeRecordValue(consumerGroupTargetAssignmentMetadataRecord, value);
      return { groupId, change: { kind: "target-epoch", value: { epoch: assignmentEpoch, timestampMs: Number(assignmentTimestamp) } } };
    }
    case consumerGroupTargetAssignmentMemberRecord.type:
      return decodeTarget(key, value);
    case consumerGroupCurrentMemberAssignmentRecord.type: {
      const { groupId, memberId } = decodeRecordKey(consumerGroupCurrentMemberAssignmentRecord, key);
      const decoded = value === null ? undefined : fromProgress(decodeRecordValue(consumerGroupCurrentMemberAssignmentRecord, value));
      return { groupId, change: { kind: "progress", memberId, value: decoded } };
    }
    case consumerGroupRegularExpressionRecord.type:
      return decodePattern(key, value);
    default:
      return undefined;
  }
}

function decodeTarget(key: Uint8Array, value: Uint8Array | null): DecodedChange {
  const { groupId, memberId } = decodeRecordKey(consumerGroupTargetAssignmentMemberRecord, key);
  if (value === null) return { groupId, change: { kind: "target", memberId, value: undefined } };
  const { topicPartitions } = decodeRecordValue(consumerGroupTargetAssignmentMemberRecord, value);
  const assignment = new Map(topicPartitions.map(({ topicId, partitions }) => [topicId, partitions.sort((a, b) => a - b)]));
  return { groupId, change: { kind: "target", memberId, value: assignment } };
}

function decodePattern(key: Uint8Array, value: Uint8Array | null): DecodedChange {
  const { groupId, regularExpression: pattern } = decodeRecordKey(consumerGroupRegularExpressionRecord, key);
  if (value === null) return { groupId, change: { kind: "pattern", pattern, value: undefined } };
  const { topics, version, timestamp } = decodeRecordValue(consumerGroupRegularExpressionRecord, value);
  return { groupId, change: { kind: "pattern", pattern, value: { topics, version, timestampMs: Number(timestamp) } } };
}

function fromMember(value: ConsumerGroupMemberMetadataValue): MemberSubscription {
  const { classicMemberMetadata: classic } = value;
  return {
    instanceId: value.instanceId ?? undefined,
    rackId: value.rackId ?? undefined,
    clientId: value.clientId,
    clientHost: value.clientHost,
    topics: value.subscribedTopicNames,
    pattern: value.subscribedTopicRegex ?? "",
    rebalanceTimeoutMs: value.rebalanceTimeoutMs,
    serverAssignor: value.serverAssignor ?? undefined,
    classic:
      classic === null
        ? undefined
        : {
            sessionTimeoutMs: classic.sessionTimeoutMs,
            protocols: classic.supportedProtocols.map(({ name, metadata }) => ({ name, metadata: copyBytes(metadata) })),
          },
  };
}

function fromProgress(value: ConsumerGroupCurrentMemberAssignmentValue): MemberProgress {
  return {
    epoch: value.memberEpoch,
    previousEpoch: value.previousMemberEpoch,
    state: stateOf(value.state),
    assigned: fromTopicPartitions(value.assignedPartitions, value.memberEpoch),
    pendingRevocation: fromTopicPartitions(value.partitionsPendingRevocation, value.memberEpoch),
  };
}

/** A state that a later Kafka may bring is "unknown": the member has to begin anew. */
function stateOf(value: number): MemberState {
  for (const [name, number] of Object.entries(MEMBER_STATES)) if (number === value) return name as MemberState;
  return "unknown";
}

/** Records from before Kafka 4.4 have no epochs: the member's own stands in. */
function fromTopicPartitions(topics: readonly TopicPartitions[], memberEpoch: number): OwnedPartitions {
  return new Map(
    topics.map(({ topicId, partitions, assignmentEpochs }) => [
      topicId,
      new Map(partitions.map((partition, index) => [partition, assignmentEpochs?.[index] ?? memberEpoch])),
    ]),
  );
}
