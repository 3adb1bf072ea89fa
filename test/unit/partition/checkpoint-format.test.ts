import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { decodeCheckpoint, encodeCheckpoint } from "../../../src/partition/checkpoint-format.ts";
import { listBatches, ProducerState } from "../../../src/partition/producer-state.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

const FIXTURE = new URL("../../fixtures/partition-checkpoint-v1.bin", import.meta.url);

function sample(): Uint8Array {
  const producers = new ProducerState();
  producers.record(7, 0, { firstSequence: 0, lastSequence: 9, lastOffset: 2 ** 33, maxTimestampMs: 1_700_000_000_000 }, 1_700_000_000_001);
  producers.record(7, 0, { firstSequence: 10, lastSequence: 10, lastOffset: 2 ** 33 + 1, maxTimestampMs: -1 }, 1_700_000_000_002);
  producers.record(
    2 ** 40,
    3,
    { firstSequence: 0x7fffffff, lastSequence: 2, lastOffset: 2 ** 33 + 5, maxTimestampMs: 5 },
    1_700_000_000_003,
  );
  const epochs = [
    { epoch: 0, startOffset: 0 },
    { epoch: 4, startOffset: 2 ** 32 + 1 },
  ];
  return encodeCheckpoint(2 ** 33 + 6, epochs, producers.entries(), tableCrc32c);
}

describe("partition checkpoints", () => {
  test("the fixture of version 1 is read for ever, and written so today", () => {
    const stored = new Uint8Array(readFileSync(FIXTURE));
    expect(Buffer.from(sample()).equals(stored)).toBe(true);
    const checkpoint = decodeCheckpoint(stored, tableCrc32c);
    expect(checkpoint.endOffset).toBe(2 ** 33 + 6);
    expect(checkpoint.leaderEpochs[1]).toEqual({ epoch: 4, startOffset: 2 ** 32 + 1 });
    expect(checkpoint.producers[0]?.batches[1]).toEqual({
      firstSequence: 10,
      lastSequence: 10,
      lastOffset: 2 ** 33 + 1,
      maxTimestampMs: -1,
    });
    expect(checkpoint.producers[1]).toMatchObject({ producerId: 2 ** 40, epoch: 3, lastUsedMs: 1_700_000_000_003 });
  });

  test("every flipped bit, every cut and every foreign version is refused", () => {
    const bytes = sample();
    for (let at = 0; at < bytes.length; at++) {
      const broken = bytes.slice();
      broken[at] = (broken[at] ?? 0) ^ (1 << (at % 8));
      expect(() => decodeCheckpoint(broken, tableCrc32c)).toThrow("checkpoint cannot be read");
      expect(() => decodeCheckpoint(bytes.slice(0, at), tableCrc32c)).toThrow("checkpoint cannot be read");
    }
    const newer = bytes.slice();
    newer[5] = 2;
    new DataView(newer.buffer).setUint32(newer.length - 4, tableCrc32c(newer, 0, newer.length - 4));
    expect(() => decodeCheckpoint(newer, tableCrc32c)).toThrow("format version 2");
  });

  test("random states come back as they were", () => {
    const random = new SeededRandom(11);
    for (let round = 0; round < 50; round++) {
      const state = new ProducerState();
      for (let step = random.nextInt(200); step > 0; step--) {
        const first = random.nextInt(0x7fffffff);
        const batch = {
          firstSequence: first,
          lastSequence: first,
          lastOffset: random.nextInt(2 ** 31) * 2 ** 20,
          maxTimestampMs: random.nextInt(2 ** 31),
        };
        state.record(random.nextInt(20) * 2 ** 32, random.nextInt(3), batch, step);
      }
      const decoded = decodeCheckpoint(encodeCheckpoint(1, [], state.entries(), tableCrc32c), tableCrc32c);
      const expected = [...state.entries()].map((entry) => ({
        producerId: entry.producerId,
        epoch: entry.epoch,
        lastUsedMs: entry.lastUsedMs,
        batches: listBatches(entry),
      }));
      expect(decoded.producers).toEqual(expected);
    }
  });
});
