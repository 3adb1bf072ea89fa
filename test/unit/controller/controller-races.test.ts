/** Brokers that fight for the reign over a faulty store: each change is answered once and applied once, and all see one image. */
import { describe, expect, test } from "bun:test";
import { decodeOutcomes, encodeOutcomes, type Request } from "../../../src/controller/changes.ts";
import { Controller } from "../../../src/controller/controller.ts";
import { MetadataLog } from "../../../src/metadata/metadata-log.ts";
import { FaultyStore, NO_FAULTS } from "../../../src/objectstore/faulty-store.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import { RetryingStore } from "../../../src/objectstore/retrying-store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { NO_METRICS, RecordingLogger } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";
import { commitRange, createTopic, DEADLINE_MS, drive, LISTENERS, objectCommit, openCluster, startBroker } from "./cluster-harness.ts";

const RATES = {
  ...NO_FAULTS,
  maxLatencyMs: 15,
  unavailable: 0.05,
  conflict: 0.05,
  lostReply: 0.15,
  lostRequest: 0.1,
  delayed: 0.1,
  duplicate: 0.1,
  partialList: 0.2,
};
const POLICY = { maxAttempts: 60, firstPauseMs: 1, maxPauseMs: 20, defaultDeadlineMs: 1e9 };

/** One run of a seed: three brokers make changes at once; returns what happened, for comparison. */
async function fight(seed: number): Promise<string> {
  const clock = new ManualClock();
  const store = new MemoryStore(clock);
  const faultyStore = (nodeId: number) => {
    const random = new SeededRandom(seed * 1_000 + nodeId);
    return new RetryingStore(new FaultyStore(store, clock, random, RATES), clock, random, POLICY);
  };
  const work = async (nodeId: number) => {
    const options = { store: faultyStore(nodeId), clock, nodeId, seed: seed * 10 + nodeId, snapshotEverySlots: 8, garbageGraceMs: 200 };
    const broker = await startBroker(options);
    const ids: number[] = [];
    const walId = `wal-${nodeId}`;
    for (let round = 0; round < 4; round++) {
      const [topicId] = await Promise.all([
        createTopic(broker, `t-${nodeId}-${round}`),
        broker.allocateProducerId(DEADLINE_MS).then((id) => ids.push(id)),
      ]);
      const contested = await broker.createTopics(
        [{ name: `shared-${round}`, partitionCount: 1, replicationFactor: 1, configs: new Map() }],
        DEADLINE_MS,
      );
      if (contested[0]?.kind === "done") ids.push(-1 - round);
      for (let object = 0; object < 3; object++) {
        const key = `data/${broker.brokerEpoch}-${nodeId}-${round}-${object}`;
        const range = commitRange(topicId, 0, object * 10, object * 10 + 10);
        expect(await broker.commitObject(objectCommit(key, 10 * round + object, [range], walId))).toEqual(["accepted"]);
      }
      if (round % 2 === 1) await broker.deleteTopics([topicId], DEADLINE_MS);
    }
    return { broker, ids };
  };
  const results = await drive(clock, Promise.all([work(1), work(2), work(3)]));
  // Whoever was replaced without noticing polls within two minutes.
  await drive(clock, clock.sleep(300_000), 250);
  const fresh = await drive(clock, openCluster({ store, clock, nodeId: 9, seed: 99 }));
  const all = results.flatMap(({ ids }) => ids);
  expect(new Set(all).size).toBe(all.length);
  // Each shared topic was created by exactly one.
  expect(all.filter((id) => id < 0).length).toBe(4);
  for (const { broker } of results) expect([broker.image.slot, broker.image.hash]).toEqual([fresh.image.slot, fresh.image.hash]);
  for (const nodeId of [1, 2, 3]) {
    for (const round of [0, 2]) {
      const topic = fresh.image.getTopic(`t-${nodeId}-${round}`)!;
      expect(fresh.image.getPartition(topic.topicId, 0)?.committedEndOffset).toBe(30);
    }
    expect(fresh.image.getTopic(`t-${nodeId}-1`)).toBeUndefined();
  }
  for (const { broker } of results) await drive(clock, broker.close());
  return `${fresh.image.slot} ${fresh.image.hashText} ${fresh.image.controllerEpoch}`;
}

describe("three brokers under lost replies", () => {
  test("apply and answer every change once, with one image (8 seeds)", async () => {
    for (let seed = 1; seed <= 8; seed++) await fight(seed);
  }, 60_000);

  test("do the same again from the same seed", async () => {
    expect(await fight(3)).toBe(await fight(3));
  }, 30_000);
});

