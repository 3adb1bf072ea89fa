/** The storage room as a whole, on its plain paths. */
import { expect, test } from "bun:test";
import { verifySegment } from "../../../src/storage/segment/verify-segment.ts";
import type { Stream } from "../../../src/storage/types.ts";
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
  settleTurns,
  syncJobs,
  tryAppendBatch,
} from "./storage-harness.ts";

test("a batch is appended, durable, uploaded, committed, and read back from ring and object", async () => {
  const world = await openWorld();
  world.metadata.add(STREAM_A);
  const stream = openStream(world, STREAM_A);
  const released: number[] = [];
  world.storage.onReleased((streams: readonly Stream[]) => released.push(...streams.map((each) => each.durableEndOffset)));
  const model: ModelBatch[] = [makeBatch(0, 5, 100, 300), makeBatch(5, 1, 90, 400)];
  for (const batch of model) expect(tryAppendBatch(world, stream, batch)).toBe(true);
  expect(stream.nextOffset).toBe(6);
  expect(stream.durableEndOffset).toBe(0);
  expect(stream.tryRead(0, NO_LIMIT)?.sizeBytes).toBe(0);

  await drive(world.clock, world.storage.whenDurable());
  expect(released).toEqual([6]);
  const slice = stream.tryRead(2, NO_LIMIT);
  if (slice === undefined) throw new Error("the ring has it");
  expect(await expectBatches(slice, model, 2)).toBe(2);

  await drive(world.clock, world.storage.flushToObjects());
  expect(stream.committedEndOffset).toBe(6);
  expect(world.metadata.commits).toHaveLength(1);
  const commit = world.metadata.commits[0];
  expect(commit?.ranges).toEqual([
    { stream: STREAM_A, term: 3, baseOffset: 0, endOffset: 6, maxTimestampMs: 100, sizeBytes: 700, hasCheckpoint: false },
  ]);
  expect(commit?.walCommitted.lsn).toBe(world.wal.headLsn);
  const object = await world.store.get(commit?.objectKey ?? "");
  if (object === undefined) throw new Error("the object is there");
  expect(object.length).toBe(commit?.objectSizeBytes ?? -1);
  expect((await verifySegment("x", object, crc32c, syncJobs)).batches).toBe(2);

  // A new owner without the WAL's bytes reads the same from the object.
  const other = await openWorld({ from: world, deviceBlocks: 256, wal: { getCommittedPosition: () => undefined } });
  const reader = openStream(other, STREAM_A);
  expect(reader.tryRead(0, NO_LIMIT)).toBeUndefined();
  expect(await expectBatches(await drive(world.clock, reader.read(2, NO_LIMIT)), model, 2)).toBe(2);
  expect(other.storage.heldBytes).toBe(0);
  expect(world.storage.heldBytes).toBe(0);
});

test("an idle broker uploads nothing and arms no timer", async () => {
  const world = await openWorld();
  world.metadata.add(STREAM_A);
  const stream = openStream(world, STREAM_A);
  await world.clock.advance(100_000);
  expect(world.metadata.commits).toHaveLength(0);
  tryAppendBatch(world, stream, makeBatch(0, 1, 1, 100));
  await settleTurns(world.clock);
  expect(world.metadata.commits).toHaveLength(0);
  await world.clock.advance(1_000);
  await settleTurns(world.clock);
  expect(world.metadata.commits).toHaveLength(1);
  await world.clock.advance(100_000);
  await settleTurns(world.clock);
  expect(world.metadata.commits).toHaveLength(1);
});

test("a payload of uploadSizeBytes is cut without waiting for the interval", async () => {
  const world = await openWorld();
  world.metadata.add(STREAM_A);
  world.metadata.add(STREAM_B);
  const a = openStream(world, STREAM_A);
  const b = openStream(world, STREAM_B);
  for (let i = 0; i < 8; i += 1) {
    tryAppendBatch(world, a, makeBatch(i, 1, i, 4500));
    tryAppendBatch(world, b, makeBatch(i, 1, i, 4500));
    await settleTurns(world.clock, 3);
  }
  await settleTurns(world.clock);
  expect(world.metadata.commits).toHaveLength(1);
  expect(world.metadata.commits[0]?.ranges).toHaveLength(2);
  expect(a.committedEndOffset).toBe(8);
});

test("a checkpoint is taken at the cut and read back; a drain forces one", async () => {
  const world = await openWorld();
  world.metadata.add(STREAM_A);
  const forced: boolean[] = [];
  const stream = openStream(world, STREAM_A, {
    checkpointSource: {
      takeCheckpoint: (force) => {
        forced.push(force);
        return force ? new TextEncoder().encode(`state after ${stream.nextOffset}`) : undefined;
      },
    },
  });
  tryAppendBatch(world, stream, makeBatch(0, 3, 1, 100));
  await world.clock.advance(1_000);
  await settleTurns(world.clock);
  expect(forced).toEqual([false]);
  expect(await drive(world.clock, world.storage.readCheckpoint(STREAM_A))).toBeUndefined();
  tryAppendBatch(world, stream, makeBatch(3, 4, 1, 100));
  await drive(world.clock, world.storage.flushToObjects());
  expect(forced).toEqual([false, true]);
  expect(world.metadata.getCheckpoint(STREAM_A)?.endOffset).toBe(7);
  const bytes = await drive(world.clock, world.storage.readCheckpoint(STREAM_A));
  expect(new TextDecoder().decode(bytes)).toBe("state after 7");
});

test("a slice of the tail is copied in pieces, in any order, across batches", async () => {
  const world = await openWorld();
  world.metadata.add(STREAM_A);
  const stream = openStream(world, STREAM_A);
  const model = [300, 1, 77, 4_000, 512].map((length, i) => makeBatch(i, 1, i, length));
  for (const batch of model) tryAppendBatch(world, stream, batch);
  await drive(world.clock, world.storage.whenDurable());
  const slice = stream.tryRead(0, NO_LIMIT);
  if (slice === undefined) throw new Error("the ring has it");
  const whole = Buffer.concat(model.map((batch) => batch.bytes));
  expect(slice.sizeBytes).toBe(whole.length);
  for (let i = 0; i < 500; i += 1) {
    const from = world.random.nextInt(whole.length);
    const length = 1 + world.random.nextInt(whole.length - from);
    const target = new Uint8Array(length + 10);
    expect(slice.tryCopy(from, length, target, 5)).toBe(true);
    expect(Buffer.compare(target.subarray(5, 5 + length), whole.subarray(from, from + length))).toBe(0);
  }
  slice.release();
  expect(() => slice.tryCopy(0, 1, new Uint8Array(1), 0)).toThrow("after its release");
});
