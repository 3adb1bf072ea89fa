/**
 * What the clients did and saw, checked as it happens. Names of anomalies are Jepsen's for Kafka-like logs:
 *
 *   lost-write            acknowledged, and a reader of the whole log does not meet it
 *   duplicate             one record at two offsets
 *   inconsistent-offsets  two values for one offset, or an offset with none
 *   nonmonotonic-send     a producer's records lie in another order than sent
 *   nonmonotonic-poll     a reader is taken back, or the log ends before what it has read
 *   corrupt-value         bytes that nobody wrote
 *   unexpected-error      an error code that the protocol does not allow there
 *   missed-wakeup         a long poll at the log's end that comes back long after a record for it was acknowledged
 *   stuck                 an operation that does not end after the faults have
 */
import type { Scheduler } from "./scheduler.ts";
import type { SimRecord } from "./sim-batch.ts";

export interface Finding {
  readonly anomaly: string;
  readonly detail: string;
}

const MAX_FINDINGS = 20;

export class History {
  readonly findings: Finding[] = [];
  readonly logs = new Map<string, LogModel>();
  readonly operations = new Map<string, number>();
  operationCount = 0;
  /** When the nemesis last began or ended something, or a broker started: what is slow about then may be slow for it. */
  disturbedMs = 0;
  /** What the nemesis has begun and not ended. */
  disturbances = 0;
  /** Of all batches that were acknowledged, so far. */
  acknowledgedBytes = 0;
  private readonly producerIds = new Map<number, number>();
  private readonly scheduler: Scheduler;

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
  }

  find(anomaly: string, detail: string): void {
    if (this.findings.length >= MAX_FINDINGS) return;
    this.findings.push({ anomaly, detail: `at ${this.scheduler.nowMs.toFixed(1)} ms: ${detail}` });
    this.scheduler.remember(`FINDING ${anomaly}: ${detail}`);
  }

  get nowMs(): number {
    return this.scheduler.nowMs;
  }

  done(operation: string): void {
    this.operations.set(operation, (this.operations.get(operation) ?? 0) + 1);
    this.operationCount++;
  }

  /** InitProducerId without a transactional id was answered to this producer: nobody else ever gets the id. */
  giveProducerId(producerId: number, producer: number): void {
    const before = this.producerIds.get(producerId);
    if (before !== undefined) this.find("duplicate", `producer id ${producerId} was given to producers ${before} and ${producer}`);
    this.producerIds.set(producerId, producer);
  }

  log(topic: string, partition: number): LogModel {
    const name = `${topic}-${partition}`;
    const known = this.logs.get(name);
    if (known !== undefined) return known;
    const log = new LogModel(topic, partition, this);
    this.logs.set(name, log);
    return log;
  }
}

interface ProducerModel {
  /** Offset of each counter seen; undefined: none yet. */
  readonly offsets: (number | undefined)[];
  /** Counters that were acknowledged. */
  readonly acknowledged: boolean[];
}

export class LogModel {
  readonly topic: string;
  readonly partition: number;
  /** One above the highest offset that was acknowledged. */
  acknowledgedEnd = 0;
  /** One above the highest offset ever seen by anyone. */
  seenEnd = 0;
  private readonly history: History;
  private readonly records: (SimRecord | undefined)[] = [];
  private readonly producers = new Map<number, ProducerModel>();
  /** Ends as they were acknowledged, and when; both only rise. */
  private readonly acknowledgedEnds: { readonly end: number; readonly atMs: number }[] = [];

  constructor(topic: string, partition: number, history: History) {
    this.topic = topic;
    this.partition = partition;
    this.history = history;
  }

  get name(): string {
    return `${this.topic}-${this.partition}`;
  }

  /** `baseOffset` -1: acknowledged as a duplicate, place not told. */
  acknowledge(producer: number, firstCounter: number, count: number, baseOffset: number): void {
    const { acknowledged } = this.producer(producer);
    for (let index = 0; index < count; index++) {
      acknowledged[firstCounter + index] = true;
      if (baseOffset >= 0) this.see({ offset: baseOffset + index, producer, counter: firstCounter + index }, "was acknowledged at");
    }
    if (baseOffset < 0 || baseOffset + count <= this.acknowledgedEnd) return;
    this.acknowledgedEnd = baseOffset + count;
    this.acknowledgedEnds.push({ end: this.acknowledgedEnd, atMs: this.history.nowMs });
  }

  /** When a record at `position` or above was first known to be there; undefined: none is. */
  acknowledgedMs(position: number): number | undefined {
    let found: number | undefined;
    for (let index = this.acknowledgedEnds.length - 1; index >= 0; index--) {
      const { end, atMs } = this.acknowledgedEnds[index]!;
      if (end <= position) break;
      found = atMs;
    }
    return found;
  }

  /** A reader at `position` was given these; answers its next position. */
  poll(reader: string, position: number, records: readonly SimRecord[]): number {
    let next = position;
    for (const record of records) {
      if (record.offset < position) continue;
      if (record.offset !== next) this.find("inconsistent-offsets", `${reader} was given offset ${record.offset} where ${next} was due`);
      this.see(record, `was read by ${reader} at`);
      next = record.offset + 1;
    }
    return next;
  }

  /** A reader has been through the whole log, [0, end). */
  checkComplete(end: number): void {
    for (const [producer, { offsets, acknowledged }] of this.producers) {
      for (let counter = 0; counter < acknowledged.length; counter++) {
        const offset = offsets[counter];
        if (acknowledged[counter] !== true || (offset !== undefined && offset < end)) continue;
        this.find("lost-write", `record ${counter} of producer ${producer} (offset ${offset}) is not in the log, which ends at ${end}`);
        break;
      }
    }
    if (this.seenEnd > end) this.find("lost-write", `offset ${this.seenEnd - 1} was seen, and the log ends at ${end}`);
  }

  find(anomaly: string, detail: string): void {
    this.history.find(anomaly, `${this.name}: ${detail}`);
  }

  private see(record: SimRecord, how: string): void {
    const { offset, producer, counter } = record;
    const before = this.records[offset];
    if (before !== undefined) {
      if (before.producer === producer && before.counter === counter) return;
      this.find(
        "inconsistent-offsets",
        `record ${producer}:${counter} ${how} ${offset}, where ${before.producer}:${before.counter} was seen before`,
      );
      return;
    }
    this.records[offset] = record;
    this.seenEnd = Math.max(this.seenEnd, offset + 1);
    const { offsets } = this.producer(producer);
    const other = offsets[counter];
    if (other !== undefined) this.find("duplicate", `record ${producer}:${counter} ${how} ${offset} and was seen at ${other} before`);
    offsets[counter] = offset;
    const earlier = offsets[counter - 1];
    const later = offsets[counter + 1];
    if ((earlier !== undefined && earlier >= offset) || (later !== undefined && later <= offset)) {
      this.find("nonmonotonic-send", `record ${producer}:${counter} ${how} ${offset}, its neighbours lie at ${earlier} and ${later}`);
    }
  }

  private producer(producer: number): ProducerModel {
    const known = this.producers.get(producer);
    if (known !== undefined) return known;
    const model: ProducerModel = { offsets: [], acknowledged: [] };
    this.producers.set(producer, model);
    return model;
  }
}
