/**
 * A checked block in memory that is used again once nobody holds it: the cache is one holder, each reader that was handed the block another.
 *
 * Invariant: whoever holds it releases it exactly once, and looks at neither the block nor a view of its bytes after that. A holder that never
 * releases costs garbage, not damage: the memory then goes to the collector and not back to the pool.
 */
import { assert } from "../../base/assert.ts";
import type { BufferPool } from "../../base/buffer-pool.ts";
import type { DataBlock } from "../segment/data-block.ts";

export class HeldBlock {
  readonly block: DataBlock;
  private readonly memory: Uint8Array;
  private readonly pool: BufferPool;
  private holders: number;

  /** `memory` came from `pool` and is what `block` lies in. */
  constructor(block: DataBlock, memory: Uint8Array, pool: BufferPool, holders: number) {
    assert(holders > 0, "a block is made for somebody");
    this.block = block;
    this.memory = memory;
    this.pool = pool;
    this.holders = holders;
  }

  /** What it keeps from others, beside its directory of batches. */
  get sizeBytes(): number {
    return this.memory.length + 4 * this.block.batchCount;
  }

  /** For one more holder; only while somebody holds it. */
  retain(): this {
    assert(this.holders > 0, "a released block is nobody's to hand on");
    this.holders += 1;
    return this;
  }

  release(): void {
    assert(this.holders > 0, "a block is released once by each holder");
    this.holders -= 1;
    if (this.holders === 0) this.pool.give(this.memory);
  }
}
