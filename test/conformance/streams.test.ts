/** Kafka Streams with exactly_once_v2, shortened, and its checker; `bun test/conformance/streams.ts` is the run with a million records. */
import { describe, expect, test } from "bun:test";
import { testIf } from "../support/tools.ts";
import { hasWeir, weirMissing } from "../support/weir-process.ts";
import { hasStreams, noStreams, runStreams } from "./streams.ts";
import { groupOf, StreamsCountChecker } from "./streams-check.ts";

testIf(hasWeir && hasStreams, hasWeir ? noStreams : weirMissing)(
  "a Kafka Streams application counts each input once while the broker and its instance are killed",
  async () => {
    const { findings, summary } = await runStreams({ records: 5000, strikes: 2, instances: 1, groups: 50, seed: 1 });
    console.log(summary);
    expect(findings).toEqual([]);
  },
  240_000,
);

describe("the checker of counts", () => {
  const groups = 3;
  const records = 12;

  /** What a right application writes, a line for each input. */
  function rightLines(): string[] {
    const totals = Array.from({ length: groups }, () => ({ count: 0, sum: 0 }));
    return Array.from({ length: records }, (_, index) => {
      const group = groupOf(index, groups);
      const total = totals[group]!;
      total.count += 1;
      total.sum += index;
      return `R 0 ${index} ${group} ${total.count} ${total.sum}`;
    });
  }

  function check(lines: readonly string[]): string[] {
    const checker = new StreamsCountChecker();
    for (const line of lines) checker.take(line);
    return checker.finish(records, groups);
  }

  test("inputs are spread as the application spreads them", () => {
    // 2654435761 and 3 * 2654435761 modulo 2^32, modulo 1000.
    expect([groupOf(0, 1000), groupOf(1, 1000), groupOf(3, 1000)]).toEqual([0, 761, 3_668_339_987 % 1000]);
  });
  test("a right output gives nothing", () => expect(check(rightLines())).toEqual([]));
  test("a missing output is found", () => expect(check(rightLines().slice(0, -1))).toHaveLength(1));
  test("a skipped output is found", () => expect(check(rightLines().toSpliced(2, 1))).not.toEqual([]));
  test("an output that comes twice is found", () => {
    const lines = rightLines();
    expect(check(lines.toSpliced(3, 0, lines[3]!))[0]).toContain("after");
  });
  test("a group in two partitions is found", () => {
    expect(check(rightLines().map((line, index) => (index === records - 1 ? line.replace("R 0", "R 1") : line)))[0]).toContain(
      "partitions",
    );
  });
});
