/**
 * npm run package: what users download, into dist/:
 *
 *   weir-VERSION-linux-x64.tar.gz   executable, unit, sample configuration, documents, licences
 *   weir_VERSION_amd64.deb          the same, installed where Debian expects it
 *   SHA256SUMS
 *
 *   bun scripts/package.ts [--target linux-x64|linux-arm64] [--out DIR] [--level 1..9]
 *
 * Without --target: this machine's architecture from dist/weir, and the other one where Rust's standard library for it is installed. The other one is
 * built in a copy of the checkout (build/package/), because dist/weir and build/native/ belong to this machine's. Archives are the same bytes for the same
 * inputs: times are the commit's (or SOURCE_DATE_EPOCH), owners root.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { glibcLimit } from "./check-glibc.ts";
import { writeAr } from "./lib/ar.ts";
import { collectLicenses } from "./lib/licenses.ts";
import { localBinary, mustRun, repositoryRoot, runMain, ScriptFailure, tryCapture } from "./lib/process.ts";

interface Architecture {
  readonly triple: string;
  readonly debian: string;
}

const architectures: Readonly<Record<string, Architecture>> = {
  "linux-x64": { triple: "x86_64-unknown-linux-gnu", debian: "amd64" },
  "linux-arm64": { triple: "aarch64-unknown-linux-gnu", debian: "arm64" },
};
const host = `linux-${process.arch}`;
const usage = `usage: npm run package [-- --target ${Object.keys(architectures).join("|")}] [--out DIR] [--level 1..9]`;

interface Options {
  readonly targets: readonly string[];
  readonly out: string;
  readonly level: string;
}

function readOptions(args: readonly string[]): Options {
  const values = new Map<string, string>();
  for (let at = 0; at < args.length; at += 2) {
    const [flag = "", value] = args.slice(at, at + 2);
    if (!["--target", "--out", "--level"].includes(flag) || value === undefined) throw new ScriptFailure(usage);
    values.set(flag, value);
  }
  const target = values.get("--target");
  const level = values.get("--level") ?? "6";
  if ((target !== undefined && architectures[target] === undefined) || !/^[1-9]$/.test(level)) throw new ScriptFailure(usage);
  return { targets: target === undefined ? defaultTargets() : [target], out: resolve(values.get("--out") ?? "dist"), level };
}

function defaultTargets(): readonly string[] {
  const others = Object.keys(architectures).filter((target) => target !== host);
  return [host, ...others.filter((target) => hasRustTarget(target))];
}

function hasRustTarget(target: string): boolean {
  const triple = architectures[target]?.triple ?? "";
  const library = tryCapture("rustc", ["--print", "target-libdir", "--target", triple]);
  if (library !== undefined && existsSync(library)) return true;
  console.error(`weir: ${target} is left out: Rust has no standard library for it (rustup target add ${triple})`);
  return false;
}

const readVersion = (): string => (JSON.parse(readFileSync("package.json", "utf8")) as { version: string }).version;
const readTime = (): number => Number(process.env.SOURCE_DATE_EPOCH ?? tryCapture("git", ["log", "-1", "--format=%ct"]) ?? "0");

/** The executable for `target`. */
function findExecutable(target: string): string {
  if (target === host) {
    if (!existsSync("dist/weir")) throw new ScriptFailure("dist/weir is missing; run npm run build first");
    return "dist/weir";
  }
  const tree = join("build", "package", `tree-${target}`);
  copyCheckout(tree);
  mustRun(localBinary("bun"), ["scripts/task.ts", "build", "--target", target], { purpose: `building for ${target}`, cwd: resolve(tree) });
  return join(tree, "dist", "weir");
}

/** The sources, with what was installed for them; what an earlier build there has made is kept. */
function copyCheckout(tree: string): void {
  const made = new Set(["build", "dist", "native", "node_modules"]);
  mkdirSync(join(tree, "build"), { recursive: true });
  for (const name of readdirSync(tree)) if (!made.has(name)) rmSync(join(tree, name), { recursive: true });
  rmSync(join(tree, "native", "src"), { recursive: true, force: true });
  for (const path of (tryCapture("git", ["ls-files", "--cached", "--others", "--exclude-standard"]) ?? "").split("\n")) {
    if (!/^(?:native|scripts|src)\/|^[^/]+$/.test(path) || !existsSync(path)) continue;
    mkdirSync(join(tree, dirname(path)), { recursive: true });
    copyFileSync(path, join(tree, path));
  }
  for (const shared of ["node_modules", "build/toolchain"]) {
    if (existsSync(shared) && !existsSync(join(tree, shared))) symlinkSync(resolve(shared), join(tree, shared));
  }
}

interface Content {
  readonly path: string;
  readonly mode: number;
  readonly from: string | { readonly text: string };
}

function writeTree(root: string, contents: readonly Content[]): void {
  rmSync(root, { recursive: true, force: true });
  for (const { path, mode, from } of contents) {
    const place = join(root, path);
    mkdirSync(dirname(place), { recursive: true, mode: 0o755 });
    if (typeof from === "string") copyFileSync(from, place);
    else writeFileSync(place, from.text);
    chmodSync(place, mode);
  }
}

const documents = ["configuration.md", "operations.md", "metrics.md", "installation.md", "security.md", "compatibility.md"];

