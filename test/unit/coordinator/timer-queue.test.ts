import { expect, test } from "bun:test";
import { type Timer, TimerQueue } from "../../../src/coordinator/timer-queue.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { SeededRandom } from "../support/seeded-random.ts";

test("timers run once, at their latest time, in order; cancelled ones never", async () => {
  const clock = new ManualClock();
  const queue = new TimerQueue(clock);
  const ran: string[] = [];
  const [a, b, c] = ["a", "b", "c"].map((name) => queue.create(() => ran.push(`${name}@${clock.monotonicMs()}`)));
  a?.start(10);
  b?.start(5);
  c?.start(20);
  a?.start(30);
  c?.start(1);
  b?.cancel();
  await clock.advance(100);
  expect(ran).toEqual(["c@1", "a@30"]);
  expect(queue.size).toBe(0);
});

test("a timer may start itself and others from its callback, and close stops all", async () => {
  const clock = new ManualClock();
  const queue = new TimerQueue(clock);
  let runs = 0;
  const again: Timer = queue.create(() => {
    runs += 1;
    again.start(10);
  });
  again.start(10);
  await clock.advance(35);
  expect(runs).toBe(3);
  queue.close();
  await clock.advance(100);
  expect([runs, queue.size]).toEqual([3, 0]);
});

for (let seed = 1; seed <= 10; seed++) {
  test(`against a model, seed ${seed}`, async () => {
    const random = new SeededRandom(seed);
    const clock = new ManualClock();
    const queue = new TimerQueue(clock);
    const due = new Map<number, number>();
    const ran: string[] = [];
    const timers = Array.from({ length: 20 }, (_, id) => queue.create(() => ran.push(`${id}@${clock.monotonicMs()}`)));
    for (let step = 0; step < 400; step++) {
      const id = random.nextInt(20);
      if (random.chance(20)) {
        timers[id]?.cancel();
        due.delete(id);
      } else if (random.chance(70)) {
        const delayMs = random.nextInt(50);
        timers[id]?.start(delayMs);
        due.set(id, clock.monotonicMs() + delayMs);
      } else {
        const untilMs = clock.monotonicMs() + random.nextInt(20);
        const expected = [...due].filter(([, dueMs]) => dueMs <= untilMs).map(([each, dueMs]) => `${each}@${dueMs}`);
        for (const [each, dueMs] of [...due]) if (dueMs <= untilMs) due.delete(each);
        await clock.advance(untilMs - clock.monotonicMs());
        expect(ran.splice(0).sort()).toEqual(expected.sort());
      }
      expect(queue.size).toBe(due.size);
    }
  });
}
