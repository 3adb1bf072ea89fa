import { describe, expect, test } from "bun:test";
import { FetchWaiters } from "../../../src/partition/fetch-waiters.ts";
import { PartitionLog } from "../../../src/partition/partition-log.ts";
import { ManualClock, settle } from "../support/manual-clock.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

const NEVER = new AbortController().signal;

function makeLog(partition: number): PartitionLog {
  return new PartitionLog({ topicId: "t", partition, term: 0, logStartOffset: 0, crc32c: tableCrc32c });
}

function watch(wait: Promise<void>): { isDone: boolean } {
  const seen = { isDone: false };
  wait.then(() => {
    seen.isDone = true;
  });
  return seen;
}

describe("waiting fetches", () => {
  test("bytes of all their logs count together; enough wakes, less does not; then they are on no list", async () => {
    const waiters = new FetchWaiters(new ManualClock());
    const logs = [makeLog(0), makeLog(1)];
    const waiting = watch(waiters.wait(logs, 100, 1000, NEVER));
    for (const bytes of [60, 39]) {
      for (const waiter of logs[bytes % 2]?.waiters ?? []) waiter.addBytes(bytes);
      await settle();
      expect(waiting.isDone).toBe(false);
    }
    for (const waiter of logs[0]?.waiters ?? []) waiter.addBytes(1);
    await settle();
    expect(waiting.isDone).toBe(true);
    expect(logs.map((log) => log.waiters.size)).toEqual([0, 0]);
    expect(waiters.size).toBe(0);
  });

  test("an aborted connection never waits, and leaves at once", async () => {
    const waiters = new FetchWaiters(new ManualClock());
    const log = makeLog(0);
    const closing = new AbortController();
    const waiting = watch(waiters.wait([log], 1, 1000, closing.signal));
    closing.abort();
    await settle();
    expect([waiting.isDone, log.waiters.size, waiters.size]).toEqual([true, 0, 0]);
    await waiters.wait([log], 1, 1000, closing.signal);
    expect(log.waiters.size).toBe(0);
  });

  test("one timer at a time serves any number of deadlines, each met in order and never early", async () => {
    const clock = new ManualClock();
    let timers = 0;
    const schedule = clock.schedule.bind(clock);
    clock.schedule = (delayMs, callback) => {
      timers += 1;
      const handle = schedule(delayMs, () => {
        timers -= 1;
        callback();
      });
      return {
        cancel: () => {
          timers -= 1;
          handle.cancel();
        },
      };
    };
    const waiters = new FetchWaiters(clock);
    const random = new SeededRandom(1);
    const log = makeLog(0);
    const late: number[] = [];
    let early = 0;
    for (let index = 0; index < 2000; index++) {
      const dueMs = clock.monotonicMs() + random.nextInt(3000);
      void waiters.wait([log], 1, dueMs - clock.monotonicMs(), NEVER).then(() => {
        if (clock.monotonicMs() < dueMs) early += 1;
        late.push(clock.monotonicMs() - dueMs);
      });
      if (random.chance(10)) await clock.advance(random.nextInt(20));
      expect(timers).toBeLessThanOrEqual(1);
    }
    await clock.advance(3010);
    expect([late.length, early, waiters.size, timers]).toEqual([2000, 0, 0, 0]);
    expect(Math.max(...late)).toBeLessThanOrEqual(5);
  });
});
