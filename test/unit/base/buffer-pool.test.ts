/** Buffers are used again, bounded while they lie free, poisoned for those who keep views, and given up when nobody needs them. */
import { expect, test } from "bun:test";
import { BufferPool, freeNow, POISON_BYTE } from "../../../src/base/buffer-pool.ts";
import { ManualClock } from "../server/fakes.ts";

function makePool(retainedBytes = 1_000_000) {
  const clock = new ManualClock();
  return { clock, pool: new BufferPool({ clock, retainedBytes, idleMs: 100, poisonReleased: true }) };
}

test("a buffer given back serves the next who wants about as much", () => {
  const { pool } = makePool();
  const first = pool.take(100_000);
  expect(first.length).toBeGreaterThanOrEqual(100_000);
  pool.give(first);
  expect(pool.freeBytes).toBe(first.length);
  expect(pool.take(10)).not.toBe(first);
  expect(pool.take(200_000)).not.toBe(first);
  expect(pool.take(99_000)).toBe(first);
  expect(pool.freeBytes).toBe(0);
});

test("a view kept after the buffer was given back shows poison", () => {
  const { pool } = makePool();
  const buffer = pool.take(5000);
  const view = buffer.subarray(0, 5000).fill(7);
  pool.give(buffer);
  expect(view.every((byte) => byte === POISON_BYTE)).toBe(true);
});

test("what lies free is bounded", () => {
  const { pool } = makePool(150_000);
  const buffers = [pool.take(100_000), pool.take(100_000)];
  for (const buffer of buffers) pool.give(buffer);
  expect(pool.freeBytes).toBeLessThanOrEqual(150_000);
  expect(buffers.map((buffer) => buffer.length).sort()).toEqual([0, expect.any(Number)]);
});

test("an unused pool gives everything up, a used one keeps it", async () => {
  const { pool, clock } = makePool();
  pool.give(pool.take(100_000));
  await clock.advance(60);
  pool.give(pool.take(100_000));
  await clock.advance(60);
  expect(pool.freeBytes).toBeGreaterThan(0);
  await clock.advance(100);
  expect(pool.freeBytes).toBe(0);
});

test("giving back twice is a bug", () => {
  const { pool } = makePool();
  const buffer = pool.take(5000);
  pool.give(buffer);
  expect(() => pool.give(buffer)).toThrow("given back once");
});

test("a part of a buffer is not freed", () => {
  const whole = new Uint8Array(1000);
  freeNow(whole.subarray(0, 10));
  expect(whole.length).toBe(1000);
  freeNow(whole);
  expect(whole.length).toBe(0);
});
