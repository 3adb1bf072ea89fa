import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { decodeCheckpoint, encodeCheckpoint } from "../../../src/partition/checkpoint-format.ts";
import { listBatches, type ProducerEntry, ProducerState } from "../../../src/partition/producer-state.ts";
import type { AbortedTransaction } from "../../../src/partition/transaction-state.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

const TRANSACTIONAL_FIXTURE = new URL("../../fixtures/partition-checkpoint-v2.bin", import.meta.url);
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
  return encodeCheckpoint({ endOffset: 2 ** 33 + 6, leaderEpochs: epochs, producers: producers.entries(), aborted: [] }, tableCrc32c);
}

/** Open and ended transactions, a producer known by its marker alone, and aborted ones. */
function transactionalSample(): Uint8Array {
  const producers = new ProducerState();
  producers.record(7, 4, { firstSequence: 0, lastSequence: 9, lastOffset: 2 ** 33, maxTimestampMs: 1_700_000_000_000 }, 1_700_000_000_001);
  const open = producers.get(7);
  if (open === undefined) throw new Error("it was just recorded");
  open.transactionFirstOffset = 2 ** 33 - 9;
  producers.touch(2 ** 40, 3, 1_700_000_000_005, 1_700_000_000_006).coordinatorEpoch = 12;
  const aborted = [
    { producerId: 2 ** 40, firstOffset: 5, lastOffset: 2 ** 32 + 7, lastStableOffset: 2 ** 32 + 8 },
    { producerId: 9, firstOffset: 6, lastOffset: 2 ** 33 + 1, lastStableOffset: 2 ** 33 - 9 },
  ];
  return encodeCheckpoint(
    { endOffset: 2 ** 33 + 2, leaderEpochs: [{ epoch: 1, startOffset: 3 }], producers: producers.entries(), aborted },
    tableCrc32c,
  );
}

function randomAborted(random: SeededRandom): AbortedTransaction {
  const next = () => random.nextInt(2 ** 31) * 2 ** 21;
  return { producerId: next(), firstOffset: next(), lastOffset: next(), lastStableOffset: next() };
}

function describeEntry(entry: ProducerEntry) {
  const { rows: _, ...rest } = entry;
  return { ...rest, batches: listBatches(entry) };
}

describe("partition checkpoints", () => {
  test("the fixture of version 2, with transactions, is read for ever, and written so today", () => {
    const stored = new Uint8Array(readFileSync(TRANSACTIONAL_FIXTURE));
    expect(Buffer.from(transactionalSample()).equals(stored)).toBe(true);
    const checkpoint = decodeCheckpoint(stored, tableCrc32c);
    expect(checkpoint.producers[0]).toMatchObject({ producerId: 7, transactionFirstOffset: 2 ** 33 - 9, coordinatorEpoch: -1 });
    expect(checkpoint.producers[1]).toEqual({
      producerId: 2 ** 40,
      epoch: 3,
      coordinatorEpoch: 12,
      transactionFirstOffset: -1,
      lastUsedMs: 1_700_000_000_006,
      lastTimestampMs: 1_700_000_000_005,
      batches: [],
    });
    expect(checkpoint.aborted[1]).toEqual({ producerId: 9, firstOffset: 6, lastOffset: 2 ** 33 + 1, lastStableOffset: 2 ** 33 - 9 });
  });

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
    for (const bytes of [sample(), transactionalSample()]) expectNoDamagePasses(bytes);
    const newer = sample();
    newer[5] = 3;
    new DataView(newer.buffer).setUint32(newer.length - 4, tableCrc32c(newer, 0, newer.length - 4));
    expect(() => decodeCheckpoint(newer, tableCrc32c)).toThrow("format version 3");
  });

  function expectNoDamagePasses(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at++) {
      const broken = bytes.slice();
      broken[at] = (broken[at] ?? 0) ^ (1 << (at % 8));
      expect(() => decodeCheckpoint(broken, tableCrc32c)).toThrow("checkpoint cannot be read");
      expect(() => decodeCheckpoint(bytes.slice(0, at), tableCrc32c)).toThrow("checkpoint cannot be read");
    }
  }

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
      const aborted: AbortedTransaction[] = [];
      if (round % 2 === 1) {
        for (const entry of state.entries()) {
          entry.coordinatorEpoch = random.nextInt(10) - 1;
          entry.transactionFirstOffset = random.nextInt(2) === 0 ? -1 : random.nextInt(2 ** 31) * 2 ** 20;
          entry.lastTimestampMs = random.nextInt(2 ** 31);
        }
        for (let left = random.nextInt(20); left > 0; left--) aborted.push(randomAborted(random));
      }
      const written = encodeCheckpoint({ endOffset: 1, leaderEpochs: [], producers: state.entries(), aborted }, tableCrc32c);
      const decoded = decodeCheckpoint(written, tableCrc32c);
      const restored = new ProducerState();
      for (const producer of decoded.producers) restored.restore(producer);
      expect([...restored.entries()].map(describeEntry)).toEqual([...state.entries()].map(describeEntry));
      expect(decoded.aborted).toEqual(aborted);
    }
  });
});
