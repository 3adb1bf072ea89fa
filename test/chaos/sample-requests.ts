/**
 * A valid request of every API that is served so far, and variants of it in which one field that a client chooses has an extreme value. Fields
 * are found by walking the message, so a field that a new version adds is covered without anybody thinking of it.
 */
import type { ApiDefinition } from "../../src/protocol/api-definition.ts";
import { apiVersionsApi, newApiVersionsRequest } from "../../src/protocol/messages/api-versions.ts";
import {
  createPartitionsApi,
  newCreatePartitionsRequest,
  newCreatePartitionsTopic,
} from "../../src/protocol/messages/create-partitions.ts";
import {
  createTopicsApi,
  newCreatableTopic,
  newCreatableTopicConfig,
  newCreateTopicsRequest,
} from "../../src/protocol/messages/create-topics.ts";
import { deleteTopicsApi, newDeleteTopicState, newDeleteTopicsRequest } from "../../src/protocol/messages/delete-topics.ts";
import { describeClusterApi, newDescribeClusterRequest } from "../../src/protocol/messages/describe-cluster.ts";
import { describeConfigsApi, newDescribeConfigsRequest, newDescribeConfigsResource } from "../../src/protocol/messages/describe-configs.ts";
import {
  describeTopicPartitionsApi,
  newDescribeTopicPartitionsRequest,
  newTopicRequest,
} from "../../src/protocol/messages/describe-topic-partitions.ts";
import { fetchApi, newFetchPartition, newFetchRequest, newFetchTopic } from "../../src/protocol/messages/fetch.ts";
import { initProducerIdApi, newInitProducerIdRequest } from "../../src/protocol/messages/init-producer-id.ts";
import {
  listOffsetsApi,
  newListOffsetsPartition,
  newListOffsetsRequest,
  newListOffsetsTopic,
} from "../../src/protocol/messages/list-offsets.ts";
import { metadataApi, newMetadataRequest, newMetadataRequestTopic } from "../../src/protocol/messages/metadata.ts";
import {
  newOffsetForLeaderEpochRequest,
  newOffsetForLeaderPartition,
  newOffsetForLeaderTopic,
  offsetForLeaderEpochApi,
} from "../../src/protocol/messages/offset-for-leader-epoch.ts";
import { newPartitionProduceData, newProduceRequest, newTopicProduceData, produceApi } from "../../src/protocol/messages/produce.ts";
import { encodeRequest } from "../support/kafka-connection.ts";
import { encodeBatch } from "../support/record-batch.ts";

// biome-ignore lint/suspicious/noExplicitAny: a list of requests of every type
type AnyApi = ApiDefinition<any, any>;

export interface SampleRequest {
  readonly api: AnyApi;
  readonly request: Readonly<Record<string, unknown>>;
}

