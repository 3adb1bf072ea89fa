/**
 * npm run lint: formatter and linter, type check, the project's own checks, and the same for the Rust addon. Runs everything, then says what
 * failed, so that one run shows all there is to mend.
 */
import { localBinary, run, runMain } from "./lib/process.ts";
import { checkRust } from "./lib/steps.ts";

interface Check {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
}

const bun = localBinary("bun");
const checks: readonly Check[] = [
  {
    name: "biome",
    command: localBinary("biome"),
    args: ["check", "--error-on-warnings", "src", "test", "scripts", "package.json", "biome.json", "tsconfig.json"],
  },
  { name: "tsc", command: localBinary("tsc"), args: ["-p", "."] },
  { name: "layers", command: bun, args: ["scripts/check-layers.ts"] },
  { name: "world", command: bun, args: ["scripts/check-world.ts"] },
  { name: "tidy", command: bun, args: ["scripts/tidy.ts"] },
  { name: "cargo fmt", command: "cargo", args: ["fmt", "--check"], cwd: "native" },
  { name: "clippy", command: "cargo", args: ["clippy", "--all-targets", "-j2", "--", "-D", "warnings"], cwd: "native" },
];

await runMain(() => {
  checkRust();
  const failed: string[] = [];
  for (const check of checks) {
    console.error(`--- ${check.name}`);
    const status = run(check.command, check.args, {
      purpose: `npm run lint (${check.name})`,
      ...(check.cwd === undefined ? {} : { cwd: check.cwd }),
    });
    if (status !== 0) failed.push(check.name);
  }
  console.error(failed.length === 0 ? "lint: ok" : `lint: failed: ${failed.join(", ")}`);
  return failed.length === 0 ? 0 : 1;
});
