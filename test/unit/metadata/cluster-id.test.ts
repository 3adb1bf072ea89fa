/** Founding and joining: one cluster per bucket, and none over the head of a WAL that has seen another. */
import { describe, expect, test } from "bun:test";
import { readOrCreateClusterId } from "../../../src/metadata/cluster-id.ts";
import { CLUSTER_KEY } from "../../../src/metadata/keys.ts";
import { FaultyStore, NO_FAULTS } from "../../../src/objectstore/faulty-store.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import type { ObjectStore } from "../../../src/objectstore/object-store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";
import { CLUSTER_ID, uuid } from "./metadata-harness.ts";

function open(store: ObjectStore, more: { wantedClusterId?: string; walClusterId?: string; seed?: number } = {}) {
  const random = new SeededRandom(more.seed ?? 1);
  return readOrCreateClusterId({
    store,
    random,
    crc32c: tableCrc32c,
    wantedClusterId: more.wantedClusterId,
    walClusterId: more.walClusterId,
  });
}

describe("the cluster's id", () => {
  test("is made once and found ever after", async () => {
    const store = new MemoryStore(new ManualClock());
    const founded = await open(store);
    expect(founded.isNew).toBe(true);
    expect(founded.clusterId).toMatch(/^[A-Za-z0-9_-]{22}$/);
    expect(await open(store, { seed: 2 })).toEqual({ clusterId: founded.clusterId, isNew: false });
    expect((await store.list("")).objects.map((object) => object.key)).toEqual([CLUSTER_KEY]);
  });

  test("is the wanted one, if any, and then must stay so", async () => {
    const store = new MemoryStore(new ManualClock());
    expect((await open(store, { wantedClusterId: CLUSTER_ID })).clusterId).toBe(CLUSTER_ID);
    expect((await open(store, { wantedClusterId: CLUSTER_ID })).isNew).toBe(false);
    await expect(open(store, { wantedClusterId: uuid(9) })).rejects.toMatchObject({ code: "cluster-id-mismatch", exitCode: 2 });
    await expect(open(store, { wantedClusterId: "short" })).rejects.toMatchObject({ code: "cluster-id-invalid", exitCode: 2 });
  });

  test("is the same for two founders at once, whatever replies are lost", async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const clock = new ManualClock();
      const inner = new MemoryStore(clock);
      const rates = { ...NO_FAULTS, lostReply: 0.2, lostRequest: 0.2, duplicate: 0.2 };
      const stores = [1, 2].map((founder) => new FaultyStore(inner, clock, new SeededRandom(seed * 10 + founder), rates));
      const insist = async (store: ObjectStore, own: number): Promise<string> => {
        for (;;) {
          const found = await open(store, { seed: own }).catch(() => undefined);
          if (found !== undefined) return found.clusterId;
        }
      };
      const ids = await Promise.all(stores.map((store, index) => insist(store, seed * 100 + index)));
      expect(new Set(ids).size).toBe(1);
    }
  });

  test("is not founded over a WAL that belongs to a cluster, nor joined with another cluster's WAL", async () => {
    const store = new MemoryStore(new ManualClock());
    await expect(open(store, { walClusterId: CLUSTER_ID })).rejects.toMatchObject({ code: "cluster-missing" });
    expect((await store.list("")).objects).toEqual([]);
    await open(store);
    await expect(open(store, { walClusterId: CLUSTER_ID })).rejects.toMatchObject({ code: "wal-foreign-cluster" });
  });

  test("is refused when damaged, never made anew (N3)", async () => {
    const store = new MemoryStore(new ManualClock());
    await open(store);
    const bytes = (await store.get(CLUSTER_KEY))!;
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice();
      damaged[at]! ^= 0x10;
      await store.put(CLUSTER_KEY, damaged);
      await expect(open(store)).rejects.toMatchObject({ code: expect.stringMatching(/^metadata-/) });
    }
  });
});
