/** Batches of magic 2: what is built is read back, patches keep or renew the CRC, damage is a DecodeError. */
import { describe, expect, test } from "bun:test";
import { getInt16, getInt32, getInt64, setInt16, setInt32, setInt64 } from "../../../src/protocol/big-endian.ts";
import { DecodeError } from "../../../src/protocol/codec-error.ts";
import {
  BATCH_HEADER_BYTES,
  batchBaseOffset,
  batchCrcMatches,
  batchEnd,
  batchPartitionLeaderEpoch,
  batchStarts,
  CONTROL_BIT,
  LOG_APPEND_TIME_BIT,
  patchBaseOffset,
  patchCrc,
  patchLogAppendTime,
  patchPartitionLeaderEpoch,
  readBatchHeader,
  TRANSACTIONAL_BIT,
} from "../../../src/protocol/record-batch.ts";
import { buildBatch, iterateRecords, type RecordInput } from "../../../src/protocol/records.ts";
import { crc32cTable } from "./crc32c-table.ts";
import { SeededRandom } from "./seeded-random.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

const records: RecordInput[] = [
  { timestamp: 1_700_000_000_000n, key: utf8("k"), value: utf8("v"), headers: [{ key: "trace", value: utf8("1") }] },
  { timestamp: 1_699_999_999_000n, key: null, value: null, headers: [{ key: "", value: null }] },
  { timestamp: 1_700_000_000_500n, key: new Uint8Array(0), value: new Uint8Array(300).fill(1), offsetDelta: 5 },
];

describe("record batch", () => {
  test("the table agrees with the CRC-32C check value", () => {
    expect(crc32cTable(utf8("123456789"), 0, 9)).toBe(0xe3069283);
  });

  test("header and records come back as they were given", () => {
    const batch = buildBatch(
      {
        records,
        baseOffset: 2n ** 33n,
        partitionLeaderEpoch: 7,
        producerId: 2n ** 40n,
        producerEpoch: 3,
        baseSequence: 11,
        transactional: true,
      },
      crc32cTable,
    );
    expect(readBatchHeader(batch, 0)).toMatchObject({
      baseOffset: 2n ** 33n,
      sizeBytes: batch.length,
      partitionLeaderEpoch: 7,
      attributes: TRANSACTIONAL_BIT,
      lastOffsetDelta: 5,
      baseTimestamp: 1_700_000_000_000n,
      maxTimestamp: 1_700_000_000_500n,
      producerId: 2n ** 40n,
      producerEpoch: 3,
      baseSequence: 11,
      recordCount: 3,
    });
    expect(batchCrcMatches(batch, 0, crc32cTable)).toBe(true);
    const decoded = [...iterateRecords(new Uint8Array(batch), 0)];
    expect(decoded.map(({ offset }) => offset - 2n ** 33n)).toEqual([0n, 1n, 5n]);
    decoded.forEach((record, i) => {
      const given = records[i]!;
      expect(record).toMatchObject({ timestamp: given.timestamp, key: given.key, value: given.value, headers: given.headers ?? [] });
    });
  });

  test("base offset and leader epoch lie outside the CRC, the append time inside", () => {
    const batch = buildBatch({ records, control: true }, crc32cTable);
    patchBaseOffset(batch, 0, 2n ** 53n - 1n);
    patchPartitionLeaderEpoch(batch, 0, 42);
    expect(batchBaseOffset(batch, 0)).toBe(2n ** 53n - 1n);
    expect(batchPartitionLeaderEpoch(batch, 0)).toBe(42);
    expect(batchCrcMatches(batch, 0, crc32cTable)).toBe(true);
    const before = readBatchHeader(batch, 0).crc;
    patchLogAppendTime(batch, 0, 5n, crc32cTable);
    expect(readBatchHeader(batch, 0)).toMatchObject({ attributes: CONTROL_BIT | LOG_APPEND_TIME_BIT, maxTimestamp: 5n });
    expect(readBatchHeader(batch, 0).crc).not.toBe(before);
    expect(batchCrcMatches(batch, 0, crc32cTable)).toBe(true);
    expect([...iterateRecords(batch, 0)].map(({ timestamp }) => timestamp)).toEqual([5n, 5n, 5n]);
  });

  test("a set of batches is walked, and one cut short is refused", () => {
    const one = buildBatch({ records }, crc32cTable);
    const set = Buffer.concat([one, one, one]);
    expect(batchStarts(set)).toEqual([0, one.length, 2 * one.length]);
    expect(batchEnd(set, one.length)).toBe(2 * one.length);
    for (const cut of [1, 16, 60, 61, one.length - 1]) expect(() => batchStarts(set.subarray(0, one.length + cut))).toThrow(DecodeError);
    expect(() => batchEnd(one, 0, one.length - 1)).toThrow(DecodeError);
    const oldMagic = one.slice();
    oldMagic[16] = 1;
    expect(() => batchEnd(oldMagic, 0)).toThrow("magic 1");
    for (const length of [-1, 0, 48, 2 ** 31 - 1]) {
      const wrong = one.slice();
      setInt32(wrong, 8, length);
      expect(() => batchEnd(wrong, 0)).toThrow(DecodeError);
    }
  });

  test("damaged records give a DecodeError, never anything else", () => {
    const random = new SeededRandom(7);
    const batch = buildBatch({ records }, crc32cTable);
    for (let round = 0; round < 5000; round++) {
      const damaged = new Uint8Array(batch);
      for (let flips = 1 + random.int(3); flips > 0; flips--)
        damaged[BATCH_HEADER_BYTES - 4 + random.int(batch.length - BATCH_HEADER_BYTES + 4)] = random.int(256);
      patchCrc(damaged, 0, crc32cTable);
      try {
        for (const record of iterateRecords(damaged, 0)) expect(record.headers.length).toBeLessThan(batch.length);
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
      }
    }
  });

  test("big-endian integers at their edges", () => {
    const bytes = new Uint8Array(8);
    for (const value of [0, 1, -1, 0x7fff, -0x8000]) {
      setInt16(bytes, 0, value);
      expect(getInt16(bytes, 0)).toBe(value);
    }
    for (const value of [0, 1, -1, 0x7fffffff, -0x80000000]) {
      setInt32(bytes, 3, value);
      expect(getInt32(bytes, 3)).toBe(value);
    }
    for (const value of [0n, 1n, -1n, 2n ** 32n, -(2n ** 32n), 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)]) {
      setInt64(bytes, 0, value);
      expect(getInt64(bytes, 0)).toBe(value);
    }
  });
});
