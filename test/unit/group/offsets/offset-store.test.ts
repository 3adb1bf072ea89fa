import { expect, test } from "bun:test";
import type { CommittedOffset } from "../../../../src/group/group-types.ts";
import { OffsetStore } from "../../../../src/group/offsets/offset-store.ts";

function committed(topicId: string, offset = 1n): CommittedOffset {
  return { topicId, offset, leaderEpoch: -1, metadata: "", commitTimestampMs: 0, expireTimestampMs: undefined };
}

test("counts what there is; what was never committed is absent", () => {
  const store = new OffsetStore();
  store.put("g", { topic: "t", partition: 0 }, committed("a"));
  store.put("g", { topic: "t", partition: 0 }, committed("a", 0n));
  store.put("h", { topic: "u", partition: 3 }, committed("b"));
  expect(store.count).toBe(2);
  expect(store.get("g", { topic: "t", partition: 0 })?.offset).toBe(0n);
  expect(store.get("g", { topic: "t", partition: 1 })).toBeUndefined();
  store.remove("g", { topic: "t", partition: 0 });
  store.remove("g", { topic: "t", partition: 0 });
  expect([store.count, [...store.groupIds()]]).toEqual([1, ["h"]]);
});

test("topics that are gone are named once, and again when an offset of the gone topic comes after", () => {
  const store = new OffsetStore();
  const isGone = (topic: string, topicId: string) => topic === "t" && topicId !== "second";
  for (let partition = 0; partition < 3; partition++) store.put("g", { topic: "t", partition }, committed("first"));
  store.put("h", { topic: "u", partition: 0 }, committed("first"));
  store.put("h", { topic: "t", partition: 0 }, committed("second"));
  expect(store.takeTopics(() => false)).toEqual([]);
  expect(store.takeTopics(isGone)).toEqual(["t"]);
  expect(store.takeTopics(isGone)).toEqual([]);
  store.put("h", { topic: "t", partition: 1 }, committed("second"));
  expect(store.takeTopics(isGone)).toEqual([]);
  store.put("g", { topic: "t", partition: 0 }, committed("first"));
  expect(store.takeTopics(isGone)).toEqual(["t"]);
  // Put twice in a row, taken in between.
  store.put("g", { topic: "t", partition: 0 }, committed("first"));
  expect(store.takeTopics(isGone)).toEqual(["t"]);
});
