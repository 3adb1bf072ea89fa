/** One broker as a cluster of one: what it records is there after a restart, and refused when it contradicts the log. */
import { describe, expect, test } from "bun:test";
import { SystemClock } from "../../../src/base/system-clock.ts";
import { slotKey } from "../../../src/metadata/keys.ts";
import { DirectoryStore } from "../../../src/objectstore/directory-store.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import type { ObjectStore } from "../../../src/objectstore/object-store.ts";
import { ScopedStore } from "../../../src/objectstore/scoped-store.ts";
import { TemporaryFolder } from "../../support/temporary.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { commitRange, createTopic, DEADLINE_MS, drive, objectCommit, openCluster, startBroker } from "./cluster-harness.ts";

const clock = new SystemClock();

async function thinPath(store: ObjectStore): Promise<void> {
  const broker = await startBroker({ store, clock });
  const topicId = await createTopic(broker, "words", 3);
  const outcomes = await broker.commitObject(
    objectCommit("data/1-a", 10, [commitRange(topicId, 0, 0, 5), commitRange(topicId, 2, 0, 7, { hasCheckpoint: true })]),
  );
  expect(outcomes).toEqual(["accepted", "accepted"]);
  const before = broker.image;
  await broker.close();

  const opened = await openCluster({ store, clock, seed: 2 });
  expect(opened.image.slot).toBe(before.slot);
  expect(opened.image.hash).toBe(before.hash);
  expect(opened.previous?.walId).toBe("wal-1");
  const again = await opened.register({ walId: "wal-1", rack: undefined, listeners: [] });
  expect(again.brokerEpoch).toBe(before.slot + 1);
  expect(again.wal.committed).toEqual({ lsn: 10, predecessorChecksum: 7, walEpoch: 1 });
  // A new cluster finalises what its first broker understands, once.
  expect([...again.image.getFinalizedFeatures()]).toEqual([
    ["metadata.version", 33],
    ["transaction.version", 2],
    ["group.version", 1],
  ]);
  expect(again.image.getTopic("words")).toMatchObject({ topicId, partitionCount: 3 });
  expect(again.image.getPartition(topicId, 2)).toEqual({ ownerNodeId: 1, term: 0, logStartOffset: 0, committedEndOffset: 7 });
  expect(again.committedRanges.getCheckpoint({ topicId, partition: 2 })).toEqual({ objectKey: "data/1-a", endOffset: 7 });
  expect(again.committedRanges.findRange({ topicId, partition: 0 }, 4)).toMatchObject({
    objectKey: "data/1-a",
    baseOffset: 0,
    endOffset: 5,
  });
  await again.close();
}

