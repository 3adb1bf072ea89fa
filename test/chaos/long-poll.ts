/**
 * Waiting costs nothing: thousands of connections each hold a long poll on a quiet partition. Measures the server's CPU while they wait, then produces
 * into single partitions and counts who wakes: exactly those who wait there.
 *
 *   bun test/chaos/long-poll.ts [--waiters 10000] [--partitions 1000] [--seconds 10]       exits 1 above 2 % of a core
 */
import { parseArgs } from "node:util";
import { fetchApi, newFetchPartition, newFetchRequest, newFetchTopic } from "../../src/protocol/messages/fetch.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchVersion, produceValues, readMetadata } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { WeirProcess } from "../support/weir-process.ts";

export interface LongPollOptions {
  readonly waiters: number;
  readonly partitions: number;
  /** How long the CPU is measured. */
  readonly seconds: number;
}

export interface LongPollResult {
  readonly findings: readonly string[];
  /** Of one core, in percent, while all wait. */
  readonly cpuPercent: number;
  readonly summary: string;
}

const topic = "quiet";
const wokenPartitions = [0, 1, 2];

class Waiters {
  readonly answered = new Set<number>();
  readonly failed: string[] = [];
  private readonly connections: KafkaConnection[] = [];
  private wake = Promise.withResolvers<void>();

  /** Opens connections a hundred at a time, each with one fetch that waits. Waiter i waits on partition i modulo `partitions`. */
  async start(port: number, options: LongPollOptions): Promise<void> {
    for (let first = 0; first < options.waiters; first += 100) {
      const indexes = Array.from({ length: Math.min(100, options.waiters - first) }, (_, offset) => first + offset);
      await Promise.all(indexes.map((index) => this.add(port, index, index % options.partitions)));
    }
  }

  private async add(port: number, index: number, partition: number): Promise<void> {
    const connection = await KafkaConnection.open(port);
    this.connections.push(connection);
    const fetchPartition = newFetchPartition({ partition, fetchOffset: 0n, partitionMaxBytes: 1 << 20 });
    const request = newFetchRequest({
      replicaId: -1,
      maxWaitMs: 600_000,
      minBytes: 1,
      maxBytes: 1 << 20,
      topics: [newFetchTopic({ topic, partitions: [fetchPartition] })],
    });
    connection.request(fetchApi, fetchVersion, request).then(
      (answer) => {
        const part = answer.responses[0]?.partitions[0];
        const size = part?.records instanceof Uint8Array ? part.records.length : 0;
        if (part?.errorCode !== 0 || size === 0) this.failed.push(`waiter ${index}: error ${part?.errorCode}, ${size} bytes`);
        this.answered.add(index);
        this.notify();
      },
      (error: Error) => {
        if (!this.isClosing) this.failed.push(`waiter ${index}: ${error.message}`);
        this.notify();
      },
    );
  }

  private isClosing = false;

  private notify(): void {
    this.wake.resolve();
    this.wake = Promise.withResolvers();
  }

  /** Resolves when `count` have answered or any has failed, or after the deadline. */
  async waitAnswered(count: number, timeoutMs: number): Promise<void> {
    const deadline = Bun.sleep(timeoutMs).then(() => "late" as const);
    while (this.answered.size < count && this.failed.length === 0) {
      if ((await Promise.race([this.wake.promise, deadline])) === "late") return;
    }
  }

  close(): void {
    this.isClosing = true;
    for (const connection of this.connections) connection.close();
  }
}

/** Waits until the server has settled: a second in which it used less than 5 % of a core, at most `seconds` of them. */
async function settle(weir: WeirProcess, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    const before = weir.cpuSeconds();
    await Bun.sleep(1000);
    if (weir.cpuSeconds() - before < 0.05) return;
  }
}

export async function runLongPoll(options: LongPollOptions): Promise<LongPollResult> {
  using folder = new TemporaryFolder("long-poll");
  await using weir = await WeirProcess.start({ folder: folder.path });
  using connection = await KafkaConnection.open(weir.kafkaPort);
  const { errorCode } = await createTopicRaw(connection, topic, { partitions: options.partitions });
  if (errorCode !== 0) throw new Error(`CreateTopics answered ${errorCode}`);
  const waiters = new Waiters();
  const findings: string[] = [];
  try {
    await waiters.start(weir.kafkaPort, options);
    await readMetadata(connection, []);
    await settle(weir, 20);
    const before = weir.cpuSeconds();
    const started = performance.now();
    await Bun.sleep(options.seconds * 1000);
    const cpuPercent = ((weir.cpuSeconds() - before) / ((performance.now() - started) / 1000)) * 100;
    if (waiters.answered.size > 0) findings.push(`${waiters.answered.size} waiters were answered before anything was produced`);
    const perPartition = (partition: number): number => Math.ceil((options.waiters - partition) / options.partitions);
    let due = 0;
    for (const partition of wokenPartitions) {
      const produced = await produceValues(connection, topic, partition, ["wake up"]);
      if (produced.errorCode !== 0) findings.push(`Produce answered ${produced.errorCode}`);
      due += perPartition(partition);
      await waiters.waitAnswered(due, 30_000);
      const wrong = [...waiters.answered].filter(
        (index) => !wokenPartitions.slice(0, wokenPartitions.indexOf(partition) + 1).includes(index % options.partitions),
      );
      if (wrong.length > 0) findings.push(`${wrong.length} waiters of other partitions woke`);
      if (waiters.answered.size !== due) findings.push(`${waiters.answered.size} waiters were answered where ${due} were due`);
    }
    findings.push(...waiters.failed.slice(0, 5));
    const rss = (weir.residentBytes() / 1048576).toFixed(0);
    return {
      findings,
      cpuPercent,
      summary:
        `long poll: ${options.waiters} waiting fetches on ${options.partitions} quiet partitions used ${cpuPercent.toFixed(2)} % of a core over ` +
        `${options.seconds} s, RSS ${rss} MiB; records in ${wokenPartitions.length} partitions woke ${waiters.answered.size} of them, ${due} were due`,
    };
  } finally {
    waiters.close();
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      waiters: { type: "string", default: "10000" },
      partitions: { type: "string", default: "1000" },
      seconds: { type: "string", default: "10" },
    },
  });
  const result = await runLongPoll({
    waiters: Number(values.waiters),
    partitions: Number(values.partitions),
    seconds: Number(values.seconds),
  });
  for (const finding of result.findings) console.log(finding);
  console.log(result.summary);
  process.exit(result.findings.length === 0 && result.cpuPercent < 2 ? 0 : 1);
}
