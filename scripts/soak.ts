/**
 * Many fresh seeds of the simulator, resumable: `bun scripts/soak.ts [--state FILE] [--from SEED] [--minutes M] [--hours H] [--budget SECONDS] [--scenario NAME] [--report]`.
 *
 * Appends one line of JSON per seed to the state file (default build/sim/soak.jsonl) and goes on after the highest seed there, until `--hours` virtual hours count
 * or the budget of real seconds is spent. With --report it only adds up.
 *
 * What counts: of each run the window in which clients work while things break (not the start, nor what is checked after the faults have healed), and that only if
 * each client that stays for the whole window had at least 20 operations answered per virtual second of it, outages included, and a fault struck at least
 * once per virtual minute. Clients that come and go are not counted, nor is what they do. Exit code 1: a finding, or a kind of fault or a crash point with
 * fewer than 100 strikes once the hours are there.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { CRASH_POINTS, FAULT_KINDS } from "../test/sim/faults.ts";
import { freshSeed } from "../test/sim/fresh-seeds.ts";
import { SCENARIOS } from "../test/sim/scenarios.ts";
import { runSimulation } from "../test/sim/simulation.ts";

interface SoakLine {
  readonly seed: number;
  readonly scenario: string;
  readonly virtualMs: number;
  readonly windowMs: number;
  readonly clients: number;
  /** Of the client that had the fewest, within the window. */
  readonly leastOperations: number;
  readonly operations: number;
  readonly faults: number;
  readonly cpuMs: number;
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
    from: { type: "string" },
    minutes: { type: "string", default: "20" },
    hours: { type: "string", default: "200" },
    budget: { type: "string", default: "3600" },
    scenario: { type: "string" },
    report: { type: "boolean", default: false },
  },
});

/** Which scenario the n-th seed runs: each as often as its share says. */
const ROUND = SCENARIOS.flatMap(({ name, soakShare }) => Array.from({ length: soakShare }, () => name));

function readState(): SoakLine[] {
  if (!existsSync(values.state)) return [];
  return readFileSync(values.state, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as SoakLine);
}

const counts = ({ windowMs, leastOperations, faults }: SoakLine): boolean =>
  windowMs > 0 && leastOperations >= (MIN_OPERATIONS_PER_SECOND * windowMs) / 1000 && faults >= windowMs / 60_000;

const hoursOf = (lines: readonly SoakLine[]): number => lines.reduce((sum, line) => sum + line.windowMs, 0) / HOUR_MS;
const countedHoursOf = (lines: readonly SoakLine[]): number => hoursOf(lines.filter(counts));
const cpuOf = (lines: readonly SoakLine[]): number => lines.reduce((sum, line) => sum + line.cpuMs, 0) / 1000;

function addUp(lines: readonly SoakLine[], pick: (line: SoakLine) => Readonly<Record<string, number>>): Map<string, number> {
  const sums = new Map<string, number>();
  for (const line of lines) for (const [name, count] of Object.entries(pick(line))) sums.set(name, (sums.get(name) ?? 0) + count);
  return new Map([...sums].sort(([a], [b]) => a.localeCompare(b)));
}

function runOne(seed: number): SoakLine {
  const scenario = values.scenario ?? ROUND[seed % ROUND.length] ?? "mixed";
  const before = process.cpuUsage();
  const result = runSimulation({ seed, minutes: Number(values.minutes), scenario });
  const { user, system } = process.cpuUsage(before);
  const { windowMs, clients, leastOperations, faults } = result.load;
  return {
    seed,
    scenario,
    virtualMs: result.virtualMs,
    windowMs,
    clients,
    leastOperations,
    operations: result.operations,
    faults,
    cpuMs: Math.round((user + system) / 1000),
    strikes: Object.fromEntries(result.strikes),
    crashPoints: Object.fromEntries(result.crashPoints),
    findings: result.findings.map(({ anomaly, detail }) => `${anomaly}: ${detail.slice(0, 400)}`),
  };
}

function report(lines: readonly SoakLine[]): boolean {
  console.log("scenario    seeds   hours  counted  cpu s/h  findings");
  for (const { name } of SCENARIOS) {
    const own = lines.filter((line) => line.scenario === name);
    if (own.length === 0) continue;
    const found = own.filter((line) => line.findings.length > 0).length;
    const columns = [own.length, hoursOf(own).toFixed(2), countedHoursOf(own).toFixed(2), (cpuOf(own) / hoursOf(own)).toFixed(1), found];
    console.log(`${name.padEnd(10)} ${columns.map((column) => String(column).padStart(7)).join(" ")}`);
  }
  const strikes = addUp(lines, (line) => line.strikes);
  const crashPoints = addUp(lines, (line) => line.crashPoints);
  const listOf = (sums: ReadonlyMap<string, number>): string => [...sums].map(([name, count]) => `${name} ${count}`).join(", ");
  console.log(`strikes: ${listOf(strikes)}`);
  console.log(`crash points: ${listOf(crashPoints)}`);
  const rare = [
    ...FAULT_KINDS.filter((kind) => (strikes.get(kind) ?? 0) < MIN_STRIKES).map((kind) => `${kind} ${strikes.get(kind) ?? 0}`),
    ...CRASH_POINTS.filter((point) => (crashPoints.get(point) ?? 0) < MIN_STRIKES).map(
      (point) => `${point} ${crashPoints.get(point) ?? 0}`,
    ),
  ];
  if (rare.length > 0) console.log(`under ${MIN_STRIKES} strikes: ${rare.join(", ")}`);
  const failed = lines.filter((line) => line.findings.length > 0);
  if (failed.length > 0) console.log(`seeds with findings: ${failed.map((line) => `${line.seed} (${line.scenario})`).join(", ")}`);
  const operations = lines.reduce((sum, line) => sum + line.operations, 0);
  const counted = countedHoursOf(lines);
  console.log(
    `${lines.length} seeds, ${counted.toFixed(2)} virtual hours count and ${(hoursOf(lines) - counted).toFixed(2)} do not, ${operations} operations, ` +
      `${cpuOf(lines).toFixed(0)} s of one core (${(cpuOf(lines) / counted).toFixed(1)} per hour that counts), ${failed.length} with findings`,
  );
  return failed.length === 0 && (rare.length === 0 || counted < Number(values.hours));
}

/** In production one of these ends the process. */
let rejections: unknown[] = [];
process.on("unhandledRejection", (reason) => rejections.push(reason));

const lines = readState();
if (!values.report) {
  mkdirSync(dirname(values.state), { recursive: true });
  const endMs = performance.now() + Number(values.budget) * 1000;
  const from = values.from === undefined ? freshSeed() : Number(values.from);
  let seed = lines.reduce((highest, line) => Math.max(highest, line.seed + 1), lines.length === 0 ? from : 0);
  console.log(`from seed ${seed}, ${values.minutes} virtual minutes each`);
  while (countedHoursOf(lines) < Number(values.hours) && performance.now() < endMs) {
    const run = runOne(seed++);
    // Between runs what a dead broker left behind can be collected, and what nobody caught shows.
    await new Promise((resolve) => setImmediate(resolve));
    const line = { ...run, findings: [...run.findings, ...rejections.map((reason) => `crash: unhandled rejection: ${String(reason)}`)] };
    rejections = [];
    lines.push(line);
    appendFileSync(values.state, `${JSON.stringify(line)}\n`);
    if (line.findings.length > 0)
      console.log(`seed ${line.seed} (--scenario ${line.scenario} --minutes ${values.minutes}): ${line.findings.join("\n  ")}`);
  }
}
process.exit(report(lines) ? 0 : 1);
