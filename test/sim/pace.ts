/**
 * How fast one client works: so many operations per virtual second on average, in bursts, however long each takes. What a stall or an outage has held up is made up for
 * afterwards without pauses, so that a client's rate over some minutes is its pace; `history.ts` counts what was done, this only says when the next is due.
 */
import type { SimProcess } from "./process.ts";

/** Of 100 operations, so many follow the one before at once: several requests in flight, several appends to one WAL write. */
const BURST_PERCENT = 75;
/** Whoever is further behind than this does not wait for news. */
const BEHIND_MS = 100;

export class Pace {
  /** Operations that have ended, with an answer. */
  operations = 0;
  private readonly process: SimProcess;
  /** Between two bursts, on average. */
  private readonly pauseMs: number;
  private dueMs: number;

  /** `meanMs`: from one operation to the next, on average. */
  constructor(process: SimProcess, meanMs: number) {
    this.process = process;
    this.pauseMs = meanMs / (1 - BURST_PERCENT / 100);
    this.dueMs = process.scheduler.nowMs;
  }

  get isBehind(): boolean {
    return this.process.scheduler.nowMs - this.dueMs > BEHIND_MS;
  }

  /** Resolves when the next operation is due. */
  async next(): Promise<void> {
    const { random, scheduler, clock } = this.process;
    if (!random.chance(BURST_PERCENT)) this.dueMs += random.nextFloat() * 2 * this.pauseMs;
    const waitMs = this.dueMs - scheduler.nowMs;
    if (waitMs > 0) await clock.sleep(waitMs);
  }
}
