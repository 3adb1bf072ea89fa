import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import { type ApiVersionsResponse, newApiVersionsRequest } from "../../../src/protocol/messages/api-versions.ts";
import { type DescribeClusterResponse, newDescribeClusterRequest } from "../../../src/protocol/messages/describe-cluster.ts";
import {
  type DescribeConfigsResponse,
  newDescribeConfigsRequest,
  newDescribeConfigsResource,
} from "../../../src/protocol/messages/describe-configs.ts";
import {
  type DescribeTopicPartitionsResponse,
  newDescribeTopicPartitionsRequest,
} from "../../../src/protocol/messages/describe-topic-partitions.ts";
import { type InitProducerIdResponse, newInitProducerIdRequest } from "../../../src/protocol/messages/init-producer-id.ts";
import {
  type MetadataRequest,
  type MetadataResponse,
  newMetadataRequest,
  newMetadataRequestTopic,
} from "../../../src/protocol/messages/metadata.ts";
import { ApiHarness } from "../support/api-harness.ts";

async function metadata(api: ApiHarness, fields: Partial<MetadataRequest>, version = 13): Promise<MetadataResponse> {
  return api.callOverWire<MetadataResponse>(3, newMetadataRequest({ allowAutoTopicCreation: version < 4, ...fields }), version);
}

const named = (...names: string[]) => names.map((name) => newMetadataRequestTopic({ name }));
const names = (response: MetadataResponse) => response.topics.map((topic) => topic.name);

describe("Metadata", () => {
  test("null means all, empty means none, and in v0 empty means all", async () => {
    const api = new ApiHarness();
    api.metadata.addTopic("a");
    api.metadata.addTopic("b");
    expect(names(await metadata(api, { topics: null }))).toEqual(["a", "b"]);
    expect(names(await metadata(api, { topics: [] }))).toEqual([]);
    expect(names(await metadata(api, { topics: [] }, 1))).toEqual([]);
    expect(names(await metadata(api, { topics: [] }, 0))).toEqual(["a", "b"]);
  });

  test("one replica, in sync, whatever was asked for; a controller; the cluster's id", async () => {
    const api = new ApiHarness();
    api.metadata.addTopic("t", 2, {}, 3);
    const response = await metadata(api, { topics: named("t") });
    expect(response).toMatchObject({
      controllerId: 1,
      clusterId: api.metadata.clusterId,
      brokers: [{ nodeId: 1, host: "127.0.0.1", port: 9092 }],
    });
    expect(response.topics[0]?.partitions).toMatchObject(
      [0, 1].map((partitionIndex) => ({ partitionIndex, leaderId: 1, replicaNodes: [1], isrNodes: [1], offlineReplicas: [] })),
    );
    const { topicId } = api.metadata.topics.get("t") ?? { topicId: "" };
    api.metadata.setPartition(topicId, 1, { ownerNodeId: -1, term: 4 });
    const without = (await metadata(api, { topics: [newMetadataRequestTopic({ topicId, name: null })] })).topics[0]?.partitions[1];
    expect(without).toMatchObject({ errorCode: ErrorCodes.LEADER_NOT_AVAILABLE, leaderId: -1, leaderEpoch: 4 });
  });

  test("unknown and wrong names and ids", async () => {
    const api = new ApiHarness();
    const answers = (await metadata(api, { topics: named("nope", "a/b") })).topics.map((topic) => [topic.name, topic.errorCode]);
    expect(answers).toEqual([
      ["nope", ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION],
      ["a/b", ErrorCodes.INVALID_TOPIC_EXCEPTION],
    ]);
    const byId = [newMetadataRequestTopic({ topicId: "CQkJCQkJCQkJCQkJCQkJCQ", name: null })];
    expect((await metadata(api, { topics: byId })).topics).toMatchObject([{ name: null, errorCode: ErrorCodes.UNKNOWN_TOPIC_ID }]);
    expect((await metadata(api, { topics: byId }, 10)).topics).toMatchObject([{ name: "", errorCode: ErrorCodes.INVALID_REQUEST }]);
  });

  test("auto creation needs broker and request, is answered ready, and never makes wrong or internal names", async () => {
    const api = new ApiHarness({ "num.partitions": "2" });
    const ready = (await metadata(api, { topics: named("new", "a/b", "__consumer_offsets"), allowAutoTopicCreation: true })).topics;
    expect(ready.map((topic) => [topic.errorCode, topic.partitions.length])).toEqual([
      [0, 2],
      [ErrorCodes.INVALID_TOPIC_EXCEPTION, 0],
      [ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION, 0],
    ]);
    expect(ready[0]?.partitions[0]).toMatchObject({ errorCode: 0, leaderId: 1 });
    await metadata(api, { topics: named("unasked"), allowAutoTopicCreation: false });
    const off = new ApiHarness({ "auto.create.topics.enable": "false" });
    await metadata(off, { topics: named("new"), allowAutoTopicCreation: true });
    expect([...api.metadata.topics.keys(), ...off.metadata.topics.keys()]).toEqual(["new"]);
    api.metadata.failure = new Trouble({ code: "controller-unreachable", message: "no controller", retryable: true });
    const failed = await metadata(api, { topics: named("other"), allowAutoTopicCreation: true });
    expect(failed.topics[0]?.errorCode).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
  });

  test("authorised operations as Kafka's without an authoriser", async () => {
    const api = new ApiHarness();
    api.metadata.addTopic("t");
    const asked = { topics: named("t"), includeTopicAuthorizedOperations: true, includeClusterAuthorizedOperations: true };
    const response = await metadata(api, asked, 10);
    expect([response.topics[0]?.topicAuthorizedOperations, response.clusterAuthorizedOperations]).toEqual([3576, 8096]);
    expect((await metadata(api, { topics: named("t") })).topics[0]?.topicAuthorizedOperations).toBe(-(2 ** 31));
  });
});

