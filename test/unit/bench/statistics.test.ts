/** The arithmetic behind the benchmark's table: medians, ratios within a pair, targets, order. */
import { expect, test } from "bun:test";
import { parseOptions, UsageError } from "../../bench/options.ts";
import { renderRow, summarizeRow } from "../../bench/report.ts";
import { alternate, type Row, type Run } from "../../bench/row.ts";
import { formatSpread, summarize } from "../../bench/statistics.ts";

test("a median, and how far the values lay apart", () => {
  expect(summarize([])).toBeUndefined();
  expect(summarize([5, 1, 2])).toEqual({ median: 2, min: 1, max: 5, count: 3 });
  expect(summarize([4, 1, 2, 3])?.median).toBe(2.5);
  expect(formatSpread(summarize([1.234, 250, 0.01]))).toBe("1.23 (0.010 to 250)");
  expect(formatSpread(summarize([7]))).toBe("7.00");
});

test("every other pair goes backwards", async () => {
  const order: string[] = [];
  await alternate(3, ["a", "b"], async (item, pair) => void order.push(`${item}${pair}`));
  expect(order).toEqual(["a0", "b0", "b1", "a1", "a2", "b2"]);
});

const row: Row = {
  id: "row",
  title: "a row",
  needsLoadProgram: false,
  figures: ["megabytesPerSecond", "cpuSecondsPerGigabyte", "ackP99Ms"],
  comparisons: [
    { figure: "megabytesPerSecond", kind: "ratio", to: "kafka", target: { atLeast: 5 } },
    { figure: "ackP99Ms", kind: "difference", to: "device", target: { atMost: 2 } },
    { figure: "megabytesPerSecond", kind: "ratio", to: "discard" },
  ],
  bounds: [{ figure: "ackP99Ms", atMost: 1 }],
  measure: async () => {},
};

const run = (participant: Run["participant"], pair: number, figures: Run["figures"]): Run => ({
  row: "row",
  participant,
  pair,
  figures,
  raw: {},
});

test("compared is within a pair, and the median of that is held against the target", () => {
  const runs = [
    run("weir", 0, { megabytesPerSecond: 60, ackP99Ms: 3 }),
    run("kafka", 0, { megabytesPerSecond: 10 }),
    run("kafka", 1, { megabytesPerSecond: 5 }),
    run("weir", 1, { megabytesPerSecond: 20, ackP99Ms: 2 }),
    run("weir", 2, { megabytesPerSecond: 56, ackP99Ms: 3 }),
    run("kafka", 2, { megabytesPerSecond: 8 }),
    ...[0, 1, 2].map((pair) => run("device", pair, { ackP99Ms: 0.5 })),
    { ...run("kafka", 0, { megabytesPerSecond: 1000 }), row: "another" },
  ];
  const summary = summarizeRow(row, runs);
  expect(summary.comparisons).toHaveLength(2);
  expect(summary.comparisons[0]).toMatchObject({ spread: { median: 6, min: 4, max: 7 }, holds: true });
  expect(summary.comparisons[1]).toMatchObject({ spread: { median: 2.5 }, holds: false });
  expect(summary.bounds).toMatchObject([{ figure: "ackP99Ms", holds: false }]);
  const text = renderRow(row, summary);
  expect(text).toContain("| weir | 56.0 (20.0 to 60.0) | 3.00 (2.00 to 3.00) |");
  expect(text).toContain("- MB/s, weir / kafka: 6.00 (4.00 to 7.00); asked for: at least 5.00: holds");
});

test("options: what is not taken is one line", () => {
  expect(parseOptions(["--help"])).toBeUndefined();
  expect(parseOptions(["--rows", "idle,start", "--pairs", "2", "--kafka", "none"])).toMatchObject({
    rows: ["idle", "start"],
    pairs: 2,
    kafka: "none",
    warmUpSeconds: 60,
  });
  for (const wrong of [["--pairs", "1.5"], ["--seconds", "soon"], ["--store", "tape"], ["--what"]]) {
    expect(() => parseOptions(wrong)).toThrow(UsageError);
  }
});
