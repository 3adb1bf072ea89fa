/**
 * M17: an idle hour asks about nothing of the bucket. The whole broker, as main wires it up, in the simulator's world: it has served, its bucket is
 * quiet, and then a virtual hour passes. `idle.ts` measures the executable before a real S3 server.
 */
import { expect, test } from "bun:test";
import { type Broker, buildBroker } from "../../src/cli/wire-up.ts";
import { MemoryStore } from "../../src/objectstore/memory-store.ts";
import type { ObjectStore } from "../../src/objectstore/object-store.ts";
import { CALM, Faults } from "../sim/faults.ts";
import { SimProcess } from "../sim/process.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { SimDisk } from "../sim/sim-disk.ts";
import { SimNetwork } from "../sim/sim-network.ts";
import { makeSimConfig, makeSimWorld } from "../sim/sim-world.ts";
import { hasAddon } from "../unit/protocol/block-codecs.ts";

const HOUR_MS = 3_600_000;
const sizes = {
  ringBytes: 1 << 20,
  diskBytes: 1 << 21,
  uploadIntervalMs: 1000,
  uploadSizeBytes: 65_536,
  snapshotEverySlots: 8,
  garbageGraceMs: 1000,
  checkpointBatches: 100,
};

test.skipIf(!hasAddon)(`M17: a broker without clients asks at most once a minute${hasAddon ? "" : " (skipped: no native addon)"}`, () => {
  const scheduler = new Scheduler(1);
  const fail = (error: unknown): never => {
    throw error;
  };
  const process = new SimProcess({ number: 1, name: "broker", host: "machine", scheduler, seed: 1, onBug: fail });
  const faults = new Faults({ ...CALM });
  let requests = 0;
  const bucket = new Proxy(new MemoryStore(process.clock), {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        requests++;
        return (value as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
  const parts = { process, disk: new SimDisk(sizes.diskBytes), network: new SimNetwork(faults), faults, sizes, onEvent: () => {} };
  const world = makeSimWorld({ ...parts, bucket });
  let store: ObjectStore | undefined;
  let broker: Broker | undefined;
  process.post(0, "start", () => {
    const config = makeSimConfig("machine", 9092, 1, sizes);
    const openObjectStore = async (): Promise<ObjectStore> => (store = await world.openObjectStore());
    buildBroker(config, { ...world, openObjectStore }).then((started) => {
      broker = started;
    }, fail);
  });
  const runUntil = (dueMs: number): void => {
    while (scheduler.nowMs < dueMs && scheduler.step());
  };
  runUntil(300_000);
  expect(broker).toBeDefined();
  expect(store).toBeDefined();
  expect(requests).toBeGreaterThan(5);
  requests = 0;
  runUntil(300_000 + HOUR_MS);
  expect(requests).toBeLessThanOrEqual(60);
  expect(requests).toBeGreaterThan(10);
});
