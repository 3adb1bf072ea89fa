/** Answers in which the differential test found Weir apart from Apache Kafka 4.4. */
import { expect, test } from "bun:test";
import { TOPIC_OPERATIONS } from "../../../src/api/authorized-operations.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import {
  type ConsumerGroupHeartbeatRequest,
  type ConsumerGroupHeartbeatResponse,
  newConsumerGroupHeartbeatRequest,
} from "../../../src/protocol/messages/consumer-group-heartbeat.ts";
import {
  type DescribeConfigsResponse,
  newDescribeConfigsRequest,
  newDescribeConfigsResource,
} from "../../../src/protocol/messages/describe-configs.ts";
import {
  type DescribeProducersResponse,
  newDescribeProducersRequest,
  newTopicRequest as newProducersTopicRequest,
} from "../../../src/protocol/messages/describe-producers.ts";
import {
  type DescribeTopicPartitionsResponse,
  newDescribeTopicPartitionsRequest,
  newTopicRequest,
} from "../../../src/protocol/messages/describe-topic-partitions.ts";
import {
  type IncrementalAlterConfigsResponse,
  newAlterableConfig,
  newAlterConfigsResource,
  newIncrementalAlterConfigsRequest,
} from "../../../src/protocol/messages/incremental-alter-configs.ts";
import { type MetadataResponse, newMetadataRequest, newMetadataRequestTopic } from "../../../src/protocol/messages/metadata.ts";
import { ApiHarness } from "../support/api-harness.ts";

async function describeRetention(settings: Readonly<Record<string, string>>) {
  const api = new ApiHarness(settings);
  api.metadata.addTopic("t", 1);
  const resource = newDescribeConfigsResource({ resourceType: 2, resourceName: "t", configurationKeys: ["retention.ms"] });
  const request = newDescribeConfigsRequest({ resources: [resource], includeSynonyms: true });
  const answer = await api.callOverWire<DescribeConfigsResponse>(32, request, 4);
  return answer.results[0]?.configs[0]?.synonyms.map(({ name, value, source }) => `${name}=${value} (${source})`);
}

test("the synonyms of a topic's setting are all broker settings from the one in its unit on, what is set before what is standard", async () => {
  expect(await describeRetention({ "log.retention.ms": "5000", "log.retention.hours": "168" })).toEqual([
    "log.retention.ms=5000 (4)",
    "log.retention.hours=168 (4)",
    "log.retention.hours=168 (5)",
  ]);
  expect(await describeRetention({ "log.retention.hours": "2" })).toEqual([]);
});

test("an internal setting of groups is told where the broker sets its default", async () => {
  const name = "consumer.assignor.offload.enable";
  const resource = newDescribeConfigsResource({ resourceType: 32, resourceName: "g", configurationKeys: [name] });
  const ask = async (settings: Readonly<Record<string, string>>) => {
    const request = newDescribeConfigsRequest({ resources: [resource] });
    return (await new ApiHarness(settings).callOverWire<DescribeConfigsResponse>(32, request, 4)).results[0]?.configs;
  };
  expect(await ask({})).toEqual([]);
  expect(await ask({ [`group.${name}`]: "false" })).toMatchObject([{ name, value: "false" }]);
});

test("of a change to a group without a name, an operation that cannot be is told first", async () => {
  const api = new ApiHarness();
  const ask = async (configOperation: number) => {
    const configs = [newAlterableConfig({ name: "consumer.heartbeat.interval.ms", value: "6000", configOperation })];
    const resources = [newAlterConfigsResource({ resourceType: 32, resourceName: "", configs })];
    const request = newIncrementalAlterConfigsRequest({ resources });
    return (await api.callOverWire<IncrementalAlterConfigsResponse>(44, request, 1)).responses[0];
  };
  expect(await ask(0)).toMatchObject({ errorCode: ErrorCodes.INVALID_REQUEST, errorMessage: "Default group resources are not allowed." });
  expect((await ask(2))?.errorCode).toBe(ErrorCodes.INVALID_CONFIG);
});

