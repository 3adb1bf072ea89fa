/**
 * One seed twice, every scenario once, and the seeds that once failed: fixed seeds, half a virtual minute each; then some that nobody has run before, others every
 * day. `scripts/soak.ts` runs many of those.
 */
import { describe, expect, test } from "bun:test";
import { freshSeed } from "./fresh-seeds.ts";
import { REGRESSIONS } from "./regressions.ts";
import { SCENARIOS } from "./scenarios.ts";
import { runSimulation, type SimResult } from "./simulation.ts";

const MINUTES = 0.5;
const FRESH_SEEDS = 6;
/** The machine may be busy. */
const TIMEOUT_MS = 120_000;

/** What was found, what happened last, and how to see it again. */
function expectNothingFound({ seed, scenario, findings, recent }: SimResult, minutes: number): void {
  if (findings.length === 0) return;
  const found = findings.map(({ anomaly, detail }) => `${anomaly}: ${detail}`);
  const replay = `replay: npm run sim -- --seed ${seed} --minutes ${minutes} --scenario ${scenario}`;
  throw new Error([...recent.slice(-40), ...found, replay].join("\n"));
}

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
        expectNothingFound(result, MINUTES);
        expect(result.line).toMatch(/^seed \d+: \d+m\d\ds, \d+ operations, \d+ faults, trace [0-9a-f]{16}, ok$/);
      },
      TIMEOUT_MS,
    );
  }

  for (const { seed, scenario, minutes, found } of REGRESSIONS) {
    test(
      `seed ${seed} (${scenario}) does not fail again: ${found}`,
      () => {
        expectNothingFound(runSimulation({ seed, scenario, minutes }), minutes);
      },
      TIMEOUT_MS,
    );
  }

  for (let index = 0; index < FRESH_SEEDS; index++) {
    const seed = freshSeed() + index;
    const scenario = SCENARIOS[seed % SCENARIOS.length]?.name;
    test(
      `today's seed ${seed} (${scenario}) ends without a finding`,
      () => {
        expectNothingFound(runSimulation({ seed, scenario, minutes: 2 * MINUTES }), 2 * MINUTES);
      },
      TIMEOUT_MS,
    );
  }
});
