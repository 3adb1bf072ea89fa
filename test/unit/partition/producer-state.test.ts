import { describe, expect, test } from "bun:test";
import { addToSequence } from "../../../src/partition/batch-layout.ts";
import { listBatches, ProducerState } from "../../../src/partition/producer-state.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const MAX_SEQUENCE = 0x7fffffff;

function check(state: ProducerState, producerId: number, producerEpoch: number, baseSequence: number, lastSequence: number) {
  return state.check({ producerId, producerEpoch, baseSequence, lastSequence, isTransactional: false });
}

function append(state: ProducerState, producerId: number, epoch: number, first: number, count: number, baseOffset: number): void {
  const lastSequence = addToSequence(first, count - 1);
  expect(check(state, producerId, epoch, first, lastSequence)).toEqual({ kind: "next" });
  state.record(producerId, epoch, { firstSequence: first, lastSequence, lastOffset: baseOffset + count - 1, maxTimestampMs: 7 }, 0);
}

describe("idempotent producers", () => {
  test("R2: any of the last five batches is a duplicate with its first answer, an older one is out of order", () => {
    const state = new ProducerState();
    for (let index = 0; index < 7; index++) append(state, 9, 0, index * 10, 10, 100 + index * 10);
    for (let index = 2; index < 7; index++) {
      expect(check(state, 9, 0, index * 10, index * 10 + 9)).toEqual({
        kind: "duplicate",
        baseOffset: 100 + index * 10,
        lastOffset: 109 + index * 10,
        maxTimestampMs: 7,
      });
    }
    expect(check(state, 9, 0, 10, 19).kind).toBe("out-of-order");
    expect(check(state, 9, 0, 80, 89).kind).toBe("out-of-order");
    expect(check(state, 9, 0, 60, 64).kind).toBe("out-of-order");
    expect(check(state, 9, 0, 70, 70).kind).toBe("next");
  });

  test("an unknown producer begins anywhere; a new epoch begins at 0; an older epoch is fenced", () => {
    const state = new ProducerState();
    append(state, 1, 3, 41, 1, 0);
    expect(check(state, 1, 4, 5, 5).kind).toBe("out-of-order");
    expect(check(state, 1, 2, 0, 0).kind).toBe("stale-epoch");
    expect(check(state, 1, 2, 42, 42).kind).toBe("stale-epoch");
    append(state, 1, 4, 0, 1, 1);
    expect(check(state, 1, 4, 41, 41).kind).toBe("out-of-order");
  });

  test("without an epoch a producer has no order, until it has one", () => {
    const state = new ProducerState();
    expect(check(state, 2, -2, 0, 0).kind).toBe("stale-epoch");
    append(state, 2, -1, 5, 1, 0);
    append(state, 2, -1, 90, 1, 1);
    expect(check(state, 2, -1, 5, 5)).toMatchObject({ kind: "duplicate", baseOffset: 0 });
    append(state, 2, 0, 7, 1, 2);
    expect(check(state, 2, -1, 91, 91).kind).toBe("stale-epoch");
    expect(check(state, 2, 0, 9, 9).kind).toBe("out-of-order");
  });

  test("sequences wrap at 2^31, also inside a batch, and offsets go beyond 2^32", () => {
    const state = new ProducerState();
    const base = 2 ** 33;
    append(state, 5, 0, MAX_SEQUENCE - 1, 4, base);
    expect(check(state, 5, 0, MAX_SEQUENCE - 1, 1)).toMatchObject({ kind: "duplicate", baseOffset: base, lastOffset: base + 3 });
    append(state, 5, 0, 2, 1, base + 4);
    const exact = new ProducerState();
    append(exact, 5, 0, MAX_SEQUENCE, 1, 0);
    append(exact, 5, 0, 0, 1, 1);
  });

  test("idle producers expire, and the limit forgets the longest idle", () => {
    const state = new ProducerState(16);
    for (let id = 0; id < 16; id++) state.record(id, 0, { firstSequence: 0, lastSequence: 0, lastOffset: id, maxTimestampMs: 0 }, id);
    state.record(99, 0, { firstSequence: 0, lastSequence: 0, lastOffset: 99, maxTimestampMs: 0 }, 100);
    expect(state.size).toBe(15);
    expect(check(state, 0, 0, 5, 5).kind).toBe("next");
    expect(check(state, 2, 0, 5, 5).kind).toBe("out-of-order");
    expect(state.expire(100, 90)).toBe(9);
    expect([...state.entries()].map((entry) => entry.producerId)).toEqual([11, 12, 13, 14, 15, 99]);
  });

  for (let seed = 1; seed <= 30; seed++) {
    test(`agrees with a model that remembers everything, seed ${seed}`, () => {
      const random = new SeededRandom(seed);
      const state = new ProducerState();
      const model = new Map<number, { epoch: number; batches: { first: number; last: number; base: number }[] }>();
      let offset = seed % 3 === 0 ? 2 ** 32 - 20 : 0;
      for (let step = 0; step < 400; step++) {
        const id = random.nextInt(3);
        const known = model.get(id);
        const previous = known?.batches.at(-1);
        const epoch = Math.max(0, (known?.epoch ?? 0) + (random.chance(4) ? random.pick([-1, 1]) : 0));
        const next = previous === undefined ? random.pick([0, MAX_SEQUENCE - 3]) : addToSequence(previous.last, 1);
        const replay = known !== undefined && random.chance(35) ? random.pick(known.batches.slice(-8)) : undefined;
        const count = 1 + random.nextInt(4);
        const isNewEpoch = known !== undefined && epoch > known.epoch;
        const first = replay?.first ?? (random.chance(5) ? random.nextInt(50) : isNewEpoch ? 0 : next);
        const last = replay?.last ?? addToSequence(first, count - 1);
        const size = last >= first ? last - first + 1 : last + 0x80000000 - first + 1;
        const expected = predict(known, epoch, first, last, next);
        const verdict = check(state, id, epoch, first, last);
        expect<string>(verdict.kind).toBe(expected.kind);
        if (verdict.kind === "duplicate") expect(verdict.baseOffset).toBe(expected.base ?? -1);
        if (verdict.kind !== "next") continue;
        state.record(id, epoch, { firstSequence: first, lastSequence: last, lastOffset: offset + size - 1, maxTimestampMs: step }, step);
        const batches = known !== undefined && known.epoch === epoch ? known.batches : [];
        model.set(id, { epoch, batches: [...batches, { first, last, base: offset }] });
        offset += size;
      }
      for (const entry of state.entries()) {
        const kept = model.get(entry.producerId)?.batches.slice(-5) ?? [];
        expect(listBatches(entry).map((batch) => batch.firstSequence)).toEqual(kept.map((batch) => batch.first));
      }
    });
  }
});

function predict(
  known: { epoch: number; batches: { first: number; last: number; base: number }[] } | undefined,
  epoch: number,
  first: number,
  last: number,
  next: number,
): { kind: string; base?: number } {
  if (known === undefined) return { kind: "next" };
  if (epoch < known.epoch) return { kind: "stale-epoch" };
  if (epoch > known.epoch) return { kind: first === 0 ? "next" : "out-of-order" };
  const twin = known.batches.slice(-5).findLast((batch) => batch.first === first && batch.last === last);
  if (twin !== undefined) return { kind: "duplicate", base: twin.base };
  return { kind: first === next ? "next" : "out-of-order" };
}
