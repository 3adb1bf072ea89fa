/** The budget is fair, never passes its capacity save for one oversized claim, and ends at zero. */
import { expect, test } from "bun:test";
import { ByteBudget } from "../../../src/base/byte-budget.ts";

test("claims are granted in order of arrival, however small", () => {
  const budget = new ByteBudget(100);
  const granted: string[] = [];
  expect(budget.tryClaim(80)).toBe(true);
  budget.waitFor(50, () => granted.push("large"));
  expect(budget.tryClaim(1)).toBe(false);
  budget.waitFor(10, () => granted.push("small"));
  budget.release(40);
  expect(granted).toEqual(["large", "small"]);
  expect(budget.usedBytes).toBe(100);
});

test("more than the whole budget is granted alone", () => {
  const budget = new ByteBudget(100);
  expect(budget.tryClaim(500)).toBe(true);
  expect(budget.tryClaim(1)).toBe(false);
  let granted = 0;
  budget.waitFor(300, () => granted++);
  budget.release(500);
  expect(granted).toBe(1);
  expect(budget.usedBytes).toBe(300);
});

test("a cancelled wait lets those behind it through, and is not granted", () => {
  const budget = new ByteBudget(100);
  const granted: string[] = [];
  budget.tryClaim(60);
  const first = budget.waitFor(90, () => granted.push("first"));
  budget.waitFor(40, () => granted.push("second"));
  first.cancel();
  first.cancel();
  expect(granted).toEqual(["second"]);
  expect(budget.waitingCount).toBe(0);
});

test("a grant may release and wait again", () => {
  const budget = new ByteBudget(10);
  const granted: number[] = [];
  budget.tryClaim(10);
  for (let index = 0; index < 5; index++) {
    budget.waitFor(10, () => {
      granted.push(index);
      budget.release(10);
    });
  }
  budget.release(10);
  expect(granted).toEqual([0, 1, 2, 3, 4]);
  expect(budget.usedBytes).toBe(0);
});

test("random claims never pass the capacity and end at zero", () => {
  let seed = 7;
  const next = (bound: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed % bound;
  };
  const budget = new ByteBudget(1000);
  const held: number[] = [];
  for (let step = 0; step < 20_000; step++) {
    if (next(2) === 0 && budget.waitingCount < 50) {
      const bytes = 1 + next(400);
      if (budget.tryClaim(bytes)) held.push(bytes);
      else budget.waitFor(bytes, () => held.push(bytes));
    } else if (held.length > 0) budget.release(held.splice(next(held.length), 1)[0] ?? 0);
    expect(budget.usedBytes).toBeLessThanOrEqual(1000);
  }
  while (held.length > 0) budget.release(held.pop() ?? 0);
  expect([budget.usedBytes, budget.waitingCount]).toEqual([0, 0]);
});
