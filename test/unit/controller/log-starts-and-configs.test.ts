/** Where partitions begin, what is dropped below, and configurations: recorded once, there after a restart, refused when another change came first. */
import { describe, expect, test } from "bun:test";
import { SystemClock } from "../../../src/base/system-clock.ts";
import type { LogStart } from "../../../src/metadata/cluster-metadata.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import { commitRange, createTopic, DEADLINE_MS, objectCommit, openCluster, startBroker } from "./cluster-harness.ts";

const clock = new SystemClock();
const BROKER = 4;

function startAt(topicId: string, offset: number, releaseBelow = 0): LogStart {
  return { topicId, partition: 0, term: 0, offset, releaseBelow };
}

describe("log starts", () => {
  test("drop the ranges that a checkpoint covers, and the others when one comes or they are released", async () => {
    const store = new MemoryStore(clock);
    const broker = await startBroker({ store, clock });
    const topicId = await createTopic(broker, "t");
    const commit = (key: string, lsn: number, base: number, end: number, hasCheckpoint = false) =>
      broker.commitObject(objectCommit(`data/1-${key}`, lsn, [commitRange(topicId, 0, base, end, { hasCheckpoint })]));
    const listRanges = () => [...broker.image.getPartitionState(topicId, 0)!.ranges].map((range) => range.object.key);
    const listGarbage = () => [...broker.image.parts.garbage.keys()];

    await commit("a", 1, 0, 10);
    await commit("b", 2, 10, 20, true);
    await commit("c", 3, 20, 30);
    expect(await broker.advanceLogStarts([startAt(topicId, 25)], DEADLINE_MS)).toEqual([true]);
    // b holds the checkpoint, c is above it and contains the start.
    expect([listRanges(), listGarbage()]).toEqual([["data/1-c"], ["data/1-a"]]);
    await broker.advanceLogStarts([startAt(topicId, 30)], DEADLINE_MS);
    expect([listRanges(), listGarbage()]).toEqual([["data/1-c"], ["data/1-a"]]);
    await commit("d", 4, 30, 40, true);
    expect([listRanges(), listGarbage().sort()]).toEqual([["data/1-d"], ["data/1-a", "data/1-b", "data/1-c"]]);
    await commit("e", 5, 40, 50);
    await broker.advanceLogStarts([startAt(topicId, 50, 50)], DEADLINE_MS);
    // d stays for its checkpoint.
    expect([listRanges(), listGarbage().sort()]).toEqual([[], ["data/1-a", "data/1-b", "data/1-c", "data/1-e"]]);
    expect(broker.image.getPartition(topicId, 0)).toMatchObject({ logStartOffset: 50, committedEndOffset: 50 });
    const before = broker.image;
    await broker.close();
    const opened = await openCluster({ store, clock, seed: 2 });
    expect(opened.image.hash).toBe(before.hash);
  });

  test("may pass the committed end; what is committed below them later goes with its checkpoint", async () => {
    const broker = await startBroker({ store: new MemoryStore(clock), clock });
    const topicId = await createTopic(broker, "t");
    await broker.advanceLogStarts([startAt(topicId, 2 ** 33)], DEADLINE_MS);
    await broker.commitObject(objectCommit("data/1-a", 1, [commitRange(topicId, 0, 0, 2 ** 32)]));
    expect(broker.image.getPartitionState(topicId, 0)?.ranges.count).toBe(1);
    await broker.commitObject(objectCommit("data/1-b", 2, [commitRange(topicId, 0, 2 ** 32, 2 ** 33, { hasCheckpoint: true })]));
    expect(broker.image.getPartitionState(topicId, 0)?.ranges.count).toBe(0);
    expect([...broker.image.parts.garbage.keys()]).toEqual(["data/1-a"]);
    await broker.close();
  });

  test("never fall, and belong to the owner's term", async () => {
    const broker = await startBroker({ store: new MemoryStore(clock), clock });
    const topicId = await createTopic(broker, "t");
    const starts = [
      startAt(topicId, 7),
      startAt(topicId, 3),
      { ...startAt(topicId, 9), term: 1 },
      { ...startAt(topicId, 9), partition: 5 },
    ];
    expect(await broker.advanceLogStarts(starts, DEADLINE_MS)).toEqual([true, true, false, false]);
    expect(broker.image.getPartition(topicId, 0)?.logStartOffset).toBe(7);
    await broker.close();
  });
});

describe("configurations", () => {
  test("of topics and other resources are set together, removed, and there after a restart", async () => {
    const store = new MemoryStore(clock);
    const broker = await startBroker({ store, clock });
    const topicId = await createTopic(broker, "t");
    const set = (name: string, value: string | undefined, expected?: string) => ({ name, value, expected });
    const cluster = { kind: "other", type: BROKER, name: "" } as const;
    const outcomes = await broker.alterConfigs(
      [
        { resource: { kind: "topic", topicId }, sets: [set("retention.ms", "5"), set("cleanup.policy", "compact")] },
        { resource: cluster, sets: [set("log.retention.ms", "9")] },
        { resource: { kind: "topic", topicId: "AAAAAAAAAAAAAAAAAAAAAA" }, sets: [] },
        { resource: { kind: "topic", topicId }, sets: [set("retention.ms", "6"), set("segment.ms", "1")] },
      ],
      DEADLINE_MS,
    );
    expect(outcomes).toEqual(["done", "done", "unknown-topic", "conflict"]);
    expect(Object.fromEntries(broker.image.getTopic("t")!.configs)).toEqual({ "retention.ms": "5", "cleanup.policy": "compact" });
    await broker.alterConfigs([{ resource: { kind: "topic", topicId }, sets: [set("retention.ms", undefined, "5")] }], DEADLINE_MS);
    const { hash } = broker.image;
    await broker.close();
    const again = await startBroker({ store, clock, seed: 2 });
    expect(again.image.getTopic("t")?.configs.get("retention.ms")).toBeUndefined();
    expect([...again.image.getConfigs(BROKER, "")]).toEqual([["log.retention.ms", "9"]]);
    expect([...again.image.configuredResources(BROKER)]).toEqual([""]);
    await again.alterConfigs([{ resource: cluster, sets: [set("log.retention.ms", undefined, "9")] }], DEADLINE_MS);
    expect([...again.image.configuredResources(BROKER)]).toEqual([]);
    expect(hash).not.toBe(again.image.hash);
    await again.close();
  });

  test("survive a snapshot", async () => {
    const store = new MemoryStore(clock);
    const broker = await startBroker({ store, clock, snapshotEverySlots: 1 });
    await broker.alterConfigs(
      [
        {
          resource: { kind: "other", type: 32, name: "g" },
          sets: [{ name: "consumer.session.timeout.ms", value: "46000", expected: undefined }],
        },
      ],
      DEADLINE_MS,
    );
    const before = broker.image;
    await broker.close();
    const opened = await openCluster({ store, clock, seed: 2 });
    expect([opened.image.slot, opened.image.hash]).toEqual([before.slot, before.hash]);
    expect(opened.image.getConfigs(32, "g").get("consumer.session.timeout.ms")).toBe("46000");
  });
});
