/** Clients that never give up: an idempotent producer with several requests in flight, a consumer with fetch sessions, an administrator. */
import { createTopicsApi, newCreatableTopic, newCreateTopicsRequest } from "../../src/protocol/messages/create-topics.ts";
import { deleteTopicsApi, newDeleteTopicState, newDeleteTopicsRequest } from "../../src/protocol/messages/delete-topics.ts";
import { fetchApi, newFetchPartition, newFetchRequest, newFetchTopic } from "../../src/protocol/messages/fetch.ts";
import { initProducerIdApi, newInitProducerIdRequest } from "../../src/protocol/messages/init-producer-id.ts";
import {
  listOffsetsApi,
  newListOffsetsPartition,
  newListOffsetsRequest,
  newListOffsetsTopic,
} from "../../src/protocol/messages/list-offsets.ts";
import { newPartitionProduceData, newProduceRequest, newTopicProduceData, produceApi } from "../../src/protocol/messages/produce.ts";
import type { History, LogModel } from "./history.ts";
import type { Pace } from "./pace.ts";
import type { SimProcess } from "./process.ts";
import { decodeSimBatches, encodeSimBatch } from "./sim-batch.ts";
import { ConnectionLost, SimConnection } from "./sim-client.ts";
import type { SimNetwork } from "./sim-network.ts";

const PRODUCE_VERSION = 12;
const FETCH_VERSION = 12;
const MAX_IN_FLIGHT = 5;
/** Shorter than a client's patience. */
const LONG_POLL_MS = 4_200;
const LONG_POLL_PERCENT = 10;
const MAX_ANSWER_MS = 2_500;
const DISTURBED_MS = 15_000;
/** Half the smallest ring of any scenario: what was acknowledged since a poll was sent, and is no more than this, is read from memory. */
const IN_MEMORY_BYTES = 128 * 1024;
/** UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER, REQUEST_TIMED_OUT, COORDINATOR_*, storage errors, UNKNOWN_LEADER_EPOCH. */
export const RETRIABLE: ReadonlySet<number> = new Set([3, 5, 6, 7, 14, 15, 16, 19, 20, 56, 74, 75]);
const OUT_OF_ORDER_SEQUENCE = 45;
const DUPLICATE_SEQUENCE = 46;
const OFFSET_OUT_OF_RANGE = 1;

export interface ClientPlace {
  readonly process: SimProcess;
  readonly network: SimNetwork;
  readonly history: History;
  /** When its next operation is due, and how many it has done. */
  readonly pace: Pace;
  /** An operation was answered. */
  done(operation: string): void;
  /** A broker to try: most often the one that serves, sometimes one that was. */
  pickHost(): { readonly host: string; readonly port: number };
  /** True when nobody else has taken over from the process behind this host. */
  isCurrent(host: string): boolean;
}

/** Connects, runs `work` over the connection, and does so again after each loss until `work` returns. */
export async function insist<T>(place: ClientPlace, work: (connection: SimConnection) => Promise<T>): Promise<T> {
  for (;;) {
    const { host, port } = place.pickHost();
    let connection: SimConnection | undefined;
    try {
      connection = await SimConnection.open(place.process, place.network, host, port);
      return await work(connection);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      await place.process.clock.sleep(20 + place.process.random.nextFloat() * 200);
    } finally {
      connection?.close();
    }
  }
}

interface PendingBatch {
  readonly log: LogModel;
  readonly firstCounter: number;
  readonly count: number;
  readonly bytes: Buffer;
  isAcknowledged: boolean;
}

interface PendingRequest {
  readonly batches: readonly PendingBatch[];
}

export class SimProducer {
  private readonly place: ClientPlace;
  private readonly number: number;
  private readonly logs: readonly LogModel[];
  private readonly largePercent: number;
  private readonly evenBatchBytes: number;
  private readonly nextCounter = new Map<LogModel, number>();
  private pending: PendingRequest[] = [];
  private producerId = -1;
  private isStopping = false;

  constructor(place: ClientPlace, number: number, logs: readonly LogModel[], largePercent = 3, evenBatchBytes = 0) {
    this.place = place;
    this.number = number;
    this.logs = logs;
    this.largePercent = largePercent;
    this.evenBatchBytes = evenBatchBytes;
  }

  /** Makes no more batches; `run` ends when all are acknowledged. */
  stop(): void {
    this.isStopping = true;
  }

