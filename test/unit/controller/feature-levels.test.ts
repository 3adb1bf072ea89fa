/** Feature levels: changed all or none, from what was seen; there after a restart; raised on a cluster that was made before the feature existed. */
import { expect, test } from "bun:test";
import { SystemClock } from "../../../src/base/system-clock.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import { makeOldCluster } from "../../support/old-cluster.ts";
import { DEADLINE_MS, openCluster, startBroker } from "./cluster-harness.ts";

const clock = new SystemClock();
const G = "group.version";
const T = "transaction.version";

test("change together, or not at all when somebody else was first", async () => {
  const store = new MemoryStore(clock);
  const broker = await startBroker({ store, clock });
  const levels = () => Object.fromEntries(broker.image.getFinalizedFeatures());
  const { slot } = broker.image;
  expect(await broker.updateFeatures([{ name: G, expected: 1, level: 0 }], DEADLINE_MS)).toBe("done");
  expect(levels()).toEqual({ "metadata.version": 33, [T]: 2, [G]: 0 });
  const late = [
    { name: T, expected: 2, level: 1 },
    { name: G, expected: 1, level: 0 },
  ];
  expect(await broker.updateFeatures(late, DEADLINE_MS)).toBe("conflict");
  expect(levels()).toMatchObject({ [T]: 2 });
  const both = [
    { name: T, expected: 2, level: 1 },
    { name: G, expected: 0, level: 1 },
  ];
  expect(await broker.updateFeatures(both, DEADLINE_MS)).toBe("done");
  expect(await broker.updateFeatures([{ name: G, expected: 1, level: 0 }], DEADLINE_MS)).toBe("done");
  expect(broker.image.slot).toBeGreaterThan(slot);
  const before = broker.image;
  await broker.close();
  const again = await openCluster({ store, clock, seed: 2 });
  expect(again.image.hash).toBe(before.hash);
  expect(Object.fromEntries(again.image.getFinalizedFeatures())).toEqual({ "metadata.version": 33, [T]: 1, [G]: 0 });
});

test("a cluster that was made before a feature existed stays below it until it is raised, restarts or not", async () => {
  const store = new MemoryStore(clock);
  await makeOldCluster(store, [
    ["metadata.version", 33],
    [T, 2],
  ]);
  const first = await startBroker({ store, clock });
  expect(first.image.getFinalizedFeatures().has(G)).toBe(false);
  expect(await first.updateFeatures([{ name: G, expected: 0, level: 1 }], DEADLINE_MS)).toBe("done");
  await first.close();
  const second = await startBroker({ store, clock, seed: 2 });
  expect(Object.fromEntries(second.image.getFinalizedFeatures())).toEqual({ "metadata.version": 33, [T]: 2, [G]: 1 });
  await second.close();
});
