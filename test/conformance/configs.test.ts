/**
 * Settings changed at run time on the executable: every answer beside the one that Apache Kafka 4.4 gave to the same sequence of requests
 * (test/fixtures/config-answers.json, recorded), and what a change does. A difference from Kafka is named below with its reason.
 */
import { expect } from "bun:test";
import { join } from "node:path";
import { apiVersionsApi, newApiVersionsRequest } from "../../src/protocol/messages/api-versions.ts";
import type { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchRecords, listOffset, produceBatch } from "../support/raw-client.ts";
import { encodeBatch } from "../support/record-batch.ts";
import { isExternal, ServerUnderTest, serverMissing } from "../support/server-under-test.ts";
import { testIf } from "../support/tools.ts";
import { hasWeir } from "../support/weir-process.ts";
import { askConfigs, type ConfigStep, describeConfig, setConfigs } from "./config-requests.ts";

const recorded = join(import.meta.dir, "../fixtures/config-answers.json");
const DAY_MS = 86_400_000;
const BROKER = 4;
const TOPIC = 2;
const GROUP = 32;

/** Steps that answer otherwise, by what they hold. */
const differences: readonly { readonly reason: string; readonly has: (step: string, line: string) => boolean }[] = [
  {
    reason: "an operation that nobody knows is an INVALID_REQUEST for topics too, not an UNKNOWN_SERVER_ERROR",
    has: (step) => step.includes('"retention.ms",9'),
  },
  {
    reason: "Kafka with eligible leader replicas sets min.insync.replicas for all brokers by itself",
    has: (_, line) => line.includes("min.insync.replicas"),
  },
  {
    reason: "Kafka never answers a resource named twice in AlterConfigs",
    has: (step) => step.startsWith('["alt"') && step.split('"name":"t"').length > 2,
  },
  { reason: "listeners are bound at start", has: (step) => step.includes("listener.name.plaintext.ssl.key.password") },
  {
    reason: "clients' metrics are not collected",
    has: (step) => step.includes('"type":16') || step.startsWith('["desc",16') || step.startsWith('["list'),
  },
  { reason: "there are no loggers of Kafka's names", has: (step) => step.includes('"type":8') },
];

/** Kafka refuses it because of eligible leader replicas, and Weir has no reason to: not asked, so that what follows finds the same settings. */
const NOT_ASKED = '["alt",[{"type":4,"name":"","configs":[]}]]';

const server = ServerUnderTest.forThisFile({
  settings: {
    "log.retention.hours": "168",
    "min.insync.replicas": "1",
    "log.retention.check.interval.ms": "200",
    "upload.interval.ms": "100",
  },
});
const run = testIf(hasWeir && !isExternal, serverMissing);

run("AlterConfigs, IncrementalAlterConfigs, DescribeConfigs and ListConfigResources answer as Kafka does", async () => {
  using connection = await server.connect();
  await createTopicRaw(connection, "t");
  const found: string[] = [];
  const fired = new Set<string>();
  for (const { step, kafka } of (await Bun.file(recorded).json()) as { step: ConfigStep; kafka: string[] }[]) {
    const text = JSON.stringify(step);
    if (text === NOT_ASKED) continue;
    const weir = await askConfigs(connection, step);
    const lines = [...weir.filter((line) => !kafka.includes(line)), ...kafka.filter((line) => !weir.includes(line))];
    for (const line of lines) {
      const allowed = differences.find((difference) => difference.has(text, line));
      if (allowed === undefined) found.push(`${text}: ${line} ${weir.includes(line) ? "(Weir)" : "(Kafka)"}`);
      else fired.add(allowed.reason);
    }
  }
  expect(found).toEqual([]);
  expect(differences.filter(({ reason }) => !fired.has(reason)).map(({ reason }) => reason)).toEqual([]);
});

const small = () => encodeBatch({ values: ["small"] });
const large = () => encodeBatch({ values: ["x".repeat(2_000)] });
const produce = async (connection: KafkaConnection, topic: string, batch: Uint8Array) =>
  (await produceBatch(connection, topic, 0, batch)).errorCode;

