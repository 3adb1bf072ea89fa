/**
 * Many fresh seeds of the simulator, resumable:
 *
 *   bun scripts/soak.ts [--hours H] [--workers N] [--budget SECONDS] [--cpu SECONDS] [--from SEED|commit] [--minutes M] [--scenario NAME] [--state FILE] [--short] [--report]
 *
 * Appends one line of JSON per seed to the state file and goes on behind what is there, until `--hours` virtual hours count (default 200), or `--budget` real
 * seconds or `--cpu` seconds of one core (of all workers together) are spent. The state file is by default that of the commit which last changed what is simulated,
 * `build/sim/soak-COMMIT.jsonl`, so that a run goes on where it stopped and another commit begins anew. `--from commit` picks seeds that nobody has run by the commit
 * at hand, which anybody can compute again. With --report it only adds up.
 *
 * What counts: of each run the window in which clients work while things break (not the start, nor what is checked after the faults have healed), and that only if
 * each client that stays for the whole window had at least 20 operations answered per virtual second of it, outages included, and a fault struck at least
 * once per virtual minute. Clients that come and go are not counted, nor is what they do. Exit code 1: a finding, hours that are not there yet, or a kind
 * of fault or a crash point with fewer than 100 strikes. With --short only a finding fails.
 *
 * Each worker is a process (`--worker`, over IPC) that runs one seed after the other; CPU seconds are what all of them used, their start included.
 */
import { execFileSync, fork } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { CRASH_POINTS, FAULT_KINDS } from "../test/sim/faults.ts";
import { freshSeed, seedOfCommit } from "../test/sim/fresh-seeds.ts";
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
const PROGRESS_EVERY_MS = 15_000;
/** Then it is replaced: memory that a process has once touched stays with it. */
const SEEDS_PER_WORKER = 30;
/** What a soak of one commit is about. */
const SIMULATED = ["src", "native/src", "test/sim", "test/support", "test/unit/support"];

const { values } = parseArgs({
  options: {
    state: { type: "string" },
    from: { type: "string" },
    minutes: { type: "string", default: "20" },
    hours: { type: "string", default: "200" },
    budget: { type: "string", default: "86400" },
    cpu: { type: "string", default: "Infinity" },
    workers: { type: "string", default: "1" },
    scenario: { type: "string" },
    short: { type: "boolean", default: false },
    report: { type: "boolean", default: false },
    worker: { type: "boolean", default: false },
  },
});

/** Which scenario the n-th seed runs: each as often as its share says. */
const ROUND = SCENARIOS.flatMap(({ name, soakShare }) => Array.from({ length: soakShare }, () => name));

/** "" where there is no repository. */
function git(...args: string[]): string {
  try {
    return execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return "";
  }
}

function readState(path: string): SoakLine[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as SoakLine);
}

const counts = ({ windowMs, leastOperations, faults }: SoakLine): boolean =>
  windowMs > 0 && leastOperations >= (MIN_OPERATIONS_PER_SECOND * windowMs) / 1000 && faults >= windowMs / 60_000;

const sumOf = (lines: readonly SoakLine[], pick: (line: SoakLine) => number): number => lines.reduce((sum, line) => sum + pick(line), 0);
const hoursOf = (lines: readonly SoakLine[]): number => sumOf(lines, ({ windowMs }) => windowMs) / HOUR_MS;
const countedHoursOf = (lines: readonly SoakLine[]): number => hoursOf(lines.filter(counts));
const cpuOf = (lines: readonly SoakLine[]): number => sumOf(lines, ({ cpuMs }) => cpuMs) / 1000;

function addUp(lines: readonly SoakLine[], pick: (line: SoakLine) => Readonly<Record<string, number>>): Map<string, number> {
  const sums = new Map<string, number>();
  for (const line of lines) for (const [name, count] of Object.entries(pick(line))) sums.set(name, (sums.get(name) ?? 0) + count);
  return new Map([...sums].sort(([a], [b]) => a.localeCompare(b)));
}

const scenarioOf = (seed: number): string => values.scenario ?? ROUND[seed % ROUND.length] ?? "mixed";

/** What this process has used at the end of the run before. */
let usedMs = 0;

