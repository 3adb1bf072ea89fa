/** The tail's index against a plain array, and the release tracker. */
import { expect, test } from "bun:test";
import { BatchIndex } from "../../../../src/storage/stream/batch-index.ts";
import { ReleaseTracker } from "../../../../src/storage/stream/release-tracker.ts";
import { StreamLog } from "../../../../src/storage/stream/stream-log.ts";
import type { Lsn } from "../../../../src/storage/types.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { STREAM_A, STREAM_B } from "../storage-harness.ts";

test("M5: random pushes, trims and finds agree with an array, beyond 2^32", () => {
  const random = new SeededRandom(5);
  const index = new BatchIndex();
  const model: { base: number; last: number; length: number; lsn: number }[] = [];
  let head = 0;
  let next = 2 ** 32 - 500;
  for (let step = 0; step < 20_000; step += 1) {
    if (random.chance(60)) {
      const last = next + random.nextInt(1_000_000);
      const entry = { base: next, last, length: 1 + random.nextInt(9_999), lsn: 2 ** 34 + step };
      index.push(entry.base, last, step, 7, { lsn: entry.lsn as Lsn, ringBlock: step - 1, offset: step % 4096, length: entry.length });
      model.push(entry);
      next = last + 1;
    } else if (random.chance(10)) {
      head += random.nextInt(model.length - head + 1);
      index.trimTo(head);
    }
    expect(index.headSequence).toBe(head);
    expect(index.endSequence).toBe(model.length);
    if (head === model.length) continue;
    const sequence = head + random.nextInt(model.length - head);
    const entry = model[sequence];
    if (entry === undefined) throw new Error("held");
    expect(index.baseOffset(sequence)).toBe(entry.base);
    expect(index.location(sequence)).toMatchObject({ lsn: entry.lsn, length: entry.length });
    expect(index.find(entry.base + Math.floor((entry.last - entry.base) / 2))).toBe(sequence);
  }
  expect(index.find(next)).toBe(model.length);
  expect(() => index.push(next + 1, next + 1, 0, 0, { lsn: 0 as Lsn, ringBlock: 0, offset: 0, length: 1 })).toThrow("contiguous");
});

test("M1: a release raises just what its commits hold", () => {
  const tracker = new ReleaseTracker();
  const a = new StreamLog(STREAM_A, 1, 0, 0);
  const b = new StreamLog(STREAM_B, 1, 0, 0);
  a.nextOffset = 100;
  b.nextOffset = 100;
  tracker.noteAppend(a, 10 as Lsn, 5);
  tracker.noteAppend(b, 10 as Lsn, 7);
  tracker.noteAppend(a, 10 as Lsn, 9);
  tracker.noteAppend(a, 12 as Lsn, 20);
  expect(tracker.release(10 as Lsn)).toEqual([]);
  expect(tracker.release(12 as Lsn)).toEqual([a, b]);
  expect([a.durableEndOffset, b.durableEndOffset]).toEqual([9, 7]);
  expect(tracker.release(13 as Lsn)).toEqual([a]);
  expect(a.durableEndOffset).toBe(20);
  for (let i = 0; i < 1_000; i += 1) {
    tracker.noteAppend(b, (100 + i) as Lsn, 8);
    tracker.noteAppend(a, (100 + i) as Lsn, 21);
    if (i % 3 === 0) expect(tracker.release((100 + i) as Lsn)).toHaveLength(i === 0 ? 0 : 2);
  }
});
