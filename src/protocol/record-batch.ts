/**
 * The header of a record batch, magic 2 (KIP-98, https://kafka.apache.org/documentation/#recordbatch), read and patched in place.
 *
 * | at | field                | type   |      | at | field           | type  |
 * |----|----------------------|--------|------|----|-----------------|-------|
 * | 0  | baseOffset           | int64  |      | 27 | baseTimestamp   | int64 |
 * | 8  | batchLength          | int32  |      | 35 | maxTimestamp    | int64 |
 * | 12 | partitionLeaderEpoch | int32  |      | 43 | producerId      | int64 |
 * | 16 | magic                | int8   |      | 51 | producerEpoch   | int16 |
 * | 17 | crc                  | uint32 |      | 53 | baseSequence    | int32 |
 * | 21 | attributes           | int16  |      | 57 | recordCount     | int32 |
 * | 23 | lastOffsetDelta      | int32  |      | 61 | records         |       |
 *
 * `batchLength` counts what follows it. The CRC-32C covers [21, end): base offset and leader epoch may change without a new one.
 * Attributes: bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon in baseTimestamp.
 * Accessors do not check bounds: `batchEnd` does, once, before any of them.
 */
import { getInt16, getInt32, getInt64, getUint32, setInt16, setInt32, setInt64 } from "./big-endian.ts";
import { DecodeError } from "./codec-error.ts";

export const BATCH_HEADER_BYTES = 61;
/** Bytes before those that `batchLength` counts. */
export const BATCH_LOG_OVERHEAD = 12;
export const BATCH_CRC_START = 21;
export const BATCH_MAGIC = 2;

export const COMPRESSION_MASK = 0x07;
export const LOG_APPEND_TIME_BIT = 0x08;
export const TRANSACTIONAL_BIT = 0x10;
export const CONTROL_BIT = 0x20;
export const DELETE_HORIZON_BIT = 0x40;

/** CRC-32C of bytes[start, end), unsigned; the addon's, or a table in tests. */
export type Crc32c = (bytes: Uint8Array, start: number, end: number) => number;

/**
 * Index one past the batch that begins at `at`. DecodeError when [at, limit) does not hold all of it, or when it is not magic 2
 * or shorter than its header.
 */
export function batchEnd(bytes: Uint8Array, at: number, limit = bytes.length): number {
  if (limit - at < BATCH_HEADER_BYTES) throw new DecodeError(`a batch header at ${at} is truncated at ${limit}`);
  const magic = batchMagic(bytes, at);
  if (magic !== BATCH_MAGIC) throw new DecodeError(`a batch at ${at} has magic ${magic}`);
  const size = batchSizeBytes(bytes, at);
  if (size < BATCH_HEADER_BYTES || size > limit - at) throw new DecodeError(`a batch at ${at} claims ${size} of ${limit - at} bytes`);
  return at + size;
}

/** Where each field of the header lies; the one table, for readers of every kind. */
export const LENGTH_AT = 8;
export const LEADER_EPOCH_AT = 12;
export const MAGIC_AT = 16;
export const CRC_AT = 17;
export const ATTRIBUTES_AT = 21;
export const LAST_OFFSET_DELTA_AT = 23;
export const BASE_TIMESTAMP_AT = 27;
export const MAX_TIMESTAMP_AT = 35;
export const PRODUCER_ID_AT = 43;
export const PRODUCER_EPOCH_AT = 51;
export const BASE_SEQUENCE_AT = 53;
export const RECORD_COUNT_AT = 57;

/** Where each batch of `bytes` begins. DecodeError when the last one is not whole. */
export function batchStarts(bytes: Uint8Array): number[] {
  const starts: number[] = [];
  for (let at = 0; at < bytes.length; at = batchEnd(bytes, at)) starts.push(at);
  return starts;
}

export function batchBaseOffset(bytes: Uint8Array, at: number): bigint {
  return getInt64(bytes, at);
}

/** The whole batch, header included. */
export function batchSizeBytes(bytes: Uint8Array, at: number): number {
  return BATCH_LOG_OVERHEAD + getInt32(bytes, at + LENGTH_AT);
}

export function batchPartitionLeaderEpoch(bytes: Uint8Array, at: number): number {
  return getInt32(bytes, at + LEADER_EPOCH_AT);
}

export function batchMagic(bytes: Uint8Array, at: number): number {
  return (bytes[at + MAGIC_AT]! << 24) >> 24;
}

