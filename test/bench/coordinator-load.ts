/**
 * How long a coordinator takes to load a million committed offsets that lie in one partition of __consumer_offsets, beside Apache Kafka in the same run, and how
 * others are answered meanwhile.
 *
 *   bun test/bench/coordinator-load.ts [--offsets N] [--partitions N] [--rounds N] [--no-kafka]
 *
 * Groups whose ids fall into one partition commit `--partitions` offsets each, in raw OffsetCommit requests; `--rounds` times over, so that the log is longer than what it says.
 * Weir is killed, Kafka stopped as it should be, and both are started again. "load" is what each server says itself (`group.loaded`, "Finished loading offsets"), "asked" the time
 * from the first question about one of these groups until it is answered; "others" how long a group of another partition waited for its answers meanwhile.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { shardOfKey } from "../../src/coordinator/shard-of-key.ts";
import { createTopicsApi, newCreatableTopic, newCreateTopicsRequest } from "../../src/protocol/messages/create-topics.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  offsetCommitApi,
} from "../../src/protocol/messages/offset-commit.ts";
import {
  newOffsetFetchRequest,
  newOffsetFetchRequestGroup,
  newOffsetFetchRequestTopics,
  offsetFetchApi,
} from "../../src/protocol/messages/offset-fetch.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { getFreePorts } from "../support/ports.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { mustRunTool, repositoryRoot } from "../support/tools.ts";
import { WeirProcess } from "../support/weir-process.ts";
import { readCpuSeconds } from "./process-usage.ts";

const { values: given } = parseArgs({
  options: {
    offsets: { type: "string", default: "1000000" },
    partitions: { type: "string", default: "200" },
    rounds: { type: "string", default: "1" },
    "no-kafka": { type: "boolean", default: false },
  },
});
const PARTITIONS = Number(given.partitions);
const GROUPS = Math.ceil(Number(given.offsets) / PARTITIONS);
const ROUNDS = Number(given.rounds);
const TOPIC = "committed";
const OFFSETS_PARTITIONS = 50;
const CROWDED = 7;
const IN_FLIGHT = 8;
const PING_MS = 5;
const LOADING = 14;
const DEADLINE_MS = 120_000;
const scripts = join(repositoryRoot, "test", "support", "kafka-peer");

interface Server {
  readonly name: string;
  readonly port: number;
  readonly pid: () => number;
  restart(): Promise<void>;
  /** What the server says that the load of the crowded partition took, ms. */
  readLoadMs(): number | undefined;
  stop(): Promise<void>;
}

interface Figures {
  readonly loadMs: number | undefined;
  readonly askedMs: number;
  readonly cpuSeconds: number;
  readonly othersMaxMs: number;
  readonly othersP99Ms: number;
}

const groupIds = listGroups(CROWDED, GROUPS);
const other = listGroups(CROWDED + 1, 1)[0] ?? "";

function listGroups(partition: number, count: number): string[] {
  const ids: string[] = [];
  for (let number = 0; ids.length < count; number++) {
    const id = `group-${number}`;
    if (shardOfKey(id, OFFSETS_PARTITIONS) === partition) ids.push(id);
  }
  return ids;
}

async function until(what: string, isDone: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!(await isDone())) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await Bun.sleep(50);
  }
}

async function prepare(port: number): Promise<void> {
  using connection = await KafkaConnection.open(port);
  const topics = [newCreatableTopic({ name: TOPIC, numPartitions: PARTITIONS, replicationFactor: 1 })];
  await connection.request(createTopicsApi, 5, newCreateTopicsRequest({ topics, timeoutMs: DEADLINE_MS }));
  for (const id of [groupIds[0] ?? "", other]) {
    await until("a coordinator", async () => {
      const found = await connection.request(findCoordinatorApi, 4, newFindCoordinatorRequest({ keyType: 0, coordinatorKeys: [id] }));
      return found.coordinators[0]?.errorCode === 0 && (await commit(connection, id, 0)) === 0;
    });
  }
}

async function commit(connection: KafkaConnection, groupId: string, round: number): Promise<number> {
  const partitions = Array.from({ length: PARTITIONS }, (_, partitionIndex) =>
    newOffsetCommitRequestPartition({ partitionIndex, committedOffset: BigInt(round * 1_000 + partitionIndex), committedMetadata: "" }),
  );
  const request = newOffsetCommitRequest({
    groupId,
    generationIdOrMemberEpoch: -1,
    topics: [newOffsetCommitRequestTopic({ name: TOPIC, partitions })],
  });
  const answer = await connection.request(offsetCommitApi, 8, request);
  return answer.topics[0]?.partitions.find(({ errorCode }) => errorCode !== 0)?.errorCode ?? 0;
}

