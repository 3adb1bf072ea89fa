/** What the storage tests share: a whole LocalStorage over a small WAL in memory, a metadata log's stand-in behind the ports, and a way to let time pass. */
import { expect } from "bun:test";
import type { Clock } from "../../../src/base/clock.ts";
import type { Jobs } from "../../../src/base/jobs.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import type { ObjectStore } from "../../../src/objectstore/object-store.ts";
import { LocalStorage, type LocalStorageOptions } from "../../../src/storage/local-storage.ts";
import type { CommittedRange, CommittedRangesPort, ObjectCommit, ObjectCommitPort, RangeOutcome } from "../../../src/storage/ports.ts";
import type { RecordsSlice, Stream, StreamId, WalPosition } from "../../../src/storage/types.ts";
import { streamKey } from "../../../src/storage/types.ts";
import { makeObjectKeys } from "../../../src/storage/upload/object-keys.ts";
import { MemoryWalDevice } from "../../../src/storage/wal/memory-wal-device.ts";
import type { OpenedWal, OpenWalOptions } from "../../../src/storage/wal/wal.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "../../../src/storage/wal/wal-device.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { NO_METRICS, type RecordingLogger } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { crc32c, deviceBytes, openTestWal, TOPIC_A, TOPIC_B } from "./wal/wal-harness.ts";

export { crc32c, TOPIC_A, TOPIC_B };
export const STREAM_A: StreamId = { topicId: TOPIC_A, partition: 0 };
export const STREAM_B: StreamId = { topicId: TOPIC_B, partition: 7 };
export const NO_LIMIT = { endOffset: Number.MAX_SAFE_INTEGER, maxBytes: 1 << 30, atLeastOneBatch: true };

/** zstd without threads: a run of the same seed is the same run. */
export const syncJobs: Jobs = {
  zstdCompress: async (bytes, level) => new Uint8Array(Bun.zstdCompressSync(bytes as Uint8Array<ArrayBuffer>, { level })),
  zstdDecompressInto: async (bytes, target) => {
    const content = Bun.zstdDecompressSync(bytes as Uint8Array<ArrayBuffer>);
    if (content.length > target.length) throw new Error("larger than allowed");
    target.set(content);
    return content.length;
  },
};

interface FakePartition {
  readonly id: StreamId;
  term: number;
  committedEnd: number;
  isGone: boolean;
  ranges: CommittedRange[];
  checkpoint: { objectKey: string; endOffset: number } | undefined;
}

/** The metadata log's stand-in: answers range by range as DESIGN section 3 (9) says, and asserts what it may rely on. */
export class FakeMetadata implements ObjectCommitPort, CommittedRangesPort {
  readonly partitions = new Map<string, FakePartition>();
  readonly commits: ObjectCommit[] = [];
  walCommitted: WalPosition | undefined;
  writtenOff: string[] = [];
  /** Each commit takes up to this before it is applied, and its answer up to this. */
  maxCommitMs = 0;
  maxAnswerMs = 0;
  clock: Clock;
  private readonly random: SeededRandom;
  /** Each commit lands before the next owner reads the log: the real log fences a former epoch's. */
  isCommitting = false;

  constructor(clock: Clock, random: SeededRandom) {
    this.clock = clock;
    this.random = random;
  }

  add(id: StreamId, committedEnd = 0, term = 3): void {
    this.partitions.set(streamKey(id), { id, term, committedEnd, isGone: false, ranges: [], checkpoint: undefined });
  }

  get(id: StreamId): FakePartition {
    const partition = this.partitions.get(streamKey(id));
    if (partition === undefined) throw new Error(`no partition ${streamKey(id)}`);
    return partition;
  }

  async commitObject(commit: ObjectCommit): Promise<readonly RangeOutcome[]> {
    if (this.isCommitting) throw new Error("two commits at a time");
    this.isCommitting = true;
    if (this.maxCommitMs > 0) await this.clock.sleep(this.random.nextFloat() * this.maxCommitMs);
    const outcomes = this.apply(commit);
    if (this.maxAnswerMs > 0) await this.clock.sleep(this.random.nextFloat() * this.maxAnswerMs);
    this.isCommitting = false;
    return outcomes;
  }