  async run(): Promise<void> {
    this.producerId = await insist(this.place, async (connection) => {
      const request = newInitProducerIdRequest({ transactionalId: null, transactionTimeoutMs: 60_000, producerId: -1n, producerEpoch: -1 });
      const answer = await connection.request(initProducerIdApi, 4, request);
      this.place.done("init-producer-id");
      if (answer.errorCode === 0) return Number(answer.producerId);
      await this.place.process.clock.sleep(100);
      throw new ConnectionLost("again");
    });
    this.place.history.giveProducerId(this.producerId, this.number);
    while (!this.isStopping || this.pending.length > 0) await insist(this.place, (connection) => this.produceOver(connection));
  }

  private async produceOver(connection: SimConnection): Promise<void> {
    const inFlight: { readonly request: PendingRequest; readonly answer: Promise<readonly ProduceAnswer[]> }[] = [];
    const send = (request: PendingRequest): void => {
      const answer = this.send(connection, request);
      answer.catch(() => {});
      inFlight.push({ request, answer });
    };
    const unsent = [...this.pending];
    for (;;) {
      for (let next = unsent[0]; next !== undefined && inFlight.length < MAX_IN_FLIGHT; next = unsent[0]) {
        unsent.shift();
        send(next);
      }
      const wanted = 1 + this.place.process.random.nextInt(MAX_IN_FLIGHT);
      while (!this.isStopping && unsent.length === 0 && inFlight.length < wanted) {
        await this.place.pace.next();
        if (this.isStopping) break;
        const request = this.makeRequest();
        this.pending.push(request);
        send(request);
      }
      const oldest = inFlight.shift();
      if (oldest === undefined) return;
      this.settle(oldest.request, await oldest.answer, this.place.isCurrent(connection.host));
      this.pending.shift();
    }
  }

  private async send(connection: SimConnection, { batches }: PendingRequest): Promise<readonly ProduceAnswer[]> {
    const topics = new Map<string, PendingBatch[]>();
    for (const batch of batches.filter((each) => !each.isAcknowledged))
      topics.set(batch.log.topic, [...(topics.get(batch.log.topic) ?? []), batch]);
    const topicData = [...topics].map(([name, own]) =>
      newTopicProduceData({
        name,
        partitionData: own.map((batch) => newPartitionProduceData({ index: batch.log.partition, records: batch.bytes })),
      }),
    );
    const answer = await connection.request(produceApi, PRODUCE_VERSION, newProduceRequest({ acks: -1, timeoutMs: 4000, topicData }));
    return answer.responses.flatMap(({ name, partitionResponses }) =>
      partitionResponses.map(({ index, errorCode, baseOffset }) => ({
        topic: name,
        partition: index,
        errorCode,
        baseOffset: Number(baseOffset),
      })),
    );
  }

  /** Throws ConnectionLost when a batch must go again: then all later ones do, in order, over a new connection. */
  private settle({ batches }: PendingRequest, answers: readonly ProduceAnswer[], isCurrent: boolean): void {
    const { history } = this.place;
    this.place.done("send");
    for (const batch of batches) {
      if (batch.isAcknowledged) continue;
      const answer = answers.find(({ topic, partition }) => topic === batch.log.topic && partition === batch.log.partition);
      if (answer === undefined) {
        batch.log.find("unexpected-error", "a Produce was answered without one of its partitions");
        throw new ConnectionLost("again");
      }
      const { errorCode, baseOffset } = answer;
      if (RETRIABLE.has(errorCode)) continue;
      // A broker that was replaced and does not know it yet has missed what came after.
      if (errorCode === OUT_OF_ORDER_SEQUENCE && !isCurrent) {
        history.done("stale-answer");
        continue;
      }
      if (errorCode !== 0 && errorCode !== DUPLICATE_SEQUENCE) {
        // A refused batch ends the reading of this connection: what is settled here has only acknowledged ones before it.
        const why = errorCode === OUT_OF_ORDER_SEQUENCE ? ", and all before it are acknowledged" : "";
        const what = `producer ${this.number}'s batch at ${batch.firstCounter} was answered with error ${errorCode}${why}`;
        batch.log.find("unexpected-error", what);
      }
      batch.isAcknowledged = true;
      history.acknowledgedBytes += batch.bytes.length;
      batch.log.acknowledge(this.number, batch.firstCounter, batch.count, errorCode === 0 ? baseOffset : -1);
    }
    if (batches.some((batch) => !batch.isAcknowledged)) throw new ConnectionLost("again");
  }

  private makeRequest(): PendingRequest {
    const { random } = this.place.process;
    const first = random.nextInt(this.logs.length);
    const partitions = random.chance(70) ? 1 : 1 + random.nextInt(Math.min(3, this.logs.length));
    const batches: PendingBatch[] = [];
    for (let index = 0; index < partitions; index++) {
      batches.push(this.makeBatch(this.logs[(first + index) % this.logs.length]!));
    }
    return { batches };
  }

