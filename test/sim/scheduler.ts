/**
 * Virtual time and the one queue through which everything outside reaches the code under test: timers, deferred callbacks, completions of devices and stores,
 * network chunks. Among events of one moment the seed decides the order. After each event all promise reactions run (`drainMicrotasks`), so that a step
 * is atomic and nothing is left to the runtime's own queue.
 *
 * Every delivered event goes into the trace hash: two runs of one seed must have the same.
 */
import { drainMicrotasks } from "bun:jsc";
import { SeededRandom } from "../unit/support/seeded-random.ts";
import type { SimProcess } from "./process.ts";

export interface SimEvent {
  dueMs: number;
  readonly tie: number;
  readonly sequence: number;
  /** Whose memory the callback runs in; undefined: the outside world's. */
  readonly owner: SimProcess | undefined;
  readonly label: string;
  run: (() => void) | undefined;
}

/** Late timers: what a loaded event loop does. */
const LATENESS_MS = 0.3;
const RECENT_EVENTS = 256;

export class Scheduler {
  readonly random: SeededRandom;
  nowMs = 0;
  delivered = 0;
  private readonly heap: SimEvent[] = [];
  private sequence = 0;
  private hashLow = 0x811c9dc5;
  private hashHigh = 0x9e3779b9;
  private readonly labelHashes = new Map<string, number>();
  private readonly recent: (string | undefined)[] = new Array(RECENT_EVENTS).fill(undefined);
  private recentCount = 0;
  private readonly wantsTrace: boolean;

  constructor(seed: number, wantsTrace = false) {
    this.random = new SeededRandom(seed);
    this.wantsTrace = wantsTrace;
  }

  /** Runs `run` at least `delayMs` from now, unless its owner has died by then. A paused owner gets it when it wakes. */
  post(owner: SimProcess | undefined, delayMs: number, label: string, run: () => void): SimEvent {
    const dueMs = this.nowMs + Math.max(0, delayMs) + this.random.nextFloat() * LATENESS_MS;
    const event: SimEvent = { dueMs, tie: this.random.nextFloat(), sequence: this.sequence++, owner, label, run };
    this.push(event);
    return event;
  }

  /** Delivers the next event. False when there is none. */
  step(): boolean {
    for (;;) {
      const event = this.pop();
      if (event === undefined) return false;
      this.nowMs = Math.max(this.nowMs, event.dueMs);
      const { run, owner } = event;
      if (run === undefined || owner?.state === "dead") continue;
      if (owner?.state === "paused") {
        owner.backlog.push(event);
        continue;
      }
      this.delivered++;
      this.note(event.label, owner?.number ?? 0, event.sequence);
      try {
        run();
      } catch (error) {
        if (owner === undefined) throw error;
        owner.bug(error);
      }
      drainMicrotasks();
      return true;
    }
  }

  /** Puts what a paused process missed back in line, for now; in the order in which it was due, since streams must keep theirs. */
  wake(events: readonly SimEvent[]): void {
    for (const [index, event] of events.entries()) {
      // The same object: a timer that is cancelled meanwhile must not run.
      event.dueMs = this.nowMs + index * 1e-6;
      this.push(event);
    }
  }

  /** Mixes a fact into the trace. */
  note(label: string, a: number, b: number): void {
    let known = this.labelHashes.get(label);
    if (known === undefined) {
      known = 0x811c9dc5;
      for (let at = 0; at < label.length; at++) known = Math.imul(known ^ label.charCodeAt(at), 0x01000193);
      if (this.labelHashes.size < 10_000) this.labelHashes.set(label, known);
    }
    const timeBits = Math.imul(Math.floor(this.nowMs * 1000) | 0, 0x85ebca6b);
    this.hashLow = Math.imul(this.hashLow ^ known ^ timeBits, 0x01000193) ^ (a | 0);
    this.hashHigh = Math.imul((this.hashHigh ^ (b | 0)) + (this.hashLow >>> 7), 0x5bd1e995) ^ (this.hashHigh >>> 15);
    if (this.wantsTrace) console.log(`${this.nowMs.toFixed(3).padStart(12)} ${label} ${a} ${b}`);
  }

  /** A line for the shortened trace that a failing seed prints. */
  remember(line: string): void {
    this.recent[this.recentCount++ % RECENT_EVENTS] = `${this.nowMs.toFixed(1).padStart(10)} ms  ${line}`;
    if (this.wantsTrace) console.log(this.recent[(this.recentCount - 1) % RECENT_EVENTS]);
  }

  getRecent(): readonly string[] {
    const lines = Array.from({ length: RECENT_EVENTS }, (_, index) => this.recent[(this.recentCount + index) % RECENT_EVENTS]);
    return lines.filter((line) => line !== undefined);
  }

  get traceHash(): string {
    return (this.hashHigh >>> 0).toString(16).padStart(8, "0") + (this.hashLow >>> 0).toString(16).padStart(8, "0");
  }

  private push(event: SimEvent): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  private pop(): SimEvent | undefined {
    const { heap } = this;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  if (a.dueMs !== b.dueMs) return a.dueMs < b.dueMs;
  if (a.tie !== b.tie) return a.tie < b.tie;
  return a.sequence < b.sequence;
}
