/**
 * A small Kafka client for tests that must control each request: thin functions over KafkaConnection. Error codes are values, never exceptions;
 * a closed connection is the error "closed".
 */
import {
  createTopicsApi,
  newCreatableTopic,
  newCreatableTopicConfig,
  newCreateTopicsRequest,
} from "../../src/protocol/messages/create-topics.ts";
import { deleteTopicsApi, newDeleteTopicState, newDeleteTopicsRequest } from "../../src/protocol/messages/delete-topics.ts";
import { fetchApi, newFetchPartition, newFetchRequest, newFetchTopic } from "../../src/protocol/messages/fetch.ts";
import { initProducerIdApi, newInitProducerIdRequest } from "../../src/protocol/messages/init-producer-id.ts";
import {
  listOffsetsApi,
  newListOffsetsPartition,
  newListOffsetsRequest,
  newListOffsetsTopic,
} from "../../src/protocol/messages/list-offsets.ts";
import { metadataApi, newMetadataRequest, newMetadataRequestTopic } from "../../src/protocol/messages/metadata.ts";
import { newPartitionProduceData, newProduceRequest, newTopicProduceData, produceApi } from "../../src/protocol/messages/produce.ts";
import type { KafkaConnection } from "./kafka-connection.ts";
import { type DecodedRecord, decodeBatches, encodeBatch } from "./record-batch.ts";

/** The highest versions that name topics; later ones use topic ids. */
export const produceVersion = 12;
export const fetchVersion = 12;

export interface NewTopicOptions {
  readonly partitions?: number;
  readonly replicationFactor?: number;
  readonly configs?: Readonly<Record<string, string>>;
}

export async function createTopicRaw(connection: KafkaConnection, name: string, options: NewTopicOptions = {}) {
  const topic = newCreatableTopic({
    name,
    numPartitions: options.partitions ?? 1,
    replicationFactor: options.replicationFactor ?? 1,
    configs: Object.entries(options.configs ?? {}).map(([key, value]) => newCreatableTopicConfig({ name: key, value })),
  });
  const answer = await connection.request(createTopicsApi, 7, newCreateTopicsRequest({ topics: [topic], timeoutMs: 30_000 }));
  const [result] = answer.topics;
  if (result === undefined) throw new Error("CreateTopics answered nothing");
  return result;
}

export async function deleteTopicRaw(connection: KafkaConnection, name: string): Promise<number> {
  const request = newDeleteTopicsRequest({ topics: [newDeleteTopicState({ name })], timeoutMs: 30_000 });
  return (await connection.request(deleteTopicsApi, 6, request)).responses[0]?.errorCode ?? -1;
}

export interface Produced {
  readonly errorCode: number;
  readonly baseOffset: number;
}

export function produceRequest(topic: string, partition: number, records: Uint8Array | null, acks = -1) {
  return newProduceRequest({
    acks,
    timeoutMs: 30_000,
    topicData: [newTopicProduceData({ name: topic, partitionData: [newPartitionProduceData({ index: partition, records })] })],
  });
}

/** One batch, acks=all unless said otherwise. */
export async function produceBatch(
  connection: KafkaConnection,
  topic: string,
  partition: number,
  batch: Uint8Array,
  version = produceVersion,
): Promise<Produced> {
  const answer = await connection.request(produceApi, version, produceRequest(topic, partition, batch));
  const result = answer.responses[0]?.partitionResponses[0];
  if (result === undefined) throw new Error("Produce answered nothing");
  return { errorCode: result.errorCode, baseOffset: Number(result.baseOffset) };
}

export function produceValues(connection: KafkaConnection, topic: string, partition: number, values: readonly string[]): Promise<Produced> {
  return produceBatch(connection, topic, partition, encodeBatch({ values }));
}

export interface FetchOptions {
  readonly maxWaitMs?: number;
  readonly minBytes?: number;
  readonly maxBytes?: number;
}

