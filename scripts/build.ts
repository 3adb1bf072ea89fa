/**
 * Builds dist/weir, the one file a user needs: Bun's runtime, the bundled program as bytecode, and the native addon
 * (build/native/weir.bin, embedded as a plain asset and loaded from memory, see src/native/load-addon.ts).
 *
 *   bun scripts/build.ts [--target linux-x64|linux-arm64]
 *
 * The source map is inside the executable; the copy that Bun writes beside it stays in build/executable/.
 */
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { localBinary, mustRun, runMain, ScriptFailure } from "./lib/process.ts";

const targets: Readonly<Record<string, string>> = { "linux-x64": "bun-linux-x64", "linux-arm64": "bun-linux-arm64" };

/**
 * `--bytecode` alone would emit CommonJS, in which `import.meta.url` is the path at build time; the two autoload flags keep a `.env` or
 * bunfig.toml in the directory where the broker happens to be started from changing it.
 */
const flags = [
  "--compile",
  "--minify",
  "--sourcemap",
  "--bytecode",
  "--format=esm",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
];

function readTarget(args: readonly string[]): string | undefined {
  if (args.length === 0) return undefined;
  const [flag, target] = args;
  if (flag !== "--target" || target === undefined || args.length > 2 || targets[target] === undefined) {
    throw new ScriptFailure(`usage: npm run build [-- --target ${Object.keys(targets).join("|")}]`);
  }
  return targets[target];
}

await runMain(() => {
  const target = readTarget(process.argv.slice(2));
  for (const input of ["src/main.ts", "build/native/weir.bin"]) {
    if (!existsSync(input)) throw new ScriptFailure(`${input} is missing; it is part of dist/weir`);
  }
  mkdirSync("dist", { recursive: true });
  mkdirSync("build/executable", { recursive: true });
  const targetFlags = target === undefined ? [] : [`--target=${target}`];
  mustRun(localBinary("bun"), ["build", ...flags, ...targetFlags, "src/main.ts", "--outfile", "build/executable/weir"], {
    purpose: "building dist/weir",
  });
  renameSync("build/executable/weir", "dist/weir");
  return 0;
});
