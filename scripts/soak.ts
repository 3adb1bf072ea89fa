/**
 * Many fresh seeds of the simulator, resumable: `bun scripts/soak.ts [--state FILE] [--from SEED] [--minutes M] [--hours H] [--budget SECONDS] [--scenario NAME] [--report]`.
 *
 * Appends one line of JSON per seed to the state file (default build/sim/soak.jsonl) and goes on after the highest seed there, until `--hours` virtual hours count
 * or the budget of real seconds is spent. A run's time counts only with at least 20 client operations per virtual second and client, and one fault per
 * virtual minute. The report adds up virtual hours, operations, and strikes per fault kind and crash point; with --report it is all that is done.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { SCENARIOS } from "../test/sim/scenarios.ts";
import { runSimulation } from "../test/sim/simulation.ts";

interface SoakLine {
  readonly seed: number;
  readonly scenario: string;
  readonly virtualMs: number;
  readonly clients: number;
  readonly operations: number;
  readonly faults: number;
  readonly strikes: Readonly<Record<string, number>>;
  readonly crashPoints: Readonly<Record<string, number>>;
  readonly findings: readonly string[];
}

const MIN_OPERATIONS_PER_SECOND = 20;
const MIN_STRIKES = 100;
const HOUR_MS = 3_600_000;

const { values } = parseArgs({
  options: {
    state: { type: "string", default: "build/sim/soak.jsonl" },
    from: { type: "string", default: "1" },
    minutes: { type: "string", default: "10" },
    hours: { type: "string", default: "200" },
    budget: { type: "string", default: "3600" },
    scenario: { type: "string" },
    report: { type: "boolean", default: false },
  },
});

function readState(): SoakLine[] {
  if (!existsSync(values.state)) return [];
  return readFileSync(values.state, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as SoakLine);
}

const counts = ({ virtualMs, clients, operations, faults }: SoakLine): boolean =>
  operations >= (MIN_OPERATIONS_PER_SECOND * clients * virtualMs) / 1000 && faults >= virtualMs / 60_000;

const hoursOf = (lines: readonly SoakLine[]): number => lines.filter(counts).reduce((sum, line) => sum + line.virtualMs, 0) / HOUR_MS;

function addUp(lines: readonly SoakLine[], pick: (line: SoakLine) => Readonly<Record<string, number>>): [string, number][] {
  const sums = new Map<string, number>();
  for (const line of lines) for (const [name, count] of Object.entries(pick(line))) sums.set(name, (sums.get(name) ?? 0) + count);
  return [...sums].sort(([a], [b]) => a.localeCompare(b));
}

function runOne(seed: number): SoakLine {
  const scenario = values.scenario ?? SCENARIOS[seed % SCENARIOS.length]?.name ?? "mixed";
  const result = runSimulation({ seed, minutes: Number(values.minutes), scenario });
  return {
    seed,
    scenario,
    virtualMs: result.virtualMs,
    clients: result.clients,
    operations: result.operations,
    faults: result.faults,
    strikes: Object.fromEntries(result.strikes),
    crashPoints: Object.fromEntries(result.crashPoints),
    findings: result.findings.map(({ anomaly, detail }) => `${anomaly}: ${detail.slice(0, 400)}`),
  };
}

/** In production one of these ends the process. */
let rejections: unknown[] = [];
process.on("unhandledRejection", (reason) => rejections.push(reason));

const lines = readState();
if (!values.report) {
  mkdirSync(dirname(values.state), { recursive: true });
  const endMs = performance.now() + Number(values.budget) * 1000;
  let seed = lines.reduce((highest, line) => Math.max(highest, line.seed + 1), Number(values.from));
  while (hoursOf(lines) < Number(values.hours) && performance.now() < endMs) {
    const run = runOne(seed++);
    // Between runs what a dead broker left behind can be collected, and what nobody caught shows.
    await new Promise((resolve) => setImmediate(resolve));
    const line = { ...run, findings: [...run.findings, ...rejections.map((reason) => `crash: unhandled rejection: ${String(reason)}`)] };
    rejections = [];
    lines.push(line);
    appendFileSync(values.state, `${JSON.stringify(line)}\n`);
    if (line.findings.length > 0)
      console.log(`seed ${line.seed} (${line.scenario}, --minutes ${values.minutes}): ${line.findings.join("\n  ")}`);
  }
}
const failed = lines.filter((line) => line.findings.length > 0);
const strikes = addUp(lines, (line) => line.strikes);
const allHours = lines.reduce((sum, line) => sum + line.virtualMs, 0) / HOUR_MS;
console.log(`strikes: ${strikes.map(([name, count]) => `${name} ${count}`).join(", ")}`);
console.log(
  `crash points: ${addUp(lines, (line) => line.crashPoints)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ")}`,
);
const rare = strikes.filter(([, count]) => count < MIN_STRIKES).map(([name]) => name);
if (rare.length > 0) console.log(`kinds under ${MIN_STRIKES} strikes: ${rare.join(", ")}`);
if (failed.length > 0) console.log(`seeds with findings: ${failed.map((line) => `${line.seed} (${line.scenario})`).join(", ")}`);
const operations = lines.reduce((sum, line) => sum + line.operations, 0);
console.log(
  `${lines.length} seeds, ${allHours.toFixed(2)} virtual hours (${hoursOf(lines).toFixed(2)} count), ${operations} operations, ${failed.length} with findings`,
);
process.exit(failed.length === 0 && (rare.length === 0 || hoursOf(lines) < Number(values.hours)) ? 0 : 1);
