/**
 * The real body of Clock: the only file that touches `Date.now`, `performance.now` and the runtime's timers.
 * Timers are unref'd: what keeps a broker alive is its sockets, never a pending wait. A command that waits between two tries has no socket then, and asks
 * for timers that hold the process.
 */
import type { Clock, TimerHandle } from "./clock.ts";

/** The runtime clamps longer delays to one millisecond (setTimeout takes a signed 32-bit number), so longer waits are chained. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class SystemClock implements Clock {
  private readonly holdsProcess: boolean;

  constructor({ holdsProcess = false }: { readonly holdsProcess?: boolean } = {}) {
    this.holdsProcess = holdsProcess;
  }

  wallMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }

  schedule(delayMs: number, callback: () => void): TimerHandle {
    let timer: ReturnType<typeof setTimeout>;
    let remainingMs = delayMs;
    const arm = (): void => {
      const stepMs = Math.min(remainingMs, LONGEST_TIMER_MS);
      remainingMs -= stepMs;
      timer = setTimeout(() => (remainingMs > 0 ? arm() : callback()), stepMs);
      if (!this.holdsProcess) timer.unref();
    };
    arm();
    return { cancel: () => clearTimeout(timer) };
  }

  defer(callback: () => void): void {
    setImmediate(callback);
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const timer = this.schedule(delayMs, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      const onAbort = (): void => {
        timer.cancel();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}
