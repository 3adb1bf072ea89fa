import { describe, expect, test } from "bun:test";
import { newAddOffsetsToTxnRequest } from "../../../src/protocol/messages/add-offsets-to-txn.ts";
import {
  newAddPartitionsToTxnRequest,
  newAddPartitionsToTxnTopic,
  newAddPartitionsToTxnTransaction,
} from "../../../src/protocol/messages/add-partitions-to-txn.ts";
import {
  newAlterConfigsRequest,
  newAlterConfigsResource as newReplacedResource,
  newAlterableConfig as newReplacingConfig,
} from "../../../src/protocol/messages/alter-configs.ts";
import { newApiVersionsRequest } from "../../../src/protocol/messages/api-versions.ts";
import { newConsumerGroupDescribeRequest } from "../../../src/protocol/messages/consumer-group-describe.ts";
import { newConsumerGroupHeartbeatRequest } from "../../../src/protocol/messages/consumer-group-heartbeat.ts";
import { newCreatePartitionsRequest, newCreatePartitionsTopic } from "../../../src/protocol/messages/create-partitions.ts";
import { newCreatableTopic, newCreateTopicsRequest } from "../../../src/protocol/messages/create-topics.ts";
import { newDeleteGroupsRequest } from "../../../src/protocol/messages/delete-groups.ts";
import {
  newDeleteRecordsPartition,
  newDeleteRecordsRequest,
  newDeleteRecordsTopic,
} from "../../../src/protocol/messages/delete-records.ts";
import { newDeleteTopicState, newDeleteTopicsRequest } from "../../../src/protocol/messages/delete-topics.ts";
import { newDescribeClusterRequest } from "../../../src/protocol/messages/describe-cluster.ts";
import { newDescribeConfigsRequest, newDescribeConfigsResource } from "../../../src/protocol/messages/describe-configs.ts";
import { newDescribeGroupsRequest } from "../../../src/protocol/messages/describe-groups.ts";
import {
  newDescribeProducersRequest,
  newTopicRequest as newDescribeProducersTopic,
} from "../../../src/protocol/messages/describe-producers.ts";
import { newDescribeTopicPartitionsRequest, newTopicRequest } from "../../../src/protocol/messages/describe-topic-partitions.ts";
import { newDescribeTransactionsRequest } from "../../../src/protocol/messages/describe-transactions.ts";
import { newEndTxnRequest } from "../../../src/protocol/messages/end-txn.ts";
import { newFetchPartition, newFetchRequest, newFetchTopic } from "../../../src/protocol/messages/fetch.ts";
import { newFindCoordinatorRequest } from "../../../src/protocol/messages/find-coordinator.ts";
import { newHeartbeatRequest } from "../../../src/protocol/messages/heartbeat.ts";
import {
  newAlterableConfig,
  newAlterConfigsResource,
  newIncrementalAlterConfigsRequest,
} from "../../../src/protocol/messages/incremental-alter-configs.ts";
import { newInitProducerIdRequest } from "../../../src/protocol/messages/init-producer-id.ts";
import { newJoinGroupRequest, newJoinGroupRequestProtocol } from "../../../src/protocol/messages/join-group.ts";
import { newLeaveGroupRequest, newMemberIdentity } from "../../../src/protocol/messages/leave-group.ts";
import { newListConfigResourcesRequest } from "../../../src/protocol/messages/list-config-resources.ts";
import { newListGroupsRequest } from "../../../src/protocol/messages/list-groups.ts";
import { newListOffsetsPartition, newListOffsetsRequest, newListOffsetsTopic } from "../../../src/protocol/messages/list-offsets.ts";
import { newListTransactionsRequest } from "../../../src/protocol/messages/list-transactions.ts";
import { newMetadataRequest, newMetadataRequestTopic } from "../../../src/protocol/messages/metadata.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
} from "../../../src/protocol/messages/offset-commit.ts";
import {
  newOffsetDeleteRequest,
  newOffsetDeleteRequestPartition,
  newOffsetDeleteRequestTopic,
} from "../../../src/protocol/messages/offset-delete.ts";
import {
  newOffsetFetchRequest,
  newOffsetFetchRequestGroup,
  newOffsetFetchRequestTopic,
  newOffsetFetchRequestTopics,
} from "../../../src/protocol/messages/offset-fetch.ts";
import {
  newOffsetForLeaderEpochRequest,
  newOffsetForLeaderPartition,
  newOffsetForLeaderTopic,
} from "../../../src/protocol/messages/offset-for-leader-epoch.ts";
import { newPartitionProduceData, newProduceRequest, newTopicProduceData } from "../../../src/protocol/messages/produce.ts";
import { newSyncGroupRequest } from "../../../src/protocol/messages/sync-group.ts";
import {
  newTxnOffsetCommitRequest,
  newTxnOffsetCommitRequestPartition,
  newTxnOffsetCommitRequestTopic,
} from "../../../src/protocol/messages/txn-offset-commit.ts";
import { newFeatureUpdateKey, newUpdateFeaturesRequest } from "../../../src/protocol/messages/update-features.ts";
import {
  newWritableTxnMarker,
  newWritableTxnMarkerTopic,
  newWriteTxnMarkersRequest,
} from "../../../src/protocol/messages/write-txn-markers.ts";
import { ApiHarness } from "../support/api-harness.ts";
import { makeBatch } from "../support/record-batches.ts";

