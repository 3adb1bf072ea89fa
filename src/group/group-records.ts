/**
 * What the group room writes to __consumer_offsets and reads back, in Kafka's formats: OffsetCommit (key type 1, value version 4, or 1 with an
 * expiry) and GroupMetadata (key type 2, value version 3), as Kafka 4.4 writes them; a null value is a tombstone. Older versions are read. Records of
 * consumer groups: `consumer-group-records.ts`.
 */
import { copyBytes } from "../base/copy-bytes.ts";
import type { TopicPartition } from "../coordinator/topic-partition.ts";
import {
  BATCH_OVERHEAD,
  CODEC_MASK,
  CODEC_NONE,
  CONTROL_BIT,
  type StoredBatch,
  TRANSACTIONAL_BIT,
  viewOf,
} from "../partition/batch-layout.ts";
import type { CheckedBatch, Decompress } from "../partition/batch-validation.ts";
import { readMarker } from "../partition/control-batch.ts";
import { forEachBatch } from "../partition/partition-log.ts";
import { nextRecord, startWalk } from "../partition/record-walk.ts";
import { decodeRecordKey, decodeRecordValue, encodeRecordKey, encodeRecordValue, recordTypeOf } from "../protocol/coordinator-record.ts";
import {
  type GroupMetadataValue,
  groupMetadataRecord,
  newGroupMetadataKey,
  newGroupMetadataValue,
  newMemberMetadata,
} from "../protocol/messages/records/group-metadata.ts";
import { legacyOffsetCommitRecord } from "../protocol/messages/records/legacy-offset-commit.ts";
import {
  newOffsetCommitKey,
  newOffsetCommitValue,
  type OffsetCommitKey,
  offsetCommitRecord,
} from "../protocol/messages/records/offset-commit.ts";
import type { Crc32c } from "../protocol/record-batch.ts";
import { buildBatch, type DecodedRecord, iterateRecords, type RecordHeader } from "../protocol/records.ts";
import type { GroupView, StoredGroup } from "./classic/group-host.ts";
import { metadataOf } from "./classic/group-roster.ts";
import { decodeChange } from "./consumer/consumer-group-records.ts";
import type { GroupChange } from "./consumer/consumer-group-types.ts";
import { type CommittedOffset, type GroupRecord, NO_BYTES } from "./group-types.ts";
import { OffsetRecordReader } from "./offsets/offset-record-reader.ts";

const OFFSET_VALUE_VERSION = 4;
/** The only one with an expiry; it has no leader epoch and no topic id. */
const OFFSET_VALUE_VERSION_WITH_EXPIRY = 1;
const GROUP_VALUE_VERSION = 3;

export function encodeOffset(group: string, at: TopicPartition, committed: CommittedOffset): GroupRecord {
  const { offset, leaderEpoch, metadata, expireTimestampMs, topicId } = committed;
  const commitTimestamp = BigInt(committed.commitTimestampMs);
  const value =
    expireTimestampMs === undefined
      ? newOffsetCommitValue({ offset, leaderEpoch, metadata, commitTimestamp, topicId })
      : newOffsetCommitValue({ offset, metadata, commitTimestamp, expireTimestamp: expireTimestampMs });
  const version = expireTimestampMs === undefined ? OFFSET_VALUE_VERSION : OFFSET_VALUE_VERSION_WITH_EXPIRY;
  return { key: offsetKey(group, at), value: encodeRecordValue(offsetCommitRecord, value, version) };
}

export function encodeOffsetTombstone(group: string, at: TopicPartition): GroupRecord {
  return { key: offsetKey(group, at), value: null };
}

function offsetKey(group: string, { topic, partition }: TopicPartition): Uint8Array {
  return encodeRecordKey(offsetCommitRecord, newOffsetCommitKey({ group, topic, partition }));
}

export function encodeGroup(
  group: GroupView,
  assignments: ReadonlyMap<string, Uint8Array>,
  leaderId = group.roster.leaderId ?? null,
): GroupRecord {
  const members = Array.from(group.roster.all(), (member) =>
    newMemberMetadata({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId ?? null,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeout: member.rebalanceTimeoutMs,
      sessionTimeout: member.sessionTimeoutMs,
      subscription: metadataOf(member, group.protocolName),
      assignment: assignments.get(member.memberId) ?? NO_BYTES,
    }),
  );
  const value = newGroupMetadataValue({
    protocolType: group.protocolType ?? "",
    generation: group.generation,
    protocol: group.protocolName ?? null,
    leader: leaderId,
    currentStateTimestamp: BigInt(group.stateTimestampMs ?? -1),
    members,
  });
  return { key: groupKey(group.groupId), value: encodeRecordValue(groupMetadataRecord, value, GROUP_VALUE_VERSION) };
}

/** A group that somebody has begun to join: nothing is known of it but that it exists. */
export function encodeNewGroup(group: GroupView): GroupRecord {
  const currentStateTimestamp = BigInt(group.stateTimestampMs ?? -1);
  const value = newGroupMetadataValue({ protocolType: "", generation: 0, protocol: null, leader: null, currentStateTimestamp });
  return { key: groupKey(group.groupId), value: encodeRecordValue(groupMetadataRecord, value, GROUP_VALUE_VERSION) };
}

