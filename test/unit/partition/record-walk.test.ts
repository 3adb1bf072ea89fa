import { describe, expect, test } from "bun:test";
import { readInt64, viewOf, writeInt64 } from "../../../src/partition/batch-layout.ts";
import type { BatchRules } from "../../../src/partition/batch-validation.ts";
import { getWalkPosition, nextRecord, startWalk } from "../../../src/partition/record-walk.ts";
import { decompressForTest, encodeRecord, makeBatch, withCrc } from "../support/record-batches.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";
import { validateBatch } from "../support/validate-batch.ts";

const RULES: BatchRules = {
  maxMessageBytes: 1 << 20,
  isLogAppendTime: false,
  timestampBeforeMaxMs: 2 ** 63,
  timestampAfterMaxMs: 3_600_000,
  isCompacted: false,
  maxDecompressedRecordBytes: 2 ** 31 - 1,
};
const CONTEXT = {
  crc32c: tableCrc32c,
  decompress: decompressForTest,
  nowMs: 1_700_000_000_000,
  topicName: "t",
  partition: 0,
  isZstdAllowed: true,
};

describe("walking records", () => {
  test("every delta comes back exactly within 2^53", () => {
    for (const delta of [
      0,
      1,
      -1,
      63,
      64,
      -64,
      -65,
      2 ** 31 - 1,
      -(2 ** 31),
      2 ** 32,
      2 ** 45 + 3,
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER,
    ]) {
      const bytes = Uint8Array.from(encodeRecord({ key: "k", value: "v", timestampDelta: delta, offsetDelta: 7 }, 0));
      startWalk(0);
      expect(nextRecord(bytes, bytes.length)).toMatchObject({ timestampDelta: delta, offsetDelta: 7, hasKey: true });
      expect(getWalkPosition()).toBe(bytes.length);
    }
  });

  test("a record cut anywhere is refused", () => {
    const bytes = Uint8Array.from(encodeRecord({ key: "key", value: "value", headers: [["h", "x"]] }, 3));
    for (let end = 0; end < bytes.length; end++) {
      startWalk(0);
      expect(nextRecord(bytes, end)).toBeUndefined();
    }
  });

  test("64-bit numbers in headers", () => {
    const view = new DataView(new ArrayBuffer(8));
    for (const value of [0, 1, -1, 2 ** 32, -(2 ** 32) - 5, 2 ** 53 - 1, -(2 ** 53) + 1]) {
      writeInt64(view, 0, value);
      expect(view.getBigInt64(0)).toBe(BigInt(value));
      expect(readInt64(view, 0)).toBe(value);
    }
  });

  test("fuzz: a batch with flipped bytes and a right checksum is refused or stays walkable; nothing is thrown", () => {
    const random = new SeededRandom(5);
    let refused = 0;
    for (let round = 0; round < 3000; round++) {
      const records = Array.from({ length: 1 + random.nextInt(5) }, (_, index) => ({
        key: random.chance(50) ? "k" : null,
        value: `v${index}`,
      }));
      const bytes = makeBatch({ records, codec: random.pick([0, 0, 0, 1, 4]) });
      for (let flips = random.nextInt(4); flips > 0; flips--) bytes[12 + random.nextInt(bytes.length - 12)] = random.nextInt(256);
      if (random.chance(70)) withCrc(bytes);
      const checked = validateBatch(random.chance(10) ? bytes.subarray(0, random.nextInt(bytes.length)) : bytes, RULES, CONTEXT);
      if (checked.kind === "refused") refused += 1;
      else {
        expect(viewOf(bytes).getUint32(17)).toBe(tableCrc32c(bytes, 21, bytes.length));
        expect(validateBatch(bytes, RULES, CONTEXT).kind).toBe("checked");
      }
    }
    expect(refused).toBeGreaterThan(1000);
  });
});
