/**
 * Time as the code sees it. Two clocks: the boot-time clock drives every wait, timeout and session; the wall
 * clock only stamps records and drives retention, tokens and signatures (docs: DESIGN "Isolation from the world").
 * `Date.now`, `setTimeout` and friends are banned outside `system-clock.ts`; a check in `scripts/` enforces it.
 */
export interface TimerHandle {
  /** Idempotent; after it the callback never runs. */
  cancel(): void;
}

export interface Clock {
  /** Wall time in milliseconds since 1970, an integer. May jump either way. */
  wallMs(): number;
  /** Boot-time clock in milliseconds with a fraction. Never goes back. */
  monotonicMs(): number;
  /** Runs `callback` once, not earlier than `delayMs` from now. `delayMs >= 0`. Does not keep a process alive. */
  schedule(delayMs: number, callback: () => void): TimerHandle;
  /** Runs `callback` after the event-loop turn in which this was called (what gathers into one group commit). */
  defer(callback: () => void): void;
  /** Resolves after `delayMs`; rejects with `signal.reason` when aborted. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}
