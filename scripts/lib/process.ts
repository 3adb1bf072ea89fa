/**
 * Running other programs from the scripts in this folder. Every failure ends in one line that names the program and what wanted it.
 */
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";

/** Top of the repository; the scripts run there. */
export const repositoryRoot = dirname(dirname(import.meta.dir));

/** A failure whose message is the whole story: printed as one line, without a stack. */
export class ScriptFailure extends Error {
  override readonly name = "ScriptFailure";
}

export interface RunOptions {
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** What the program is wanted for: ends the sentence "X was not found; ... needs it". */
  readonly purpose: string;
  /** Printed instead when the program is absent. */
  readonly whenMissing?: string;
}

/** Runs a program with inherited output. Throws ScriptFailure when it is absent or exits non-zero. */
export function mustRun(command: string, args: readonly string[], options: RunOptions): void {
  const status = run(command, args, options);
  if (status !== 0) throw new ScriptFailure(`${options.purpose} failed: ${command} ${args.join(" ")} (exit ${status})`);
}

/** As mustRun, but answers the exit code (-1 when a signal ended it). */
export function run(command: string, args: readonly string[], options: RunOptions): number {
  const result = spawnSync(command, args, {
    cwd: options.cwd ?? repositoryRoot,
    env: { ...process.env, ...options.environment },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (result.error !== undefined) {
    const absent = (result.error as NodeJS.ErrnoException).code === "ENOENT";
    throw new ScriptFailure(
      absent
        ? (options.whenMissing ?? `${command} was not found; ${options.purpose} needs it`)
        : `${options.purpose} failed: ${result.error.message}`,
    );
  }
  return result.status ?? -1;
}

/** Standard output of a program, trimmed; undefined when it is absent or fails. */
export function tryCapture(command: string, args: readonly string[]): string | undefined {
  const result = spawnSync(command, args, { cwd: repositoryRoot, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

/** A program that `bun install` put into the checkout. */
export function localBinary(name: string): string {
  return join(repositoryRoot, "node_modules", ".bin", name);
}

/** Ends a script: one line on standard error for a ScriptFailure, a stack for anything else. */
export async function runMain(main: () => number | Promise<number>): Promise<never> {
  process.chdir(repositoryRoot);
  try {
    process.exit(await main());
  } catch (error) {
    if (!(error instanceof ScriptFailure)) throw error;
    console.error(`weir: ${error.message}`);
    process.exit(1);
  }
}
