/**
 * The build steps that tasks share: the native addon, the optional zstd oracle, the executable. Each is skipped when its inputs have not
 * changed since it last succeeded (`stamp.ts`).
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { localBinary, mustRun, repositoryRoot, run, ScriptFailure, tryCapture } from "./process.ts";
import { hashInputs, isCurrent, type Step, writeStamp } from "./stamp.ts";

export const minimumRust = "1.89";
const rustMissing = `cargo was not found; install Rust >= ${minimumRust} (https://rustup.rs) and run this again`;

/** Throws ScriptFailure with one clear line when there is no cargo, or one that is too old for the addon's crates. */
export function checkRust(): void {
  const version = tryCapture("cargo", ["--version"])?.match(/^cargo (\d+)\.(\d+)/);
  if (version === null || version === undefined) throw new ScriptFailure(rustMissing);
  const [wantedMajor = 0, wantedMinor = 0] = minimumRust.split(".").map(Number);
  const major = Number(version[1]);
  const minor = Number(version[2]);
  if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor)) {
    throw new ScriptFailure(`cargo ${major}.${minor} is too old; install Rust >= ${minimumRust} (https://rustup.rs) and run this again`);
  }
}

function ensure(step: Step, make: () => void): void {
  if (isCurrent(repositoryRoot, step)) return;
  const before = hashInputs(repositoryRoot, step);
  make();
  if (!existsSync(join(repositoryRoot, step.output))) throw new ScriptFailure(`the build ended without ${step.output}`);
  writeStamp(repositoryRoot, step, before);
}

/** build/native/weir.bin for `target` (undefined: this machine). */
export function ensureAddon(target?: string): void {
  checkRust();
  ensure(
    {
      inputs: ["native", "scripts/build-addon.ts", "rust-toolchain.toml"],
      facts: [target ?? "host", tryCapture("rustc", ["-vV"]) ?? ""],
      output: "build/native/weir.bin",
      stamp: "build/stamps/addon",
    },
    () => {
      console.error("weir: building the native addon");
      const targetArgs = target === undefined ? [] : ["--target", target];
      mustRun(localBinary("bun"), ["scripts/build-addon.ts", ...targetArgs], {
        purpose: "building the native addon",
        whenMissing: rustMissing,
      });
    },
  );
}

/** dist/weir for `target` (undefined: this machine). */
export function ensureExecutable(target?: string): void {
  ensureAddon(target);
  ensure(
    {
      inputs: ["src", "scripts/build.ts", "package.json", "bun.lock", "tsconfig.json", "build/native/weir.bin"],
      facts: [target ?? "host"],
      output: "dist/weir",
      stamp: "build/stamps/executable",
    },
    () => {
      console.error("weir: building dist/weir");
      const targetArgs = target === undefined ? [] : ["--target", target];
      mustRun(localBinary("bun"), ["scripts/build.ts", ...targetArgs], { purpose: "building dist/weir" });
    },
  );
}

/**
 * zstd-napi, an independent oracle for the codec tests, has no prebuilt binary inside its package: it is compiled here once. It is
 * optional: where that does not work, one line says so and the tests that use it are skipped.
 */
export function tryBuildZstdOracle(): void {
  const home = join(repositoryRoot, "node_modules", "zstd-napi");
  if (!existsSync(home) || existsSync(join(home, "build", "Release", "binding.node"))) return;
  const stamp = join(repositoryRoot, "build", "stamps", "zstd-oracle-failed");
  if (existsSync(stamp)) {
    console.error(`weir: the optional zstd-napi did not build here: ${readFileSync(stamp, "utf8")}; its tests are skipped`);
    return;
  }
  console.error("weir: building the optional zstd-napi (a minute or two, once)");
  const log = join(repositoryRoot, "build", "zstd-napi.log");
  mkdirSync(join(repositoryRoot, "build", "stamps"), { recursive: true });
  const headers = tryCapture("node", ["-p", "path.dirname(path.dirname(process.execPath))"]);
  const hasHeaders = headers !== undefined && existsSync(join(headers, "include", "node", "node_api.h"));
  const status = run("bash", ["-c", `timeout 400 npm rebuild zstd-napi --foreground-scripts >'${log}' 2>&1`], {
    purpose: "building zstd-napi",
    environment: { JOBS: "2", ...(hasHeaders ? { npm_config_nodedir: headers } : {}) },
  });
  if (status === 0 && existsSync(join(home, "build", "Release", "binding.node"))) return;
  writeFileSync(stamp, `exit ${status}, see build/zstd-napi.log`);
  console.error(`weir: the optional zstd-napi did not build (exit ${status}, see build/zstd-napi.log); its tests are skipped`);
}
