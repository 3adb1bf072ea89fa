/**
 * Proves that the tests notice planted bugs: `bun scripts/mutants.ts [NAME-PART]...`. Copies src and test to a temporary folder, runs the named tests once
 * unpatched (they must pass), then once per mutant (one must fail). Exit code 1 when a mutant survives.
 * Neighbour: `sim-mutants.ts`, where clients in the simulator must notice.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { MUTANTS, type Mutant } from "./mutants-list.ts";

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

/** True when every test passes. */
function testsPass(folder: string, tests: readonly string[]): boolean {
  const command = [process.execPath, "test", "--bail", ...tests.map((path) => `./${path}`)];
  const run = Bun.spawnSync(command, { cwd: folder, stdout: "ignore", stderr: "ignore", timeout: TEST_TIMEOUT_MS, killSignal: "SIGKILL" });
  return run.exitCode === 0;
}

/** Runs `check` with the bug planted. */
function withBug<T>(folder: string, mutant: Mutant, check: () => T): T {
  const path = join(folder, mutant.file);
  const original = readFileSync(path, "utf8");
  const places = original.split(mutant.find).length - 1;
  if (places !== 1) throw new Error(`mutant ${mutant.name}: its text occurs ${places} times in ${mutant.file}; it must occur once`);
  writeFileSync(
    path,
    original.replace(mutant.find, () => mutant.replace),
  );
  try {
    return check();
  } finally {
    writeFileSync(path, original);
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

process.exitCode = main(process.argv.slice(2));
