/**
 * Request memory of all connections: the budget that frames are charged to before they are decoded, and the chunks that connections hold
 * while they wait for it. When those chunks alone grow large, no socket is read any more except for frames that are charged already.
 */
import { ByteBudget } from "../base/byte-budget.ts";

/** What a connection does about memory pressure. */
export interface PressureListener {
  setPressure(isPressing: boolean): void;
}

export class MemoryGate {
  readonly budget: ByteBudget;
  readonly connections = new Set<PressureListener>();
  private heldChunkBytes = 0;
  private pressing = false;

  constructor(capacityBytes: number) {
    this.budget = new ByteBudget(capacityBytes);
  }

  get heldBytes(): number {
    return this.heldChunkBytes;
  }

  get isPressing(): boolean {
    return this.pressing;
  }

  hold(bytes: number): void {
    this.heldChunkBytes += bytes;
    if (!this.pressing && this.heldChunkBytes > this.budget.capacityBytes / 2) this.setPressing(true);
  }

  unhold(bytes: number): void {
    this.heldChunkBytes -= bytes;
    if (this.pressing && this.heldChunkBytes < this.budget.capacityBytes / 4) this.setPressing(false);
  }

  private setPressing(isPressing: boolean): void {
    this.pressing = isPressing;
    for (const connection of [...this.connections]) connection.setPressure(isPressing);
  }
}

/** A claim on the budget shared by the frames of one chunk; given back when the last of them is done. */
export class MemoryLease {
  private readonly budget: ByteBudget;
  private readonly bytes: number;
  private references = 1;
  private whenReleased: (() => void) | undefined;

  /** `bytes` are claimed already. */
  constructor(budget: ByteBudget, bytes: number) {
    this.budget = budget;
    this.bytes = bytes;
  }

  /** Called once, when the last reference is gone: nothing of the bytes is needed any more. */
  onReleased(callback: () => void): void {
    this.whenReleased = callback;
  }

  retain(): this {
    this.references++;
    return this;
  }

  release(): void {
    this.references--;
    if (this.references > 0) return;
    this.whenReleased?.();
    this.budget.release(this.bytes);
  }
}
