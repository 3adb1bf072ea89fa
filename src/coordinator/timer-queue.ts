/**
 * Many timers on one clock timer: a binary heap by due time. A coordinator has one per member (10,000 members and more), and most are pushed
 * back long before they are due: pushing back only notes the new time, and the heap is put right when the old one comes.
 *
 * Invariant: a timer is in the heap exactly while it is started, at a due time not after the one it was last given.
 */
import { assert } from "../base/assert.ts";
import type { Clock, TimerHandle } from "../base/clock.ts";

export class Timer {
  readonly callback: () => void;
  readonly #queue: TimerQueue;
  /** When it is to run; meaningless unless started. */
  dueMs = 0;
  /** Where the heap has it; not above `dueMs`. */
  heapDueMs = 0;
  /** Place in the heap, -1 when not started. */
  index = -1;

  constructor(queue: TimerQueue, callback: () => void) {
    this.#queue = queue;
    this.callback = callback;
  }

  get isStarted(): boolean {
    return this.index >= 0;
  }

  /** Runs the callback once, `delayMs` from now; a start before is forgotten. */
  start(delayMs: number): void {
    this.#queue.startTimer(this, delayMs);
  }

  cancel(): void {
    this.#queue.cancelTimer(this);
  }
}

export class TimerQueue {
  readonly #clock: Clock;
  readonly #heap: Timer[] = [];
  #wake: TimerHandle | undefined;
  #wakeMs = Number.POSITIVE_INFINITY;
  #isRunning = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#heap.length;
  }

  create(callback: () => void): Timer {
    return new Timer(this, callback);
  }

  /** For `Timer`. */
  startTimer(timer: Timer, delayMs: number): void {
    timer.dueMs = this.#clock.monotonicMs() + Math.max(0, delayMs);
    if (timer.isStarted && timer.heapDueMs <= timer.dueMs) return;
    if (timer.isStarted) this.#remove(timer);
    this.#insert(timer);
    this.#arm();
  }

  /** For `Timer`. */
  cancelTimer(timer: Timer): void {
    if (!timer.isStarted) return;
    this.#remove(timer);
    this.#arm();
  }

  /** Nothing runs after it. */
  close(): void {
    for (const timer of this.#heap) timer.index = -1;
    this.#heap.length = 0;
    this.#arm();
  }

  #run(): void {
    this.#wake = undefined;
    this.#wakeMs = Number.POSITIVE_INFINITY;
    this.#isRunning = true;
    const nowMs = this.#clock.monotonicMs();
    for (let first = this.#heap[0]; first !== undefined && first.heapDueMs <= nowMs; first = this.#heap[0]) {
      this.#remove(first);
      if (first.dueMs > nowMs) this.#insert(first);
      else first.callback();
    }
    this.#isRunning = false;
    this.#arm();
  }

  #arm(): void {
    if (this.#isRunning) return;
    const first = this.#heap[0];
    const dueMs = first === undefined ? Number.POSITIVE_INFINITY : first.heapDueMs;
    if (dueMs === this.#wakeMs) return;
    this.#wake?.cancel();
    this.#wakeMs = dueMs;
    this.#wake = first === undefined ? undefined : this.#clock.schedule(Math.max(0, dueMs - this.#clock.monotonicMs()), () => this.#run());
  }

  #insert(timer: Timer): void {
    timer.heapDueMs = timer.dueMs;
    timer.index = this.#heap.length;
    this.#heap.push(timer);
    this.#siftUp(timer.index);
  }

  #remove(timer: Timer): void {
    const { index } = timer;
    assert(this.#heap[index] === timer, "a timer is not where it says");
    const last = this.#heap.pop() as Timer;
    timer.index = -1;
    if (last === timer) return;
    this.#heap[index] = last;
    last.index = index;
    this.#siftUp(index);
    this.#siftDown(last.index);
  }

  #siftUp(from: number): void {
    for (let at = from; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#isEarlier(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #siftDown(from: number): void {
    for (let at = from; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < this.#heap.length && this.#isEarlier(child, least)) least = child;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #isEarlier(a: number, b: number): boolean {
    return (this.#heap[a] as Timer).heapDueMs < (this.#heap[b] as Timer).heapDueMs;
  }

  #swap(a: number, b: number): void {
    const first = this.#heap[a] as Timer;
    const second = this.#heap[b] as Timer;
    this.#heap[a] = second;
    this.#heap[b] = first;
    second.index = a;
    first.index = b;
  }
}
