/**
 * The real clients that conformance runs: each a small program under `clients/` with the same commands (see CorpusClient.java), or kcat as it is.
 * Tells which are usable here and builds those that need building.
 */

import { createHash } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Corpus } from "../support/corpus.ts";
import { hasTool, mustRunTool, repositoryRoot, runTool } from "../support/tools.ts";

export type Codec = "none" | "gzip" | "snappy" | "lz4" | "zstd";
export const allCodecs: readonly Codec[] = ["none", "gzip", "snappy", "lz4", "zstd"];

/** What came out of one partition. */
export interface PartitionTally {
  readonly partition: number;
  readonly count: number;
  /** Over every value followed by a line feed. */
  readonly sha256: string;
  readonly first: number;
  readonly contiguous: boolean;
}

export interface ConformanceClient {
  readonly name: string;
  readonly codecs: readonly Codec[];
  /** Why it cannot run here; undefined when it can. */
  readonly missing: string | undefined;
  /** Builds what it needs; idempotent. */
  prepare(): Promise<void>;
  produce(bootstrap: string, topic: string, codec: Codec, corpus: Corpus): Promise<void>;
  consume(bootstrap: string, topic: string, counts: readonly number[]): Promise<readonly PartitionTally[]>;
}

const clientsFolder = join(import.meta.dir, "clients");
const buildFolder = join(repositoryRoot, "build", "conformance");

/** Where test/support/kafka-peer/setup.sh puts Kafka's jars. */
export const kafkaPeerHome = process.env.KAFKA_PEER_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "kafka-peer");
export const hasKafkaTools = existsSync(join(kafkaPeerHome, ".ready")) && hasTool("java") && hasTool("javac");
export const noKafkaTools = "needs a JDK, and test/support/kafka-peer/setup.sh once";
const kafkaToolScript = join(repositoryRoot, "test", "support", "kafka-peer", "kafka-tool.sh");
const kafkaJars = join(kafkaPeerHome, "tools-lib", "*");

function parseTallies(stdout: string): PartitionTally[] {
  return stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as PartitionTally);
}

/** A client program that takes the common commands. */
function programClient(
  name: string,
  codecs: readonly Codec[],
  missing: string | undefined,
  command: readonly string[],
  prepare: () => Promise<void>,
  environment: Readonly<Record<string, string>> = {},
): ConformanceClient {
  return {
    name,
    codecs,
    missing,
    prepare,
    async produce(bootstrap, topic, codec, corpus) {
      const args = ["produce", bootstrap, topic, codec, corpus.folder, String(corpus.partitions.length)];
      const output = await mustRunTool([...command, ...args], { environment });
      if (!output.includes(`produced ${corpus.records}`)) throw new Error(`${name} did not produce ${corpus.records} records: ${output}`);
    },
    async consume(bootstrap, topic, counts) {
      return parseTallies(await mustRunTool([...command, "consume", bootstrap, topic, counts.join(",")], { environment }));
    },
  };
}

async function buildJava(): Promise<void> {
  const folder = join(buildFolder, "java");
  mkdirSync(folder, { recursive: true });
  await mustRunTool(["javac", "-d", folder, "-cp", kafkaJars, join(clientsFolder, "java", "CorpusClient.java")]);
}

const javaCommand = [
  "java",
  "-Xmx512m",
  `-Dlog4j2.configurationFile=${join(kafkaPeerHome, "log4j2-tools.yaml")}`,
  "-cp",
  `${join(buildFolder, "java")}:${kafkaJars}`,
  "CorpusClient",
];

async function buildGo(): Promise<void> {
  mkdirSync(buildFolder, { recursive: true });
  await mustRunTool(["go", "build", "-p", "2", "-o", join(buildFolder, "go-clients"), "."], {
    cwd: join(clientsFolder, "go"),
    timeoutMs: 600_000,
  });
}

const noPreparation = async (): Promise<void> => {};
const goCommand = join(buildFolder, "go-clients");
const noGo = hasTool("go") ? undefined : "needs Go";
const python = join(repositoryRoot, "build", "venv", "bin", "python");

/** kcat: one process per partition, as it takes one partition at a time for both directions. */
const kcat: ConformanceClient = {
  name: "kcat",
  codecs: allCodecs,
  missing: hasTool("kcat") ? undefined : "needs the Debian package kcat",
  prepare: noPreparation,
  async produce(bootstrap, topic, codec, corpus) {
    for (const [partition, { file }] of corpus.partitions.entries()) {
      const settings = ["-X", "enable.idempotence=true", "-X", "linger.ms=5", "-z", codec];
      await mustRunTool(["kcat", "-P", "-b", bootstrap, "-t", topic, "-p", String(partition), ...settings, "-l", file]);
    }
  },
  async consume(bootstrap, topic, counts) {
    const tallies: PartitionTally[] = [];
    for (const [partition, count] of counts.entries()) {
      const from = ["-C", "-q", "-b", bootstrap, "-t", topic, "-p", String(partition), "-o", "beginning", "-c", String(count)];
      tallies.push(tallyKcat(partition, await mustRunTool(["kcat", ...from, "-e", "-f", "%o %s\\n"])));
    }
    return tallies;
  },
};

