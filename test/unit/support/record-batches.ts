/** Makes record batches (message format v2) as a client would, and broken ones. Independent of the code under test. */
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from "bun";
import { tableCrc32c } from "./table-crc32c.ts";

export interface RecordSpec {
  readonly key?: string | null;
  readonly value?: string | null;
  readonly timestampDelta?: number;
  readonly offsetDelta?: number;
  readonly headers?: readonly (readonly [string, string])[];
}

export interface BatchSpec {
  readonly records?: readonly RecordSpec[];
  readonly baseOffset?: bigint;
  readonly attributes?: number;
  /** 0 none, 1 gzip, 4 zstd. */
  readonly codec?: number;
  readonly baseTimestamp?: bigint;
  readonly maxTimestamp?: bigint;
  readonly producerId?: bigint;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
  readonly count?: number;
  readonly lastOffsetDelta?: number;
  readonly magic?: number;
  /** Put after the records, inside the batch. */
  readonly trailer?: Uint8Array;
  readonly leaderEpoch?: number;
}

export const BASE_TIME = 1_700_000_000_000;

function varint(value: number | bigint): number[] {
  let zigzag = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
  const bytes: number[] = [];
  for (;;) {
    const low = Number(zigzag & 0x7fn);
    zigzag >>= 7n;
    if (zigzag === 0n) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

function lengthAndBytes(text: string | null | undefined): number[] {
  if (text === null || text === undefined) return varint(-1);
  const bytes = Buffer.from(text);
  return [...varint(bytes.length), ...bytes];
}

export function encodeRecord(spec: RecordSpec, index: number): number[] {
  const headers = spec.headers ?? [];
  const body = [
    0,
    ...varint(spec.timestampDelta ?? index),
    ...varint(spec.offsetDelta ?? index),
    ...lengthAndBytes(spec.key),
    ...lengthAndBytes(spec.value),
    ...varint(headers.length),
    ...headers.flatMap(([key, value]) => [...lengthAndBytes(key), ...lengthAndBytes(value)]),
  ];
  return [...varint(body.length), ...body];
}

export function makeBatch(spec: BatchSpec = {}): Uint8Array {
  const records = spec.records ?? [{ key: "k", value: "v" }];
  const plain = Buffer.concat([
    Uint8Array.from(records.flatMap((record, index) => encodeRecord(record, index))),
    spec.trailer ?? new Uint8Array(),
  ]);
  const codec = spec.codec ?? 0;
  const payload = codec === 4 ? zstdCompressSync(plain) : codec === 1 ? gzipSync(plain) : plain;
  const bytes = Buffer.alloc(61 + payload.length);
  const baseTimestamp = spec.baseTimestamp ?? BigInt(BASE_TIME);
  const deltas = records.map((record, index) => record.timestampDelta ?? index);
  bytes.writeBigInt64BE(spec.baseOffset ?? 0n, 0);
  bytes.writeInt32BE(bytes.length - 12, 8);
  bytes.writeInt32BE(spec.leaderEpoch ?? -1, 12);
  bytes.writeInt8(spec.magic ?? 2, 16);
  bytes.writeInt16BE((spec.attributes ?? 0) | codec, 21);
  bytes.writeInt32BE(spec.lastOffsetDelta ?? records.length - 1, 23);
  bytes.writeBigInt64BE(baseTimestamp, 27);
  bytes.writeBigInt64BE(spec.maxTimestamp ?? baseTimestamp + BigInt(Math.max(0, ...deltas)), 35);
  bytes.writeBigInt64BE(spec.producerId ?? -1n, 43);
  bytes.writeInt16BE(spec.producerEpoch ?? -1, 51);
  bytes.writeInt32BE(spec.baseSequence ?? -1, 53);
  bytes.writeInt32BE(spec.count ?? records.length, 57);
  bytes.set(payload, 61);
  return withCrc(bytes);
}

export function withCrc(bytes: Uint8Array): Uint8Array {
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(17, tableCrc32c(bytes, 21, bytes.length));
  return bytes;
}

/** gzip and zstd, as the tests need them. */
export function decompressForTest(codec: number, bytes: Uint8Array, start: number, end: number): Uint8Array {
  const content = bytes.slice(start, end);
  if (codec === 4) return zstdDecompressSync(content);
  if (codec === 1) return gunzipSync(content);
  throw new Error(`codec ${codec} is not in the tests`);
}
