/**
 * The records inside a batch of magic 2, one by one: for tools, internal topics and tests. The produce and fetch paths never come here.
 *
 * Record: length varint, attributes int8, timestampDelta varlong, offsetDelta varint, key and value as varint length (-1 for null) and
 * bytes, then a varint count of headers: key as varint length and UTF-8, value as varint length (-1 for null) and bytes.
 */
import { DecodeError } from "./codec-error.ts";
import { Reader } from "./reader.ts";
import {
  BATCH_HEADER_BYTES,
  batchAttributes,
  batchBaseOffset,
  batchBaseTimestamp,
  batchEnd,
  batchMaxTimestamp,
  batchRecordCount,
  COMPRESSION_MASK,
  CONTROL_BIT,
  type Crc32c,
  DELETE_HORIZON_BIT,
  LOG_APPEND_TIME_BIT,
  patchCrc,
  TRANSACTIONAL_BIT,
} from "./record-batch.ts";
import { Writer } from "./writer.ts";

export interface RecordHeader {
  readonly key: string;
  readonly value: Uint8Array | null;
}

export interface DecodedRecord {
  readonly offset: bigint;
  /** Milliseconds; the batch's append time when it has one. */
  readonly timestamp: bigint;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

/** At least this many bytes per record: length, attributes, two deltas, key and value length, header count. */
const MIN_RECORD_BYTES = 7;

/** Content of a batch's compressed payload; `compression.ts` has it. */
export type Decompress = (codec: number, payload: Uint8Array) => Uint8Array;

/**
 * Records of the batch that begins at `at`; keys and values are views. DecodeError for anything malformed, and for a compressed batch when no
 * `decompress` is given.
 */
export function* iterateRecords(bytes: Uint8Array, at: number, decompress?: Decompress): Generator<DecodedRecord> {
  const end = batchEnd(bytes, at);
  const attributes = batchAttributes(bytes, at);
  const codec = attributes & COMPRESSION_MASK;
  let payload = bytes.subarray(at + BATCH_HEADER_BYTES, end);
  if (codec !== 0) {
    if (decompress === undefined) throw new DecodeError(`batch at ${at} is compressed with codec ${codec}`);
    payload = decompress(codec, payload);
  }
  const reader = new Reader(payload);
  const count = batchRecordCount(bytes, at);
  if (count < 0 || count * MIN_RECORD_BYTES > payload.length) throw new DecodeError(`${count} records in ${payload.length} bytes`);
  const baseOffset = batchBaseOffset(bytes, at);
  const baseTimestamp = batchBaseTimestamp(bytes, at);
  const appendTime = (attributes & LOG_APPEND_TIME_BIT) === 0 ? undefined : batchMaxTimestamp(bytes, at);
  for (let i = 0; i < count; i++) {
    const record = readRecord(reader, baseOffset, baseTimestamp);
    yield appendTime === undefined ? record : { ...record, timestamp: appendTime };
  }
  reader.expectEnd();
}

function readRecord(reader: Reader, baseOffset: bigint, baseTimestamp: bigint): DecodedRecord {
  const length = reader.readVarint();
  if (length < 0 || length > reader.remaining) throw new DecodeError(`record of ${length} bytes, ${reader.remaining} left`);
  const end = reader.pos + length;
  reader.readInt8();
  const timestamp = baseTimestamp + reader.readVarlong();
  const offset = baseOffset + BigInt(reader.readVarint());
  const key = readVarBytes(reader);
  const value = readVarBytes(reader);
  const headerCount = reader.readVarint();
  if (headerCount < 0 || headerCount > reader.remaining) throw new DecodeError(`${headerCount} record headers`);
  const headers: RecordHeader[] = [];
  for (let i = 0; i < headerCount; i++) {
    const name = readVarBytes(reader);
    if (name === null) throw new DecodeError("record header without a key");
    headers.push({ key: new TextDecoder("utf-8", { ignoreBOM: true }).decode(name), value: readVarBytes(reader) });
  }
  if (reader.pos !== end) throw new DecodeError(`record ends at ${reader.pos}, its length says ${end}`);
  return { offset, timestamp, key, value, headers };
}

function readVarBytes(reader: Reader): Uint8Array | null {
  const length = reader.readVarint();
  return length < 0 ? null : reader.readRaw(length);
}

export interface RecordInput {
  /** Milliseconds. */
  readonly timestamp: bigint;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: readonly RecordHeader[];
  /** Default: the record's index. */
  readonly offsetDelta?: number;
}

export interface BatchOptions {
  readonly records: readonly RecordInput[];
  readonly baseOffset?: bigint;
  readonly partitionLeaderEpoch?: number;
  readonly producerId?: bigint;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
  readonly transactional?: boolean;
  readonly control?: boolean;
  /** Milliseconds; sets the timestamp type to LogAppendTime. */
  readonly logAppendTimeMs?: bigint;
  /** Milliseconds; what compaction keeps in place of the base timestamp. */
  readonly deleteHorizonMs?: bigint;
  readonly codec?: { readonly id: number; readonly compress: (payload: Uint8Array) => Uint8Array };
}

/** A whole batch, as Kafka's MemoryRecordsBuilder makes it. At least one record. */
export function buildBatch(options: BatchOptions, crc32c: Crc32c): Uint8Array {
  const { records, codec } = options;
  const baseTimestamp = options.deleteHorizonMs ?? records[0]?.timestamp ?? -1n;
  const payload = new Writer(1024);
  let maxTimestamp = -1n;
  let lastOffsetDelta = 0;
  records.forEach((record, index) => {
    lastOffsetDelta = record.offsetDelta ?? index;
    if (record.timestamp > maxTimestamp) maxTimestamp = record.timestamp;
    writeRecord(payload, record, record.timestamp - baseTimestamp, lastOffsetDelta);
  });
  const content = codec === undefined ? payload.toBytes() : codec.compress(payload.toBytes());
  const writer = new Writer(BATCH_HEADER_BYTES + content.length);
  writer.writeInt64(options.baseOffset ?? 0n);
  writer.writeInt32(BATCH_HEADER_BYTES - 12 + content.length);
  writer.writeInt32(options.partitionLeaderEpoch ?? -1);
  writer.writeInt8(2);
  writer.writeUint32(0);
  writer.writeInt16(attributesOf(options));
  writer.writeInt32(lastOffsetDelta);
  writer.writeInt64(baseTimestamp);
  writer.writeInt64(options.logAppendTimeMs ?? maxTimestamp);
  writer.writeInt64(options.producerId ?? -1n);
  writer.writeInt16(options.producerEpoch ?? -1);
  writer.writeInt32(options.baseSequence ?? -1);
  writer.writeInt32(records.length);
  writer.writeRaw(content);
  const batch = writer.toBytes();
  patchCrc(batch, 0, crc32c);
  return batch;
}

function attributesOf(options: BatchOptions): number {
  return (
    (options.codec?.id ?? 0) |
    (options.logAppendTimeMs === undefined ? 0 : LOG_APPEND_TIME_BIT) |
    (options.transactional === true ? TRANSACTIONAL_BIT : 0) |
    (options.control === true ? CONTROL_BIT : 0) |
    (options.deleteHorizonMs === undefined ? 0 : DELETE_HORIZON_BIT)
  );
}

function writeRecord(writer: Writer, record: RecordInput, timestampDelta: bigint, offsetDelta: number): void {
  const body = new Writer(64 + (record.key?.length ?? 0) + (record.value?.length ?? 0));
  body.writeInt8(0);
  body.writeVarlong(timestampDelta);
  body.writeVarint(offsetDelta);
  writeVarBytes(body, record.key);
  writeVarBytes(body, record.value);
  const headers = record.headers ?? [];
  body.writeVarint(headers.length);
  for (const header of headers) {
    writeVarBytes(body, new TextEncoder().encode(header.key));
    writeVarBytes(body, header.value);
  }
  const bytes = body.toBytes();
  writer.writeVarint(bytes.length);
  writer.writeRaw(bytes);
}

function writeVarBytes(writer: Writer, value: Uint8Array | null): void {
  writer.writeVarint(value === null ? -1 : value.length);
  if (value !== null) writer.writeRaw(value);
}
