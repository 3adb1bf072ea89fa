/**
 * Repeats what may be repeated, with full jitter, until an attempt succeeds, the trouble is not retryable, attempts or the deadline run out.
 *
 * `createOnce` is repeated only after outcomes that certainly left nothing behind ("store-unavailable", "store-conflict"). After an
 * unknown outcome a repeat would meet its own object and call it somebody else's, so that trouble goes to the caller, who knows the bytes.
 */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import type { ListPage, ObjectInfo, ObjectStore, PutResult, StoreCallOptions } from "./object-store.ts";

export interface RetryPolicy {
  /** Attempts in all. */
  readonly maxAttempts: number;
  /** The n-th pause is uniform in [0, min(maxPauseMs, firstPauseMs * 2^(n-1))]. */
  readonly firstPauseMs: number;
  readonly maxPauseMs: number;
  /** Of the whole call, when the caller gives none. */
  readonly defaultDeadlineMs: number;
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = { maxAttempts: 6, firstPauseMs: 50, maxPauseMs: 2_000, defaultDeadlineMs: 30_000 };

const CERTAINLY_NOT_APPLIED: ReadonlySet<string> = new Set(["store-unreachable", "store-unavailable", "store-conflict", "store-full"]);

export class RetryingStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #policy: RetryPolicy;

  constructor(inner: ObjectStore, clock: Clock, random: Random, policy: RetryPolicy = DEFAULT_RETRY_POLICY) {
    this.#inner = inner;
    this.#clock = clock;
    this.#random = random;
    this.#policy = policy;
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
      (trouble) => CERTAINLY_NOT_APPLIED.has(trouble.code),
    );
  }

  put(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<void> {
    return this.#repeat(options, (attempt) => this.#inner.put(key, bytes, attempt));
  }

  get(key: string, range?: { start: number; end: number }, options?: StoreCallOptions): Promise<Uint8Array | undefined> {
    return this.#repeat(options, (attempt) => this.#inner.get(key, range, attempt));
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
    mayRepeat: (trouble: Trouble) => boolean = (trouble) => trouble.retryable,
  ): Promise<T> {
    const endMs = this.#clock.monotonicMs() + (options?.deadlineMs ?? this.#policy.defaultDeadlineMs);
    for (let attempt = 1; ; attempt++) {
      const deadlineMs = Math.max(1, endMs - this.#clock.monotonicMs());
      try {
        return await call(options?.signal === undefined ? { deadlineMs } : { deadlineMs, signal: options.signal });
      } catch (error) {
        options?.signal?.throwIfAborted();
        if (!(error instanceof Trouble) || !mayRepeat(error) || attempt >= this.#policy.maxAttempts) throw error;
        const ceilingMs = Math.min(this.#policy.maxPauseMs, this.#policy.firstPauseMs * 2 ** (attempt - 1));
        const pauseMs = this.#random.nextFloat() * ceilingMs;
        if (this.#clock.monotonicMs() + pauseMs >= endMs) throw error;
        await this.#clock.sleep(pauseMs, options?.signal);
      }
    }
  }
}
