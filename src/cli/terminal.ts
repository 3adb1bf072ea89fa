/** How commands speak: lines that are written at once (also when the process ends right after), and one line for a trouble. */
import { writeSync } from "node:fs";
import { Trouble } from "../base/trouble.ts";

/** Tries of a write whose pipe is full before the line is dropped: a reader that stands still must not stop the broker. */
const WRITE_TRIES = 100;

export function writeLine(descriptor: 1 | 2, line: string): void {
  const bytes = Buffer.from(line.endsWith("\n") ? line : `${line}\n`);
  let from = 0;
  for (let tries = 0; from < bytes.length && tries < WRITE_TRIES; tries++) {
    try {
      from += writeSync(descriptor, bytes, from);
    } catch (error) {
      if ((error as { code?: string }).code !== "EAGAIN") return;
    }
  }
}

/** "weir: MESSAGE; REMEDY (CODE)", always one line. */
export function renderTrouble(trouble: Trouble): string {
  const remedy = trouble.remedy === undefined ? "" : `; ${trouble.remedy.replace(/\.$/, "")}`;
  return `weir: ${trouble.message}${remedy} (${trouble.code})`.replace(/\s*[\r\n]+\s*/g, " ");
}

/** The line for whatever a command ended with, and the exit code. A bug keeps its stack. */
export function renderEnd(error: unknown): { readonly line: string; readonly exitCode: number } {
  if (error instanceof Trouble) return { line: renderTrouble(error), exitCode: error.exitCode };
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { line: `weir: broker.crashed: this is a bug, please report it: ${stack}`, exitCode: 1 };
}
