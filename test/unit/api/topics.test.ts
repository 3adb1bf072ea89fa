import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import {
  type CreatePartitionsResponse,
  newCreatePartitionsRequest,
  newCreatePartitionsTopic,
} from "../../../src/protocol/messages/create-partitions.ts";
import {
  type CreatableTopic,
  type CreateTopicsResponse,
  newCreatableTopic,
  newCreatableTopicConfig,
  newCreateTopicsRequest,
} from "../../../src/protocol/messages/create-topics.ts";
import { type DeleteTopicsResponse, newDeleteTopicState, newDeleteTopicsRequest } from "../../../src/protocol/messages/delete-topics.ts";
import { ApiHarness } from "../support/api-harness.ts";

const unreachable = new Trouble({ code: "controller-unreachable", message: "no controller", retryable: true });

async function create(
  api: ApiHarness,
  topics: readonly Partial<CreatableTopic>[],
  validateOnly = false,
): Promise<CreateTopicsResponse["topics"]> {
  const made = topics.map((topic) => newCreatableTopic({ numPartitions: 1, replicationFactor: 1, ...topic }));
  const request = newCreateTopicsRequest({ topics: made, timeoutMs: 1000, validateOnly });
  return (await api.callOverWire<CreateTopicsResponse>(19, request, 7)).topics;
}

const config = (name: string, value: string | null) => ({ configs: [{ name, value }] });
const assigned = (...partitions: (readonly [number, number[]])[]) => ({
  numPartitions: -1,
  replicationFactor: -1,
  assignments: partitions.map(([partitionIndex, brokerIds]) => ({ partitionIndex, brokerIds })),
});

describe("CreateTopics", () => {
  test("any replication factor >= 1 or -1 is accepted and answered; defaults; configurations with their source", async () => {
    const api = new ApiHarness({ "num.partitions": "3", "log.retention.hours": "2" });
    for (const factor of [1, 3, 32767]) {
      const [topic] = await create(api, [{ name: `t${factor}`, replicationFactor: factor, numPartitions: 2 }]);
      expect(topic).toMatchObject({ errorCode: 0, errorMessage: null, replicationFactor: factor, numPartitions: 2 });
    }
    const [topic] = await create(api, [{ name: "d", numPartitions: -1, replicationFactor: -1, ...config("cleanup.policy", "compact") }]);
    expect(topic).toMatchObject({ errorCode: 0, numPartitions: 3, replicationFactor: 1, topicId: api.metadata.topics.get("d")?.topicId });
    expect(topic?.configs).toHaveLength(37);
    expect(topic?.configs?.find((one) => one.name === "cleanup.policy")).toMatchObject({ value: "compact", configSource: 1 });
    expect(topic?.configs?.find((one) => one.name === "retention.ms")).toMatchObject({ value: "7200000" });
  });

  // Codes and messages were compared with Apache Kafka 4.4.0 over the wire.
  const cases: readonly [string, Partial<CreatableTopic>, number, string][] = [
    ["empty name", { name: "" }, 17, "Topic name is invalid: the empty string is not allowed"],
    ["dot", { name: "." }, 17, "Topic name is invalid: '.' is not allowed"],
    [
      "characters",
      { name: "a/b" },
      17,
      "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
    ],
    [
      "length",
      { name: "x".repeat(250) },
      17,
      `Topic name is invalid: the length of '${"x".repeat(250)}' is longer than the max allowed length 249`,
    ],
    ["exists", { name: "old" }, 36, "Topic 'old' already exists."],
    ["collides", { name: "a_b" }, 17, "Topic 'a_b' collides with existing topic: a.b"],
    ["0 partitions", { numPartitions: 0 }, 37, "Number of partitions was set to an invalid non-positive value."],
    ["-2^31 partitions", { numPartitions: -(2 ** 31) }, 37, "Number of partitions was set to an invalid non-positive value."],
    ["2^31-1 partitions", { numPartitions: 2 ** 31 - 1 }, 44, "Excessively large number of partitions per request."],
    ["factor 0", { replicationFactor: 0 }, 38, "Replication factor must be larger than 0, or -1 to use the default value."],
    ["factor -2", { replicationFactor: -2 }, 38, "Replication factor must be larger than 0, or -1 to use the default value."],
    ["unknown broker", assigned([0, [9]]), 39, "The manual partition assignment includes broker 9, but no such broker is registered."],
    ["gap", assigned([1, [1]]), 39, "partitions should be a consecutive 0-based integer sequence"],
    ["twice", assigned([0, [1, 1]]), 39, "The manual partition assignment includes the broker 1 more than once."],
    ["no replicas", assigned([0, []]), 39, "The manual partition assignment includes an empty replica list."],
    [
      "with count",
      { ...assigned([0, [1]]), numPartitions: 1 },
      42,
      "A manual partition assignment was specified, but numPartitions was not set to -1.",
    ],
    ["unknown config", config("nope", "1"), 40, "Unknown topic config name: nope"],
    ["null config", config("retention.ms", null), 40, "Null value not supported for topic configs: retention.ms"],
    ["no number", config("retention.ms", "abc"), 40, "Invalid value abc for configuration retention.ms: Not a number of type LONG"],
    ["too small", config("retention.ms", "-5"), 40, "Invalid value -5 for configuration retention.ms: Value must be at least -1"],
    [
      "too large",
      config("min.cleanable.dirty.ratio", "1.5"),
      40,
      "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
    ],
    [
      "beyond int",
      config("max.message.bytes", "99999999999"),
      40,
      "Invalid value 99999999999 for configuration max.message.bytes: Not a number of type INT",
    ],
    [
      "policy",
      config("cleanup.policy", "foo"),
      40,
      "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
    ],
    [
      "boolean",
      config("preallocate", "yes"),
      40,
      "Invalid value yes for configuration preallocate: Expected value to be either true or false",
    ],
    [
      "gzip level",
      config("compression.gzip.level", "0"),
      40,
      "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
    ],
    [
      "tiered",
      config("remote.storage.enable", "true"),
      40,
      "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
    ],
    ["metadata topic", { name: "__cluster_metadata" }, 42, "Creation of internal topic __cluster_metadata is prohibited."],
  ];
  for (const [name, topic, code, message] of cases) {
    test(`${name}: ${code}`, async () => {
      const api = new ApiHarness();
      api.metadata.addTopic("old");
      api.metadata.addTopic("a.b");
      const [answer] = await create(api, [{ name: "new", ...topic }]);
      expect(answer).toMatchObject({ errorCode: code, errorMessage: message, numPartitions: -1, replicationFactor: -1, configs: [] });
      expect(api.metadata.topics.size).toBe(2);
    });
  }

  test("validateOnly creates nothing; a name given twice is refused once; an unreachable controller is a timeout", async () => {
    const api = new ApiHarness();
    expect(await create(api, [{ name: "v" }], true)).toMatchObject([{ errorCode: 0, numPartitions: 1 }]);
    expect(api.metadata.topics.size).toBe(0);
    expect(await create(api, [{ name: "d" }, { name: "d" }, { name: "e" }])).toMatchObject([
      { name: "d", errorCode: ErrorCodes.INVALID_REQUEST, errorMessage: "Duplicate topic name." },
      { name: "e", errorCode: 0 },
    ]);
    api.metadata.failure = unreachable;
    expect(await create(api, [{ name: "f" }])).toMatchObject([{ errorCode: ErrorCodes.REQUEST_TIMED_OUT }]);
  });
});