run("a changed setting holds for the next request, for all topics without their own, and after kill -9", async () => {
  {
    using connection = await server.connect();
    await createTopicRaw(connection, "default");
    await createTopicRaw(connection, "own", { configs: { "max.message.bytes": "1000000" } });
    expect(await setConfigs(connection, BROKER, "", { "message.max.bytes": "1000" })).toBe(0);
    expect(await produce(connection, "default", large())).toBe(10);
    expect(await produce(connection, "default", small())).toBe(0);
    expect(await produce(connection, "own", large())).toBe(0);
    expect(await setConfigs(connection, TOPIC, "own", { "max.message.bytes": "1000" })).toBe(0);
    expect(await produce(connection, "own", large())).toBe(10);
    expect(await setConfigs(connection, GROUP, "g", { "consumer.session.timeout.ms": "50000" })).toBe(0);
  }
  await server.restart("kill");
  using connection = await server.connect();
  expect(await produce(connection, "default", large())).toBe(10);
  expect(await describeConfig(connection, TOPIC, "own", "max.message.bytes")).toMatchObject({ value: "1000", configSource: 1 });
  expect(await describeConfig(connection, BROKER, "1", "message.max.bytes")).toMatchObject({ value: "1000", configSource: 3 });
  expect(await describeConfig(connection, GROUP, "g", "consumer.session.timeout.ms")).toMatchObject({ value: "50000", configSource: 8 });
  expect(await setConfigs(connection, BROKER, "", { "message.max.bytes": undefined })).toBe(0);
  expect(await produce(connection, "default", large())).toBe(0);
});

run("retention that is set for all topics, or for one, works from the next pass on", async () => {
  using connection = await server.connect();
  expect(await setConfigs(connection, BROKER, "", { "log.local.retention.ms": undefined })).toBe(0);
  expect(await setConfigs(connection, BROKER, "1", { "log.retention.ms": undefined })).toBe(0);
  for (const topic of ["aging", "staying"]) {
    await createTopicRaw(connection, topic, { configs: { "retention.ms": "-1" } });
    const batch = encodeBatch({ values: ["old"], timestampMs: Date.now() - 3 * DAY_MS });
    expect((await produceBatch(connection, topic, 0, batch)).errorCode).toBe(0);
  }
  expect(await setConfigs(connection, BROKER, "", { "log.retention.ms": String(DAY_MS) })).toBe(0);
  expect(await setConfigs(connection, TOPIC, "aging", { "retention.ms": undefined })).toBe(0);
  expect(await describeConfig(connection, TOPIC, "aging", "retention.ms")).toMatchObject({ value: String(DAY_MS), configSource: 3 });
  const start = async (topic: string) => Number((await listOffset(connection, topic, 0, -2n)).offset);
  while ((await start("aging")) < 1) await server.weir?.waitForLog("retention.applied");
  expect(await start("staying")).toBe(0);
  expect((await fetchRecords(connection, "staying", 0, 0)).records).toHaveLength(1);
});

run("bounds of connections, set and taken back while it serves, act on who comes next", async () => {
  using admin = await server.connect();
  const isServed = async (connection: KafkaConnection): Promise<boolean> =>
    connection.request(apiVersionsApi, 0, newApiVersionsRequest()).then(
      () => true,
      () => false,
    );
  using first = await server.connect();
  expect(await isServed(first)).toBe(true);
  expect(await setConfigs(admin, BROKER, "", { "max.connections": "2" })).toBe(0);
  using second = await server.connect();
  const waits = isServed(second);
  expect(await isServed(first)).toBe(true);
  await server.weir?.waitForLog("server.accept-paused");
  expect(await setConfigs(admin, BROKER, "", { "max.connections": undefined })).toBe(0);
  expect(await waits).toBe(true);
  // Three are open.
  expect(await setConfigs(admin, BROKER, "1", { "max.connections.per.ip": "3" })).toBe(0);
  // Closed at once: while it is being opened, or when it asks.
  using refused = await server.connect().catch(() => undefined);
  expect(refused !== undefined && (await isServed(refused))).toBe(false);
  expect(await setConfigs(admin, BROKER, "1", { "max.connections.per.ip.overrides": "127.0.0.1:4" })).toBe(0);
  using taken = await server.connect();
  expect(await isServed(taken)).toBe(true);
  // The one that was silent for longest goes, and not the one that asks.
  expect(await setConfigs(admin, BROKER, "1", { "max.connections": "3", "max.connections.per.ip": undefined })).toBe(0);
  await Promise.race([first.closed, second.closed]);
  expect([second, first, taken, admin].filter(({ isOpen }) => isOpen)).toHaveLength(3);
  expect([taken.isOpen, admin.isOpen]).toEqual([true, true]);
  expect(await setConfigs(admin, BROKER, "1", { "max.connections": undefined, "max.connections.per.ip.overrides": undefined })).toBe(0);
});
