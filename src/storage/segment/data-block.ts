/**
 * The raw content of one block: a directory of batches, then the batches (drawn in `segment-format.ts`). One class serves both sides: the
 * uploader fills a new one in place, a reader opens one over decompressed bytes.
 */
import { assert } from "../../base/assert.ts";
import { getInt64, getUint64, setInt64, setUint64 } from "./integers.ts";
import { BATCH_ENTRY_BYTES, BLOCK_HEADER_BYTES, segmentDamaged } from "./segment-format.ts";

/** Raw bytes of a block with `batchCount` batches of `payloadBytes` together. */
export function rawBlockBytes(batchCount: number, payloadBytes: number): number {
  return BLOCK_HEADER_BYTES + BATCH_ENTRY_BYTES * batchCount + payloadBytes;
}

export class DataBlock {
  readonly bytes: Uint8Array;
  readonly batchCount: number;
  private readonly view: DataView;
  /** Where each batch begins in `bytes`; one more entry for the end. */
  private readonly starts: Uint32Array;

  private constructor(bytes: Uint8Array, batchCount: number) {
    this.bytes = bytes;
    this.batchCount = batchCount;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.starts = new Uint32Array(batchCount + 1);
    this.starts[0] = BLOCK_HEADER_BYTES + BATCH_ENTRY_BYTES * batchCount;
  }

  /**
   * A block to fill: `addBatch` once for each batch in order, and the caller copies the batch's bytes to the place it returns. It lies at the start of
   * `memory`, which holds anything and is written in full.
   */
  static create(
    batchCount: number,
    payloadBytes: number,
    memory: Uint8Array = new Uint8Array(rawBlockBytes(batchCount, payloadBytes)),
  ): DataBlock {
    assert(batchCount > 0, "a block holds at least one batch");
    const block = new DataBlock(memory.subarray(0, rawBlockBytes(batchCount, payloadBytes)), batchCount);
    block.view.setUint32(0, batchCount);
    return block;
  }

  /** Enters batch `i` in the directory; returns where its `length` bytes belong in `bytes`. */
  addBatch(i: number, baseOffset: number, lastOffset: number, maxTimestampMs: number, length: number): number {
    const n = this.batchCount;
    assert(i < n && lastOffset >= baseOffset && length > 0, "a batch fits its block");
    setUint64(this.view, BLOCK_HEADER_BYTES + 8 * i, baseOffset);
    setUint64(this.view, BLOCK_HEADER_BYTES + 8 * (n + i), lastOffset);
    setInt64(this.view, BLOCK_HEADER_BYTES + 8 * (2 * n + i), maxTimestampMs);
    this.view.setUint32(BLOCK_HEADER_BYTES + 24 * n + 4 * i, length);
    const start = this.starts[i] ?? 0;
    assert(start + length <= this.bytes.length, "the batches fit the block's size");
    this.starts[i + 1] = start + length;
    return start;
  }

  /** Opens raw content whose CRC has been checked; every field is checked again, for the writer may have been wrong. */
  static open(bytes: Uint8Array, baseOffset: number, endOffset: number, batchCount: number, objectKey: string, part: string): DataBlock {
    const damaged = (detail: string) => segmentDamaged(objectKey, part, detail);
    if (bytes.length < rawBlockBytes(1, 1)) throw damaged("too short for a directory");
    const block = new DataBlock(bytes, batchCount);
    if (block.view.getUint32(0) !== batchCount || rawBlockBytes(batchCount, batchCount) > bytes.length)
      throw damaged("its batch count differs from the index");
    let next = baseOffset;
    for (let i = 0; i < batchCount; i += 1) {
      const base = block.baseOffset(i);
      const last = block.lastOffset(i);
      const length = block.view.getUint32(BLOCK_HEADER_BYTES + 24 * batchCount + 4 * i);
      if (!(base >= next && last >= base) || length === 0 || Number.isNaN(block.maxTimestampMs(i)))
        throw damaged(`batch ${i} is out of place`);
      if (i === 0 && base !== baseOffset) throw damaged("its first offset differs from the index");
      next = last + 1;
      block.starts[i + 1] = (block.starts[i] ?? 0) + length;
      if ((block.starts[i + 1] ?? 0) > bytes.length) throw damaged(`batch ${i} goes past its end`);
    }
    if (next !== endOffset || block.starts[batchCount] !== bytes.length) throw damaged("its end differs from the index");
    return block;
  }

  baseOffset(i: number): number {
    return getUint64(this.view, BLOCK_HEADER_BYTES + 8 * i);
  }
  lastOffset(i: number): number {
    return getUint64(this.view, BLOCK_HEADER_BYTES + 8 * (this.batchCount + i));
  }
  maxTimestampMs(i: number): number {
    return getInt64(this.view, BLOCK_HEADER_BYTES + 8 * (2 * this.batchCount + i));
  }
  /** Where batch `i` begins in `bytes`; `batchStart(batchCount)` is the end. */
  batchStart(i: number): number {
    return this.starts[i] ?? 0;
  }

  /** Number of the batch that contains `offset`, else of the first above it; `batchCount` when there is none. */
  findBatch(offset: number): number {
    let low = 0;
    let high = this.batchCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.lastOffset(middle) >= offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
