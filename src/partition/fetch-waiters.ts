/**
 * Long polls. A waiting fetch is one promise, a place in the waiter sets of its partitions, and a place in a shared deadline heap: no
 * timer of its own, no polling. A release wakes only the waiters of the partitions that it touched, and those only when enough bytes came.
 *
 * Waking says "look again", not "there is enough": the handler reads anew and may wait again.
 */
import { assert } from "../base/assert.ts";
import type { Clock, TimerHandle } from "../base/clock.ts";
import type { PartitionLog } from "./partition-log.ts";

/** Deadlines are met up to this much late, so that one timer serves many. */
const TICK_MS = 5;

export interface FetchWaiter {
  /** It waits for what lies below the last stable offset. */
  readonly isReadCommitted: boolean;
  /** `sizeBytes` became readable in a partition it waits on. */
  addBytes(sizeBytes: number): void;
  /** Something else changed: look again. */
  wake(): void;
}

class Waiter implements FetchWaiter {
  readonly logs: readonly PartitionLog[];
  readonly deadlineTick: number;
  readonly isReadCommitted: boolean;
  #missingBytes: number;
  readonly #owner: FetchWaiters;
  readonly #resolve: () => void;
  isDone = false;

  constructor(
    owner: FetchWaiters,
    logs: readonly PartitionLog[],
    missingBytes: number,
    deadlineTick: number,
    isReadCommitted: boolean,
    resolve: () => void,
  ) {
    this.#owner = owner;
    this.isReadCommitted = isReadCommitted;
    this.logs = logs;
    this.#missingBytes = missingBytes;
    this.deadlineTick = deadlineTick;
    this.#resolve = resolve;
  }

  addBytes(sizeBytes: number): void {
    this.#missingBytes -= sizeBytes;
    if (this.#missingBytes <= 0) this.wake();
  }

  wake(): void {
    if (this.isDone) return;
    this.isDone = true;
    this.#owner.forget(this);
    this.#resolve();
  }
}

export class FetchWaiters {
  readonly #clock: Clock;
  readonly #buckets = new Map<number, Set<Waiter>>();
  /** Ticks that have a bucket, as a binary heap, the nearest first. */
  readonly #ticks: number[] = [];
  #timer: TimerHandle | undefined;
  #timerTick = Number.POSITIVE_INFINITY;
  #count = 0;
  #isDraining = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Fetches waiting now. */
  get size(): number {
    return this.#count;
  }

  /** No fetch waits any more: each is answered with what there is. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Ends all waits, and those to come at once: a drain is not held up by consumers that have nothing to read. */
  drain(): void {
    this.#isDraining = true;
    for (const bucket of this.#buckets.values()) for (const waiter of bucket) waiter.wake();
  }

  /**
   * Resolves when `missingBytes` have become readable in these logs, one of them changed otherwise, `maxWaitMs` passed, or `signal` aborted:
   * never rejects.
   */
  wait(
    logs: readonly PartitionLog[],
    missingBytes: number,
    maxWaitMs: number,
    signal: AbortSignal,
    isReadCommitted = false,
  ): Promise<void> {
    if (signal.aborted || this.#isDraining) return Promise.resolve();
    const tick = Math.ceil((this.#clock.monotonicMs() + maxWaitMs) / TICK_MS);
    return new Promise((resolve) => {
      const abort = () => waiter.wake();
      const waiter = new Waiter(this, logs, missingBytes, tick, isReadCommitted, () => {
        signal.removeEventListener("abort", abort);
        resolve();
      });
      signal.addEventListener("abort", abort, { once: true });
      for (const log of logs) log.waiters.add(waiter);
      this.#count += 1;
      this.#addDeadline(waiter);
    });
  }

  forget(waiter: Waiter): void {
    for (const log of waiter.logs) log.waiters.delete(waiter);
    this.#count -= 1;
    this.#buckets.get(waiter.deadlineTick)?.delete(waiter);
  }

  #addDeadline(waiter: Waiter): void {
    const bucket = this.#buckets.get(waiter.deadlineTick);
    if (bucket !== undefined) {
      bucket.add(waiter);
      return;
    }
    this.#buckets.set(waiter.deadlineTick, new Set([waiter]));
    pushTick(this.#ticks, waiter.deadlineTick);
    if (waiter.deadlineTick < this.#timerTick) this.#armTimer();
  }

  #armTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerTick = this.#ticks[0] ?? Number.POSITIVE_INFINITY;
    if (this.#timerTick === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.max(0, this.#timerTick * TICK_MS - this.#clock.monotonicMs());
    this.#timer = this.#clock.schedule(delayMs, () => this.#onTimer());
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#timerTick = Number.POSITIVE_INFINITY;
    const nowTick = Math.floor(this.#clock.monotonicMs() / TICK_MS);
    for (let tick = this.#ticks[0]; tick !== undefined && tick <= nowTick; tick = this.#ticks[0]) {
      popTick(this.#ticks);
      const bucket = this.#buckets.get(tick);
      this.#buckets.delete(tick);
      for (const waiter of bucket ?? []) waiter.wake();
    }
    // Buckets whose waiters all left early cost no further timer.
    for (let tick = this.#ticks[0]; tick !== undefined && this.#buckets.get(tick)?.size === 0; tick = this.#ticks[0]) {
      popTick(this.#ticks);
      this.#buckets.delete(tick);
    }
    this.#armTimer();
  }
}

function pushTick(heap: number[], tick: number): void {
  let index = heap.push(tick) - 1;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    const above = heap[parent] as number;
    if (above <= tick) break;
    heap[index] = above;
    index = parent;
  }
  heap[index] = tick;
}

function popTick(heap: number[]): void {
  const last = heap.pop();
  assert(last !== undefined, "the deadline heap is empty");
  if (heap.length === 0) return;
  let index = 0;
  for (;;) {
    const left = 2 * index + 1;
    if (left >= heap.length) break;
    const right = left + 1;
    const child = right < heap.length && (heap[right] as number) < (heap[left] as number) ? right : left;
    if ((heap[child] as number) >= last) break;
    heap[index] = heap[child] as number;
    index = child;
  }
  heap[index] = last;
}