  private apply(commit: ObjectCommit): RangeOutcome[] {
    if (this.walCommitted !== undefined) expect(commit.walCommitted.lsn).toBeGreaterThanOrEqual(this.walCommitted.lsn);
    this.walCommitted = commit.walCommitted;
    this.commits.push(commit);
    return commit.ranges.map((range) => {
      const partition = this.partitions.get(streamKey(range.stream));
      expect(range.endOffset).toBeGreaterThan(range.baseOffset);
      if (partition === undefined || partition.isGone || partition.term !== range.term || partition.committedEnd !== range.baseOffset)
        return "gone";
      partition.committedEnd = range.endOffset;
      partition.ranges.push({ ...range, objectKey: commit.objectKey });
      if (range.hasCheckpoint) partition.checkpoint = { objectKey: commit.objectKey, endOffset: range.endOffset };
      return "accepted";
    });
  }

  async writeOffObject(objectKey: string): Promise<void> {
    this.writtenOff.push(objectKey);
  }

  findRange(stream: StreamId, offset: number): CommittedRange | undefined {
    return this.partitions.get(streamKey(stream))?.ranges.find((range) => range.endOffset > offset);
  }
  getRanges(stream: StreamId): readonly CommittedRange[] {
    return this.partitions.get(streamKey(stream))?.ranges ?? [];
  }
  getCommittedEnd(stream: StreamId): number {
    return this.partitions.get(streamKey(stream))?.committedEnd ?? 0;
  }
  getCheckpoint(stream: StreamId): { objectKey: string; endOffset: number } | undefined {
    return this.partitions.get(streamKey(stream))?.checkpoint;
  }
}

export interface World {
  readonly clock: ManualClock;
  readonly logger: RecordingLogger;
  readonly random: SeededRandom;
  readonly device: WalDevice;
  readonly wal: OpenedWal["wal"];
  readonly opened: OpenedWal;
  readonly store: ObjectStore;
  readonly metadata: FakeMetadata;
  readonly storage: LocalStorage;
}

export interface WorldOptions {
  readonly seed?: number;
  readonly device?: WalDevice;
  readonly deviceBlocks?: number;
  readonly ringBlocks?: number;
  readonly wal?: Partial<OpenWalOptions>;
  /** Made when the clock is there; MemoryStore by default. */
  readonly makeStore?: (clock: Clock, random: SeededRandom) => ObjectStore;
  /** Of an earlier world: its store and metadata, after a restart. */
  readonly from?: Omit<World, "clock"> & { readonly clock: ManualClock | undefined };
  readonly storage?: Partial<LocalStorageOptions>;
}

export async function openWorld(options: WorldOptions = {}): Promise<World> {
  const random = new SeededRandom(options.seed ?? 1);
  const device = options.device ?? new MemoryWalDevice(deviceBytes(options.deviceBlocks ?? 256));
  const committed = options.from?.metadata.walCommitted;
  const opened = await openTestWal(device, {
    ring: new Uint8Array((options.ringBlocks ?? 64) * WAL_BLOCK_BYTES),
    maxCommitBytes: 4 * WAL_BLOCK_BYTES,
    ...(committed === undefined ? {} : { getCommittedPosition: () => committed }),
    ...(options.from?.clock === undefined ? {} : { clock: options.from.clock }),
    ...options.wal,
  });
  const clock = options.from?.clock ?? opened.clock;
  const store = options.from?.store ?? options.makeStore?.(clock, random) ?? new MemoryStore(clock);
  const metadata = options.from?.metadata ?? new FakeMetadata(clock, random);
  const storage = new LocalStorage({
    wal: opened.wal,
    recovered: opened.recovered,
    damage: opened.damage,
    listStreams: () => [...metadata.partitions.values()].map(({ id }) => id),
    committedPosition: committed,
    store,
    commits: metadata,
    ranges: metadata,
    makeObjectKey: makeObjectKeys(5, opened.wal.walId, random),
    isBatchCompressed: (bytes, start) => bytes[start] === 1,
    clock,
    random,
    jobs: syncJobs,
    crc32c,
    logger: opened.logger,
    metrics: NO_METRICS,
    blockCacheBytes: 4 << 20,
    catchUpMemoryBytes: 1 << 20,
    uploadSizeBytes: 64 * 1024,
    poisonReleased: true,
    uploadIntervalMs: 1_000,
    segmentZstdLevel: 1,
    ...options.storage,
  });
  return { clock, logger: opened.logger, random, device, wal: opened.wal, opened, store, metadata, storage };
}

