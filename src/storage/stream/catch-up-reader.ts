/**
 * Reads that the ring cannot serve: WAL device, block cache, object store, in this order. Everything it hands out is private memory charged to
 * the catch-up budget, so that cold scans contend with each other and never with the tail.
 *
 * An answer that is being put together may hold several slices, and wait for one more: waits for the slice budget end with Trouble "catch-up-busy", so that
 * such answers cannot hold each other up for ever. Slices of the tail that the ring has left behind are loaded when they head their connection's output; they have
 * a budget of their own, which is freed by sending alone.
 */
import { allocateUnfilled } from "../../base/buffer-pool.ts";
import type { Clock } from "../../base/clock.ts";
import { Trouble } from "../../base/trouble.ts";
import type { Logger } from "../../telemetry/telemetry.ts";
import type { MemoryBudget, MemoryLease } from "../cache/memory-budget.ts";
import type { ReadLimits, RecordsSlice, StreamId } from "../types.ts";
import type { PayloadPlace, Wal } from "../wal/wal.ts";
import { BlocksSlice } from "./blocks-slice.ts";
import { type ObjectReader, releasePieces, type Selection } from "./object-reader.ts";
import { emptySlice, PrivateSlice } from "./private-slice.ts";
import type { ReadAhead } from "./read-ahead.ts";
import type { StreamLog } from "./stream-log.ts";
import type { TailSource } from "./tail-slice.ts";

/** Bytes that one read claims before it knows what it will find. */
const FIRST_CLAIM_MAX_BYTES = 4 * 1024 * 1024;
/** Small batches that one read takes from the device: where they lie apart, each is a device read of its own. */
const DEVICE_READ_BATCHES = 128;
const BUDGET_WAIT_MS = 5_000;
/** Of one sequential consumer, of blocks as they lie in memory. */
const WINDOW_MAX_BYTES = 16 * 1024 * 1024;
/** Times a read is planned again because the bytes moved (ring to device to object) under it. */
const MOVE_ATTEMPTS = 8;

export interface TailSelection {
  readonly firstSequence: number;
  readonly endSequence: number;
  readonly sizeBytes: number;
  readonly nextOffset: number;
}

/** Batches from `firstSequence` on within the limits. Synchronous walk over the index; nothing is copied. */
export function selectTail(
  log: StreamLog,
  firstSequence: number,
  fromOffset: number,
  limits: ReadLimits,
  maxBatches: number,
): TailSelection {
  const index = log.index;
  const end = Math.min(index.endSequence, firstSequence + maxBatches);
  let sizeBytes = 0;
  let nextOffset = fromOffset;
  let sequence = firstSequence;
  for (; sequence < end; sequence += 1) {
    const length = index.lengthBytes(sequence);
    if (index.lastOffset(sequence) >= limits.endOffset) break;
    if (sizeBytes + length > limits.maxBytes && !(limits.atLeastOneBatch && sizeBytes === 0)) break;
    sizeBytes += length;
    nextOffset = index.lastOffset(sequence) + 1;
  }
  return { firstSequence, endSequence: sequence, sizeBytes, nextOffset };
}

export interface CatchUpReaderOptions {
  readonly wal: Wal;
  readonly objects: ObjectReader;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sliceBudget: MemoryBudget;
  readonly loadBudget: MemoryBudget;
}

export class CatchUpReader implements TailSource {
  readonly wal: Wal;
  readonly objects: ObjectReader;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly sliceBudget: MemoryBudget;
  private readonly loadBudget: MemoryBudget;

  constructor(options: CatchUpReaderOptions) {
    this.wal = options.wal;
    this.objects = options.objects;
    this.clock = options.clock;
    this.logger = options.logger;
    this.sliceBudget = options.sliceBudget;
    this.loadBudget = options.loadBudget;
  }

  /** Read-ahead never takes more than this of the cache for one consumer. */
  get maxWindowBytes(): number {
    return Math.min(Math.max(Math.floor(this.sliceBudget.capacityBytes / 8), 64 * 1024), WINDOW_MAX_BYTES);
  }

  claimLoadBytes(bytes: number): Promise<MemoryLease> {
    return this.loadBudget.acquire(bytes);
  }

