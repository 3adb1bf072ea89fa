/**
 * dist/weir is the only file a user needs: it starts in a bare Debian tree without Node, Bun or Rust, wherever the temporary directory may be, and
 * asks for no newer glibc than promised. Start time and idle memory are printed.
 */
import { describe, expect, test } from "bun:test";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { compareVersions, glibcLimit, readGlibcFloor } from "../../scripts/check-glibc.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchAll, produceValues } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { hasTool, isRoot, repositoryRoot, runTool, testIf, tryRunToolSync } from "../support/tools.ts";
import { hasWeir, WeirProcess, weirExecutable, weirMissing } from "../support/weir-process.ts";

/** Made by `debootstrap --variant=minbase`, as .ci/run does; without it, a tree of nothing but the libraries that the executable names. */
const debianTree = process.env.TEST_DEBIAN_TREE ?? join(homedir(), ".cache", "weir", "debian");
const hasDebianTree = existsSync(join(debianTree, "bin", "sh"));
const canChroot = isRoot && hasTool("unshare") && hasTool("chroot") && hasTool("ldd");
const noChroot = "needs root, unshare and chroot";

async function serveOneRecord(weir: WeirProcess): Promise<void> {
  using connection = await KafkaConnection.open(weir.kafkaPort);
  expect((await createTopicRaw(connection, "alone")).errorCode).toBe(0);
  expect((await produceValues(connection, "alone", 0, ["one"])).errorCode).toBe(0);
  expect((await fetchAll(connection, "alone", 0)).map((record) => record.value.toString())).toEqual(["one"]);
}

/** A tree that holds the executable's libraries and nothing else. */
function makeLibraryTree(root: string): void {
  const libraries = [...(tryRunToolSync(["ldd", weirExecutable]) ?? "").matchAll(/(\/\S+\.so\S*)/g)].map((match) => match[1] ?? "");
  expect(libraries.length).toBeGreaterThan(2);
  for (const library of libraries) {
    mkdirSync(join(root, dirname(library)), { recursive: true });
    copyFileSync(library, join(root, library));
  }
}

/** Runs the executable with `root` as its whole world, in mount and process namespaces of its own. `prepare` runs before, with $ROOT set. */
function chrootWrapper(root: string, prepare = ":"): string[] {
  const script = `rm -rf "$ROOT/data" && mkdir -p "$ROOT/proc" "$ROOT/dev" "$ROOT/data" && mount -t proc proc "$ROOT/proc" && mount --rbind /dev "$ROOT/dev" && ${prepare} && shift && exec chroot "$ROOT" /weir "$@"`;
  return ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGTERM", "env", `ROOT=${root}`, "sh", "-c", script, "sh"];
}

const chrootSettings = { wal: "file:/data/wal?size=64MiB", "object.store": "file:/data/store" };

async function serveInTree(root: string, prepare?: string, environment: Record<string, string> = {}): Promise<WeirProcess> {
  copyFileSync(weirExecutable, join(root, "weir"));
  chmodSync(join(root, "weir"), 0o755);
  using folder = new TemporaryFolder("chroot-cwd");
  await using weir = await WeirProcess.start({
    folder: folder.path,
    wrapper: chrootWrapper(root, prepare),
    settings: chrootSettings,
    environment,
  });
  await serveOneRecord(weir);
  return weir;
}

describe("dist/weir alone", () => {
  testIf(hasWeir && canChroot, hasWeir ? noChroot : weirMissing)("starts where there is nothing but its libraries", async () => {
    using folder = new TemporaryFolder("libraries");
    makeLibraryTree(folder.path);
    await serveInTree(folder.path);
  });

  testIf(hasWeir && canChroot && hasDebianTree, "needs root and a debootstrap tree (see .ci/run)")(
    "starts in a bare Debian tree",
    async () => {
      for (const name of ["node", "bun", "cargo"]) expect(existsSync(join(debianTree, "usr", "bin", name))).toBe(false);
      await serveInTree(debianTree);
    },
  );

  testIf(hasWeir && canChroot, hasWeir ? noChroot : weirMissing)(
    "starts where the temporary directory is read-only and noexec",
    async () => {
      using folder = new TemporaryFolder("noexec");
      makeLibraryTree(folder.path);
      await serveInTree(folder.path, 'mkdir -p "$ROOT/tmp" && mount -t tmpfs -o ro,noexec tmpfs "$ROOT/tmp"', { TMPDIR: "/tmp" });
    },
  );

  testIf(hasWeir, weirMissing)("starts where the temporary directory does not exist, and leaves nothing behind where it does", async () => {
    using folder = new TemporaryFolder("no-tmp");
    const missing = join(folder.path, "missing");
    {
      await using weir = await WeirProcess.start({ folder: folder.path, environment: { TMPDIR: missing, BUN_TMPDIR: missing } });
      await serveOneRecord(weir);
    }
    expect(existsSync(missing)).toBe(false);
    const present = join(folder.path, "present");
    mkdirSync(present);
    await using weir = await WeirProcess.start({ folder: folder.path, environment: { TMPDIR: present, BUN_TMPDIR: present } });
    expect(weir.isReady()).resolves.toBe(true);
    expect(readdirSync(present)).toEqual([]);
  });

  testIf(hasWeir, weirMissing)("needs no newer glibc than promised, nor does the addon", () => {
    for (const file of [weirExecutable, join(repositoryRoot, "build", "native", "weir.bin")]) {
      const floor = readGlibcFloor(readFileSync(file));
      expect(floor).toBeDefined();
      expect(compareVersions(floor ?? "99", glibcLimit)).toBeLessThanOrEqual(0);
    }
  });

  testIf(hasWeir, weirMissing)("prints its version, and how fast and small it is", async () => {
    const version = await runTool([weirExecutable, "version"]);
    expect(version.exitCode).toBe(0);
    expect(version.stdout).toContain(
      (JSON.parse(readFileSync(join(repositoryRoot, "package.json"), "utf8")) as { version: string }).version,
    );
    using folder = new TemporaryFolder("start");
    await using weir = await WeirProcess.start({ folder: folder.path });
    console.log(`start to ready ${weir.startMs.toFixed(0)} ms, RSS ${(weir.residentBytes() / 1048576).toFixed(0)} MiB`);
  });

  testIf(hasWeir, weirMissing)("a .env or bunfig.toml beside it changes nothing", async () => {
    using folder = new TemporaryFolder("dotenv");
    await Bun.write(join(folder.path, ".env"), "WEIR_NO_SUCH_KEY=1\n");
    await Bun.write(join(folder.path, "bunfig.toml"), 'preload = ["./absent.ts"]\n');
    await using weir = await WeirProcess.start({ folder: folder.path });
    await serveOneRecord(weir);
  });
});

test("the glibc check refuses what is newer", () => {
  expect(compareVersions("2.35", glibcLimit)).toBeGreaterThan(0);
});
