#!/usr/bin/env node
/**
 * From a fresh checkout to a running task with nothing but Node >= 20 and npm: gets Bun, then the dependencies, then hands over to
 * `scripts/task.ts`, which does the rest under Bun. Plain JavaScript without dependencies, because nothing is installed yet.
 *
 *   node scripts/bootstrap.mjs TASK [ARGUMENT...]
 *
 * Bun comes from the npm registry, pinned by package.json. Its package moves the real binary into place in an install script, which
 * npm may be set not to run; so the script is run here, explicitly.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

function fail(message) {
  console.error(`weir: ${message}`);
  process.exit(1);
}

/** Runs a command with inherited output; ends this process with one clear line when it cannot be run or fails. */
function mustRun(command, args, what) {
  const result = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (result.error?.code === "ENOENT") fail(`${command} was not found; ${what} needs it`);
  if (result.error) fail(`${what} failed: ${result.error.message}`);
  if (result.status !== 0) fail(`${what} failed: ${command} ${args.join(" ")} (exit ${result.status ?? result.signal})`);
}

/** The version that a Bun binary reports, or undefined when it is absent or still the stub that its package ships. */
function readBunVersion(path) {
  if (!existsSync(path)) return undefined;
  const result = spawnSync(path, ["--version"], { encoding: "utf8" });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

function getBun(version) {
  const home = join("build", "bun", version);
  const binary = join(home, "node_modules", ".bin", "bun");
  if (readBunVersion(binary) !== version) {
    console.error(`weir: getting Bun ${version} from the npm registry`);
    mkdirSync(home, { recursive: true });
    mustRun(
      "npm",
      ["install", "--prefix", home, "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", `bun@${version}`],
      "getting Bun",
    );
    mustRun(process.execPath, [join(home, "node_modules", "bun", "install.js")], "unpacking Bun");
    const found = readBunVersion(binary);
    if (found !== version) fail(`the Bun binary reports version ${found ?? "nothing"} where ${version} was expected`);
  }
  return binary;
}

function installDependencies(version) {
  const inputs = createHash("sha256").update(readFileSync("package.json")).update(readFileSync("bun.lock")).digest("hex");
  const stamp = join("node_modules", ".weir-installed");
  const installed = existsSync(stamp) ? readFileSync(stamp, "utf8") : "";
  const bun = join("node_modules", ".bin", "bun");
  if (installed === inputs && existsSync(bun)) return bun;
  console.error("weir: installing dependencies (bun.lock)");
  mustRun(getBun(version), ["install", "--frozen-lockfile"], "installing dependencies");
  if (readBunVersion(bun) !== version) fail(`node_modules/.bin/bun is not Bun ${version}; remove node_modules and run this again`);
  writeFileSync(stamp, inputs);
  return bun;
}

const [major] = process.versions.node.split(".").map(Number);
if (major < 20) fail(`Node ${process.versions.node} is too old; install Node >= 20`);

const { devDependencies } = JSON.parse(readFileSync("package.json", "utf8"));
const bun = installDependencies(devDependencies.bun);
const task = spawn(bun, [join("scripts", "task.ts"), ...process.argv.slice(2)], { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => task.kill(signal));
task.on("error", (error) => fail(`cannot run Bun: ${error.message}`));
task.on("exit", (code) => process.exit(code ?? 1));