  async read(
    log: StreamLog,
    fromOffset: number,
    limits: ReadLimits,
    readAhead: ReadAhead,
    signal: AbortSignal | undefined,
  ): Promise<RecordsSlice> {
    let isDeviceGone = false;
    for (let attempt = 0; attempt < MOVE_ATTEMPTS; attempt += 1) {
      signal?.throwIfAborted();
      const endOffset = Math.min(limits.endOffset, log.durableEndOffset);
      if (fromOffset >= endOffset) return emptySlice(fromOffset);
      const sequence = log.index.find(fromOffset);
      const isInTail = fromOffset >= log.tailStartOffset && log.index.holds(sequence);
      const isCommitted = fromOffset < log.committedEndOffset;
      if (isInTail && !(isCommitted && (isDeviceGone || !this.wal.isOnDevice(log.index.lsn(sequence))))) {
        const slice = await this.readTail(log, sequence, fromOffset, { ...limits, endOffset }, signal);
        if (slice !== undefined) return slice;
        isDeviceGone = true;
        continue;
      }
      if (!isCommitted) throw streamUnreadable(log.id, fromOffset, log.committedEndOffset);
      const clipped = { ...limits, endOffset: Math.min(endOffset, log.committedEndOffset) };
      return await this.readObjects(log, fromOffset, clipped, readAhead, signal);
    }
    throw streamUnreadable(log.id, fromOffset, log.committedEndOffset);
  }

