/**
 * Other people's programs that tests run: whether they are here, and how to run one to its end. A test whose program is absent is skipped
 * with the reason in its name, so that the report shows it.
 */

import { test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { dirname } from "node:path";

export const repositoryRoot = dirname(dirname(import.meta.dir));

/** True when `command` can be found on the PATH. */
export function hasTool(command: string): boolean {
  return Bun.which(command) !== null;
}

export const isRoot = process.getuid?.() === 0;

/** `test`, or a visible skip that carries the reason. */
export function testIf(available: boolean, reason: string): (name: string, body: () => Promise<void> | void, timeoutMs?: number) => void {
  return (name, body, timeoutMs) => {
    if (available) test(name, body, timeoutMs);
    else test.skip(`${name} [skipped: ${reason}]`, body, timeoutMs);
  };
}

export interface ToolResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ToolOptions {
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** The program is killed after it. */
  readonly timeoutMs?: number;
}

export function runTool(command: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    cwd: options.cwd ?? repositoryRoot,
    env: { ...process.env, ...options.environment },
    stdio: ["pipe", "pipe", "pipe"],
    timeout: options.timeoutMs ?? 280_000,
    killSignal: "SIGKILL",
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  child.stdin.on("error", () => {});
  child.stdin.end(options.stdin ?? "");
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve({
        exitCode: code ?? -1,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString() + (signal === null ? "" : `\n(ended by ${signal})`),
      });
    });
  });
}

/** As runTool; throws with the end of what the program wrote when it does not exit with 0. */
export async function mustRunTool(command: readonly string[], options: ToolOptions = {}): Promise<string> {
  const result = await runTool(command, options);
  if (result.exitCode !== 0) {
    throw new Error(`${command.join(" ")} exited with ${result.exitCode}:\n${`${result.stdout}\n${result.stderr}`.slice(-3000)}`);
  }
  return result.stdout;
}

/** As mustRunTool, blocking: for module-level checks before tests are declared. */
export function tryRunToolSync(command: readonly string[], cwd = repositoryRoot): string | undefined {
  const [program = "", ...args] = command;
  const result = spawnSync(program, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  return result.status === 0 ? result.stdout : undefined;
}
