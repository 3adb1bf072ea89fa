import { expect, test } from "bun:test";
import { RefusedSequences } from "../../../src/partition/refused-sequences.ts";

const place = (baseSequence: number, producerEpoch = 0, partition = 0, producerId = 7) => ({
  topicId: "t",
  partition,
  producerId,
  producerEpoch,
  baseSequence,
});

test("what lies behind the lowest refused sequence waits for it, and nothing else does", () => {
  const refused = new RefusedSequences();
  expect(refused.isBehind(place(4), 0)).toBe(false);
  refused.note(place(4), 0);
  refused.note(place(2), 0);
  refused.note(place(9), 0);
  expect([1, 2, 3, 9].map((sequence) => refused.isBehind(place(sequence), 1))).toEqual([false, false, true, true]);
  expect([place(3, 1), place(3, 0, 1), place(3, 0, 0, 8)].map((other) => refused.isBehind(other, 1))).toEqual([false, false, false]);
  refused.clear(place(2));
  expect(refused.size).toBe(0);
});

test("an epoch replaces the one before it, and an older one changes nothing", () => {
  const refused = new RefusedSequences();
  refused.note(place(5, 1), 0);
  refused.note(place(0, 0), 0);
  expect(refused.isBehind(place(5, 1), 0)).toBe(false);
  refused.note(place(7, 2), 0);
  expect([refused.isBehind(place(8, 1), 0), refused.isBehind(place(8, 2), 0)]).toEqual([false, true]);
});

test("sequences wrap", () => {
  const refused = new RefusedSequences();
  refused.note(place(2 ** 31 - 1), 0);
  expect([2 ** 31 - 2, 2 ** 31 - 1, 0, 5].map((sequence) => refused.isBehind(place(sequence), 0))).toEqual([false, false, true, true]);
});

test("nobody waits for ever, and no more than 10,000 are remembered", () => {
  const refused = new RefusedSequences();
  refused.note(place(0), 0);
  expect([refused.isBehind(place(1), 299_999), refused.isBehind(place(1), 300_000)]).toEqual([true, false]);
  for (let producerId = 100; producerId < 10_100; producerId++) refused.note(place(0, 0, 0, producerId), 1);
  expect(refused.size).toBe(10_000);
  expect([refused.isBehind(place(1), 1), refused.isBehind(place(1, 0, 0, 100), 1)]).toEqual([false, true]);
});
