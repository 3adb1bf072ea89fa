/**
 * What users download: the packages of scripts/package.ts hold what they should, and the Debian package is installed, started as its own user with its
 * own configuration, stopped, upgraded and removed in a bare Debian tree. The unit is verified by systemd's own tool, and its filter of
 * system calls against a trace of a broker.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load-config.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchAll, produceValues } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { hasTool, isRoot, mustRunTool, repositoryRoot, runTool, testIf, tryRunToolSync } from "../support/tools.ts";
import { hasWeir, WeirProcess, weirMissing } from "../support/weir-process.ts";

const debianTree = process.env.TEST_DEBIAN_TREE ?? join(homedir(), ".cache", "weir", "debian");
const hasDebianTree = existsSync(join(debianTree, "usr", "bin", "dpkg"));
const architecture = process.arch === "arm64" ? "arm64" : "amd64";
const { version } = JSON.parse(readFileSync(join(repositoryRoot, "package.json"), "utf8")) as { version: string };
const unitPath = join(repositoryRoot, "packaging", "systemd", "weir.service");
const configPath = join(repositoryRoot, "packaging", "weir.properties");
const unit = readFileSync(unitPath, "utf8");

const canPackage = hasWeir && hasTool("cargo") && hasTool("tar") && hasTool("gzip");
const noPackage = hasWeir ? "needs cargo, tar and gzip" : weirMissing;

/** Overlay file systems cannot lie on each other everywhere; a container's own one often refuses. */
function canOverlay(): boolean {
  if (!isRoot || !hasTool("unshare") || !hasTool("chroot") || !hasDebianTree) return false;
  using tree = new InstallTree();
  return tryRunToolSync(tree.wrap(["true"])) !== undefined;
}

/** A Debian system of a test's own: what it changes is laid over the shared tree, which stays as it is. */
class InstallTree {
  readonly folder = new TemporaryFolder("install");
  readonly changes = join(this.folder.path, "changes");
  private readonly root = join(this.folder.path, "root");
  private readonly work = join(this.folder.path, "work");

  constructor() {
    for (const path of [this.changes, this.root, this.work]) mkdirSync(path);
  }

  /** A command line that runs `command` inside; the process is the command itself in the end, so that signals reach it. */
  wrap(command: readonly string[]): string[] {
    const script =
      'mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK" "$ROOT" && mount --rbind /proc "$ROOT/proc" && ' +
      'mount --rbind /dev "$ROOT/dev" && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive chroot "$ROOT" "$@"';
    const places = [`LOWER=${debianTree}`, `UPPER=${this.changes}`, `WORK=${this.work}`, `ROOT=${this.root}`];
    return ["unshare", "--mount", "env", ...places, "sh", "-c", script, "sh", ...command];
  }

  run(script: string): Promise<string> {
    return mustRunTool(this.wrap(["sh", "-ec", script]));
  }

  [Symbol.dispose](): void {
    this.folder[Symbol.dispose]();
  }
}

/** As the unit starts it: user, configuration, working folder. */
const asUnit =
  "shift 2 && cd /var/lib/weir && umask 0077 && exec setpriv --reuid=weir --regid=weir --init-groups --no-new-privs --bounding-set=-all " +
  '/usr/bin/weir start --config /etc/weir/weir.properties "$@"';

function startInstalled(tree: InstallTree): Promise<WeirProcess> {
  return WeirProcess.start({
    folder: tree.folder.path,
    wrapper: tree.wrap(["sh", "-c", asUnit, "sh"]),
    settings: { wal: "file:/var/lib/weir/wal?size=64MiB", "object.store": "file:/var/lib/weir/objects" },
  });
}

