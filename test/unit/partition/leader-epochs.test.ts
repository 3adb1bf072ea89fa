import { describe, expect, test } from "bun:test";
import { LeaderEpochs } from "../../../src/partition/leader-epochs.ts";

function chain(...entries: [number, number][]): LeaderEpochs {
  const epochs = new LeaderEpochs();
  for (const [epoch, startOffset] of entries) epochs.assign(epoch, startOffset);
  return epochs;
}

describe("leader epochs", () => {
  test("where an epoch ends (compared with Apache Kafka 4.4.0)", () => {
    const epochs = chain([2, 0], [5, 10], [9, 2 ** 33]);
    const end = 2 ** 33 + 7;
    const cases: readonly [number, { epoch: number; endOffset: number } | undefined][] = [
      [9, { epoch: 9, endOffset: end }],
      [8, { epoch: 5, endOffset: 2 ** 33 }],
      [5, { epoch: 5, endOffset: 2 ** 33 }],
      [3, { epoch: 2, endOffset: 10 }],
      [1, { epoch: 1, endOffset: 0 }],
      [-2, { epoch: -2, endOffset: 0 }],
      [-1, undefined],
      [10, undefined],
      [2 ** 31 - 1, undefined],
    ];
    for (const [requested, expected] of cases) expect(epochs.endOf(requested, end)).toEqual(expected);
    expect(new LeaderEpochs().endOf(0, 0)).toBeUndefined();
  });

  test("an epoch without batches gives way; known epochs stay; epochs never fall", () => {
    expect(chain([1, 0], [2, 10], [3, 10]).entries).toEqual([
      { epoch: 1, startOffset: 0 },
      { epoch: 3, startOffset: 10 },
    ]);
    expect(chain([1, 0], [1, 5]).entries).toEqual([{ epoch: 1, startOffset: 0 }]);
    expect(() => chain([2, 0], [1, 5])).toThrow("fell");
    expect(() => chain([2, 10], [3, 5])).toThrow("below");
  });

  test("trimming keeps the epoch that contains the new start", () => {
    const epochs = chain([1, 0], [2, 10], [3, 20]);
    epochs.trimTo(15);
    expect(epochs.entries).toEqual([
      { epoch: 2, startOffset: 15 },
      { epoch: 3, startOffset: 20 },
    ]);
    expect([epochs.epochOf(14), epochs.epochOf(15), epochs.epochOf(20)]).toEqual([undefined, 2, 3]);
    epochs.trimTo(20);
    expect(epochs.entries).toEqual([{ epoch: 3, startOffset: 20 }]);
  });
});
