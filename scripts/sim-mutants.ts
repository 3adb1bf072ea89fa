/**
 * Proves that the simulator's clients notice planted bugs:
 * `bun scripts/sim-mutants.ts [--seeds N] [--budget SECONDS] [--state FILE] [--report] [--record] [NAME-PART]...`
 *
 * Plants each bug of `sim-mutants-list.ts` in a copy of the tree, and runs seeds (sim-hunt.ts, crashes of a broker are no findings there) until the clients notice. The
 * seed that shows the bug must pass without it. Resumable: what was tried is appended to the state file (default build/sim/mutants.jsonl); a bug whose edit has
 * changed begins anew. `--report` runs nothing; `--record` writes what was noticed to test/sim/mutants-noticed.json, from which docs/cases.md tells it.
 * Exit code 1 when one survives its seeds, 2 when the budget ended first.
 */
import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { editsOf, NOTICED_FILE, type Noticed, readNoticed, SIM_MUTANTS, type SimMutant } from "./sim-mutants-list.ts";

const ROOT = dirname(import.meta.dir);
const COPIED = ["src", "scripts", "test/unit", "test/sim", "test/support", "test/fixtures", "package.json", "tsconfig.json", "bunfig.toml"];
/** Read only by the code under test. */
const LINKED = ["node_modules", "native", "dist", "build"];
const SEEDS_PER_STEP = 10;
const STEP_TIMEOUT_MS = 170_000;

interface Found {
  readonly seed: number;
  readonly scenario: string;
  readonly anomaly: string;
  readonly detail: string;
}

/** Seeds [from, end) of one bug were run. */
interface Step {
  readonly name: string;
  readonly edit: string;
  readonly from: number;
  readonly end: number;
  readonly found?: Found;
  /** The step did not end in real time. */
  readonly hung?: boolean;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "2000" },
    budget: { type: "string", default: "3600" },
    state: { type: "string", default: "build/sim/mutants.jsonl" },
    report: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
  },
});
const statePath = join(ROOT, values.state);
const maxSeeds = Number(values.seeds);
const endMs = performance.now() + Number(values.budget) * 1000;

function copyTree(): string {
  const folder = mkdtempSync(join(tmpdir(), "weir-sim-mutants-"));
  for (const path of COPIED) cpSync(join(ROOT, path), join(folder, path), { recursive: true, force: true });
  for (const path of LINKED) if (existsSync(join(ROOT, path))) symlinkSync(join(ROOT, path), join(folder, path));
  return folder;
}

/** Changes with what is planted and where it is looked for. */
function editOf(mutant: SimMutant): string {
  return Bun.hash(JSON.stringify([editsOf(mutant), mutant.scenario, mutant.minutes])).toString(36);
}

/** Answers how to undo it. */
function plant(folder: string, mutant: SimMutant): () => void {
  const originals = new Map<string, string>();
  for (const { file, find, replace } of editsOf(mutant)) {
    const path = join(folder, file);
    const text = readFileSync(path, "utf8");
    const places = text.split(find).length - 1;
    if (places !== 1) throw new Error(`mutant ${mutant.name}: its text occurs ${places} times in ${file}; it must occur once`);
    if (!originals.has(path)) originals.set(path, text);
    writeFileSync(
      path,
      text.replace(find, () => replace),
    );
  }
  return () => {
    for (const [path, text] of originals) writeFileSync(path, text);
  };
}

function hunt(folder: string, mutant: SimMutant, from: number, seeds: number): Found | "nothing" | "hung" {
  const command = [process.execPath, "scripts/sim-hunt.ts", "--from", String(from), "--seeds", String(seeds)];
  if (mutant.scenario !== undefined) command.push("--scenario", mutant.scenario);
  if (mutant.minutes !== undefined) command.push("--minutes", String(mutant.minutes));
  const run = Bun.spawnSync(command, { cwd: folder, stdout: "pipe", stderr: "pipe", timeout: STEP_TIMEOUT_MS, killSignal: "SIGKILL" });
  if (run.exitCode === 0) return "nothing";
  const last = run.stdout.toString().trim().split("\n").at(-1) ?? "";
  const [, seed = "", scenario = "", anomaly = "", detail = ""] = /^seed (\d+) \(([^)]*)\): ([^:]*): (.*)$/.exec(last) ?? [];
  if (seed !== "") return { seed: Number(seed), scenario, anomaly, detail: detail.slice(0, 300) };
  if (run.exitedDueToTimeout) return "hung";
  throw new Error(`the hunt for ${mutant.name} failed (exit ${run.exitCode}): ${run.stderr.toString().slice(0, 800)}`);
}

