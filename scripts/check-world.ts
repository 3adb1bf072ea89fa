/**
 * Checks that time, randomness, sockets and the environment reach src/ only through interfaces (Clock, Random, ObjectStore, WalDevice,
 * Transport, Jobs), so that one process can hold a whole cluster under a virtual clock and a seed. `implementations` lists the few files that
 * implement those interfaces, each with the names it may use.
 */
import { runMain } from "./lib/process.ts";
import { blankCommentsAndStrings, type Finding, lineOf, readSourceFiles, report, type SourceFile } from "./lib/source-files.ts";

interface Ban {
  readonly name: string;
  readonly pattern: RegExp;
  readonly instead: string;
}

const bans: readonly Ban[] = [
  {
    name: "time",
    pattern: /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.now\b|\bprocess\.hrtime\b|\bBun\.nanoseconds\b/g,
    instead: "Clock",
  },
  {
    name: "timers",
    pattern: /(?<![.\w])(?:setTimeout|setInterval|setImmediate|queueMicrotask)\b|\bBun\.sleep|\bprocess\.nextTick\b/g,
    instead: "Clock",
  },
  {
    name: "randomness",
    pattern:
      /\bMath\.random\b|\brandomUUID\b|\brandomBytes\b|\bgetRandomValues\b|\brandomInt\b|\brandomFill(?:Sync)?\b|\bBun\.randomUUIDv7\b/g,
    instead: "Random",
  },
  {
    name: "sockets",
    // A call of the global fetch, not the declaration of a method of that name.
    pattern:
      /\bBun\.(?:listen|connect|serve|udpSocket)\b|\bglobalThis\.fetch\b|(?:\b(?:await|return|void)|[=(,?:!&|>[])[ \t]*fetch\s*\(|^[ \t]*fetch\([^{]*\)\s*[.;]|\bnew WebSocket\b|\bcreateServer\b/gm,
    instead: "Transport or ObjectStore",
  },
  { name: "environment", pattern: /\bprocess\.env\b|\bBun\.env\b|\bimport\.meta\.env\b/g, instead: "Config" },
];

/** Files that implement the interfaces -> what they may use. Keep it short: a new line here is a new hole in the simulator's world. */
export const implementations: Readonly<Record<string, readonly string[]>> = {
  "src/base/system-clock.ts": ["time", "timers"],
  "src/base/system-random.ts": ["randomness"],
  "src/objectstore/s3-http.ts": ["sockets"],
  "src/server/bun-transport.ts": ["sockets"],
  "src/console/http-server.ts": ["sockets"],
  "src/config/environment.ts": ["environment"],
};

export function checkWorld(files: readonly SourceFile[], allowed = implementations): Finding[] {
  const findings: Finding[] = [];
  for (const file of files) {
    const permitted = allowed[file.path] ?? [];
    const text = blankCommentsAndStrings(file.text);
    for (const ban of bans) {
      if (permitted.includes(ban.name)) continue;
      for (const match of text.matchAll(ban.pattern)) {
        findings.push({
          path: file.path,
          line: lineOf(text, match.index),
          message: `${match[0].replace(/^\W+|\s*\([\s\S]*$/g, "")} is banned here (${ban.name}): take a ${ban.instead} in the constructor`,
        });
      }
    }
  }
  return findings;
}

if (import.meta.main) {
  await runMain(() => report("world", checkWorld(readSourceFiles((path) => path.startsWith("src/") && path.endsWith(".ts")))));
}
