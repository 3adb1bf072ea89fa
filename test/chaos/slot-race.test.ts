/** A short race of two processes for the log's slots on each S3 server; `bun test/chaos/slot-race.ts` runs the long one (10,000 slots). */
import { describe, expect, test } from "bun:test";
import { S3_SERVERS, whyNoS3Server } from "../support/s3-servers.ts";
import { raceForSlots } from "./slot-race.ts";

const SLOTS = 200;

for (const kind of S3_SERVERS) {
  const reason = whyNoS3Server(kind);
  describe.skipIf(reason !== undefined)(`races on the log's slots on ${kind}${reason === undefined ? "" : ` (skipped: ${reason})`}`, () => {
    test("have one winner a slot, both know which, and the images are equal", async () => {
      const result = await raceForSlots(kind, SLOTS, 7);
      expect(result.wonBy[0] + result.wonBy[1]).toBe(SLOTS);
      expect(Math.min(...result.wonBy)).toBeGreaterThan(0);
      expect(result.lost).toBeGreaterThan(0);
    }, 900_000);
  });
}
