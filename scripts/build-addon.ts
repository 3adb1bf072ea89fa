/**
 * Builds the Rust addon with @napi-rs/cli into build/native/weir.bin.
 *
 *   bun scripts/build-addon.ts [--target linux-x64|linux-arm64]
 *
 * The linker is zig's, through cargo-zigbuild, both from PyPI and kept in build/toolchain: it links against an old glibc, whatever this
 * machine has, and for either architecture. Where Python or PyPI cannot be had, plain cargo builds for this machine alone, with a notice.
 */
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
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
const outputFolder = "build/native";

function readTarget(args: readonly string[]): string {
  const host = `linux-${process.arch}`;
  const [flag, target = host] = args;
  const triple = triples[target];
  if ((args.length > 0 && flag !== "--target") || args.length > 2 || triple === undefined) {
    throw new ScriptFailure(`usage: bun scripts/build-addon.ts [--target ${Object.keys(triples).join("|")}]`);
  }
  return triple;
}

/** True when zig and cargo-zigbuild are in build/toolchain, fetched now if need be. */
function ensureZig(): boolean {
  const present = () => existsSync(zigBinary) && existsSync(zigbuildBinary);
  if (present()) return true;
  console.error("weir: getting zig and cargo-zigbuild from PyPI (once)");
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade", "--target", zigHome];
  if (tryCapture("python3", [...pip, ...zigPackages]) !== undefined) return present();
  const environment = resolve("build/toolchain/venv");
  if (tryCapture("python3", ["-m", "venv", environment]) === undefined) return false;
  return tryCapture(join(environment, "bin", "python"), [...pip, ...zigPackages]) !== undefined && present();
}

/** Standard libraries for other architectures are a download of rustup's. */
function ensureRustTarget(triple: string): void {
  const library = tryCapture("rustc", ["--print", "target-libdir", "--target", triple]);
  if (library !== undefined && existsSync(library)) return;
  const added = tryCapture("rustup", ["target", "add", triple]);
  if (added === undefined) throw new ScriptFailure(`Rust has no standard library for ${triple}; run "rustup target add ${triple}"`);
}

function build(triple: string, withZig: boolean): void {
  const target = withZig ? ["--cross-compile", "--target", `${triple}.${linkedGlibc}`] : ["--target", triple];
  const napi = ["build", "--release", "--manifest-path", "native/Cargo.toml", "--package-json-path", "package.json"];
  mustRun(localBinary("napi"), [...napi, "--target-dir", "native/target", "--output-dir", outputFolder, ...target, "--", "--locked"], {
    purpose: "building the native addon",
    environment: {
      CARGO_BUILD_JOBS: process.env.CARGO_BUILD_JOBS ?? "2",
      ...(withZig ? { CARGO_ZIGBUILD_ZIG_PATH: zigBinary, PATH: [join(zigHome, "bin"), process.env.PATH].join(delimiter) } : {}),
    },
  });
}

await runMain(() => {
  const triple = readTarget(process.argv.slice(2));
  ensureRustTarget(triple);
  const withZig = ensureZig();
  if (!withZig)
    console.error("weir: no zig from PyPI (python3 with pip or venv is needed); building with plain cargo for this machine's glibc");
  mkdirSync(outputFolder, { recursive: true });
  build(triple, withZig);
  renameSync(join(outputFolder, "index.node"), join(outputFolder, "weir.bin"));
  const floor = readGlibcFloor(readFileSync(join(outputFolder, "weir.bin"))) ?? "0";
  if (compareVersions(floor, glibcLimit) > 0) {
    const message = `the addon needs GLIBC_${floor}, above the promised ${glibcLimit}`;
    if (withZig) throw new ScriptFailure(message);
    console.error(`weir: ${message}: it runs here, but do not give it to others`);
  }
  console.error(`weir: ${outputFolder}/weir.bin needs GLIBC_${floor} (${triple}${withZig ? ", linked by zig" : ""})`);
  return 0;
});
