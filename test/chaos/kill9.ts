/**
 * kill -9 at random moments under load: idempotent producers and readers work on while the executable is killed and started again. Then everything
 * but the WAL and the bucket is deleted, and the log is checked once more. Nothing acknowledged may be lost or appear twice, order must hold, offsets
 * must be contiguous, and what a reader saw must stay.
 *
 *   bun test/chaos/kill9.ts [--kills 50] [--seed 1] [--wal loop|file] [--store file|minio|versitygw]
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { seededRandom } from "../support/corpus.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { LoopDevice, noLoopDevices } from "../support/loop-device.ts";
import { getFreePorts } from "../support/ports.ts";
import { createTopicRaw, fetchAll, fetchRecords } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { mustRunTool } from "../support/tools.ts";
import { WeirProcess, weirExecutable } from "../support/weir-process.ts";
import { parseStoreKind, type StoreKind, startStore } from "../support/weir-store.ts";
import { IdempotentProducer } from "./idempotent-producer.ts";
import { checkLog, fingerprint } from "./log-checker.ts";

export interface Kill9Options {
  readonly kills: number;
  readonly seed: number;
  readonly wal: "loop" | "file";
  readonly store: StoreKind;
  readonly log?: (line: string) => void;
}

export interface Kill9Result {
  readonly findings: readonly string[];
  readonly summary: string;
}

const topic = "kill9";
/** Partition 0 has two producers, the others one each. */
const producerPartitions = [0, 0, 1, 2];
const partitions = 3;

/** Small and hasty, so that the WAL laps and uploads, commits and trims happen between any two kills. */
const hastySettings: Readonly<Record<string, string>> = {
  "upload.interval.ms": "200",
  "ring.capacity.bytes": "32MiB",
  "upload.size.bytes": "1MiB",
};

/** The server as the clients see it: up, or about to be. */
class Server {
  private process: WeirProcess | undefined;
  private serving = Promise.withResolvers<number>();
  private readonly start: () => Promise<WeirProcess>;

  constructor(start: () => Promise<WeirProcess>) {
    this.start = start;
  }

  whenServing = (): Promise<number> => this.serving.promise;

  async up(): Promise<WeirProcess> {
    const process = await this.start();
    this.process = process;
    this.serving.resolve(process.kafkaPort);
    return process;
  }

  async kill(): Promise<void> {
    this.serving = Promise.withResolvers<number>();
    await this.process?.kill();
  }
}

/** Reads a partition from 0 on, over and over as connections break, and remembers what it saw. */
async function follow(server: Server, partition: number, seen: Map<number, string>, stopped: AbortSignal): Promise<void> {
  let next = 0;
  while (!stopped.aborted) {
    const connection = await KafkaConnection.open(await server.whenServing()).catch(() => undefined);
    if (connection === undefined) {
      await Bun.sleep(10);
      continue;
    }
    try {
      while (!stopped.aborted) {
        const fetched = await fetchRecords(connection, topic, partition, next, { maxWaitMs: 100 });
        if (fetched.errorCode !== 0) throw new Error("closed");
        for (const record of fetched.records) {
          seen.set(record.offset, fingerprint(record));
          next = record.offset + 1;
        }
      }
    } catch (error) {
      if (!(error instanceof Error) || error.message !== "closed") throw error;
      await Bun.sleep(5);
    } finally {
      connection.close();
    }
  }
}

async function checkAll(port: number, producers: readonly IdempotentProducer[], seen: readonly Map<number, string>[]): Promise<string[]> {
  using connection = await KafkaConnection.open(port);
  const findings: string[] = [];
  for (let partition = 0; partition < partitions; partition++) {
    const records = await fetchAll(connection, topic, partition);
    const own = producers.filter((producer) => producer.partition === partition);
    findings.push(...checkLog(partition, records, own, seen[partition] ?? new Map()));
    for (const record of records) seen[partition]?.set(record.offset, fingerprint(record));
  }
  return findings;
}