async function fill(server: Server): Promise<void> {
  await prepare(server.port);
  using connection = await KafkaConnection.open(server.port);
  const startedMs = performance.now();
  for (let round = 1; round <= ROUNDS; round++) {
    let next = 0;
    const work = async (): Promise<void> => {
      for (let at = next++; at < groupIds.length; at = next++) {
        const code = await commit(connection, groupIds[at] ?? "", round);
        if (code !== 0) throw new Error(`${server.name}: a commit was answered with ${code}`);
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  }
  console.error(
    `${server.name}: ${groupIds.length * PARTITIONS * ROUNDS} offsets committed in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`,
  );
}

async function ask(connection: KafkaConnection, groupId: string): Promise<number> {
  const topics = [newOffsetFetchRequestTopics({ name: TOPIC, partitionIndexes: [PARTITIONS - 1] })];
  const request = newOffsetFetchRequest({ groups: [newOffsetFetchRequestGroup({ groupId, topics })] });
  const group = (await connection.request(offsetFetchApi, 8, request)).groups[0];
  if (group?.errorCode !== 0) return group?.errorCode ?? -1;
  const partition = group.topics[0]?.partitions[0];
  const expected = BigInt((groupId === other ? 0 : ROUNDS * 1_000) + PARTITIONS - 1);
  if (partition?.committedOffset !== expected) throw new Error(`${groupId} has ${partition?.committedOffset}, not ${expected}`);
  return 0;
}

async function measure(server: Server): Promise<Figures> {
  await server.restart();
  using pings = await KafkaConnection.open(server.port);
  using questions = await KafkaConnection.open(server.port);
  await until("the other group", async () => (await ask(pings, other)) === 0);
  const cpuBefore = readCpuSeconds(server.pid());
  const waits: number[] = [];
  let isLoaded = false;
  const pinging = (async () => {
    while (!isLoaded) {
      const sentMs = performance.now();
      await ask(pings, other);
      waits.push(performance.now() - sentMs);
      await Bun.sleep(PING_MS);
    }
  })();
  const askedMs = performance.now();
  const last = groupIds.at(-1) ?? "";
  await until("the load", async () => {
    const code = await ask(questions, last);
    if (code !== 0 && code !== LOADING) throw new Error(`${server.name}: ${last} was answered with ${code}`);
    return code === 0;
  });
  const answeredMs = performance.now();
  isLoaded = true;
  await pinging;
  waits.sort((a, b) => a - b);
  return {
    loadMs: server.readLoadMs(),
    askedMs: answeredMs - askedMs,
    cpuSeconds: readCpuSeconds(server.pid()) - cpuBefore,
    othersMaxMs: waits.at(-1) ?? 0,
    othersP99Ms: waits[Math.floor(waits.length * 0.99)] ?? 0,
  };
}

async function startWeir(folder: string): Promise<Server> {
  const start = (kafkaPort?: number) =>
    WeirProcess.start({
      folder,
      ...(kafkaPort === undefined ? {} : { kafkaPort }),
      settings: { wal: `file:${join(folder, "wal")}?size=512MiB` },
    });
  let weir = await start();
  return {
    name: "weir",
    port: weir.kafkaPort,
    pid: () => weir.pid,
    async restart() {
      await weir.kill();
      weir = await start(weir.kafkaPort);
    },
    readLoadMs() {
      const line = weir
        .log()
        .split("\n")
        .find((each) => each.includes("group.loaded") && each.includes(`partition=${CROWDED} `));
      return line === undefined ? undefined : Number(/tookMs=(\d+)/.exec(line)?.[1]);
    },
    stop: () => weir.kill(),
  };
}

async function startKafka(folder: string): Promise<Server> {
  const [port = 0, controllerPort = 0] = getFreePorts(2);
  const start = () =>
    mustRunTool([join(scripts, "start-kafka.sh"), folder, String(port)], {
      environment: { KAFKA_CONTROLLER_PORT: String(controllerPort), KAFKA_HEAP_OPTS: "-Xms1g -Xmx1g" },
    });
  const stop = (how: readonly string[]) => mustRunTool([join(scripts, "stop-kafka.sh"), folder, ...how]);
  await start();
  return {
    name: "kafka",
    port,
    pid: () => Number(readFileSync(join(folder, "kafka.pid"), "utf8")),
    async restart() {
      await stop([]);
      await start();
    },
    readLoadMs() {
      const pattern = new RegExp(`Finished loading of metadata from __consumer_offsets-${CROWDED} .*?in (\\d+)ms`, "g");
      const found = [...readFileSync(join(folder, "kafka.log"), "utf8").matchAll(pattern)].at(-1);
      return found === undefined ? undefined : Number(found[1]);
    },
    stop: async () => {
      await stop(["--kill"]);
    },
  };
}

const round = (value: number | undefined): string => (value === undefined ? "-" : value < 10 ? value.toFixed(1) : value.toFixed(0));

using weirFolder = new TemporaryFolder("coordinator-load-weir");
using kafkaFolder = new TemporaryFolder("coordinator-load-kafka");
const servers = [await startWeir(weirFolder.path), ...(given["no-kafka"] ? [] : [await startKafka(kafkaFolder.path)])];
try {
  console.log(`${groupIds.length} groups of ${PARTITIONS} offsets, committed ${ROUNDS} times, in one partition of __consumer_offsets`);
  console.log("server | load ms | asked ms | CPU s until answered | others p99 ms | others max ms");
  for (const server of servers) {
    await fill(server);
    const { loadMs, askedMs, cpuSeconds, othersMaxMs, othersP99Ms } = await measure(server);
    console.log([server.name, round(loadMs), round(askedMs), cpuSeconds.toFixed(2), round(othersP99Ms), round(othersMaxMs)].join(" | "));
  }
} finally {
  for (const server of servers) await server.stop();
}
process.exit(0);
