/**
 * Where the batches of one stream's tail lie: typed columns in a circular buffer rather than an object per batch, so that a tail of a million
 * batches is a few arrays to the garbage collector. A batch is named by its *sequence*, which counts up from 0 for the life of the index and is never
 * used again; a reference into the index stays checkable after its batch was dropped.
 *
 * Invariant: batches ascend without gaps (the next base is the last one's lastOffset + 1).
 */
import { assert, assertSafe } from "../../base/assert.ts";
import type { Lsn } from "../types.ts";
import type { WalLocation } from "../wal/wal.ts";

const INITIAL_CAPACITY = 8;

interface Columns {
  readonly capacity: number;
  readonly baseOffset: Float64Array;
  readonly lastOffset: Float64Array;
  readonly maxTimestampMs: Float64Array;
  readonly lsn: Float64Array;
  readonly ringBlock: Float64Array;
  readonly walOffset: Uint32Array;
  readonly length: Uint32Array;
  readonly term: Int32Array;
}

function makeColumns(capacity: number): Columns {
  return {
    capacity,
    baseOffset: new Float64Array(capacity),
    lastOffset: new Float64Array(capacity),
    maxTimestampMs: new Float64Array(capacity),
    lsn: new Float64Array(capacity),
    ringBlock: new Float64Array(capacity),
    walOffset: new Uint32Array(capacity),
    length: new Uint32Array(capacity),
    term: new Int32Array(capacity),
  };
}

export class BatchIndex {
  private columns = makeColumns(INITIAL_CAPACITY);
  private mask = INITIAL_CAPACITY - 1;
  private head = 0;
  private end = 0;

  /** Sequence of the oldest batch held. */
  get headSequence(): number {
    return this.head;
  }
  /** Sequence that the next batch gets. */
  get endSequence(): number {
    return this.end;
  }

  push(baseOffset: number, lastOffset: number, maxTimestampMs: number, term: number, location: WalLocation): void {
    if (this.end - this.head === this.columns.capacity) this.resize(this.columns.capacity * 2);
    const columns = this.columns;
    if (this.end > this.head) {
      assert(baseOffset === (columns.lastOffset[(this.end - 1) & this.mask] ?? -1) + 1, "batches of a stream are contiguous");
    }
    assertSafe(lastOffset, "lastOffset");
    const slot = this.end & this.mask;
    columns.baseOffset[slot] = baseOffset;
    columns.lastOffset[slot] = lastOffset;
    columns.maxTimestampMs[slot] = maxTimestampMs;
    columns.lsn[slot] = location.lsn;
    columns.ringBlock[slot] = location.ringBlock;
    columns.walOffset[slot] = location.offset;
    columns.length[slot] = location.length;
    columns.term[slot] = term;
    this.end += 1;
  }

  /** Drops batches below `sequence`. Gives memory back once three quarters of the columns are empty. */
  trimTo(sequence: number): void {
    assert(sequence <= this.end, "an index is trimmed to what it holds");
    if (sequence <= this.head) return;
    this.head = sequence;
    const count = this.end - this.head;
    if (this.columns.capacity > 64 && count * 4 < this.columns.capacity) {
      let capacity = INITIAL_CAPACITY;
      while (capacity < count * 2) capacity *= 2;
      this.resize(capacity);
    }
  }

  private resize(capacity: number): void {
    const from = this.columns;
    const to = makeColumns(capacity);
    const mask = capacity - 1;
    for (let sequence = this.head; sequence < this.end; sequence += 1) {
      const source = sequence & this.mask;
      const target = sequence & mask;
      to.baseOffset[target] = from.baseOffset[source] ?? 0;
      to.lastOffset[target] = from.lastOffset[source] ?? 0;
      to.maxTimestampMs[target] = from.maxTimestampMs[source] ?? 0;
      to.lsn[target] = from.lsn[source] ?? 0;
      to.ringBlock[target] = from.ringBlock[source] ?? 0;
      to.walOffset[target] = from.walOffset[source] ?? 0;
      to.length[target] = from.length[source] ?? 0;
      to.term[target] = from.term[source] ?? 0;
    }
    this.columns = to;
    this.mask = mask;
  }

  holds(sequence: number): boolean {
    return sequence >= this.head && sequence < this.end;
  }

  private slot(sequence: number): number {
    assert(this.holds(sequence), "a batch that is asked for is in the index");
    return sequence & this.mask;
  }

  baseOffset(sequence: number): number {
    return this.columns.baseOffset[this.slot(sequence)] ?? 0;
  }
  lastOffset(sequence: number): number {
    return this.columns.lastOffset[this.slot(sequence)] ?? 0;
  }
  maxTimestampMs(sequence: number): number {
    return this.columns.maxTimestampMs[this.slot(sequence)] ?? 0;
  }
  lengthBytes(sequence: number): number {
    return this.columns.length[this.slot(sequence)] ?? 0;
  }
  term(sequence: number): number {
    return this.columns.term[this.slot(sequence)] ?? 0;
  }
  lsn(sequence: number): Lsn {
    return (this.columns.lsn[this.slot(sequence)] ?? 0) as Lsn;
  }
  location(sequence: number): WalLocation {
    const slot = this.slot(sequence);
    const columns = this.columns;
    return {
      lsn: (columns.lsn[slot] ?? 0) as Lsn,
      ringBlock: columns.ringBlock[slot] ?? 0,
      offset: columns.walOffset[slot] ?? 0,
      length: columns.length[slot] ?? 0,
    };
  }

  /** Sequence of the batch that contains `offset`, else of the first above it; `endSequence` when there is none. */
  find(offset: number): number {
    let low = this.head;
    let high = this.end;
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      if ((this.columns.lastOffset[middle & this.mask] ?? 0) >= offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
