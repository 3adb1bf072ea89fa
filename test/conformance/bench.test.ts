/**
 * That the benchmark itself works, with figures too small to mean anything: the server that discards, the load program, rows, what is kept. The figures that
 * count are made by `npm run bench`.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { apiVersionsApi, newApiVersionsRequest } from "../../src/protocol/messages/api-versions.ts";
import { metadataApi, newMetadataRequest, newMetadataRequestTopic } from "../../src/protocol/messages/metadata.ts";
import { newPartitionProduceData, newProduceRequest, newTopicProduceData, produceApi } from "../../src/protocol/messages/produce.ts";
import { type DiscardServer, startDiscardServer } from "../bench/discard-server.ts";
import { encodeRequest, frame, KafkaConnection } from "../support/kafka-connection.ts";
import { encodeBatch } from "../support/record-batch.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { mustRunTool, repositoryRoot, runTool, testIf } from "../support/tools.ts";
import { hasWeir, weirExecutable, weirMissing } from "../support/weir-process.ts";
import { hasKafkaTools, noKafkaTools } from "./clients.ts";

describe("the server that discards", () => {
  let server: DiscardServer;
  let connection: KafkaConnection;
  beforeAll(async () => {
    server = startDiscardServer();
    connection = await KafkaConnection.open(server.port);
  });
  afterAll(() => {
    connection.close();
    server.stop();
  });

  const produce = (records: Uint8Array, acks = -1) =>
    newProduceRequest({
      acks,
      topicData: [newTopicProduceData({ topicId: "AAAAAAAAAAAAAAAAAAAAAQ", partitionData: [newPartitionProduceData({ records })] })],
    });

  test("speaks what a producer needs", async () => {
    const versions = await connection.request(
      apiVersionsApi,
      4,
      newApiVersionsRequest({ clientSoftwareName: "a", clientSoftwareVersion: "1" }),
    );
    expect(versions.apiKeys.map(({ apiKey }) => apiKey).sort((a, b) => a - b)).toEqual([0, 3, 18, 22]);
    const metadata = await connection.request(metadataApi, 12, newMetadataRequest({ topics: [newMetadataRequestTopic({ name: "any" })] }));
    expect(metadata.brokers).toMatchObject([{ nodeId: 1, host: "127.0.0.1", port: server.port }]);
    expect(metadata.topics).toMatchObject([{ errorCode: 0, name: "any", partitions: [{ partitionIndex: 0, leaderId: 1 }] }]);
  });

  test("acknowledges each Produce in order, of any size and in any pieces, and answers none with acks=0", async () => {
    const before = server.discardedBytes();
    const large = encodeBatch({ values: ["x".repeat(3_000_000)] });
    const small = encodeBatch({ values: ["y"] });
    connection.sendRequest(produceApi, 13, produce(large, 0));
    const answers = await Promise.all([large, small, large].map((records) => connection.request(produceApi, 13, produce(records))));
    expect(answers.map((answer) => answer.responses[0]?.partitionResponses[0]?.errorCode)).toEqual([0, 0, 0]);
    expect(server.discardedBytes() - before).toBeGreaterThan(9_000_000);
    const bytes = frame(encodeRequest(produceApi, 13, produce(small), 77));
    const answer = connection.nextAnswer();
    for (const byte of bytes) connection.sendBytes(Uint8Array.of(byte));
    expect((await answer).readInt32BE(0)).toBe(77);
  });

  test("closes on what it cannot answer", async () => {
    const other = await KafkaConnection.open(server.port);
    other.sendRequest(produceApi, 13, newProduceRequest({ acks: -1 }));
    await other.closed;
  });
});

async function runBench(args: readonly string[]): Promise<{ readonly summary: Record<string, unknown>; readonly kept: readonly string[] }> {
  using folder = new TemporaryFolder("bench-test");
  const out = join(folder.path, "out");
  const data = join(folder.path, "data");
  await mustRunTool(["mkdir", data]);
  const main = join(repositoryRoot, "test", "bench", "main.ts");
  const tiny = ["--pairs", "1", "--seconds", "0.2", "--warm-up", "0", "--idle-seconds", "0.2", "--kafka", "none", "--json"];
  const output = await mustRunTool([process.execPath, main, ...tiny, "--folder", data, "--out", out, ...args]);
  expect(readdirSync(data), "servers' data is removed").toEqual([]);
  expect(JSON.parse(readFileSync(join(out, "summary.json"), "utf8"))).toEqual(JSON.parse(output));
  return { summary: JSON.parse(output) as Record<string, unknown>, kept: readdirSync(out).sort() };
}

testIf(hasWeir, weirMissing)("a benchmark without load keeps its runs, its summary and its table", async () => {
  const { summary, kept } = await runBench(["--rows", "start,idle"]);
  expect(kept).toEqual(["runs.json", "summary.json", "table.md"]);
  expect(summary.rows).toMatchObject([
    { id: "start", figures: { weir: { readyMs: { count: 1 } } } },
    { id: "idle", figures: { weir: { residentMebibytes: { count: 1 } } } },
  ]);
});

testIf(hasWeir && hasKafkaTools, hasWeir ? noKafkaTools : weirMissing)(
  "a benchmark with load: every byte produced was taken, by both servers",
  async () => {
    const { summary } = await runBench(["--rows", "produce-small,fetch-tail,rate-5k,transactions-small"]);
    const spread = { count: 1, median: expect.any(Number) };
    expect(summary.rows).toMatchObject([
      { id: "produce-small", figures: { weir: { megabytesPerSecond: spread }, discard: { megabytesPerSecond: spread } } },
      { id: "fetch-tail", figures: { weir: { cpuSecondsPerGigabyte: spread } } },
      { id: "rate-5k", figures: { weir: { ackP99Ms: spread }, device: { ackP99Ms: spread } } },
      { id: "transactions-small", figures: { weir: { transactionsPerSecond: spread, commitP99Ms: spread } } },
    ]);
  },
);

testIf(hasWeir, weirMissing)("weir wal bench measures a file that it makes, and leaves nothing behind", async () => {
  using folder = new TemporaryFolder("wal-bench");
  const path = join(folder.path, "file");
  const args = [path, "--sizes", "4KiB,64KiB", "--depths", "4", "--seconds", "0.05", "--file-size", "32MiB"];
  const output = await mustRunTool([weirExecutable, "wal", "bench", ...args, "--output", "json"]);
  const { rows } = JSON.parse(output) as { readonly rows: readonly { readonly count: number; readonly depth: number }[] };
  expect(rows).toMatchObject([
    { sizeBytes: 4096, depth: 4 },
    { sizeBytes: 65_536, depth: 4 },
  ]);
  expect(rows.every(({ count }) => count >= 4)).toBe(true);
  expect(existsSync(path)).toBe(false);
  const missing = await runTool([weirExecutable, "wal", "bench", join(path, "deeper")]);
  expect(missing).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("(wal-device-missing)") });
});