/** `topic` exists with at least one partition; `topicId` is its id. Requests that change the cluster name topics of their own. */
export function sampleRequests(topic: string, topicId: string): SampleRequest[] {
  const batch = encodeBatch({ values: ["fuzz"] });
  const sample = (api: AnyApi, request: object): SampleRequest => ({ api, request: request as Record<string, unknown> });
  const configs = [newCreatableTopicConfig({ name: "retention.ms", value: "1000" })];
  return [
    sample(
      produceApi,
      newProduceRequest({
        acks: -1,
        timeoutMs: 1000,
        topicData: [newTopicProduceData({ name: topic, topicId, partitionData: [newPartitionProduceData({ index: 0, records: batch })] })],
      }),
    ),
    sample(
      fetchApi,
      newFetchRequest({
        replicaId: -1,
        maxWaitMs: 10,
        minBytes: 1,
        maxBytes: 1 << 20,
        topics: [
          newFetchTopic({ topic, topicId, partitions: [newFetchPartition({ partition: 0, fetchOffset: 0n, partitionMaxBytes: 1 << 20 })] }),
        ],
      }),
    ),
    sample(
      listOffsetsApi,
      newListOffsetsRequest({
        replicaId: -1,
        topics: [newListOffsetsTopic({ name: topic, partitions: [newListOffsetsPartition({ partitionIndex: 0, timestamp: -1n })] })],
      }),
    ),
    sample(metadataApi, newMetadataRequest({ topics: [newMetadataRequestTopic({ name: topic })], allowAutoTopicCreation: false })),
    sample(
      offsetForLeaderEpochApi,
      newOffsetForLeaderEpochRequest({
        topics: [newOffsetForLeaderTopic({ topic, partitions: [newOffsetForLeaderPartition({ partition: 0, leaderEpoch: 0 })] })],
      }),
    ),
    sample(apiVersionsApi, newApiVersionsRequest({ clientSoftwareName: "fuzz", clientSoftwareVersion: "1" })),
    sample(
      createTopicsApi,
      newCreateTopicsRequest({
        timeoutMs: 1000,
        validateOnly: true,
        topics: [newCreatableTopic({ name: "fuzz-created", numPartitions: 1, replicationFactor: 1, configs })],
      }),
    ),
    sample(deleteTopicsApi, newDeleteTopicsRequest({ timeoutMs: 1000, topicNames: ["fuzz-absent"] })),
    sample(deleteTopicsApi, newDeleteTopicsRequest({ timeoutMs: 1000, topics: [newDeleteTopicState({ name: "fuzz-absent" })] })),
    sample(
      createPartitionsApi,
      newCreatePartitionsRequest({
        timeoutMs: 1000,
        validateOnly: true,
        topics: [newCreatePartitionsTopic({ name: topic, count: 2, assignments: null })],
      }),
    ),
    sample(initProducerIdApi, newInitProducerIdRequest({ transactionalId: null, transactionTimeoutMs: 1000 })),
    sample(
      describeConfigsApi,
      newDescribeConfigsRequest({
        resources: [newDescribeConfigsResource({ resourceType: 2, resourceName: topic, configurationKeys: null })],
      }),
    ),
    sample(describeClusterApi, newDescribeClusterRequest({})),
    sample(
      describeTopicPartitionsApi,
      newDescribeTopicPartitionsRequest({ topics: [newTopicRequest({ name: topic })], responsePartitionLimit: 100, cursor: null }),
    ),
  ];
}

const extremeNumbers = [-2147483648, -32768, -129, -2, -1, 0, 1, 127, 32767, 2147483647];
const extremeBigints = [-(2n ** 63n), -(2n ** 53n), -3n, -1n, 0n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 62n, 2n ** 63n - 1n];
const extremeStrings = ["", "\u0000", "..", "a/b", "x".repeat(249), "x".repeat(250), "é".repeat(10_000)];

function* variantsOf(value: unknown): Generator<unknown> {
  if (typeof value === "number") yield* extremeNumbers;
  else if (typeof value === "bigint") yield* extremeBigints;
  else if (typeof value === "boolean") yield !value;
  else if (typeof value === "string") yield* extremeStrings;
  else if (value instanceof Uint8Array) {
    yield new Uint8Array(0);
    yield value.subarray(0, 12);
    yield null;
  } else if (Array.isArray(value)) {
    yield [];
    if (value.length > 0) {
      yield Array.from({ length: 3 }, () => value[0]);
      for (const variant of variantsOf(value[0])) yield [variant, ...value.slice(1)];
    }
  } else if (value !== null && typeof value === "object") {
    for (const [key, field] of Object.entries(value)) for (const variant of variantsOf(field)) yield { ...value, [key]: variant };
  }
}

/** Frames (without length) of every variant in every version that can express it. */
export function* extremeFrames(samples: readonly SampleRequest[]): Generator<{ readonly name: string; readonly body: Buffer }> {
  for (const { api, request } of samples) {
    for (let version = api.minVersion; version <= api.maxVersion; version++) {
      for (const variant of variantsOf(request)) {
        const body = tryEncode(api, version, variant);
        if (body !== undefined) yield { name: `${api.name} v${version}`, body };
      }
    }
  }
}

/** The samples as they are, in every version that can express them. */
export function* validFrames(samples: readonly SampleRequest[]): Generator<{ readonly name: string; readonly body: Buffer }> {
  for (const { api, request } of samples) {
    for (let version = api.minVersion; version <= api.maxVersion; version++) {
      const body = tryEncode(api, version, request);
      if (body !== undefined) yield { name: `${api.name} v${version}`, body };
    }
  }
}

/** Undefined when the version cannot express the message: that a client could not send it either. */
function tryEncode(api: AnyApi, version: number, request: unknown): Buffer | undefined {
  try {
    return encodeRequest(api, version, request, 1);
  } catch {
    return undefined;
  }
}
