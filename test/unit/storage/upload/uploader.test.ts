/** The uploader: when it cuts, what it commits in which order, and what it does while the store or the metadata log say no. */
import { expect, test } from "bun:test";
import { Trouble } from "../../../../src/base/trouble.ts";
import type { Stream } from "../../../../src/storage/types.ts";
import { MemoryWalDevice } from "../../../../src/storage/wal/memory-wal-device.ts";
import { GateStore } from "../gate-store.ts";
import {
  drive,
  makeBatch,
  NO_LIMIT,
  openStream,
  openWorld,
  STREAM_A,
  STREAM_B,
  settleTurns,
  tryAppendBatch,
  type World,
  type WorldOptions,
} from "../storage-harness.ts";
import { deviceBytes } from "../wal/wal-harness.ts";

async function openGated(options: WorldOptions = {}): Promise<World & { gate: GateStore; a: Stream; b: Stream }> {
  let gate: GateStore | undefined;
  const world = await openWorld({
    ...options,
    makeStore: (clock) => {
      gate = new GateStore(clock);
      return gate;
    },
  });
  if (gate === undefined) throw new Error("made");
  world.metadata.add(STREAM_A);
  world.metadata.add(STREAM_B);
  return { ...world, gate, a: openStream(world, STREAM_A), b: openStream(world, STREAM_B) };
}

function append(world: World, stream: Stream, length = 1000, count = 1): void {
  expect(tryAppendBatch(world, stream, makeBatch(stream.nextOffset, count, 1, length))).toBe(true);
}

/** A cut by age. */
async function cutNow(world: World): Promise<void> {
  await world.clock.advance(1_000);
  await settleTurns(world.clock);
}

test("M2: uploads overlap and end in any order; commits go in LSN order", async () => {
  const world = await openGated();
  world.gate.holds = true;
  for (let i = 0; i < 3; i += 1) {
    append(world, world.a);
    await cutNow(world);
  }
  expect(world.gate.held).toHaveLength(3);
  world.gate.let(2);
  world.gate.let(1);
  await settleTurns(world.clock);
  expect(world.metadata.commits).toHaveLength(0);
  expect(world.a.committedEndOffset).toBe(0);
  world.gate.let(0);
  await settleTurns(world.clock);
  expect(world.metadata.commits.map((commit) => commit.ranges[0]?.baseOffset)).toEqual([0, 1, 2]);
  const lsns = world.metadata.commits.map((commit) => commit.walCommitted.lsn);
  expect(lsns).toEqual([...lsns].sort((x, y) => x - y));
  expect(world.wal.usedBlocks).toBe(0);
});

test("B3: the WAL is not trimmed before the commit, nor beyond it", async () => {
  const world = await openGated();
  world.gate.holds = true;
  append(world, world.a);
  await cutNow(world);
  const used = world.wal.usedBlocks;
  expect(used).toBeGreaterThan(0);
  append(world, world.b);
  await settleTurns(world.clock);
  const usedByBoth = world.wal.usedBlocks;
  world.gate.let(0);
  await settleTurns(world.clock);
  expect(world.wal.usedBlocks).toBe(usedByBoth - used);
});

test("at most maxParallelUploads objects are under way; a later cut takes all that waits", async () => {
  const world = await openGated({ storage: { maxParallelUploads: 2 } });
  world.gate.holds = true;
  for (let i = 0; i < 6; i += 1) {
    append(world, world.a);
    await cutNow(world);
  }
  expect(world.gate.held).toHaveLength(2);
  world.gate.holds = false;
  world.gate.let(0);
  world.gate.let(0);
  await settleTurns(world.clock);
  expect(world.metadata.commits.map((commit) => commit.ranges[0]?.endOffset)).toEqual([1, 2, 6]);
});

test("a cut above twice the object size is divided; only its last object moves the WAL", async () => {
  const world = await openGated({ storage: { uploadSizeBytes: 8_000, uploadIntervalMs: 60_000 } });
  world.gate.holds = true;
  // The first cuts keep the uploader busy while more gathers.
  for (let i = 0; i < 4; i += 1) {
    append(world, world.b, 8_000);
    await settleTurns(world.clock);
  }
  expect(world.gate.held).toHaveLength(4);
  for (let i = 0; i < 20; i += 1) append(world, world.a, 1_500);
  await settleTurns(world.clock);
  world.gate.holds = false;
  for (let i = 0; i < 4; i += 1) world.gate.let(0);
  await drive(world.clock, world.storage.flushToObjects());
  const split = world.metadata.commits.slice(4);
  expect(split.length).toBeGreaterThanOrEqual(3);
  const before = world.metadata.commits[3]?.walCommitted.lsn;
  for (const commit of split.slice(0, -1)) {
    expect<number>(commit.walCommitted.lsn).toBe(before ?? -1);
    expect(commit.ranges[0]?.sizeBytes).toBeLessThanOrEqual(8_000);
  }
  expect(split.at(-1)?.walCommitted.lsn).toBe(world.wal.headLsn);
  expect(world.a.committedEndOffset).toBe(20);
});

