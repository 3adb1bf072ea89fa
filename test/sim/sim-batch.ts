/**
 * The clients' record batches (magic 2, uncompressed; layout in test/support/record-batch.ts), written and read without the server's code. A record's value tells who
 * made it: producer u32, counter u32, then filler that follows from both, so that any wrong byte shows.
 */
import { tableCrc32c } from "../unit/support/table-crc32c.ts";

const HEADER_BYTES = 61;
const VALUE_HEAD_BYTES = 8;
/** Bits of a batch's attributes. */
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const COMMIT = 1;

export interface BatchIdentity {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly timestampMs: number;
  /** Part of a transaction; default: no. */
  readonly isTransactional?: boolean;
}

export type Crc = (bytes: Uint8Array, start: number, end: number) => number;

let crc32c: Crc = tableCrc32c;
/** The addon's where it is built. */
export function useCrc(faster: Crc): void {
  crc32c = faster;
}

/** The checksum that the clients compute with. */
export const simCrc: Crc = (bytes, start, end) => crc32c(bytes, start, end);

function fillerByte(producer: number, counter: number): number {
  return (Math.imul(producer + 1, 0x9e3779b1) + Math.imul(counter + 1, 0x85ebca6b)) >>> 24;
}

/** `fillerBytes` of each record, from `firstCounter` on. */
export function encodeSimBatch(producer: number, firstCounter: number, fillerBytes: readonly number[], identity: BatchIdentity): Buffer {
  let size = HEADER_BYTES;
  const bodies = fillerBytes.map((filler, index) => {
    const value = VALUE_HEAD_BYTES + filler;
    // attributes, timestamp delta, offset delta, no key, value with its length, no headers
    const body = 2 + varintBytes(index) + 1 + varintBytes(value) + value + 1;
    size += varintBytes(body) + body;
    return body;
  });
  const bytes = Buffer.alloc(size);
  bytes.writeInt32BE(size - 12, 8);
  bytes.writeInt32BE(-1, 12);
  bytes.writeInt8(2, 16);
  if (identity.isTransactional === true) bytes.writeInt16BE(TRANSACTIONAL, 21);
  bytes.writeInt32BE(fillerBytes.length - 1, 23);
  bytes.writeBigInt64BE(BigInt(identity.timestampMs), 27);
  bytes.writeBigInt64BE(BigInt(identity.timestampMs), 35);
  bytes.writeBigInt64BE(BigInt(identity.producerId), 43);
  bytes.writeInt16BE(identity.producerEpoch, 51);
  bytes.writeInt32BE(identity.baseSequence, 53);
  bytes.writeInt32BE(fillerBytes.length, 57);
  let at = HEADER_BYTES;
  for (const [index, filler] of fillerBytes.entries()) {
    at = writeVarint(bytes, at, bodies[index]!);
    at = writeVarint(bytes, at + 2, index);
    bytes[at++] = 1;
    at = writeVarint(bytes, at, VALUE_HEAD_BYTES + filler);
    at = bytes.writeUInt32BE(producer, at);
    at = bytes.writeUInt32BE(firstCounter + index, at);
    bytes.fill(fillerByte(producer, firstCounter + index), at, at + filler);
    at += filler + 1;
  }
  bytes.writeUInt32BE(crc32c(bytes, 21, size), 17);
  return bytes;
}

export interface SimRecord {
  readonly offset: number;
  readonly producer: number;
  readonly counter: number;
}

/** One batch, as a consumer takes it apart. */
export interface SimBatch {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly isTransactional: boolean;
  /** The end of a transaction; then there are no records. */
  readonly marker: "commit" | "abort" | undefined;
  readonly records: readonly SimRecord[];
}

/** Records of whole batches; one that is cut off at the end is left out. Throws an Error that says what is wrong with the bytes. */
export function decodeSimBatches(bytes: Uint8Array): SimRecord[] {
  const records: SimRecord[] = [];
  forEachBatch(bytes, (all, at) => decodeRecords(all, at, records));
  return records;
}

/** As `decodeSimBatches`, with what a read_committed consumer needs to know of each batch. */
export function decodeTransactionalBatches(bytes: Uint8Array): SimBatch[] {
  const batches: SimBatch[] = [];
  forEachBatch(bytes, (all, at) => {
    const attributes = all.readInt16BE(at + 21);
    const isControl = (attributes & CONTROL) !== 0;
    const records: SimRecord[] = [];
    if (!isControl) decodeRecords(all, at, records);
    const baseOffset = Number(all.readBigInt64BE(at));
    batches.push({
      baseOffset,
      lastOffset: baseOffset + all.readInt32BE(at + 23),
      producerId: Number(all.readBigInt64BE(at + 43)),
      producerEpoch: all.readInt16BE(at + 51),
      isTransactional: (attributes & TRANSACTIONAL) !== 0,
      marker: isControl ? markerOf(all, at + HEADER_BYTES) : undefined,
      records,
    });
  });
  return batches;
}

/** A control record at `at`: length, attributes, timestamp delta, offset delta, key length, each one byte in so short a record; key: version and kind. */
function markerOf(all: Buffer, at: number): "commit" | "abort" {
  return all.readInt16BE(at + 7) === COMMIT ? "commit" : "abort";
}

function forEachBatch(bytes: Uint8Array, visit: (all: Buffer, at: number) => void): void {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + HEADER_BYTES <= all.length; ) {
    const length = all.readInt32BE(at + 8);
    if (length < HEADER_BYTES - 12) throw new Error(`a batch of ${length} bytes`);
    const end = at + 12 + length;
    if (end > all.length) break;
    if (crc32c(all, at + 21, end) !== all.readUInt32BE(at + 17)) throw new Error(`the batch at byte ${at} has a wrong checksum`);
    visit(all, at);
    at = end;
  }
}

function decodeRecords(all: Buffer, at: number, records: SimRecord[]): void {
  const baseOffset = Number(all.readBigInt64BE(at));
  const count = all.readInt32BE(at + 57);
  let position = at + HEADER_BYTES;
  const varint = (): number => {
    let result = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = all[position++]!;
      result += (byte & 0x7f) * factor;
      if (byte < 0x80) return result % 2 === 0 ? result / 2 : -(result + 1) / 2;
    }
  };
  for (let index = 0; index < count; index++) {
    const recordEnd = varint() + position;
    position++;
    varint();
    const offset = baseOffset + varint();
    varint();
    const valueBytes = varint();
    const producer = all.readUInt32BE(position);
    const counter = all.readUInt32BE(position + 4);
    const valueEnd = position + valueBytes;
    const filler = fillerByte(producer, counter);
    for (let byte = position + VALUE_HEAD_BYTES; byte < valueEnd; byte++) {
      if (all[byte] !== filler) throw new Error(`offset ${offset} holds a value that no producer wrote`);
    }
    records.push({ offset, producer, counter });
    position = recordEnd;
  }
}

const varintBytes = (value: number): number => (value < 64 ? 1 : value < 8192 ? 2 : value < 1048576 ? 3 : 4);

function writeVarint(bytes: Buffer, at: number, value: number): number {
  let rest = value * 2;
  let place = at;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes[place++] = (rest % 128) | 0x80;
  bytes[place++] = rest;
  return place;
}
