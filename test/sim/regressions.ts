/**
 * Seeds that once failed, each with the bug it found. A seed is replayed on every test run; as the code changes its path changes with it, so the bug itself has a
 * unit test where it was fixed.
 */
export interface Regression {
  readonly seed: number;
  readonly scenario: string;
  readonly minutes: number;
  /** What it found, and the fix. */
  readonly found: string;
}

export const REGRESSIONS: readonly Regression[] = [];

/** A bug of the server that a seed found, and how it was fixed. */
export interface SimulatorBug {
  readonly seed: number;
  readonly scenario: string;
  readonly bug: string;
  readonly fix: string;
}

export const SIMULATOR_BUGS: readonly SimulatorBug[] = [];
