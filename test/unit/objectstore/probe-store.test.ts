/** The probe of conditional writes: what it refuses, what it forgives, and that it leaves nothing behind. */
import { describe, expect, test } from "bun:test";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import type { PutResult } from "../../../src/objectstore/object-store.ts";
import { probeConditionalWrites } from "../../../src/objectstore/probe-store.ts";
import { storeTrouble } from "../../../src/objectstore/troubles.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { SeededRandom } from "../support/seeded-random.ts";

class Store extends MemoryStore {
  creates = 0;
  /** What a create does instead; "as-it-should" leaves it to the store. */
  behave: (key: string, bytes: Uint8Array, attempt: number) => Promise<PutResult | "as-it-should"> = async () => "as-it-should";

  override async createOnce(key: string, bytes: Uint8Array): Promise<PutResult> {
    const outcome = await this.behave(key, bytes, ++this.creates);
    return outcome === "as-it-should" ? super.createOnce(key, bytes) : outcome;
  }
}

const makeStore = (): Store => new Store(new ManualClock());
const probe = (store: Store): Promise<void> => probeConditionalWrites(store, new SeededRandom(1));
const unknown = () =>
  storeTrouble("store-outcome-unknown", { store: "s", operation: "createOnce", key: "k", detail: "the answer was lost" });

describe("the probe", () => {
  test("passes a store that keeps its word", async () => {
    const store = makeStore();
    await probe(store);
    expect(store.creates).toBe(2);
    expect((await store.list("")).objects).toEqual([]);
  });

  test("refuses a store that overwrites, whatever it answers", async () => {
    for (const outcome of ["created", "exists"] as const) {
      const store = makeStore();
      store.behave = async (key, bytes) => {
        await store.put(key, bytes);
        return { outcome };
      };
      await expect(probe(store)).rejects.toMatchObject({ code: "store-no-conditional-writes", retryable: false, exitCode: 2 });
      expect((await store.list("")).objects).toEqual([]);
    }
  });

  test("refuses a store that keeps the first and calls the second created", async () => {
    const store = makeStore();
    store.behave = async (_key, _bytes, attempt) => (attempt === 1 ? "as-it-should" : { outcome: "created" });
    await expect(probe(store)).rejects.toMatchObject({ code: "store-no-conditional-writes" });
  });

  test("a lost answer to the first create decides nothing, applied or not", async () => {
    for (const isApplied of [true, false]) {
      const store = makeStore();
      store.behave = async (key, bytes, attempt) => {
        if (attempt > 1) return "as-it-should";
        if (isApplied) await store.put(key, bytes);
        throw unknown();
      };
      await probe(store);
      expect((await store.list("")).objects).toEqual([]);
    }
  });

  test("a lost answer to the second is the store's trouble, to be tried again, and no verdict", async () => {
    const store = makeStore();
    store.behave = async (_key, _bytes, attempt) => {
      if (attempt === 2) throw unknown();
      return "as-it-should";
    };
    await expect(probe(store)).rejects.toMatchObject({ code: "store-outcome-unknown", retryable: true });
    await probe(store);
  });
});