export async function runKill9(options: Kill9Options): Promise<Kill9Result> {
  const log = options.log ?? (() => {});
  const random = seededRandom(options.seed);
  using folder = new TemporaryFolder("kill9");
  using device = options.wal === "loop" ? LoopDevice.tryCreate(folder.path, 64 * 1024 * 1024) : undefined;
  if (options.wal === "loop" && device === undefined) throw new Error(noLoopDevices);
  const durable = join(folder.path, "durable");
  const scratch = join(folder.path, "scratch");
  mkdirSync(durable);
  mkdirSync(scratch);
  if (device !== undefined) await mustRunTool([weirExecutable, "wal", "format", device.path]);
  const store = await startStore(options.store, durable);
  const [kafkaPort = 0, httpPort = 0] = getFreePorts(2);
  const settings = {
    ...hastySettings,
    wal: device === undefined ? `file:${join(durable, "wal")}?size=64MiB` : `block:${device.path}`,
    "object.store": store.setting,
  };
  const server = new Server(() =>
    WeirProcess.start({ folder: scratch, settings, kafkaPort, httpPort, readyTimeoutMs: 60_000, environment: store.environment }),
  );
  const stop = new AbortController();
  try {
    const first = await server.up();
    using connection = await KafkaConnection.open(first.kafkaPort);
    const created = await createTopicRaw(connection, topic, { partitions });
    if (created.errorCode !== 0) throw new Error(`CreateTopics answered ${created.errorCode}`);
    const producers = producerPartitions.map((partition, index) => {
      const producerRandom = seededRandom(options.seed * 1000 + index);
      return new IdempotentProducer({ name: `p${index}`, topic, partition, random: producerRandom, whenServing: server.whenServing });
    });
    const seen = Array.from({ length: partitions }, () => new Map<number, string>());
    const followers = seen.map((map, partition) => follow(server, partition, map, stop.signal));
    const runs = producers.map((producer) => producer.run());
    // A client that fails ends the test at the checks below; it must not end the process before them.
    for (const client of [...runs, ...followers]) client.catch(() => stop.abort());
    let restartMs = 0;
    for (let kill = 1; kill <= options.kills && !stop.signal.aborted; kill++) {
      await Bun.sleep(50 + random() * 1200);
      await server.kill();
      const process = await server.up();
      restartMs = Math.max(restartMs, process.startMs);
      const acknowledged = producers.reduce((sum, producer) => sum + producer.acknowledgedRecords, 0);
      log(
        `kill ${kill}/${options.kills}: serving again after ${process.startMs.toFixed(0)} ms, ${acknowledged} records acknowledged so far`,
      );
    }
    for (const producer of producers) producer.stop();
    await Promise.all(runs);
    stop.abort();
    await Promise.all(followers);
    const findings = producers.flatMap((producer) => producer.violations);
    findings.push(...(await checkAll(kafkaPort, producers, seen)));
    await server.kill();
    rmSync(scratch, { recursive: true });
    mkdirSync(scratch);
    const fresh = await server.up();
    findings.push(...(await checkAll(kafkaPort, producers, seen)).map((finding) => `after erasing all but WAL and bucket: ${finding}`));
    const exitCode = await fresh.stop();
    if (exitCode !== 0) findings.push(`SIGTERM ended with exit code ${exitCode}:\n${fresh.logTail()}`);
    const acknowledged = producers.reduce((sum, producer) => sum + producer.acknowledgedRecords, 0);
    const resent = producers.reduce((sum, producer) => sum + producer.resent, 0);
    const verdict = findings.length === 0 ? "nothing lost, twice or out of order" : `${findings.length} findings`;
    return {
      findings,
      summary:
        `kill9: ${options.kills} kills, WAL ${options.wal}, store ${options.store}, seed ${options.seed}: ${acknowledged} records acknowledged, ` +
        `${resent} batches sent again, slowest restart ${restartMs.toFixed(0)} ms: ${verdict}`,
    };
  } finally {
    stop.abort();
    await server.kill();
    await store.stop();
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "50" },
      seed: { type: "string", default: "1" },
      wal: { type: "string", default: "loop" },
      store: { type: "string", default: "file" },
    },
  });
  const result = await runKill9({
    kills: Number(values.kills),
    seed: Number(values.seed),
    wal: values.wal === "file" ? "file" : "loop",
    store: parseStoreKind(values.store),
    log: (line) => console.log(line),
  });
  for (const finding of result.findings) console.log(finding);
  console.log(result.summary);
  process.exit(result.findings.length === 0 ? 0 : 1);
}
