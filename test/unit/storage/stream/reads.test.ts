/** Reads of what lies in objects: how many requests they cost, what they hold, and what they do when the store answers strangely. */
import { expect, test } from "bun:test";
import type { CommittedRange } from "../../../../src/storage/ports.ts";
import type { Stream } from "../../../../src/storage/types.ts";
import { WAL_BLOCK_BYTES } from "../../../../src/storage/wal/wal-device.ts";
import { DATA_START_BLOCK } from "../../../../src/storage/wal/wal-format.ts";
import { GateStore } from "../gate-store.ts";
import {
  drain,
  drive,
  expectBatches,
  type ModelBatch,
  makeBatch,
  NO_LIMIT,
  openStream,
  openWorld,
  STREAM_A,
  settleTurns,
  tryAppendBatch,
  type World,
  type WorldOptions,
} from "../storage-harness.ts";

interface Cold {
  readonly world: World;
  readonly gate: GateStore;
  readonly stream: Stream;
  readonly model: ModelBatch[];
}

/** A stream whose batches lie in `objects` objects of `perObject` batches each, opened by a broker that has none of them. */
async function openCold(objects: number, perObject: number, length: number, options: WorldOptions = {}): Promise<Cold> {
  let gate: GateStore | undefined;
  const storage = { uploadSizeBytes: 1 << 20, uploadIntervalMs: 1_000_000 };
  const makeStore = (clock: World["clock"]) => {
    gate = new GateStore(clock);
    return gate;
  };
  const writer = await openWorld({
    deviceBlocks: 4096,
    ringBlocks: 512,
    storage,
    makeStore: (clock) => makeStore(clock as World["clock"]),
  });
  if (gate === undefined) throw new Error("made");
  writer.metadata.add(STREAM_A);
  const from = openStream(writer, STREAM_A);
  const model: ModelBatch[] = [];
  for (let object = 0; object < objects; object += 1) {
    for (let i = 0; i < perObject; i += 1) {
      // Timestamps rise by object, and within one the third batch is the newest.
      const batch = makeBatch(from.nextOffset, 2, object * 100 + (i === 2 ? 50 : i), length);
      expect(tryAppendBatch(writer, from, batch)).toBe(true);
      model.push(batch);
      if (i % 16 === 15) await settleTurns(writer.clock, 2);
    }
    await drive(writer.clock, writer.storage.flushToObjects());
  }
  const world = await openWorld({ from: writer, deviceBlocks: 64, wal: { getCommittedPosition: () => undefined }, ...options });
  gate.rangedReads = 0;
  return { world, gate, stream: openStream(world, STREAM_A), model };
}

test("a cold read of a small object is one ranged read, of a large one two", async () => {
  const small = await openCold(1, 5, 1_000);
  await drain(await drive(small.world.clock, small.stream.read(3, NO_LIMIT)));
  expect(small.gate.rangedReads).toBe(1);
  // Noise that zstd leaves as it is, above the tail read's size.
  const large = await openCold(1, 400, 3_000);
  await drain(await drive(large.world.clock, large.stream.read(3, { ...NO_LIMIT, maxBytes: 10_000 })));
  expect(large.gate.rangedReads).toBeLessThanOrEqual(2);
});

test("many readers of one block share one fetch", async () => {
  const { world, gate, stream, model } = await openCold(1, 400, 3_000);
  const limits = { ...NO_LIMIT, maxBytes: 5_000 };
  const reads = Array.from({ length: 20 }, (_, i) => stream.read(i, limits).then((slice) => expectBatches(slice, model, i)));
  await drive(world.clock, Promise.all(reads));
  expect(gate.rangedReads).toBeLessThanOrEqual(2);
  expect(world.storage.heldBytes).toBe(0);
});

test("a sequential consumer finds the next objects fetched ahead; a jumping one fetches only what it reads", async () => {
  const sequential = await openCold(12, 4, 2_000, { storage: { catchUpMemoryBytes: 8 << 20 } });
  let readsWaited = 0;
  for (let offset = 0; offset < 96; ) {
    const before = sequential.gate.rangedReads;
    const slice = await drive(sequential.world.clock, sequential.stream.read(offset, { ...NO_LIMIT, maxBytes: 2_000 }));
    if (sequential.gate.rangedReads > before) readsWaited += 1;
    offset = slice.nextOffset;
    await drain(slice);
    await settleTurns(sequential.world.clock, 20);
  }
  expect(sequential.gate.rangedReads).toBe(12);
  expect(readsWaited).toBeLessThan(6);
  const jumping = await openCold(12, 4, 2_000);
  for (const offset of [90, 40, 10]) {
    await drain(await drive(jumping.world.clock, jumping.stream.read(offset, { ...NO_LIMIT, maxBytes: 2_000 })));
    await settleTurns(jumping.world.clock, 20);
  }
  expect(jumping.gate.rangedReads).toBe(3);
});