test("an unknown outcome is sent again with the same bytes; what exists then is ours", async () => {
  const world = await openGated();
  world.gate.failPuts = 3;
  world.gate.applies = true;
  append(world, world.a);
  await drive(world.clock, world.storage.flushToObjects());
  expect(new Set(world.gate.putKeys).size).toBe(1);
  expect(world.metadata.commits).toHaveLength(1);
  const names = world.logger.names().filter((name) => name.startsWith("upload."));
  expect(names).toEqual(["upload.waiting", "upload.resumed"]);
  expect(world.storage.storeTrouble).toBeUndefined();
});

test("somebody else's object under the key is left alone; another key is taken", async () => {
  let count = 0;
  const world = await openGated({ storage: { makeObjectKey: () => `data/k${++count}` } });
  await world.store.createOnce("data/k1", new Uint8Array(100));
  append(world, world.a);
  await drive(world.clock, world.storage.flushToObjects());
  expect(world.metadata.commits[0]?.objectKey).toBe("data/k2");
  expect(await world.store.get("data/k1")).toEqual(new Uint8Array(100));
});

test("with the store away appends go on until the WAL is full, then recover by themselves", async () => {
  const world = await openGated({ deviceBlocks: 64, ringBlocks: 32 });
  world.gate.failPuts = Number.POSITIVE_INFINITY;
  let appended = 0;
  while (tryAppendBatch(world, world.a, makeBatch(world.a.nextOffset, 1, 1, 2_000))) {
    appended += 1;
    await world.clock.advance(20);
    await settleTurns(world.clock, 3);
    if (appended > 1_000) throw new Error("the WAL never fills");
  }
  const waiting = world.storage.reserve(2_000, 1);
  await settleTurns(world.clock);
  expect(world.storage.state.kind).toBe("wal-full");
  expect(world.storage.state.reason).toContain("no answer");
  expect(world.storage.storeTrouble?.code).toBe("store-outcome-unknown");
  expect(world.a.durableEndOffset).toBe(appended);
  world.gate.failPuts = 0;
  const reservation = await drive(world.clock, waiting);
  reservation.release();
  await settleTurns(world.clock);
  expect(world.storage.state.kind).toBe("serving");
  expect(world.logger.names().filter((name) => name.startsWith("upload."))).toEqual(["upload.waiting", "upload.resumed"]);
});

test("a WAL more than half full is cut before its payload or age would ask for it", async () => {
  const world = await openGated({ deviceBlocks: 64, ringBlocks: 32, storage: { uploadSizeBytes: 1 << 20, uploadIntervalMs: 1_000_000 } });
  for (let i = 0; i < 60; i += 1) {
    append(world, world.a, 100);
    await settleTurns(world.clock);
  }
  expect(world.metadata.commits.length).toBeGreaterThan(0);
});

test("a range that is gone counts as done for the WAL; the rest of the object lives", async () => {
  const world = await openGated();
  append(world, world.a);
  append(world, world.b);
  world.metadata.get(STREAM_A).isGone = true;
  await drive(world.clock, world.storage.flushToObjects());
  expect(world.a.committedEndOffset).toBe(0);
  expect(world.b.committedEndOffset).toBe(1);
  expect(world.wal.usedBlocks).toBe(0);
  expect(world.logger.names()).toContain("upload.range-gone");
});

test("a closed stream's tail is still uploaded, and a new owner goes on with it", async () => {
  const world = await openGated();
  append(world, world.a);
  await settleTurns(world.clock);
  world.storage.closeStream(STREAM_A);
  world.metadata.get(STREAM_A).term = 4;
  const again = openStream(world, STREAM_A);
  expect(again.nextOffset).toBe(1);
  append(world, again);
  await drive(world.clock, world.storage.flushToObjects());
  expect(again.committedEndOffset).toBe(2);
  world.storage.closeStream(STREAM_A);
  append(world, world.b);
  world.storage.closeStream(STREAM_B);
  await drive(world.clock, world.storage.flushToObjects());
  expect(world.metadata.getCommittedEnd(STREAM_B)).toBe(1);
});

test("the WAL's position stands still until every recovered stream is opened or dropped", async () => {
  const device = new MemoryWalDevice(deviceBytes(256));
  const first = await openGated({ device });
  append(first, first.a);
  append(first, first.b);
  await drive(first.clock, first.storage.whenDurable());
  await drive(first.clock, first.storage.close());

  const world = await openWorld({ device, from: first });
  expect(world.storage.getRecoveredStreams()).toEqual([STREAM_A, STREAM_B]);
  const a = openStream(world, STREAM_A);
  expect(a.nextOffset).toBe(1);
  await drive(world.clock, world.storage.flushToObjects());
  expect(a.committedEndOffset).toBe(1);
  expect(world.metadata.walCommitted?.lsn as number).toBe(0);
  world.storage.dropRecovered(STREAM_B);
  expect(world.storage.getRecoveredStreams()).toEqual([]);
  append(world, a);
  await drive(world.clock, world.storage.flushToObjects());
  expect(world.metadata.walCommitted?.lsn).toBe(world.wal.headLsn);
  expect(world.wal.usedBlocks).toBe(0);
});

