/**
 * Checked blocks and indexes of segment objects in private memory, with one request at a time for the same thing. What is being fetched is charged to the
 * fetch budget until it is in the cache, so that no number of readers can hold more than budget + cache.
 *
 * Blocks, and the stored bytes that they are made of, lie in memory that is used again (`base/buffer-pool.ts`): who is given a block releases it
 * (`held-block.ts`). A caller's abort never ends a fetch that others share: callers stop waiting, the fetch goes on.
 */
import { assert } from "../../base/assert.ts";
import { BufferPool } from "../../base/buffer-pool.ts";
import type { Clock } from "../../base/clock.ts";
import type { Jobs } from "../../base/jobs.ts";
import type { ObjectStore } from "../../objectstore/object-store.ts";
import { openBlock } from "../segment/open-block.ts";
import { type Crc32c, SEGMENT_TAIL_BYTES, segmentDamaged } from "../segment/segment-format.ts";
import { type BlockEntry, SegmentIndex, type StreamEntry } from "../segment/segment-index.ts";
import { type StreamId, streamKey } from "../types.ts";
import { BlockCache } from "./block-cache.ts";
import { HeldBlock } from "./held-block.ts";
import { LruCache } from "./lru-cache.ts";
import type { MemoryBudget, MemoryLease } from "./memory-budget.ts";

/** Stored bytes that one ranged GET asks for at most, unless one block alone is larger. */
export const FETCH_MAX_BYTES = 4 * 1024 * 1024;
/** Memory that lies free between uses: of stored ranges, of blocks; and how long. */
const RETAINED_RANGE_BYTES = 2 * FETCH_MAX_BYTES;
const RETAINED_BLOCK_BYTES = 16 * 1024 * 1024;
const MEMORY_IDLE_MS = 2_000;

export interface SegmentCacheOptions {
  readonly store: ObjectStore;
  readonly jobs: Jobs;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly capacityBytes: number;
  readonly fetchBudget: MemoryBudget;
  /** For tests and the simulator: memory that is used again is filled with poison first. */
  readonly poisonReleased?: boolean;
}

/** A block that is on its way. */
interface BlockFlight {
  readonly block: Promise<HeldBlock | undefined>;
  /** How many have been promised the block: each gets a hold of its own. */
  waiters: number;
}

/** Stored bytes of consecutive blocks. */
interface FetchedRange {
  /** Where it begins in the object. */
  readonly position: number;
  readonly bytes: Uint8Array;
  readonly memory: Uint8Array;
  readonly lease: MemoryLease;
}

export class SegmentCache {
  private readonly store: ObjectStore;
  private readonly jobs: Jobs;
  private readonly crc32c: Crc32c;
  private readonly fetchBudget: MemoryBudget;
  private readonly rangeBuffers: BufferPool;
  private readonly blockBuffers: BufferPool;
  private readonly blocks: BlockCache;
  private readonly indexes: LruCache<SegmentIndex>;
  private readonly blockFlights = new Map<string, BlockFlight>();
  private readonly indexFlights = new Map<string, Promise<SegmentIndex | undefined>>();

  constructor(options: SegmentCacheOptions) {
    this.store = options.store;
    this.jobs = options.jobs;
    this.crc32c = options.crc32c;
    this.fetchBudget = options.fetchBudget;
    const indexCapacity = Math.max(Math.floor(options.capacityBytes / 8), SEGMENT_TAIL_BYTES);
    this.indexes = new LruCache(indexCapacity);
    this.blocks = new BlockCache(Math.max(options.capacityBytes - indexCapacity, 0));
    const pool = { clock: options.clock, idleMs: MEMORY_IDLE_MS, poisonReleased: options.poisonReleased ?? false };
    this.rangeBuffers = new BufferPool({ ...pool, retainedBytes: RETAINED_RANGE_BYTES });
    this.blockBuffers = new BufferPool({ ...pool, retainedBytes: RETAINED_BLOCK_BYTES });
  }

  get usedBytes(): number {
    return this.blocks.usedBytes + this.indexes.usedBytes;
  }
  /** Requests under way: 0 when idle. */
  get flightCount(): number {
    return this.blockFlights.size + this.indexFlights.size;
  }

  /** There is room to fetch what nobody waits for yet. */
  get canReadAhead(): boolean {
    return this.fetchBudget.usedBytes * 2 <= this.fetchBudget.capacityBytes;
  }