test("time lookups take at most two ranged reads", async () => {
  const { world, gate, stream, model } = await openCold(6, 4, 2_000);
  const cold = async (work: () => Promise<unknown>, expected: unknown) => {
    gate.rangedReads = 0;
    expect(await drive(world.clock, work())).toEqual(expected);
    expect(gate.rangedReads).toBeLessThanOrEqual(2);
  };
  await cold(() => stream.findBatchByTimestamp(302, 0, 48), model[12 + 2]?.baseOffset);
  await cold(() => stream.findBatchByTimestamp(251, 0, 48), model[12]?.baseOffset);
  await cold(() => stream.findBatchByTimestamp(9_999, 0, 48), undefined);
  await cold(() => stream.findMaxTimestampBatch(0, 48), { baseOffset: model[22]?.baseOffset, maxTimestampMs: 550 });
  // Bounds that cut through an object.
  await cold(() => stream.findMaxTimestampBatch(0, 44), { baseOffset: model[21]?.baseOffset, maxTimestampMs: 501 });
  await cold(() => stream.findBatchByTimestamp(550, 46, 48), undefined);
});

test("a reader that gets 404 resolves again from the metadata; the same answer twice is a trouble", async () => {
  const { world, stream, model } = await openCold(1, 5, 1_000);
  const partition = world.metadata.get(STREAM_A);
  const moved = partition.ranges[0] as CommittedRange;
  const bytes = await world.store.get(moved.objectKey);
  await world.store.delete([moved.objectKey]);
  await expect(drive(world.clock, stream.read(0, NO_LIMIT))).rejects.toMatchObject({ code: "segment-missing", retryable: true });
  await settleTurns(world.clock);
  // Compaction has moved it, and this broker's image follows while the read is under way.
  await world.store.createOnce("data/compacted", bytes ?? new Uint8Array());
  let asked = 0;
  const { findRange } = world.metadata;
  world.metadata.findRange = (id, offset) => {
    asked += 1;
    if (asked > 1) partition.ranges[0] = { ...moved, objectKey: "data/compacted" };
    return findRange.call(world.metadata, id, offset);
  };
  expect(await expectBatches(await drive(world.clock, stream.read(0, NO_LIMIT)), model, 0)).toBe(5);
});

test("unreadable is not absent: a failing store rejects, and the next read works", async () => {
  const { world, gate, stream, model } = await openCold(1, 5, 1_000);
  gate.failReads = 1;
  await expect(drive(world.clock, stream.read(0, NO_LIMIT))).rejects.toMatchObject({ code: "store-unavailable", retryable: true });
  await settleTurns(world.clock);
  expect(await expectBatches(await drive(world.clock, stream.read(0, NO_LIMIT)), model, 0)).toBe(5);
  expect(world.storage.heldBytes).toBe(0);
});

test("N2: a flipped bit in an object reaches no reader", async () => {
  const { world, stream } = await openCold(1, 5, 1_000);
  const key = world.metadata.get(STREAM_A).ranges[0]?.objectKey ?? "";
  const bytes = (await world.store.get(key)) ?? new Uint8Array();
  bytes[40] = (bytes[40] ?? 0) ^ 1;
  await world.store.put(key, bytes);
  await expect(drive(world.clock, stream.read(0, NO_LIMIT))).rejects.toMatchObject({ code: "segment-damaged" });
  await settleTurns(world.clock);
  expect(world.storage.heldBytes).toBe(0);
});

test("catch-up memory is bounded: reads wait for slices to be released, and an abort gives up the place", async () => {
  const { world, stream } = await openCold(4, 30, 3_000, { storage: { catchUpMemoryBytes: 200_000 } });
  const limits = { ...NO_LIMIT, maxBytes: 60_000 };
  const first = await drive(world.clock, stream.read(0, limits));
  const second = stream.read(60, limits);
  const abort = new AbortController();
  const third = stream.read(120, limits, abort.signal);
  await settleTurns(world.clock, 40);
  expect(world.storage.heldBytes).toBeLessThanOrEqual(100_000 + 300_000);
  abort.abort(new Error("client left"));
  await expect(third).rejects.toThrow("client left");
  first.release();
  (await drive(world.clock, second)).release();
  await settleTurns(world.clock, 40);
  expect(world.storage.heldBytes).toBe(0);
});