/** kcat prints "OFFSET VALUE" lines. */
function tallyKcat(partition: number, output: string): PartitionTally {
  const hash = createHash("sha256");
  let count = 0;
  let first = -1;
  let contiguous = true;
  for (let start = 0; start < output.length; ) {
    const end = output.indexOf("\n", start);
    const space = output.indexOf(" ", start);
    const offset = Number(output.slice(start, space));
    if (first < 0) first = offset;
    contiguous &&= offset === first + count;
    hash.update(output.slice(space + 1, end + 1));
    count++;
    start = end + 1;
  }
  return { partition, count, sha256: hash.digest("hex"), first, contiguous };
}

/**
 * kafka-producer-perf-test with the corpus's first partition as its payload file. It draws payloads at random with a fixed seed, so its checker knows
 * what must come out; one partition only, since it chooses partitions itself.
 */
export const perfTools = {
  missing: hasKafkaTools ? undefined : noKafkaTools,
  prepare: buildJava,
  async produce(bootstrap: string, topic: string, codec: Codec, payloadFile: string, records: number): Promise<string> {
    const properties = [`bootstrap.servers=${bootstrap}`, `compression.type=${codec}`, "acks=all", "linger.ms=5", "batch.size=131072"];
    const args = ["--topic", topic, "--num-records", String(records), "--throughput", "-1", "--payload-file", payloadFile];
    const output = await mustRunTool([kafkaToolScript, "producer-perf-test", ...args, "--command-property", ...properties]);
    return output.trim().split("\n").at(-1) ?? "";
  },
  async expectation(payloadFile: string, records: number): Promise<PartitionTally> {
    const [tally] = parseTallies(await mustRunTool([...javaCommand, "perf-expectation", payloadFile, String(records)]));
    if (tally === undefined) throw new Error("perf-expectation printed nothing");
    return tally;
  },
};

/** They live for a second: the quick compiler and the small collector serve them best. */
const shortLived = { KAFKA_TOOL_JVM_OPTS: "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC" };

/** One of Kafka's command-line tools by its short name ("topics"). */
export function runKafkaTool(name: string, args: readonly string[]) {
  return runTool([kafkaToolScript, name, ...args], { environment: shortLived });
}

export const conformanceClients: readonly ConformanceClient[] = [
  programClient("java", allCodecs, hasKafkaTools ? undefined : noKafkaTools, javaCommand, buildJava),
  kcat,
  programClient("kafkajs", allCodecs, undefined, [process.execPath, join(clientsFolder, "kafkajs.ts")], noPreparation),
  programClient("franz-go", allCodecs, noGo, [goCommand, "franz-go"], buildGo),
  programClient("sarama", allCodecs, noGo, [goCommand, "sarama"], buildGo),
  programClient(
    "confluent-kafka",
    allCodecs,
    existsSync(python) ? undefined : "needs build/venv with confluent-kafka (see .ci/run)",
    [python, join(clientsFolder, "python", "corpus_client.py")],
    noPreparation,
  ),
];

/** A program that runs transactions: `command` takes BOOTSTRAP INPUT OUTPUT ID (see transactions-clients/transactional.py). */
export interface TransactionalClient {
  readonly name: string;
  readonly missing: string | undefined;
  readonly command: readonly string[];
  prepare(): Promise<void>;
}

const transactionalClients = join(import.meta.dir, "transactions-clients");
const noPython = existsSync(python) ? undefined : "needs build/venv with confluent-kafka and kafka-python (see .ci/run)";
const pythonTransactions = [python, join(transactionalClients, "transactional.py")];

export const clientsWithTransactions: readonly TransactionalClient[] = [
  {
    name: "kafkajs",
    missing: undefined,
    command: [process.execPath, join(transactionalClients, "kafkajs.ts")],
    prepare: noPreparation,
  },
  { name: "franz-go", missing: noGo, command: [goCommand, "franz-go", "transact"], prepare: buildGo },
  { name: "sarama", missing: noGo, command: [goCommand, "sarama", "transact"], prepare: buildGo },
  { name: "confluent-kafka", missing: noPython, command: [...pythonTransactions, "confluent"], prepare: noPreparation },
  { name: "kafka-python", missing: noPython, command: [...pythonTransactions, "kafka-python"], prepare: noPreparation },
];

/** Sarama speaking the protocol of an older Kafka. */
export function saramaAt(version: string): ConformanceClient {
  return programClient(`sarama at ${version}`, ["none"], noGo, [goCommand, "sarama"], buildGo, { SARAMA_VERSION: version });
}

/** Throws with the difference unless what came out is what went in. */
export function checkTallies(corpus: Corpus, tallies: readonly PartitionTally[]): void {
  for (const [partition, { records, sha256 }] of corpus.partitions.entries()) {
    const wanted = { partition, count: records, sha256, first: 0, contiguous: true };
    const found = tallies.find((tally) => tally.partition === partition);
    if (JSON.stringify(wanted) !== JSON.stringify(found)) {
      throw new Error(`partition ${partition}: wanted ${JSON.stringify(wanted)}, found ${JSON.stringify(found)}`);
    }
  }
}
