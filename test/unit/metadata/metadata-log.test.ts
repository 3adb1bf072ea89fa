/** The log's safety: one winner a slot whatever replies are lost, a floor that nothing passes, and image = snapshot + log. */
import { describe, expect, test } from "bun:test";
import { chunkKey, floorKey, LOG_PREFIX, manifestKey, SNAPSHOT_PREFIX, slotKey } from "../../../src/metadata/keys.ts";
import type { MetadataLog } from "../../../src/metadata/metadata-log.ts";
import type { MetadataRecord } from "../../../src/metadata/records.ts";
import { FaultyStore, NO_FAULTS } from "../../../src/objectstore/faulty-store.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import { RetryingStore } from "../../../src/objectstore/retrying-store.ts";
import { drive } from "../controller/cluster-harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingLogger } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { committed, openLog, propose, registered, topicCreated, uuid, wonFeature } from "./metadata-harness.ts";

function newWorld(): { clock: ManualClock; store: MemoryStore } {
  const clock = new ManualClock();
  return { clock, store: new MemoryStore(clock) };
}

/** 3 n + 1 slots with something of everything. */
async function fill(log: MetadataLog, n: number): Promise<void> {
  if (log.image.slot === 0) await propose(log, 1, registered(1), topicCreated(0));
  for (let index = 0; index < n; index++) {
    const end = log.image.getPartition(uuid(0), 0)!.committedEndOffset;
    const slot = log.image.slot;
    await propose(log, 1, committed(0, `o${slot}`, end, end + 10, slot));
    await propose(log, 1, topicCreated(slot, 2), wonFeature(slot));
    await propose(
      log,
      1,
      { type: "topic-deleted", topicId: uuid(slot) },
      { type: "log-start-offset", topicId: uuid(0), partition: 0, offset: end },
    );
  }
}

describe("slots", () => {
  test("have one winner each under lost, delayed and doubled requests; all images agree (20 seeds)", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { clock, store } = newWorld();
      const rates = {
        ...NO_FAULTS,
        maxLatencyMs: 20,
        unavailable: 0.05,
        conflict: 0.05,
        lostReply: 0.15,
        lostRequest: 0.1,
        delayed: 0.1,
        duplicate: 0.1,
      };
      const policy = { maxAttempts: 50, firstPauseMs: 1, maxPauseMs: 20, defaultDeadlineMs: 1e9 };
      const won = new Map<number, number>();
      const race = async (nodeId: number): Promise<MetadataLog> => {
        const random = new SeededRandom(seed * 100 + nodeId);
        const faulty = new RetryingStore(new FaultyStore(store, clock, random, rates), clock, random, policy);
        const log = await openLog(faulty, clock, seed * 10 + nodeId);
        for (let round = 0; log.image.slot < 40; round++) {
          const slot = log.image.slot + 1;
          if ((await propose(log, nodeId, wonFeature(nodeId * 1_000 + round))) === "lost") await log.readToEnd();
          else {
            expect(won.has(slot)).toBe(false);
            won.set(slot, nodeId);
          }
        }
        await log.readToEnd();
        return log;
      };
      const logs = await drive(clock, Promise.all([race(1), race(2), race(3)]));
      const fresh = await openLog(store, clock);
      for (const log of logs) await drive(clock, log.readToEnd());
      for (const log of logs) expect([log.image.slot, log.image.hash]).toEqual([fresh.image.slot, fresh.image.hash]);
      expect([...won.keys()].sort((a, b) => a - b)).toEqual(Array.from({ length: fresh.image.slot }, (_, index) => index + 1));
    }
  });

  test("wait out five minutes of 503 (M10)", async () => {
    const { clock, store } = newWorld();
    const faulty = new FaultyStore(store, clock, new SeededRandom(1), NO_FAULTS);
    const log = await openLog(faulty, clock);
    faulty.rates = { ...NO_FAULTS, unavailable: 1 };
    const proposal = propose(log, 1, wonFeature(1));
    await clock.advance(300_000);
    expect(log.image.slot).toBe(0);
    faulty.rates = NO_FAULTS;
    expect(await drive(clock, proposal)).toBe("won");
  });
});

describe("the floor", () => {
  test("makes a sleeping writer lose a slot that was deleted, and a sleeping reader reload", async () => {
    const { clock, store } = newWorld();
    const sleeper = await openLog(store, clock, 1);
    await fill(sleeper, 2);
    const asleepAt = sleeper.image.slot;
    const other = await openLog(store, clock, 2);
    for (let round = 0; round < 3; round++) {
      await fill(other, 3);
      await other.takeSnapshot();
    }
    expect(await store.get(slotKey(asleepAt + 1))).toBeUndefined();
    // Its create succeeds, for the slot is gone; the floor tells.
    expect(await propose(sleeper, 7, wonFeature(666))).toBe("lost");
    expect(await store.get(slotKey(asleepAt + 1))).toBeDefined();
    // And nobody applies the slot that came back.
    await sleeper.readToEnd();
    expect([sleeper.image.slot, sleeper.image.hash]).toEqual([other.image.slot, other.image.hash]);
    expect(sleeper.image.controllerNodeId).toBe(1);
    const fresh = await openLog(store, clock, 3);
    expect(fresh.image.hash).toBe(other.image.hash);
    // The next removal takes it along.
    await fill(other, 1);
    await other.takeSnapshot();
    expect(await store.get(slotKey(asleepAt + 1))).toBeUndefined();
  });

  test("is noticed by polling alone", async () => {
    const { clock, store } = newWorld();
    const sleeper = await openLog(store, clock, 1);
    await fill(sleeper, 1);
    const other = await openLog(store, clock, 2);
    for (let round = 0; round < 3; round++) {
      await fill(other, 2);
      await other.takeSnapshot();
    }
    await sleeper.pollSlot();
    expect(sleeper.image.slot).toBe(4);
    await sleeper.pollFloor();
    expect(sleeper.image.hash).toBe(other.image.hash);
  });

  test("never falls: its steps are created once and rise", async () => {
    const { clock, store } = newWorld();
    const log = await openLog(store, clock);
    for (let round = 0; round < 4; round++) {
      await fill(log, 2);
      await log.takeSnapshot();
    }
    const steps = (await store.list("meta/floor/")).objects.map((object) => object.key);
    expect(steps).toEqual([1, 2, 3].map(floorKey));
    expect((await store.createOnce(floorKey(2), new Uint8Array(32))).outcome).toBe("exists");
  });
});

