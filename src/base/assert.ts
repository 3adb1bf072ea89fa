/**
 * Assertions stay on in production. A failed one is a *bug* (STYLE "Errors": answer, trouble, bug): it ends the process,
 * because going on with broken invariants could harm acknowledged records.
 */
export class AssertionFailure extends Error {
  override readonly name = "AssertionFailure";
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

/** For numbers we make ourselves: an integer in [0, 2^53). Client-chosen numbers are range-checked at decode instead. */
export function assertSafe(value: number, name: string): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new AssertionFailure(`${name} is not a safe non-negative integer: ${value}`);
  return value;
}

export function unreachable(value: never): never {
  throw new AssertionFailure(`unreachable: ${String(value)}`);
}
