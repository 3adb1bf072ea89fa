/** The two servers that are compared: dist/weir and Apache Kafka 4.4, with the same settings, on free ports, in folders of their own. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { apiVersionsApi, newApiVersionsRequest } from "../../../src/protocol/messages/api-versions.ts";
import { endTxnApi } from "../../../src/protocol/messages/end-txn.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../../src/protocol/messages/find-coordinator.ts";
import { initProducerIdApi, newInitProducerIdRequest } from "../../../src/protocol/messages/init-producer-id.ts";
import { newOffsetFetchRequest, newOffsetFetchRequestGroup, offsetFetchApi } from "../../../src/protocol/messages/offset-fetch.ts";
import { KafkaConnection } from "../../support/kafka-connection.ts";
import { getFreePorts } from "../../support/ports.ts";
import { TemporaryFolder } from "../../support/temporary.ts";
import { mustRunTool, repositoryRoot, runTool } from "../../support/tools.ts";
import { hasWeir, WeirProcess } from "../../support/weir-process.ts";
import { findKafkaJars } from "../protocol-oracle/kafka-jars.ts";
import type { ServedVersions } from "./model.ts";

/**
 * Retention and rolling by time are off, since the records' timestamps lie years back; no initial delay of a rebalance, since a group of one has
 * nobody to wait for; no look for empty groups, which each server forgets at another time. Consumer groups have their targets made by the heartbeat that
 * needs one, not some time after it, and nobody's session ends.
 */
const settings: Readonly<Record<string, string>> = {
  "log.retention.ms": "-1",
  "log.roll.ms": "9223372036854775807",
  "group.initial.rebalance.delay.ms": "0",
  "log.retention.hours": "168",
  "offsets.retention.check.interval.ms": "86400000",
  "group.consumer.assignment.interval.ms": "0",
  "group.consumer.assignor.offload.enable": "false",
  "group.consumer.max.session.timeout.ms": "3600000",
  "group.consumer.session.timeout.ms": "3600000",
  "min.insync.replicas": "1",
  "num.partitions": "1",
};

const kafkaScripts = join(repositoryRoot, "test", "support", "kafka-peer");

/** Why there is nothing to compare with, or undefined. */
export function missingPeer(): string | undefined {
  if (!hasWeir) return "dist/weir is not built";
  const jars = findKafkaJars();
  if ("missing" in jars) return jars.missing;
  return existsSync(join(kafkaScripts, "start-kafka.sh")) ? undefined : "no kafka-peer";
}

export interface RunningPeers {
  readonly weirPort: number;
  readonly kafkaPort: number;
  readonly weirLog: string;
  readonly hasWeirExited: boolean;
  stop(): Promise<void>;
}

export class Peers implements RunningPeers {
  readonly kafkaPort: number;
  readonly weirPort: number;
  readonly #kafkaFolder: TemporaryFolder;
  readonly #weirFolder: TemporaryFolder;
  readonly #weir: WeirProcess;

  private constructor(kafkaPort: number, kafkaFolder: TemporaryFolder, weir: WeirProcess, weirFolder: TemporaryFolder) {
    this.kafkaPort = kafkaPort;
    this.weirPort = weir.kafkaPort;
    this.#kafkaFolder = kafkaFolder;
    this.#weirFolder = weirFolder;
    this.#weir = weir;
  }

  static async start(): Promise<Peers> {
    const kafkaFolder = new TemporaryFolder("differential-kafka");
    const weirFolder = new TemporaryFolder("differential");
    const [port = 0, controllerPort = 0] = getFreePorts(2);
    const startKafka = mustRunTool(
      [
        join(kafkaScripts, "start-kafka.sh"),
        kafkaFolder.path,
        String(port),
        ...Object.entries(settings).map(([key, value]) => `${key}=${value}`),
      ],
      { environment: { KAFKA_CONTROLLER_PORT: String(controllerPort), KAFKA_HEAP_OPTS: "-Xms768m -Xmx768m" } },
    );
    const weir = await WeirProcess.start({ folder: weirFolder.path, settings: { ...settings, "object.store": "memory:", wal: "memory:" } });
    await startKafka;
    const peers = new Peers(port, kafkaFolder, weir, weirFolder);
    await warmUpBoth(peers);
    return peers;
  }