test("M13: a read that waits too long for memory says so, and answers that hold slices cannot hold each other up for ever", async () => {
  const { world, stream } = await openCold(4, 30, 3_000, { storage: { catchUpMemoryBytes: 200_000 } });
  const limits = { ...NO_LIMIT, maxBytes: 100_000 };
  const held = await drive(world.clock, stream.read(0, limits));
  expect(held.sizeBytes).toBeGreaterThan(50_000);
  await expect(drive(world.clock, stream.read(60, limits))).rejects.toMatchObject({ code: "catch-up-busy", retryable: true });
  held.release();
  (await drive(world.clock, stream.read(60, limits))).release();
  await settleTurns(world.clock, 40);
  expect(world.storage.heldBytes).toBe(0);
});

test("a batch larger than the whole catch-up budget is still read, alone", async () => {
  const { world, stream, model } = await openCold(1, 2, 12_000, { storage: { catchUpMemoryBytes: 8_000 } });
  expect(await expectBatches(await drive(world.clock, stream.read(0, { ...NO_LIMIT, maxBytes: 100 })), model, 0)).toBe(1);
  expect(world.storage.heldBytes).toBe(0);
});

test("limits: end offset, max bytes, at least one batch", async () => {
  const { world, stream, model } = await openCold(2, 5, 1_000);
  const read = async (from: number, endOffset: number, maxBytes: number, atLeastOneBatch: boolean) =>
    await expectBatches(await drive(world.clock, stream.read(from, { endOffset, maxBytes, atLeastOneBatch })), model, from);
  expect(await read(0, 20, 2_500, true)).toBe(2);
  expect(await read(0, 20, 500, true)).toBe(1);
  expect(await read(0, 20, 500, false)).toBe(0);
  expect(await read(0, 3, 1 << 20, true)).toBe(1);
  expect(await read(3, 3, 1 << 20, true)).toBe(0);
  expect(await read(20, 99, 1 << 20, true)).toBe(0);
});

/** An empty stream; `appendSome` appends batches of one record and 3,000 bytes to it and to the model, and waits for room where there is none. */
function openAppended(world: World) {
  world.metadata.add(STREAM_A);
  const stream = openStream(world, STREAM_A);
  const model: ModelBatch[] = [];
  const appendSome = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i += 1) {
      const batch = makeBatch(stream.nextOffset, 1, 1, 3_000);
      while (!tryAppendBatch(world, stream, batch)) await world.clock.advance(50).then(() => settleTurns(world.clock, 5));
      model.push(batch);
      await settleTurns(world.clock, 4);
    }
  };
  return { stream, model, appendSome };
}

test("a slice of the tail outlives the ring: it loads from device, and from objects once the device is reused", async () => {
  const world = await openWorld({ deviceBlocks: 64, ringBlocks: 16, storage: { uploadSizeBytes: 20_000, maxRetainedBatches: 3 } });
  const { stream, model, appendSome } = openAppended(world);
  await appendSome(4);
  const early = stream.tryRead(0, NO_LIMIT);
  const late = stream.tryRead(1, NO_LIMIT);
  if (early === undefined || late === undefined) throw new Error("in the ring");
  expect(world.storage.heldBytes).toBe(0);
  await appendSome(8);
  expect(early.tryCopy(0, 10, new Uint8Array(10), 0)).toBe(false);
  expect(await drive(world.clock, expectBatches(early, model, 0))).toBe(4);
  await appendSome(60);
  expect(world.wal.isOnDevice(0 as never)).toBe(false);
  expect(await drive(world.clock, expectBatches(late, model, 1))).toBe(3);
  await settleTurns(world.clock, 40);
});

test("N2: a batch that is damaged on the device is read from objects when it is there, and from nowhere when it is not", async () => {
  const world = await openWorld({ deviceBlocks: 256, ringBlocks: 16, storage: { uploadSizeBytes: 1 << 20, uploadIntervalMs: 1_000_000 } });
  const { stream, model, appendSome } = openAppended(world);
  const damage = async (): Promise<void> => {
    for (let at = 0; at < world.device.capacityBytes; at += WAL_BLOCK_BYTES) {
      const block = await world.device.read(at, WAL_BLOCK_BYTES);
      if (at < DATA_START_BLOCK * WAL_BLOCK_BYTES || block[2_000] === 0) continue;
      block[2_000]! ^= 1;
      await world.device.write(block, at);
    }
  };
  await appendSome(20);
  await drive(world.clock, world.storage.flushToObjects());
  await appendSome(20);
  await damage();
  const read = async (offset: number) => expectBatches(await stream.read(offset, NO_LIMIT), model, offset);
  expect(await drive(world.clock, read(0))).toBe(20);
  expect(world.logger.events.filter(({ event }) => event === "wal.copy-damaged")).toHaveLength(1);
  await expect(drive(world.clock, read(20))).rejects.toMatchObject({ code: "wal-damaged" });
  expect(world.storage.heldBytes).toBe(0);
});