describe("DeleteTopics", () => {
  test("by name and by id, once each; a topic made again has another id, and its old log is closed", async () => {
    const api = new ApiHarness();
    const one = api.metadata.addTopic("one");
    const two = api.metadata.addTopic("two");
    await api.partitions.open(one.topicId, 0);
    const topics = [newDeleteTopicState({ name: "one" }), newDeleteTopicState({ topicId: two.topicId })];
    const { responses } = await api.callOverWire<DeleteTopicsResponse>(20, newDeleteTopicsRequest({ topics, timeoutMs: 1000 }), 6);
    expect(responses.map((answer) => [answer.name, answer.errorCode])).toEqual([
      ["one", 0],
      ["two", 0],
    ]);
    expect(api.partitions.find(one.topicId, 0)).toBe("unknown-partition");
    expect(api.storage.streams.size).toBe(0);
    expect(api.metadata.addTopic("one").topicId).not.toBe(one.topicId);
  });

  test("what is wrong is told in Kafka's words", async () => {
    const api = new ApiHarness();
    const { topicId } = api.metadata.addTopic("t");
    const ask = async (...topics: { name?: string | null; topicId?: string }[]) => {
      const request = newDeleteTopicsRequest({ topics: topics.map((topic) => newDeleteTopicState(topic)), timeoutMs: 1000 });
      const { responses } = await api.callOverWire<DeleteTopicsResponse>(20, request, 6);
      return responses.map((answer) => [answer.errorCode, answer.errorMessage]);
    };
    expect(await ask({ name: "nope" })).toEqual([[3, "This server does not host this topic-partition."]]);
    expect(await ask({})).toEqual([[42, "Neither topic name nor id were specified."]]);
    expect(await ask({ topicId: "CQkJCQkJCQkJCQkJCQkJCQ" })).toEqual([[100, "This server does not host this topic ID."]]);
    expect(await ask({ name: "t", topicId })).toEqual([[42, "You may not specify both topic name and topic id."]]);
    expect(await ask({ name: "t" }, { name: "t" })).toEqual([[42, "Duplicate topic name."]]);
    expect(await ask({ topicId }, { name: "t" })).toEqual([[42, "The provided topic name maps to an ID that was already supplied."]]);
    expect(api.metadata.topics.size).toBe(1);
    const disabled = new ApiHarness({ "delete.topic.enable": "false" });
    const request = newDeleteTopicsRequest({ topicNames: ["t"], timeoutMs: 1000 });
    expect((await disabled.callOverWire<DeleteTopicsResponse>(20, request, 5)).responses[0]?.errorCode).toBe(
      ErrorCodes.TOPIC_DELETION_DISABLED,
    );
    expect((await disabled.callOverWire<DeleteTopicsResponse>(20, request, 2)).responses[0]?.errorCode).toBe(ErrorCodes.INVALID_REQUEST);
  });
});

