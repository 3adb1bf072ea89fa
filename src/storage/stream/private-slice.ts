/** Records in private memory that is charged to the catch-up budget until `release`, and then freed at once. */
import { assert } from "../../base/assert.ts";
import { freeNow } from "../../base/buffer-pool.ts";
import type { MemoryLease } from "../cache/memory-budget.ts";
import type { RecordsSlice } from "../types.ts";

export class PrivateSlice implements RecordsSlice {
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly sizeBytes: number;
  private bytes: Uint8Array | undefined;
  private readonly lease: MemoryLease | undefined;

  /** `bytes` belong to the slice. */
  constructor(firstOffset: number, nextOffset: number, bytes: Uint8Array, lease: MemoryLease | undefined) {
    this.firstOffset = firstOffset;
    this.nextOffset = nextOffset;
    this.sizeBytes = bytes.length;
    this.bytes = bytes;
    this.lease = lease;
  }

  tryCopy(from: number, length: number, target: Uint8Array, targetOffset: number): boolean {
    assert(this.bytes !== undefined, "a slice is not used after its release");
    assert(from >= 0 && from + length <= this.sizeBytes, "a copy stays within the slice");
    target.set(this.bytes.subarray(from, from + length), targetOffset);
    return true;
  }

  tryView(from: number): Uint8Array {
    assert(this.bytes !== undefined, "a slice is not used after its release");
    return this.bytes.subarray(from);
  }

  load(): Promise<void> {
    return Promise.resolve();
  }

  release(): void {
    assert(this.bytes !== undefined, "a slice is released once");
    if (this.sizeBytes > 0) freeNow(this.bytes);
    this.bytes = undefined;
    this.lease?.release();
  }
}

const NO_BYTES = new Uint8Array(0);

export function emptySlice(offset: number): RecordsSlice {
  return new PrivateSlice(offset, offset, NO_BYTES, undefined);
}
