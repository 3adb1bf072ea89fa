/**
 * Large private buffers that are used again instead of being allocated: fresh memory costs a page fault for every 4 KiB, which is several times the
 * copy that fills it (docs/performance.md).
 *
 * Invariants: a buffer is given back only when nobody holds a view of it any more; what lies free is bounded, and is handed to the allocator when
 * the pool has not been used for `idleMs`, so that an idle broker is small. A buffer that is never given back is ordinary garbage.
 */
import { assert } from "./assert.ts";
import type { Clock } from "./clock.ts";

/** What a buffer is filled with under `poisonReleased`, so that a view kept too long is noticed. */
export const POISON_BYTE = 0xdb;

export interface BufferPoolOptions {
  readonly clock: Clock;
  /** Of the buffers that lie free. */
  readonly retainedBytes: number;
  readonly idleMs: number;
  /** For tests. */
  readonly poisonReleased?: boolean;
}

export class BufferPool {
  readonly #options: BufferPoolOptions;
  readonly #free: Uint8Array[] = [];
  #freeBytes = 0;
  #uses = 0;
  #isWatched = false;

  constructor(options: BufferPoolOptions) {
    this.#options = options;
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** At least `minBytes` long, at most twice that or the step above it; holds anything. */
  take(minBytes: number): Uint8Array {
    this.#uses += 1;
    const wanted = roundUp(minBytes);
    for (let index = this.#free.length - 1; index >= 0; index--) {
      const buffer = this.#free[index] as Uint8Array;
      if (buffer.length < minBytes || buffer.length > 2 * wanted) continue;
      this.#free.splice(index, 1);
      this.#freeBytes -= buffer.length;
      return buffer;
    }
    return allocateUnfilled(wanted);
  }

  /** `buffer` came from `take`; neither it nor a view of it is read or written by the caller after this. */
  give(buffer: Uint8Array): void {
    this.#uses += 1;
    if (this.#options.poisonReleased === true) buffer.fill(POISON_BYTE);
    if (this.#freeBytes + buffer.length > this.#options.retainedBytes) {
      freeNow(buffer);
      return;
    }
    assert(!this.#free.includes(buffer), "a buffer is given back once");
    this.#free.push(buffer);
    this.#freeBytes += buffer.length;
    if (!this.#isWatched) this.#watch();
  }

  #watch(): void {
    this.#isWatched = true;
    const usesThen = this.#uses;
    this.#options.clock.schedule(this.#options.idleMs, () => {
      this.#isWatched = false;
      if (this.#uses === usesThen) this.#drop();
      else if (this.#free.length > 0) this.#watch();
    });
  }

  #drop(): void {
    for (const buffer of this.#free) freeNow(buffer);
    this.#free.length = 0;
    this.#freeBytes = 0;
  }
}

/** Steps of at most a quarter, so that lengths that differ little share buffers. */
function roundUp(bytes: number): number {
  const step = Math.max(4096, 2 ** (Math.floor(Math.log2(Math.max(bytes, 1))) - 2));
  return Math.ceil(bytes / step) * step;
}

/** Memory of this length that holds anything: for what is written in full before it is read. Not a Buffer, whose `slice` would not copy. */
export function allocateUnfilled(lengthBytes: number): Uint8Array {
  return new Uint8Array(Buffer.allocUnsafeSlow(lengthBytes).buffer);
}

/** Hands the memory to the allocator without waiting for the garbage collector; `bytes` and all views of it become empty. Arrays over a part of a buffer are left alone. */
export function freeNow(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength) buffer.transfer(0);
}