  /** Undefined: the bytes were reused meanwhile, or are damaged, and the first of them are committed: resolve again. */
  private async readTail(
    log: StreamLog,
    sequence: number,
    fromOffset: number,
    limits: ReadLimits,
    signal: AbortSignal | undefined,
  ): Promise<RecordsSlice | undefined> {
    const bounded = { ...limits, maxBytes: Math.min(limits.maxBytes, FIRST_CLAIM_MAX_BYTES) };
    const selection = selectTail(log, sequence, fromOffset, bounded, DEVICE_READ_BATCHES);
    if (selection.sizeBytes === 0) return emptySlice(fromOffset);
    const firstOffset = log.index.baseOffset(sequence);
    const lease = await this.acquire(selection.sizeBytes, signal);
    try {
      const bytes = allocateUnfilled(selection.sizeBytes);
      if (!(await this.copyTail(log, sequence, selection.endSequence, bytes))) {
        lease.release();
        return undefined;
      }
      return new PrivateSlice(firstOffset, selection.nextOffset, bytes, lease);
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  /** From ring or device; false when some of the batches are in neither any more, or are damaged, and the first are committed: the device is a copy then. */
  async copyTail(log: StreamLog, firstSequence: number, endSequence: number, target: Uint8Array): Promise<boolean> {
    const { index } = log;
    const places: PayloadPlace[] = [];
    const positions: number[] = [];
    let position = 0;
    for (let sequence = firstSequence; sequence < endSequence; sequence += 1) {
      if (!index.holds(sequence)) return false;
      const location = index.location(sequence);
      const view = this.wal.tryView(location);
      if (view !== undefined) target.set(view, position);
      else {
        places.push({ location, stream: log.id, term: index.term(sequence), baseOffset: index.baseOffset(sequence) });
        positions.push(position);
      }
      position += location.length;
    }
    if (places.length === 0) return true;
    try {
      await this.wal.readAll(places, (i, bytes) => target.set(bytes, positions[i] as number));
      return true;
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      if (error.code === "wal-range-gone") return false;
      if (error.code !== "wal-damaged" || index.baseOffset(firstSequence) >= log.committedEndOffset) throw error;
      this.logger.warn("wal.copy-damaged", error.message);
      return false;
    }
  }

  private async readObjects(
    log: StreamLog,
    fromOffset: number,
    limits: ReadLimits,
    readAhead: ReadAhead,
    signal: AbortSignal | undefined,
  ): Promise<RecordsSlice> {
    const cursor = readAhead.take(fromOffset);
    const isSequential = cursor.windowBytes > 0;
    const maxBytes = Math.min(limits.maxBytes, FIRST_CLAIM_MAX_BYTES, this.sliceBudget.capacityBytes);
    let lease: MemoryLease | undefined = await this.acquire(maxBytes, signal);
    let selection: Selection | undefined;
    try {
      selection = await this.objects.select(log.id, fromOffset, { ...limits, maxBytes, windowBytes: cursor.windowBytes });
      if (selection.sizeBytes === 0) {
        lease.release();
        return emptySlice(fromOffset);
      }
      const { firstOffset, nextOffset, sizeBytes, pieces } = selection;
      const isWorthHolding = heldBytes(selection) <= 2 * sizeBytes;
      if (sizeBytes > lease.bytes) {
        lease.release();
        lease = undefined;
        lease = await this.acquire(sizeBytes, signal);
      }
      lease.shrinkTo(sizeBytes);
      const fetchBytes = readAhead.advance(nextOffset, cursor, sizeBytes);
      if (fetchBytes > 0) this.objects.prefetch(log.id, cursor, limits.endOffset, fetchBytes).catch(() => undefined);
      if (isSequential) this.objects.notePassed(selection);
      if (isWorthHolding) return new BlocksSlice(firstOffset, nextOffset, pieces, lease);
      const bytes = allocateUnfilled(sizeBytes);
      copySelection(selection, bytes);
      releasePieces(pieces);
      return new PrivateSlice(firstOffset, nextOffset, bytes, lease);
    } catch (error) {
      if (selection !== undefined) releasePieces(selection.pieces);
      lease?.release();
      throw error;
    }
  }

  private async acquire(bytes: number, signal: AbortSignal | undefined): Promise<MemoryLease> {
    const lease = signal?.aborted ? undefined : this.sliceBudget.tryAcquire(bytes);
    if (lease !== undefined) return lease;
    const tooLong = new AbortController();
    const timer = this.clock.schedule(BUDGET_WAIT_MS, () => tooLong.abort(catchUpBusy()));
    try {
      return await this.sliceBudget.acquire(bytes, signal === undefined ? tooLong.signal : AbortSignal.any([signal, tooLong.signal]));
    } finally {
      timer.cancel();
    }
  }

  /** TailSource: exactly the batches [firstOffset, nextOffset), wherever they lie by now: the first ones may be in objects alone, the last ones in the tail alone. */
  readonly loadTail = async (log: StreamLog, firstOffset: number, nextOffset: number, target: Uint8Array): Promise<void> => {
    let offset = firstOffset;
    let position = 0;
    while (offset < nextOffset) {
      if (offset >= log.tailStartOffset) {
        const first = log.index.find(offset);
        const end = log.index.find(nextOffset - 1) + 1;
        if (await this.copyTail(log, first, end, target.subarray(position))) return;
      }
      const room = target.length - position;
      const endOffset = Math.min(nextOffset, log.committedEndOffset);
      const selection = await this.objects.select(log.id, offset, { endOffset, maxBytes: room, atLeastOneBatch: true, windowBytes: room });
      const isNext = selection.sizeBytes > 0 && selection.firstOffset === offset && selection.sizeBytes <= room;
      if (isNext) copySelection(selection, target.subarray(position));
      releasePieces(selection.pieces);
      if (!isNext) break;
      position += selection.sizeBytes;
      offset = selection.nextOffset;
    }
    if (position !== target.length) throw streamUnreadable(log.id, offset, log.committedEndOffset);
  };
}

function copySelection(selection: Selection, target: Uint8Array): void {
  let position = 0;
  for (const { held, firstBatch, endBatch } of selection.pieces) {
    const { block } = held;
    const start = block.batchStart(firstBatch);
    const end = block.batchStart(endBatch);
    target.set(block.bytes.subarray(start, end), position);
    position += end - start;
  }
}

/** What a slice of these blocks keeps from others, though the budget counts what it sends alone. */
function heldBytes(selection: Selection): number {
  return selection.pieces.reduce((sum, { held }) => sum + held.block.bytes.length, 0);
}

function catchUpBusy(): Trouble {
  return new Trouble({
    code: "catch-up-busy",
    message: `reads of older data have waited ${BUDGET_WAIT_MS} ms for memory`,
    retryable: true,
    remedy: "Raise catch.up.memory.bytes if this goes on.",
  });
}

function streamUnreadable(id: StreamId, offset: number, committedEndOffset: number): Trouble {
  return new Trouble({
    code: "stream-unreadable",
    message: `offset ${offset} of topic ${id.topicId} partition ${id.partition} is in no place that holds it (committed end ${committedEndOffset})`,
    retryable: true,
  });
}
