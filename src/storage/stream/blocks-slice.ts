/**
 * Records where they lie in cached blocks, which it holds until `release`; charged to the catch-up budget meanwhile. Nothing is copied until a
 * connection sends it.
 */
import { assert } from "../../base/assert.ts";
import type { MemoryLease } from "../cache/memory-budget.ts";
import type { RecordsSlice } from "../types.ts";
import { type BlockPiece, releasePieces } from "./object-reader.ts";

export class BlocksSlice implements RecordsSlice {
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly sizeBytes: number;
  private pieces: readonly BlockPiece[] | undefined;
  private readonly lease: MemoryLease;

  /** Takes over the holds of `pieces` and the lease. */
  constructor(firstOffset: number, nextOffset: number, pieces: readonly BlockPiece[], lease: MemoryLease) {
    this.firstOffset = firstOffset;
    this.nextOffset = nextOffset;
    this.pieces = pieces;
    this.lease = lease;
    this.sizeBytes = pieces.reduce((sum, { held, firstBatch, endBatch }) => {
      return sum + held.block.batchStart(endBatch) - held.block.batchStart(firstBatch);
    }, 0);
  }

  tryCopy(from: number, length: number, target: Uint8Array, targetOffset: number): boolean {
    assert(from >= 0 && from + length <= this.sizeBytes, "a copy stays within the slice");
    for (let done = 0; done < length; ) {
      const part = this.viewAt(from + done, length - done);
      target.set(part, targetOffset + done);
      done += part.length;
    }
    return true;
  }

  tryView(from: number): Uint8Array {
    return this.viewAt(from, this.sizeBytes);
  }

  /** Bytes from `from` on as far as they lie in one block, at most `maxLength` of them. */
  private viewAt(from: number, maxLength: number): Uint8Array {
    assert(this.pieces !== undefined, "a slice is not used after its release");
    let position = 0;
    for (const { held, firstBatch, endBatch } of this.pieces) {
      const { block } = held;
      const start = block.batchStart(firstBatch) + from - position;
      const end = block.batchStart(endBatch);
      if (start < end) return block.bytes.subarray(start, Math.min(end, start + maxLength));
      position += end - block.batchStart(firstBatch);
    }
    throw new RangeError(`byte ${from} of a slice of ${this.sizeBytes}`);
  }

  load(): Promise<void> {
    return Promise.resolve();
  }

  release(): void {
    assert(this.pieces !== undefined, "a slice is released once");
    releasePieces(this.pieces);
    this.pieces = undefined;
    this.lease.release();
  }
}
