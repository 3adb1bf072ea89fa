/** The list of planted bugs follows the code: each edit finds its place once, and what is said to hide names what it hides behind. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { editsOf, SIM_MUTANTS } from "../../scripts/sim-mutants-list.ts";
import { SCENARIOS } from "./scenarios.ts";

const ROOT = join(import.meta.dir, "../..");

test("every planted bug has a place in the code", () => {
  const lost = SIM_MUTANTS.flatMap((mutant) =>
    editsOf(mutant)
      .filter(({ file, find }) => readFileSync(join(ROOT, file), "utf8").split(find).length !== 2)
      .map(({ file, find }) => `${mutant.name}: ${file}: ${find}`),
  );
  expect(lost).toEqual([]);
});

test("names are unique, scenarios exist, and what hides has an entry in which its second check is gone too", () => {
  const names = new Set(SIM_MUTANTS.map(({ name }) => name));
  expect(names.size).toBe(SIM_MUTANTS.length);
  const scenarios: (string | undefined)[] = [undefined, ...SCENARIOS.map(({ name }) => name)];
  for (const { scenario, hiddenBy } of SIM_MUTANTS) {
    expect(scenarios).toContain(scenario);
    if (hiddenBy === undefined || hiddenBy.includes("(later: ")) continue;
    expect(names.has(hiddenBy.split(": ").at(-1) ?? "")).toBe(true);
  }
});
