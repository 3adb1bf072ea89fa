/**
 * Whether the store answers, decided in one place from every request to it: one `store.unavailable` when it has stopped, repeated once a minute while
 * that lasts, one `store.recovered` at its first answer. A single refusal or lost reply says nothing: those are what retries are for.
 *
 * While the store is away only a few requests a second are let through to ask whether it is back (the others fail at once, certainly not applied): what
 * waits for it grows with connections and partitions, and a store that comes back must not be met by all of it at once.
 */
import type { Clock } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import type { Logger, Metrics } from "../telemetry/telemetry.ts";
import type { GetOptions, ListPage, ObjectInfo, ObjectStore, PutResult, StoreCallOptions } from "./object-store.ts";
import { type StoreTroubleCode, storeTrouble } from "./troubles.ts";

/** Failures without an answer between them after which the store is away; fewer when they lie far apart. */
const FAILURES_IN_A_ROW = 5;
const FEW_FAILURES = 2;
const FEW_FAILURES_SPAN_MS = 10_000;
const LOG_EVERY_MS = 60_000;
/** Requests let through while it is away: so many at once, so many a second. */
const PROBE_BURST = 4;
const PROBES_PER_SECOND = 4;

/** They tell of one request or one object, not of the store. */
const NO_OUTAGE: ReadonlySet<string> = new Set<StoreTroubleCode>([
  "store-conflict",
  "store-checksum-mismatch",
  "store-object-short",
  "store-unordered-listing",
  "store-no-conditional-writes",
  "store-refused",
]);

/** Certainly not applied whichever request got it, so that a request that was held back may say the same. */
const SAYS_IT_AGAIN: ReadonlySet<string> = new Set<StoreTroubleCode>([
  "store-unreachable",
  "store-access-denied",
  "store-credentials-expired",
  "store-no-credentials",
  "store-clock-skew",
  "store-no-bucket",
  "store-wrong-region",
]);

interface Away {
  readonly sinceMs: number;
  trouble: Trouble;
  failures: number;
  heldBack: number;
  loggedMs: number;
  probes: number;
  probesAtMs: number;
}

export class WatchedStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #failuresInARow = 0;
  #firstFailureMs = 0;
  #away: Away | undefined;

  constructor(inner: ObjectStore, clock: Clock, logger: Logger, metrics: Metrics) {
    this.#inner = inner;
    this.#clock = clock;
    this.#logger = logger;
    metrics.observedGauge("weir_store_available", "1 while the object store answers, 0 while it is away.", () =>
      this.#away === undefined ? 1 : 0,
    );
    this.#heldBack = metrics.counter(
      "weir_store_held_back_total",
      "Requests not sent because the object store is away and others are asking already.",
    );
  }

  readonly #heldBack: { add(value: number): void };

  /** What the store is away for; undefined while it answers. */
  get outage(): Trouble | undefined {
    return this.#away?.trouble;
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
    return this.#watch("createOnce", key, () => this.#inner.createOnce(key, bytes, options));
  }

  put(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<void> {
    return this.#watch("put", key, () => this.#inner.put(key, bytes, options));
  }

  get(key: string, range?: { start: number; end: number }, options?: GetOptions): Promise<Uint8Array | undefined> {
    return this.#watch("get", key, () => this.#inner.get(key, range, options));
  }

  getTail(key: string, lengthBytes: number, options?: StoreCallOptions): Promise<{ bytes: Uint8Array; sizeBytes: number } | undefined> {
    return this.#watch("getTail", key, () => this.#inner.getTail(key, lengthBytes, options));
  }

  head(key: string, options?: StoreCallOptions): Promise<ObjectInfo | undefined> {
    return this.#watch("head", key, () => this.#inner.head(key, options));
  }

  list(prefix: string, after?: string, options?: StoreCallOptions): Promise<ListPage> {
    return this.#watch("list", prefix, () => this.#inner.list(prefix, after, options));
  }

  delete(keys: readonly string[], options?: StoreCallOptions): Promise<void> {
    return this.#watch("delete", keys[0] ?? "", () => this.#inner.delete(keys, options));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #watch<T>(operation: string, key: string, call: () => Promise<T>): Promise<T> {
    if (this.#away !== undefined && !this.#mayAsk(this.#away)) throw this.#holdBack(this.#away, operation, key);
    try {
      const value = await call();
      this.#noteAnswer();
      return value;
    } catch (error) {
      if (error instanceof Trouble && !NO_OUTAGE.has(error.code)) this.#noteFailure(error);
      else if (error instanceof Trouble) this.#noteAnswer();
      throw error;
    }
  }

  #mayAsk(away: Away): boolean {
    const nowMs = this.#clock.monotonicMs();
    away.probes = Math.min(PROBE_BURST, away.probes + ((nowMs - away.probesAtMs) * PROBES_PER_SECOND) / 1_000);
    away.probesAtMs = nowMs;
    if (away.probes < 1) return false;
    away.probes -= 1;
    return true;
  }

  #holdBack(away: Away, operation: string, key: string): Trouble {
    away.heldBack += 1;
    this.#heldBack.add(1);
    const code = SAYS_IT_AGAIN.has(away.trouble.code) ? (away.trouble.code as StoreTroubleCode) : "store-unavailable";
    return storeTrouble(code, {
      store: this.description,
      operation,
      key,
      detail: "not asked now: the store is away, and other requests ask already whether it is back",
    });
  }

  #noteAnswer(): void {
    this.#failuresInARow = 0;
    const away = this.#away;
    if (away === undefined) return;
    this.#away = undefined;
    this.#logger.info("store.recovered", `${this.description} answers again`, {
      awayMs: Math.round(this.#clock.monotonicMs() - away.sinceMs),
      failedRequests: away.failures,
      heldBackRequests: away.heldBack,
    });
  }

  #noteFailure(trouble: Trouble): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#away !== undefined) {
      this.#away.trouble = trouble;
      this.#away.failures += 1;
      if (nowMs - this.#away.loggedMs >= LOG_EVERY_MS) this.#log(this.#away, nowMs);
      return;
    }
    if (this.#failuresInARow === 0) this.#firstFailureMs = nowMs;
    this.#failuresInARow += 1;
    const isLong = this.#failuresInARow >= FEW_FAILURES && nowMs - this.#firstFailureMs >= FEW_FAILURES_SPAN_MS;
    if (this.#failuresInARow < FAILURES_IN_A_ROW && !isLong) return;
    this.#away = {
      sinceMs: this.#firstFailureMs,
      trouble,
      failures: this.#failuresInARow,
      heldBack: 0,
      loggedMs: nowMs,
      probes: PROBE_BURST,
      probesAtMs: nowMs,
    };
    this.#log(this.#away, nowMs);
  }

  #log(away: Away, nowMs: number): void {
    away.loggedMs = nowMs;
    this.#logger.warn("store.unavailable", `what needs the store waits and is repeated: ${away.trouble.message}`, {
      code: away.trouble.code,
      awayMs: Math.round(nowMs - away.sinceMs),
      failedRequests: away.failures,
    });
  }
}