function readState(): Step[] {
  if (!existsSync(statePath)) return [];
  const lines = readFileSync(statePath, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Step);
}

interface Progress {
  readonly found: Found | undefined;
  readonly tried: number;
  readonly hung: number;
}

function progressOf(mutant: SimMutant, steps: readonly Step[]): Progress {
  const own = steps.filter((step) => step.name === mutant.name && step.edit === editOf(mutant));
  return {
    found: own.find((step) => step.found !== undefined)?.found,
    tried: own.reduce((highest, step) => Math.max(highest, step.end - 1), 0),
    hung: own.filter((step) => step.hung === true).length,
  };
}

/** Runs seeds until it is noticed, has survived, or the budget is spent. */
function examine(folder: string, mutant: SimMutant, steps: Step[]): void {
  for (;;) {
    const { found, tried } = progressOf(mutant, steps);
    if (found !== undefined || tried >= maxSeeds || performance.now() > endMs) return;
    const from = tried + 1;
    const seeds = Math.min(SEEDS_PER_STEP, maxSeeds - tried);
    const undo = plant(folder, mutant);
    let outcome: ReturnType<typeof hunt>;
    try {
      outcome = hunt(folder, mutant, from, seeds);
    } finally {
      undo();
    }
    const step = { name: mutant.name, edit: editOf(mutant), from, end: from + seeds };
    if (typeof outcome === "object") {
      const without = hunt(folder, mutant, outcome.seed, 1);
      if (without !== "nothing") throw new Error(`without the bug ${mutant.name} as well: ${JSON.stringify(without)}`);
      steps.push({ ...step, found: outcome });
    } else steps.push(outcome === "hung" ? { ...step, hung: true } : step);
    mkdirSync(dirname(statePath), { recursive: true });
    appendFileSync(statePath, `${JSON.stringify(steps.at(-1))}\n`);
  }
}

function lineOf(mutant: SimMutant, { found, tried, hung }: Progress): string {
  const name = mutant.name.padEnd(30);
  const note = hung === 0 ? "" : ` (${hung} steps did not end)`;
  if (found !== undefined)
    return `noticed   ${name} seed ${found.seed} (${found.scenario}): ${found.anomaly}: ${found.detail.slice(0, 140)}`;
  if (mutant.hiddenBy !== undefined) return `hidden    ${name} ${mutant.hiddenBy}`;
  return `${tried >= maxSeeds ? "SURVIVED" : "not yet "}  ${name} ${tried} seeds${note}: ${mutant.harm}`;
}

/** What was noticed is kept; what is gone from the list, or has changed, is not. */
function record(steps: readonly Step[]): void {
  const before = readNoticed();
  const noticed: Record<string, Noticed> = {};
  for (const mutant of SIM_MUTANTS) {
    const { found } = progressOf(mutant, steps);
    const known = before[mutant.name];
    const edit = editOf(mutant);
    if (found !== undefined) noticed[mutant.name] = { edit, seed: found.seed, scenario: found.scenario, anomaly: found.anomaly };
    else if (known?.edit === edit) noticed[mutant.name] = known;
  }
  writeFileSync(NOTICED_FILE, `${JSON.stringify(noticed, undefined, 2)}\n`);
}

function main(): number {
  const wanted = SIM_MUTANTS.filter(({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)));
  const steps = readState();
  const isDue = (mutant: SimMutant): boolean => mutant.hiddenBy === undefined;
  if (!values.report) {
    const folder = copyTree();
    try {
      for (const mutant of wanted.filter((each) => isDue(each) || positionals.includes(each.name))) {
        examine(folder, mutant, steps);
        console.log(lineOf(mutant, progressOf(mutant, steps)));
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  } else for (const mutant of wanted) console.log(lineOf(mutant, progressOf(mutant, steps)));
  if (values.record) record(steps);
  const due = wanted.filter(isDue);
  const open = due.filter((mutant) => progressOf(mutant, steps).found === undefined);
  const survivors = open.filter((mutant) => progressOf(mutant, steps).tried >= maxSeeds);
  const hidden = wanted.length - due.length;
  console.log(
    `${due.length - open.length} of ${due.length} planted bugs noticed by clients within ${maxSeeds} seeds; ${hidden} more hide behind a second check`,
  );
  if (survivors.length > 0) console.log(`survivors: ${survivors.map(({ name }) => name).join(", ")}`);
  if (due.length === 0 || survivors.length > 0) return 1;
  return open.length === 0 ? 0 : 2;
}

process.exitCode = main();
