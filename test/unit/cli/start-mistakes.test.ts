/**
 * The command line from outside: every start-up mistake ends in one line on stderr that names key, value and remedy, with the right exit code;
 * a start, a signal and a clean end.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";

const repositoryRoot = join(import.meta.dir, "../../..");
const mainFile = join(repositoryRoot, "src/main.ts");
const hasAddon = existsSync(join(repositoryRoot, "build/native/weir.bin"));
const needsAddon = hasAddon ? "" : " (skipped: the native addon is not built)";
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-cli-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

function spawn(args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  return Bun.spawn([process.execPath, mainFile, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? "", HOME: folder, AWS_EC2_METADATA_DISABLED: "true", ...environment },
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function run(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const child = spawn(args, environment);
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { exitCode, stdout, stderr };
}

const quiet = ["--override", "http.listener=", "--override", "listeners=PLAINTEXT://127.0.0.1:0"];

/** Starts a broker and resolves when it serves. */
async function startBroker(args: readonly string[]) {
  const child = spawn(["start", ...args]);
  let output = "";
  const reader = child.stdout.getReader();
  const decoder = new TextDecoder();
  while (!output.includes("broker.started")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`it ended: ${output} ${await new Response(child.stderr).text()}`);
    output += decoder.decode(value);
  }
  const port = Number(/listeners=PLAINTEXT:\/\/127\.0\.0\.1:(\d+)/.exec(output)?.[1]);
  const ended = async (): Promise<Ended> => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      output += decoder.decode(value);
    }
    return { exitCode: await child.exited, stdout: output, stderr: await new Response(child.stderr).text() };
  };
  const end = (): Promise<Ended> => {
    child.kill("SIGTERM");
    return ended();
  };
  return { port, end, ended, signal: (name: "SIGSTOP" | "SIGCONT") => child.kill(name) };
}

function expectOneLine(ended: Ended, exitCode: number, words: readonly string[]): void {
  expect(ended.stderr.trim().split("\n")).toHaveLength(1);
  for (const word of words) expect(ended.stderr).toContain(word);
  expect(ended.stderr).not.toContain("    at ");
  expect(ended.exitCode).toBe(exitCode);
}

