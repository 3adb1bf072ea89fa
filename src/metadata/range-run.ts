/**
 * The committed ranges of one partition, in offset order, as columns. Immutable: a run is a window [from, to) over columns that it shares with
 * its successors; appending writes behind every older window, so older readers never see it.
 */
import { assert } from "../base/assert.ts";

/** Identity of a segment object in the image. */
export interface SegmentObject {
  /** Short name within the image: snapshots and hashes refer to objects by it. */
  readonly number: number;
  readonly key: string;
  readonly sizeBytes: number;
  readonly nodeId: number;
  readonly walId: string;
}

export interface RangeEntry {
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestampMs: number;
  readonly sizeBytes: number;
  readonly object: SegmentObject;
}

class Columns {
  readonly bases: number[] = [];
  readonly ends: number[] = [];
  readonly timestamps: number[] = [];
  readonly sizes: number[] = [];
  readonly objects: SegmentObject[] = [];

  push(entry: RangeEntry): void {
    this.bases.push(entry.baseOffset);
    this.ends.push(entry.endOffset);
    this.timestamps.push(entry.maxTimestampMs);
    this.sizes.push(entry.sizeBytes);
    this.objects.push(entry.object);
  }

  at(index: number): RangeEntry {
    return {
      baseOffset: this.bases[index]!,
      endOffset: this.ends[index]!,
      maxTimestampMs: this.timestamps[index]!,
      sizeBytes: this.sizes[index]!,
      object: this.objects[index]!,
    };
  }
}

export class RangeRun {
  static readonly EMPTY = new RangeRun(new Columns(), 0, 0);

  readonly #columns: Columns;
  readonly #from: number;
  readonly #to: number;

  private constructor(columns: Columns, from: number, to: number) {
    this.#columns = columns;
    this.#from = from;
    this.#to = to;
  }

  get count(): number {
    return this.#to - this.#from;
  }

  get(index: number): RangeEntry {
    assert(index >= 0 && index < this.count, `range ${index} of ${this.count}`);
    return this.#columns.at(this.#from + index);
  }

  *[Symbol.iterator](): Generator<RangeEntry> {
    for (let index = this.#from; index < this.#to; index++) yield this.#columns.at(index);
  }

  append(entry: RangeEntry): RangeRun {
    assert(entry.baseOffset < entry.endOffset, `empty range at ${entry.baseOffset}`);
    const last = this.#to - 1;
    assert(this.count === 0 || this.#columns.ends[last]! <= entry.baseOffset, `range at ${entry.baseOffset} overlaps the one before`);
    let columns = this.#columns;
    let from = this.#from;
    let to = this.#to;
    // EMPTY is shared by all; a longer column means that another successor of this run exists.
    if (columns.bases.length !== to || this === RangeRun.EMPTY) {
      columns = new Columns();
      for (const existing of this) columns.push(existing);
      to -= from;
      from = 0;
    }
    columns.push(entry);
    return new RangeRun(columns, from, to + 1);
  }

  /** Without the ranges that lie wholly below `offset`. */
  dropBelow(offset: number): RangeRun {
    const from = this.#from + this.#firstEndingAbove(offset);
    if (from === this.#to) return RangeRun.EMPTY;
    return from === this.#from ? this : new RangeRun(this.#columns, from, this.#to);
  }

  /** The range that contains `offset`, else the first above it. */
  find(offset: number): RangeEntry | undefined {
    const index = this.#firstEndingAbove(offset);
    return index === this.count ? undefined : this.get(index);
  }

  /** Index of the first range with end > offset; `count` when none. */
  #firstEndingAbove(offset: number): number {
    let low = this.#from;
    let high = this.#to;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#columns.ends[middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    return low - this.#from;
  }
}
