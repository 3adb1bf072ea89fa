import { expect, test } from "bun:test";
import { javaHashCode, shardOfKey } from "../../../src/coordinator/shard-of-key.ts";

// Printed by a Java program.
const hashes: readonly [string, number][] = [
  ["", 0],
  ["a", 97],
  ["group", 98629247],
  ["console-consumer-12345", 158455506],
  ["polygenelubricants", -2147483648],
  ["\u00fcber-\ud83d\ude00", -1078194339],
];

test.each(hashes)("hash of %j is Java's", (text, hash) => {
  expect(javaHashCode(text)).toBe(hash);
});

test("the hash without a positive counterpart is partition 0, as Kafka's Utils.abs", () => {
  expect(shardOfKey("polygenelubricants", 50)).toBe(0);
  expect(shardOfKey("console-consumer-12345", 50)).toBe(6);
});
