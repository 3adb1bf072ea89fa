/** What a start waits out, and what ends it: an outage, a wrong endpoint, a refusal. */
import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { StorePatience } from "../../../src/cli/store-patience.ts";
import { ManualClock, settle } from "../support/manual-clock.ts";
import { RecordingLogger } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const refusing = (code: string) => new Trouble({ code, message: `the store says ${code}`, retryable: true });

/** A call that fails with each code in turn, then answers; and time that passes whenever it waits. */
async function runThrough(codes: readonly string[], advanceMs: number) {
  const clock = new ManualClock();
  const logger = new RecordingLogger();
  const patience = new StorePatience(clock, new SeededRandom(1), logger);
  const left = [...codes];
  const waiting: (string | undefined)[] = [];
  let ended: string | undefined;
  const running = patience
    .run("asking", async () => {
      const code = left.shift();
      if (code !== undefined) throw refusing(code);
      return "answered";
    })
    .then(
      (value) => {
        ended = value;
      },
      (error: unknown) => {
        ended = (error as Trouble).code;
      },
    );
  while (ended === undefined) {
    await settle();
    if (ended !== undefined) break;
    waiting.push(patience.trouble?.code);
    await clock.advance(advanceMs);
  }
  await running;
  return { ended, waiting, events: logger.names(), left: left.length };
}

describe("a start's patience with the store", () => {
  test("an outage of any length is waited out, with one line at its begin and one at its end", async () => {
    const { ended, waiting, events } = await runThrough(new Array<string>(60).fill("store-unavailable"), 5_000);
    expect(ended).toBe("answered");
    expect(new Set(waiting)).toEqual(new Set(["store-unavailable"]));
    expect(events).toEqual(["start.waiting", "start.resumed"]);
  });

  test.each(["store-timeout", "store-outcome-unknown", "store-conflict", "store-credentials-expired"])("%s is waited out", async (code) => {
    expect((await runThrough([code, code, code], 5_000)).ended).toBe("answered");
  });

  test("an endpoint where nothing has ever answered is a mistake after a short while", async () => {
    const { ended, left } = await runThrough(new Array<string>(60).fill("store-unreachable"), 1_000);
    expect(ended).toBe("store-unreachable");
    expect(left).toBeGreaterThan(40);
  });

  test("one that refuses connections after it has answered is away, not wrong", async () => {
    const codes = ["store-unavailable", ...new Array<string>(60).fill("store-unreachable")];
    expect((await runThrough(codes, 5_000)).ended).toBe("answered");
  });

  test.each(["store-access-denied", "store-no-bucket", "store-checksum-mismatch"])("%s ends it at once", async (code) => {
    const { ended, events } = await runThrough([code], 5_000);
    expect([ended, events]).toEqual([code, []]);
  });
});
