/** When a store counts as away and when it is back, what is logged, and how few requests an absent store gets. */
import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import { RetryBudget } from "../../../src/objectstore/retry-budget.ts";
import { DEFAULT_RETRY_POLICY, RetryingStore } from "../../../src/objectstore/retrying-store.ts";
import { WatchedStore } from "../../../src/objectstore/store-watch.ts";
import { type StoreTroubleCode, storeTrouble } from "../../../src/objectstore/troubles.ts";
import { drive } from "../controller/cluster-harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { NO_METRICS, RecordingLogger } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";

function newWorld() {
  const clock = new ManualClock();
  const logger = new RecordingLogger();
  const inner = new MemoryStore(clock);
  const world = {
    clock,
    logger,
    asked: 0,
    trouble: undefined as StoreTroubleCode | undefined,
    store: undefined as unknown as WatchedStore,
  };
  const get = inner.get.bind(inner);
  inner.get = async (key, range) => {
    world.asked++;
    if (world.trouble !== undefined) throw storeTrouble(world.trouble, { store: "told", operation: "get", key, detail: "as told" });
    return get(key, range);
  };
  world.store = new WatchedStore(inner, clock, logger, NO_METRICS);
  return world;
}

const ask = (world: ReturnType<typeof newWorld>): Promise<string> =>
  world.store.get("a").then(
    () => "answered",
    (error: Trouble) => error.code,
  );

describe("the watch", () => {
  test("four failures are nothing, the fifth is an outage, the first answer its end", async () => {
    const world = newWorld();
    world.trouble = "store-unavailable";
    for (let failures = 0; failures < 4; failures++) await ask(world);
    expect(world.store.outage).toBeUndefined();
    await ask(world);
    expect(world.store.outage?.code).toBe("store-unavailable");
    world.trouble = undefined;
    await world.clock.advance(1_000);
    expect(await ask(world)).toBe("answered");
    expect(world.store.outage).toBeUndefined();
    expect(world.logger.names()).toEqual(["store.unavailable", "store.recovered"]);
  });

  test("two failures ten seconds apart are an outage too; an answer between them, or a conflict, is none", async () => {
    const world = newWorld();
    for (const between of [undefined, "store-conflict"] as const) {
      world.trouble = "store-timeout";
      await ask(world);
      world.trouble = between;
      await ask(world);
      await world.clock.advance(10_000);
      world.trouble = "store-timeout";
      await ask(world);
      expect(world.store.outage).toBeUndefined();
      world.trouble = undefined;
      await ask(world);
    }
    world.trouble = "store-timeout";
    await ask(world);
    await world.clock.advance(10_000);
    await ask(world);
    expect(world.store.outage?.code).toBe("store-timeout");
  });

  test("an absent store is asked four times a second however many want it, and said to be absent once a minute", async () => {
    const world = newWorld();
    world.trouble = "store-outcome-unknown";
    for (let failures = 0; failures < 5; failures++) await ask(world);
    world.asked = 0;
    const answers = new Set<string>();
    for (let tenths = 0; tenths < 1_500; tenths++) {
      for (let callers = 0; callers < 20; callers++) answers.add(await ask(world));
      await world.clock.advance(100);
    }
    expect(world.asked).toBeLessThanOrEqual(4 * 150 + 4);
    expect(world.asked).toBeGreaterThan(500);
    // What was not sent has certainly not been applied.
    expect([...answers].sort()).toEqual(["store-outcome-unknown", "store-unavailable"]);
    expect(world.logger.names()).toEqual(["store.unavailable", "store.unavailable", "store.unavailable"]);
  });

  test("a request that is held back says what the others were told, so that a wrong endpoint stays one", async () => {
    const world = newWorld();
    world.trouble = "store-unreachable";
    const answers = new Set<string>();
    for (let calls = 0; calls < 20; calls++) answers.add(await ask(world));
    expect([...answers]).toEqual(["store-unreachable"]);
    expect(world.asked).toBe(9);
  });
});

describe("the retry budget", () => {
  test("bounds the retries of a store that answers nothing; answers fill it again", async () => {
    const clock = new ManualClock();
    const inner = new MemoryStore(clock);
    let asked = 0;
    let isAway = true;
    inner.get = async (key) => {
      asked++;
      if (isAway) throw storeTrouble("store-unavailable", { store: "told", operation: "get", key, detail: "as told" });
      return undefined;
    };
    const budget = new RetryBudget();
    const store = new RetryingStore(inner, clock, new SeededRandom(1), DEFAULT_RETRY_POLICY, { budget });
    const calls = 200;
    for (let call = 0; call < calls; call++) await expect(drive(clock, store.get("a"), 500)).rejects.toBeInstanceOf(Trouble);
    // 500 tokens are 100 retries.
    expect(asked).toBe(calls + 100);
    isAway = false;
    for (let call = 0; call < 10; call++) await store.get("a");
    expect(budget.tokens).toBe(10);
  });

  test("a retry that worked gives back what it took; a timeout costs twice as much", () => {
    const budget = new RetryBudget();
    const cost = budget.tryTake("store-unavailable") ?? 0;
    expect(budget.tokens).toBe(495);
    budget.refund(cost);
    expect(budget.tokens).toBe(500);
    expect(budget.tryTake("store-timeout")).toBe(10);
    budget.refund(0);
    expect(budget.tokens).toBe(491);
  });
});

test("an attempt that goes silent is given up before the whole call's deadline, so that the next connection is tried", async () => {
  const clock = new ManualClock();
  const inner = new MemoryStore(clock);
  const deadlines: number[] = [];
  inner.get = async (key, _range, options?: { readonly deadlineMs?: number }) => {
    deadlines.push(options?.deadlineMs ?? 0);
    if (deadlines.length === 1) throw storeTrouble("store-timeout", { store: "told", operation: "get", key, detail: "silent" });
    return undefined;
  };
  const store = new RetryingStore(inner, clock, new SeededRandom(1));
  await drive(clock, store.get("a", { start: 0, end: 262_144 }, { deadlineMs: 60_000 }));
  expect(deadlines).toEqual([16_000, 16_000]);
});