describe("packages", () => {
  const out = new TemporaryFolder("packages");
  const deb = join(out.path, `weir_${version}_${architecture}.deb`);
  const tarball = join(out.path, `weir-${version}-linux-${process.arch}.tar.gz`);

  beforeAll(async () => {
    if (!canPackage) return;
    const script = join(repositoryRoot, "scripts", "package.ts");
    await mustRunTool([process.execPath, script, "--target", `linux-${process.arch}`, "--out", out.path, "--level", "1"]);
  }, 120_000);
  afterAll(() => out[Symbol.dispose]());

  testIf(canPackage, noPackage)("the checksums are those of the archives, and the tarball's executable runs", async () => {
    expect(await mustRunTool(["sha256sum", "--check", "SHA256SUMS"], { cwd: out.path })).toContain(".deb: OK");
    await mustRunTool(["tar", "-xzf", tarball, "-C", out.path]);
    const folder = join(out.path, `weir-${version}-linux-${process.arch}`);
    expect(await mustRunTool([join(folder, "weir"), "version"])).toContain(`weir ${version}`);
    const licenses = readFileSync(join(folder, "docs", "THIRD-PARTY-LICENSES.txt"), "utf8");
    for (const name of ["commander", "prom-client", "@aws-sdk/client-s3", "napi", "snap", "lz4_flex", "Bun", "Rust standard library"]) {
      expect([name, licenses.includes(`\n${name} `)]).toEqual([name, true]);
    }
  });

  testIf(canPackage && hasTool("dpkg-deb"), canPackage ? "needs dpkg-deb" : noPackage)("dpkg-deb reads the package", async () => {
    expect(await mustRunTool(["dpkg-deb", "--field", deb, "Package", "Version", "Architecture"])).toBe(
      `Package: weir\nVersion: ${version}\nArchitecture: ${architecture}\n`,
    );
    const contents = await mustRunTool(["dpkg-deb", "--contents", deb]);
    for (const path of ["./usr/bin/weir", "./usr/lib/systemd/system/weir.service", "./etc/weir/weir.properties"]) {
      expect(contents).toContain(` ${path}\n`);
    }
  });

  testIf(canPackage && canOverlay(), "needs root, a debootstrap tree (see .ci/run) and overlay mounts")(
    "the Debian package is installed, started, stopped, upgraded and removed",
    async () => {
      using tree = new InstallTree();
      copyFileSync(deb, join(tree.changes, "weir.deb"));
      await tree.run("dpkg --force-unsafe-io -i /weir.deb && dpkg --verify weir");
      const modes = await tree.run("stat -c '%n %U:%G %a' /etc/weir /etc/weir/weir.properties /var/lib/weir /usr/bin/weir");
      expect(modes.split("\n")).toEqual([
        "/etc/weir root:weir 750",
        "/etc/weir/weir.properties root:weir 640",
        "/var/lib/weir weir:weir 700",
        "/usr/bin/weir root:root 755",
        "",
      ]);
      await serveOneRecord(tree, "first", ["one"]);

      await tree.run(
        'echo "num.partitions=3" >> /etc/weir/weir.properties; dpkg --force-unsafe-io -i /weir.deb; grep -q num.partitions=3 /etc/weir/weir.properties',
      );
      await serveOneRecord(tree, "second", ["one", "two"]);

      await tree.run("dpkg -r weir; test ! -e /usr/bin/weir; test -e /etc/weir/weir.properties; test -e /var/lib/weir/wal");
      expect(await tree.run("dpkg -P weir; test ! -e /etc/weir; test -e /var/lib/weir/wal")).toContain("/var/lib/weir is kept");
    },
    120_000,
  );

  /** Starts, produces one record more, finds all that were ever acknowledged, and drains. */
  async function serveOneRecord(tree: InstallTree, start: string, expected: readonly string[]): Promise<void> {
    await using weir = await startInstalled(tree);
    using connection = await KafkaConnection.open(weir.kafkaPort);
    if (expected.length === 1) expect((await createTopicRaw(connection, "kept")).errorCode).toBe(0);
    expect((await produceValues(connection, "kept", 0, expected.slice(-1))).errorCode).toBe(0);
    expect([start, (await fetchAll(connection, "kept", 0)).map((record) => record.value.toString())]).toEqual([start, [...expected]]);
    expect(readFileSync(`/proc/${weir.pid}/status`, "utf8")).toMatch(/^CapEff:\s+0+$/m);
    expect(listUndocumented(await weir.metrics())).toEqual([]);
    expect(await weir.stop()).toBe(0);
  }
});

