/** The block cache's bounds and the memory leases. */
import { expect, test } from "bun:test";
import { LruCache } from "../../../../src/storage/cache/lru-cache.ts";
import { MemoryBudget } from "../../../../src/storage/cache/memory-budget.ts";
import { ReadAhead } from "../../../../src/storage/stream/read-ahead.ts";
import { settle } from "../../support/manual-clock.ts";

test("the least recently used values go first; one larger than the cache is not kept", () => {
  const cache = new LruCache<string>(100);
  cache.set("a", "A", 40);
  cache.set("b", "B", 40);
  expect(cache.get("a")).toBe("A");
  cache.set("c", "C", 40);
  expect(cache.get("b")).toBeUndefined();
  expect(cache.get("a")).toBe("A");
  cache.set("d", "D", 101);
  expect(cache.get("d")).toBeUndefined();
  cache.set("a", "A2", 10);
  expect([cache.usedBytes, cache.size]).toEqual([50, 2]);
});

test("M12: leases wait in order, give back parts, and leave nothing behind", async () => {
  const budget = new MemoryBudget(100);
  const first = await budget.acquire(80);
  const order: string[] = [];
  const second = budget.acquire(50).then((lease) => {
    order.push("second");
    return lease;
  });
  const third = budget.acquire(10).then((lease) => {
    order.push("third");
    return lease;
  });
  await settle();
  expect(order).toEqual([]);
  expect(budget.tryAcquire(1)).toBeUndefined();
  first.shrinkTo(50);
  await settle();
  expect(order).toEqual(["second"]);
  first.release();
  const leases = [await second, await third];
  expect(order).toEqual(["second", "third"]);
  for (const lease of leases) lease.release();
  expect(budget.usedBytes).toBe(0);
  expect(() => first.release()).toThrow("a lease is released once");
});

test("an aborted wait gives up its place", async () => {
  const budget = new MemoryBudget(100);
  const first = await budget.acquire(100);
  const abort = new AbortController();
  const second = budget.acquire(100, abort.signal);
  const third = budget.acquire(10);
  abort.abort(new Error("left"));
  await expect(second).rejects.toThrow("left");
  first.release();
  (await third).release();
  expect(budget.usedBytes).toBe(0);
});

test("a window doubles for a reader that goes on where it stopped, up to the limit, and readers do not disturb each other", () => {
  const readAhead = new ReadAhead(1 << 20);
  expect(readAhead.take(10)).toBe(0);
  expect(readAhead.advance(20, 0)).toBe(0);
  const window = readAhead.take(20);
  expect(window).toBeGreaterThan(0);
  expect(readAhead.advance(30, window)).toBe(window * 2);
  expect(readAhead.take(31)).toBe(0);
  let at = 30;
  for (let i = 0; i < 10; i += 1) readAhead.advance(at + 1, readAhead.take(at++));
  expect(readAhead.take(at)).toBe(1 << 20);
});