export function encodeGroupTombstone(groupId: string): GroupRecord {
  return { key: groupKey(groupId), value: null };
}

/** A classic group's record as it was stored. */
export function encodeStoredGroup(groupId: string, value: Uint8Array): GroupRecord {
  return { key: groupKey(groupId), value };
}

/** Of the record of a classic group; undefined for another record. Asked of every record that is written, so it looks at the type's bytes alone. */
export function readGroupKey(key: Uint8Array): string | undefined {
  const isGroup = key[0] === 0 && key[1] === groupMetadataRecord.type;
  return isGroup ? decodeRecordKey(groupMetadataRecord, key).group : undefined;
}

function groupKey(group: string): Uint8Array {
  return encodeRecordKey(groupMetadataRecord, newGroupMetadataKey({ group }));
}

// --- batches ---

/** Room that a batch's header and its records' own overhead take at most. */
const BATCH_HEADROOM_BYTES = 128;
const RECORD_HEADROOM_BYTES = 64;

/** On a record that is restated; its value is empty. Kafka's tools pass over headers. */
const RESTATED_HEADER = "weir.restated";
const RESTATED: readonly RecordHeader[] = [{ key: RESTATED_HEADER, value: null }];
const NO_HEADERS: readonly RecordHeader[] = [];

/** Batches of at most `maxBatchBytes` with these records in order; undefined when one record alone is larger. */
export function buildBatches(
  records: readonly GroupRecord[],
  nowMs: number,
  maxBatchBytes: number,
  crc32c: Crc32c,
): CheckedBatch[] | undefined {
  const batches: CheckedBatch[] = [];
  let pending: GroupRecord[] = [];
  let pendingBytes = BATCH_HEADROOM_BYTES;
  for (const record of records) {
    const bytes = record.key.length + (record.value?.length ?? 0) + RECORD_HEADROOM_BYTES;
    if (BATCH_HEADROOM_BYTES + bytes > maxBatchBytes) return undefined;
    if (pendingBytes + bytes > maxBatchBytes) {
      batches.push(buildOne(pending, nowMs, crc32c));
      pending = [];
      pendingBytes = BATCH_HEADROOM_BYTES;
    }
    pending.push(record);
    pendingBytes += bytes;
  }
  if (pending.length > 0) batches.push(buildOne(pending, nowMs, crc32c));
  return batches;
}

/** Who sends offsets within a transaction. */
export interface TransactionalProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** One batch of a transaction, without sequences: a coordinator wrote it. Undefined when it would be too large. */
export function buildTransactionalBatch(
  records: readonly GroupRecord[],
  producer: TransactionalProducer,
  nowMs: number,
  maxBatchBytes: number,
  crc32c: Crc32c,
): CheckedBatch | undefined {
  const batch = buildOne(records, nowMs, crc32c, producer);
  return batch.bytes.length > maxBatchBytes ? undefined : batch;
}

function buildOne(records: readonly GroupRecord[], nowMs: number, crc32c: Crc32c, producer?: TransactionalProducer): CheckedBatch {
  const timestamp = BigInt(nowMs);
  const sender =
    producer === undefined
      ? {}
      : { producerId: BigInt(producer.producerId), producerEpoch: producer.producerEpoch, baseSequence: -1, transactional: true };
  const inputs = records.map(({ key, value, isRestated }) => ({
    timestamp,
    key,
    value,
    headers: isRestated === true ? RESTATED : NO_HEADERS,
  }));
  const bytes = buildBatch({ records: inputs, ...sender }, crc32c);
  return {
    kind: "checked",
    bytes,
    view: viewOf(bytes),
    recordCount: records.length,
    maxTimestampMs: nowMs,
    producerId: producer?.producerId ?? -1,
    producerEpoch: producer?.producerEpoch ?? -1,
    baseSequence: -1,
    lastSequence: -1,
    isTransactional: producer !== undefined,
    logAppendTimeMs: -1,
  };
}

// --- replay ---

interface OffsetVisit {
  readonly group: string;
  readonly at: TopicPartition;
  readonly committed: CommittedOffset | undefined;
}

export interface RecordVisitor {
  /** `producerId`: of the transaction that the offset is part of; undefined outside of one. `isRestated`: it was committed before what is pending. */
  onOffset(
    group: string,
    at: TopicPartition,
    committed: CommittedOffset | undefined,
    producerId: number | undefined,
    isRestated: boolean,
  ): void;
  /** The producer's transaction has ended. */
  onMarker(producerId: number, isCommit: boolean): void;
  /** undefined: deleted. `record`: where `stored` was read from. */
  onGroup(groupId: string, stored: StoredGroup | undefined, record: GroupRecord): void;
  /** A record of a group of the consumer protocol. */
  onConsumerGroup(groupId: string, change: GroupChange): void;
  /** A record of another kind of group, or of a Kafka to come: left alone. */
  onUnknown(recordType: number): void;
}

/** Content of a compressed batch must not take more memory than this. */
const MAX_DECOMPRESSED_BYTES = 128 * 1024 * 1024;

