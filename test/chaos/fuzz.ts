/**
 * Bad input against the executable, beside a producer and a consumer that must not notice: random bytes, valid frames with flipped bytes, extreme
 * values in every field a client chooses, frames cut at each byte, impossible lengths, damaged batches. Each ends in an answer or a closed
 * connection; the server stays up, its memory bounded.
 *
 *   bun test/chaos/fuzz.ts [--rounds 20] [--seed 1]       a round is one pass of each kind with new random choices
 */
import { parseArgs } from "node:util";
import { seededRandom } from "../support/corpus.ts";
import { frame, KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchAll, produceBatch, produceVersion } from "../support/raw-client.ts";
import { encodeBatch, sealBatch } from "../support/record-batch.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { WeirProcess } from "../support/weir-process.ts";
import { extremeFrames, type SampleRequest, sampleRequests, validFrames } from "./sample-requests.ts";
import { WellBehavedPair } from "./well-behaved-pair.ts";

export interface FuzzResult {
  readonly findings: readonly string[];
  readonly summary: string;
}

const topic = "fuzz";
/** A bad request's connection is closed by us after it when the server still holds it (a long poll that was asked for, for example). */
const patienceMs = 250;
const parallel = 32;

type Random = () => number;

class Fuzzer {
  readonly counts = new Map<string, number>();
  peakResidentBytes = 0;
  private readonly weir: WeirProcess;

  constructor(weir: WeirProcess) {
    this.weir = weir;
  }

  /** Sends bytes on a connection of their own and waits for an answer, a close, or the end of patience. */
  async send(kind: string, bytes: Uint8Array): Promise<void> {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    const connection = await KafkaConnection.open(this.weir.kafkaPort);
    connection.sendBytes(bytes);
    await Promise.race([connection.closed, connection.nextAnswer(), Bun.sleep(patienceMs)]);
    connection.close();
  }

  /** Sends all, some at a time. Ends early when the server has died. */
  async sendAll(kind: string, inputs: Iterable<Uint8Array>): Promise<void> {
    const iterator = inputs[Symbol.iterator]();
    const worker = async (): Promise<void> => {
      for (let next = iterator.next(); !next.done && !this.weir.hasExited; next = iterator.next()) {
        await this.send(kind, next.value).catch(() => {});
      }
    };
    await Promise.all(Array.from({ length: parallel }, worker));
    if (!this.weir.hasExited) this.peakResidentBytes = Math.max(this.peakResidentBytes, this.weir.residentBytes());
  }
}

function* randomBytes(random: Random, count: number): Generator<Uint8Array> {
  for (let i = 0; i < count; i++) {
    const bytes = Uint8Array.from({ length: 1 + Math.floor(random() * 300) }, () => Math.floor(random() * 256));
    yield bytes;
    // The same behind a plausible length and, every other time, a plausible API key and version.
    const body = Buffer.from(bytes);
    if (i % 2 === 0 && body.length >= 4) {
      body.writeInt16BE(Math.floor(random() * 80), 0);
      body.writeInt16BE(Math.floor(random() * 18), 2);
    }
    yield frame(body);
  }
}

function* mutatedFrames(random: Random, samples: readonly SampleRequest[]): Generator<Uint8Array> {
  for (const { body } of validFrames(samples)) {
    const mutated = Buffer.from(body);
    // Behind the API key and version, so that the bytes reach that API's decoder.
    const changes = 1 + Math.floor(random() * 4);
    for (let i = 0; i < changes; i++) mutated[4 + Math.floor(random() * (mutated.length - 4))] = Math.floor(random() * 256);
    yield frame(mutated);
  }
}

function* cutFrames(samples: readonly SampleRequest[]): Generator<Uint8Array> {
  const lastOf = new Map<string, Buffer>();
  for (const { name, body } of validFrames(samples)) lastOf.set(name.split(" ")[0] ?? name, body);
  for (const body of lastOf.values()) {
    // The highest version of each API, shortened behind an honest length; every byte of it.
    for (let length = 0; length < body.length; length++) yield frame(body.subarray(0, length));
    // The whole length announced, the connection ended before it came.
    yield frame(body).subarray(0, Math.floor(body.length / 2));
  }
}

function* impossibleLengths(): Generator<Uint8Array> {
  for (const length of [-2147483648, -1, 0, 1, 3, 104857601, 2147483647]) {
    const bytes = Buffer.alloc(64);
    bytes.writeInt32BE(length, 0);
    yield bytes;
  }
}

