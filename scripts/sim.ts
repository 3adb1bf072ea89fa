/**
 * npm run sim -- --seed N [--minutes M] [--scenario NAME] [--trace]
 *
 * Runs the whole server, its bucket, volume, network and clients under one seed. The last line is the verdict; exit code 1 on a finding.
 */
import { parseArgs } from "node:util";
import { runSimulation } from "../test/sim/simulation.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    minutes: { type: "string" },
    scenario: { type: "string" },
    trace: { type: "boolean", default: false },
  },
});
const seed = Number(values.seed);
const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
/** In production one of these ends the process. */
const rejections: unknown[] = [];
process.on("unhandledRejection", (reason) => rejections.push(reason));
const before = process.cpuUsage();
const result = runSimulation({ seed, minutes, scenario: values.scenario, wantsTrace: values.trace });
const used = process.cpuUsage(before);
await new Promise((resolve) => setImmediate(resolve));
const tookMs = (used.user + used.system) / 1000;

const listOf = (counts: ReadonlyMap<string, number>): string =>
  [...counts]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, count]) => `${name} ${count}`)
    .join(", ");
console.log(`scenario ${result.scenario}; ${(tookMs / 1000).toFixed(1)} s of one core`);
const { clients, leastOperations, windowMs } = result.load;
const rate = windowMs === 0 ? 0 : (leastOperations * 1000) / windowMs;
console.log(
  `${(windowMs / 60_000).toFixed(1)} virtual minutes under faults; the least busy of ${clients} clients: ${rate.toFixed(1)} operations a second`,
);
console.log(`operations: ${listOf(result.operationsByKind)}`);
console.log(`strikes: ${listOf(result.strikes)}`);
console.log(`crash points: ${listOf(result.crashPoints)}`);
for (const reason of rejections.slice(0, 3)) console.log(`unhandled rejection: ${reason instanceof Error ? reason.stack : String(reason)}`);
if (result.findings.length > 0) {
  console.log("what happened last:");
  for (const line of result.recent.slice(-80)) console.log(`  ${line}`);
  for (const { anomaly, detail } of result.findings) console.log(`${anomaly}: ${detail}`);
  const more = `${minutes === undefined ? "" : ` --minutes ${minutes}`}${values.scenario === undefined ? "" : ` --scenario ${values.scenario}`}`;
  console.log(`replay: npm run sim -- --seed ${seed}${more}`);
}
console.log(result.line);
process.exit(result.findings.length === 0 ? 0 : 1);