  private makeBatch(log: LogModel): PendingBatch {
    const { random, clock } = this.place.process;
    const count = 1 + random.nextInt(4);
    const firstCounter = this.nextCounter.get(log) ?? 0;
    this.nextCounter.set(log, firstCounter + count);
    const largest = random.chance(this.largePercent) ? 14_000 : 300;
    const { evenBatchBytes } = this;
    const fillers = Array.from({ length: count }, () =>
      evenBatchBytes === 0 ? random.nextInt(largest) : Math.floor(evenBatchBytes / count),
    );
    const identity = { producerId: this.producerId, producerEpoch: 0, baseSequence: firstCounter, timestampMs: clock.wallMs() };
    return { log, firstCounter, count, bytes: encodeSimBatch(this.number, firstCounter, fillers, identity), isAcknowledged: false };
  }
}

interface ProduceAnswer {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly baseOffset: number;
}

/** Follows some partitions from `position` on, over fetch sessions. */
export class SimConsumer {
  readonly positions = new Map<LogModel, number>();
  private readonly place: ClientPlace;
  private readonly name: string;
  private isStopping = false;
  /** Ends when every position has reached it. */
  private target: ReadonlyMap<LogModel, number> | undefined;

  constructor(place: ClientPlace, name: string, logs: readonly LogModel[]) {
    this.place = place;
    this.name = name;
    for (const log of logs) this.positions.set(log, 0);
  }

  stop(): void {
    this.isStopping = true;
  }

  /** Reads on to these ends, then `run` returns. */
  stopAt(ends: ReadonlyMap<LogModel, number>): void {
    this.target = ends;
  }

  /** It has read its logs to their ends, where nobody writes any more: what was acknowledged must have been there. */
  checkComplete(): void {
    for (const [log, position] of this.positions) log.checkComplete(position);
  }

  get isBehind(): boolean {
    const { target } = this;
    if (target === undefined) return !this.isStopping;
    return [...this.positions].some(([log, position]) => position < (target.get(log) ?? 0));
  }

  async run(): Promise<void> {
    while (this.isBehind && !this.isStopping) await insist(this.place, (connection) => this.pollOver(connection));
  }

  private async pollOver(connection: SimConnection): Promise<void> {
    const { process, history, pace } = this.place;
    let session = { id: 0, epoch: 0 };
    let toSend: readonly LogModel[] = [...this.positions.keys()];
    while (this.isBehind && !this.isStopping) {
      await pace.next();
      const patienceMs = process.random.chance(LONG_POLL_PERCENT) ? LONG_POLL_MS : 50 + process.random.nextInt(250);
      const maxWaitMs = pace.isBehind ? 0 : patienceMs;
      const wasAtEnd = [...this.positions].every(([log, position]) => position >= log.acknowledgedEnd);
      const bytesBefore = history.acknowledgedBytes;
      const request = newFetchRequest({
        replicaId: -1,
        maxWaitMs,
        minBytes: 1,
        maxBytes: process.random.chance(10) ? 2000 : 1 << 20,
        sessionId: session.id,
        sessionEpoch: session.epoch,
        topics: toSend.map((log) =>
          newFetchTopic({
            topic: log.topic,
            partitions: [
              newFetchPartition({
                partition: log.partition,
                fetchOffset: BigInt(this.positions.get(log) ?? 0),
                partitionMaxBytes: 131_072,
              }),
            ],
          }),
        ),
      });
      const answer = await connection.request(fetchApi, FETCH_VERSION, request);
      this.place.done("poll");
      if (answer.errorCode !== 0) {
        session = { id: 0, epoch: 0 };
        toSend = [...this.positions.keys()];
        await process.clock.sleep(20);
        continue;
      }
      session = { id: answer.sessionId, epoch: answer.sessionId === 0 ? 0 : session.epoch + 1 };
      const moved: LogModel[] = [];
      const isInMemory = history.acknowledgedBytes - bytesBefore <= IN_MEMORY_BYTES;
      if (wasAtEnd && isInMemory && this.place.isCurrent(connection.host)) this.checkWakeup();
      for (const { topic, partitions } of answer.responses) {
        for (const part of partitions) this.take(connection, history.log(topic, part.partitionIndex), part, moved);
      }
      toSend = session.id === 0 ? [...this.positions.keys()] : moved;
    }
  }