/** Lets turns and time pass until the promise settles. */
export async function drive<Value>(clock: ManualClock, promise: Promise<Value>, maxMs = 600_000): Promise<Value> {
  let isSettled = false;
  const mark = () => {
    isSettled = true;
  };
  promise.then(mark, mark);
  const startMs = clock.monotonicMs();
  while (!isSettled) {
    await clock.endTurn();
    if (isSettled) break;
    if (clock.monotonicMs() - startMs > maxMs) throw new Error(`nothing came of it in ${maxMs} ms`);
    await clock.advance(1);
  }
  return promise;
}

/** Ends turns without moving time until the WAL has released everything. */
export async function settleTurns(clock: ManualClock, turns = 20): Promise<void> {
  for (let i = 0; i < turns; i += 1) await clock.endTurn();
}

export const NO_CHECKPOINT = { takeCheckpoint: () => undefined };

export function openStream(world: World, id: StreamId, overrides: Partial<Parameters<LocalStorage["openStream"]>[1]> = {}): Stream {
  const partition = world.metadata.get(id);
  return world.storage.openStream(id, {
    term: partition.term,
    committedEndOffset: partition.committedEnd,
    logStartOffset: 0,
    checkpointSource: NO_CHECKPOINT,
    ...overrides,
  });
}

/** What one batch holds: byte 0 says whether its producer compressed it; the rest is made from its base offset, so every reader can check it. */
export function batchBytes(baseOffset: number, length: number): Uint8Array {
  const seed = baseOffset % 1_000_003;
  if (seed % 3 === 0) {
    const noise = new SeededRandom(seed).fillBytes(new Uint8Array(length));
    noise[0] = 1;
    return noise;
  }
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 1) bytes[i] = (seed + (i >> 4)) & 0xff;
  bytes[0] = 0;
  return bytes;
}

export interface ModelBatch {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly maxTimestampMs: number;
  readonly bytes: Uint8Array;
}

/** Appends one batch; false when there is no room now. */
export function tryAppendBatch(world: World, stream: Stream, batch: ModelBatch, term = 3): boolean {
  const reservation = world.storage.tryReserve(batch.bytes.length, 1);
  if (reservation === undefined) return false;
  const { baseOffset, lastOffset, maxTimestampMs, bytes } = batch;
  stream.append({ baseOffset, lastOffset, maxTimestampMs, term, source: bytes, start: 0, end: bytes.length }, reservation);
  reservation.release();
  return true;
}

export function makeBatch(baseOffset: number, count: number, maxTimestampMs: number, length: number): ModelBatch {
  return { baseOffset, lastOffset: baseOffset + count - 1, maxTimestampMs, bytes: batchBytes(baseOffset, length) };
}

/** The slice's bytes, as a connection takes them: in pieces, loading when the ring has moved on. Releases it. */
export async function drain(slice: RecordsSlice, pieceBytes = 1000): Promise<Uint8Array> {
  const target = new Uint8Array(slice.sizeBytes);
  for (let from = 0; from < slice.sizeBytes; from += pieceBytes) {
    const length = Math.min(pieceBytes, slice.sizeBytes - from);
    if (slice.tryCopy(from, length, target, from)) continue;
    await slice.load();
    expect(slice.tryCopy(from, length, target, from)).toBe(true);
  }
  slice.release();
  return target;
}

/** The slice is whole batches of the model from the one that contains `fromOffset`. */
export async function expectBatches(slice: RecordsSlice, model: readonly ModelBatch[], fromOffset: number): Promise<number> {
  const first = model.findIndex((batch) => batch.lastOffset >= fromOffset);
  const { firstOffset, nextOffset, sizeBytes } = slice;
  const bytes = await drain(slice);
  let position = 0;
  let count = 0;
  while (position < sizeBytes) {
    const batch = model[first + count];
    if (batch === undefined) throw new Error("more bytes than the model has");
    const part = bytes.subarray(position, position + batch.bytes.length);
    if (Buffer.compare(part, batch.bytes) !== 0) throw new Error(`bytes of the batch at ${batch.baseOffset} differ`);
    position += batch.bytes.length;
    count += 1;
  }
  expect(position).toBe(sizeBytes);
  expect(firstOffset).toBe(count === 0 ? fromOffset : (model[first]?.baseOffset ?? -1));
  expect(nextOffset).toBe(count === 0 ? fromOffset : (model[first + count - 1]?.lastOffset ?? -2) + 1);
  return count;
}
