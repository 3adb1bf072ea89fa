/**
 * Builds the Rust addon with @napi-rs/cli into build/native/weir.bin.
 *
 *   bun scripts/build-addon.ts [--target linux-x64|linux-arm64]
 *
 * The linker is zig's, through cargo-zigbuild, both from PyPI and kept in build/toolchain: it links against an old glibc, whatever this
 * machine has, and for either architecture. Where Python or PyPI cannot be had, plain cargo builds for this machine alone, with a notice.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { compareVersions, glibcLimit, readGlibcFloor } from "./check-glibc.ts";
import { localBinary, mustRun, runMain, ScriptFailure, tryCapture } from "./lib/process.ts";

const triples: Readonly<Record<string, string>> = {
  "linux-x64": "x86_64-unknown-linux-gnu",
  "linux-arm64": "aarch64-unknown-linux-gnu",
};

/** Older than the promise (check-glibc.ts), and new enough for every call the addon makes (statx, pwritev2). */
const linkedGlibc = "2.28";
const zigPackages = ["ziglang==0.17.1", "cargo-zigbuild==0.24.0"];
const zigHome = resolve("build/toolchain/zig");
const zigBinary = join(zigHome, "ziglang", "zig");
const zigbuildBinary = join(zigHome, "bin", "cargo-zigbuild");
/** Written after zig's packages are in place; names their versions. */
const zigStamp = join(zigHome, "complete");
const outputFolder = "build/native";

const host = `linux-${process.arch}`;

function readTarget(args: readonly string[]): string {
  const [flag, target = host] = args;
  const triple = triples[target];
  if ((args.length > 0 && flag !== "--target") || args.length > 2 || triple === undefined) {
    throw new ScriptFailure(`usage: bun scripts/build-addon.ts [--target ${Object.keys(triples).join("|")}]`);
  }
  return triple;
}

/** True when zig and cargo-zigbuild are in build/toolchain, fetched now if need be. */
function ensureZig(): boolean {
  const wanted = zigPackages.join(" ");
  if (existsSync(zigStamp) && readFileSync(zigStamp, "utf8") === wanted) return true;
  console.error("weir: getting zig and cargo-zigbuild from PyPI (once)");
  if (!installZig()) return false;
  writeFileSync(zigStamp, wanted);
  return true;
}

/** With the machine's own pip, else with one in a virtual environment. */
function installZig(): boolean {
  rmSync(zigHome, { recursive: true, force: true });
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", zigHome, ...zigPackages];
  const present = (): boolean => existsSync(zigBinary) && existsSync(zigbuildBinary);
  if (tryCapture("python3", pip) !== undefined && present()) return true;
  const environment = resolve("build/toolchain/venv");
  if (tryCapture("python3", ["-m", "venv", environment]) === undefined) return false;
  return tryCapture(join(environment, "bin", "python"), pip) !== undefined && present();
}

/** Standard libraries for other architectures are a download of rustup's. */
function ensureRustTarget(triple: string): void {
  const library = tryCapture("rustc", ["--print", "target-libdir", "--target", triple]);
  if (library !== undefined && existsSync(library)) return;
  const added = tryCapture("rustup", ["target", "add", triple]);
  if (added === undefined) throw new ScriptFailure(`Rust has no standard library for ${triple}; run "rustup target add ${triple}"`);
}

/** The library as the linker made it lies in `folder`/index.node. */
function build(triple: string, withZig: boolean, folder: string): void {
  const target = withZig ? ["--cross-compile", "--target", `${triple}.${linkedGlibc}`] : ["--target", triple];
  const napi = ["build", "--release", "--manifest-path", "native/Cargo.toml", "--package-json-path", "package.json"];
  mustRun(localBinary("napi"), [...napi, "--target-dir", "native/target", "--output-dir", folder, ...target, "--", "--locked"], {
    purpose: "building the native addon",
    environment: {
      CARGO_BUILD_JOBS: process.env.CARGO_BUILD_JOBS ?? "2",
      ...(withZig ? { CARGO_ZIGBUILD_ZIG_PATH: zigBinary, PATH: [join(zigHome, "bin"), process.env.PATH].join(delimiter) } : {}),
    },
  });
}

/** Where zig linked, the floor is a promise; elsewhere it is this machine's, and only said. */
function checkFloor(file: string, withZig: boolean): string {
  const floor = readGlibcFloor(readFileSync(file)) ?? "0";
  if (compareVersions(floor, glibcLimit) <= 0) return floor;
  const message = `the addon needs GLIBC_${floor}, above the promised ${glibcLimit}`;
  if (withZig) throw new ScriptFailure(message);
  console.error(`weir: ${message}: it runs here, but do not give it to others`);
  return floor;
}

await runMain(() => {
  const triple = readTarget(process.argv.slice(2));
  const withZig = ensureZig();
  if (!withZig) {
    const why = "zig cannot be had from PyPI (python3 with pip or venv, and a network, are needed)";
    if (triple !== triples[host]) throw new ScriptFailure(`${why}; without it the addon is built for ${host} alone`);
    console.error(`weir: ${why}; building with plain cargo for this machine's glibc`);
  }
  ensureRustTarget(triple);
  const folder = `${outputFolder}/making-${process.pid}`;
  mkdirSync(folder, { recursive: true });
  try {
    build(triple, withZig, folder);
    const floor = checkFloor(`${folder}/index.node`, withZig);
    renameSync(`${folder}/index.node`, `${outputFolder}/weir.bin`);
    console.error(`weir: ${outputFolder}/weir.bin needs GLIBC_${floor} (${triple}${withZig ? ", linked by zig" : ""})`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return 0;
});