/** For each key: a request of that version that is answered, once for what exists and once for what does not. */
type Make = (version: number, topic: string, topicId: string) => unknown;
const UNKNOWN_ID = "CQkJCQkJCQkJCQkJCQkJCQ";

const REQUESTS: ReadonlyMap<number, Make> = new Map<number, Make>([
  [
    0,
    (version, name, topicId) =>
      newProduceRequest({
        acks: -1,
        topicData: [
          newTopicProduceData({
            name: version >= 13 ? "" : name,
            ...(version >= 13 ? { topicId } : {}),
            partitionData: [newPartitionProduceData({ records: makeBatch() }), newPartitionProduceData({ index: 1, records: null })],
          }),
        ],
      }),
  ],
  [
    1,
    (version, topic, topicId) =>
      newFetchRequest({
        sessionEpoch: version >= 7 ? 0 : -1,
        maxWaitMs: 0,
        topics: [
          newFetchTopic({
            ...(version >= 13 ? { topicId } : { topic }),
            partitions: [newFetchPartition({ partitionMaxBytes: 1000 }), newFetchPartition({ partition: 1, fetchOffset: 99n })],
          }),
        ],
      }),
  ],
  [
    2,
    (_version, name) =>
      newListOffsetsRequest({
        topics: [
          newListOffsetsTopic({
            name,
            partitions: [newListOffsetsPartition({ timestamp: -1n }), newListOffsetsPartition({ partitionIndex: 9, timestamp: -2n })],
          }),
        ],
      }),
  ],
  [3, (_version, name) => newMetadataRequest({ topics: [newMetadataRequestTopic({ name })] })],
  [
    8,
    (version, name, topicId) =>
      newOffsetCommitRequest({
        groupId: "g",
        memberId: "",
        generationIdOrMemberEpoch: -1,
        topics: [
          newOffsetCommitRequestTopic({
            ...(version >= 10 ? { topicId } : { name }),
            partitions: [newOffsetCommitRequestPartition({ committedOffset: 3n }), newOffsetCommitRequestPartition({ partitionIndex: 9 })],
          }),
        ],
      }),
  ],
  [
    9,
    (version, name, topicId) =>
      version < 8
        ? newOffsetFetchRequest({ groupId: "g", topics: [newOffsetFetchRequestTopic({ name, partitionIndexes: [0, 9] })] })
        : newOffsetFetchRequest({
            groups: [
              newOffsetFetchRequestGroup({
                groupId: "g",
                topics: [newOffsetFetchRequestTopics({ ...(version >= 10 ? { topicId } : { name }), partitionIndexes: [0, 9] })],
              }),
              newOffsetFetchRequestGroup({ groupId: "other", topics: null }),
            ],
          }),
  ],
  [10, (version) => newFindCoordinatorRequest(version < 4 ? { key: "g" } : { coordinatorKeys: ["g", ""] })],
  [
    // A session timeout out of bounds is answered at once; nobody waits for a rebalance here.
    11,
    () =>
      newJoinGroupRequest({
        groupId: "g",
        sessionTimeoutMs: 1,
        protocolType: "consumer",
        protocols: [newJoinGroupRequestProtocol({ name: "range" })],
      }),
  ],
  [12, () => newHeartbeatRequest({ groupId: "g", generationId: 1, memberId: "m" })],
  [
    13,
    (version) =>
      newLeaveGroupRequest(
        version < 3 ? { groupId: "g", memberId: "m" } : { groupId: "g", members: [newMemberIdentity({ memberId: "m" })] },
      ),
  ],
  [14, () => newSyncGroupRequest({ groupId: "g", generationId: 1, memberId: "m" })],
  [15, () => newDescribeGroupsRequest({ groups: ["g", ""] })],
  [16, (version) => newListGroupsRequest(version >= 4 ? { statesFilter: ["Stable"] } : {})],
  [18, () => newApiVersionsRequest({ clientSoftwareName: "a", clientSoftwareVersion: "1" })],
  [
    19,
    (version, name) =>
      newCreateTopicsRequest({
        topics: [
          newCreatableTopic({ name: `${name}-${version}`, numPartitions: 1, replicationFactor: 3 }),
          newCreatableTopic({ name: "a/b", numPartitions: 1, replicationFactor: 1 }),
        ],
      }),
  ],
  [
    20,
    (version, name) =>
      version >= 6
        ? newDeleteTopicsRequest({ topics: [newDeleteTopicState({ topicId: UNKNOWN_ID }), newDeleteTopicState({ name: `x${name}` })] })
        : newDeleteTopicsRequest({ topicNames: [`x${name}`] }),
  ],
  [22, (version) => newInitProducerIdRequest({ transactionalId: version % 2 === 0 ? null : "tx" })],
  [
    23,
    (_version, topic) =>
      newOffsetForLeaderEpochRequest({
        topics: [
          newOffsetForLeaderTopic({ topic, partitions: [newOffsetForLeaderPartition({}), newOffsetForLeaderPartition({ partition: 7 })] }),
        ],
      }),
  ],
  [
    32,
    (_version, resourceName) =>
      newDescribeConfigsRequest({
        resources: [
          newDescribeConfigsResource({ resourceType: 2, resourceName }),
          newDescribeConfigsResource({ resourceType: 4, resourceName: "1" }),
          newDescribeConfigsResource({ resourceType: 9, resourceName: "?" }),
        ],
        includeSynonyms: true,
      }),
  ],
  [
    33,
    (_version, resourceName) =>
      newAlterConfigsRequest({
        resources: [
          newReplacedResource({ resourceType: 2, resourceName, configs: [newReplacingConfig({ name: "retention.ms", value: "1" })] }),
          newReplacedResource({ resourceType: 4, resourceName: "?" }),
        ],
      }),
  ],
  [
    37,
    (version, name) =>
      newCreatePartitionsRequest({
        topics: [
          newCreatePartitionsTopic({ name, count: 5 + version, assignments: null }),
          newCreatePartitionsTopic({ name: "?", count: 1, assignments: null }),
        ],
      }),
  ],
  [42, () => newDeleteGroupsRequest({ groupsNames: ["g", ""] })],
  [
    44,
    (_version, resourceName) =>
      newIncrementalAlterConfigsRequest({
        resources: [
          newAlterConfigsResource({ resourceType: 2, resourceName, configs: [newAlterableConfig({ name: "retention.ms", value: "1" })] }),
          newAlterConfigsResource({ resourceType: 4, resourceName: "?" }),
        ],
      }),
  ],
  [
    47,
    (_version, name) =>
      newOffsetDeleteRequest({
        groupId: "g",
        topics: [newOffsetDeleteRequestTopic({ name, partitions: [newOffsetDeleteRequestPartition({})] })],
      }),
  ],
  [
    57,
    (version) =>
      newUpdateFeaturesRequest({
        featureUpdates: [
          newFeatureUpdateKey({ feature: "group.version", maxVersionLevel: 1 }),
          ...(version === 1 ? [newFeatureUpdateKey({ feature: "nosuch.version", maxVersionLevel: 1 })] : []),
        ],
      }),
  ],
  [60, () => newDescribeClusterRequest({ includeClusterAuthorizedOperations: true })],
  [
    21,
    (_version, name) =>
      newDeleteRecordsRequest({
        timeoutMs: 1000,
        topics: [newDeleteRecordsTopic({ name, partitions: [newDeleteRecordsPartition({ partitionIndex: 0, offset: -1n })] })],
      }),
  ],
  [
    24,
    (version, name) => {
      const topics = [newAddPartitionsToTxnTopic({ name, partitions: [0] })];
      return version >= 4
        ? newAddPartitionsToTxnRequest({
            transactions: [newAddPartitionsToTxnTransaction({ transactionalId: "x", producerId: 5n, topics })],
          })
        : newAddPartitionsToTxnRequest({ v3AndBelowTransactionalId: "x", v3AndBelowProducerId: 5n, v3AndBelowTopics: topics });
    },
  ],
  [25, () => newAddOffsetsToTxnRequest({ transactionalId: "x", producerId: 5n, producerEpoch: 0, groupId: "g" })],
  [26, () => newEndTxnRequest({ transactionalId: "x", producerId: 5n, producerEpoch: 0, committed: true })],
  [
    27,
    (version, name) => {
      const topics = [newWritableTxnMarkerTopic({ name, partitionIndexes: [0] })];
      const transactionVersion = version >= 2 ? 2 : 0;
      return newWriteTxnMarkersRequest({ markers: [newWritableTxnMarker({ producerId: 5n, topics, transactionVersion })] });
    },
  ],
  [
    28,
    (version, name, topicId) => {
      const partitions = [newTxnOffsetCommitRequestPartition({ committedOffset: 1n })];
      const topics = [newTxnOffsetCommitRequestTopic(version >= 6 ? { topicId, partitions } : { name, partitions })];
      return newTxnOffsetCommitRequest({ transactionalId: "x", groupId: "g", producerId: 5n, topics });
    },
  ],
  [65, () => newDescribeTransactionsRequest({ transactionalIds: ["x", ""] })],
  [66, () => newListTransactionsRequest({ stateFilters: ["Ongoing", "no such state"], producerIdFilters: [5n] })],
  [61, (_version, name) => newDescribeProducersRequest({ topics: [newDescribeProducersTopic({ name, partitionIndexes: [0, 9] })] })],
  [
    68,
    (version, name) =>
      newConsumerGroupHeartbeatRequest({
        groupId: "c",
        memberId: "m",
        rebalanceTimeoutMs: 1000,
        subscribedTopicNames: [name],
        subscribedTopicRegex: version >= 1 ? "k.*" : null,
        topicPartitions: [],
      }),
  ],
  [69, () => newConsumerGroupDescribeRequest({ groupIds: ["c", ""], includeAuthorizedOperations: true })],
  [74, (version) => newListConfigResourcesRequest({ resourceTypes: version === 0 ? [] : [2, 4, 32] })],
  [75, (_version, name) => newDescribeTopicPartitionsRequest({ topics: [newTopicRequest({ name }), newTopicRequest({ name: "??" })] })],
]);

describe("every key and version that is served", () => {
  const { handlers } = new ApiHarness();
  test("has a request here", () => {
    expect([...handlers.keys()].sort((a, b) => a - b)).toEqual([...REQUESTS.keys()].sort((a, b) => a - b));
  });
  for (const [key, handler] of handlers) {
    for (let version = handler.minVersion; version <= handler.maxVersion; version++) {
      test(`${handler.api.name} v${version} can be coded, for what exists and what does not`, async () => {
        const api = new ApiHarness();
        const make = REQUESTS.get(key);
        const topic = api.metadata.addTopic("known", 2);
        for (const [name, id] of [
          ["known", topic.topicId],
          ["unknown", UNKNOWN_ID],
        ] as const) {
          expect(await api.callOverWire<object>(key, make?.(version, name, id), version)).toBeObject();
        }
      });
    }
  }
});