function cpuSinceLastMs(): number {
  const { user, system } = process.cpuUsage();
  const before = usedMs;
  usedMs = (user + system) / 1000;
  return Math.round(usedMs - before);
}

/** Rejections that nobody caught: in production one of these ends the process. */
let rejections: unknown[] = [];

async function runOne(seed: number): Promise<SoakLine> {
  const scenario = scenarioOf(seed);
  const nothing = { virtualMs: 0, windowMs: 0, clients: 0, leastOperations: 0, operations: 0, faults: 0, strikes: {}, crashPoints: {} };
  let line: Omit<SoakLine, "cpuMs">;
  try {
    const { virtualMs, operations, load, strikes, crashPoints, findings } = runSimulation({
      seed,
      minutes: Number(values.minutes),
      scenario,
    });
    line = {
      ...{ seed, scenario, virtualMs, ...load, operations },
      strikes: Object.fromEntries(strikes),
      crashPoints: Object.fromEntries(crashPoints),
      findings: findings.map(({ anomaly, detail }) => `${anomaly}: ${detail.slice(0, 400)}`),
    };
  } catch (error) {
    line = { seed, scenario, ...nothing, findings: [`crash: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`] };
  }
  // Between runs what a dead broker left behind can be collected, and what nobody caught shows.
  await new Promise((resolve) => setImmediate(resolve));
  const uncaught = rejections.map((reason) => `crash: unhandled rejection: ${String(reason)}`);
  rejections = [];
  return { ...line, cpuMs: cpuSinceLastMs(), findings: [...line.findings, ...uncaught] };
}

function beWorker(): void {
  process.on("unhandledRejection", (reason) => rejections.push(reason));
  process.on("message", (seed) => void runOne(Number(seed)).then((line) => process.send?.(line)));
  process.on("disconnect", () => process.exit(0));
}

