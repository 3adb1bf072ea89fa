/**
 * A producer as Kafka's idempotent one behaves: up to five batches in flight, each with its sequence; after a lost connection everything that is
 * not acknowledged is sent again, in order, with the same sequences. Values are "PRODUCER:COUNTER:filler", so that a checker can tell loss,
 * duplication and disorder from the log alone. Remembers the offset of each acknowledged batch.
 */
import { KafkaConnection } from "../support/kafka-connection.ts";
import { initProducerId, type ProducerIdentity, produceBatch } from "../support/raw-client.ts";
import { encodeBatch } from "../support/record-batch.ts";

const maxInFlight = 5;
const duplicateSequence = 46;
/** Answers after which a client sends again: COORDINATOR_LOAD_IN_PROGRESS, NOT_LEADER_OR_FOLLOWER, LEADER_NOT_AVAILABLE, REQUEST_TIMED_OUT, storage errors. */
const retriable = new Set([3, 5, 6, 7, 14, 15, 16, 19, 20, 56, 89]);

interface Batch {
  readonly madeMs: number;
  readonly firstCounter: number;
  readonly count: number;
  readonly bytes: Buffer;
}

export interface AcknowledgedBatch {
  readonly firstCounter: number;
  readonly count: number;
  /** -1 when the answer was "duplicate", which need not give it. */
  readonly baseOffset: number;
}

export interface ProducerOptions {
  readonly name: string;
  readonly topic: string;
  readonly partition: number;
  /** In [0, 1); decides batch sizes and filler. */
  readonly random: () => number;
  /** The port, once the server serves. */
  readonly whenServing: () => Promise<number>;
  /** Between two batches; default none: as fast as acknowledgements come. */
  readonly pauseMs?: number;
  /** A record is filled up to at most this; default 1,000. */
  readonly fillerBytes?: number;
}

export class IdempotentProducer {
  readonly name: string;
  readonly partition: number;
  readonly acknowledged: AcknowledgedBatch[] = [];
  /** Answers that an idempotent producer must never get. */
  readonly violations: string[] = [];
  resent = 0;
  /** Longest time from sending a batch for the first time to its acknowledgement: for tables. */
  slowestAckMs = 0;
  private readonly options: ProducerOptions;
  private identity: ProducerIdentity | undefined;
  private nextCounter = 0;
  private isStopping = false;
  private readonly pending: Batch[] = [];

  constructor(options: ProducerOptions) {
    this.options = options;
    this.name = options.name;
    this.partition = options.partition;
  }

  get acknowledgedRecords(): number {
    return this.acknowledged.reduce((sum, batch) => sum + batch.count, 0);
  }

  /** No new batches; `run` resolves when all that were sent are acknowledged. */
  stop(): void {
    this.isStopping = true;
  }

  /** Produces until stopped. */
  async run(): Promise<void> {
    while (!this.isStopping || this.pending.length > 0) {
      if (this.violations.length > 0) return;
      const port = await this.options.whenServing();
      const connection = await KafkaConnection.open(port).catch(() => undefined);
      if (connection === undefined) {
        await Bun.sleep(10);
        continue;
      }
      try {
        this.identity ??= await initProducerId(connection);
        await this.produceOver(connection);
      } catch (error) {
        if (!(error instanceof Error) || error.message !== "closed") throw error;
      } finally {
        connection.close();
      }
    }
  }

  /** Throws "closed" when the connection ends. Sends what is pending first. */
  private async produceOver(connection: KafkaConnection): Promise<void> {
    const inFlight: { readonly batch: Batch; readonly answer: ReturnType<typeof produceBatch> }[] = [];
    const send = (batch: Batch): void => {
      const answer = produceBatch(connection, this.options.topic, this.partition, batch.bytes);
      answer.catch(() => {});
      inFlight.push({ batch, answer });
    };
    this.resent += this.pending.length;
    for (const batch of this.pending) send(batch);
    for (;;) {
      const { pauseMs } = this.options;
      if (pauseMs !== undefined) await Bun.sleep(pauseMs);
      while (!this.isStopping && inFlight.length < maxInFlight) {
        const batch = this.makeBatch();
        this.pending.push(batch);
        send(batch);
        if (pauseMs !== undefined) break;
      }
      const oldest = inFlight.shift();
      if (oldest === undefined) return;
      const { errorCode, baseOffset } = await oldest.answer;
      if (retriable.has(errorCode)) {
        // Later ones in flight may have been refused for it; all go again, in order, over a new connection.
        await Bun.sleep(20);
        throw new Error("closed");
      }
      if (errorCode !== 0 && errorCode !== duplicateSequence) {
        this.violations.push(`${this.name}: batch at counter ${oldest.batch.firstCounter} got error ${errorCode}`);
        return;
      }
      this.pending.shift();
      this.slowestAckMs = Math.max(this.slowestAckMs, performance.now() - oldest.batch.madeMs);
      const { firstCounter, count } = oldest.batch;
      this.acknowledged.push({ firstCounter, count, baseOffset: errorCode === 0 ? baseOffset : -1 });
    }
  }

  private makeBatch(): Batch {
    const { random, fillerBytes = 1000 } = this.options;
    const count = 1 + Math.floor(random() * 20);
    const firstCounter = this.nextCounter;
    const values = Array.from(
      { length: count },
      (_, index) => `${this.name}:${firstCounter + index}:${"x".repeat(Math.floor(random() * fillerBytes))}`,
    );
    this.nextCounter += count;
    if (this.identity === undefined) throw new Error("a batch needs a producer id");
    return { madeMs: performance.now(), firstCounter, count, bytes: encodeBatch({ values, ...this.identity, baseSequence: firstCounter }) };
  }
}