  peekIndex(objectKey: string): SegmentIndex | undefined {
    return this.indexes.get(objectKey);
  }
  /** A block that is at hand; the caller releases it. */
  takeBlock(objectKey: string, blockNumber: number): HeldBlock | undefined {
    return this.blocks.get(blockKey(objectKey, blockNumber))?.retain();
  }
  /** A sequential reader has read the block to its end: it is not worth much memory, unless somebody asks for it again. */
  notePassed(objectKey: string, blockNumber: number): void {
    this.blocks.notePassed(blockKey(objectKey, blockNumber));
  }

  /** Undefined: there is no such object. One ranged read; of a small object it brings `stream`'s blocks along. */
  getIndex(objectKey: string, stream: StreamId): Promise<SegmentIndex | undefined> {
    const cached = this.indexes.get(objectKey);
    if (cached !== undefined) return Promise.resolve(cached);
    return this.singleFlight(this.indexFlights, objectKey, () => this.fetchIndex(objectKey, stream));
  }

  private async fetchIndex(objectKey: string, stream: StreamId): Promise<SegmentIndex | undefined> {
    const lease = await this.fetchBudget.acquire(SEGMENT_TAIL_BYTES);
    try {
      const tail = await this.store.getTail(objectKey, SEGMENT_TAIL_BYTES);
      if (tail === undefined) return undefined;
      const index = SegmentIndex.open(objectKey, tail.bytes, tail.sizeBytes, this.crc32c);
      this.indexes.set(objectKey, index, index.sizeBytes);
      if (tail.bytes.length === tail.sizeBytes) await this.adoptBlocks(index, stream, tail.bytes);
      return index;
    } finally {
      lease.release();
    }
  }

  /** The whole object came with its tail: keep what the asker will want next. A damaged block is found again, and named, by who reads it. */
  private async adoptBlocks(index: SegmentIndex, stream: StreamId, object: Uint8Array): Promise<void> {
    const entry = index.findStream(stream);
    if (entry === undefined) return;
    for (let number = entry.firstBlock; number < entry.firstBlock + entry.blockCount; number += 1) {
      const block = index.getBlock(number);
      try {
        const stored = object.subarray(block.position, block.position + block.storedBytes);
        this.blocks.set(blockKey(index.objectKey, number), await this.open(index, stream, block, stored));
      } catch {
        return;
      }
    }
  }

  /**
   * Block `number` of the object, for the caller to release; undefined: there is no such object any more. The same ranged GET brings the blocks up
   * to `throughNumber` of the same stream along, as far as they are not at hand.
   */
  async getBlock(index: SegmentIndex, stream: StreamId, number: number, throughNumber: number): Promise<HeldBlock | undefined> {
    const cached = this.takeBlock(index.objectKey, number);
    if (cached !== undefined) return cached;
    if (!this.blockFlights.has(blockKey(index.objectKey, number))) this.startFetch(index, stream, number, throughNumber);
    const flight = this.blockFlights.get(blockKey(index.objectKey, number));
    assert(flight !== undefined, "a fetch that was started is under way");
    flight.waiters += 1;
    return flight.block;
  }

  /** Asks for block `number` and those up to `throughNumber` that one GET brings along, if nobody has; returns the number after the last one. */
  prefetchBlocks(index: SegmentIndex, stream: StreamId, number: number, throughNumber: number): number {
    return this.isNear(index.objectKey, number) ? number + 1 : this.startFetch(index, stream, number, throughNumber);
  }

  /** At hand or on its way. */
  private isNear(objectKey: string, number: number): boolean {
    const key = blockKey(objectKey, number);
    return this.blockFlights.has(key) || this.blocks.has(key);
  }

  /** One GET for `number` and the blocks behind it up to `throughNumber`, until one that is near; returns the number after the last one. */
  private startFetch(index: SegmentIndex, stream: StreamId, number: number, throughNumber: number): number {
    const entries = [index.getBlock(number)];
    let storedBytes = entries[0]?.storedBytes ?? 0;
    for (let next = number + 1; next <= throughNumber; next += 1) {
      const entry = index.getBlock(next);
      if (storedBytes + entry.storedBytes > FETCH_MAX_BYTES || this.isNear(index.objectKey, next)) break;
      storedBytes += entry.storedBytes;
      entries.push(entry);
    }
    const range = this.fetchRange(index.objectKey, entries);
    const opened = entries.map((entry) => this.startFlight(index, stream, entry, range));
    void Promise.allSettled(opened).then(() =>
      range.then(
        (fetched) => this.releaseRange(fetched),
        () => undefined,
      ),
    );
    return number + entries.length;
  }

