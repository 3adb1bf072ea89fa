/**
 * The memory ring: one fixed mapping that is the WAL's write buffer and the tail-read cache. Positions are counted in blocks and only rise
 * (block p lies at p mod capacity), so that whether a position still holds its bytes is a comparison.
 *
 * Invariants: [tail, head) may not be overwritten (its write is open or in flight); [head - capacity, tail) is the read cache; the ring never wraps
 * inside a claim. Views are for the synchronous section that made them.
 *
 * Neighbour: `wal/group-commit-wal.ts`, its only writer. Ring positions have nothing to do with places on the device.
 */
import { assert } from "../../base/assert.ts";
import { WAL_BLOCK_BYTES } from "../wal/wal-device.ts";

/** What a reused block is filled with under `poisonReused`. */
export const POISON_BYTE = 0xdb;

export class MemoryRing {
  readonly bytes: Buffer;
  readonly capacityBlocks: number;
  readonly #poisonReused: boolean;
  /** First block not yet claimed. */
  #head = 0;
  /** First block whose bytes may not be overwritten yet. */
  #tail = 0;

  constructor(memory: Uint8Array, poisonReused: boolean) {
    assert(memory.length > 0 && memory.length % WAL_BLOCK_BYTES === 0, `ring size is not whole blocks: ${memory.length}`);
    this.bytes = Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength);
    this.capacityBlocks = memory.length / WAL_BLOCK_BYTES;
    this.#poisonReused = poisonReused;
  }

  get head(): number {
    return this.#head;
  }

  /** Blocks that may not be overwritten now. */
  get heldBlocks(): number {
    return this.#head - this.#tail;
  }

  /** Blocks from `head` to the end of the mapping: how long a claim can become before it would wrap. */
  get contiguousBlocks(): number {
    return this.capacityBlocks - (this.#head % this.capacityBlocks);
  }

  /** Byte place of a position in `bytes`. */
  placeOf(block: number): number {
    return (block % this.capacityBlocks) * WAL_BLOCK_BYTES;
  }

  /** Takes the next `blocks`; the caller has made sure that they may be reused. They do not wrap. */
  claim(blocks: number): void {
    assert(blocks <= this.contiguousBlocks, "a claim wraps the ring");
    assert(this.heldBlocks + blocks <= this.capacityBlocks, "a claim overwrites blocks that are not durable");
    if (this.#poisonReused) {
      const place = this.placeOf(this.#head);
      this.bytes.fill(POISON_BYTE, place, place + blocks * WAL_BLOCK_BYTES);
    }
    this.#head += blocks;
  }

  /** Leaves the rest of the mapping unused, so that the next claim begins at its start. */
  skipToStart(): void {
    if (this.#head % this.capacityBlocks !== 0) this.claim(this.contiguousBlocks);
  }

  /** Everything below `block` may be overwritten from now on (and is readable until it is). */
  release(block: number): void {
    assert(block >= this.#tail && block <= this.#head, `release out of order: ${block} not in [${this.#tail}, ${this.#head}]`);
    this.#tail = block;
  }

  /** Bytes [offset, offset + length) counted from the start of `block`; undefined when a part of them was overwritten. They must not wrap. */
  tryView(block: number, offset: number, length: number): Uint8Array | undefined {
    const firstBlock = block + Math.floor(offset / WAL_BLOCK_BYTES);
    if (firstBlock < this.#head - this.capacityBlocks) return undefined;
    const place = this.placeOf(block) + offset;
    return new Uint8Array(this.bytes.buffer, this.bytes.byteOffset + place, length);
  }
}
