/**
 * Small rules that neither the formatter nor the linter knows: how long a file may be, that it begins with a header comment, that each room
 * has a short README, and that no path of somebody's machine is written down.
 */
import { runMain } from "./lib/process.ts";
import { type Finding, readSourceFiles, report, type SourceFile } from "./lib/source-files.ts";

/** A TypeScript or Rust file is split before it is longer. Generated codecs are not counted. */
const fileLineLimit = 600;
const readmeLineLimit = 60;

/** Longer on purpose -> why. */
export const longFiles: Readonly<Record<string, string>> = {};

const isGenerated = (path: string): boolean => path.startsWith("src/protocol/messages/") || path.includes("/fixtures/");
const isCode = (path: string): boolean => /\.(?:ts|mjs|rs|go|java|py)$/.test(path);
const isText = (path: string): boolean =>
  isCode(path) || /\.(?:md|json|toml|yaml|yml|sh|xml|properties)$/.test(path) || path === ".ci/run" || path === ".gitignore";

/** Home folders, temporary folders with a name in them, and the like: what works on one machine only. */
const machinePath = /(?<![\w.$}~-])\/(?:root|home\/\w+|Users\/\w+|work)\/[\w.-]+/;

function lineCount(text: string): number {
  return text === "" ? 0 : text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
}

function checkCode(file: SourceFile, exceptions: Readonly<Record<string, string>>): Finding[] {
  const findings: Finding[] = [];
  const lines = lineCount(file.text);
  if (lines > fileLineLimit && exceptions[file.path] === undefined) {
    findings.push({ path: file.path, message: `${lines} lines; split it by ${fileLineLimit} or name the reason in scripts/tidy.ts` });
  }
  // A unit test mirrors a source file, whose header says what both are about.
  if (file.path.startsWith("test/unit/") && file.path.endsWith(".test.ts")) return findings;
  const start = file.text
    .replace(/^#![^\n]*\n/, "")
    .replace(/^(?:\s*(?:package|import)\s[^\n]*\n)+/, (imports) => (/\.(?:java|go)$/.test(file.path) ? "" : imports))
    .trimStart();
  if (!/^(?:\/\*\*?|\/\/[/!]?|#|""")/.test(start)) {
    findings.push({ path: file.path, line: 1, message: "begins without a header comment (purpose, invariants, neighbours)" });
  }
  return findings;
}

export function checkTidy(files: readonly SourceFile[], exceptions = longFiles): Finding[] {
  const findings: Finding[] = [];
  const paths = new Set(files.map((file) => file.path));
  for (const file of files) {
    if (isGenerated(file.path)) continue;
    if (isCode(file.path)) findings.push(...checkCode(file, exceptions));
    if (/^src\/.+\/README\.md$/.test(file.path) && lineCount(file.text) > readmeLineLimit) {
      findings.push({ path: file.path, message: `${lineCount(file.text)} lines; a room's README has at most ${readmeLineLimit}` });
    }
    file.text.split("\n").forEach((text, index) => {
      if (machinePath.test(text)) findings.push({ path: file.path, line: index + 1, message: "names a path of one machine" });
    });
  }
  const rooms = new Set([...paths].map((path) => /^src\/([^/]+)\//.exec(path)?.[1]).filter((room) => room !== undefined));
  for (const room of rooms) {
    if (!paths.has(`src/${room}/README.md`)) findings.push({ path: `src/${room}`, message: "the room has no README.md" });
  }
  return findings;
}

if (import.meta.main) await runMain(() => report("tidy", checkTidy(readSourceFiles(isText))));
