/**
 * A fair budget of bytes. Claims are granted in order of arrival: while one waits, later ones wait behind it, however small. A claim larger than the
 * whole budget is granted when nothing else is claimed, so that it can never wait for ever.
 */
import { assert } from "./assert.ts";

export interface BudgetWait {
  /** Idempotent; a wait that was granted already is not taken back. */
  cancel(): void;
}

interface Waiter {
  readonly bytes: number;
  readonly granted: () => void;
  isCancelled: boolean;
}

export class ByteBudget {
  readonly capacityBytes: number;
  private claimedBytes = 0;
  private readonly waiters: Waiter[] = [];
  private isGranting = false;

  constructor(capacityBytes: number) {
    assert(capacityBytes > 0, "a budget of nothing admits nothing");
    this.capacityBytes = capacityBytes;
  }

  get usedBytes(): number {
    return this.claimedBytes;
  }

  get waitingCount(): number {
    return this.waiters.length;
  }

  /** Claims `bytes` now, or returns false. */
  tryClaim(bytes: number): boolean {
    if (this.waiters.length > 0 || !this.fits(bytes)) return false;
    this.claimedBytes += bytes;
    return true;
  }

  /** Calls `granted` once `bytes` are claimed for the caller; later, never inside this call. */
  waitFor(bytes: number, granted: () => void): BudgetWait {
    const waiter: Waiter = { bytes, granted, isCancelled: false };
    this.waiters.push(waiter);
    return {
      cancel: () => {
        const index = this.waiters.indexOf(waiter);
        if (waiter.isCancelled || index < 0) return;
        waiter.isCancelled = true;
        this.waiters.splice(index, 1);
        this.grant();
      },
    };
  }

  release(bytes: number): void {
    assert(bytes <= this.claimedBytes, `${bytes} bytes released of ${this.claimedBytes} claimed`);
    this.claimedBytes -= bytes;
    this.grant();
  }

  private fits(bytes: number): boolean {
    return this.claimedBytes + bytes <= this.capacityBytes || this.claimedBytes === 0;
  }

  /** A grant may release or wait again; the loop below then goes on instead of nesting. */
  private grant(): void {
    if (this.isGranting) return;
    this.isGranting = true;
    try {
      for (let first = this.waiters[0]; first !== undefined && this.fits(first.bytes); first = this.waiters[0]) {
        this.waiters.shift();
        this.claimedBytes += first.bytes;
        first.granted();
      }
    } finally {
      this.isGranting = false;
    }
  }
}