describe("image = snapshot + log (M8)", () => {
  test("at every slot, whichever snapshots there are", async () => {
    const { clock, store } = newWorld();
    const log = await openLog(store, clock);
    for (let round = 0; round < 12; round++) {
      await fill(log, 1);
      if (round % 3 === 2) await log.takeSnapshot();
      const fresh = await openLog(store, clock, round + 2);
      expect([fresh.image.slot, fresh.image.hash]).toEqual([log.image.slot, log.image.hash]);
      expect(fresh.image.getPartition(uuid(0), 0)).toEqual(log.image.getPartition(uuid(0), 0)!);
      expect([...(fresh.image.getPartitionState(uuid(0), 0)?.ranges ?? [])]).toEqual([...log.image.getPartitionState(uuid(0), 0)!.ranges]);
    }
    const slots = (await store.list(LOG_PREFIX)).objects.length;
    expect(slots).toBeLessThan(log.image.slot);
    expect((await store.list(SNAPSHOT_PREFIX)).objects.filter((object) => object.key.endsWith("manifest")).length).toBe(2);
  });

  test("a batch that leads to another image is fatal, and changes nothing", async () => {
    const { clock, store } = newWorld();
    const log = await openLog(store, clock);
    await fill(log, 1);
    const bytes = (await store.get(slotKey(4)))!;
    const other = newWorld();
    const target = other.store;
    for (let slot = 1; slot <= 3; slot++) await target.put(slotKey(slot), (await store.get(slotKey(slot)))!);
    const { decodeLogBatch, encodeLogBatch } = await import("../../../src/metadata/log-batch.ts");
    const { tableCrc32c } = await import("../support/table-crc32c.ts");
    const batch = decodeLogBatch(bytes, "slot", tableCrc32c);
    const records: MetadataRecord[] = [...batch.records, wonFeature(5)];
    await target.put(slotKey(4), encodeLogBatch({ ...batch, records }, tableCrc32c));
    await expect(openLog(target, clock)).rejects.toMatchObject({ code: "metadata-image-mismatch", retryable: false });
  });

  test("a flipped bit anywhere in a slot is found and named (N2)", async () => {
    const { clock, store } = newWorld();
    const log = await openLog(store, clock);
    await fill(log, 1);
    const whole = (await store.get(slotKey(2)))!;
    for (let bit = 0; bit < whole.length * 8; bit += 7) {
      const damaged = whole.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      await store.put(slotKey(2), damaged);
      const code = /^metadata-(damaged|format-unknown)$/;
      await expect(openLog(store, clock)).rejects.toMatchObject({
        code: expect.stringMatching(code),
        message: expect.stringContaining(slotKey(2)),
      });
    }
  });

  test("a damaged or missing newest snapshot is replaced by the older one and the log; nothing is deleted (N3)", async () => {
    const { clock, store } = newWorld();
    const log = await openLog(store, clock);
    for (let round = 0; round < 3; round++) {
      await fill(log, 2);
      await log.takeSnapshot();
    }
    await fill(log, 1);
    const newest = log.snapshots.newestSlot;
    const before = (await store.list("meta/")).objects.length;
    const manifest = (await store.get(manifestKey(newest)))!;
    const damaged = manifest.slice();
    damaged[40]! ^= 1;
    for (const bytes of [damaged, new Uint8Array(0)]) {
      await store.put(manifestKey(newest), bytes);
      const logger = new RecordingLogger();
      const fresh = await openLog(store, clock, 9, logger);
      expect(fresh.image.hash).toBe(log.image.hash);
      expect(logger.names()).toContain("metadata.snapshot-unreadable");
    }
    await store.put(manifestKey(newest), manifest);
    await store.delete([chunkKey(newest, 0)]);
    expect((await openLog(store, clock)).image.hash).toBe(log.image.hash);
    expect((await store.list("meta/")).objects.length).toBe(before - 1);
  });

  test("with no readable snapshot it stops and touches nothing: unreadable is not absent (N3)", async () => {
    const { clock, store } = newWorld();
    const log = await openLog(store, clock);
    for (let round = 0; round < 3; round++) {
      await fill(log, 2);
      await log.takeSnapshot();
    }
    const snapshots = (await store.list(SNAPSHOT_PREFIX)).objects.map((object) => object.key);
    for (const key of snapshots.filter((each) => each.endsWith("manifest"))) await store.put(key, Buffer.from("damaged"));
    const count = (await store.list("meta/")).objects.length;
    await expect(openLog(store, clock)).rejects.toMatchObject({ code: "metadata-damaged" });
    await store.delete(snapshots);
    await expect(openLog(store, clock)).rejects.toMatchObject({ code: "metadata-snapshot-missing" });
    expect((await store.list("meta/")).objects.length).toBe(count - snapshots.length);
  });
});