  /**
   * After a poll that found nothing when it was sent, and while so little came that the ring still holds it: a record wakes the poll from memory, so what it waits
   * for is the network alone.
   */
  private checkWakeup(): void {
    const { disturbances, disturbedMs } = this.place.history;
    for (const [log, position] of this.positions) {
      const atMs = log.acknowledgedMs(position);
      if (atMs === undefined || disturbances > 0 || disturbedMs > atMs - DISTURBED_MS) continue;
      const lateMs = this.place.history.nowMs - atMs;
      if (lateMs > MAX_ANSWER_MS)
        log.find("missed-wakeup", `${this.name}'s poll at ${position} came back ${lateMs.toFixed(0)} ms after more was acknowledged`);
    }
  }

  private take(connection: SimConnection, log: LogModel, part: FetchedPart, moved: LogModel[]): void {
    const position = this.positions.get(log) ?? 0;
    const { errorCode } = part;
    if (errorCode === OFFSET_OUT_OF_RANGE && this.place.isCurrent(connection.host)) {
      log.find("nonmonotonic-poll", `${this.name} asked for offset ${position} and the log ends before it`);
    }
    if (errorCode !== 0) {
      if (!RETRIABLE.has(errorCode) && errorCode !== OFFSET_OUT_OF_RANGE)
        log.find("unexpected-error", `Fetch was answered with error ${errorCode}`);
      throw new ConnectionLost("again");
    }
    if (!(part.records instanceof Uint8Array) || part.records.length === 0) return;
    try {
      const next = log.poll(this.name, position, decodeSimBatches(part.records));
      if (next === position) return;
      this.positions.set(log, next);
      moved.push(log);
    } catch (error) {
      log.find("corrupt-value", `${this.name} at ${position}: ${error instanceof Error ? error.message : String(error)}`);
      throw new ConnectionLost("again");
    }
  }
}

interface FetchedPart {
  readonly partitionIndex: number;
  readonly errorCode: number;
  readonly highWatermark: bigint;
  readonly records: unknown;
}

export async function createSimTopic(place: ClientPlace, name: string, partitions: number): Promise<void> {
  const topicExists = 36;
  await insist(place, async (connection) => {
    const topics = [newCreatableTopic({ name, numPartitions: partitions, replicationFactor: 1 })];
    const answer = await connection.request(createTopicsApi, 7, newCreateTopicsRequest({ topics, timeoutMs: 8000 }));
    place.done("create-topic");
    const errorCode = answer.topics[0]?.errorCode ?? -1;
    if (errorCode === 0 || errorCode === topicExists) return;
    if (!RETRIABLE.has(errorCode)) place.history.find("unexpected-error", `CreateTopics of ${name} was answered with error ${errorCode}`);
    await place.process.clock.sleep(100);
    throw new ConnectionLost("again");
  });
}

export async function deleteSimTopic(place: ClientPlace, name: string): Promise<void> {
  const unknownTopic = 3;
  await insist(place, async (connection) => {
    const request = newDeleteTopicsRequest({ topics: [newDeleteTopicState({ name })], timeoutMs: 8000 });
    const errorCode = (await connection.request(deleteTopicsApi, 6, request)).responses[0]?.errorCode ?? -1;
    place.done("delete-topic");
    if (errorCode === 0 || errorCode === unknownTopic) return;
    if (!RETRIABLE.has(errorCode)) place.history.find("unexpected-error", `DeleteTopics of ${name} was answered with error ${errorCode}`);
    await place.process.clock.sleep(100);
    throw new ConnectionLost("again");
  });
}

/** The log's end, as whoever serves now says. Never 0 for "don't know": an end below what was acknowledged before the request is a lost write. */
export async function readEnd(place: ClientPlace, log: LogModel): Promise<number> {
  return insist(place, async (connection) => {
    const acknowledged = log.acknowledgedEnd;
    const isCurrent = place.isCurrent(connection.host);
    const partition = newListOffsetsPartition({ partitionIndex: log.partition, timestamp: -1n });
    const request = newListOffsetsRequest({ replicaId: -1, topics: [newListOffsetsTopic({ name: log.topic, partitions: [partition] })] });
    const answer = (await connection.request(listOffsetsApi, 7, request)).topics[0]?.partitions[0];
    place.done("list-offsets");
    // One that was replaced and does not know it yet may still answer from what it had.
    if (answer === undefined || answer.errorCode !== 0 || !isCurrent || !place.isCurrent(connection.host)) {
      await place.process.clock.sleep(50);
      throw new ConnectionLost("again");
    }
    const end = Number(answer.offset);
    if (end < acknowledged) {
      log.find("lost-write", `ListOffsets says that the log ends at ${end}, and ${acknowledged - 1} was acknowledged before`);
    }
    return end;
  });
}