describe("usage", () => {
  test("version and help", async () => {
    expect((await run(["version"])).stdout).toMatch(/^weir \d+\.\d+\.\d+ \(Kafka 4\.4\.0 protocol/);
    const help = await run(["start", "--help"]);
    expect(help.exitCode).toBe(0);
    expect(help.stdout).toContain("Examples:");
  });

  test.each([
    [["strat"], "strat"],
    [["start", "--foo"], "--foo"],
    [["start", "--config"], "--config"],
    [["start", "--config", "nowhere.properties"], "nowhere.properties"],
    [["start", "--override", "num.partitions"], "KEY=VALUE"],
    [["start", "--override", "num.partitons=1"], "num.partitions"],
    [["start", "--override", "num.partitions=none"], "num.partitions=none"],
    [["start", "--override", "listeners=PLAINTEXT://0.0.0.0:9092"], "Use a routable IP address."],
    [["wal", "verify", "nowhere", "--output", "xml"], "table or json"],
  ])("%j", async (args, word) => {
    expectOneLine(await run(args), 2, [word]);
  });

  test("a file with a bad value names its line", async () => {
    writeFileSync(join(folder, "server.properties"), "# mine\nnum.partitions=\\\n  several\n");
    expectOneLine(await run(["start", "--config", "server.properties"]), 2, [
      "num.partitions=several",
      "server.properties line 2",
      "integer",
    ]);
  });
});

describe.skipIf(!hasAddon)(`start${needsAddon}`, () => {
  test("starts, says so in one line, drains on SIGTERM", async () => {
    const broker = await startBroker(["--memory", ...quiet]);
    const ended = await broker.end();
    expect(ended.exitCode).toBe(0);
    expect(ended.stderr).toBe("");
    const started = ended.stdout.split("\n").find((line) => line.includes("broker.started")) ?? "";
    for (const word of [
      "version=",
      "clusterId=",
      "nodeId=1",
      "listeners=PLAINTEXT://",
      "advertised=PLAINTEXT://",
      "wal=",
      "store=memory:",
      "probed=",
    ]) {
      expect(started).toContain(word);
    }
    expect(ended.stdout).toContain("broker.draining");
    expect(ended.stdout).toContain("broker.stopped");
  }, 20_000);

  test("a port in use", async () => {
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    try {
      const kafka = await run([
        "start",
        "--memory",
        "--override",
        "http.listener=",
        "--override",
        `listeners=PLAINTEXT://127.0.0.1:${taken.port}`,
      ]);
      expectOneLine(kafka, 1, [`127.0.0.1:${taken.port}`, "in use"]);
      const http = await run([
        "start",
        "--memory",
        "--override",
        `http.listener=127.0.0.1:${taken.port}`,
        "--override",
        "listeners=PLAINTEXT://127.0.0.1:0",
      ]);
      expectOneLine(http, 1, [`http.listener=127.0.0.1:${taken.port}`, "in use"]);
    } finally {
      taken.stop();
    }
  }, 20_000);

  test("a WAL that another process has, and one of another cluster", async () => {
    const wal = ["--override", "wal=file:./shared-wal?size=16MiB"];
    const first = await startBroker([
      ...quiet,
      ...wal,
      "--override",
      "object.store=file:./objects-a",
      "--override",
      "ring.capacity.bytes=16MiB",
    ]);
    expectOneLine(await run(["start", ...quiet, ...wal, "--override", "object.store=file:./objects-b"]), 1, [
      "shared-wal",
      "wal-device-busy",
    ]);
    expect((await first.end()).exitCode).toBe(0);
    const foreign = await run(["start", ...quiet, ...wal, "--override", "object.store=file:./objects-b"]);
    expect(foreign.exitCode).not.toBe(0);
    expectOneLine(foreign, foreign.exitCode, ["objects-b", "WAL"]);
  }, 30_000);

  test("another broker that is alive under the same node id", async () => {
    const store = ["--override", "object.store=file:./objects-alive", "--override", "ring.capacity.bytes=16MiB"];
    const first = await startBroker([...quiet, ...store, "--override", "wal=file:./wal-one?size=16MiB"]);
    const second = await run(["start", ...quiet, ...store, "--override", "wal=file:./wal-two?size=16MiB"]);
    expectOneLine(second, 1, ["node.id=1", `127.0.0.1:${first.port}`, "another node.id"]);
    expect((await first.end()).exitCode).toBe(0);
  }, 30_000);

  test("a broker that slept while another took its node id is fenced: one line, exit code 70", async () => {
    const store = ["--override", "object.store=file:./objects-fence", "--override", "ring.capacity.bytes=16MiB"];
    const first = await startBroker([...quiet, ...store, "--override", "wal=file:./wal-fence-one?size=16MiB"]);
    first.signal("SIGSTOP");
    // Asleep it gives the new one no answer, so that looks like a dead machine.
    const second = await startBroker([...quiet, ...store, "--override", "wal=file:./wal-fence-two?size=16MiB"]);
    first.signal("SIGCONT");
    // It looks at the log once a minute; a change of its own tells it at once.
    const admin = new Kafka({ brokers: [`127.0.0.1:${first.port}`], logLevel: logLevel.NOTHING, retry: { retries: 0 } }).admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: "lost" }] }).catch(() => {});
    await admin.disconnect().catch(() => {});
    const ended = await first.ended();
    expectOneLine(ended, 70, ["node"]);
    expect(ended.stdout).toContain("broker.fenced");
    expect((await second.end()).exitCode).toBe(0);
  }, 60_000);

  test("a restart finds what it left", async () => {
    const place = [...quiet, "--override", "object.store=file:./objects-again", "--override", "wal=file:./wal-again?size=16MiB"];
    const clusterIds: (string | undefined)[] = [];
    for (let round = 0; round < 2; round++) {
      const ended = await (await startBroker(place)).end();
      expect([ended.exitCode, ended.stderr]).toEqual([0, ""]);
      clusterIds.push(/clusterId=(\S+)/.exec(ended.stdout)?.[1]);
    }
    expect(clusterIds[0]).toBe(clusterIds[1] ?? "");
    expect(clusterIds[0]).toMatch(/^[A-Za-z0-9_-]{22}$/);
  }, 30_000);

  test("a device that is none, and an object store that nobody can reach or use", async () => {
    for (const device of ["/dev/nowhere", "/dev/null"]) {
      const ended = await run(["start", ...quiet, "--override", `wal=block:${device}`]);
      expectOneLine(ended, ended.exitCode, [device]);
      expect([1, 2]).toContain(ended.exitCode);
    }
    writeFileSync(join(folder, "plain"), "x");
    const store = await run(["start", ...quiet, "--override", "wal=memory:", "--override", "object.store=file:./plain"]);
    expectOneLine(store, store.exitCode, ["plain"]);
    expect(store.exitCode).not.toBe(0);
    const s3 = await run([
      "start",
      ...quiet,
      "--override",
      "wal=memory:",
      "--override",
      "object.store=s3://bucket/p?region=eu-west-1&endpoint=http://127.0.0.1:1&pathStyle=true",
    ]);
    expectOneLine(s3, s3.exitCode, ["bucket"]);
    expect(s3.exitCode).not.toBe(0);
  }, 60_000);
});
