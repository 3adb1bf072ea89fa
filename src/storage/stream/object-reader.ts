/**
 * Finds committed batches: metadata's ranges -> an object's index -> a block. A 404 is resolved again from the metadata, since
 * compaction may have moved the range; the same answer twice is a Trouble, never an empty result.
 */
import { Trouble } from "../../base/trouble.ts";
import type { HeldBlock } from "../cache/held-block.ts";
import type { SegmentCache } from "../cache/segment-cache.ts";
import type { CommittedRange, CommittedRangesPort } from "../ports.ts";
import { segmentDamaged } from "../segment/segment-format.ts";
import type { SegmentIndex, StreamEntry } from "../segment/segment-index.ts";
import { type StreamId, streamKey } from "../types.ts";
import type { Cursor } from "./read-ahead.ts";

/** Batches [firstBatch, endBatch) of a block, and a hold on it. */
export interface BlockPiece extends FoundBlock {
  readonly firstBatch: number;
  readonly endBatch: number;
}

/** Who has it releases `held`. */
export interface FoundBlock {
  readonly held: HeldBlock;
  readonly range: CommittedRange;
  readonly blockNumber: number;
}

/** Whoever has it releases its pieces. */
export interface Selection {
  readonly pieces: readonly BlockPiece[];
  readonly sizeBytes: number;
  /** Both equal the offset that was asked for when nothing is selected. */
  readonly firstOffset: number;
  readonly nextOffset: number;
}

export interface SelectLimits {
  /** Batches that reach it are left out. */
  readonly endOffset: number;
  readonly maxBytes: number;
  readonly atLeastOneBatch: boolean;
  /** Raw bytes behind the first block that one GET may bring along. */
  readonly windowBytes: number;
}

export interface Located {
  readonly range: CommittedRange;
  readonly index: SegmentIndex;
  readonly entry: StreamEntry;
  readonly blockNumber: number;
}

const RESOLVE_ATTEMPTS = 4;

export class ObjectReader {
  private readonly ranges: CommittedRangesPort;
  readonly cache: SegmentCache;

  constructor(ranges: CommittedRangesPort, cache: SegmentCache) {
    this.ranges = ranges;
    this.cache = cache;
  }

  getRanges(id: StreamId): readonly CommittedRange[] {
    return this.ranges.getRanges(id);
  }

  /** Selects batches from the one that contains `fromOffset` (else the first above it) on. The first block is fetched; later ones are taken when at hand. */
  async select(id: StreamId, fromOffset: number, limits: SelectLimits): Promise<Selection> {
    const pieces: BlockPiece[] = [];
    try {
      return await this.selectInto(pieces, id, fromOffset, limits);
    } catch (error) {
      releasePieces(pieces);
      throw error;
    }
  }

  private async selectInto(pieces: BlockPiece[], id: StreamId, fromOffset: number, limits: SelectLimits): Promise<Selection> {
    let sizeBytes = 0;
    let firstOffset = fromOffset;
    let nextOffset = fromOffset;
    while (nextOffset < limits.endOffset) {
      const found = pieces.length === 0 ? await this.fetchBlock(id, nextOffset, limits.windowBytes) : this.takeBlock(id, nextOffset);
      if (found === undefined) break;
      const { block } = found.held;
      const { range } = found;
      const firstBatch = block.findBatch(Math.max(nextOffset, range.baseOffset));
      let batch = firstBatch;
      for (; batch < block.batchCount; batch += 1) {
        const length = block.batchStart(batch + 1) - block.batchStart(batch);
        const isForced = limits.atLeastOneBatch && sizeBytes === 0;
        if (block.lastOffset(batch) >= limits.endOffset || block.baseOffset(batch) >= range.endOffset) break;
        if (sizeBytes + length > limits.maxBytes && !isForced) break;
        if (sizeBytes === 0) firstOffset = block.baseOffset(batch);
        sizeBytes += length;
        nextOffset = block.lastOffset(batch) + 1;
      }
      if (batch === firstBatch) {
        found.held.release();
        break;
      }
      pieces.push({ ...found, firstBatch, endBatch: batch });
      if (batch < block.batchCount && block.baseOffset(batch) < range.endOffset) break;
    }
    return { pieces, sizeBytes, firstOffset, nextOffset };
  }

