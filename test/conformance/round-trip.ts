/** One round trip of a corpus through a server with one client and codec, checked to the byte. Used by the test and by million.ts. */
import type { Corpus } from "../support/corpus.ts";
import { createTopic } from "../support/topics.ts";
import { type Codec, type ConformanceClient, checkTallies, conformanceClients, perfTools } from "./clients.ts";

export interface RoundTrip {
  readonly produceMs: number;
  readonly consumeMs: number;
}

/** Produces, consumes with assigned partitions, and compares SHA-256, counts and offsets per partition. Throws with the difference. */
export async function runRoundTrip(
  bootstrap: string,
  client: ConformanceClient,
  codec: Codec,
  corpus: Corpus,
  consumer: ConformanceClient = client,
): Promise<RoundTrip> {
  const topic = `corpus-${client.name.replace(/[^\w]/g, "-")}-${codec}`;
  await createTopic(bootstrap, topic, corpus.partitions.length);
  const started = performance.now();
  await client.produce(bootstrap, topic, codec, corpus);
  const produced = performance.now();
  const tallies = await consumer.consume(
    bootstrap,
    topic,
    corpus.partitions.map((partition) => partition.records),
  );
  const consumed = performance.now();
  checkTallies(corpus, tallies);
  return { produceMs: produced - started, consumeMs: consumed - produced };
}

/** Kafka's producer perf tool with real text as payload; the Java client reads it back. One partition. */
export async function runPerfToolRoundTrip(bootstrap: string, codec: Codec, corpus: Corpus, records: number): Promise<RoundTrip> {
  const [java] = conformanceClients;
  const payloadFile = corpus.partitions[0]?.file;
  if (java === undefined || payloadFile === undefined) throw new Error("the corpus has no partition");
  const topic = `corpus-perf-tool-${codec}`;
  await createTopic(bootstrap, topic, 1);
  const started = performance.now();
  await perfTools.produce(bootstrap, topic, codec, payloadFile, records);
  const produced = performance.now();
  const [found] = await java.consume(bootstrap, topic, [records]);
  const consumed = performance.now();
  const wanted = await perfTools.expectation(payloadFile, records);
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`perf tool, ${codec}: wanted ${JSON.stringify(wanted)}, found ${JSON.stringify(found)}`);
  }
  return { produceMs: produced - started, consumeMs: consumed - produced };
}
