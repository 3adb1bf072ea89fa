/**
 * Checked blocks and indexes of segment objects in private memory, with one request at a time for the same thing. What is being fetched is charged to the
 * fetch budget until it is in the cache, so that no number of readers can hold more than budget + cache.
 *
 * A caller's abort never ends a fetch that others share: callers stop waiting, the fetch goes on.
 */
import type { Jobs } from "../../base/jobs.ts";
import type { ObjectStore } from "../../objectstore/object-store.ts";
import type { DataBlock } from "../segment/data-block.ts";
import { openBlock } from "../segment/open-block.ts";
import { type Crc32c, SEGMENT_TAIL_BYTES, segmentDamaged } from "../segment/segment-format.ts";
import { type BlockEntry, SegmentIndex, type StreamEntry } from "../segment/segment-index.ts";
import { type StreamId, streamKey } from "../types.ts";
import { LruCache } from "./lru-cache.ts";
import type { MemoryBudget } from "./memory-budget.ts";

/** Stored bytes that one ranged GET asks for at most, unless one block alone is larger. */
export const FETCH_MAX_BYTES = 4 * 1024 * 1024;

export interface SegmentCacheOptions {
  readonly store: ObjectStore;
  readonly jobs: Jobs;
  readonly crc32c: Crc32c;
  readonly capacityBytes: number;
  readonly fetchBudget: MemoryBudget;
}

export class SegmentCache {
  private readonly store: ObjectStore;
  private readonly jobs: Jobs;
  private readonly crc32c: Crc32c;
  private readonly fetchBudget: MemoryBudget;
  private readonly blocks: LruCache<DataBlock>;
  private readonly indexes: LruCache<SegmentIndex>;
  private readonly blockFlights = new Map<string, Promise<DataBlock | undefined>>();
  private readonly indexFlights = new Map<string, Promise<SegmentIndex | undefined>>();

  constructor(options: SegmentCacheOptions) {
    this.store = options.store;
    this.jobs = options.jobs;
    this.crc32c = options.crc32c;
    this.fetchBudget = options.fetchBudget;
    const indexCapacity = Math.max(Math.floor(options.capacityBytes / 8), SEGMENT_TAIL_BYTES);
    this.indexes = new LruCache(indexCapacity);
    this.blocks = new LruCache(Math.max(options.capacityBytes - indexCapacity, 0));
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
  peekBlock(objectKey: string, blockNumber: number): DataBlock | undefined {
    return this.blocks.get(`${objectKey}#${blockNumber}`);
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
        this.keep(index, number, await openBlock(index, stream, block, stored, this.crc32c, this.jobs));
      } catch {
        return;
      }
    }
  }

  /**
   * Block `number` of the object; undefined: there is no such object any more. The same ranged GET brings the blocks up to
   * `throughNumber` of the same stream along, as far as they are not at hand.
   */
  getBlock(index: SegmentIndex, stream: StreamId, number: number, throughNumber: number): Promise<DataBlock | undefined> {
    const cached = this.peekBlock(index.objectKey, number);
    if (cached !== undefined) return Promise.resolve(cached);
    const flying = this.blockFlights.get(`${index.objectKey}#${number}`);
    if (flying !== undefined) return flying;
    const entries = [index.getBlock(number)];
    let storedBytes = entries[0]?.storedBytes ?? 0;
    for (let next = number + 1; next <= throughNumber; next += 1) {
      const entry = index.getBlock(next);
      const key = `${index.objectKey}#${next}`;
      if (storedBytes + entry.storedBytes > FETCH_MAX_BYTES || this.blockFlights.has(key) || this.blocks.get(key) !== undefined) break;
      storedBytes += entry.storedBytes;
      entries.push(entry);
    }
    return this.fetchBlocks(index, stream, entries);
  }

  private fetchBlocks(index: SegmentIndex, stream: StreamId, entries: readonly BlockEntry[]): Promise<DataBlock | undefined> {
    const start = entries[0]?.position ?? 0;
    const last = entries.at(-1);
    const end = (last?.position ?? 0) + (last?.storedBytes ?? 0);
    let cost = end - start;
    for (const entry of entries) cost += entry.rawBytes;

    const claim = this.fetchBudget.acquire(cost);
    const fetched = claim.then(() => this.store.get(index.objectKey, { start, end }));
    const opened = entries.map((entry) => {
      return this.singleFlight(this.blockFlights, `${index.objectKey}#${entry.number}`, async () => {
        const bytes = await fetched;
        if (bytes === undefined) return undefined;
        const stored = bytes.subarray(entry.position - start, entry.position - start + entry.storedBytes);
        const block = await openBlock(index, stream, entry, stored, this.crc32c, this.jobs);
        this.keep(index, entry.number, block);
        return block;
      });
    });
    void Promise.allSettled(opened).then(async () => (await claim).release());
    return opened[0] ?? Promise.resolve(undefined);
  }

  private keep(index: SegmentIndex, number: number, block: DataBlock): void {
    this.blocks.set(`${index.objectKey}#${number}`, block, block.bytes.length + 4 * block.batchCount);
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
    // Read-ahead may leave a failure to nobody; who wants the block meets it again.
    flight.catch(() => undefined);
    return flight;
  }
}