/** Hands out seeds to the workers; resolves when all have ended. A worker that dies is a finding of its seed. */
function soak(lines: SoakLine[], path: string): Promise<void> {
  const startedMs = performance.now();
  const begunCpu = cpuOf(lines);
  const from = values.from === "commit" ? seedOfCommit(git("rev-parse", "HEAD") || "0") : Number(values.from ?? freshSeed());
  let next = lines.reduce((highest, { seed }) => Math.max(highest, seed + 1), lines.length === 0 ? from : 0);
  console.log(`from seed ${next}, ${values.minutes} virtual minutes each; ${path}`);
  let shownMs = startedMs;
  const isDone = (): boolean =>
    countedHoursOf(lines) >= Number(values.hours) ||
    performance.now() - startedMs > Number(values.budget) * 1000 ||
    cpuOf(lines) - begunCpu > Number(values.cpu);
  const take = (line: SoakLine): void => {
    lines.push(line);
    appendFileSync(path, `${JSON.stringify(line)}\n`);
    if (line.findings.length > 0)
      console.log(`seed ${line.seed} (--scenario ${line.scenario} --minutes ${values.minutes}): ${line.findings.join("\n  ")}`);
    if (performance.now() - shownMs < PROGRESS_EVERY_MS) return;
    shownMs = performance.now();
    const perHour = cpuOf(lines) / countedHoursOf(lines);
    console.log(
      `${((shownMs - startedMs) / 1000).toFixed(0)} s: ${lines.length} seeds, ${countedHoursOf(lines).toFixed(1)} of ${values.hours} hours, ${cpuOf(lines).toFixed(0)} s of one core (${perHour.toFixed(1)} per hour)`,
    );
  };
  const work = (): Promise<void> =>
    new Promise((resolve) => {
      const child = fork(import.meta.filename, [...process.argv.slice(2), "--worker"], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
      let seed = 0;
      let left = SEEDS_PER_WORKER;
      const give = (): void => {
        if (isDone() || left === 0) return void child.disconnect();
        left--;
        seed = next++;
        child.send(seed);
      };
      child.on("message", (line) => {
        take(line as SoakLine);
        give();
      });
      child.on("exit", (code) => {
        if (code !== 0) console.log(`a worker ended with exit code ${code} at seed ${seed} (--scenario ${scenarioOf(seed)})`);
        if (code !== 0) process.exitCode = 1;
        resolve(code === 0 && !isDone() ? work() : undefined);
      });
      give();
    });
  return Promise.all(Array.from({ length: Number(values.workers) }, work)).then(() => undefined);
}

/** What makes the soak fail, in words. */
function report(lines: readonly SoakLine[]): string[] {
  console.log("scenario      seeds    hours  counted  least ops/s/client  faults/min  cpu s/h  findings");
  for (const { name } of SCENARIOS) {
    const own = lines.filter((line) => line.scenario === name);
    if (own.length === 0) continue;
    const counted = own.filter(counts);
    const least = Math.min(...counted.map(({ leastOperations, windowMs }) => (leastOperations * 1000) / windowMs));
    const perMinute = sumOf(own, ({ faults }) => faults) / (hoursOf(own) * 60);
    const columns: readonly (readonly [string | number, number])[] = [
      [own.length, 7],
      [hoursOf(own).toFixed(2), 8],
      [hoursOf(counted).toFixed(2), 8],
      [counted.length === 0 ? "-" : least.toFixed(1), 19],
      [perMinute.toFixed(1), 11],
      [(cpuOf(own) / hoursOf(counted)).toFixed(1), 8],
      [own.filter(({ findings }) => findings.length > 0).length, 9],
    ];
    console.log(name.padEnd(12) + columns.map(([text, width]) => String(text).padStart(width)).join(" "));
  }
  const counted = countedHoursOf(lines);
  const wanted = Number(values.hours);
  const [strikes, crashPoints] = [addUp(lines, (line) => line.strikes), addUp(lines, (line) => line.crashPoints)];
  const show = (title: string, names: readonly string[], sums: ReadonlyMap<string, number>): string[] => {
    console.log(`${title.padEnd(26)}  strikes  in ${wanted} h`);
    for (const name of new Set([...names, ...sums.keys()])) {
      const count = sums.get(name) ?? 0;
      const note = names.includes(name) ? "" : "  (not required)";
      console.log(`  ${name.padEnd(24)} ${String(count).padStart(8)} ${((count * wanted) / counted).toFixed(0).padStart(8)}${note}`);
    }
    return names.filter((name) => (sums.get(name) ?? 0) < MIN_STRIKES);
  };
  const rare = [...show("fault", FAULT_KINDS, strikes), ...show("crash point", CRASH_POINTS, crashPoints)];
  const failed = lines.filter((line) => line.findings.length > 0);
  const operations = sumOf(lines, (line) => line.operations);
  console.log(
    `${lines.length} seeds, ${counted.toFixed(2)} virtual hours count and ${(hoursOf(lines) - counted).toFixed(2)} do not, ${operations} operations, ` +
      `${cpuOf(lines).toFixed(0)} s of one core (${(cpuOf(lines) / counted).toFixed(1)} per hour that counts), ${failed.length} with findings`,
  );
  const verdict: string[] = [];
  if (failed.length > 0) verdict.push(`findings: ${failed.map(({ seed, scenario }) => `${seed} (${scenario})`).join(", ")}`);
  if (values.short) return verdict;
  if (counted < wanted) verdict.push(`${counted.toFixed(2)} of ${wanted} hours`);
  if (rare.length > 0) verdict.push(`under ${MIN_STRIKES} strikes: ${rare.join(", ")}`);
  return verdict;
}

async function main(): Promise<void> {
  const commit = git("log", "-1", "--format=%h", "--", ...SIMULATED) || "unknown";
  const isModified = git("status", "--porcelain", "--", ...SIMULATED) !== "";
  const path = values.state ?? `build/sim/soak-${commit}.jsonl`;
  const lines = readState(path);
  if (!values.report) {
    mkdirSync(dirname(path), { recursive: true });
    await soak(lines, path);
  }
  const failures = report(lines);
  console.log(
    `commit ${commit}${isModified ? " with changes that are not committed" : ""}: ${failures.length === 0 ? "ok" : `FAILED: ${failures.join("; ")}`}`,
  );
  process.exit(failures.length === 0 ? (process.exitCode ?? 0) : 1);
}

if (values.worker) beWorker();
else await main();
