/**
 * The bucket as several processes see it: one shared MemoryStore, and per process a client whose requests travel, arrive (atomically) and are answered as
 * separate events. Requests in flight outlive the process that sent them. Faults: faults.ts; after a createOnce's deadline its outcome is not known.
 */

import type { MemoryStore } from "../../src/objectstore/memory-store.ts";
import type { ListPage, ObjectInfo, ObjectStore, PutResult, StoreCallOptions } from "../../src/objectstore/object-store.ts";
import { type StoreTroubleCode, storeTrouble } from "../../src/objectstore/troubles.ts";
import type { Faults } from "./faults.ts";
import type { SimProcess } from "./process.ts";

const DEFAULT_DEADLINE_MS = 30_000;
const TYPICAL_MS = 6;
const TAIL_MS = 3_000;
const DELAYED_MS = 20_000;
const SLOW_LIST_MS = 6_000;

interface Call<T> {
  readonly operation: string;
  readonly key: string;
  readonly apply: () => Promise<T>;
  readonly options: StoreCallOptions | undefined;
}

interface Refusal {
  readonly code: StoreTroubleCode;
  readonly detail: string;
  readonly isLate: boolean;
}

export class SimStore implements ObjectStore {
  readonly description = "sim://bucket";
  readonly clockSkewMs = undefined;
  /** What is on its way is the network's. */
  readonly keepsNoBytes = true;
  private readonly bucket: MemoryStore;
  private readonly process: SimProcess;
  private readonly faults: Faults;

  constructor(bucket: MemoryStore, process: SimProcess, faults: Faults) {
    this.bucket = bucket;
    this.process = process;
    this.faults = faults;
  }

