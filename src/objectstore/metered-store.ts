/** Counts and times every request to the store below it, by operation. Sits under the retries, so that each attempt is seen. */
import type { Clock } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import type { Counter, Histogram, Metrics } from "../telemetry/telemetry.ts";
import type { GetOptions, ListPage, ObjectInfo, ObjectStore, PutResult, StoreCallOptions } from "./object-store.ts";

const LATENCY_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const OPERATIONS = ["createOnce", "put", "get", "getTail", "head", "list", "delete"] as const;
type Operation = (typeof OPERATIONS)[number];

interface OperationMeters {
  readonly requests: Counter;
  readonly seconds: Histogram;
}

export class MeteredStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  readonly #meters: ReadonlyMap<Operation, OperationMeters>;
  readonly #sentBytes: Counter;
  readonly #receivedBytes: Counter;
  /** Troubles by operation and code; codes are a fixed set. */
  readonly #errors = new Map<string, Counter>();

  constructor(inner: ObjectStore, clock: Clock, metrics: Metrics) {
    this.#inner = inner;
    this.#clock = clock;
    this.#metrics = metrics;
    this.#sentBytes = metrics.counter("weir_store_sent_bytes_total", "Bytes of objects sent to the object store.");
    this.#receivedBytes = metrics.counter("weir_store_received_bytes_total", "Bytes of objects received from the object store.");
    metrics.observedGauge(
      "weir_store_clock_skew_seconds",
      "How far the object store's clock is ahead of ours, by its last answer; NaN where the store tells no time.",
      () => (inner.clockSkewMs ?? Number.NaN) / 1_000,
    );
    this.#meters = new Map(OPERATIONS.map((operation) => [operation, metersOf(metrics, operation)]));
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
    this.#sentBytes.add(bytes.length);
    return this.#measure("createOnce", () => this.#inner.createOnce(key, bytes, options));
  }

  put(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<void> {
    this.#sentBytes.add(bytes.length);
    return this.#measure("put", () => this.#inner.put(key, bytes, options));
  }

  async get(key: string, range?: { start: number; end: number }, options?: GetOptions): Promise<Uint8Array | undefined> {
    const bytes = await this.#measure("get", () => this.#inner.get(key, range, options));
    this.#receivedBytes.add(bytes?.length ?? 0);
    return bytes;
  }

  async getTail(
    key: string,
    lengthBytes: number,
    options?: StoreCallOptions,
  ): Promise<{ bytes: Uint8Array; sizeBytes: number } | undefined> {
    const tail = await this.#measure("getTail", () => this.#inner.getTail(key, lengthBytes, options));
    this.#receivedBytes.add(tail?.bytes.length ?? 0);
    return tail;
  }

  head(key: string, options?: StoreCallOptions): Promise<ObjectInfo | undefined> {
    return this.#measure("head", () => this.#inner.head(key, options));
  }

  list(prefix: string, after?: string, options?: StoreCallOptions): Promise<ListPage> {
    return this.#measure("list", () => this.#inner.list(prefix, after, options));
  }

  delete(keys: readonly string[], options?: StoreCallOptions): Promise<void> {
    return this.#measure("delete", () => this.#inner.delete(keys, options));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #measure<T>(operation: Operation, call: () => Promise<T>): Promise<T> {
    const meters = this.#meters.get(operation)!;
    const startMs = this.#clock.monotonicMs();
    meters.requests.add(1);
    try {
      return await call();
    } catch (error) {
      this.#errorCounter(operation, error instanceof Trouble ? error.code : "other").add(1);
      throw error;
    } finally {
      meters.seconds.observe((this.#clock.monotonicMs() - startMs) / 1_000);
    }
  }

  #errorCounter(operation: Operation, code: string): Counter {
    const name = `${operation} ${code}`;
    let counter = this.#errors.get(name);
    if (counter === undefined) {
      counter = this.#metrics.counter("weir_store_errors_total", "Failed object store requests.", { operation, code });
      this.#errors.set(name, counter);
    }
    return counter;
  }
}

function metersOf(metrics: Metrics, operation: Operation): OperationMeters {
  return {
    requests: metrics.counter("weir_store_requests_total", "Object store requests, each attempt counted.", { operation }),
    seconds: metrics.histogram("weir_store_request_seconds", "Duration of object store requests.", LATENCY_BUCKETS_SECONDS, { operation }),
  };
}
