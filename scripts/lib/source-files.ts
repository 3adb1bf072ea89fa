/**
 * The files of the checkout as the checks see them: a path with forward slashes and its text. The checks are pure functions over such
 * lists, so that their tests can hand them files that break a rule.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot, ScriptFailure, tryCapture } from "./process.ts";

export interface SourceFile {
  /** Relative to the top of the repository: "src/base/clock.ts". */
  readonly path: string;
  readonly text: string;
}

/** One broken rule. */
export interface Finding {
  readonly path: string;
  /** 1-based; undefined when the whole file is meant. */
  readonly line?: number;
  readonly message: string;
}

/** Tracked and new files that git does not ignore, whose path passes `wanted`. */
export function readSourceFiles(wanted: (path: string) => boolean): SourceFile[] {
  const listing = tryCapture("git", ["ls-files", "--cached", "--others", "--exclude-standard"]);
  if (listing === undefined) throw new ScriptFailure("git ls-files failed; the checks need a git checkout");
  const files: SourceFile[] = [];
  for (const path of listing.split("\n")) {
    if (path === "" || !wanted(path)) continue;
    try {
      files.push({ path, text: readFileSync(join(repositoryRoot, path), "utf8") });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  return files;
}

/** Prints findings as "path:line: message"; answers the exit code. */
export function report(check: string, findings: readonly Finding[]): number {
  for (const finding of findings) {
    console.error(`${finding.path}${finding.line === undefined ? "" : `:${finding.line}`}: ${finding.message}`);
  }
  console.error(findings.length === 0 ? `${check}: ok` : `${check}: ${findings.length} found`);
  return findings.length === 0 ? 0 : 1;
}

/** Replaces comments by spaces, so that a check does not trip over words in them. Strings are kept, line numbers too. */
export function blankComments(text: string): string {
  const keep = /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  return text.replace(keep, (match) => (match.startsWith("/") ? match.replace(/[^\n]/g, " ") : match));
}

/** Replaces comments and the content of strings by spaces; lengths and line numbers stay. */
export function blankCommentsAndStrings(text: string): string {
  const token = /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  return text.replace(token, (match) => {
    // A template may hold code between ${ and }; keep it as it is.
    if (match.startsWith("`") && match.includes("${")) return match;
    return match.replace(/[^\n]/g, " ");
  });
}

export function lineOf(text: string, index: number): number {
  let line = 1;
  for (let i = text.indexOf("\n"); i !== -1 && i < index; i = text.indexOf("\n", i + 1)) line++;
  return line;
}
