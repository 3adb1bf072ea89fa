/**
 * Record batches (magic 2) as the hot path reads and patches them in place: one DataView a batch, offsets and times as numbers. The format itself
 * is drawn in `protocol/record-batch.ts`, which also says where each field lies. Base offset and leader epoch lie outside the CRC, which covers
 * bytes [ATTRIBUTES_AT, end).
 */
import { assert } from "../base/assert.ts";
import {
  ATTRIBUTES_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  BATCH_LOG_OVERHEAD,
  COMPRESSION_MASK,
  CONTROL_BIT,
  CRC_AT,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  LENGTH_AT,
  LOG_APPEND_TIME_BIT,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT,
  TRANSACTIONAL_BIT,
} from "../protocol/record-batch.ts";

export {
  ATTRIBUTES_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  CONTROL_BIT,
  CRC_AT,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  LENGTH_AT,
  LOG_APPEND_TIME_BIT,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT,
  TRANSACTIONAL_BIT,
};

/** Base offset and length: what precedes the counted bytes. */
export const LOG_OVERHEAD = BATCH_LOG_OVERHEAD;
export const BATCH_OVERHEAD = BATCH_HEADER_BYTES;

export const CODEC_MASK = COMPRESSION_MASK;
export const CODEC_NONE = 0;
export const CODEC_ZSTD = 4;

/** Attributes that mean something; the others are zero in what a broker has written. */
const DEFINED_ATTRIBUTES = 0x7f;

const TWO_32 = 4_294_967_296;

/** CRC32C (Castagnoli) of bytes[start, end). */
export type Crc32c = (bytes: Uint8Array, start: number, end: number, seed?: number) => number;

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A signed 64-bit integer as a number: exact within +-2^53, the nearest double outside (check with Number.isSafeInteger). */
export function readInt64(view: DataView, at: number): number {
  return view.getInt32(at) * TWO_32 + view.getUint32(at + 4);
}

/** `value` is a safe integer. */
export function writeInt64(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / TWO_32);
  view.setInt32(at, high);
  view.setUint32(at + 4, value - high * TWO_32);
}

/** What the broker decides at the append: both fields lie outside the CRC. */
export function patchOffsetAndEpoch(view: DataView, start: number, baseOffset: number, leaderEpoch: number): void {
  writeInt64(view, start, baseOffset);
  view.setInt32(start + LEADER_EPOCH_AT, leaderEpoch);
}

/** Sets time type and max timestamp, and computes the new CRC. `end` is the batch's end. Attributes without a meaning go (DefaultRecordBatch.setMaxTimestamp). */
export function patchTimestamp(
  view: DataView,
  bytes: Uint8Array,
  start: number,
  end: number,
  maxTimestampMs: number,
  isLogAppendTime: boolean,
  crc32c: Crc32c,
): void {
  const attributes = view.getInt16(start + ATTRIBUTES_AT) & DEFINED_ATTRIBUTES;
  view.setInt16(start + ATTRIBUTES_AT, isLogAppendTime ? attributes | LOG_APPEND_TIME_BIT : attributes & ~LOG_APPEND_TIME_BIT);
  writeInt64(view, start + MAX_TIMESTAMP_AT, maxTimestampMs);
  view.setUint32(start + CRC_AT, crc32c(bytes, start + ATTRIBUTES_AT, end));
}

/** Header fields of a stored batch, for rebuilding state and for walking answers. */
export interface StoredBatch {
  readonly start: number;
  readonly end: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly leaderEpoch: number;
  readonly attributes: number;
  readonly baseTimestampMs: number;
  readonly maxTimestampMs: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
}

/** Reads the header at `start` of bytes that storage gave back (whole batches that this broker once checked). */
export function readStoredBatch(view: DataView, start: number): StoredBatch {
  assert(start + BATCH_OVERHEAD <= view.byteLength, "a stored batch is cut off");
  const baseOffset = readInt64(view, start);
  return {
    start,
    end: start + LOG_OVERHEAD + view.getInt32(start + LENGTH_AT),
    baseOffset,
    lastOffset: baseOffset + view.getInt32(start + LAST_OFFSET_DELTA_AT),
    leaderEpoch: view.getInt32(start + LEADER_EPOCH_AT),
    attributes: view.getInt16(start + ATTRIBUTES_AT),
    baseTimestampMs: readInt64(view, start + BASE_TIMESTAMP_AT),
    maxTimestampMs: readInt64(view, start + MAX_TIMESTAMP_AT),
    producerId: readInt64(view, start + PRODUCER_ID_AT),
    producerEpoch: view.getInt16(start + PRODUCER_EPOCH_AT),
    baseSequence: view.getInt32(start + BASE_SEQUENCE_AT),
    recordCount: view.getInt32(start + RECORD_COUNT_AT),
  };
}

/** Sequence numbers run from 0 to 2^31 - 1 and begin again at 0. */
export function addToSequence(sequence: number, increment: number): number {
  const sum = sequence + increment;
  return sum > 0x7fffffff ? sum - 0x80000000 : sum;
}