  get weirLog(): string {
    return this.#weir.logTail();
  }

  get hasWeirExited(): boolean {
    return this.#weir.hasExited;
  }

  async stop(): Promise<void> {
    await this.#weir.kill();
    await runTool([join(kafkaScripts, "stop-kafka.sh"), this.#kafkaFolder.path, "--kill", "--wipe"]);
    this.#kafkaFolder[Symbol.dispose]();
    this.#weirFolder[Symbol.dispose]();
  }
}

/** Internal topics exist and every coordinator has loaded: what a young cluster answers before that is a matter of timing. */
export async function warmUpBoth(ports: { readonly kafkaPort: number; readonly weirPort: number }): Promise<void> {
  const { served } = await readServedVersions(ports);
  const servesTransactions = served.has(endTxnApi.key);
  await Promise.all([warmUp("Kafka", ports.kafkaPort, servesTransactions), warmUp("Weir", ports.weirPort, servesTransactions)]);
}

async function warmUp(server: string, port: number, servesTransactions: boolean): Promise<void> {
  using connection = await KafkaConnection.open(port);
  for (const keyType of servesTransactions ? [0, 1] : [0]) {
    const find = () => connection.request(findCoordinatorApi, 4, newFindCoordinatorRequest({ keyType, coordinatorKeys: ["warm"] }));
    await untilTrue(`${server} has a coordinator of type ${keyType}`, async () => (await find()).coordinators[0]?.errorCode === 0);
  }
  const groups = Array.from({ length: 400 }, (_, index) => newOffsetFetchRequestGroup({ groupId: `warm-${index}`, topics: null }));
  await untilTrue(`${server} has loaded its groups`, async () => {
    const answer = await connection.request(offsetFetchApi, 8, newOffsetFetchRequest({ groups }));
    return answer.groups.every((group) => group.errorCode === 0);
  });
  const ids = servesTransactions ? Array.from({ length: 150 }, (_, index) => `warm-${index}`) : [];
  for (const transactionalId of [null, ...ids]) {
    const request = newInitProducerIdRequest({ transactionalId, transactionTimeoutMs: 60_000 });
    const isWarm = async () => ![14, 15, 16, 51].includes((await connection.request(initProducerIdApi, 4, request)).errorCode);
    await untilTrue(`${server} gives out producer ids`, isWarm);
  }
}

async function untilTrue(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within a minute: ${what}`);
    await Bun.sleep(20);
  }
}

async function readVersions(port: number): Promise<Map<number, { min: number; max: number }>> {
  using connection = await KafkaConnection.open(port);
  const answer = await connection.request(apiVersionsApi, 0, newApiVersionsRequest());
  return new Map(answer.apiKeys.map((key) => [key.apiKey, { min: key.minVersion, max: key.maxVersion }]));
}

/** What both serve; and what only Kafka does. */
export async function readServedVersions(peers: {
  readonly kafkaPort: number;
  readonly weirPort: number;
}): Promise<{ readonly served: ServedVersions; readonly onlyKafka: readonly number[] }> {
  const [kafka, weir] = await Promise.all([readVersions(peers.kafkaPort), readVersions(peers.weirPort)]);
  const served = new Map<number, { min: number; max: number }>();
  for (const [key, range] of kafka) {
    const ours = weir.get(key);
    if (ours !== undefined) served.set(key, { min: Math.max(range.min, ours.min), max: Math.min(range.max, ours.max) });
  }
  return { served, onlyKafka: [...kafka.keys()].filter((key) => !weir.has(key)) };
}
