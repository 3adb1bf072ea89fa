/**
 * The licences of everything that is inside dist/weir: the npm packages that src/ depends on, the crates that the addon links, the runtime and Rust's
 * standard library. Each with its own text where its package carries one.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { repositoryRoot, ScriptFailure, tryCapture } from "./process.ts";

export interface Dependency {
  readonly name: string;
  readonly version: string;
  /** SPDX expression. */
  readonly license: string;
  /** Empty when the package carries none. */
  readonly texts: readonly string[];
  readonly from: "npm" | "crates.io" | "runtime";
}

/** Licences that may be given on inside an Apache-2.0 program with nothing but their texts. */
const ACCEPTED: ReadonlySet<string> = new Set([
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BSL-1.0",
  "ISC",
  "MIT",
  "Unicode-3.0",
  "Unlicense",
  "Zlib",
]);

/** True when every part of an AND, and at least one of each OR, is accepted. Parentheses hold one level, as SPDX expressions of packages do. */
export function isAccepted(expression: string): boolean {
  const inner = expression.replace(/\(([^()]+)\)/g, (_, group: string) => (isAccepted(group) ? "MIT" : "refused"));
  return inner.split(/ AND /).every((part) => part.split(/ OR |\//).some((id) => ACCEPTED.has(id.trim())));
}

function readTexts(folder: string): readonly string[] {
  return readdirSync(folder)
    .filter((name) => /^(?:licen[cs]e|copying|notice)/i.test(name))
    .sort()
    .flatMap((name) => {
      try {
        return [readFileSync(join(folder, name), "utf8").trim()];
      } catch {
        return [];
      }
    });
}

interface PackageJson {
  readonly version: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** The folder that `name` is resolved to from `from`, as Node looks for it. */
function resolvePackage(name: string, from: string): string {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name);
    if (existsSync(join(candidate, "package.json"))) return candidate;
    if (folder === dirname(folder)) throw new ScriptFailure(`${name} is not installed, so its licence cannot be read`);
  }
}

const readPackage = (folder: string): PackageJson => JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as PackageJson;

export function collectNpm(root = repositoryRoot): readonly Dependency[] {
  const found = new Map<string, Dependency>();
  const visited = new Set<string>();
  const visit = (folder: string): void => {
    if (visited.has(folder)) return;
    visited.add(folder);
    for (const name of Object.keys(readPackage(folder).dependencies ?? {})) {
      const place = resolvePackage(name, folder);
      const { version, license = "" } = readPackage(place);
      found.set(`${name} ${version}`, { name, version, license, texts: readTexts(place), from: "npm" });
      visit(place);
    }
  };
  visit(root);
  return [...found.values()];
}

interface CargoMetadata {
  readonly packages: readonly { id: string; name: string; version: string; license: string | null; manifest_path: string }[];
  readonly resolve: {
    readonly root: string;
    readonly nodes: readonly { id: string; deps: readonly { pkg: string; dep_kinds: readonly { kind: string | null }[] }[] }[];
  };
}

/** The crates that are linked into the addon for `triple`: build and test dependencies are not. */
export function collectCargo(triple: string): readonly Dependency[] {
  const args = ["metadata", "--format-version", "1", "--locked", "--filter-platform", triple, "--manifest-path", "native/Cargo.toml"];
  const text = tryCapture("cargo", args);
  if (text === undefined) throw new ScriptFailure("cargo metadata failed; the licences of the addon's crates come from it");
  const { packages, resolve } = JSON.parse(text) as CargoMetadata;
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]));
  const linked = new Set<string>();
  const visit = (id: string): void => {
    if (linked.has(id)) return;
    linked.add(id);
    for (const { pkg, dep_kinds } of nodes.get(id)?.deps ?? []) {
      if (dep_kinds.some(({ kind }) => kind === null)) visit(pkg);
    }
  };
  visit(resolve.root);
  return packages
    .filter(({ id }) => linked.has(id) && id !== resolve.root)
    .map(({ name, version, license, manifest_path }) => ({
      name,
      version,
      license: license ?? "",
      texts: readTexts(dirname(manifest_path)),
      from: "crates.io" as const,
    }));
}

const MIT_TEXT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to
deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or
sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS
FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY,
WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

function describeRuntime(): readonly Dependency[] {
  const bun = readPackage(join(repositoryRoot, "node_modules", "bun"));
  const rust = /^rustc (\S+)/.exec(tryCapture("rustc", ["--version"]) ?? "")?.[1] ?? "unknown";
  const bunNote =
    "The runtime inside the executable. It links other libraries statically, JavaScriptCore (WebKit) under LGPL-2.0-or-later among them; their list, their " +
    "licences and how to relink are in its own documentation: https://bun.com/docs/project/licensing";
  return [
    { name: "Bun", version: bun.version, license: "MIT", texts: [bunNote], from: "runtime" },
    { name: "Rust standard library", version: rust, license: "MIT OR Apache-2.0", texts: [], from: "runtime" },
  ];
}

/** THIRD-PARTY-LICENSES.txt. Throws ScriptFailure when a licence is not among the accepted ones. */
export function renderLicenses(dependencies: readonly Dependency[]): string {
  const refused = dependencies.filter(({ license }) => !isAccepted(license));
  if (refused.length > 0) {
    const names = refused.map(({ name, version, license }) => `${name} ${version} (${license === "" ? "no licence" : license})`);
    throw new ScriptFailure(`licences that are not known to be fine: ${names.join(", ")}; see scripts/lib/licenses.ts`);
  }
  const sorted = [...dependencies].sort((left, right) =>
    `${left.from} ${left.name} ${left.version}` < `${right.from} ${right.name} ${right.version}` ? -1 : 1,
  );
  const rule = "=".repeat(80);
  const parts = sorted.map(({ name, version, license, texts, from }) => {
    const text = texts.length > 0 ? texts.join("\n\n") : "Its package carries no text of its own; the licence's common text is at the end.";
    return `${rule}\n${name} ${version} (${from}): ${license}\n\n${text}\n`;
  });
  const apache = readFileSync(join(repositoryRoot, "LICENSE"), "utf8").trim();
  return [
    "Software of others that is part of this executable, and its licences.\n",
    ...parts,
    `${rule}\nCommon text of the MIT licence\n\n${MIT_TEXT}\n`,
    `${rule}\nCommon text of the Apache License 2.0\n\n${apache}\n`,
  ].join("\n");
}

export function collectLicenses(triple: string): string {
  return renderLicenses([...collectNpm(), ...collectCargo(triple), ...describeRuntime()]);
}
