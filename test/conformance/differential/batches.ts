/**
 * Record batches as sequences describe them: plain data, good or damaged in one named way, coded when the producer's id on that server is known.
 * The writer is the tests' own, so that the servers are not compared with the code of one of them.
 */

import { loadAddon } from "../../../src/native/load-addon.ts";
import { compress } from "../../../src/protocol/compression.ts";
import { sealBatch } from "../../support/record-batch.ts";

export interface RecordSpec {
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: readonly (readonly [string, string | null])[];
  readonly timestampDelta: number;
}

/** How a batch is wrong; "none" is a good one. */
export const damages = [
  "crc",
  "count-more",
  "count-less",
  "count-zero",
  "count-negative",
  "last-delta-more",
  "last-delta-less",
  "last-delta-negative",
  "magic-0",
  "magic-1",
  "magic-3",
  "length-short",
  "length-long",
  "cut",
  "max-timestamp-low",
  "max-timestamp-high",
  "timestamp-future",
  "timestamp-past",
  "codec-5",
  "codec-7",
  "unused-attributes",
  "log-append-time",
  "delete-horizon",
  "control",
  "transactional",
  "payload-garbage",
  "record-trailing",
  "record-attributes",
  "record-length-short",
  "record-length-negative",
  "key-length-negative",
  "header-count-negative",
  "trailing-bytes",
  "tail-behind-batch",
  "two-batches",
  "epoch-without-producer",
  "producer-without-epoch",
  "sequence-negative",
  "base-offset",
  "leader-epoch",
] as const;
/** Faults after which the two servers are known to part (`allowed.ts`), and so rare. */
export const rareDamages = ["offset-delta-gap", "offset-delta-start", "timestamp-negative"] as const;

/** Records that are not what their length says: Kafka looks at them closely only in a batch that is not compressed. */
export const structureDamages: readonly Damage[] = [
  "record-trailing",
  "record-attributes",
  "record-length-short",
  "record-length-negative",
  "key-length-negative",
  "header-count-negative",
  "trailing-bytes",
];

export type Damage = (typeof damages)[number] | (typeof rareDamages)[number] | "none";

export interface BatchSpec {
  readonly codec: number;
  readonly records: readonly RecordSpec[];
  /** Milliseconds. */
  readonly baseTimestamp: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly isTransactional: boolean;
  readonly damage: Damage;
}

const headerBytes = 61;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value < 0 ? -value * 2 - 1 : value * 2;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return bytes;
}

function nullable(text: string | null): Buffer {
  if (text === null) return Buffer.from(varint(-1));
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from(varint(bytes.length)), bytes]);
}

function encodeRecord(record: RecordSpec, index: number, damage: Damage, isLast: boolean): Buffer {
  let offsetDelta = index;
  if (damage === "offset-delta-gap" && isLast) offsetDelta += 3;
  if (damage === "offset-delta-start") offsetDelta += 1;
  const key = damage === "key-length-negative" && isLast ? Buffer.from(varint(-2)) : nullable(record.key);
  const headerCount = damage === "header-count-negative" && isLast ? -1 : record.headers.length;
  const body = Buffer.concat([
    Buffer.from([damage === "record-attributes" && isLast ? 0x55 : 0]),
    Buffer.from(varint(record.timestampDelta)),
    Buffer.from(varint(offsetDelta)),
    key,
    nullable(record.value),
    Buffer.from(varint(headerCount)),
    ...record.headers.flatMap(([name, value]) => [nullable(name), nullable(value)]),
    Buffer.alloc(damage === "record-trailing" && isLast ? 3 : 0, 7),
  ]);
  let length = body.length;
  if (damage === "record-length-short" && isLast) length -= 2;
  if (damage === "record-length-negative" && isLast) length = -5;
  return Buffer.concat([Buffer.from(varint(length)), body]);
}

function payloadOf(spec: BatchSpec): Buffer {
  const { damage } = spec;
  const parts = spec.records.map((record, index) => encodeRecord(record, index, damage, index === spec.records.length - 1));
  if (damage === "trailing-bytes") parts.push(Buffer.from([1, 2, 3, 4]));
  const payload = Buffer.from(compress(spec.codec, Buffer.concat(parts), loadAddon()));
  if (damage !== "payload-garbage") return payload;
  const garbage = Buffer.from(payload);
  for (let at = 0; at < garbage.length; at += 3) garbage[at] = (garbage[at] ?? 0) ^ 0x5a;
  return garbage;
}

