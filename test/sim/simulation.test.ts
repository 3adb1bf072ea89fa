/** One seed twice, every scenario once, and the seeds that once failed: fixed seeds, half a virtual minute each. `scripts/soak.ts` runs fresh ones. */
import { describe, expect, test } from "bun:test";
import { REGRESSIONS } from "./regressions.ts";
import { SCENARIOS } from "./scenarios.ts";
import { runSimulation } from "./simulation.ts";

const MINUTES = 0.5;
/** The machine may be busy. */
const TIMEOUT_MS = 120_000;

describe("simulation", () => {
  test(
    "two runs of one seed are the same, and another seed is another run",
    () => {
      const first = runSimulation({ seed: 11, minutes: MINUTES });
      const second = runSimulation({ seed: 11, minutes: MINUTES });
      const other = runSimulation({ seed: 12, minutes: MINUTES });
      expect(second.line).toBe(first.line);
      expect(second.traceHash).toBe(first.traceHash);
      expect(other.traceHash).not.toBe(first.traceHash);
      expect(first.operations).toBeGreaterThan(100);
    },
    TIMEOUT_MS,
  );

  for (const [index, { name }] of SCENARIOS.entries()) {
    test(
      `scenario ${name} ends without a finding`,
      () => {
        const result = runSimulation({ seed: 100 + index, minutes: MINUTES, scenario: name });
        expect(result.findings).toEqual([]);
        expect(result.line).toMatch(/^seed \d+: \d+m\d\ds, \d+ operations, \d+ faults, trace [0-9a-f]{16}, ok$/);
      },
      TIMEOUT_MS,
    );
  }

  for (const { seed, scenario, minutes, found } of REGRESSIONS) {
    test(
      `seed ${seed} (${scenario}) does not fail again: ${found}`,
      () => {
        expect(runSimulation({ seed, scenario, minutes }).findings).toEqual([]);
      },
      TIMEOUT_MS,
    );
  }
});