function listDocuments(folder: string, licenses: string): readonly Content[] {
  return [
    ...documents.map((name) => ({ path: join(folder, name), mode: 0o644, from: join("docs", name) })),
    { path: join(folder, "THIRD-PARTY-LICENSES.txt"), mode: 0o644, from: { text: licenses } },
    { path: join(folder, "examples/weir-alerts.yaml"), mode: 0o644, from: "packaging/prometheus/weir-alerts.yaml" },
    { path: join(folder, "examples/weir-grafana.json"), mode: 0o644, from: "packaging/grafana/weir.json" },
  ];
}

interface Build {
  readonly target: string;
  readonly version: string;
  readonly executable: string;
  readonly licenses: string;
  readonly timeSeconds: number;
  readonly options: Options;
}

/** `tar` of all that is in `folder`, the same bytes for the same files. */
function makeTar(folder: string, names: readonly string[], output: string, { timeSeconds, options }: Build): void {
  const fixed = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", `--mtime=@${timeSeconds}`, "--format=gnu"];
  const args = [...fixed, "-I", `gzip -n -${options.level}`, "-cf", resolve(output), "-C", folder, ...names];
  mustRun("tar", args, { purpose: `making ${relative(repositoryRoot, output)}` });
}

function makeTarball(build: Build, work: string): string {
  const name = `weir-${build.version}-${build.target}`;
  writeTree(join(work, "tarball"), [
    { path: join(name, "weir"), mode: 0o755, from: build.executable },
    { path: join(name, "weir.service"), mode: 0o644, from: "packaging/systemd/weir.service" },
    { path: join(name, "weir.properties"), mode: 0o644, from: "packaging/weir.properties" },
    { path: join(name, "LICENSE"), mode: 0o644, from: "LICENSE" },
    { path: join(name, "README.md"), mode: 0o644, from: "README.md" },
    ...listDocuments(join(name, "docs"), build.licenses),
  ]);
  const output = join(build.options.out, `${name}.tar.gz`);
  makeTar(join(work, "tarball"), [name], output, build);
  return output;
}

const conffiles = ["/etc/weir/weir.properties"];

function* listFiles(root: string, folder = ""): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* listFiles(root, path);
    else yield path;
  }
}

function makeDeb(build: Build, work: string): string {
  const { version, target } = build;
  const architecture = architectures[target]?.debian ?? "";
  const data = join(work, "deb-data");
  const copyright = `Weir is given under the Apache License 2.0.\n\n${readFileSync("LICENSE", "utf8")}`;
  writeTree(data, [
    { path: "usr/bin/weir", mode: 0o755, from: build.executable },
    { path: "usr/lib/systemd/system/weir.service", mode: 0o644, from: "packaging/systemd/weir.service" },
    { path: "etc/weir/weir.properties", mode: 0o644, from: "packaging/weir.properties" },
    { path: "usr/share/doc/weir/copyright", mode: 0o644, from: { text: copyright } },
    ...listDocuments("usr/share/doc/weir", build.licenses),
  ]);
  const files = [...listFiles(data)];
  const installedKib = Math.ceil(files.reduce((sum, path) => sum + statSync(join(data, path)).size, 0) / 1024);
  const control = readFileSync("packaging/debian/control", "utf8")
    .replace("@VERSION@", version)
    .replace("@ARCHITECTURE@", architecture)
    .replace("@INSTALLED_KIB@", String(installedKib))
    .replace("@GLIBC@", glibcLimit);
  const sums = files.filter((path) => !conffiles.includes(`/${path}`)).map((path) => `${digest("md5", join(data, path))}  ${path}\n`);
  const script = (name: string): Content => ({ path: name, mode: 0o755, from: join("packaging/debian", name) });
  writeTree(join(work, "deb-control"), [
    { path: "control", mode: 0o644, from: { text: control } },
    { path: "conffiles", mode: 0o644, from: { text: `${conffiles.join("\n")}\n` } },
    { path: "md5sums", mode: 0o644, from: { text: sums.join("") } },
    ...["postinst", "prerm", "postrm"].map(script),
  ]);
  for (const part of ["control", "data"]) makeTar(join(work, `deb-${part}`), ["."], join(work, `${part}.tar.gz`), build);
  const members = [
    { name: "debian-binary", bytes: Buffer.from("2.0\n") },
    ...["control.tar.gz", "data.tar.gz"].map((name) => ({ name, bytes: readFileSync(join(work, name)) })),
  ];
  const output = join(build.options.out, `weir_${version}_${architecture}.deb`);
  writeFileSync(output, writeAr(members, build.timeSeconds));
  return output;
}

const digest = (algorithm: "md5" | "sha256", path: string): string => createHash(algorithm).update(readFileSync(path)).digest("hex");

function makePackages(target: string, options: Options): readonly string[] {
  const work = join("build", "package", `${target}-${process.pid}`);
  try {
    const build: Build = {
      target,
      version: readVersion(),
      executable: findExecutable(target),
      licenses: collectLicenses(architectures[target]?.triple ?? ""),
      timeSeconds: readTime(),
      options,
    };
    return [makeTarball(build, work), makeDeb(build, work)];
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

await runMain(() => {
  const options = readOptions(process.argv.slice(2));
  process.umask(0o022);
  mkdirSync(options.out, { recursive: true });
  const outputs = options.targets.flatMap((target) => makePackages(target, options));
  const sums = outputs.map((path) => `${digest("sha256", path)}  ${relative(options.out, path)}\n`);
  writeFileSync(join(options.out, "SHA256SUMS"), sums.join(""));
  for (const path of outputs) console.log(`${relative(repositoryRoot, path)} (${(statSync(path).size / 1024 ** 2).toFixed(1)} MiB)`);
  if (options.targets.some((target) => target !== host)) console.log("What is for another architecture was built, not run.");
  return 0;
});