  /** The block that holds `offset`, else the first above it; undefined: metadata knows nothing at or above. */
  async fetchBlock(id: StreamId, offset: number, windowBytes: number): Promise<FoundBlock | undefined> {
    let missingKey: string | undefined;
    for (let attempt = 0; attempt < RESOLVE_ATTEMPTS; attempt += 1) {
      const located = await this.locate(id, offset, missingKey);
      if (located === undefined) return undefined;
      const through = lastWithin(located, windowBytes);
      const held = await this.cache.getBlock(located.index, id, located.blockNumber, through);
      if (held !== undefined) return { held, range: located.range, blockNumber: located.blockNumber };
      missingKey = located.range.objectKey;
      this.cache.forget(missingKey);
    }
    throw segmentMissing(id, offset, missingKey ?? "");
  }

  async locate(id: StreamId, offset: number, missingKey: string | undefined): Promise<Located | undefined> {
    let missing = missingKey;
    for (let attempt = 0; attempt < RESOLVE_ATTEMPTS; attempt += 1) {
      const range = this.ranges.findRange(id, offset);
      if (range === undefined) return undefined;
      if (range.objectKey === missing) throw segmentMissing(id, offset, range.objectKey);
      const index = await this.cache.getIndex(range.objectKey, id);
      if (index === undefined) {
        missing = range.objectKey;
        continue;
      }
      return locateIn(index, range, id, offset);
    }
    throw segmentMissing(id, offset, missing ?? "");
  }

  /** A sequential reader goes on behind the selection: blocks of which it has had the last batch need no longer be kept for it. */
  notePassed(selection: Selection): void {
    for (const { held, range, blockNumber, endBatch } of selection.pieces) {
      const { block } = held;
      const isLast = endBatch === block.batchCount || block.baseOffset(endBatch) >= range.endOffset;
      if (isLast) this.cache.notePassed(range.objectKey, blockNumber);
    }
  }

  private takeBlock(id: StreamId, offset: number): FoundBlock | undefined {
    const range = this.ranges.findRange(id, offset);
    const index = range === undefined ? undefined : this.cache.peekIndex(range.objectKey);
    if (range === undefined || index === undefined) return undefined;
    const { blockNumber } = locateIn(index, range, id, offset);
    const held = this.cache.takeBlock(range.objectKey, blockNumber);
    return held === undefined ? undefined : { held, range, blockNumber };
  }

  /**
   * Asks for `bytes` of blocks from `cursor.aheadOffset` on, some GETs at a time, and does not wait for them; stops when others need the room, or at the
   * first thing that does not work. `cursor` may go on meanwhile.
   */
  async prefetch(id: StreamId, cursor: Cursor, endOffset: number, bytes: number): Promise<void> {
    cursor.isFetching = true;
    try {
      let left = bytes;
      while (left > 0 && cursor.aheadOffset < endOffset && this.cache.canReadAhead) {
        const located = await this.locate(id, cursor.aheadOffset, undefined);
        if (located === undefined) return;
        const { index, range, blockNumber } = located;
        const end = this.cache.prefetchBlocks(index, id, blockNumber, lastWithin(located, left));
        for (let number = blockNumber; number < end; number += 1) {
          const entry = index.getBlock(number);
          left -= entry.rawBytes;
          cursor.aheadBytes += entry.rawBytes;
          cursor.aheadOffset = Math.max(cursor.aheadOffset, Math.min(entry.endOffset, range.endOffset));
        }
      }
    } finally {
      cursor.isFetching = false;
    }
  }
}

export function releasePieces(pieces: readonly BlockPiece[]): void {
  for (const { held } of pieces) held.release();
}

function locateIn(index: SegmentIndex, range: CommittedRange, id: StreamId, offset: number): Located {
  const at = Math.max(offset, range.baseOffset);
  const entry = index.findStream(id);
  const blockNumber = entry === undefined ? undefined : index.findBlock(entry, at);
  if (entry === undefined || blockNumber === undefined || index.getBlock(blockNumber).baseOffset >= range.endOffset) {
    throw segmentDamaged(range.objectKey, "index", `it lacks ${streamKey(id)} at offset ${at}, which the metadata log says it holds`);
  }
  return { range, index, entry, blockNumber };
}

function lastWithin(located: Located, windowBytes: number): number {
  const end = located.entry.firstBlock + located.entry.blockCount;
  let through = located.blockNumber;
  let bytes = 0;
  while (through + 1 < end) {
    const next = located.index.getBlock(through + 1);
    bytes += next.rawBytes;
    if (bytes > windowBytes || next.baseOffset >= located.range.endOffset) break;
    through += 1;
  }
  return through;
}

function segmentMissing(id: StreamId, offset: number, objectKey: string): Trouble {
  return new Trouble({
    code: "segment-missing",
    message: `segment object ${objectKey} is not in the store, but the metadata log says that it holds ${streamKey(id)} at offset ${offset}`,
    retryable: true,
    remedy: "Restore the object from the bucket's versions or a backup.",
  });
}