test("a request that would make more than 10,000 partitions is refused whole, whichever topics they are of", async () => {
  const api = new ApiHarness();
  api.metadata.addTopic("grown", 2);
  api.metadata.addTopic("other", 2);
  const topics = [
    newCreatableTopic({ name: "a", numPartitions: 6000, replicationFactor: 1 }),
    newCreatableTopic({ name: "b", numPartitions: 4001, replicationFactor: 1 }),
  ];
  const created = await api.callOverWire<CreateTopicsResponse>(19, newCreateTopicsRequest({ topics, timeoutMs: 1000 }), 7);
  const makes = "Excessively large number of partitions per request.";
  expect(created.topics.map(({ name, errorCode, errorMessage }) => [name, errorCode, errorMessage])).toEqual([
    ["a", ErrorCodes.POLICY_VIOLATION, makes],
    ["b", ErrorCodes.POLICY_VIOLATION, makes],
  ]);
  const growing = ["grown", "other", "absent"].map((name, index) =>
    newCreatePartitionsTopic({ name, count: [5002, 5003, 9000][index] ?? 0 }),
  );
  const grown = await api.callOverWire<CreatePartitionsResponse>(37, newCreatePartitionsRequest({ topics: growing, timeoutMs: 1000 }), 3);
  const adds = "Excessively large number of additional partitions per request.";
  expect(grown.results.map(({ name, errorMessage }) => [name, errorMessage])).toEqual(growing.map(({ name }) => [name, adds]));
  expect(api.metadata.topics.size).toBe(2);
});

test("CreateTopics tells a configuration as it was said, and of a default where the broker has it from", async () => {
  const api = new ApiHarness({ "log.retention.hours": "24" });
  const configs = [newCreatableTopicConfig({ name: "min.cleanable.dirty.ratio", value: ".25" })];
  const topic = newCreatableTopic({ name: "a", numPartitions: 1, replicationFactor: 1, configs });
  const request = newCreateTopicsRequest({ topics: [topic], timeoutMs: 1000 });
  const described = (await api.callOverWire<CreateTopicsResponse>(19, request, 7)).topics[0]?.configs ?? [];
  const found = new Map(described.map(({ name, value, configSource }) => [name, [value, configSource]]));
  expect(found.get("min.cleanable.dirty.ratio")).toEqual([".25", 1]);
  expect(found.get("retention.ms")).toEqual(["86400000", 4]);
  expect(found.get("flush.ms")).toEqual(["9223372036854775807", 5]);
});

describe("CreatePartitions", () => {
  const cases: readonly [number, number[][] | null, number, string | null][] = [
    [3, null, 0, null],
    [2, null, 37, "Topic already has 2 partition(s)."],
    [1, null, 37, "The topic t currently has 2 partition(s); 1 would not be an increase."],
    [-(2 ** 31), null, 37, "The topic t currently has 2 partition(s); -2147483648 would not be an increase."],
    [2 ** 31 - 1, null, 44, "Excessively large number of additional partitions per request."],
    [4, [[1]], 39, "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."],
    [3, [[7]], 39, "The manual partition assignment includes broker 7, but no such broker is registered."],
    [3, [[1]], 0, null],
  ];
  for (const [count, brokers, errorCode, errorMessage] of cases) {
    test(`to ${count} with ${JSON.stringify(brokers)}: ${errorCode}`, async () => {
      const api = new ApiHarness();
      api.metadata.addTopic("t", 2);
      const assignments = brokers === null ? null : brokers.map((brokerIds) => ({ brokerIds }));
      for (const validateOnly of [true, false]) {
        const request = newCreatePartitionsRequest({
          topics: [newCreatePartitionsTopic({ name: "t", count, assignments })],
          validateOnly,
          timeoutMs: 1000,
        });
        const { results } = await api.callOverWire<CreatePartitionsResponse>(37, request, 3);
        expect(results).toEqual([{ name: "t", errorCode, errorMessage }]);
        expect(api.metadata.topics.get("t")?.partitionCount).toBe(!validateOnly && errorCode === 0 ? count : 2);
      }
    });
  }
});
