/** The simulated brokers are main's: the same wire-up over a world of the same shape, with only the outside exchanged. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { makeSystemWorld } from "../../src/cli/system-world.ts";
import { MemoryStore } from "../../src/objectstore/memory-store.ts";
import { hasAddon } from "../unit/protocol/block-codecs.ts";
import { RecordingLogger } from "../unit/support/recording-telemetry.ts";
import { CALM, Faults } from "./faults.ts";
import { SimProcess } from "./process.ts";
import { Scheduler } from "./scheduler.ts";
import { SimDisk } from "./sim-disk.ts";
import { SimNetwork } from "./sim-network.ts";
import { makeSimConfig, makeSimWorld } from "./sim-world.ts";

/** Options that the wire-up hands on to the parts it builds; the real world leaves them at their defaults. */
const TUNED = ["poisonReused", "snapshotEverySlots", "garbageGraceMs", "checkpointBatches", "rewriteAboveBytes"];
/** What the simulator asks its own world. */
const OWN = ["getDevice", "getUsedWalBlocks"];

const sizes = {
  ringBytes: 1 << 20,
  diskBytes: 1 << 21,
  uploadIntervalMs: 1000,
  uploadSizeBytes: 65_536,
  snapshotEverySlots: 8,
  garbageGraceMs: 1000,
  checkpointBatches: 100,
};

test.skipIf(!hasAddon)("the simulated world has what the real one has, and five options more", () => {
  const scheduler = new Scheduler(1);
  const process = new SimProcess({ number: 1, name: "broker", host: "machine", scheduler, seed: 1, onBug: () => {} });
  const faults = new Faults({ ...CALM });
  const network = new SimNetwork(faults);
  const bucket = new MemoryStore(process.clock);
  const simulated = makeSimWorld({ process, bucket, disk: new SimDisk(sizes.diskBytes), network, faults, sizes, onEvent: () => {} });
  const real = makeSystemWorld(makeSimConfig("machine", 9092, 1, sizes), new RecordingLogger(), () => {});
  const extra = [...TUNED, ...OWN];
  expect(
    Object.keys(simulated)
      .filter((key) => !extra.includes(key))
      .sort(),
  ).toEqual(Object.keys(real).sort());
});

test("production code does not know that it is simulated", () => {
  const root = join(import.meta.dir, "../../src");
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));
  const knowing = files.filter((path) => /test\/sim|isSimulated/.test(readFileSync(join(root, path), "utf8")));
  expect(knowing).toEqual([]);
});
