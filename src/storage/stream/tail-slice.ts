/**
 * A reference to batches of the tail: it holds no memory, so nothing a client does or omits can hold the ring. `tryCopy` resolves it in
 * the ring at socket time; when the ring has moved on, `load` brings the bytes into private memory from wherever they lie by then.
 */
import { assert } from "../../base/assert.ts";
import type { MemoryLease } from "../cache/memory-budget.ts";
import type { RecordsSlice } from "../types.ts";
import type { Wal } from "../wal/wal.ts";
import type { StreamLog } from "./stream-log.ts";

/** Fills `target` with the batches [firstOffset, nextOffset) from any place but the ring alone. */
export type LoadTail = (log: StreamLog, firstOffset: number, nextOffset: number, target: Uint8Array) => Promise<void>;

export interface TailSource {
  readonly wal: Wal;
  claimLoadBytes(bytes: number): Promise<MemoryLease>;
  readonly loadTail: LoadTail;
}

export class TailSlice implements RecordsSlice {
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly sizeBytes: number;
  private readonly source: TailSource;
  private readonly log: StreamLog;
  private readonly firstSequence: number;
  /** Where the last copy ended: copies go on from there. */
  private cursorSequence: number;
  private cursorStart = 0;
  private loaded: Uint8Array | undefined;
  private lease: MemoryLease | undefined;
  private isReleased = false;

  constructor(source: TailSource, log: StreamLog, firstSequence: number, firstOffset: number, nextOffset: number, sizeBytes: number) {
    this.source = source;
    this.log = log;
    this.firstSequence = firstSequence;
    this.cursorSequence = firstSequence;
    this.firstOffset = firstOffset;
    this.nextOffset = nextOffset;
    this.sizeBytes = sizeBytes;
  }

  tryCopy(from: number, length: number, target: Uint8Array, targetOffset: number): boolean {
    assert(!this.isReleased, "a slice is not used after its release");
    assert(from >= 0 && from + length <= this.sizeBytes, "a copy stays within the slice");
    if (this.loaded !== undefined) {
      target.set(this.loaded.subarray(from, from + length), targetOffset);
      return true;
    }
    if (from < this.cursorStart) {
      this.cursorSequence = this.firstSequence;
      this.cursorStart = 0;
    }
    const index = this.log.index;
    let position = from;
    const end = from + length;
    while (position < end) {
      if (!index.holds(this.cursorSequence)) return false;
      const batchEnd = this.cursorStart + index.lengthBytes(this.cursorSequence);
      if (batchEnd <= position) {
        this.cursorSequence += 1;
        this.cursorStart = batchEnd;
        continue;
      }
      const view = this.source.wal.tryView(index.location(this.cursorSequence));
      if (view === undefined) return false;
      const copyEnd = Math.min(batchEnd, end);
      const isWhole = position === this.cursorStart && copyEnd === batchEnd;
      target.set(isWhole ? view : view.subarray(position - this.cursorStart, copyEnd - this.cursorStart), targetOffset + position - from);
      position = copyEnd;
    }
    return true;
  }

  async load(): Promise<void> {
    if (this.loaded !== undefined || this.isReleased) return;
    const lease = await this.source.claimLoadBytes(this.sizeBytes);
    try {
      const bytes = new Uint8Array(this.sizeBytes);
      await this.source.loadTail(this.log, this.firstOffset, this.nextOffset, bytes);
      if (this.isReleased || this.loaded !== undefined) return lease.release();
      this.loaded = bytes;
      this.lease = lease;
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  release(): void {
    assert(!this.isReleased, "a slice is released once");
    this.isReleased = true;
    this.loaded = undefined;
    this.lease?.release();
  }
}
