/**
 * Repeats what may be repeated, with full jitter, until an attempt succeeds, the trouble is not retryable, or attempts, the deadline or the budget of all
 * retries (`retry-budget.ts`) run out. One attempt does not get the whole deadline: a connection that went silent is given up and the next one tried.
 *
 * `createOnce` is repeated only after outcomes that certainly left nothing behind ("store-unavailable", "store-conflict"). After an
 * unknown outcome a repeat would meet its own object and call it somebody else's, so that trouble goes to the caller, who knows the bytes.
 */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import type { Counter, Metrics } from "../telemetry/telemetry.ts";
import type { GetOptions, ListPage, ObjectInfo, ObjectStore, PutResult, StoreCallOptions } from "./object-store.ts";
import type { RetryBudget } from "./retry-budget.ts";

export interface RetryPolicy {
  /** Attempts in all. */
  readonly maxAttempts: number;
  /** The n-th pause is uniform in [0, min(maxPauseMs, firstPauseMs * 2^(n-1))]. */
  readonly firstPauseMs: number;
  readonly maxPauseMs: number;
  /** Of the whole call, when the caller gives none. */
  readonly defaultDeadlineMs: number;
  /** An attempt is given up after this, and a second more for each 256 KiB that it moves; default: with the deadline of the whole call. */
  readonly attemptMs?: number;
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  maxAttempts: 6,
  firstPauseMs: 50,
  maxPauseMs: 2_000,
  defaultDeadlineMs: 30_000,
  attemptMs: 15_000,
};

const SLOWEST_BYTES_PER_SECOND = 262_144;

const CERTAINLY_NOT_APPLIED: ReadonlySet<string> = new Set([
  "store-unreachable",
  "store-unavailable",
  "store-conflict",
  "store-full",
  "store-credentials-expired",
  "store-clock-skew",
]);

export class RetryingStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #policy: RetryPolicy;
  readonly #budget: RetryBudget | undefined;
  readonly #retries: Counter | undefined;
  readonly #refused: Counter | undefined;

  /** Without a budget each call's own limits are all there are. */
  constructor(
    inner: ObjectStore,
    clock: Clock,
    random: Random,
    policy: RetryPolicy = DEFAULT_RETRY_POLICY,
    shared: { readonly budget?: RetryBudget; readonly metrics?: Metrics } = {},
  ) {
    this.#inner = inner;
    this.#clock = clock;
    this.#random = random;
    this.#policy = policy;
    const { budget, metrics } = shared;
    this.#budget = budget;
    this.#retries = metrics?.counter("weir_store_retries_total", "Requests to the object store that repeat one that failed.");
    this.#refused = metrics?.counter(
      "weir_store_retries_refused_total",
      "Requests to the object store not repeated at once because the budget of all retries was spent.",
    );
    if (budget === undefined) return;
    metrics?.observedGauge(
      "weir_store_retry_budget_ratio",
      "What is left of the budget of all retries, 0 to 1.",
      () => budget.tokens / budget.capacity,
    );
  }

  get outage(): Trouble | undefined {
    return this.#inner.outage;
  }

  get description(): string {
    return this.#inner.description;
  }

  get keepsNoBytes(): boolean {
    return this.#inner.keepsNoBytes === true;
  }

  get clockSkewMs(): number | undefined {
    return this.#inner.clockSkewMs;
  }

  createOnce(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<PutResult> {
    return this.#repeat(
      options,
      (attempt) => this.#inner.createOnce(key, bytes, attempt),
      bytes.length,
      (trouble) => CERTAINLY_NOT_APPLIED.has(trouble.code),
    );
  }

  put(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<void> {
    return this.#repeat(options, (attempt) => this.#inner.put(key, bytes, attempt), bytes.length);
  }

  get(key: string, range?: { start: number; end: number }, options?: GetOptions): Promise<Uint8Array | undefined> {
    const into = options?.into;
    const call = (attempt: StoreCallOptions): Promise<Uint8Array | undefined> =>
      this.#inner.get(key, range, into === undefined ? attempt : { ...attempt, into });
    return this.#repeat(options, call, range === undefined ? 0 : range.end - range.start);
  }

  getTail(key: string, lengthBytes: number, options?: StoreCallOptions): Promise<{ bytes: Uint8Array; sizeBytes: number } | undefined> {
    return this.#repeat(options, (attempt) => this.#inner.getTail(key, lengthBytes, attempt));
  }

  head(key: string, options?: StoreCallOptions): Promise<ObjectInfo | undefined> {
    return this.#repeat(options, (attempt) => this.#inner.head(key, attempt));
  }

  list(prefix: string, after?: string, options?: StoreCallOptions): Promise<ListPage> {
    return this.#repeat(options, (attempt) => this.#inner.list(prefix, after, attempt));
  }

  delete(keys: readonly string[], options?: StoreCallOptions): Promise<void> {
    return this.#repeat(options, (attempt) => this.#inner.delete(keys, attempt));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #repeat<T>(
    options: StoreCallOptions | undefined,
    call: (options: StoreCallOptions) => Promise<T>,
    movedBytes = 0,
    mayRepeat: (trouble: Trouble) => boolean = (trouble) => trouble.retryable,
  ): Promise<T> {
    const { maxAttempts, firstPauseMs, maxPauseMs, defaultDeadlineMs, attemptMs = Number.POSITIVE_INFINITY } = this.#policy;
    const endMs = this.#clock.monotonicMs() + (options?.deadlineMs ?? defaultDeadlineMs);
    const longestAttemptMs = attemptMs + (movedBytes / SLOWEST_BYTES_PER_SECOND) * 1_000;
    let lastCost = 0;
    for (let attempt = 1; ; attempt++) {
      const deadlineMs = Math.max(1, Math.min(longestAttemptMs, endMs - this.#clock.monotonicMs()));
      try {
        const value = await call(options?.signal === undefined ? { deadlineMs } : { deadlineMs, signal: options.signal });
        this.#budget?.refund(lastCost);
        return value;
      } catch (error) {
        options?.signal?.throwIfAborted();
        if (!(error instanceof Trouble) || !mayRepeat(error) || attempt >= maxAttempts) throw error;
        const pauseMs = this.#random.nextFloat() * Math.min(maxPauseMs, firstPauseMs * 2 ** (attempt - 1));
        if (this.#clock.monotonicMs() + pauseMs >= endMs) throw error;
        const cost = this.#budget === undefined ? 0 : this.#budget.tryTake(error.code);
        if (cost === undefined) {
          this.#refused?.add(1);
          throw error;
        }
        lastCost = cost;
        this.#retries?.add(1);
        await this.#clock.sleep(pauseMs, options?.signal);
      }
    }
  }
}
