/** The block cache's bounds, who holds a block, read-ahead and the memory leases. */
import { expect, test } from "bun:test";
import { BufferPool, POISON_BYTE } from "../../../../src/base/buffer-pool.ts";
import { BlockCache } from "../../../../src/storage/cache/block-cache.ts";
import { HeldBlock } from "../../../../src/storage/cache/held-block.ts";
import { LruCache } from "../../../../src/storage/cache/lru-cache.ts";
import { MemoryBudget } from "../../../../src/storage/cache/memory-budget.ts";
import { DataBlock } from "../../../../src/storage/segment/data-block.ts";
import { ReadAhead } from "../../../../src/storage/stream/read-ahead.ts";
import { ManualClock, settle } from "../../support/manual-clock.ts";

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
  const cursor = readAhead.take(10);
  expect(cursor.windowBytes).toBe(0);
  expect(readAhead.advance(20, cursor, 5)).toBe(0);
  expect(readAhead.take(20)).toBe(cursor);
  const { windowBytes } = cursor;
  expect(windowBytes).toBeGreaterThan(0);
  expect(readAhead.advance(30, cursor, 5)).toBe(windowBytes * 2);
  expect(readAhead.take(31).windowBytes).toBe(0);
  let at = 30;
  for (let i = 0; i < 10; i += 1) readAhead.advance(at + 1, readAhead.take(at++), 5);
  expect(readAhead.take(at).windowBytes).toBe(1 << 20);
});

test("what is asked for ahead is topped up when half of it is used, and by one at a time", () => {
  const readAhead = new ReadAhead(1 << 20);
  let at = 0;
  const read = (bytes: number): number => {
    const cursor = readAhead.take(at);
    at += 1;
    return readAhead.advance(at, cursor, bytes);
  };
  for (let i = 0; i < 5; i += 1) read(100);
  const cursor = readAhead.take(at);
  readAhead.advance(at, cursor, 0);
  Object.assign(cursor, { aheadOffset: at + 1_000, aheadBytes: 1 << 20 });
  expect(read(1 << 18)).toBe(0);
  expect(read((1 << 18) - 1)).toBe(0);
  cursor.isFetching = true;
  expect(read(1)).toBe(0);
  cursor.isFetching = false;
  expect(read(0)).toBe(1 << 19);
  // A reader that has overtaken what was asked for begins anew.
  at += 2_000;
  readAhead.advance(at, cursor, 1);
  expect([cursor.aheadOffset, cursor.aheadBytes]).toEqual([at, 0]);
});

function heldBlock(pool: BufferPool, fill: number): HeldBlock {
  const memory = pool.take(4096);
  memory.fill(fill);
  return new HeldBlock(DataBlock.create(1, 4000, memory), memory, pool, 1);
}

test("a block's memory is used again when its last holder has released it, not before", () => {
  const pool = new BufferPool({ clock: new ManualClock(), retainedBytes: 1 << 20, idleMs: 100, poisonReleased: true });
  const held = heldBlock(pool, 1).retain();
  const { bytes } = held.block;
  held.release();
  expect(bytes[100]).toBe(1);
  held.release();
  expect(bytes[100]).toBe(POISON_BYTE);
  expect(() => held.release()).toThrow("released once by each holder");
  expect(() => held.retain()).toThrow("nobody's to hand on");
});

test("blocks that a scan has passed fill little of the cache; one that is asked for again stays", () => {
  const pool = new BufferPool({ clock: new ManualClock(), retainedBytes: 1 << 20, idleMs: 100 });
  const size = heldBlock(pool, 0).sizeBytes;
  const cache = new BlockCache(40 * size);
  for (let i = 0; i < 30; i += 1) {
    cache.set(`b${i}`, heldBlock(pool, i));
    cache.notePassed(`b${i}`);
    if (i % 10 === 9) expect(cache.get(`b${i}`)?.block.bytes[100]).toBe(i);
    cache.notePassed(`b${i}`);
  }
  const there = Array.from({ length: 30 }, (_, i) => i).filter((i) => cache.has(`b${i}`));
  // A quarter of the capacity for what was passed last, and the three that were wanted twice.
  expect(there).toEqual([9, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
  expect(cache.usedBytes).toBe(12 * size);
  // Unread blocks have the rest, and push out the oldest.
  for (let i = 0; i < 40; i += 1) cache.set(`c${i}`, heldBlock(pool, i));
  expect(cache.usedBytes).toBe(39 * size);
  expect(cache.has("b9")).toBe(false);
});
