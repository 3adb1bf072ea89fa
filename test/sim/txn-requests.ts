/** Requests of transactional clients, and reading of their answers. */
import {
  addPartitionsToTxnApi,
  newAddPartitionsToTxnRequest,
  newAddPartitionsToTxnTopic,
} from "../../src/protocol/messages/add-partitions-to-txn.ts";
import { type FetchRequest, newFetchPartition, newFetchRequest, newFetchTopic } from "../../src/protocol/messages/fetch.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { newOffsetFetchRequest, newOffsetFetchRequestTopic, offsetFetchApi } from "../../src/protocol/messages/offset-fetch.ts";
import {
  newPartitionProduceData,
  newProduceRequest,
  newTopicProduceData,
  type ProduceRequest,
} from "../../src/protocol/messages/produce.ts";
import {
  newTxnOffsetCommitRequest,
  newTxnOffsetCommitRequestPartition,
  newTxnOffsetCommitRequestTopic,
  type TxnOffsetCommitRequest,
} from "../../src/protocol/messages/txn-offset-commit.ts";
import type { SimBatch } from "./sim-batch.ts";
import type { TxnChannel } from "./txn-channel.ts";
import type { TxnLog, TxnSlot } from "./txn-model.ts";

export const GROUP = "sim-transform";
export const FETCH_VERSION = 12;
const READ_COMMITTED = 1;

export interface ProducerName {
  readonly transactionalId: string;
  readonly producerId: number;
  readonly producerEpoch: number;
}

export interface TxnBatchToSend {
  readonly log: TxnLog;
  readonly bytes: Buffer;
}

export function produceRequest(transactionalId: string, batches: readonly TxnBatchToSend[]): ProduceRequest {
  const topics = new Map<string, TxnBatchToSend[]>();
  for (const batch of batches) topics.set(batch.log.topic, [...(topics.get(batch.log.topic) ?? []), batch]);
  const topicData = [...topics].map(([name, own]) =>
    newTopicProduceData({
      name,
      partitionData: own.map(({ log, bytes }) => newPartitionProduceData({ index: log.partition, records: bytes })),
    }),
  );
  return newProduceRequest({ transactionalId, acks: -1, timeoutMs: 4000, topicData });
}

/** AddPartitionsToTxn v3: what a client of transaction.version 0 or 1 says before it produces. Answers the partitions' codes. */
export async function addPartitions(channel: TxnChannel, name: ProducerName, logs: readonly TxnLog[]): Promise<readonly number[]> {
  const topics = new Map<string, number[]>();
  for (const { topic, partition } of logs) topics.set(topic, [...(topics.get(topic) ?? []), partition]);
  const request = newAddPartitionsToTxnRequest({
    v3AndBelowTransactionalId: name.transactionalId,
    v3AndBelowProducerId: BigInt(name.producerId),
    v3AndBelowProducerEpoch: name.producerEpoch,
    v3AndBelowTopics: [...topics].map(([topic, partitions]) => newAddPartitionsToTxnTopic({ name: topic, partitions })),
  });
  const codesOf = (answer: ReturnType<typeof addPartitionsToTxnApi.readResponse>): number[] =>
    answer.resultsByTopicV3AndBelow.flatMap(({ resultsByPartition }) => resultsByPartition.map((one) => one.partitionErrorCode));
  const { answer } = await channel.ask("add-partitions", addPartitionsToTxnApi, 3, request, codesOf);
  return codesOf(answer);
}

export function offsetCommitRequest(name: ProducerName, { input }: TxnSlot, offset: number): TxnOffsetCommitRequest {
  const partitions = [
    newTxnOffsetCommitRequestPartition({ partitionIndex: input.partition, committedOffset: BigInt(offset), committedMetadata: "" }),
  ];
  return newTxnOffsetCommitRequest({
    transactionalId: name.transactionalId,
    groupId: GROUP,
    producerId: BigInt(name.producerId),
    producerEpoch: name.producerEpoch,
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: [newTxnOffsetCommitRequestTopic({ name: input.topic, partitions })],
  });
}

/** Asks who coordinates the group and the transactional id; the first to ask has their topics created. */
export async function findCoordinators(channel: TxnChannel, transactionalId: string): Promise<void> {
  for (const request of [
    newFindCoordinatorRequest({ key: GROUP, keyType: 0 }),
    newFindCoordinatorRequest({ key: transactionalId, keyType: 1 }),
  ])
    await channel.ask("find-coordinator", findCoordinatorApi, 2, request, ({ errorCode }) => [errorCode]);
}

/** What the group has committed for a slot's input: -1 for nothing. `isStable` waits for transactions under way to end (KIP-447). */
export async function readOffset(
  channel: TxnChannel,
  { input }: TxnSlot,
  isStable: boolean,
): Promise<{ readonly offset: number; readonly isCurrent: boolean }> {
  const topics = [newOffsetFetchRequestTopic({ name: input.topic, partitionIndexes: [input.partition] })];
  const request = newOffsetFetchRequest({ groupId: GROUP, topics, requireStable: isStable });
  const partOf = (answer: ReturnType<typeof offsetFetchApi.readResponse>) => answer.topics[0]?.partitions[0];
  const { answer, isCurrent } = await channel.ask("offset-fetch", offsetFetchApi, 7, request, (one) => [
    one.errorCode,
    partOf(one)?.errorCode ?? -1,
  ]);
  return { offset: Number(partOf(answer)?.committedOffset ?? -1n), isCurrent };
}

export interface FetchPlan {
  readonly positions: ReadonlyMap<TxnLog, number>;
  readonly isCommitted: boolean;
  readonly maxBytes: number;
  readonly maxWaitMs: number;
}

export function fetchRequest({ positions, isCommitted, maxBytes, maxWaitMs }: FetchPlan, session = { id: 0, epoch: -1 }): FetchRequest {
  const topics = [...positions].map(([{ topic, partition }, position]) =>
    newFetchTopic({
      topic,
      partitions: [newFetchPartition({ partition, fetchOffset: BigInt(position), partitionMaxBytes: maxBytes })],
    }),
  );
  return newFetchRequest({
    replicaId: -1,
    maxWaitMs,
    minBytes: 1,
    maxBytes: 1 << 20,
    isolationLevel: isCommitted ? READ_COMMITTED : 0,
    sessionId: session.id,
    sessionEpoch: session.epoch,
    topics,
  });
}

/** As Java's consumer leaves out what was aborted: answers whether a batch counts. To be asked batch by batch, in order. */
export function abortedFilter(
  aborted: readonly { readonly producerId: bigint; readonly firstOffset: bigint }[],
): (batch: SimBatch) => boolean {
  const waiting = aborted.map((one) => ({ producerId: Number(one.producerId), firstOffset: Number(one.firstOffset) }));
  waiting.sort((a, b) => a.firstOffset - b.firstOffset);
  const now = new Set<number>();
  return ({ lastOffset, producerId, isTransactional, marker }) => {
    for (let first = waiting[0]; first !== undefined && first.firstOffset <= lastOffset; first = waiting[0]) {
      now.add(first.producerId);
      waiting.shift();
    }
    if (marker === "abort") now.delete(producerId);
    return marker === undefined && !(isTransactional && now.has(producerId));
  };
}