/** Unsigned. */
export function batchCrc(bytes: Uint8Array, at: number): number {
  return getUint32(bytes, at + CRC_AT);
}

export function batchAttributes(bytes: Uint8Array, at: number): number {
  return getInt16(bytes, at + ATTRIBUTES_AT);
}

export function batchLastOffsetDelta(bytes: Uint8Array, at: number): number {
  return getInt32(bytes, at + LAST_OFFSET_DELTA_AT);
}

/** Milliseconds; the delete horizon when DELETE_HORIZON_BIT is set. */
export function batchBaseTimestamp(bytes: Uint8Array, at: number): bigint {
  return getInt64(bytes, at + BASE_TIMESTAMP_AT);
}

/** Milliseconds; the append time when LOG_APPEND_TIME_BIT is set. */
export function batchMaxTimestamp(bytes: Uint8Array, at: number): bigint {
  return getInt64(bytes, at + MAX_TIMESTAMP_AT);
}

/** -1 for none. */
export function batchProducerId(bytes: Uint8Array, at: number): bigint {
  return getInt64(bytes, at + PRODUCER_ID_AT);
}

export function batchProducerEpoch(bytes: Uint8Array, at: number): number {
  return getInt16(bytes, at + PRODUCER_EPOCH_AT);
}

/** -1 for none. */
export function batchBaseSequence(bytes: Uint8Array, at: number): number {
  return getInt32(bytes, at + BASE_SEQUENCE_AT);
}

export function batchRecordCount(bytes: Uint8Array, at: number): number {
  return getInt32(bytes, at + RECORD_COUNT_AT);
}

export interface RecordBatchHeader {
  readonly baseOffset: bigint;
  readonly sizeBytes: number;
  readonly partitionLeaderEpoch: number;
  readonly crc: number;
  readonly attributes: number;
  readonly lastOffsetDelta: number;
  readonly baseTimestamp: bigint;
  readonly maxTimestamp: bigint;
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
}

/** All of it at once, bounds checked. */
export function readBatchHeader(bytes: Uint8Array, at: number): RecordBatchHeader {
  batchEnd(bytes, at);
  return {
    baseOffset: batchBaseOffset(bytes, at),
    sizeBytes: batchSizeBytes(bytes, at),
    partitionLeaderEpoch: batchPartitionLeaderEpoch(bytes, at),
    crc: batchCrc(bytes, at),
    attributes: batchAttributes(bytes, at),
    lastOffsetDelta: batchLastOffsetDelta(bytes, at),
    baseTimestamp: batchBaseTimestamp(bytes, at),
    maxTimestamp: batchMaxTimestamp(bytes, at),
    producerId: batchProducerId(bytes, at),
    producerEpoch: batchProducerEpoch(bytes, at),
    baseSequence: batchBaseSequence(bytes, at),
    recordCount: batchRecordCount(bytes, at),
  };
}

/** True when the stored CRC is that of the bytes it covers. The batch must lie whole in `bytes` (`batchEnd`). */
export function batchCrcMatches(bytes: Uint8Array, at: number, crc32c: Crc32c): boolean {
  return crc32c(bytes, at + BATCH_CRC_START, at + batchSizeBytes(bytes, at)) === batchCrc(bytes, at);
}

/** Outside the CRC. */
export function patchBaseOffset(bytes: Uint8Array, at: number, baseOffset: bigint): void {
  setInt64(bytes, at, baseOffset);
}

/** Outside the CRC. */
export function patchPartitionLeaderEpoch(bytes: Uint8Array, at: number, epoch: number): void {
  setInt32(bytes, at + LEADER_EPOCH_AT, epoch);
}

/** `message.timestamp.type=LogAppendTime`: inside the CRC, so it is worked out anew. */
export function patchLogAppendTime(bytes: Uint8Array, at: number, appendTimeMs: bigint, crc32c: Crc32c): void {
  setInt16(bytes, at + ATTRIBUTES_AT, batchAttributes(bytes, at) | LOG_APPEND_TIME_BIT);
  setInt64(bytes, at + MAX_TIMESTAMP_AT, appendTimeMs);
  patchCrc(bytes, at, crc32c);
}

export function patchCrc(bytes: Uint8Array, at: number, crc32c: Crc32c): void {
  setInt32(bytes, at + CRC_AT, crc32c(bytes, at + BATCH_CRC_START, at + batchSizeBytes(bytes, at)) | 0);
}
