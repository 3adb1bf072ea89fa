import { expect, test } from "bun:test";
import { inStretches, STRETCH_MS } from "../../../src/coordinator/in-stretches.ts";
import { ManualClock } from "../support/manual-clock.ts";

/** One visit takes a millisecond, a pause too. */
class Walk {
  readonly clock = new ManualClock();
  readonly visited: number[] = [];
  isOver = false;
  #workMs = 0;

  begin(count: number): Promise<void> {
    const clock = Object.create(this.clock, {
      monotonicMs: { value: () => this.clock.monotonicMs() + this.#workMs },
      sleep: { value: () => this.clock.sleep(1) },
    }) as ManualClock;
    const visit = (item: number): void => {
      this.#workMs += 1;
      this.visited.push(item);
    };
    return inStretches(
      clock,
      Array.from({ length: count }, (_, index) => index),
      visit,
      () => this.isOver,
    );
  }
}

test("the first stretch belongs to the caller's turn, and each ends after its time", async () => {
  const walk = new Walk();
  let isDone = false;
  const walking = walk.begin(3 * STRETCH_MS + 1).then(() => {
    isDone = true;
  });
  for (let stretch = 1; stretch <= 3; stretch++) {
    expect(walk.visited).toHaveLength(stretch * STRETCH_MS);
    expect(isDone).toBe(false);
    await walk.clock.advance(1);
  }
  await walking;
  expect(walk.visited).toEqual(Array.from({ length: 3 * STRETCH_MS + 1 }, (_, index) => index));
});

test("a short walk does not pause; one that is over goes no further", async () => {
  const short = new Walk();
  const walking = short.begin(STRETCH_MS - 1);
  expect(short.visited).toHaveLength(STRETCH_MS - 1);
  await walking;
  const long = new Walk();
  const ended = long.begin(100);
  long.isOver = true;
  await long.clock.advance(1);
  await ended;
  expect(long.visited).toHaveLength(STRETCH_MS);
});