  private async fetchRange(objectKey: string, entries: readonly BlockEntry[]): Promise<FetchedRange | undefined> {
    const start = entries[0]?.position ?? 0;
    const last = entries.at(-1);
    const end = (last?.position ?? 0) + (last?.storedBytes ?? 0);
    let cost = end - start;
    for (const entry of entries) cost += entry.rawBytes;
    const lease = await this.fetchBudget.acquire(cost);
    const memory = this.rangeBuffers.take(end - start);
    try {
      const bytes = await this.store.get(objectKey, { start, end }, { into: memory.subarray(0, end - start) });
      if (bytes !== undefined) return { position: start, bytes, memory, lease };
    } catch (error) {
      this.rangeBuffers.give(memory);
      lease.release();
      throw error;
    }
    this.rangeBuffers.give(memory);
    lease.release();
    return undefined;
  }

  private releaseRange(range: FetchedRange | undefined): void {
    if (range === undefined) return;
    this.rangeBuffers.give(range.memory);
    range.lease.release();
  }

  /** Settles once the block is in the cache, and held for each of those who wait for it. */
  private startFlight(
    index: SegmentIndex,
    stream: StreamId,
    entry: BlockEntry,
    range: Promise<FetchedRange | undefined>,
  ): Promise<HeldBlock | undefined> {
    const key = blockKey(index.objectKey, entry.number);
    const start = async (): Promise<HeldBlock | undefined> => {
      try {
        const fetched = await range;
        if (fetched === undefined) return undefined;
        const position = entry.position - fetched.position;
        const held = await this.open(index, stream, entry, fetched.bytes.subarray(position, position + entry.storedBytes));
        for (let i = 0; i < flight.waiters; i += 1) held.retain();
        this.blocks.set(key, held);
        return held;
      } finally {
        this.blockFlights.delete(key);
      }
    };
    const flight: BlockFlight = { block: start(), waiters: 0 };
    this.blockFlights.set(key, flight);
    // Read-ahead may leave a failure to nobody; who wants the block meets it again.
    flight.block.catch(() => undefined);
    return flight.block;
  }

  /** Held once, for the cache. */
  private async open(index: SegmentIndex, stream: StreamId, entry: BlockEntry, stored: Uint8Array): Promise<HeldBlock> {
    const memory = this.blockBuffers.take(entry.rawBytes);
    try {
      const block = await openBlock(index, stream, entry, stored, this.crc32c, this.jobs, memory);
      return new HeldBlock(block, memory, this.blockBuffers, 1);
    } catch (error) {
      this.blockBuffers.give(memory);
      throw error;
    }
  }

  /** The checkpoint of a stream that `index` names; undefined: the object is gone. */
  async readCheckpoint(index: SegmentIndex, entry: StreamEntry): Promise<Uint8Array | undefined> {
    const checkpoint = entry.checkpoint;
    if (checkpoint === undefined) return undefined;
    if (checkpoint.sizeBytes === 0) return new Uint8Array(0);
    const range = { start: checkpoint.position, end: checkpoint.position + checkpoint.sizeBytes };
    const bytes = await this.store.get(index.objectKey, range);
    if (bytes === undefined) return undefined;
    if (bytes.length !== checkpoint.sizeBytes || this.crc32c(bytes, 0, bytes.length) !== checkpoint.crc) {
      throw segmentDamaged(index.objectKey, `checkpoint of ${streamKey(entry.stream)}`, "wrong CRC32C");
    }
    return bytes;
  }

  /** After a 404: nothing about the object is to be believed. */
  forget(objectKey: string): void {
    this.indexes.delete(objectKey);
  }

  private singleFlight<Value>(flights: Map<string, Promise<Value>>, key: string, begin: () => Promise<Value>): Promise<Value> {
    const flying = flights.get(key);
    if (flying !== undefined) return flying;
    const flight = begin().finally(() => flights.delete(key));
    flights.set(key, flight);
    flight.catch(() => undefined);
    return flight;
  }
}

function blockKey(objectKey: string, blockNumber: number): string {
  return `${objectKey}#${blockNumber}`;
}