/** "name type" of exposed metrics that docs/metrics.md does not have. */
function listUndocumented(exposition: string): readonly string[] {
  const documents = readFileSync(join(repositoryRoot, "docs", "metrics.md"), "utf8");
  const documented = new Set([...documents.matchAll(/^\| `(\w+)` \| (\w+) \|/gm)].map((match) => `${match[1]} ${match[2]}`));
  const exposed = [...exposition.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map((match) => `${match[1]} ${match[2]}`);
  expect(exposed.length).toBeGreaterThan(20);
  return exposed.filter((metric) => !documented.has(metric));
}

describe("the systemd unit", () => {
  const setting = (key: string): string | undefined => new RegExp(`^${key}=(.*)$`, "m").exec(unit)?.[1];

  testIf(hasTool("systemd-analyze"), "needs systemd-analyze (Debian package systemd)")("systemd-analyze verify finds nothing", async () => {
    using folder = new TemporaryFolder("unit");
    const copy = join(folder.path, "weir.service");
    // Where the package is not installed, its executable is missing; that is all that may differ.
    writeFileSync(copy, unit.replace("ExecStart=/usr/bin/weir", "ExecStart=/bin/true"));
    const result = await runTool(["systemd-analyze", "verify", "--man=no", copy]);
    expect([result.exitCode, result.stdout, result.stderr.split("\n").filter((line) => line.includes("weir"))]).toEqual([0, "", []]);
  });

  test("waits longer than the drain, restarts what may mend itself and not what cannot, and leaves the JIT its memory", () => {
    const { config, warnings } = loadConfig({
      file: { path: configPath, text: readFileSync(configPath, "utf8") },
      environment: {},
      overrides: [],
      inMemory: false,
      memoryLimitBytes: 1024 ** 3,
      hostName: "localhost",
    });
    expect(warnings).toEqual([]);
    expect(Number(setting("TimeoutStopSec")) * 1_000).toBeGreaterThan(config.getNumber("drain.timeout.ms"));
    expect(setting("RestartForceExitStatus")).toBe("70");
    expect(setting("RestartPreventExitStatus")).toBe("2");
    expect([setting("RestartSec"), setting("StartLimitIntervalSec"), setting("StartLimitBurst")]).toEqual(["5", "60", "5"]);
    expect(setting("LimitNOFILE")).toBe("1048576");
    expect(setting("MemoryDenyWriteExecute")).toBeUndefined();
    expect(setting("PrivateDevices")).toBeUndefined();
  });

  testIf(hasWeir && hasTool("strace") && hasTool("systemd-analyze"), hasWeir ? "needs strace and systemd-analyze" : weirMissing)(
    "a broker makes no system call that the unit's filter forbids",
    async () => {
      using folder = new TemporaryFolder("system-calls");
      const trace = join(folder.path, "trace");
      const weir = await WeirProcess.start({
        folder: folder.path,
        wrapper: ["strace", "--follow-forks", "--summary-only", "--output", trace, "--interruptible=never"],
      });
      try {
        using connection = await KafkaConnection.open(weir.kafkaPort);
        expect((await createTopicRaw(connection, "traced")).errorCode).toBe(0);
        expect((await produceValues(connection, "traced", 0, ["one"])).errorCode).toBe(0);
        // strace's only child is the broker.
        process.kill(Number(readFileSync(`/proc/${weir.pid}/task/${weir.pid}/children`, "utf8").trim()), "SIGTERM");
        expect(await weir.waitExit()).toBe(0);
      } finally {
        await weir.kill();
      }
      const called = [...readFileSync(trace, "utf8").matchAll(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+\d+\s+(?:\d+\s+)?([a-z]\w+)$/gm)].map(
        (match) => match[1] ?? "",
      );
      expect(called).toContain("openat");
      const allowed = expandFilter(setting("SystemCallFilter") ?? "");
      expect(called.filter((name) => name !== "total" && !allowed.has(name))).toEqual([]);
    },
    60_000,
  );

  /** The names in a set of system calls, sets within it included. */
  function expandFilter(set: string, known = new Set<string>()): ReadonlySet<string> {
    for (const line of (tryRunToolSync(["systemd-analyze", "syscall-filter", set]) ?? "").split("\n")) {
      const name = line.trim();
      if (!line.startsWith(" ") || name.startsWith("#") || known.has(name)) continue;
      known.add(name);
      if (name.startsWith("@")) expandFilter(name, known);
    }
    return known;
  }
});
