/** What is repeated and what is not; faults that are the same for the same seed; metering; the probe against stores that lie. */
import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { FaultyStore, NO_FAULTS } from "../../../src/objectstore/faulty-store.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import { MeteredStore } from "../../../src/objectstore/metered-store.ts";
import type { PutResult } from "../../../src/objectstore/object-store.ts";
import { probeConditionalWrites } from "../../../src/objectstore/probe-store.ts";
import { RetryingStore } from "../../../src/objectstore/retrying-store.ts";
import { storeTrouble } from "../../../src/objectstore/troubles.ts";
import type { Metrics } from "../../../src/telemetry/telemetry.ts";
import { drive } from "../controller/cluster-harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { NO_METRICS } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";

type Code = Parameters<typeof storeTrouble>[0];

/** Answers the given troubles first, then works. */
class ScriptedStore extends MemoryStore {
  calls = 0;
  troubles: Code[] = [];

  #next(): void {
    this.calls++;
    const code = this.troubles.shift();
    if (code !== undefined) throw storeTrouble(code, { store: "scripted", operation: "test", key: "a", detail: "as told" });
  }

  override async createOnce(key: string, bytes: Uint8Array): Promise<PutResult> {
    this.#next();
    return super.createOnce(key, bytes);
  }

  override async get(key: string, range?: { start: number; end: number }): Promise<Uint8Array | undefined> {
    this.#next();
    return super.get(key, range);
  }
}

function newWorld(troubles: Code[]) {
  const clock = new ManualClock();
  const inner = new ScriptedStore(clock);
  inner.troubles = troubles;
  return { clock, inner, store: new RetryingStore(inner, clock, new SeededRandom(1)) };
}

const X = Buffer.from("x");

describe("retrying store", () => {
  test("repeats a create after outcomes that certainly left nothing", async () => {
    const { clock, inner, store } = newWorld(["store-unavailable", "store-conflict", "store-full"]);
    expect(await drive(clock, store.createOnce("a", X))).toEqual({ outcome: "created" });
    expect(inner.calls).toBe(4);
  });

  test("never repeats a create after an unknown outcome", async () => {
    for (const code of ["store-outcome-unknown", "store-timeout"] as const) {
      const { clock, inner, store } = newWorld([code]);
      await expect(drive(clock, store.createOnce("a", X))).rejects.toMatchObject({ code });
      expect(inner.calls).toBe(1);
    }
  });

  test("repeats a read after anything retryable, and nothing that is not", async () => {
    const patient = newWorld(["store-unavailable", "store-timeout", "store-checksum-mismatch", "store-outcome-unknown"]);
    expect(await drive(patient.clock, patient.store.get("a"))).toBeUndefined();
    expect(patient.inner.calls).toBe(5);
    const denied = newWorld(["store-access-denied"]);
    await expect(drive(denied.clock, denied.store.get("a"))).rejects.toMatchObject({ code: "store-access-denied" });
    expect(denied.inner.calls).toBe(1);
  });

  test("gives up after its attempts, at its deadline, and when told to", async () => {
    const endless = () => Array.from({ length: 100 }, (): Code => "store-unavailable");
    const spent = newWorld(endless());
    await expect(drive(spent.clock, spent.store.get("a"))).rejects.toMatchObject({ code: "store-unavailable" });
    expect(spent.inner.calls).toBe(6);
    const late = newWorld(endless());
    await expect(drive(late.clock, late.store.get("a", undefined, { deadlineMs: 1 }), 1)).rejects.toBeInstanceOf(Trouble);
    expect(late.inner.calls).toBeLessThan(3);
    const stopped = newWorld(endless());
    const controller = new AbortController();
    const call = stopped.store.get("a", undefined, { signal: controller.signal });
    controller.abort(new Error("stopped"));
    await expect(drive(stopped.clock, call)).rejects.toThrow("stopped");
  });
});

describe("faulty store", () => {
  test("does the same for the same seed", async () => {
    const run = async (seed: number): Promise<string> => {
      const clock = new ManualClock();
      const rates = { ...NO_FAULTS, maxLatencyMs: 10, unavailable: 0.2, conflict: 0.1, lostReply: 0.2, delayed: 0.1, duplicate: 0.1 };
      const store = new FaultyStore(new MemoryStore(clock), clock, new SeededRandom(seed), rates);
      const seen: string[] = [];
      for (let index = 0; index < 60; index++) {
        const key = `k${index % 20}`;
        seen.push(
          await drive(
            clock,
            store.createOnce(key, X).then(
              ({ outcome }) => outcome,
              (error: Trouble) => error.code,
            ),
          ),
        );
      }
      return `${seen.join(" ")} ${clock.monotonicMs()}`;
    };
    expect(await run(4)).toBe(await run(4));
    expect(await run(4)).not.toBe(await run(5));
  });
});

describe("metered store", () => {
  test("counts requests, bytes and errors by operation", async () => {
    const clock = new ManualClock();
    const counts = new Map<string, number>();
    const metrics: Metrics = {
      ...NO_METRICS,
      counter: (name, _help, labels = {}) => ({
        add: (value) => {
          const id = [name, ...Object.values(labels)].join(" ");
          counts.set(id, (counts.get(id) ?? 0) + value);
        },
      }),
    };
    const inner = new ScriptedStore(clock);
    const store = new MeteredStore(inner, clock, metrics);
    await store.createOnce("a", Buffer.from("12345"));
    await store.get("a");
    inner.troubles = ["store-unavailable"];
    await expect(store.get("a")).rejects.toBeInstanceOf(Trouble);
    expect(Object.fromEntries(counts)).toEqual({
      weir_store_sent_bytes_total: 5,
      weir_store_received_bytes_total: 5,
      "weir_store_requests_total createOnce": 1,
      "weir_store_requests_total get": 2,
      "weir_store_errors_total get store-unavailable": 1,
    });
  });
});

describe("the probe of conditional writes", () => {
  const refused = { code: "store-no-conditional-writes", retryable: false };

  test("refuses a store that overwrites, and one that says it created again", async () => {
    const clock = new ManualClock();
    class Overwriting extends MemoryStore {
      override async createOnce(key: string, bytes: Uint8Array): Promise<PutResult> {
        await this.put(key, bytes);
        return { outcome: "created" };
      }
    }
    class Forgetful extends MemoryStore {
      override async createOnce(key: string, bytes: Uint8Array): Promise<PutResult> {
        await super.createOnce(key, bytes);
        return { outcome: "created" };
      }
    }
    for (const store of [new Overwriting(clock), new Forgetful(clock)]) {
      await expect(probeConditionalWrites(store, new SeededRandom(1))).rejects.toMatchObject(refused);
      expect((await store.list("probe/")).objects).toEqual([]);
    }
  });

  test("is not confused by a first answer that was lost", async () => {
    const { clock, inner } = newWorld(["store-outcome-unknown"]);
    await drive(clock, probeConditionalWrites(inner, new SeededRandom(1)));
  });
});