test("a name is empty when Java would trim it to nothing: control characters go, a no-break space stays", async () => {
  const api = new ApiHarness();
  const ask = async (change: Partial<ConsumerGroupHeartbeatRequest>) => {
    const full = { groupId: "g", memberId: "m", rebalanceTimeoutMs: 1000, subscribedTopicNames: [], topicPartitions: [] };
    const request = newConsumerGroupHeartbeatRequest({ ...full, ...change });
    return (await api.callOverWire<ConsumerGroupHeartbeatResponse>(68, request, 1)).errorMessage;
  };
  expect(await ask({ memberId: "\u0000 \t" })).toBe("MemberId can't be empty.");
  expect(await ask({ rackId: "\u0007" })).toBe("RackId can't be empty.");
  expect(await ask({ instanceId: "\u00a0" })).toBeNull();
});

test("a refusal that would quote too long a name is an error without a message, and the connection goes on", async () => {
  const request = newConsumerGroupHeartbeatRequest({
    groupId: "g",
    memberId: "m",
    rebalanceTimeoutMs: 1000,
    subscribedTopicNames: [],
    topicPartitions: [],
    serverAssignor: "x".repeat(32_767),
  });
  const answer = await new ApiHarness().callOverWire<ConsumerGroupHeartbeatResponse>(68, request, 1);
  expect(answer).toMatchObject({ errorCode: ErrorCodes.UNKNOWN_SERVER_ERROR, errorMessage: null });
});

test("authorized operations are told of names that do not exist too, and not of unknown ids", async () => {
  const api = new ApiHarness();
  const ask = async (topic: ReturnType<typeof newMetadataRequestTopic>) => {
    const request = newMetadataRequest({ topics: [topic], allowAutoTopicCreation: false, includeTopicAuthorizedOperations: true });
    return (await api.callOverWire<MetadataResponse>(3, request, 13)).topics[0];
  };
  const unknown = await ask(newMetadataRequestTopic({ name: "nobody" }));
  expect(unknown).toMatchObject({ errorCode: ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION, topicAuthorizedOperations: TOPIC_OPERATIONS });
  const unknownId = await ask(newMetadataRequestTopic({ name: null, topicId: "AAAAAAAAAAAAAAAAAAAADg" }));
  expect(unknownId).toMatchObject({ errorCode: ErrorCodes.UNKNOWN_TOPIC_ID, topicAuthorizedOperations: -2147483648 });
});

test("what comes after the last partition that an answer has room for is left to the cursor, also a topic that does not exist", async () => {
  const api = new ApiHarness();
  api.metadata.addTopic("a", 1);
  api.metadata.addTopic("c", 1);
  const topics = ["c", "b", "a"].map((name) => newTopicRequest({ name }));
  const request = newDescribeTopicPartitionsRequest({ topics, responsePartitionLimit: 1 });
  const answer = await api.callOverWire<DescribeTopicPartitionsResponse>(75, request, 0);
  expect(answer.topics.map((topic) => topic.name)).toEqual(["a"]);
  expect(answer.nextCursor).toMatchObject({ topicName: "b", partitionIndex: 0 });
});

test("a cursor that cannot be is INVALID_REQUEST for every topic asked for, and the connection goes on", async () => {
  const api = new ApiHarness();
  api.metadata.addTopic("b", 2);
  const topics = ["b", "c"].map((name) => newTopicRequest({ name }));
  for (const cursor of [
    { topicName: "b", partitionIndex: -1 },
    { topicName: "d", partitionIndex: 0 },
  ]) {
    const answer = await api.callOverWire<DescribeTopicPartitionsResponse>(75, newDescribeTopicPartitionsRequest({ topics, cursor }), 0);
    expect(answer.topics.map((topic) => [topic.name, topic.errorCode])).toEqual([
      ["b", ErrorCodes.INVALID_REQUEST],
      ["c", ErrorCodes.INVALID_REQUEST],
    ]);
  }
});

test("DescribeProducers has a message for a topic that is not there, and none for a partition", async () => {
  const api = new ApiHarness();
  api.metadata.addTopic("t", 1);
  const topics = ["nobody", "t"].map((name) => newProducersTopicRequest({ name, partitionIndexes: [1] }));
  const answer = await api.callOverWire<DescribeProducersResponse>(61, newDescribeProducersRequest({ topics }), 0);
  const errorCode = ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION;
  expect(answer.topics[0]?.partitions[0]).toMatchObject({ errorCode, errorMessage: "This server does not host this topic-partition." });
  expect(answer.topics[1]?.partitions[0]).toMatchObject({ errorCode, errorMessage: null });
});