describe("a cluster of one", () => {
  test("finds after a restart what it recorded (memory store)", () => thinPath(new MemoryStore(clock)));

  test("finds after a restart what it recorded (directory store)", async () => {
    using folder = new TemporaryFolder("cluster-of-one");
    await thinPath(await DirectoryStore.open(folder.path, new SeededRandom(1)));
  });

  test("answers topics as Kafka's rules say, and keeps ids over restarts but not over re-creation", async () => {
    const store = new MemoryStore(clock);
    const broker = await startBroker({ store, clock });
    const first = await createTopic(broker, "t", 2);
    const none = { replicationFactor: 1, configs: new Map() };
    expect(await broker.createTopics([{ name: "t", partitionCount: 1, ...none }], DEADLINE_MS)).toEqual([{ kind: "exists" }]);
    expect((await broker.createTopics([{ name: "u", partitionCount: 0, ...none }], DEADLINE_MS))[0]?.kind).toBe("invalid-partitions");
    expect((await broker.createTopics([{ name: "u", partitionCount: 1e6, ...none }], DEADLINE_MS))[0]?.kind).toBe("limit-exceeded");
    const [shrink] = await broker.createPartitions([{ topicId: first, totalCount: 2 }], DEADLINE_MS);
    expect(shrink).toEqual({
      kind: "invalid-partitions",
      message: "The topic t currently has 2 partition(s); 2 would not be an increase.",
    });
    const [grown] = await broker.createPartitions([{ topicId: first, totalCount: 5 }], DEADLINE_MS);
    expect(grown).toMatchObject({ kind: "done", topic: { partitionCount: 5 } });
    expect((await broker.deleteTopics([first, "AAAAAAAAAAAAAAAAAAAAAA"], DEADLINE_MS)).map((each) => each.kind)).toEqual([
      "done",
      "unknown-topic",
    ]);
    expect(broker.image.getTopic("t")).toBeUndefined();
    expect(await createTopic(broker, "t")).not.toBe(first);
    await broker.close();
  });

  test("gives producer ids once, also over a restart", async () => {
    const store = new MemoryStore(clock);
    const given = new Set<number>();
    for (let life = 0; life < 3; life++) {
      const broker = await startBroker({ store, clock, seed: life + 1 });
      const ids = await Promise.all(Array.from({ length: 1_500 }, () => broker.allocateProducerId(DEADLINE_MS)));
      for (const id of ids) {
        expect(given.has(id)).toBe(false);
        given.add(id);
      }
      await broker.close();
    }
    expect(given.size).toBe(4_500);
  });

  test("commits offsets beyond 2^31 and 2^32 (M5)", async () => {
    const store = new MemoryStore(clock);
    const broker = await startBroker({ store, clock });
    const topicId = await createTopic(broker, "t");
    const ends = [2 ** 31 + 5, 2 ** 32 + 9, 2 ** 40, 2 ** 52];
    let base = 0;
    for (const [index, end] of ends.entries()) {
      expect(
        await broker.commitObject(objectCommit(`data/1-${index}`, index + 1, [commitRange(topicId, 0, base, end, { sizeBytes: 9 })])),
      ).toEqual(["accepted"]);
      base = end;
    }
    await broker.close();
    const reopened = await openCluster({ store, clock, seed: 2 });
    expect(reopened.image.getPartition(topicId, 0)?.committedEndOffset).toBe(2 ** 52);
    expect(reopened.image.getPartitionState(topicId, 0)?.ranges.find(2 ** 32 + 8)?.object.key).toBe("data/1-1");
  });

  test("never lets a committed end fall or jump (M3)", async () => {
    const broker = await startBroker({ store: new MemoryStore(clock), clock });
    const topicId = await createTopic(broker, "t");
    await broker.commitObject(objectCommit("data/1-a", 1, [commitRange(topicId, 0, 0, 10)]));
    for (const [base, end] of [
      [0, 10],
      [5, 15],
      [11, 20],
    ] as const) {
      const attempt = broker.commitObject(objectCommit(`data/1-${base}-${end}`, 2, [commitRange(topicId, 0, base, end)]));
      await expect(attempt).rejects.toMatchObject({ code: "commit-base-mismatch" });
    }
    expect(broker.image.getPartition(topicId, 0)?.committedEndOffset).toBe(10);
    await expect(broker.commitObject(objectCommit("data/1-b", 0, []))).rejects.toMatchObject({ code: "commit-below-wal" });
    await broker.close();
  });

  test("answers a commit range by range: gone for a deleted topic or another term, accepted for the rest", async () => {
    const broker = await startBroker({ store: new MemoryStore(clock), clock });
    const [live, dead] = [await createTopic(broker, "live"), await createTopic(broker, "dead")];
    await broker.deleteTopics([dead], DEADLINE_MS);
    const ranges = [
      commitRange(dead, 0, 0, 3),
      commitRange(live, 0, 0, 4),
      commitRange(live, 0, 4, 6),
      commitRange(live, 0, 6, 9, { term: 1 }),
      commitRange(live, 1, 0, 1),
    ];
    const commit = objectCommit("data/1-a", 5, ranges);
    const expected = ["gone", "accepted", "accepted", "gone", "gone"] as const;
    expect(await broker.commitObject(commit)).toEqual([...expected]);
    expect(broker.wal.committed.lsn).toBe(5);
    // The same commit again (its answer was lost, say) gets the same answer and changes nothing.
    expect(await broker.commitObject(commit)).toEqual([...expected]);
    expect(broker.image.getPartition(live, 0)?.committedEndOffset).toBe(6);
    await broker.close();
  });

  test("keeps an old image whole while the log moves on (M6)", async () => {
    const broker = await startBroker({ store: new MemoryStore(clock), clock });
    const topicId = await createTopic(broker, "t");
    await broker.commitObject(objectCommit("data/1-a", 1, [commitRange(topicId, 0, 0, 10)]));
    const old = broker.image;
    const oldRanges = old.getPartitionState(topicId, 0)?.ranges;
    await broker.commitObject(objectCommit("data/1-b", 2, [commitRange(topicId, 0, 10, 20)]));
    await broker.createPartitions([{ topicId, totalCount: 4 }], DEADLINE_MS);
    expect(oldRanges?.count).toBe(1);
    expect(old.getPartition(topicId, 0)?.committedEndOffset).toBe(10);
    expect(old.getTopic("t")?.partitionCount).toBe(1);
    expect(old.getPartition(topicId, 3)).toBeUndefined();
    await broker.deleteTopics([topicId], DEADLINE_MS);
    expect(old.getTopic("t")?.topicId).toBe(topicId);
    await broker.close();
  });

  test("shows a broker with another WAL its partitions as offline, with the reason", async () => {
    const store = new MemoryStore(clock);
    const broker = await startBroker({ store, clock });
    const topicId = await createTopic(broker, "t");
    await broker.close();
    const opened = await openCluster({ store, clock, seed: 2 });
    expect(opened.getOrphanedWals("wal-new").map((wal) => wal.walId)).toEqual(["wal-1"]);
    const other = await opened.register({ walId: "wal-new", rack: undefined, listeners: [] });
    expect(other.image.getPartition(topicId, 0)?.ownerNodeId).toBe(-1);
    expect(other.image.getOfflineReason(topicId, 0)).toBe("its tail lies in WAL wal-1, and broker 1 now has WAL wal-new");
    await other.close();
    const back = await startBroker({ store, clock, seed: 3 });
    expect(back.image.getPartition(topicId, 0)?.ownerNodeId).toBe(1);
    await back.close();
  });

  test("refuses a WAL that belongs to another broker", async () => {
    const store = new MemoryStore(clock);
    await (await startBroker({ store, clock })).close();
    const opened = await openCluster({ store, clock, nodeId: 2, seed: 2 });
    await expect(opened.register({ walId: "wal-1", rack: undefined, listeners: [] })).rejects.toMatchObject({
      code: "broker-fenced",
      exitCode: 70,
    });
  });

  test("tells a replaced process that it is fenced", async () => {
    const manual = new ManualClock();
    const store = new MemoryStore(manual);
    const old = await drive(manual, startBroker({ store, clock: manual }));
    const reasons: string[] = [];
    old.onFenced((reason) => reasons.push(reason.code));
    const young = await drive(manual, startBroker({ store, clock: manual, seed: 2 }));
    await manual.advance(120_000);
    await manual.endTurn();
    expect(reasons).toEqual(["broker-fenced"]);
    await expect(createTopic(old, "late")).rejects.toMatchObject({ code: "broker-fenced", exitCode: 70 });
    await drive(manual, old.close());
    await drive(manual, young.close());
  });

  test("stops when the log turns out to be damaged, and says why (N2)", async () => {
    const store = new MemoryStore(clock);
    const broker = await startBroker({ store, clock });
    const reasons: string[] = [];
    broker.onFenced((reason) => reasons.push(reason.code));
    await store.put(`${broker.image.clusterId}/${slotKey(broker.image.slot + 1)}`, Buffer.from("damaged"));
    await expect(createTopic(broker, "t")).rejects.toMatchObject({ code: "metadata-damaged" });
    expect(reasons).toEqual(["metadata-damaged"]);
    await expect(createTopic(broker, "u")).rejects.toMatchObject({ code: "metadata-damaged" });
    await broker.close();
  });

  test("creates and deletes 10,000 topics in small slots (M14, M16)", async () => {
    const store = new MemoryStore(clock);
    const broker = await startBroker({ store, clock });
    const names = Array.from({ length: 10_000 }, (_, index) => ({
      name: `topic-${index}`,
      partitionCount: 1,
      replicationFactor: 1,
      configs: new Map([["cleanup.policy", "compact"]]),
    }));
    const created = await broker.createTopics(names, DEADLINE_MS);
    expect(created.every((outcome) => outcome.kind === "done")).toBe(true);
    const ids = created.map((outcome) => (outcome.kind === "done" ? outcome.topic.topicId : ""));
    expect((await broker.deleteTopics(ids, DEADLINE_MS)).every((outcome) => outcome.kind === "done")).toBe(true);
    expect([...broker.image.topics()].length).toBe(0);
    const scoped = new ScopedStore(store, broker.image.clusterId);
    const page = await scoped.list("meta/log/");
    expect(page.objects.length).toBe(broker.image.slot);
    expect(Math.max(...page.objects.map((object) => object.sizeBytes))).toBeLessThan(1_100_000);
    await broker.close();
  });
});

describe("an idle cluster of one (M17)", () => {
  test("sends at most one request a minute", async () => {
    const manual = new ManualClock();
    const inner = new MemoryStore(manual);
    let requests = 0;
    const store = new Proxy(inner, {
      get(target, name) {
        const value = Reflect.get(target, name, target) as unknown;
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          requests++;
          return (value as (...args: unknown[]) => unknown).apply(target, args);
        };
      },
    });
    const broker = await drive(manual, startBroker({ store, clock: manual }));
    await manual.advance(120_000);
    requests = 0;
    await manual.advance(3_600_000);
    expect(requests).toBeLessThanOrEqual(60);
    expect(requests).toBeGreaterThan(10);
    await drive(manual, broker.close());
  });
});