describe("ApiVersions", () => {
  const call = (api: ApiHarness, fields: object, version: number) =>
    api.callOverWire<ApiVersionsResponse>(
      18,
      newApiVersionsRequest({ clientSoftwareName: "kit", clientSoftwareVersion: "1.0", ...fields }),
      version,
    );

  test("v0 to v5 list what is served, Produce from 0", async () => {
    const api = new ApiHarness();
    for (let version = 0; version <= 5; version++) {
      const request = version < 3 ? { clientSoftwareName: "", clientSoftwareVersion: "" } : {};
      const response = await call(api, request, version);
      expect(response.apiKeys.map((one) => one.apiKey)).toEqual([...api.handlers.keys()].sort((a, b) => a - b));
      expect(response.apiKeys[0]).toMatchObject({ apiKey: 0, minVersion: 0, maxVersion: 13 });
      expect(response.finalizedFeatures.map((feature) => feature.name)).toEqual(version >= 3 ? ["metadata.version", "group.version"] : []);
    }
    expect(api.connection).toMatchObject({ clientSoftwareName: "kit", clientSoftwareVersion: "1.0" });
  });

  test("a version that is not served gets UNSUPPORTED_VERSION and the range", async () => {
    const api = new ApiHarness();
    const response = await api.call<ApiVersionsResponse>(18, newApiVersionsRequest(), 6);
    expect(response).toMatchObject({ errorCode: ErrorCodes.UNSUPPORTED_VERSION, apiKeys: [{ apiKey: 18, minVersion: 0, maxVersion: 5 }] });
  });

  test("software names as Kafka checks them", async () => {
    const api = new ApiHarness();
    for (const name of ["", "a b", "-a", "a-", "ä"])
      expect((await call(api, { clientSoftwareName: name }, 3)).errorCode).toBe(ErrorCodes.INVALID_REQUEST);
    for (const name of ["a", "a-b.c", "9"]) expect((await call(api, { clientSoftwareVersion: name }, 3)).errorCode).toBe(0);
  });

  test("v5: another cluster or node is told to bootstrap again; half an identity is refused", async () => {
    const api = new ApiHarness();
    const { clusterId } = api.metadata;
    expect((await call(api, { clusterId, nodeId: 1 }, 5)).errorCode).toBe(0);
    expect((await call(api, { clusterId: "other", nodeId: 1 }, 5)).errorCode).toBe(ErrorCodes.REBOOTSTRAP_REQUIRED);
    expect((await call(api, { clusterId, nodeId: 2 }, 5)).errorCode).toBe(ErrorCodes.REBOOTSTRAP_REQUIRED);
    expect((await call(api, { clusterId, nodeId: -1 }, 5)).errorCode).toBe(ErrorCodes.INVALID_REQUEST);
    expect((await call(api, { clusterId: null, nodeId: 1 }, 5)).errorCode).toBe(ErrorCodes.INVALID_REQUEST);
  });
});