  createOnce(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<PutResult> {
    const sent = bytes.slice();
    const apply = async (): Promise<PutResult> => {
      const result = await this.bucket.createOnce(key, sent);
      if (result.outcome === "exists") this.faults.strikes.hit("store.412");
      return result;
    };
    return this.call({ operation: "createOnce", key, apply, options });
  }

  put(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<void> {
    const sent = bytes.slice();
    return this.call({ operation: "put", key, apply: () => this.bucket.put(key, sent), options });
  }

  async get(key: string, range?: { start: number; end: number }, options?: StoreCallOptions): Promise<Uint8Array | undefined> {
    const bytes = await this.call({ operation: "get", key, apply: () => this.bucket.get(key, range), options });
    if (bytes !== undefined) this.flip(key, bytes);
    return bytes;
  }

  async getTail(
    key: string,
    lengthBytes: number,
    options?: StoreCallOptions,
  ): Promise<{ bytes: Uint8Array; sizeBytes: number } | undefined> {
    const tail = await this.call({ operation: "getTail", key, apply: () => this.bucket.getTail(key, lengthBytes), options });
    if (tail !== undefined) this.flip(key, tail.bytes);
    return tail;
  }

  head(key: string, options?: StoreCallOptions): Promise<ObjectInfo | undefined> {
    return this.call({ operation: "head", key, apply: () => this.bucket.head(key), options });
  }

  async list(prefix: string, after?: string, options?: StoreCallOptions): Promise<ListPage> {
    const page = await this.call({ operation: "list", key: prefix, apply: () => this.bucket.list(prefix, after), options });
    if (page.objects.length < 2 || !this.strikes(this.faults.rates.storePartialList, "store.short-page")) return page;
    const objects = page.objects.slice(0, 1 + this.process.random.nextInt(page.objects.length - 1));
    return { objects, next: objects.at(-1)!.key };
  }

  delete(keys: readonly string[], options?: StoreCallOptions): Promise<void> {
    return this.call({ operation: "delete", key: keys[0] ?? "", apply: () => this.bucket.delete(keys), options });
  }

  async close(): Promise<void> {}

  private call<T>(call: Call<T>): Promise<T> {
    const { process } = this;
    const { operation, key, options } = call;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    if (!process.effect(`store.${operation}`)) return promise;
    process.scheduler.note(`${operation} ${key}`, process.number, 0);
    let isSettled = false;
    const signal = options?.signal;
    /** True for the first outcome only. */
    const settle = (): boolean => {
      if (isSettled) return false;
      isSettled = true;
      deadline.run = undefined;
      signal?.removeEventListener("abort", onAbort);
      return true;
    };
    const fail = (code: StoreTroubleCode, detail: string): void => {
      if (settle()) reject(storeTrouble(code, { store: this.description, operation, key, detail }));
    };
    const answer = (value: T): void => {
      if (settle()) resolve(value);
    };
    const onAbort = (): void => {
      if (settle()) reject(signal?.reason);
    };
    const isCreate = operation === "createOnce";
    const deadline = process.post(options?.deadlineMs ?? DEFAULT_DEADLINE_MS, "store.deadline", () =>
      fail(isCreate ? "store-outcome-unknown" : "store-timeout", "no answer in time"),
    );
    signal?.addEventListener("abort", onAbort, { once: true });
    this.send(call, isCreate, answer, fail);
    return promise;
  }

  private send<T>(
    call: Call<T>,
    isCreate: boolean,
    answer: (value: T) => void,
    fail: (code: StoreTroubleCode, detail: string) => void,
  ): void {
    const { process, faults } = this;
    const { rates } = faults;
    const { scheduler } = process;
    const unknown = isCreate ? "store-outcome-unknown" : "store-unavailable";
    const refusal = this.pickRefusal(isCreate, unknown);
    if (refusal !== undefined) {
      if (refusal.isLate) {
        scheduler.post(undefined, process.random.nextFloat() * DELAYED_MS, "store.delayed", () => {
          call.apply().catch(() => {});
        });
      }
      process.post(this.latency(), "store.failed", () => fail(refusal.code, refusal.detail));
      return;
    }
    const loses = this.strikes(rates.storeLostReply, "store.lost-reply");
    if (this.strikes(rates.storeDuplicate, "store.duplicate")) {
      scheduler.post(undefined, this.latency() * 4, "store.duplicate", () => {
        call.apply().catch(() => {});
      });
    }
    const slowMs =
      call.operation === "list" && this.strikes(rates.storeSlowList, "store.slow-list") ? process.random.nextFloat() * SLOW_LIST_MS : 0;
    scheduler.post(undefined, this.latency() + slowMs, "store.arrives", () => {
      call.apply().then(
        (value) => {
          if (loses) process.post(this.latency(), "store.reply-lost", () => fail(unknown, "reply lost"));
          else process.post(this.latency(), "store.reply", () => answer(value));
        },
        (error: unknown) => process.post(this.latency(), "store.error", () => fail("store-object-short", String(error))),
      );
    });
  }

  /** How the request fails on its way, if it does; `isLate`: it arrives all the same, after the caller was told. */
  private pickRefusal(isCreate: boolean, unknown: StoreTroubleCode): Refusal | undefined {
    const { rates, isStoreDown } = this.faults;
    if (isStoreDown) return { code: "store-unavailable", detail: "503 (outage)", isLate: false };
    if (isCreate && this.strikes(rates.storeConflict, "store.409")) return { code: "store-conflict", detail: "409", isLate: false };
    if (this.strikes(rates.storeUnavailable, "store.503")) return { code: "store-unavailable", detail: "503", isLate: false };
    if (this.strikes(rates.storeLostRequest, "store.lost-request")) return { code: unknown, detail: "request lost", isLate: false };
    if (this.strikes(rates.storeDelayed, "store.delayed"))
      return { code: unknown, detail: "the request is still on its way", isLate: true };
    return undefined;
  }

  /** One way. */
  private latency(): number {
    const { random } = this.process;
    const typical = TYPICAL_MS * (0.3 + random.nextFloat());
    return this.strikes(this.faults.rates.storeTail, "store.slow") ? typical + random.nextFloat() ** 3 * TAIL_MS : typical;
  }

  private flip(key: string, bytes: Uint8Array): void {
    if (!key.includes("/data/") || bytes.length === 0 || !this.strikes(this.faults.rates.storeBitFlip, "store.bit-flip")) return;
    const at = this.process.random.nextInt(bytes.length);
    bytes[at]! ^= 1 << this.process.random.nextInt(8);
  }

  private strikes(rate: number, kind: string): boolean {
    if (rate === 0 || this.process.random.nextFloat() >= rate) return false;
    this.faults.strikes.hit(kind);
    return true;
  }
}
