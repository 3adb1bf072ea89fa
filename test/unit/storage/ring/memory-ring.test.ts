/** The memory ring: what stays readable, and what is never overwritten. */
import { expect, test } from "bun:test";
import { MemoryRing, POISON_BYTE } from "../../../../src/storage/ring/memory-ring.ts";

const BLOCK = 4096;

function makeRing(blocks: number): MemoryRing {
  return new MemoryRing(new Uint8Array(blocks * BLOCK), true);
}

test("a position is readable until its block is claimed again", () => {
  const ring = makeRing(8);
  ring.claim(2);
  ring.bytes.fill(1, 0, 2 * BLOCK);
  ring.release(2);
  ring.claim(6);
  expect(ring.tryView(0, 10, 5)).toEqual(new Uint8Array(5).fill(1));
  ring.release(8);
  ring.claim(1);
  expect(ring.tryView(0, 10, 5)).toBeUndefined();
  expect(ring.tryView(0, BLOCK + 10, 5)).toEqual(new Uint8Array(5).fill(1));
  expect(ring.tryView(8, 0, 3)).toEqual(new Uint8Array(3).fill(POISON_BYTE));
});

test("what is not released is never claimed again, and a claim does not wrap", () => {
  const ring = makeRing(8);
  ring.claim(6);
  expect(() => ring.claim(3)).toThrow("wraps");
  ring.skipToStart();
  expect(ring.contiguousBlocks).toBe(8);
  expect(() => ring.claim(1)).toThrow("not durable");
  ring.release(6);
  ring.claim(5);
  expect(ring.heldBlocks).toBe(7);
  expect(() => ring.release(5)).toThrow("out of order");
  expect(() => new MemoryRing(new Uint8Array(5000), false)).toThrow("whole blocks");
});
