/**
 * `bun scripts/sim-hunt.ts [--from N] [--seeds K] [--minutes M] [--scenario NAME]`: runs seeds, one scenario after the other, until the clients notice something. A crash is no finding here: a
 * failed assertion just ends the process, as in production. Last line: `seed N (SCENARIO): ANOMALY: ...` and exit code 1, or `K seeds, nothing found`.
 */
import { parseArgs } from "node:util";
import { SCENARIOS } from "../test/sim/scenarios.ts";
import { runSimulation } from "../test/sim/simulation.ts";

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "1" },
    seeds: { type: "string", default: "2000" },
    minutes: { type: "string", default: "1" },
    scenario: { type: "string" },
  },
});
const from = Number(values.from);
const end = from + Number(values.seeds);
let found: string | undefined;
for (let seed = from; seed < end && found === undefined; seed++) {
  const scenario = values.scenario ?? SCENARIOS[seed % SCENARIOS.length]?.name;
  const { findings } = runSimulation({ seed, minutes: Number(values.minutes), scenario, crashesAreFindings: false });
  const [first] = findings;
  if (first !== undefined) found = `seed ${seed} (${scenario}): ${first.anomaly}: ${first.detail}`;
  await new Promise((resolve) => setImmediate(resolve));
}
console.log(found ?? `${values.seeds} seeds, nothing found`);
process.exit(found === undefined ? 0 : 1);
