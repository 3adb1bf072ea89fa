/** Reads: Fetch without and with sessions, ListOffsets, OffsetForLeaderEpoch. */
import * as fetch from "../../../src/protocol/messages/fetch.ts";
import * as listOffsets from "../../../src/protocol/messages/list-offsets.ts";
import * as offsetForLeaderEpoch from "../../../src/protocol/messages/offset-for-leader-epoch.ts";
import type { Choice } from "./choice.ts";
import { leaderEpoch, type Model } from "./model.ts";
import { type Bindings, newStep, type Step } from "./step.ts";

interface PartitionRead {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly lastFetchedEpoch: number;
  readonly maxBytes: number;
}

interface FetchWish {
  readonly version: number;
  readonly reads: readonly PartitionRead[];
  readonly forgotten: readonly PartitionRead[];
  readonly maxBytes: number;
  readonly minBytes: number;
  readonly maxWaitMs: number;
  readonly isolationLevel: number;
  /** Binding of the session's id; undefined for none. */
  readonly session: string | undefined;
  readonly sessionEpoch: number;
}

function chooseRead(model: Model, choice: Choice): PartitionRead {
  const topic = model.topicName(choice);
  const partition = model.partition(topic, choice);
  const end = model.end(topic, partition);
  const offset = choice.weighted<number>([
    [5, 0],
    [6, choice.int(end + 1)],
    [2, end],
    [0.7, end + 1],
    [0.5, end + 10_000],
    [0.5, -1],
  ]);
  const maxBytes = choice.weighted<number>([
    [8, 1 << 20],
    [2, choice.between(1, 400)],
    [1, 0],
    [0.02, -1],
  ]);
  const lastFetchedEpoch = choice.weighted([
    [10, -1],
    [1, 0],
    [0.7, 3],
  ]);
  return { topic, partition, offset, leaderEpoch: leaderEpoch(choice), lastFetchedEpoch, maxBytes };
}

function chooseReads(model: Model, choice: Choice, count: number): PartitionRead[] {
  const reads: PartitionRead[] = [];
  for (let i = 0; i < count; i++) {
    const read = chooseRead(model, choice);
    if (!reads.some((other) => other.topic === read.topic && other.partition === read.partition)) reads.push(read);
  }
  return reads;
}

function chooseLimits(choice: Choice) {
  return {
    maxBytes: choice.weighted<number>([
      [8, 50 << 20],
      [1.5, choice.between(1, 600)],
      [0.7, 0],
    ]),
    minBytes: choice.mostly(1, [0], 0.8),
    maxWaitMs: 0,
    isolationLevel: choice.mostly(choice.int(2), [2], 0.995),
  };
}

function byTopic(reads: readonly PartitionRead[]): Map<string, PartitionRead[]> {
  const topics = new Map<string, PartitionRead[]>();
  for (const read of reads) topics.set(read.topic, [...(topics.get(read.topic) ?? []), read]);
  return topics;
}

function buildFetch(wish: FetchWish, bindings: Bindings): fetch.FetchRequest {
  const name = (topic: string) => (wish.version >= 13 ? { topicId: bindings.topicId(topic) } : { topic });
  return fetch.newFetchRequest({
    maxWaitMs: wish.maxWaitMs,
    minBytes: wish.minBytes,
    maxBytes: wish.maxBytes,
    isolationLevel: wish.isolationLevel,
    sessionId: wish.session === undefined ? 0 : bindings.number(wish.session, 123_456),
    sessionEpoch: wish.sessionEpoch,
    topics: [...byTopic(wish.reads)].map(([topic, reads]) =>
      fetch.newFetchTopic({
        ...name(topic),
        partitions: reads.map((read) =>
          fetch.newFetchPartition({
            partition: read.partition,
            currentLeaderEpoch: read.leaderEpoch,
            fetchOffset: BigInt(read.offset),
            lastFetchedEpoch: read.lastFetchedEpoch,
            partitionMaxBytes: read.maxBytes,
          }),
        ),
      }),
    ),
    forgottenTopicsData: [...byTopic(wish.forgotten)].map(([topic, reads]) =>
      fetch.newForgottenTopic({ ...name(topic), partitions: reads.map((read) => read.partition) }),
    ),
  });
}

function fetchStep(wish: FetchWish): Step {
  return newStep(fetch, fetch.fetchApi, wish.version, (bindings) => buildFetch(wish, bindings), {
    bind: (answer, bindings) => {
      if (wish.session !== undefined && answer.errorCode === 0) bindings.set(wish.session, answer.sessionId);
    },
  });
}

export function fetchSteps(model: Model, choice: Choice): Step[] {
  const version = model.version(1, choice);
  const reads = chooseReads(
    model,
    choice,
    choice.weighted([
      [6, 1],
      [3, 2],
      [2, 5],
    ]),
  );
  const sessionEpoch = choice.mostly(-1, [3], 0.97);
  return [fetchStep({ version, reads, forgotten: [], session: undefined, sessionEpoch, ...chooseLimits(choice) })];
}

