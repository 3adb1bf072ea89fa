/**
 * Claims on a bounded number of bytes of private memory, as leases: what was claimed is given back by one object, once, also in parts. Fair, and a
 * claim larger than the whole budget passes alone (`base/byte-budget.ts`).
 *
 * Whoever waits here while holding another lease of the same budget can wait for ever: such a caller uses `tryAcquire`, or a signal with a deadline.
 */
import { assert } from "../../base/assert.ts";
import { ByteBudget } from "../../base/byte-budget.ts";

export interface MemoryLease {
  readonly bytes: number;
  /** Gives a part back; never grows. */
  shrinkTo(bytes: number): void;
  /** Exactly once. */
  release(): void;
}

export class MemoryBudget {
  private readonly budget: ByteBudget;

  constructor(capacityBytes: number) {
    this.budget = new ByteBudget(capacityBytes);
  }

  get capacityBytes(): number {
    return this.budget.capacityBytes;
  }
  /** 0 when nothing is held: the leak counter of M12. */
  get usedBytes(): number {
    return this.budget.usedBytes;
  }

  tryAcquire(bytes: number): MemoryLease | undefined {
    return this.budget.tryClaim(bytes) ? new Lease(this.budget, bytes) : undefined;
  }

  /** Rejects with `signal.reason` when aborted first. */
  async acquire(bytes: number, signal?: AbortSignal): Promise<MemoryLease> {
    signal?.throwIfAborted();
    if (!this.budget.tryClaim(bytes)) await this.wait(bytes, signal);
    return new Lease(this.budget, bytes);
  }

  private wait(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const wait = this.budget.waitFor(bytes, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      const onAbort = () => {
        wait.cancel();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}

class Lease implements MemoryLease {
  private readonly budget: ByteBudget;
  private held: number;
  private isReleased = false;

  constructor(budget: ByteBudget, bytes: number) {
    this.budget = budget;
    this.held = bytes;
  }

  get bytes(): number {
    return this.held;
  }

  shrinkTo(bytes: number): void {
    if (bytes >= this.held) return;
    const given = this.held - bytes;
    this.held = bytes;
    this.budget.release(given);
  }

  release(): void {
    assert(!this.isReleased, "a lease is released once");
    this.isReleased = true;
    this.shrinkTo(0);
  }
}
