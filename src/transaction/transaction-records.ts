/**
 * What the transaction room writes to __transaction_state and reads back, in Kafka's format (TransactionLog of 4.4): key type 0 is the transactional id, the
 * value has version 0, or 1 from transaction.version 1 on; a null value is a tombstone. The last epoch is not stored, as in Kafka.
 */

import type { TopicPartition } from "../coordinator/topic-partition.ts";
import { CODEC_MASK, CODEC_NONE, CONTROL_BIT, viewOf } from "../partition/batch-layout.ts";
import type { CheckedBatch, Decompress } from "../partition/batch-validation.ts";
import { forEachBatch } from "../partition/partition-log.ts";
import { DecodeError } from "../protocol/codec-error.ts";
import { decodeRecordKey, decodeRecordValue, encodeRecordKey, encodeRecordValue, recordTypeOf } from "../protocol/coordinator-record.ts";
import {
  newPartitionsSchema,
  newTransactionLogKey,
  newTransactionLogValue,
  type PartitionsSchema,
  type TransactionLogValue,
  transactionLogRecord,
} from "../protocol/messages/records/transaction-log.ts";
import type { Crc32c } from "../protocol/record-batch.ts";
import { buildBatch, type DecodedRecord, iterateRecords } from "../protocol/records.ts";
import { NO_EPOCH, partitionKey, TRANSACTION_STATES, type TransactionFields } from "./transaction-entry.ts";
import type { TransactionVersion } from "./transaction-types.ts";

export interface TransactionRecord {
  readonly key: Uint8Array;
  /** null: a tombstone. */
  readonly value: Uint8Array | null;
}

export function encodeTransaction(
  transactionalId: string,
  fields: TransactionFields,
  serverVersion: TransactionVersion,
): TransactionRecord {
  const { state, partitions } = fields;
  const value = newTransactionLogValue({
    producerId: BigInt(fields.producerId),
    producerEpoch: fields.producerEpoch,
    transactionTimeoutMs: fields.timeoutMs,
    transactionStatus: TRANSACTION_STATES.indexOf(state),
    transactionPartitions: state === "Empty" ? null : byTopic(partitions.values()),
    transactionLastUpdateTimestampMs: BigInt(fields.lastUpdateTimestampMs),
    transactionStartTimestampMs: BigInt(fields.startTimestampMs),
  });
  const version = serverVersion >= 1 ? 1 : 0;
  if (version === 1) {
    value.previousProducerId = BigInt(fields.previousProducerId);
    value.nextProducerId = BigInt(fields.nextProducerId);
    value.clientTransactionVersion = fields.clientVersion;
  }
  return { key: keyOf(transactionalId), value: encodeRecordValue(transactionLogRecord, value, version) };
}

export function encodeTombstone(transactionalId: string): TransactionRecord {
  return { key: keyOf(transactionalId), value: null };
}

function keyOf(transactionalId: string): Uint8Array {
  return encodeRecordKey(transactionLogRecord, newTransactionLogKey({ transactionalId }));
}

function byTopic(partitions: Iterable<TopicPartition>): PartitionsSchema[] {
  const topics = new Map<string, PartitionsSchema>();
  for (const { topic, partition } of partitions) {
    let schema = topics.get(topic);
    if (schema === undefined) {
      schema = newPartitionsSchema({ topic, partitionIds: [] });
      topics.set(topic, schema);
    }
    schema.partitionIds.push(partition);
  }
  return [...topics.values()];
}

/** A batch's header, and what its records need besides key and value, at most. */
const BATCH_HEADROOM_BYTES = 128;
const RECORD_HEADROOM_BYTES = 32;

/** Bytes of a record in a batch, at most. */
export function recordBytes({ key, value }: TransactionRecord): number {
  return key.length + (value?.length ?? 0) + RECORD_HEADROOM_BYTES;
}

/** Batches of at most `maxBatchBytes` with these records in order; undefined when one record alone is larger. */
export function buildTransactionBatches(
  records: readonly TransactionRecord[],
  nowMs: number,
  maxBatchBytes: number,
  crc32c: Crc32c,
): CheckedBatch[] | undefined {
  const batches: CheckedBatch[] = [];
  for (const together of inBatches(records, maxBatchBytes)) {
    const batch = buildTransactionBatch(together, nowMs, maxBatchBytes, crc32c);
    if (batch === undefined) return undefined;
    batches.push(batch);
  }
  return batches;
}

