/** The real clock, generator and codecs keep what their interfaces promise. */
import { describe, expect, test } from "bun:test";
import { randomUuidBytes } from "../../../src/base/random.ts";
import { SystemClock } from "../../../src/base/system-clock.ts";
import { readContentSize, SystemJobs } from "../../../src/base/system-jobs.ts";
import { SystemRandom } from "../../../src/base/system-random.ts";

describe("SystemClock", () => {
  const clock = new SystemClock();

  test("schedules, cancels, defers and sleeps", async () => {
    const log: string[] = [];
    const cancelled = clock.schedule(0, () => log.push("cancelled"));
    cancelled.cancel();
    clock.defer(() => log.push("deferred"));
    log.push("now");
    // A timer does not keep the process alive, an awaited test does.
    await clock.sleep(1);
    expect(log).toEqual(["now", "deferred"]);
    expect(Number.isInteger(clock.wallMs())).toBe(true);
    expect(clock.monotonicMs()).toBeGreaterThan(0);
  });

  test("a sleep ends with the reason of its signal", async () => {
    const abort = new AbortController();
    const sleeping = clock.sleep(1_000_000, abort.signal);
    abort.abort(new Error("enough"));
    expect(sleeping).rejects.toThrow("enough");
    expect(clock.sleep(0, AbortSignal.abort(new Error("before")))).rejects.toThrow("before");
  });

  test("a wait longer than the runtime's timers does not fire at once", async () => {
    let fired = false;
    const timer = clock.schedule(2 ** 40, () => {
      fired = true;
    });
    await clock.sleep(5);
    expect(fired).toBe(false);
    timer.cancel();
  });
});

describe("SystemRandom", () => {
  test("stays in its ranges", () => {
    const random = new SystemRandom();
    for (let round = 0; round < 1000; round++) {
      expect(random.nextInt(3)).toBeLessThan(3);
      const float = random.nextFloat();
      expect(float >= 0 && float < 1).toBe(true);
    }
    expect(() => random.nextInt(0)).toThrow();
    expect(randomUuidBytes(random).length).toBe(16);
  });
});

describe("SystemJobs", () => {
  const jobs = new SystemJobs();
  const bytes = Buffer.from("some words that repeat, some words that repeat. ".repeat(1000));

  test("zstd there and back", async () => {
    const frame = await jobs.zstdCompress(bytes, 1);
    expect(frame.length).toBeLessThan(bytes.length / 10);
    expect(Buffer.from(await jobs.zstdDecompress(frame, bytes.length)).equals(bytes)).toBe(true);
  });

  test("what would be larger than allowed is refused before it is decompressed", async () => {
    const frame = await jobs.zstdCompress(bytes, 1);
    expect(readContentSize(frame)).toBe(bytes.length);
    expect(jobs.zstdDecompress(frame, bytes.length - 1)).rejects.toThrow("announces");
  });

  test("damage is refused", async () => {
    const frame = Buffer.from(await jobs.zstdCompress(bytes, 1));
    expect(jobs.zstdDecompress(frame.subarray(0, frame.length - 4), bytes.length)).rejects.toThrow();
    expect(jobs.zstdDecompress(Buffer.from("not zstd at all"), 1000)).rejects.toThrow();
  });
});