function attributesOf(spec: BatchSpec): number {
  const { damage } = spec;
  let attributes = spec.codec | (spec.isTransactional ? 0x10 : 0);
  if (damage === "codec-5") attributes = (attributes & ~7) | 5;
  if (damage === "codec-7") attributes |= 7;
  if (damage === "unused-attributes") attributes |= 0x4080;
  if (damage === "log-append-time") attributes |= 0x08;
  if (damage === "delete-horizon") attributes |= 0x40;
  if (damage === "control") attributes |= 0x20;
  if (damage === "transactional") attributes ^= 0x10;
  return attributes;
}

function damagedCount(count: number, damage: Damage): number {
  if (damage === "count-more") return count + 1;
  if (damage === "count-less") return count - 1;
  if (damage === "count-zero") return 0;
  return damage === "count-negative" ? -1 : count;
}

function damagedLastDelta(count: number, damage: Damage): number {
  if (damage === "last-delta-more") return count + 4;
  if (damage === "last-delta-less") return count - 2;
  if (damage === "last-delta-negative") return -1;
  return damage === "offset-delta-start" ? count : count - 1;
}

function baseTimestampOf(spec: BatchSpec, nowMs: number): number {
  if (spec.damage === "timestamp-future") return nowMs + 7 * 3_600_000;
  if (spec.damage === "timestamp-past") return 1000;
  return spec.damage === "timestamp-negative" ? -5 : spec.baseTimestamp;
}

function writeHeader(batch: Buffer, spec: BatchSpec, producerId: bigint, nowMs: number): void {
  const { damage } = spec;
  const count = spec.records.length;
  const base = baseTimestampOf(spec, nowMs);
  let max = base + Math.max(0, ...spec.records.map((record) => record.timestampDelta));
  if (damage === "max-timestamp-low") max -= 50;
  if (damage === "max-timestamp-high") max += 5000;
  let magic = 2;
  if (damage.startsWith("magic-")) magic = Number(damage.slice(6));
  batch.writeBigInt64BE(damage === "base-offset" ? 77n : 0n, 0);
  let length = batch.length - 12;
  if (damage === "length-short") length -= 5;
  if (damage === "length-long") length += 5;
  batch.writeInt32BE(length, 8);
  batch.writeInt32BE(damage === "leader-epoch" ? 9 : -1, 12);
  batch.writeInt8(magic, 16);
  batch.writeInt16BE(attributesOf(spec), 21);
  batch.writeInt32BE(damagedLastDelta(count, damage), 23);
  batch.writeBigInt64BE(BigInt(base), 27);
  batch.writeBigInt64BE(BigInt(max), 35);
  batch.writeBigInt64BE(damage === "epoch-without-producer" ? -1n : producerId, 43);
  batch.writeInt16BE(damage === "producer-without-epoch" ? -1 : spec.producerEpoch, 51);
  batch.writeInt32BE(damage === "sequence-negative" ? -1 : spec.baseSequence, 53);
  batch.writeInt32BE(damagedCount(count, damage), 57);
}

/** `producerId` is what the server gave; -1 for none. */
export function encodeBatchSpec(spec: BatchSpec, producerId: bigint, nowMs: number): Buffer {
  const payload = payloadOf(spec);
  let batch = Buffer.concat([Buffer.alloc(headerBytes), payload]);
  writeHeader(batch, spec, producerId, nowMs);
  sealBatch(batch);
  if (spec.damage === "crc") batch.writeUInt32BE((batch.readUInt32BE(17) ^ 0x1010) >>> 0, 17);
  if (spec.damage === "cut") batch = batch.subarray(0, Math.max(13, batch.length - 9));
  if (spec.damage === "tail-behind-batch") batch = Buffer.concat([batch, Buffer.alloc(9, 3)]);
  if (spec.damage === "two-batches") batch = Buffer.concat([batch, batch]);
  return batch;
}
