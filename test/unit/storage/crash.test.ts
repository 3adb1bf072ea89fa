/**
 * B3 N1: the process is killed at random moments, with device writes held and torn, uploads and commits under way. What was released before the kill is there after it, once and in
 * order, whether it lies in objects, in the WAL, or in both.
 */
import { expect, test } from "bun:test";
import { verifySegment } from "../../../src/storage/segment/verify-segment.ts";
import type { Stream } from "../../../src/storage/types.ts";
import { JournalingWalDevice } from "../support/journaling-wal-device.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import {
  crc32c,
  drive,
  expectBatches,
  type ModelBatch,
  makeBatch,
  NO_LIMIT,
  openStream,
  openWorld,
  STREAM_A,
  STREAM_B,
  syncJobs,
  tryAppendBatch,
  type World,
} from "./storage-harness.ts";
import { deviceBytes } from "./wal/wal-harness.ts";

const STORAGE = { uploadSizeBytes: 20_000, uploadIntervalMs: 40, maxRetainedBatches: 20 };
const IDS = [STREAM_A, STREAM_B];

/** Appends, lets some device writes complete in any order, lets time pass; stops anywhere. */
async function runUntilKilled(
  world: World,
  device: JournalingWalDevice,
  streams: readonly Stream[],
  models: ModelBatch[][],
  random: SeededRandom,
): Promise<void> {
  for (let steps = 20 + random.nextInt(150); steps > 0; steps -= 1) {
    const which = random.nextInt(IDS.length);
    const stream = streams[which];
    if (stream === undefined) throw new Error("open");
    const kind = random.nextInt(10);
    if (kind < 5) {
      const batch = makeBatch(stream.nextOffset, 1 + random.nextInt(9), random.nextInt(1_000), 100 + random.nextInt(4_000));
      if (tryAppendBatch(world, stream, batch)) models[which]?.push(batch);
    } else if (kind < 8) {
      await world.clock.endTurn();
      if (device.heldWrites > 0) device.complete(random.nextInt(device.heldWrites));
    } else if (kind === 8) {
      await world.clock.advance(random.nextInt(30));
    } else await world.clock.endTurn();
  }
}

for (let seed = 1; seed <= 25; seed += 1) {
  test(`what was released outlives a kill, ten times over, seed ${seed}`, async () => {
    const random = new SeededRandom(seed);
    let device = new JournalingWalDevice(deviceBytes(200));
    let world = await openWorld({ seed, device, ringBlocks: 32, storage: STORAGE });
    for (const id of IDS) world.metadata.add(id, 2 ** 33);
    world.metadata.maxCommitMs = 20;
    world.metadata.maxAnswerMs = 20;
    const models: ModelBatch[][] = [[], []];
    for (let life = 0; life < 10; life += 1) {
      const streams = IDS.map((id) => openStream(world, id));
      device.holds = true;
      await runUntilKilled(world, device, streams, models, random);
      // The kill: nobody moves the old world's clock any more, and its device's unfinished writes land in part.
      const released = streams.map((stream) => stream.durableEndOffset);
      device = new JournalingWalDevice(device.capacityBytes, device.crashImage(random));
      const { metadata } = world;
      metadata.isCommitting = false;
      world = await openWorld({ seed: seed + life, device, ringBlocks: 32, from: { ...world, clock: undefined }, storage: STORAGE });
      metadata.clock = world.clock;

      for (const [which, id] of IDS.entries()) {
        const stream = openStream(world, id);
        const model = models[which] ?? [];
        expect(stream.nextOffset).toBeGreaterThanOrEqual(released[which] ?? 0);
        // What was appended and never released may be gone, from the end only.
        model.splice(model.findIndex((batch) => batch.baseOffset >= stream.nextOffset) >>> 0);
        expect(stream.nextOffset).toBe((model.at(-1)?.lastOffset ?? 2 ** 33 - 1) + 1);
        for (let offset = model[0]?.baseOffset ?? stream.nextOffset; offset < stream.nextOffset; ) {
          const slice = await drive(world.clock, stream.read(offset, NO_LIMIT));
          const next = slice.nextOffset;
          expect(await drive(world.clock, expectBatches(slice, model, offset))).toBeGreaterThan(0);
          offset = next;
        }
        world.storage.closeStream(id);
      }
    }
    expect(world.metadata.commits.length).toBeGreaterThan(5);
    for (const commit of world.metadata.commits) {
      const object = await world.store.get(commit.objectKey);
      await verifySegment(commit.objectKey, object ?? new Uint8Array(), crc32c, syncJobs);
    }
  });
}
