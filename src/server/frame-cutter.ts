/**
 * Cuts Kafka's frames (4-byte big-endian length, then as many bytes) out of the chunks that a socket brings. Frames that lie whole in a chunk are
 * views of it; those that span chunks are gathered in a buffer of their own, which the caller lets grow only after it has
 * claimed the frame's bytes. Memory follows what has arrived: the announced size alone allocates little. These buffers come from a pool, and whoever
 * knows that a frame is not needed any more may give its buffer back.
 */
import { assert } from "../base/assert.ts";
import type { BufferPool } from "../base/buffer-pool.ts";

/** Buffers up to here are allocated whole; beyond, they grow with what arrives. */
const WHOLE_BUFFER_BYTES = 1024 * 1024;
const GROWTH_FACTOR = 4;

export type CutStep =
  /** A frame. `gatheredIn`: the pool's buffer that it lies in; undefined: it is a view of the chunk. */
  | { readonly kind: "frame"; readonly frame: Uint8Array; readonly gatheredIn: Uint8Array | undefined }
  /** The chunk is used up. */
  | { readonly kind: "more" }
  /** The frame spans chunks: claim `bytes`, call `beginGathering`, then step again. */
  | { readonly kind: "claim"; readonly bytes: number }
  /** The stream cannot be understood any more. */
  | { readonly kind: "bad"; readonly sizeBytes: number };

const MORE: CutStep = { kind: "more" };

export class FrameCutter {
  /** Where in the chunk the next step begins. */
  position = 0;
  private readonly maxFrameBytes: number;
  private readonly buffers: BufferPool;
  private headerBytes = 0;
  private header = 0;
  /** Of the frame that has begun; -1 when its length is not known yet. */
  private frameBytes = -1;
  private gathered: Uint8Array | undefined;
  private gatheredBytes = 0;

  constructor(maxFrameBytes: number, buffers: BufferPool) {
    this.maxFrameBytes = maxFrameBytes;
    this.buffers = buffers;
  }

  /** A frame has begun and is not complete. */
  get isInsideFrame(): boolean {
    return this.headerBytes > 0 || this.frameBytes >= 0;
  }

  step(chunk: Uint8Array): CutStep {
    if (this.gathered !== undefined) return this.gather(chunk);
    if (this.frameBytes < 0) {
      if (!this.readHeader(chunk)) return MORE;
      if (this.frameBytes < 0 || this.frameBytes > this.maxFrameBytes) return { kind: "bad", sizeBytes: this.frameBytes };
    }
    const size = this.frameBytes;
    if (chunk.length - this.position < size) return { kind: "claim", bytes: size };
    const start = this.position;
    this.position += size;
    this.frameBytes = -1;
    return { kind: "frame", frame: chunk.subarray(start, start + size), gatheredIn: undefined };
  }

  /** The caller has claimed the bytes of the frame that the last step named. */
  beginGathering(): void {
    assert(this.frameBytes >= 0 && this.gathered === undefined, "no frame waits to be gathered");
    this.gathered = this.buffers.take(Math.min(this.frameBytes, WHOLE_BUFFER_BYTES));
    this.gatheredBytes = 0;
  }

  private readHeader(chunk: Uint8Array): boolean {
    while (this.headerBytes < 4) {
      if (this.position >= chunk.length) return false;
      this.header = (this.header << 8) | (chunk[this.position++] ?? 0);
      this.headerBytes++;
    }
    this.frameBytes = this.header;
    this.header = 0;
    this.headerBytes = 0;
    return true;
  }

  private gather(chunk: Uint8Array): CutStep {
    let buffer = this.gathered;
    assert(buffer !== undefined, "gather without a buffer");
    const taken = Math.min(this.frameBytes - this.gatheredBytes, chunk.length - this.position);
    const filledBytes = this.gatheredBytes + taken;
    if (filledBytes > buffer.length) {
      const grown = this.buffers.take(Math.min(this.frameBytes, Math.max(filledBytes, buffer.length * GROWTH_FACTOR)));
      grown.set(buffer.subarray(0, this.gatheredBytes));
      this.buffers.give(buffer);
      buffer = grown;
      this.gathered = grown;
    }
    buffer.set(chunk.subarray(this.position, this.position + taken), this.gatheredBytes);
    this.position += taken;
    this.gatheredBytes = filledBytes;
    if (filledBytes < this.frameBytes) return MORE;
    const frame = buffer.subarray(0, this.frameBytes);
    this.gathered = undefined;
    this.frameBytes = -1;
    return { kind: "frame", frame, gatheredIn: buffer };
  }
}
