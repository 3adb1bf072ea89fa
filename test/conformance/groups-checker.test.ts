/** The checker of groups notices what it is there to notice. */
import { expect, test } from "bun:test";
import { type JudgedEvent, judgeGroup } from "./groups-checker.ts";

let clock = 0;

/** "a:0-4" processes offsets 0 to 4, "a:c5" sees the commit of 5 acknowledged; all of partition 0, in this order. */
function story(text: string): JudgedEvent[] {
  return text.split(" ").flatMap((step): JudgedEvent[] => {
    const [member = "", what = ""] = step.split(":");
    const event = { member, partition: 0, atUs: ++clock };
    if (what.startsWith("c")) return [{ ...event, kind: "C", offset: Number(what.slice(1)) }];
    const [first = 0, last = first] = what.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => ({ ...event, kind: "R", offset: first + index }));
  });
}

test("records in order by several members, committed as they go, are no problem", () => {
  expect(judgeGroup(story("a:0-4 a:c5 b:5-9 b:c10"), [10])).toEqual({ records: 10, reprocessed: 0, moves: 2, problems: [] });
});

test("what was not committed when the partition moved may be processed again", () => {
  expect(judgeGroup(story("a:0-4 a:c5 a:5-7 b:5-9 b:c10"), [10])).toEqual({ records: 13, reprocessed: 3, moves: 2, problems: [] });
});

test("a skipped record is noticed: in the middle, at the start, at the end, and a partition of which nothing was processed", () => {
  expect(judgeGroup(story("a:0-4 a:c5 b:6-9"), [10]).problems).toEqual(["partition 0: 1 of 10 skipped, the first 5"]);
  expect(judgeGroup(story("a:2-9"), [10]).problems).toEqual(["partition 0: 2 of 10 skipped, the first 0"]);
  expect(judgeGroup(story("a:0-7"), [10]).problems).toEqual(["partition 0: 2 of 10 skipped, the first 8"]);
  expect(judgeGroup(story("a:0-9"), [10, 3]).problems).toEqual(["partition 1: 3 of 3 skipped, the first 0"]);
});

test("a record that is processed again below a commit is noticed: by another member, by the same one, and by one that had been there before", () => {
  const below = (begins: string) => [`partition 0: ${begins}, below the acknowledged commit 5`];
  expect(judgeGroup(story("a:0-4 a:c5 b:4-9"), [10]).problems).toEqual(below("b begins at 4"));
  expect(judgeGroup(story("a:0-4 a:c5 a:3-9"), [10]).problems).toEqual(below("a begins at 3"));
  expect(judgeGroup(story("a:0-2 b:3-4 b:c5 a:3-9"), [10]).problems).toEqual(below("a begins at 3"));
});

test("a late commit of a lower offset does not lower what is committed", () => {
  expect(judgeGroup(story("a:0-4 b:5-9 b:c10 a:c5 c:5-9"), [10]).problems).toEqual([
    "partition 0: c begins at 5, below the acknowledged commit 10",
  ]);
});

test("events count by their time, however late they come", () => {
  const early = story("a:0-4 a:c5");
  expect(judgeGroup([...story("b:5-9"), ...early], [10]).problems).toEqual([]);
});

test("a record that the log does not have is noticed, and so is a partition", () => {
  expect(judgeGroup(story("a:0-10"), [10]).problems).toEqual(["partition 0: offset 10 was processed, though the log ends at 10"]);
  const [event] = story("a:0");
  expect(judgeGroup(event === undefined ? [] : [{ ...event, partition: 7 }], []).problems).toEqual([
    "partition 7: a processed it, though the topic has no such",
  ]);
});