/** Batches with one byte changed, with and without a checksum that agrees. */
function* damagedBatches(random: Random): Generator<{ readonly batch: Buffer; readonly isSealed: boolean }> {
  const valid = encodeBatch({ values: ["one", "two", "three"] });
  for (let at = 0; at < valid.length; at++) {
    const batch = Buffer.from(valid);
    batch[at] = (batch[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    yield { batch: Buffer.from(batch), isSealed: false };
    if (at >= 21) yield { batch: sealBatch(batch), isSealed: true };
  }
}

/** Sends damaged batches as Produce requests; answers what was wrongly taken. What has no honest checksum must be refused. */
async function sendDamagedBatches(weir: WeirProcess, random: Random): Promise<string[]> {
  const findings: string[] = [];
  let connection = await KafkaConnection.open(weir.kafkaPort);
  for (const { batch, isSealed } of damagedBatches(random)) {
    try {
      const { errorCode } = await produceBatch(connection, topic, 1, batch, produceVersion);
      // Outside the checksum lie the base offset and the leader epoch, which the broker sets anyway.
      const differs = !batch.subarray(8, 12).equals(encodeBatch({ values: ["one", "two", "three"] }).subarray(8, 12));
      if (errorCode === 0 && !isSealed && (differs || !hasHonestChecksum(batch))) findings.push("a batch with a wrong checksum was taken");
    } catch {
      if (weir.hasExited) break;
      connection.close();
      connection = await KafkaConnection.open(weir.kafkaPort);
    }
  }
  connection.close();
  return findings;
}

function hasHonestChecksum(batch: Buffer): boolean {
  return batch.readUInt32BE(17) === sealBatch(Buffer.from(batch)).readUInt32BE(17);
}

/** Ends a run early, by count, so that a short run still meets every kind. */
function* take<T>(inputs: Iterable<T>, every: number, offset: number): Generator<T> {
  let index = 0;
  for (const input of inputs) if (index++ % every === offset % every) yield input;
}

export async function runFuzz(options: {
  readonly rounds: number;
  readonly seed: number;
  readonly log?: (line: string) => void;
}): Promise<FuzzResult> {
  const random = seededRandom(options.seed);
  using folder = new TemporaryFolder("fuzz");
  await using weir = await WeirProcess.start({ folder: folder.path });
  const findings: string[] = [];
  const pair = new WellBehavedPair(weir.kafkaPort);
  await pair.start();
  using setup = await KafkaConnection.open(weir.kafkaPort);
  const created = await createTopicRaw(setup, topic, { partitions: 2 });
  const samples = sampleRequests(topic, created.topicId);
  const fuzzer = new Fuzzer(weir);
  const startBytes = weir.residentBytes();
  for (let round = 0; round < options.rounds && !weir.hasExited; round++) {
    await fuzzer.sendAll("random", randomBytes(random, 50));
    await fuzzer.sendAll("mutated", mutatedFrames(random, samples));
    // All of these over ten rounds; a tenth in each.
    const extremes = [...take(extremeFrames(samples), 10, round)].map(({ body }) => frame(body));
    await fuzzer.sendAll("extreme", extremes);
    await fuzzer.sendAll("cut", take(cutFrames(samples), 10, round));
    await fuzzer.sendAll("length", impossibleLengths());
    findings.push(...(await sendDamagedBatches(weir, random).catch((error: Error) => [`damaged batches: ${error.message}`])));
    options.log?.(`round ${round + 1}/${options.rounds}: RSS ${(weir.hasExited ? 0 : weir.residentBytes() / 1048576).toFixed(0)} MiB`);
  }
  if (weir.hasExited) {
    findings.push(`the server ended:\n${weir.logTail()}`);
  } else {
    await pair.stop();
    findings.push(...pair.troubles);
    // Whatever was taken must be readable: whole batches with honest checksums.
    for (const partition of [0, 1]) {
      await fetchAll(setup, topic, partition).catch((error: Error) =>
        findings.push(`${topic}-${partition} cannot be read back: ${error.message}`),
      );
    }
    const code = await weir.stop();
    if (code !== 0) findings.push(`SIGTERM ended with exit code ${code}:\n${weir.logTail()}`);
  }
  const counts = [...fuzzer.counts].map(([kind, count]) => `${count} ${kind}`).join(", ");
  const mib = (bytes: number): string => (bytes / 1048576).toFixed(0);
  return {
    findings,
    summary:
      `fuzz: ${counts}; beside them ${pair.produced} records produced and ${pair.consumed} read back, slowest ack ${pair.slowestAckMs.toFixed(0)} ms; ` +
      `RSS ${mib(startBytes)} MiB at first, ${mib(fuzzer.peakResidentBytes)} MiB at most: ${findings.length === 0 ? "undisturbed" : `${findings.length} findings`}`,
  };
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: "20" }, seed: { type: "string", default: "1" } } });
  const result = await runFuzz({ rounds: Number(values.rounds), seed: Number(values.seed), log: (line) => console.log(line) });
  for (const finding of result.findings) console.log(finding);
  console.log(result.summary);
  process.exit(result.findings.length === 0 ? 0 : 1);
}