/** Every record of every partition of a topic: what the requests before have left. */
export function readAllSteps(model: Model, choice: Choice): Step[] {
  return model.liveTopics().map((topic) => {
    const reads = Array.from({ length: topic.partitions }, (_, partition) => {
      return { topic: topic.name, partition, offset: 0, leaderEpoch: -1, lastFetchedEpoch: -1, maxBytes: 8 << 20 };
    });
    const limits = { maxBytes: 50 << 20, minBytes: 0, maxWaitMs: 0, isolationLevel: choice.int(2) };
    return fetchStep({ version: model.version(1, choice, 10), reads, forgotten: [], session: undefined, sessionEpoch: -1, ...limits });
  });
}

/**
 * A session: opened in full, asked for changes, given and losing partitions, asked with a wrong epoch or id, closed. Without the two limits at which Kafka
 * fails (`allowed.ts`), since that would leave the two sessions apart.
 */
export function sessionSteps(model: Model, choice: Choice): Step[] {
  // From 10 on, where both hand out zstd: a partition that is refused once leaves the two sessions apart.
  const version = model.version(1, choice, 10);
  const session = model.reference("session");
  const sound = (count: number) => chooseReads(model, choice, count).map((read) => ({ ...read, maxBytes: Math.max(0, read.maxBytes) }));
  const limits = () => ({ ...chooseLimits(choice), isolationLevel: choice.int(2) });
  const reads = sound(choice.between(1, 4));
  const steps = [fetchStep({ version, reads, forgotten: [], session, sessionEpoch: 0, ...limits() })];
  let epoch = 1;
  for (let rounds = choice.between(1, 4); rounds > 0; rounds--) {
    const isWrong = choice.chance(0.1);
    steps.push(
      fetchStep({
        version,
        reads: choice.chance(0.5) ? [] : sound(choice.between(1, 2)),
        forgotten: choice.chance(0.3) ? [choice.pick(reads)] : [],
        session: choice.chance(0.96) ? session : model.reference("session"),
        sessionEpoch: isWrong ? epoch + choice.pick([-1, 1, 7]) : epoch,
        ...limits(),
      }),
    );
    if (!isWrong) epoch++;
  }
  if (choice.chance(0.7)) steps.push(fetchStep({ version, reads: [], forgotten: [], session, sessionEpoch: -1, ...limits() }));
  return steps;
}

export function listOffsetsSteps(model: Model, choice: Choice): Step[] {
  const version = model.version(2, choice);
  const isolationLevel = choice.mostly(choice.int(2), [2], 0.995);
  const reads = chooseReads(
    model,
    choice,
    choice.weighted([
      [6, 1],
      [3, 3],
    ]),
  ).map((read) => ({
    ...read,
    timestamp: choice.weighted<bigint>([
      [4, -1n],
      [4, -2n],
      [2, -3n],
      [1, -4n],
      [1, -5n],
      [0.6, -6n],
      [0.4, -7n],
      [4, 1_700_000_000_000n + BigInt(choice.int(5_000_000))],
      [1, 0n],
      [1, 1_700_000_000_000n],
      [0.5, 9_000_000_000_000n],
    ]),
  }));
  const duplicate = reads[0] !== undefined && choice.chance(0.04) ? [...reads, reads[0]] : reads;
  const request = () => {
    const topics = [...byTopic(duplicate)].map(([name, parts]) =>
      listOffsets.newListOffsetsTopic({
        name,
        partitions: (parts as typeof reads).map((part) =>
          listOffsets.newListOffsetsPartition({
            partitionIndex: part.partition,
            currentLeaderEpoch: part.leaderEpoch,
            timestamp: part.timestamp,
          }),
        ),
      }),
    );
    return listOffsets.newListOffsetsRequest({ replicaId: -1, isolationLevel, topics, timeoutMs: 30_000 });
  };
  return [newStep(listOffsets, listOffsets.listOffsetsApi, version, request)];
}

export function leaderEpochSteps(model: Model, choice: Choice): Step[] {
  const reads = chooseReads(model, choice, choice.between(1, 2)).map((read) => ({ ...read, asked: choice.pick([0, 0, 1, 4, -1, -2]) }));
  const request = () =>
    offsetForLeaderEpoch.newOffsetForLeaderEpochRequest({
      replicaId: -1,
      topics: [...byTopic(reads)].map(([topic, parts]) =>
        offsetForLeaderEpoch.newOffsetForLeaderTopic({
          topic,
          partitions: (parts as typeof reads).map((part) =>
            offsetForLeaderEpoch.newOffsetForLeaderPartition({
              partition: part.partition,
              currentLeaderEpoch: part.leaderEpoch,
              leaderEpoch: part.asked,
            }),
          ),
        }),
      ),
    });
  return [newStep(offsetForLeaderEpoch, offsetForLeaderEpoch.offsetForLeaderEpochApi, model.version(23, choice), request)];
}