describe("the rest of the cluster's face", () => {
  test("InitProducerId: fresh ids with epoch 0; an id without an epoch, or the other way round, is no request", async () => {
    const api = new ApiHarness();
    const call = (fields: object) =>
      api.callOverWire<InitProducerIdResponse>(22, newInitProducerIdRequest({ transactionalId: null, ...fields }), 5);
    expect([await call({}), await call({ producerId: 5n, producerEpoch: 3 })]).toMatchObject([
      { errorCode: 0, producerId: 1000n, producerEpoch: 0 },
      { errorCode: 0, producerId: 1001n, producerEpoch: 0 },
    ]);
    for (const fields of [{ producerId: 5n }, { producerEpoch: 1 }, { transactionalId: "tx", producerEpoch: 1 }]) {
      expect(await call(fields)).toMatchObject({ errorCode: ErrorCodes.INVALID_REQUEST, producerId: -1n, producerEpoch: -1 });
    }
    api.metadata.failure = new Trouble({ code: "controller-unreachable", message: "no controller", retryable: true });
    expect((await call({})).errorCode).toBe(ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS);
  });

  test("DescribeCluster: fenced brokers only when wanted, no controller endpoints", async () => {
    const api = new ApiHarness();
    const [own] = api.metadata.brokers;
    if (own === undefined) throw new Error("no broker");
    api.metadata.brokers = [own, { ...own, nodeId: 2, isFenced: true, rack: "b" }];
    const call = (fields: object, version = 2) => api.callOverWire<DescribeClusterResponse>(60, newDescribeClusterRequest(fields), version);
    expect((await call({})).brokers.map((broker) => broker.brokerId)).toEqual([1]);
    expect((await call({ includeFencedBrokers: true })).brokers).toMatchObject([
      { brokerId: 1 },
      { brokerId: 2, isFenced: true, rack: "b" },
    ]);
    expect((await call({ endpointType: 2 })).errorCode).toBe(ErrorCodes.MISMATCHED_ENDPOINT_TYPE);
    expect((await call({ endpointType: 9 })).errorCode).toBe(ErrorCodes.UNSUPPORTED_ENDPOINT_TYPE);
  });

  test("DescribeTopicPartitions: pages by cursor, in order of name", async () => {
    const api = new ApiHarness({ "max.request.partition.size.limit": "3" });
    for (const [name, count] of [
      ["b", 2],
      ["a", 4],
    ] as const) {
      api.metadata.addTopic(name, count);
    }
    const pages: (readonly [string | null, number[]])[][] = [];
    let cursor: DescribeTopicPartitionsResponse["nextCursor"] = null;
    do {
      const response: DescribeTopicPartitionsResponse = await api.callOverWire(
        75,
        newDescribeTopicPartitionsRequest({ cursor, responsePartitionLimit: 2000 }),
        0,
      );
      pages.push(response.topics.map((topic) => [topic.name, topic.partitions.map((one) => one.partitionIndex)]));
      cursor = response.nextCursor;
    } while (cursor !== null);
    expect(pages).toEqual([
      [["a", [0, 1, 2]]],
      [
        ["a", [3]],
        ["b", [0, 1]],
      ],
    ]);
  });

  test("DescribeConfigs: sources and synonyms of topics and of this broker", async () => {
    const api = new ApiHarness({ "log.retention.ms": "60000" });
    api.metadata.addTopic("t", 1, { "cleanup.policy": "compact" });
    const describeOne = async (resourceType: number, resourceName: string, configurationKeys: string[] | null = null) => {
      const resources = [newDescribeConfigsResource({ resourceType, resourceName, configurationKeys })];
      const request = newDescribeConfigsRequest({ resources, includeSynonyms: true, includeDocumentation: true });
      return (await api.callOverWire<DescribeConfigsResponse>(32, request, 4)).results[0];
    };
    const topic = await describeOne(2, "t", ["cleanup.policy", "retention.ms", "flush.ms"]);
    expect(topic?.configs).toMatchObject([
      {
        name: "cleanup.policy",
        value: "compact",
        configSource: 1,
        configType: 7,
        synonyms: [
          { name: "cleanup.policy", value: "compact", source: 1 },
          { name: "log.cleanup.policy", value: "delete", source: 5 },
        ],
      },
      { name: "flush.ms", value: "9223372036854775807", configSource: 5, synonyms: [] },
      {
        name: "retention.ms",
        value: "60000",
        configSource: 4,
        synonyms: [
          { name: "log.retention.ms", value: "60000", source: 4 },
          { name: "log.retention.hours", value: "168", source: 5 },
        ],
      },
    ]);
    expect(topic?.configs[0]?.documentation).toContain("compact");
    expect((await describeOne(2, "t", []))?.configs).toHaveLength(37);
    const broker = await describeOne(4, "1", ["log.retention.ms", "ssl.keystore.password", "num.partitions"]);
    expect(broker?.configs.map((one) => [one.name, one.value, one.isSensitive])).toEqual([
      ["log.retention.ms", "60000", false],
      ["num.partitions", "1", false],
      ["ssl.keystore.password", null, true],
    ]);
    const errors = await Promise.all([
      describeOne(2, "nope"),
      describeOne(2, "a/b"),
      describeOne(4, "9"),
      describeOne(4, "x"),
      describeOne(99, "x"),
    ]);
    expect(errors.map((one) => one?.errorCode)).toEqual([3, 17, 42, 42, 42]);
    expect(errors[2]?.errorMessage).toBe("Unexpected broker id, expected 1 or empty string, but received 9");
  });
});