/** Every record of whole batches, in order; those below `fromOffset` are left out. DecodeError when a record is not in Kafka's format. */
export function replayBatches(bytes: Uint8Array, fromOffset: number, decompress: Decompress, visitor: RecordVisitor): void {
  const view = viewOf(bytes);
  forEachBatch(bytes, view, (batch) => {
    if (batch.lastOffset < fromOffset || batch.recordCount === 0) return;
    if ((batch.attributes & CONTROL_BIT) !== 0) {
      const marker = readMarker(bytes, view, batch);
      if (marker !== undefined) visitor.onMarker(batch.producerId, marker.isCommit);
      return;
    }
    const producerId = (batch.attributes & TRANSACTIONAL_BIT) === 0 ? undefined : batch.producerId;
    const codec = batch.attributes & CODEC_MASK;
    if (codec === CODEC_NONE && batch.baseOffset >= fromOffset && replayOffsets(bytes, view, batch, producerId, visitor)) return;
    const expand =
      codec === CODEC_NONE
        ? undefined
        : (_: number, payload: Uint8Array) => decompress(codec, payload, 0, payload.length, MAX_DECOMPRESSED_BYTES);
    for (const record of iterateRecords(bytes, batch.start, expand)) {
      if (Number(record.offset) >= fromOffset) replayRecord(record, producerId, visitor);
    }
  });
}

const offsetReader = new OffsetRecordReader();

/** The short way for a batch of committed offsets alone. False: nothing was visited, it holds something else. */
function replayOffsets(
  bytes: Uint8Array,
  view: DataView,
  batch: StoredBatch,
  producerId: number | undefined,
  visitor: RecordVisitor,
): boolean {
  const found: OffsetVisit[] = [];
  startWalk(batch.start + BATCH_OVERHEAD);
  for (let index = 0; index < batch.recordCount; index++) {
    const record = nextRecord(bytes, batch.end);
    if (record === undefined) return false;
    const { keyAt, keyLength, valueAt, valueLength, headerCount } = record;
    if (headerCount > 0 || !offsetReader.read(bytes, view, keyAt, keyLength, valueAt, valueLength)) return false;
    const { group, topic, partition, committed } = offsetReader;
    found.push({ group, at: { topic, partition }, committed });
  }
  for (const { group, at, committed } of found) visitor.onOffset(group, at, committed, producerId, false);
  return true;
}

function replayRecord(record: DecodedRecord, producerId: number | undefined, visitor: RecordVisitor): void {
  const { key, value } = record;
  if (key === null) return;
  const type = recordTypeOf(key);
  switch (type) {
    case legacyOffsetCommitRecord.type:
      visitOffset(decodeRecordKey(legacyOffsetCommitRecord, key), record, producerId, visitor);
      return;
    case offsetCommitRecord.type:
      visitOffset(decodeRecordKey(offsetCommitRecord, key), record, producerId, visitor);
      return;
    case groupMetadataRecord.type: {
      const { group } = decodeRecordKey(groupMetadataRecord, key);
      visitor.onGroup(group, value === null ? undefined : toStoredGroup(decodeRecordValue(groupMetadataRecord, value)), { key, value });
      return;
    }
    default: {
      const decoded = decodeChange(type, key, value);
      if (decoded === undefined) visitor.onUnknown(type);
      else if (decoded.change !== undefined) visitor.onConsumerGroup(decoded.groupId, decoded.change);
    }
  }
}

function visitOffset(
  { group, topic, partition }: OffsetCommitKey,
  { value, headers }: DecodedRecord,
  producerId: number | undefined,
  visitor: RecordVisitor,
): void {
  const at = { topic, partition };
  if (value === null) {
    visitor.onOffset(group, at, undefined, producerId, false);
    return;
  }
  const { offset, leaderEpoch, metadata, commitTimestamp, expireTimestamp, topicId } = decodeRecordValue(offsetCommitRecord, value);
  const committed = {
    topicId,
    offset,
    leaderEpoch,
    metadata,
    commitTimestampMs: Number(commitTimestamp),
    expireTimestampMs: expireTimestamp === -1n ? undefined : expireTimestamp,
  };
  const isRestated = headers.some(({ key }) => key === RESTATED_HEADER);
  visitor.onOffset(group, at, committed, producerId, isRestated);
}

function toStoredGroup(value: GroupMetadataValue): StoredGroup {
  return {
    generation: value.generation,
    protocolType: value.protocolType === "" ? undefined : value.protocolType,
    protocolName: value.protocol ?? undefined,
    leaderId: value.leader ?? undefined,
    stateTimestampMs: value.currentStateTimestamp === -1n ? undefined : Number(value.currentStateTimestamp),
    members: value.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId ?? undefined,
      clientId: member.clientId,
      clientHost: member.clientHost,
      sessionTimeoutMs: member.sessionTimeout,
      rebalanceTimeoutMs: member.rebalanceTimeout === -1 ? member.sessionTimeout : member.rebalanceTimeout,
      subscription: copyBytes(member.subscription),
      assignment: copyBytes(member.assignment),
    })),
  };
}
