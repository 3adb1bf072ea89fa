/** How many bytes of a log lie below an offset. */
import { expect, test } from "bun:test";
import { LogSizes } from "../../../src/coordinator/log-sizes.ts";

test("never more than there is, exact at the end, and what is cut off counts no more", () => {
  const sizes = new LogSizes(100);
  for (let end = 1; end <= 50; end++) sizes.note(end, 30);
  expect([sizes.bytes, sizes.bytesBelow(50), sizes.bytesBelow(99)]).toEqual([1500, 1500, 1500]);
  for (let offset = 0; offset <= 50; offset++) {
    const told = sizes.bytesBelow(offset);
    expect(told).toBeLessThanOrEqual(offset * 30);
    expect(told).toBeGreaterThan(offset * 30 - 150);
  }
  sizes.trimTo(25);
  expect(sizes.bytes).toBe(1500 - 720);
  expect(sizes.bytesBelow(20)).toBe(0);
  expect(sizes.bytesBelow(50)).toBe(sizes.bytes);
});

test("a batch that is read twice counts once", () => {
  const sizes = new LogSizes(10);
  sizes.note(5, 100);
  sizes.note(5, 100);
  sizes.note(3, 100);
  expect(sizes.bytes).toBe(100);
});
