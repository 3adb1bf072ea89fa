/**
 * Proves that the tests notice planted bugs: `bun scripts/mutants.ts [NAME-PART]...`. Copies src and test to a temporary folder, runs the named tests once
 * unpatched (they must pass), then once per mutant (one must fail). Exit code 1 when a mutant survives.
 *
 * `bun scripts/mutants.ts --sim SEEDS [NAME-PART]...` does the same with the bugs of `sim-mutants-list.ts`: clients in the simulator must notice each within so
 * many seeds.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { MUTANTS, type Mutant } from "./mutants-list.ts";
import { SIM_MUTANTS, type SimMutant } from "./sim-mutants-list.ts";

const ROOT = dirname(import.meta.dir);
const COPIED = ["src", "scripts", "test/unit", "test/sim", "test/support", "test/fixtures", "package.json", "tsconfig.json", "bunfig.toml"];
/** Read only by the code under test. */
const LINKED = ["node_modules", "native", "dist", "build"];

function copyTree(): string {
  const folder = mkdtempSync(join(tmpdir(), "weir-mutants-"));
  for (const path of COPIED) cpSync(join(ROOT, path), join(folder, path), { recursive: true, force: true });
  for (const path of LINKED) symlinkSync(join(ROOT, path), join(folder, path));
  return folder;
}

/** A mutant that makes a test run for ever is noticed too. */
const TEST_TIMEOUT_MS = 120_000;
const SEED_TIMEOUT_MS = 10_000;

/** True when every test passes. */
function testsPass(folder: string, tests: readonly string[]): boolean {
  const command = [process.execPath, "test", "--bail", ...tests.map((path) => `./${path}`)];
  const run = Bun.spawnSync(command, { cwd: folder, stdout: "ignore", stderr: "ignore", timeout: TEST_TIMEOUT_MS, killSignal: "SIGKILL" });
  return run.exitCode === 0;
}

/** Runs `check` with the bug planted. */
function withBug<T>(
  folder: string,
  mutant: Pick<Mutant, "name" | "file" | "find" | "replace"> & Pick<SimMutant, "also">,
  check: () => T,
): T {
  const path = join(folder, mutant.file);
  const original = readFileSync(path, "utf8");
  let patched = original;
  for (const { find, replace } of [mutant, ...(mutant.also ?? [])]) {
    const places = patched.split(find).length - 1;
    if (places !== 1) throw new Error(`mutant ${mutant.name}: its text occurs ${places} times in ${mutant.file}; it must occur once`);
    patched = patched.replace(find, () => replace);
  }
  writeFileSync(path, patched);
  try {
    return check();
  } finally {
    writeFileSync(path, original);
  }
}

/** What the simulator's clients noticed, in one line; undefined: nothing within the seeds. */
function huntSeeds(folder: string, seeds: number, place: Pick<SimMutant, "scenario" | "minutes"> = {}, from = 1): string | undefined {
  const command = [process.execPath, "scripts/sim-hunt.ts", "--from", String(from), "--seeds", String(seeds)];
  if (place.scenario !== undefined) command.push("--scenario", place.scenario);
  if (place.minutes !== undefined) command.push("--minutes", String(place.minutes));
  const timeout = Math.max(TEST_TIMEOUT_MS, seeds * SEED_TIMEOUT_MS);
  const run = Bun.spawnSync(command, { cwd: folder, stdout: "pipe", stderr: "pipe", timeout, killSignal: "SIGKILL" });
  if (run.exitCode === 0) return undefined;
  const last = run.stdout.toString().trim().split("\n").at(-1) ?? "";
  if (last.startsWith("seed ")) return last;
  console.error(`the hunt itself failed (exit ${run.exitCode}): ${run.stderr.toString().slice(0, 600)}`);
  return undefined;
}

const seedOf = (line: string): number => Number(/^seed (\d+)/.exec(line)?.[1]);

function mainSim(seeds: number, wanted: readonly string[]): number {
  const mutants = SIM_MUTANTS.filter((mutant) => wanted.length === 0 || wanted.some((part) => mutant.name.includes(part)));
  const folder = copyTree();
  try {
    const unpatched = huntSeeds(folder, Math.min(seeds, 14));
    if (unpatched !== undefined) {
      console.error(`without any planted bug: ${unpatched}`);
      return 1;
    }
    const survivors: string[] = [];
    for (const mutant of mutants) {
      const noticed = withBug(folder, mutant, () => huntSeeds(folder, seeds, mutant));
      const unpatched = noticed === undefined ? undefined : huntSeeds(folder, 1, mutant, seedOf(noticed));
      if (unpatched !== undefined) throw new Error(`without the bug ${mutant.name} as well: ${unpatched}`);
      if (noticed === undefined) survivors.push(mutant.name);
      console.log(`${noticed === undefined ? "SURVIVED" : "noticed "}  ${mutant.name.padEnd(28)} ${noticed?.slice(0, 160) ?? mutant.harm}`);
    }
    console.log(`${mutants.length - survivors.length} of ${mutants.length} planted bugs noticed by clients within ${seeds} seeds`);
    if (survivors.length > 0) console.log(`survivors: ${survivors.join(", ")}`);
    return mutants.length > 0 && survivors.length === 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function main(wanted: readonly string[]): number {
  const mutants = MUTANTS.filter((mutant) => wanted.length === 0 || wanted.some((part) => mutant.name.includes(part)));
  const folder = copyTree();
  try {
    const tests = [...new Set(mutants.flatMap((mutant) => mutant.tests))];
    if (!testsPass(folder, tests)) {
      console.error(`the tests fail without any planted bug: ${tests.join(" ")}`);
      return 1;
    }
    let survivors = 0;
    for (const mutant of mutants) {
      const killed = withBug(folder, mutant, () => !testsPass(folder, mutant.tests));
      if (!killed) survivors += 1;
      console.log(`${killed ? "noticed " : "SURVIVED"}  ${mutant.name.padEnd(28)} ${mutant.harm}`);
    }
    console.log(`${mutants.length - survivors} of ${mutants.length} planted bugs noticed`);
    return mutants.length > 0 && survivors === 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const [first = "", ...rest] = process.argv.slice(2);
process.exitCode = first === "--sim" ? mainSim(Number(rest[0]), rest.slice(1)) : main(process.argv.slice(2));
