/**
 * A producer and a consumer that do everything right, beside clients that do everything wrong: they must not notice. Each record is produced with
 * acks=all and must be read back at the next offset.
 */
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchRecords, produceValues } from "../support/raw-client.ts";

export class WellBehavedPair {
  /** What they noticed; must stay empty. */
  readonly troubles: string[] = [];
  produced = 0;
  consumed = 0;
  /** Longest time from sending a record to its acknowledgement, ms: for tables. */
  slowestAckMs = 0;
  private readonly port: number;
  private readonly topic: string;
  private isStopping = false;
  private running: Promise<unknown> = Promise.resolve();

  constructor(port: number, topic = "well-behaved") {
    this.port = port;
    this.topic = topic;
  }

  async start(): Promise<void> {
    using connection = await KafkaConnection.open(this.port);
    const { errorCode } = await createTopicRaw(connection, this.topic);
    if (errorCode !== 0) throw new Error(`CreateTopics answered ${errorCode}`);
    this.running = Promise.all([this.produce(), this.consume()]);
  }

  private note(who: string, error: unknown): void {
    this.troubles.push(`${who}: ${error instanceof Error ? error.message : error}`);
    this.isStopping = true;
  }

  private async produce(): Promise<void> {
    try {
      using connection = await KafkaConnection.open(this.port);
      while (!this.isStopping) {
        const sent = performance.now();
        const { errorCode, baseOffset } = await produceValues(connection, this.topic, 0, [`record ${this.produced}`]);
        this.slowestAckMs = Math.max(this.slowestAckMs, performance.now() - sent);
        if (errorCode !== 0) throw new Error(`Produce answered error ${errorCode}`);
        if (baseOffset !== this.produced) throw new Error(`offset ${baseOffset} where ${this.produced} was due`);
        this.produced++;
      }
    } catch (error) {
      this.note("producer", error);
    }
  }

  private async consume(): Promise<void> {
    try {
      using connection = await KafkaConnection.open(this.port);
      while (!this.isStopping || this.consumed < this.produced) {
        if (this.troubles.length > 0) return;
        const { errorCode, records } = await fetchRecords(connection, this.topic, 0, this.consumed, { maxWaitMs: 50 });
        if (errorCode !== 0) throw new Error(`Fetch answered error ${errorCode}`);
        for (const record of records) {
          const wanted = `record ${this.consumed}`;
          if (record.offset !== this.consumed || record.value.toString() !== wanted) {
            throw new Error(`read "${record.value}" at ${record.offset} where "${wanted}" was due at ${this.consumed}`);
          }
          this.consumed++;
        }
      }
    } catch (error) {
      this.note("consumer", error);
    }
  }

  /** Ends both; everything produced has been read back, unless there are troubles. */
  async stop(): Promise<void> {
    this.isStopping = true;
    await this.running;
  }
}
