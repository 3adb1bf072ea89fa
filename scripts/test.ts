/**
 * npm test: every suite, with progress, then what failed, ending with exactly one line "N passed, N failed, N skipped". Todo tests and Rust's ignored
 * ones count as skipped.
 *
 *   npm test [-- SUITE|PATH...]     SUITE: native unit sim conformance chaos (default: all); a PATH is handed to `bun test`
 *
 * Also writes the line to build/test/summary.txt, which .ci/run adds up.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addCounts, type Counts, formatCounts, noTests, parseCargoOutput, parseJunit } from "./lib/counts.ts";
import { bunFailures, cargoFailures } from "./lib/failures.ts";
import { localBinary, repositoryRoot, runMain, ScriptFailure } from "./lib/process.ts";

/** Test files that run at once. Each has a process of its own; much of a conformance test is waiting for a client to start. */
const lanes = 2;

/** Default limit of one test, ms: generous, since the machine may be busy; a hang still ends. */
const suiteTimeoutsMs: Readonly<Record<string, number>> = { unit: 60_000, sim: 120_000, conformance: 300_000, chaos: 300_000 };

interface Outcome {
  readonly counts: Counts;
  readonly exitCode: number;
  /** What was printed of each failed test. */
  readonly failures: readonly string[];
}

/** Runs a program, passes its output through, and answers what it wrote. */
function runThrough(
  command: string,
  args: readonly string[],
  cwd: string,
): Promise<{ readonly output: string; readonly exitCode: number }> {
  const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  const chunks: Buffer[] = [];
  const take = (chunk: Buffer): void => {
    chunks.push(chunk);
    process.stderr.write(chunk);
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  return new Promise((resolve, reject) => {
    child.on("error", (error) => reject(new ScriptFailure(`cannot run ${command}: ${error.message}`)));
    child.on("close", (code) => resolve({ output: Buffer.concat(chunks).toString(), exitCode: code ?? 1 }));
  });
}

async function runNative(): Promise<Outcome> {
  const { output, exitCode } = await runThrough("cargo", ["test", "-j2"], join(repositoryRoot, "native"));
  return { counts: parseCargoOutput(output), exitCode, failures: cargoFailures(output) };
}

async function runBun(name: string, paths: readonly string[]): Promise<Outcome> {
  const junit = join("build", "test", `${name}.xml`);
  rmSync(junit, { force: true });
  const timeoutMs = suiteTimeoutsMs[name] ?? 300_000;
  const { output, exitCode } = await runThrough(
    localBinary("bun"),
    ["test", `--timeout=${timeoutMs}`, `--parallel=${lanes}`, "--reporter=junit", `--reporter-outfile=${junit}`, ...paths],
    repositoryRoot,
  );
  if (!existsSync(junit)) throw new ScriptFailure(`bun test ended without ${junit} (exit ${exitCode})`);
  return { counts: parseJunit(readFileSync(junit, "utf8")), exitCode, failures: bunFailures(output) };
}

function plan(args: readonly string[]): readonly { readonly name: string; readonly run: () => Promise<Outcome> }[] {
  const suite = (name: string) => ({ name, run: () => (name === "native" ? runNative() : runBun(name, [`./test/${name}`])) });
  const suites = ["native", "unit", "sim", "conformance", "chaos"];
  if (args.length === 0) return suites.map(suite);
  const paths = args.filter((arg) => !suites.includes(arg));
  const chosen = suites.filter((name) => args.includes(name)).map(suite);
  return paths.length === 0 ? chosen : [...chosen, { name: "paths", run: () => runBun("paths", paths) }];
}

await runMain(async () => {
  mkdirSync("build/test", { recursive: true });
  let total = noTests;
  let failed = false;
  const failures: string[] = [];
  for (const suite of plan(process.argv.slice(2))) {
    console.error(`--- ${suite.name}`);
    const { counts, exitCode, failures: ofSuite } = await suite.run();
    failures.push(...ofSuite);
    console.error(`--- ${suite.name}: ${formatCounts(counts)}`);
    total = addCounts(total, counts);
    if (exitCode !== 0 && counts.failed === 0) console.error(`--- ${suite.name}: ended with exit code ${exitCode} though no test failed`);
    failed ||= exitCode !== 0 || counts.failed > 0;
  }
  if (failures.length > 0) console.error(`--- what failed\n${failures.join("\n\n")}`);
  const line = formatCounts(total);
  writeFileSync("build/test/summary.txt", `${line}\n`);
  console.log(line);
  return failed || total.passed === 0 ? 1 : 0;
});
