/** What the memory settings are by default, from a small container to a large machine. */
import { expect, test } from "bun:test";
import { deriveMemoryDefaults } from "../../../src/config/broker-config.ts";

const MEBIBYTE = 1024 ** 2;
const GIBIBYTE = 1024 ** 3;

test.each([
  [128 * MEBIBYTE, 32 * MEBIBYTE],
  [GIBIBYTE, 128 * MEBIBYTE],
  [4 * GIBIBYTE, 512 * MEBIBYTE],
  [256 * GIBIBYTE, 512 * MEBIBYTE],
])("a limit of %d bytes gives a ring of %d", (limitBytes, ringBytes) => {
  expect(deriveMemoryDefaults(limitBytes)["ring.capacity.bytes"]).toBe(ringBytes);
});

test("together they leave most of the limit free", () => {
  for (const limitBytes of [GIBIBYTE, 8 * GIBIBYTE, 64 * GIBIBYTE]) {
    const sum = Object.values(deriveMemoryDefaults(limitBytes)).reduce((total, bytes) => total + bytes, 0);
    expect(sum).toBeLessThan(limitBytes / 2);
  }
});
