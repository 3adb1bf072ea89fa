/** The real clock, generator and codecs keep what their interfaces promise. */
import { describe, expect, test } from "bun:test";
import { randomUuidBytes } from "../../../src/base/random.ts";
import { SystemClock } from "../../../src/base/system-clock.ts";
import { SystemJobs } from "../../../src/base/system-jobs.ts";
import { SystemRandom } from "../../../src/base/system-random.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";

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
  const jobs = new SystemJobs(loadAddon().zstdDecompressInto);
  const bytes = Buffer.from("some words that repeat, some words that repeat. ".repeat(1000));

  test("zstd there and back", async () => {
    const frame = await jobs.zstdCompress(bytes, 1);
    expect(frame.length).toBeLessThan(bytes.length / 10);
    const content = new Uint8Array(bytes.length + 2).fill(7);
    expect(await jobs.zstdDecompressInto(frame, content)).toBe(bytes.length);
    expect(Buffer.from(content.buffer, 0, bytes.length).equals(bytes)).toBe(true);
    expect([...content.subarray(bytes.length)]).toEqual([7, 7]);
  });

  test("a view is written within its bounds", async () => {
    const memory = new Uint8Array(bytes.length + 20).fill(7);
    await jobs.zstdDecompressInto(await jobs.zstdCompress(bytes, 1), memory.subarray(10, 10 + bytes.length));
    expect(Buffer.from(memory.buffer, 10, bytes.length).equals(bytes)).toBe(true);
    expect([memory[9], memory[10 + bytes.length]]).toEqual([7, 7]);
  });

  test("what would be larger than its memory is refused", async () => {
    const frame = await jobs.zstdCompress(bytes, 1);
    await expect(jobs.zstdDecompressInto(frame, new Uint8Array(bytes.length - 1))).rejects.toThrow("too small");
  });

  test("damage is refused", async () => {
    const frame = Buffer.from(await jobs.zstdCompress(bytes, 1));
    const content = new Uint8Array(bytes.length);
    await expect(jobs.zstdDecompressInto(frame.subarray(0, frame.length - 4), content)).rejects.toThrow();
    await expect(jobs.zstdDecompressInto(Buffer.from("not zstd at all"), content)).rejects.toThrow();
  });
});