function* inBatches(records: readonly TransactionRecord[], maxBatchBytes: number): Generator<TransactionRecord[]> {
  let together: TransactionRecord[] = [];
  let sizeBytes = BATCH_HEADROOM_BYTES;
  for (const record of records) {
    const bytes = recordBytes(record);
    if (together.length > 0 && sizeBytes + bytes > maxBatchBytes) {
      yield together;
      together = [];
      sizeBytes = BATCH_HEADROOM_BYTES;
    }
    together.push(record);
    sizeBytes += bytes;
  }
  if (together.length > 0) yield together;
}

/** One batch with these records; undefined when it would be larger than the topic takes. */
export function buildTransactionBatch(
  records: readonly TransactionRecord[],
  nowMs: number,
  maxBatchBytes: number,
  crc32c: Crc32c,
): CheckedBatch | undefined {
  const sizeBytes = records.reduce((sum, record) => sum + recordBytes(record), BATCH_HEADROOM_BYTES);
  if (sizeBytes > maxBatchBytes) return undefined;
  const timestamp = BigInt(nowMs);
  const bytes = buildBatch({ records: records.map(({ key, value }) => ({ timestamp, key, value })) }, crc32c);
  return {
    kind: "checked",
    bytes,
    view: viewOf(bytes),
    recordCount: records.length,
    maxTimestampMs: nowMs,
    producerId: -1,
    producerEpoch: -1,
    baseSequence: -1,
    lastSequence: -1,
    isTransactional: false,
    logAppendTimeMs: -1,
  };
}

// --- replay ---

export interface TransactionVisitor {
  /** undefined: forgotten. */
  onTransaction(transactionalId: string, fields: TransactionFields | undefined): void;
  /** A record of another type, or of a Kafka to come: left alone. */
  onUnknown(recordType: number): void;
}

/** Content of a compressed batch must not take more memory than this. */
const MAX_DECOMPRESSED_BYTES = 128 * 1024 * 1024;

/** Every record of whole batches, in order; those below `fromOffset` are left out. DecodeError when a record is not in Kafka's format. */
export function replayTransactions(bytes: Uint8Array, fromOffset: number, decompress: Decompress, visitor: TransactionVisitor): void {
  forEachBatch(bytes, viewOf(bytes), (batch) => {
    if (batch.lastOffset < fromOffset || (batch.attributes & CONTROL_BIT) !== 0 || batch.recordCount === 0) return;
    const codec = batch.attributes & CODEC_MASK;
    const expand =
      codec === CODEC_NONE
        ? undefined
        : (_: number, payload: Uint8Array) => decompress(codec, payload, 0, payload.length, MAX_DECOMPRESSED_BYTES);
    for (const record of iterateRecords(bytes, batch.start, expand)) {
      if (Number(record.offset) >= fromOffset) replayRecord(record, visitor);
    }
  });
}

function replayRecord({ key, value }: DecodedRecord, visitor: TransactionVisitor): void {
  if (key === null) throw new DecodeError("a record of __transaction_state has no key");
  const type = recordTypeOf(key);
  if (type !== transactionLogRecord.type) {
    visitor.onUnknown(type);
    return;
  }
  const { transactionalId } = decodeRecordKey(transactionLogRecord, key);
  visitor.onTransaction(transactionalId, value === null ? undefined : toFields(decodeRecordValue(transactionLogRecord, value)));
}

function toFields(value: TransactionLogValue): TransactionFields {
  const state = TRANSACTION_STATES[value.transactionStatus];
  if (state === undefined) throw new DecodeError(`transaction status ${value.transactionStatus} is unknown`);
  const partitions = new Map<string, TopicPartition>();
  for (const { topic, partitionIds } of value.transactionPartitions ?? []) {
    for (const partition of partitionIds) partitions.set(partitionKey({ topic, partition }), { topic, partition });
  }
  const version = value.clientTransactionVersion;
  return {
    state,
    producerId: Number(value.producerId),
    previousProducerId: Number(value.previousProducerId),
    nextProducerId: Number(value.nextProducerId),
    producerEpoch: value.producerEpoch,
    lastProducerEpoch: NO_EPOCH,
    timeoutMs: value.transactionTimeoutMs,
    partitions,
    startTimestampMs: Number(value.transactionStartTimestampMs),
    lastUpdateTimestampMs: Number(value.transactionLastUpdateTimestampMs),
    clientVersion: version >= 2 ? 2 : version === 1 ? 1 : 0,
  };
}
