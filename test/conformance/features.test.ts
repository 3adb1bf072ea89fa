/**
 * Feature levels on the executable: every answer to UpdateFeatures, and what follows from it, beside the one that Apache Kafka 4.4 gave to the same sequence of
 * requests (test/fixtures/feature-answers.json, recorded); Kafka's own kafka-features; a cluster that was made before group.version was finalised.
 */
import { expect } from "bun:test";
import { join } from "node:path";
import { SystemRandom } from "../../src/base/system-random.ts";
import { DirectoryStore } from "../../src/objectstore/directory-store.ts";
import { makeOldCluster } from "../support/old-cluster.ts";
import { createTopicRaw } from "../support/raw-client.ts";
import { isExternal, ServerUnderTest, serverMissing } from "../support/server-under-test.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { runTool, testIf } from "../support/tools.ts";
import { hasWeir, WeirProcess, weirExecutable } from "../support/weir-process.ts";
import { hasKafkaTools, noKafkaTools, runKafkaTool } from "./clients.ts";
import { askFeatures, type FeatureStep } from "./feature-requests.ts";

const recorded = join(import.meta.dir, "../fixtures/feature-answers.json");
const MEMBER = "aaaaaaaaaaaaaaaaaaaaaa";
const GROUP_VERSION = "group.version";
const TOOL_TIMEOUT_MS = 120_000;

const server = ServerUnderTest.forThisFile({ settings: { "group.initial.rebalance.delay.ms": "0" } });
const run = testIf(hasWeir && !isExternal, serverMissing);

run("UpdateFeatures answers as Kafka does, and the consumer protocol comes and goes with group.version", async () => {
  using connection = await server.connect();
  await createTopicRaw(connection, "t");
  const found: unknown[] = [];
  for (const { step, kafka } of (await Bun.file(recorded).json()) as { step: FeatureStep; kafka: string[] }[]) {
    const weir = await askFeatures(connection, step);
    if (!Bun.deepEquals(weir, kafka)) found.push({ step, weir, kafka });
  }
  expect(found).toEqual([]);
});

run("levels are there after kill -9", async () => {
  {
    using connection = await server.connect();
    expect(await askFeatures(connection, ["update", 2, [[GROUP_VERSION, 0, 2]]])).toEqual(["0 null"]);
  }
  await server.restart("kill");
  using connection = await server.connect();
  expect(await askFeatures(connection, ["heartbeat", "g", MEMBER, 0])).toEqual(["35 null epoch 0"]);
  expect(await askFeatures(connection, ["update", 2, [[GROUP_VERSION, 1, 1]]])).toEqual(["0 null"]);
  await askFeatures(connection, ["coordinator", "g"]);
  expect((await askFeatures(connection, ["heartbeat", "g", MEMBER, 0]))[0]).toStartWith("0 null");
});

run("a cluster that was made before group.version gets it with `weir features upgrade`, without a restart", async () => {
  using folder = new TemporaryFolder("old-cluster");
  const store = await DirectoryStore.open(join(folder.path, "store"), new SystemRandom());
  await makeOldCluster(store, [["metadata.version", 33]]);
  const weir = await WeirProcess.start({ folder: folder.path });
  try {
    const features = async (...args: string[]) =>
      (await runTool([weirExecutable, "features", ...args, "--bootstrap-server", weir.bootstrap], { cwd: folder.path })).stdout;
    expect(await features("describe")).toMatch(/group\.version +0 +0 +1\n/);
    expect(await features("upgrade", "group.version=1", "--dry-run")).toBe("group.version can go from 0 to 1\n");
    expect(JSON.parse(await features("upgrade", "--latest", "--output", "json"))).toEqual({
      features: [
        { name: GROUP_VERSION, from: 0, level: 1 },
        { name: "metadata.version", from: 33, level: 33 },
        { name: "transaction.version", from: 0, level: 2 },
      ],
      dryRun: false,
    });
    expect(await features("upgrade", "group.version=1")).toBe("group.version is at 1 already\n");
    expect(await features("downgrade", "transaction.version=1")).toBe("transaction.version went from 2 to 1\n");
  } finally {
    await weir.kill();
  }
});

testIf(hasWeir && hasKafkaTools, hasWeir ? noKafkaTools : serverMissing)(
  "kafka-features describes, downgrades and upgrades as on Apache Kafka",
  async () => {
    const features = async (...args: string[]): Promise<string[]> => {
      const result = await runKafkaTool("features", ["--bootstrap-server", server.bootstrap, ...args]);
      return `${result.stdout}${result.stderr}`.trim().split("\n");
    };
    const described = (await features("describe")).map((line) => line.replace(/\s+/g, " ").replace(/ Epoch: \d+$/, ""));
    expect(described).toEqual([
      "Feature: group.version SupportedMinVersion: 0 SupportedMaxVersion: 1 FinalizedVersionLevel: 1",
      "Feature: metadata.version SupportedMinVersion: 3.3-IV3 SupportedMaxVersion: UNKNOWN 33 FinalizedVersionLevel: UNKNOWN 33",
      "Feature: transaction.version SupportedMinVersion: 0 SupportedMaxVersion: 2 FinalizedVersionLevel: 2",
    ]);
    expect(await features("downgrade", "--feature", "group.version=0")).toEqual(["group.version was downgraded to 0."]);
    expect(await features("upgrade", "--feature", "group.version=2")).toEqual([
      "Could not upgrade group.version to 2. The update failed for all features since the following feature had an error: Invalid update version 2 for feature group.version. Local controller 1 only supports versions 0-1",
      "1 out of 1 operation(s) failed.",
    ]);
    expect(await features("upgrade", "--feature", "transaction.version=2", "--feature", "group.version=1")).toEqual([
      "group.version was upgraded to 1.",
      "transaction.version was upgraded to 2.",
    ]);
  },
  TOOL_TIMEOUT_MS,
);
