/**
 * Skips a build step whose inputs have not changed. A stamp is a file that holds the hash of the inputs as they were when the output was
 * made; it is written after the output, so that an interrupted step runs again.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface Step {
  /** Files and folders, relative to `root`. One that does not exist counts as absent, which is an input like any other. */
  readonly inputs: readonly string[];
  /** Other things the output depends on: target, tool versions. */
  readonly facts: readonly string[];
  readonly output: string;
  readonly stamp: string;
}

const skippedFolders = new Set(["target", "node_modules", ".git"]);

function* filesUnder(path: string): Generator<string> {
  if (!existsSync(path)) return;
  if (!statSync(path).isDirectory()) {
    yield path;
    return;
  }
  for (const name of readdirSync(path).sort()) {
    if (!skippedFolders.has(name)) yield* filesUnder(join(path, name));
  }
}

export function hashInputs(root: string, step: Step): string {
  const hash = createHash("sha256");
  for (const fact of step.facts) hash.update(`fact ${fact}\n`);
  for (const input of step.inputs) {
    for (const file of filesUnder(join(root, input))) {
      const content = readFileSync(file);
      hash.update(`file ${file.slice(root.length)} ${content.length}\n`).update(content);
    }
  }
  return hash.digest("hex");
}

/** True when `output` exists and was made from the inputs as they are now. */
export function isCurrent(root: string, step: Step): boolean {
  const stamp = join(root, step.stamp);
  return existsSync(join(root, step.output)) && existsSync(stamp) && readFileSync(stamp, "utf8") === hashInputs(root, step);
}

/** `inputsHash` is the one taken before the step ran, so that an edit during the step is not missed. */
export function writeStamp(root: string, step: Step, inputsHash: string): void {
  const stamp = join(root, step.stamp);
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, inputsHash);
}
