/**
 * Seeded faults over any store, for tests and the simulator: what the network and S3 really do. Rates are 0..1 per request.
 * Latencies run on the given clock, so a virtual clock decides the interleaving.
 */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { GetOptions, ListPage, ObjectInfo, ObjectStore, PutResult, StoreCallOptions } from "./object-store.ts";
import { storeTrouble } from "./troubles.ts";

export interface FaultRates {
  /** Each request takes a uniform time up to this, in ms. 0: none at all. */
  readonly maxLatencyMs: number;
  /** 503: certainly not applied. */
  readonly unavailable: number;
  /** 409 to a createOnce: certainly not applied. */
  readonly conflict: number;
  /** Applied, and the answer lost. */
  readonly lostReply: number;
  /** Not applied, and the caller cannot know. */
  readonly lostRequest: number;
  /** A createOnce answered as lost and applied only later, up to 10 x maxLatencyMs after. */
  readonly delayed: number;
  /** A createOnce sent twice; the caller sees the second answer. */
  readonly duplicate: number;
  /** A list page cut short (its `next` says so). */
  readonly partialList: number;
}

export const NO_FAULTS: FaultRates = {
  maxLatencyMs: 0,
  unavailable: 0,
  conflict: 0,
  lostReply: 0,
  lostRequest: 0,
  delayed: 0,
  duplicate: 0,
  partialList: 0,
};

export class FaultyStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #clock: Clock;
  readonly #random: Random;
  /** May be replaced at any time, e.g. by NO_FAULTS to let things heal. */
  rates: FaultRates;

  constructor(inner: ObjectStore, clock: Clock, random: Random, rates: FaultRates) {
    this.#inner = inner;
    this.#clock = clock;
    this.#random = random;
    this.rates = rates;
  }

  get description(): string {
    return `faulty ${this.#inner.description}`;
  }

  get keepsNoBytes(): boolean {
    return this.#inner.keepsNoBytes === true;
  }

  get clockSkewMs(): number | undefined {
    return this.#inner.clockSkewMs;
  }

  async createOnce(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<PutResult> {
    await this.#delay(options);
    if (this.#happens(this.rates.conflict)) throw this.#trouble("store-conflict", "createOnce", key);
    if (this.#happens(this.rates.unavailable)) throw this.#trouble("store-unavailable", "createOnce", key);
    if (this.#happens(this.rates.lostRequest)) throw this.#trouble("store-outcome-unknown", "createOnce", key);
    if (this.#happens(this.rates.delayed)) {
      const copy = bytes.slice();
      this.#clock.schedule(this.#random.nextFloat() * 10 * this.rates.maxLatencyMs, () => void this.#inner.createOnce(key, copy));
      throw this.#trouble("store-outcome-unknown", "createOnce", key);
    }
    if (this.#happens(this.rates.duplicate)) await this.#inner.createOnce(key, bytes, options);
    const result = await this.#inner.createOnce(key, bytes, options);
    await this.#delay(options);
    if (this.#happens(this.rates.lostReply)) throw this.#trouble("store-outcome-unknown", "createOnce", key);
    return result;
  }

  put(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<void> {
    return this.#idempotent("put", key, options, () => this.#inner.put(key, bytes, options));
  }

  get(key: string, range?: { start: number; end: number }, options?: GetOptions): Promise<Uint8Array | undefined> {
    return this.#idempotent("get", key, options, () => this.#inner.get(key, range, options));
  }

  getTail(key: string, lengthBytes: number, options?: StoreCallOptions): Promise<{ bytes: Uint8Array; sizeBytes: number } | undefined> {
    return this.#idempotent("getTail", key, options, () => this.#inner.getTail(key, lengthBytes, options));
  }

  head(key: string, options?: StoreCallOptions): Promise<ObjectInfo | undefined> {
    return this.#idempotent("head", key, options, () => this.#inner.head(key, options));
  }

  async list(prefix: string, after?: string, options?: StoreCallOptions): Promise<ListPage> {
    const page = await this.#idempotent("list", prefix, options, () => this.#inner.list(prefix, after, options));
    if (page.objects.length < 2 || !this.#happens(this.rates.partialList)) return page;
    const objects = page.objects.slice(0, 1 + this.#random.nextInt(page.objects.length - 1));
    return { objects, next: objects.at(-1)!.key };
  }

  delete(keys: readonly string[], options?: StoreCallOptions): Promise<void> {
    return this.#idempotent("delete", keys[0] ?? "", options, () => this.#inner.delete(keys, options));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #idempotent<T>(operation: string, key: string, options: StoreCallOptions | undefined, call: () => Promise<T>): Promise<T> {
    await this.#delay(options);
    if (this.#happens(this.rates.unavailable) || this.#happens(this.rates.lostRequest)) {
      throw this.#trouble("store-unavailable", operation, key);
    }
    const result = await call();
    await this.#delay(options);
    if (this.#happens(this.rates.lostReply)) throw this.#trouble("store-unavailable", operation, key);
    return result;
  }

  #happens(rate: number): boolean {
    return rate > 0 && this.#random.nextFloat() < rate;
  }

  async #delay(options: StoreCallOptions | undefined): Promise<void> {
    if (this.rates.maxLatencyMs > 0) await this.#clock.sleep(this.#random.nextFloat() * this.rates.maxLatencyMs, options?.signal);
  }

  #trouble(code: "store-conflict" | "store-unavailable" | "store-outcome-unknown", operation: string, key: string) {
    return storeTrouble(code, { store: this.description, operation, key, detail: "injected fault" });
  }
}
