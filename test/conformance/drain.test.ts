/**
 * How the executable ends: consumers that have nothing to read do not hold up a drain, a drain that cannot finish ends at its deadline and loses nothing, a
 * second signal ends it at once, and a bug ends the process with one event and a stack.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { fetchApi } from "../../src/protocol/messages/fetch.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchAll, fetchRecords, fetchRequest, produceValues } from "../support/raw-client.ts";
import { type FaultProxy, type S3Server, startFaultProxy, startS3Server, whyNoS3Server } from "../support/s3-servers.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { repositoryRoot, runTool, testIf } from "../support/tools.ts";
import { hasWeir, type WeirOptions, WeirProcess, weirMissing } from "../support/weir-process.ts";

const LONG_POLL_MS = 2 ** 31 - 1;

async function waitForWaitingFetches(weir: WeirProcess, count: number): Promise<void> {
  while ((await weir.readMetric("weir_waiting_fetches")) !== count) await Bun.sleep(5);
}

describe("a drain", () => {
  testIf(hasWeir, weirMissing)("answers waiting fetches at once, empty, and closes connections that wait for nothing", async () => {
    using folder = new TemporaryFolder("drain");
    await using weir = await WeirProcess.start({ folder: folder.path });
    using consumer = await KafkaConnection.open(weir.kafkaPort);
    using idle = await KafkaConnection.open(weir.kafkaPort);
    expect((await createTopicRaw(consumer, "quiet", { partitions: 1 })).errorCode).toBe(0);
    const waiting = fetchRecords(consumer, "quiet", 0, 0, { maxWaitMs: LONG_POLL_MS });
    await waitForWaitingFetches(weir, 1);
    const behind = consumer.request(fetchApi, 12, fetchRequest("quiet", 0, 0, { maxWaitMs: LONG_POLL_MS }));
    const exit = weir.stop();
    const fetched = await waiting;
    expect([fetched.errorCode, fetched.records.length]).toEqual([0, 0]);
    // It had come before the drain or comes too late; it never waits.
    await behind.catch(() => {});
    await Promise.all([consumer.closed, idle.closed]);
    expect(await exit).toBe(0);
    expect(weir.errorOutput()).toBe("");
  });
});

const noServer = whyNoS3Server("minio") ?? (hasWeir ? undefined : weirMissing);
describe.skipIf(noServer !== undefined)(`a drain while the store is away${noServer === undefined ? "" : ` (skipped: ${noServer})`}`, () => {
  let server: S3Server;
  let proxy: FaultProxy;

  beforeAll(async () => {
    server = await startS3Server("minio");
    proxy = await startFaultProxy(server.endpoint, 1);
  }, 900_000);
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const options = (folder: string, prefix: string, drainTimeoutMs: number): WeirOptions => ({
    folder,
    settings: {
      "object.store": `s3://${server.bucket}/${prefix}?region=${server.region}&endpoint=${proxy.endpoint}&pathStyle=true`,
      "upload.interval.ms": "600000",
      "drain.timeout.ms": String(drainTimeoutMs),
    },
    environment: { AWS_ACCESS_KEY_ID: server.credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey },
  });

  /** A broker with one record that is nowhere but in its WAL, and a store that has just gone away. */
  async function startWithTail(where: WeirOptions): Promise<WeirProcess> {
    await proxy.post("/outage?ms=0&mode=503");
    const weir = await WeirProcess.start(where);
    using connection = await KafkaConnection.open(weir.kafkaPort);
    expect((await createTopicRaw(connection, "kept")).errorCode).toBe(0);
    expect((await produceValues(connection, "kept", 0, ["only in the WAL"])).errorCode).toBe(0);
    await proxy.post("/outage?ms=600000&mode=503");
    return weir;
  }

  async function expectKept(where: WeirOptions): Promise<void> {
    await proxy.post("/outage?ms=0&mode=503");
    await using weir = await WeirProcess.start(where);
    using connection = await KafkaConnection.open(weir.kafkaPort);
    expect((await fetchAll(connection, "kept", 0)).map((record) => record.value.toString())).toEqual(["only in the WAL"]);
    expect(await weir.stop()).toBe(0);
  }

  test("ends at its deadline with exit code 1, and nothing is lost", async () => {
    using folder = new TemporaryFolder("drain");
    const where = options(folder.path, "deadline", 1_000);
    {
      await using weir = await startWithTail(where);
      expect(await weir.stop()).toBe(1);
      expect(weir.log()).toContain("broker.draining");
      expect(weir.log()).toContain("the deadline came first");
    }
    await expectKept(where);
  }, 60_000);

  test("ends at once on a second signal, and nothing is lost", async () => {
    using folder = new TemporaryFolder("drain");
    const where = options(folder.path, "second", 600_000);
    {
      await using weir = await startWithTail(where);
      weir.child.kill("SIGTERM");
      await weir.waitForLog("broker.draining");
      weir.child.kill("SIGINT");
      expect(await weir.waitExit()).toBe(1);
      expect(weir.log()).toContain("broker.stopped");
    }
    await expectKept(where);
  }, 60_000);
});

describe("a bug", () => {
  test.each([
    ["thrown where nobody catches it", "setTimeout(() => { throw new AssertionFailure('planted'); }, 1)"],
    ["in a promise that nobody awaits", "setTimeout(() => { void Promise.reject(new AssertionFailure('planted')); }, 1)"],
  ])(
    "%s ends the process with one event, a stack, and exit code 1",
    async (_, plant) => {
      using folder = new TemporaryFolder("bug");
      const source = (path: string): string => JSON.stringify(join(repositoryRoot, "src", path));
      const script = join(folder.path, "planted.ts");
      await Bun.write(
        script,
        `import { AssertionFailure } from ${source("base/assert.ts")};
       import { runStart } from ${source("cli/start-command.ts")};
       const overrides = ["listeners=PLAINTEXT://127.0.0.1:0", "http.listener=", "ring.capacity.bytes=16MiB"];
       const running = runStart({ configFile: undefined, overrides, inMemory: true });
       ${plant};
       await running;`,
      );
      const ended = await runTool([process.execPath, script], { cwd: folder.path });
      expect(ended.exitCode).toBe(1);
      const events = ended.stdout.split("\n").filter((line) => line.includes("broker.crashed"));
      expect(events).toHaveLength(1);
      expect(events[0]).toContain("planted");
      expect(ended.stderr).toContain("weir: broker.crashed: this is a bug");
      expect(ended.stderr).toContain("planted.ts");
    },
    30_000,
  );
});