export function fetchRequest(topic: string, partition: number, offset: number, options: FetchOptions = {}) {
  const fetchPartition = newFetchPartition({ partition, fetchOffset: BigInt(offset), partitionMaxBytes: options.maxBytes ?? 1 << 20 });
  return newFetchRequest({
    replicaId: -1,
    maxWaitMs: options.maxWaitMs ?? 500,
    minBytes: options.minBytes ?? 1,
    maxBytes: options.maxBytes ?? 50 << 20,
    topics: [newFetchTopic({ topic, partitions: [fetchPartition] })],
  });
}

export interface Fetched {
  readonly errorCode: number;
  readonly highWatermark: number;
  readonly logStartOffset: number;
  readonly records: readonly DecodedRecord[];
}

/** Records of whole batches from the one that holds `offset`; those below `offset` are left out, as clients do. */
export async function fetchRecords(
  connection: KafkaConnection,
  topic: string,
  partition: number,
  offset: number,
  options: FetchOptions = {},
): Promise<Fetched> {
  const answer = await connection.request(fetchApi, fetchVersion, fetchRequest(topic, partition, offset, options));
  const part = answer.responses[0]?.partitions[0];
  if (part === undefined) throw new Error(`Fetch answered nothing (error ${answer.errorCode})`);
  const bytes = part.records instanceof Uint8Array ? part.records : new Uint8Array(0);
  return {
    errorCode: part.errorCode,
    highWatermark: Number(part.highWatermark),
    logStartOffset: Number(part.logStartOffset),
    records: decodeBatches(bytes).filter((record) => record.offset >= offset),
  };
}

/** Every record of a partition from `offset` to the high watermark as it is at the first fetch. */
export async function fetchAll(connection: KafkaConnection, topic: string, partition: number, offset = 0): Promise<DecodedRecord[]> {
  const records: DecodedRecord[] = [];
  let next = offset;
  let end: number | undefined;
  while (end === undefined || next < end) {
    const fetched = await fetchRecords(connection, topic, partition, next, { maxWaitMs: 1000, maxBytes: 8 << 20 });
    if (fetched.errorCode !== 0) throw new Error(`Fetch of ${topic}-${partition} at ${next} answered error ${fetched.errorCode}`);
    end ??= fetched.highWatermark;
    if (fetched.records.length === 0 && next < end) throw new Error(`Fetch of ${topic}-${partition} at ${next} gave nothing below ${end}`);
    records.push(...fetched.records);
    next = (records.at(-1)?.offset ?? next - 1) + 1;
  }
  return records;
}

/** ListOffsets with a timestamp of -1 (latest) or -2 (earliest), or a time; isolation level 1 is read_committed. */
export async function listOffset(connection: KafkaConnection, topic: string, partition: number, timestamp: bigint, isolationLevel = 0) {
  const request = newListOffsetsRequest({
    replicaId: -1,
    isolationLevel,
    topics: [newListOffsetsTopic({ name: topic, partitions: [newListOffsetsPartition({ partitionIndex: partition, timestamp })] })],
  });
  const result = (await connection.request(listOffsetsApi, 7, request)).topics[0]?.partitions[0];
  if (result === undefined) throw new Error("ListOffsets answered nothing");
  return result;
}

export interface ProducerIdentity {
  readonly producerId: number;
  readonly producerEpoch: number;
}

export async function initProducerId(connection: KafkaConnection): Promise<ProducerIdentity> {
  const request = newInitProducerIdRequest({ transactionalId: null, transactionTimeoutMs: 60_000, producerId: -1n, producerEpoch: -1 });
  const answer = await connection.request(initProducerIdApi, 4, request);
  if (answer.errorCode !== 0) throw new Error(`InitProducerId answered error ${answer.errorCode}`);
  return { producerId: Number(answer.producerId), producerEpoch: answer.producerEpoch };
}

/** Metadata of the named topics; null asks for all, [] for none. */
export function readMetadata(connection: KafkaConnection, names: readonly string[] | null, version = 12, allowAutoTopicCreation = false) {
  const topics = names === null ? null : names.map((name) => newMetadataRequestTopic({ name }));
  return connection.request(metadataApi, version, newMetadataRequest({ topics, allowAutoTopicCreation }));
}
