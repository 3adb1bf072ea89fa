/** What the executable exposes at /metrics is what docs/metrics.md says, with traffic on it; and a group's lag is there as Prometheus users expect it. */
import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  offsetCommitApi,
} from "../../src/protocol/messages/offset-commit.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchAll, produceValues } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { repositoryRoot, testIf } from "../support/tools.ts";
import { hasWeir, WeirProcess, weirMissing } from "../support/weir-process.ts";

/** NOT_COORDINATOR and its like: the coordinator is not there yet, ask again. */
const notYet: ReadonlySet<number> = new Set([14, 15, 16]);
const tries = 200;

async function commitOffset(connection: KafkaConnection, group: string, topic: string, offset: number): Promise<void> {
  await connection.request(findCoordinatorApi, 4, newFindCoordinatorRequest({ keyType: 0, coordinatorKeys: [group] }));
  const partitions = [newOffsetCommitRequestPartition({ partitionIndex: 0, committedOffset: BigInt(offset) })];
  const request = newOffsetCommitRequest({ groupId: group, topics: [newOffsetCommitRequestTopic({ name: topic, partitions })] });
  let errorCode = -1;
  for (let attempt = 0; attempt < tries; attempt++) {
    const answer = await connection.request(offsetCommitApi, 8, request);
    errorCode = answer.topics[0]?.partitions[0]?.errorCode ?? -1;
    if (!notYet.has(errorCode)) break;
    await Bun.sleep(10);
  }
  expect(errorCode).toBe(0);
}

testIf(hasWeir, weirMissing)("every exposed metric is documented with its type and labels, and a group's lag is one of them", async () => {
  using folder = new TemporaryFolder("metrics");
  await using weir = await WeirProcess.start({ folder: folder.path });
  using connection = await KafkaConnection.open(weir.kafkaPort);
  expect((await createTopicRaw(connection, "watched")).errorCode).toBe(0);
  expect((await produceValues(connection, "watched", 0, ["one", "two", "three"])).errorCode).toBe(0);
  expect((await fetchAll(connection, "watched", 0)).length).toBe(3);
  await commitOffset(connection, "watchers", "watched", 1);

  const exposition = await weir.metrics();
  expect(exposition).toContain('\nkafka_consumergroup_lag{consumergroup="watchers",topic="watched",partition="0"} 2\n');
  const document = readFileSync(join(repositoryRoot, "docs", "metrics.md"), "utf8");
  const rows = [...document.matchAll(/^\| `(\w+)` \| (\w+) \| \w* \| ([^|]*) \|/gm)];
  const documented = new Map(rows.map(([, name = "", type, labels = ""]) => [name, { type, labels: labels.match(/\w+/g) ?? [] }]));
  const types = [...exposition.matchAll(/^# TYPE (\w+) (\w+)$/gm)];
  expect(types.length).toBeGreaterThan(40);
  for (const [, name = "", type] of types) expect([name, documented.get(name)?.type]).toEqual([name, type]);
  for (const [, sample = "", labels = ""] of exposition.matchAll(/^(\w+)\{([^}]*)\} /gm)) {
    const name = documented.has(sample) ? sample : sample.replace(/_(?:bucket|sum|count)$/, "");
    const used = [...labels.matchAll(/(\w+)="/g)].map(([, label = ""]) => label).filter((label) => label !== "le");
    expect([name, used.sort()]).toEqual([name, [...(documented.get(name)?.labels ?? [])].sort()]);
  }
});
