/** The end of one call: the caller's signal or a deadline on the boot-time clock, whichever comes first, as one AbortSignal. */
import type { Clock, TimerHandle } from "../base/clock.ts";

export class CallTimeout {
  readonly #controller = new AbortController();
  readonly #timer: TimerHandle;
  readonly #outer: AbortSignal | undefined;
  readonly #onOuterAbort = (): void => this.#controller.abort(this.#outer?.reason);
  #expired = false;

  constructor(clock: Clock, deadlineMs: number, outer: AbortSignal | undefined) {
    this.#outer = outer;
    this.#timer = clock.schedule(deadlineMs, () => {
      if (this.#controller.signal.aborted) return;
      this.#expired = true;
      this.#controller.abort(new DOMException(`no answer within ${deadlineMs} ms`, "TimeoutError"));
    });
    if (outer?.aborted === true) this.#onOuterAbort();
    else outer?.addEventListener("abort", this.#onOuterAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The deadline passed. */
  get expired(): boolean {
    return this.#expired;
  }

  /** The caller gave up. */
  get aborted(): boolean {
    return !this.#expired && this.#controller.signal.aborted;
  }

  dispose(): void {
    this.#timer.cancel();
    this.#outer?.removeEventListener("abort", this.#onOuterAbort);
  }
}
