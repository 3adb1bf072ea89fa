/**
 * One entry for every npm script: makes what the task needs, then runs it. `bootstrap.mjs` calls it once Bun and the dependencies are there.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { localBinary, repositoryRoot, runMain, ScriptFailure } from "./lib/process.ts";
import { ensureAddon, ensureExecutable, tryBuildZstdOracle } from "./lib/steps.ts";

/** Runs a program in the foreground and passes signals on, so that SIGTERM drains the broker. Answers its exit code. */
function runForeground(command: string, args: readonly string[]): Promise<number> {
  const child = spawn(command, args, { cwd: repositoryRoot, stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
}

function runScript(name: string, args: readonly string[]): Promise<number> {
  return runForeground(localBinary("bun"), [join("scripts", name), ...args]);
}

const tasks: Readonly<Record<string, (args: readonly string[]) => number | Promise<number>>> = {
  /** A broker on 127.0.0.1:9092; data under ./weir-data. Arguments go to `weir start`. */
  start: (args) => {
    ensureExecutable();
    return runForeground(join(repositoryRoot, "dist", "weir"), ["start", ...args]);
  },
  build: (args) => {
    const target = args[0] === "--target" ? args[1] : undefined;
    if (args.length > 0 && target === undefined) throw new ScriptFailure("usage: npm run build [-- --target linux-x64|linux-arm64]");
    ensureExecutable(target);
    console.error("weir: dist/weir is up to date");
    return 0;
  },
  test: (args) => {
    ensureAddon();
    tryBuildZstdOracle();
    ensureExecutable();
    return runScript("test.ts", args);
  },
  lint: (args) => runScript("lint.ts", args),
  /** One seed of the simulator: `npm run sim -- --seed N [--minutes M] [--scenario NAME]`. */
  sim: (args) => {
    ensureAddon();
    return runScript("sim.ts", args);
  },
  /** Weir beside Apache Kafka: `npm run bench -- --help`. */
  bench: (args) => {
    ensureExecutable();
    return runForeground(localBinary("bun"), [join("test", "bench", "main.ts"), ...args]);
  },
};

await runMain(async () => {
  const [name = "", ...args] = process.argv.slice(2);
  const task = tasks[name];
  if (task === undefined) throw new ScriptFailure(`unknown task "${name}"; there is ${Object.keys(tasks).join(", ")}`);
  return await task(args);
});
