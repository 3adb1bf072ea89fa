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

export const REGRESSIONS: readonly Regression[] = [
  {
    seed: 4,
    scenario: "zombies",
    minutes: 1,
    found:
      "a bug of the simulator: a write that was sent after the volume was lost landed at its sender's death, and looked like a damaged WAL",
  },
];

/** A bug of the server that a seed found, and how it was fixed. */
export interface SimulatorBug {
  readonly seed: number;
  readonly scenario: string;
  readonly bug: string;
  readonly fix: string;
}

export const SIMULATOR_BUGS: readonly SimulatorBug[] = [];
