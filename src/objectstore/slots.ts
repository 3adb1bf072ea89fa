/** A counting semaphore, first come first served: at most `limit` holders. */
export class Slots {
  #free: number;
  readonly #waiting: { admit: () => void }[] = [];

  constructor(limit: number) {
    this.#free = limit;
  }

  /** Resolves with a place taken; rejects with the signal's reason, and then none is taken. */
  take(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const waiter = {
        admit: () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next.admit();
  }
}
