/**
 * Model-based: random appends, reads, trims, restarts, time lookups and waits, over a slow and failing store, a ring and a device much smaller than the data, and offsets
 * around 2^31, 2^32 and 2^53, with batches that span more than 2^31 offsets. What was appended is readable, whole and in order, from wherever it lies; nothing leaks.
 */
import { expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { FaultyStore, NO_FAULTS } from "../../../src/objectstore/faulty-store.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import { verifySegment } from "../../../src/storage/segment/verify-segment.ts";
import type { RecordsSlice, Stream, StreamId } from "../../../src/storage/types.ts";
import {
  crc32c,
  drive,
  expectBatches,
  type ModelBatch,
  makeBatch,
  NO_LIMIT,
  openStream,
  openWorld,
  settleTurns,
  syncJobs,
  TOPIC_A,
  TOPIC_B,
  tryAppendBatch,
  type World,
} from "./storage-harness.ts";

const FAULTS = {
  ...NO_FAULTS,
  maxLatencyMs: 40,
  unavailable: 0.08,
  conflict: 0.04,
  lostReply: 0.08,
  lostRequest: 0.05,
  delayed: 0.04,
  duplicate: 0.05,
};
const STORAGE = {
  uploadSizeBytes: 48 * 1024,
  uploadIntervalMs: 300,
  blockCacheBytes: 600 * 1024,
  catchUpMemoryBytes: 600 * 1024,
  maxRetainedBatches: 60,
};

interface ModelStream {
  readonly id: StreamId;
  readonly batches: ModelBatch[];
  readonly startOffset: number;
  logStart: number;
  stream: Stream;
}

class Run {
  world!: World;
  readonly streams: ModelStream[] = [];
  readonly pending = new Set<Promise<void>>();
  readonly seed: number;
  failure: unknown;
  reads = 0;
  store!: FaultyStore;

  constructor(seed: number) {
    this.seed = seed;
  }

  async begin(): Promise<void> {
    this.world = await openWorld({
      seed: this.seed,
      deviceBlocks: 160,
      ringBlocks: 24,
      storage: STORAGE,
      makeStore: (clock, random) => {
        this.store = new FaultyStore(new MemoryStore(clock), clock, random, FAULTS);
        return this.store;
      },
    });
    this.world.metadata.maxCommitMs = 20;
    const [low = 0, middle = 0, high = 0] =
      this.seed % 2 === 0 ? [2 ** 31 - 40, 2 ** 52 + 1, 2 ** 53 - 2 ** 46] : [0, 2 ** 32 - 40, 2 ** 41 + 17];
    for (const [topicId, partition, start] of [
      [TOPIC_A, 0, low],
      [TOPIC_A, 1, middle],
      [TOPIC_B, 0, high],
    ] as const) {
      const id = { topicId, partition };
      this.world.metadata.add(id, start);
      this.streams.push({
        id,
        batches: [],
        startOffset: start,
        logStart: start,
        stream: openStream(this.world, id, { logStartOffset: start }),
      });
    }
  }

  /** Closes without a drain and opens again on what WAL and metadata hold. */
  async restart(): Promise<void> {
    await this.settleReads();
    await drive(this.world.clock, this.world.storage.close());
    while (this.world.metadata.isCommitting) await this.world.clock.advance(1);
    expect(this.world.storage.heldBytes).toBe(0);
    const { device } = this.world;
    this.world = await openWorld({ seed: this.seed + 1, device, ringBlocks: 24, from: this.world, storage: STORAGE });
    const missing = this.streams.filter((model) => this.world.metadata.getCommittedEnd(model.id) < endOf(model));
    expect(
      this.world.storage
        .getRecoveredStreams()
        .map((id) => JSON.stringify(id))
        .sort(),
    ).toEqual(missing.map((model) => JSON.stringify(model.id)).sort());
    for (const model of this.streams) {
      model.stream = openStream(this.world, model.id, { logStartOffset: model.logStart });
      expect(model.stream.nextOffset).toBe(endOf(model));
      expect(model.stream.durableEndOffset).toBe(endOf(model));
    }
  }

  append(model: ModelStream): void {
    const { random } = this.world;
    const count = random.chance(3) ? 3_000_000_000 : 1 + random.nextInt(20);
    const length = random.chance(10) ? 9_000 + random.nextInt(6_000) : 60 + random.nextInt(1_500);
    const batch = makeBatch(endOf(model), count, random.nextInt(100_000) - 1, length);
    if (tryAppendBatch(this.world, model.stream, batch)) model.batches.push(batch);
  }

  read(model: ModelStream): void {
    const durable = model.stream.durableEndOffset;
    if (durable <= model.logStart) return;
    const { random } = this.world;
    const from = model.logStart + Math.floor(random.nextFloat() * (durable - model.logStart));
    const limits = { endOffset: durable, maxBytes: random.nextInt(60_000), atLeastOneBatch: random.chance(80) };
    const { batches, stream } = model;
    const checked = async () => {
      const slice = stream.tryRead(from, limits) ?? (await stream.read(from, limits));
      if (random.chance(30)) await this.world.clock.sleep(random.nextInt(200));
      const count = await expectBatches(slice, batches, from);
      if (limits.atLeastOneBatch) expect(count).toBeGreaterThan(0);
      this.reads += 1;
    };
    this.track(checked());
  }

  lookUp(model: ModelStream): void {
    const { random } = this.world;
    const end = model.stream.durableEndOffset;
    const from = model.logStart + Math.floor(random.nextFloat() * (end - model.logStart));
    const time = random.nextInt(100_000);
    const inside = model.batches.filter((batch) => batch.lastOffset >= from && batch.lastOffset < end);
    const first = inside.find((batch) => batch.maxTimestampMs >= time);
    const greatest = inside.reduce<ModelBatch | undefined>(
      (a, b) => (a === undefined || b.maxTimestampMs > a.maxTimestampMs ? b : a),
      undefined,
    );
    this.track(model.stream.findBatchByTimestamp(time, from, end).then((found) => expect(found).toBe(first?.baseOffset)));
    this.track(
      model.stream.findMaxTimestampBatch(from, end).then((found) => {
        expect(found).toEqual(greatest && { baseOffset: greatest.baseOffset, maxTimestampMs: greatest.maxTimestampMs });
      }),
    );
  }

  /** Only what the store's faults explain may fail. */
  track(work: Promise<unknown>): void {
    const tracked = work.then(
      () => undefined,
      (error: unknown) => {
        if (error instanceof Trouble && error.retryable && error.code.startsWith("store-")) return;
        this.failure ??= error;
      },
    );
    this.pending.add(tracked);
    void tracked.then(() => this.pending.delete(tracked));
  }

  async settleReads(): Promise<void> {
    await drive(this.world.clock, Promise.all(this.pending));
    if (this.failure !== undefined) throw this.failure;
  }

  async step(): Promise<void> {
    const { random, clock } = this.world;
    const model = random.pick(this.streams);
    const kind = random.nextInt(100);
    if (kind < 50) for (let i = random.nextInt(6); i >= 0; i -= 1) this.append(model);
    else if (kind < 65) this.read(model);
    else if (kind < 70) this.lookUp(model);
    else if (kind < 72 && model.stream.durableEndOffset > model.logStart) {
      // M7: a batch's middle as well as its edge.
      const above = model.stream.durableEndOffset - model.logStart;
      model.logStart += Math.floor((random.nextFloat() * above) / 4);
      await this.settleReads();
      model.stream.trimTo(model.logStart);
    } else if (kind < 92) await clock.endTurn();
    else await clock.advance(random.nextInt(60));
    if (this.failure !== undefined) throw this.failure;
  }
}

function endOf(model: ModelStream): number {
  return (model.batches.at(-1)?.lastOffset ?? model.startOffset - 1) + 1;
}

/** Reads the whole stream from `from`, slice by slice. */
async function readThrough(world: World, model: ModelStream, how: (offset: number) => Promise<RecordsSlice>): Promise<void> {
  for (let offset = model.logStart; offset < endOf(model); ) {
    const slice = await drive(world.clock, how(offset));
    offset = slice.nextOffset;
    expect(await drive(world.clock, expectBatches(slice, model.batches, slice.firstOffset))).toBeGreaterThan(0);
  }
}

async function runSeed(seed: number, steps: number): Promise<Run> {
  const run = new Run(seed);
  await run.begin();
  for (let i = 0; i < steps; i += 1) {
    await run.step();
    if (i % 400 === 399) await run.restart();
  }
  await run.settleReads();
  await drive(run.world.clock, run.world.storage.whenDurable());
  for (const model of run.streams) expect(model.stream.durableEndOffset).toBe(endOf(model));
  run.store.rates = NO_FAULTS;
  for (const model of run.streams) await readThrough(run.world, model, (offset) => model.stream.read(offset, NO_LIMIT));
  await drive(run.world.clock, run.world.storage.flushToObjects());
  for (const model of run.streams) {
    expect(model.stream.committedEndOffset).toBe(endOf(model));
    await readThrough(run.world, model, (offset) => model.stream.read(offset, NO_LIMIT));
  }
  expect(run.world.wal.usedBlocks).toBe(0);
  return run;
}

/** More with WEIR_MODEL_SEEDS=100. */
const SEEDS = Number(process.env.WEIR_MODEL_SEEDS ?? 6);
for (const seed of Array.from({ length: SEEDS }, (_, i) => i + 1)) {
  test(`B3 M2 M5 M7 M12 M23: every append is readable from every place, seed ${seed}`, async () => {
    const run = await runSeed(seed, 1600);
    const { world } = run;
    expect(run.reads).toBeGreaterThan(50);

    // From objects alone, as another broker: nothing of the WAL, nothing in any cache.
    const other = await openWorld({ from: world, deviceBlocks: 64, wal: { getCommittedPosition: () => undefined } });
    for (const model of run.streams) {
      const stream = openStream(other, model.id, { logStartOffset: model.logStart });
      await readThrough(other, model, (offset) => stream.read(offset, NO_LIMIT));
      const tight = { ...NO_LIMIT, maxBytes: 1 };
      await readThrough(other, model, (offset) => stream.read(offset, tight));
    }
    await settleTurns(world.clock, 50);
    expect(other.storage.heldBytes).toBe(0);
    expect(world.storage.heldBytes).toBe(0);

    // M2: each object once, in LSN order; each range joins the one before.
    const keys = world.metadata.commits.map((commit) => commit.objectKey);
    expect(new Set(keys).size).toBe(keys.length);
    for (const key of keys) {
      const object = await world.store.get(key);
      if (object === undefined) throw new Error(`object ${key} is there`);
      await verifySegment(key, object, crc32c, syncJobs);
    }
    for (const { ranges } of world.metadata.partitions.values()) {
      for (const [i, range] of ranges.entries()) expect(range.baseOffset).toBe(ranges[i - 1]?.endOffset ?? range.baseOffset);
    }
    await drive(world.clock, world.storage.close());
  }, 60_000);
}

test("the same seed is the same run", async () => {
  const [first, second] = [await runSeed(77, 500), await runSeed(77, 500)];
  expect(second.world.metadata.commits).toEqual(first.world.metadata.commits);
});
