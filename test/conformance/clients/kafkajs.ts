/**
 * KafkaJS over a corpus; the same commands as CorpusClient.java. KafkaJS offers consumers only as members of a group, so partitions are assigned
 * here by driving its own cluster, broker and decoder classes below the consumer. The codecs that it lacks are plugged in as it documents, from packages that share nothing with ours.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CompressionCodecs, CompressionTypes, Kafka, logLevel } from "kafkajs";
// @ts-expect-error: the package brings no types
import snappyCodec from "kafkajs-snappy";
// @ts-expect-error: the package brings no types
import lz4 from "lz4js";

interface Encoder {
  readonly buffer: Buffer;
}

CompressionCodecs[CompressionTypes.Snappy] = snappyCodec;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder: Encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (bytes: Buffer) => Buffer.from(lz4.decompress(bytes)),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder: Encoder) => Buffer.from(await Bun.zstdCompress(encoder.buffer)),
  decompress: async (bytes: Buffer) => Buffer.from(await Bun.zstdDecompress(bytes)),
});

const codecs: Readonly<Record<string, CompressionTypes>> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

/** The part of KafkaJS's internal broker that this file uses. */
interface InternalBroker {
  fetch(request: {
    readonly maxWaitTime: number;
    readonly minBytes: number;
    readonly maxBytes: number;
    readonly isolationLevel: number;
    readonly topics: readonly { topic: string; partitions: readonly { partition: number; fetchOffset: number; maxBytes: number }[] }[];
  }): Promise<{
    readonly responses: readonly {
      readonly partitions: readonly {
        readonly partition: number;
        readonly errorCode: number;
        readonly messages: readonly { readonly offset: string; readonly value: Buffer; readonly isControlRecord?: boolean }[];
      }[];
    }[];
  }>;
}

interface InternalCluster {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  addTargetTopic(topic: string): Promise<void>;
  findTopicPartitionMetadata(topic: string): readonly { partitionId: number; leader: number }[];
  findBroker(options: { nodeId: string }): Promise<InternalBroker>;
}

function client(bootstrap: string): Kafka {
  return new Kafka({ clientId: "corpus-kafkajs", brokers: [bootstrap], logLevel: logLevel.ERROR, requestTimeout: 60_000 });
}

async function produce(bootstrap: string, topic: string, codec: string, folder: string, partitions: number): Promise<void> {
  const compression = codecs[codec];
  if (compression === undefined) throw new Error(`KafkaJS has no codec ${codec}`);
  const producer = client(bootstrap).producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const lines = Array.from({ length: partitions }, (_, partition) =>
    readFileSync(join(folder, `${partition}.txt`), "utf8")
      .split("\n")
      .slice(0, -1),
  );
  const batchRecords = 1000;
  const longest = Math.max(...lines.map((of) => of.length));
  let sent = 0;
  for (let start = 0; start < longest; start += batchRecords) {
    const messages = lines.flatMap((of, partition) => of.slice(start, start + batchRecords).map((value) => ({ partition, value })));
    sent += messages.length;
    await producer.send({ topic, acks: -1, compression, messages });
  }
  await producer.disconnect();
  console.log(`produced ${sent}`);
}

async function consume(bootstrap: string, topic: string, counts: readonly number[]): Promise<void> {
  const cluster = internalCluster(bootstrap);
  await cluster.connect();
  await cluster.addTargetTopic(topic);
  const states = counts.map((count) => ({ wanted: count, seen: 0, next: 0, contiguous: true, hash: createHash("sha256") }));
  const leaders = new Map(cluster.findTopicPartitionMetadata(topic).map((entry) => [entry.partitionId, entry.leader]));
  for (let idle = 0; states.some((state) => state.seen < state.wanted); ) {
    const open = states.flatMap((state, partition) =>
      state.seen < state.wanted ? [{ partition, fetchOffset: state.next, maxBytes: 4 << 20 }] : [],
    );
    const broker = await cluster.findBroker({ nodeId: String(leaders.get(open[0]?.partition ?? 0)) });
    const answer = await broker.fetch({
      maxWaitTime: 1000,
      minBytes: 1,
      maxBytes: 16 << 20,
      isolationLevel: 0,
      topics: [{ topic, partitions: open }],
    });
    let came = 0;
    for (const part of answer.responses[0]?.partitions ?? []) {
      const state = states[part.partition];
      if (state === undefined) throw new Error(`partition ${part.partition} was not asked for`);
      for (const message of part.messages) {
        const offset = Number(message.offset);
        if (message.isControlRecord === true || offset < state.next) continue;
        state.contiguous &&= offset === state.next;
        state.hash.update(message.value).update("\n");
        state.next = offset + 1;
        state.seen++;
        came++;
      }
    }
    idle = came === 0 ? idle + 1 : 0;
    if (idle > 60) throw new Error("records did not come for a minute");
  }
  await cluster.disconnect();
  states.forEach((state, partition) => {
    const { seen, contiguous } = state;
    console.log(JSON.stringify({ partition, count: seen, sha256: state.hash.digest("hex"), first: 0, contiguous }));
  });
}

/** KafkaJS's own cluster object, as its consumer makes it. The class is not exported; an admin client hides one in the same way. */
function internalCluster(bootstrap: string): InternalCluster {
  const Cluster = require("kafkajs/src/cluster");
  const { createLogger, LEVELS } = require("kafkajs/src/loggers");
  const LoggerConsole = require("kafkajs/src/loggers/console");
  const socketFactory = require("kafkajs/src/network/socketFactory");
  return new Cluster({
    logger: createLogger({ level: LEVELS.ERROR, logCreator: LoggerConsole }),
    socketFactory: socketFactory(),
    brokers: [bootstrap],
    clientId: "corpus-kafkajs",
    connectionTimeout: 5000,
    requestTimeout: 60_000,
    enforceRequestTimeout: true,
    metadataMaxAge: 300_000,
    allowAutoTopicCreation: false,
    maxInFlightRequests: 1,
    isolationLevel: 0,
    offsets: new Map(),
    retry: {},
  }) as InternalCluster;
}

const [command, bootstrap = "", topic = "", third = "", folder = "", partitions = "1"] = process.argv.slice(2);
if (command === "produce") await produce(bootstrap, topic, third, folder, Number(partitions));
else if (command === "consume") await consume(bootstrap, topic, third.split(",").map(Number));
else throw new Error(`unknown command ${command}`);