test("offsets missing between committed end and recovered tail hold the stream, by name", async () => {
  const device = new MemoryWalDevice(deviceBytes(256));
  const first = await openGated({ device });
  append(first, first.a, 100, 10);
  await drive(first.clock, first.storage.flushToObjects());
  append(first, first.a, 100, 10);
  await drive(first.clock, first.storage.close());
  first.metadata.get(STREAM_A).committedEnd = 7;
  const world = await openWorld({ device, from: first });
  let trouble: unknown;
  try {
    openStream(world, STREAM_A);
  } catch (error) {
    trouble = error;
  }
  expect(trouble).toBeInstanceOf(Trouble);
  expect((trouble as Trouble).code).toBe("stream-damaged");
  expect((trouble as Trouble).message).toContain(`${STREAM_A.topicId}-0`);
  expect(world.storage.getRecoveredStreams()).toEqual([STREAM_A]);
  // Below the log start nothing is missed.
  const stream = openStream(world, STREAM_A, { logStartOffset: 10 });
  expect(stream.nextOffset).toBe(20);
  await drive(world.clock, world.storage.flushToObjects());
  expect(world.metadata.commits.at(-1)?.ranges[0]).toMatchObject({ baseOffset: 7, endOffset: 20 });
});

test("committed batches stay readable from the WAL as long as it holds them; their references are bounded", async () => {
  const world = await openGated({ storage: { maxRetainedBatches: 5 } });
  for (let i = 0; i < 4; i += 1) append(world, world.a);
  await drive(world.clock, world.storage.flushToObjects());
  expect(world.a.localStartOffset).toBe(0);
  expect(world.a.tryRead(0, NO_LIMIT)?.nextOffset).toBe(4);
  for (let i = 0; i < 3; i += 1) append(world, world.b);
  await drive(world.clock, world.storage.flushToObjects());
  expect(world.a.localStartOffset).toBe(4);
  expect(world.b.localStartOffset).toBe(0);
  const readsBefore = world.gate.rangedReads;
  expect((await drive(world.clock, world.a.read(0, NO_LIMIT))).nextOffset).toBe(4);
  expect(world.gate.rangedReads).toBeGreaterThan(readsBefore);
});

test("flushToObjects rejects when aborted or closed, and goes on by itself", async () => {
  const world = await openGated();
  world.gate.holds = true;
  append(world, world.a);
  const abort = new AbortController();
  const flushed = world.storage.flushToObjects(abort.signal);
  await settleTurns(world.clock);
  abort.abort(new Error("enough"));
  await expect(flushed).rejects.toThrow("enough");
  const second = world.storage.flushToObjects();
  world.gate.let(0);
  await drive(world.clock, second);
  expect(world.a.committedEndOffset).toBe(1);
  await drive(world.clock, world.storage.close());
  await expect(world.storage.flushToObjects()).rejects.toMatchObject({ code: "storage-closed" });
  expect(world.storage.heldBytes).toBe(0);
});

test("a commit that the metadata log refuses for good stops storage, visibly", async () => {
  const world = await openGated();
  world.metadata.commitObject = () =>
    Promise.reject(new Trouble({ code: "broker-fenced", message: "epoch 5 has ended", retryable: false }));
  append(world, world.a);
  await expect(drive(world.clock, world.storage.flushToObjects())).rejects.toMatchObject({ code: "broker-fenced" });
  await settleTurns(world.clock, 40);
  expect(world.storage.state).toMatchObject({ kind: "failed" });
  expect(world.logger.names()).toContain("upload.failed");
  expect(world.wal.usedBlocks).toBeGreaterThan(0);
});

test("an upload whose device reads fail waits, says so, and goes on when they work", async () => {
  class FailingDevice extends MemoryWalDevice {
    failures = 0;
    override read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array> {
      if (this.failures-- > 0) return Promise.reject(new Trouble({ code: "wal-device-io", message: "EIO", retryable: true }));
      return super.read(deviceOffset, lengthBytes);
    }
  }
  const device = new FailingDevice(deviceBytes(256));
  const world = await openGated({ device, ringBlocks: 16, storage: { uploadIntervalMs: 1_000_000 } });
  for (let i = 0; i < 20; i += 1) {
    append(world, world.a, 3_000);
    await settleTurns(world.clock, 4);
  }
  device.failures = 2;
  await drive(world.clock, world.storage.flushToObjects());
  expect(world.a.committedEndOffset).toBe(20);
  expect(world.logger.names().filter((name) => name.startsWith("wal.unreadable") || name.startsWith("wal.readable"))).toEqual([
    "wal.unreadable",
    "wal.readable",
  ]);
});