describe("a repeated request", () => {
  test("gets the same answer from the next controller, and changes nothing", async () => {
    const clock = new ManualClock();
    const store = new MemoryStore(clock);
    const open = async (nodeId: number) => {
      const deps = { store, clock, random: new SeededRandom(nodeId), logger: new RecordingLogger(), crc32c: tableCrc32c };
      const log = await MetadataLog.open("cmVwZWF0LXJlcGVhdC1yZQ", false, deps);
      return { log, controller: new Controller({ ...deps, log, nodeId, metrics: NO_METRICS }) };
    };
    const first = await open(1);
    const registration = { nodeId: 7, incarnation: "aW5jYXJuYXRpb24tdGVzdA", walId: "wal-7", rack: undefined, listeners: LISTENERS };
    expect(await drive(clock, first.controller.submit({ kind: "register", registration }))).toEqual({ kind: "registered", brokerEpoch: 1 });
    const request: Request = {
      kind: "changes",
      nodeId: 7,
      brokerEpoch: 1,
      sequence: 1,
      changes: [{ kind: "take-producer-ids", count: 10 }],
    };
    const answer = await drive(clock, first.controller.submit(request));
    const second = await open(2);
    expect(await drive(clock, second.controller.submit(request))).toEqual(answer);
    expect(await drive(clock, second.controller.submit({ kind: "register", registration }))).toEqual({
      kind: "registered",
      brokerEpoch: 1,
    });
    expect(second.log.image.slot).toBe(2);
    const stale = await drive(clock, second.controller.submit({ ...request, brokerEpoch: 0 }));
    expect(stale.kind).toBe("fenced");
  });

  test("is kept with outcomes of every kind", () => {
    const outcomes = [
      { kind: "done" },
      { kind: "topic", outcome: "invalid-partitions", message: "m" },
      { kind: "ranges", accepted: [true, false] },
      { kind: "producer-ids", firstId: 2 ** 40, count: 1_000 },
      { kind: "refused", code: "c", message: "m" },
    ] as const;
    expect(decodeOutcomes(encodeOutcomes(outcomes))).toEqual([...outcomes]);
  });
});

/** A wall clock that jumps by up to an hour either way at each look. */
class JumpingClock extends ManualClock {
  readonly #random = new SeededRandom(11);

  override wallMs(): number {
    return super.wallMs() + Math.floor((this.#random.nextFloat() - 0.5) * 7_200_000);
  }
}

describe("garbage", () => {
  test("goes after the grace period; what is referenced stays, however the wall clock jumps (S1)", async () => {
    const clock = new JumpingClock();
    const store = new MemoryStore(clock);
    const broker = await drive(clock, startBroker({ store, clock, garbageGraceMs: 60_000 }));
    const data = async () => (await store.list(`${broker.image.clusterId}/data/`)).objects.map((object) => object.key.split("/").at(-1));
    const put = (key: string) => store.createOnce(`${broker.image.clusterId}/${key}`, Buffer.from(key));
    const [live, dead] = [await drive(clock, createTopic(broker, "live")), await drive(clock, createTopic(broker, "dead"))];
    const epoch = broker.brokerEpoch;
    const commits = [
      objectCommit(`data/${epoch}-both`, 1, [commitRange(live, 0, 0, 5), commitRange(dead, 0, 0, 5)]),
      objectCommit(`data/${epoch}-dead`, 2, [commitRange(dead, 0, 5, 9, { hasCheckpoint: true })]),
    ];
    for (const commit of commits) {
      await put(commit.objectKey);
      await drive(clock, broker.commitObject(commit));
    }
    // Uploaded by this broker and not committed yet; written off; left by a broker epoch that has ended; of an epoch not seen yet.
    for (const key of [`data/${epoch}-pending`, `data/${epoch}-off`, "data/0-orphan", "data/999999-future"]) await put(key);
    await drive(clock, broker.writeOffObject(`data/${epoch}-off`));
    await drive(clock, broker.deleteTopics([dead], DEADLINE_MS));
    expect((await data()).length).toBe(6);
    await drive(clock, clock.sleep(300_000), 1_000);
    expect(await data()).toEqual([`${epoch}-both`, `${epoch}-pending`, "999999-future"]);
    expect(broker.image.parts.garbage.size).toBe(0);
    expect(broker.image.parts.objects.size).toBe(1);
    await drive(clock, broker.close());
  });
});
