/**
 * N2: a flipped bit in the middle of the WAL. What is proven unharmed is served and uploaded; what may have lost acknowledged records is held, by name; and the
 * WAL keeps its place, so that every restart finds the damage again until nothing that it may have hurt is left.
 */
import { expect, test } from "bun:test";
import type { StreamId } from "../../../src/storage/types.ts";
import { MemoryWalDevice } from "../../../src/storage/wal/memory-wal-device.ts";
import { WAL_BLOCK_BYTES } from "../../../src/storage/wal/wal-device.ts";
import { DATA_START_BLOCK } from "../../../src/storage/wal/wal-format.ts";
import {
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
  TOPIC_A,
  tryAppendBatch,
  type World,
} from "./storage-harness.ts";
import { deviceBytes } from "./wal/wal-harness.ts";

const QUIET: StreamId = { topicId: TOPIC_A, partition: 1 };
const LATER: StreamId = { topicId: TOPIC_A, partition: 2 };
/** Nothing is uploaded by itself. */
const STORAGE = { uploadIntervalMs: 1e9 };

async function append(world: World, id: StreamId, stream: ReturnType<typeof openStream>, model: ModelBatch[]): Promise<void> {
  const batch = makeBatch(stream.nextOffset, 3, 1, 500);
  expect([id, tryAppendBatch(world, stream, batch)]).toEqual([id, true]);
  model.push(batch);
  await drive(world.clock, world.storage.whenDurable());
}

interface Written {
  readonly world: World;
  readonly modelA: readonly ModelBatch[];
  readonly device: MemoryWalDevice;
  /** The commit that holds A and B alone, and the ones around it. */
  readonly lsns: readonly number[];
}

/** Commits A, B, A, B, A, A, each durable before the next. */
async function write(): Promise<Written> {
  const device = new MemoryWalDevice(deviceBytes(256));
  const world = await openWorld({ device, storage: STORAGE });
  for (const id of [STREAM_A, STREAM_B, QUIET]) world.metadata.add(id);
  const [a, b] = [openStream(world, STREAM_A), openStream(world, STREAM_B)];
  const modelA: ModelBatch[] = [];
  const lsns: number[] = [];
  for (const stream of [a, b, a, b, a, a]) {
    lsns.push(world.wal.headLsn);
    await append(world, stream.id, stream, stream === a ? modelA : []);
  }
  return { world, modelA, device, lsns };
}

async function flip(device: MemoryWalDevice, lsn: number, byte: number): Promise<void> {
  const at = (DATA_START_BLOCK + lsn) * WAL_BLOCK_BYTES;
  const block = await device.read(at, WAL_BLOCK_BYTES);
  block[byte] = (block[byte] ?? 0) ^ 0x10;
  await device.write(block, at);
}

const reopen = (from: World, device: MemoryWalDevice): Promise<World> => openWorld({ device, from, storage: STORAGE });
const heldKeys = (world: World): string[] =>
  world.storage
    .getRecoveredStreams()
    .map(({ topicId, partition }) => `${topicId}-${partition}`)
    .sort();
const keyOf = ({ topicId, partition }: StreamId): string => `${topicId}-${partition}`;

for (const byte of [0, 9, 40, 79, 100, 300, 640]) {
  test(`a flip at byte ${byte} of a middle commit: the unharmed go on, the others are held, over restarts`, async () => {
    const { world: first, modelA, device, lsns } = await write();
    const model = [...modelA];
    await flip(device, lsns[3] ?? 0, byte);

    let world = await reopen(first, device);
    expect(world.logger.names()).toContain("wal.damaged");
    expect(world.storage.heldStreamCount).toBe(2);
    for (const id of [STREAM_B, QUIET]) {
      expect(() => openStream(world, id)).toThrow(`stream ${keyOf(id)} is held: the WAL cannot be read at LSN ${lsns[3]}-${lsns[4]}`);
    }
    const a = openStream(world, STREAM_A);
    expect(await expectBatches(await drive(world.clock, a.read(0, NO_LIMIT)), model, 0)).toBe(model.length);
    world.metadata.add(LATER);
    const later = openStream(world, LATER);
    await append(world, LATER, later, []);
    await append(world, STREAM_A, a, model);
    await drive(world.clock, world.storage.flushToObjects());
    expect([a.committedEndOffset, later.committedEndOffset]).toEqual([a.nextOffset, 3]);
    expect(world.metadata.walCommitted?.lsn as number).toBe(0);

    world = await reopen(world, device);
    expect(heldKeys(world)).toEqual([keyOf(QUIET), keyOf(STREAM_B)].sort());
    expect(() => openStream(world, STREAM_B)).toThrow("is held");
    expect(openStream(world, LATER).nextOffset).toBe(3);
    const again = openStream(world, STREAM_A);
    expect(again.nextOffset).toBe(a.nextOffset);

    // Their topics are deleted: nothing is in doubt any more, and the WAL moves on.
    for (const id of [STREAM_B, QUIET]) world.storage.dropRecovered(id);
    expect(world.storage.heldStreamCount).toBe(0);
    await append(world, STREAM_A, again, model);
    await drive(world.clock, world.storage.flushToObjects());
    await settleTurns(world.clock);
    expect(world.metadata.walCommitted?.lsn as number).toBe(world.wal.headLsn as number);
    world = await reopen(world, device);
    expect(world.opened.damage).toBeUndefined();
    expect(openStream(world, QUIET).nextOffset).toBe(0);
  });
}

test("a stream with an entry in the gap and more behind it has a hole, and is held", async () => {
  const { world: first, device, lsns } = await write();
  await flip(device, lsns[2] ?? 0, 300);
  const world = await reopen(first, device);
  expect(() => openStream(world, STREAM_A)).toThrow("the WAL holds offsets 6-8");
  // Its entry behind the gap goes on where the one before stopped.
  expect(openStream(world, STREAM_B).nextOffset).toBe(6);
  expect(heldKeys(world)).toEqual([keyOf(QUIET), keyOf(STREAM_A)].sort());
});

test("two gaps: what counts is an entry behind the last", async () => {
  const { world: first, device, lsns } = await write();
  await flip(device, lsns[1] ?? 0, 300);
  await flip(device, lsns[4] ?? 0, 300);
  const world = await reopen(first, device);
  expect(world.opened.damage?.gaps).toHaveLength(2);
  for (const id of [STREAM_A, STREAM_B, QUIET]) expect(() => openStream(world, id)).toThrow(keyOf(id));
});

test("a whole WAL holds nothing", async () => {
  const { world: first, device } = await write();
  const world = await reopen(first, device);
  expect([world.storage.heldStreamCount, world.opened.damage]).toEqual([0, undefined]);
  for (const id of [STREAM_A, STREAM_B, QUIET]) openStream(world, id);
});
