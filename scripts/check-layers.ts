/**
 * Checks that a room (a folder of src/) imports only rooms below it, and that no two files import each other in a circle.
 * The order of the rooms is the one of src/README.md; `allowedImports` below is where it is stated for the machine.
 */
import { dirname, join, normalize } from "node:path/posix";
import { runMain } from "./lib/process.ts";
import { blankComments, type Finding, lineOf, readSourceFiles, report, type SourceFile } from "./lib/source-files.ts";

const serving = ["protocol", "security", "config", "telemetry", "base"];
const storageAndBelow = ["objectstore", "native"];
const metadataAndStorage = ["metadata", "storage"];

/**
 * Room -> rooms it may import, itself excepted. `main` is src/main.ts, which only dispatches; `cli/wire-up*` is the one place that constructs
 * the big parts. `client` takes from `server` its interface of the network alone. `protocol` and `security` serve partition and above; `config` and `telemetry` serve all; `base` imports nothing.
 */
export const allowedImports: Readonly<Record<string, readonly string[]>> = (() => {
  const partition = ["controller", ...metadataAndStorage, ...storageAndBelow, ...serving];
  const coordinator = ["partition", ...partition];
  const group = ["coordinator", ...coordinator];
  const api = ["group", "transaction", ...group];
  const server = ["api", ...api];
  const cli = ["client", "server", "console", ...server];
  return {
    main: ["cli", ...cli],
    cli,
    client: ["server", ...serving],
    server: ["console", ...server],
    console: server,
    api,
    group,
    transaction: group,
    coordinator,
    partition,
    controller: partition.filter((room) => room !== "controller"),
    metadata: ["storage", ...storageAndBelow, "config", "telemetry", "base"],
    storage: [...storageAndBelow, "config", "telemetry", "base"],
    objectstore: ["native", "config", "telemetry", "base"],
    native: ["config", "telemetry", "base"],
    security: ["protocol", "config", "telemetry", "base"],
    protocol: ["native", "config", "telemetry", "base"],
    config: ["base"],
    telemetry: ["base", "config"],
    base: [],
  };
})();

interface Import {
  readonly target: string;
  readonly line: number;
  readonly isTypeOnly: boolean;
}

const importPattern = /(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+)"([^"]+)"/g;

function importsOf(file: SourceFile): Import[] {
  const text = blankComments(file.text);
  const imports: Import[] = [];
  for (const match of text.matchAll(importPattern)) {
    const specifier = match[1] ?? "";
    if (!specifier.startsWith(".")) continue;
    const statement = text.slice(Math.max(text.lastIndexOf(";", match.index), 0), match.index);
    imports.push({
      target: normalize(join(dirname(file.path), specifier)),
      line: lineOf(text, match.index),
      isTypeOnly: /\b(?:import|export)\s+type\b/.test(statement),
    });
  }
  return imports;
}

/** "src/storage/wal/x.ts" -> "storage"; src/main.ts -> "main"; undefined outside src/. */
export function roomOf(path: string): string | undefined {
  const [top, room] = path.split("/");
  if (top !== "src" || room === undefined) return undefined;
  return room.endsWith(".ts") ? room.slice(0, -3) : room;
}

export function checkLayers(files: readonly SourceFile[]): Finding[] {
  const findings: Finding[] = [];
  for (const file of files) {
    const room = roomOf(file.path);
    if (room === undefined) continue;
    const allowed = allowedImports[room];
    if (allowed === undefined) {
      findings.push({ path: file.path, message: `"${room}" is not a room that scripts/check-layers.ts knows` });
      continue;
    }
    for (const { target, line } of importsOf(file)) {
      const targetRoom = roomOf(target);
      if (targetRoom === undefined) {
        const isAsset = target.startsWith("build/native/") || target === "package.json";
        if (!isAsset) findings.push({ path: file.path, line, message: `src/ must not import ${target}` });
      } else if (targetRoom !== room && !allowed.includes(targetRoom)) {
        findings.push({ path: file.path, line, message: `${room} must not import ${targetRoom} (${target}): it is not below it` });
      }
    }
  }
  return [...findings, ...findCycles(files)];
}

/** Circles of imports between files. Imports of types alone vanish when the program runs and are allowed to point both ways. */
export function findCycles(files: readonly SourceFile[]): Finding[] {
  const graph = new Map<string, readonly string[]>();
  for (const file of files) {
    graph.set(
      file.path,
      importsOf(file)
        .filter((entry) => !entry.isTypeOnly)
        .map((entry) => entry.target),
    );
  }
  const findings: Finding[] = [];
  const state = new Map<string, "open" | "done">();
  const path: string[] = [];
  const visit = (node: string): void => {
    state.set(node, "open");
    path.push(node);
    for (const next of graph.get(node) ?? []) {
      if (!graph.has(next)) continue;
      if (state.get(next) === "open") {
        findings.push({ path: node, message: `import cycle: ${[...path.slice(path.indexOf(next)), next].join(" -> ")}` });
      } else if (!state.has(next)) {
        visit(next);
      }
    }
    path.pop();
    state.set(node, "done");
  };
  for (const node of graph.keys()) if (!state.has(node)) visit(node);
  return findings;
}

if (import.meta.main) {
  await runMain(() => report("layers", checkLayers(readSourceFiles((path) => path.startsWith("src/") && path.endsWith(".ts")))));
}
