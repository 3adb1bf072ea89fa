/** Requests about topics: CreateTopics, DeleteTopics, CreatePartitions, DescribeConfigs, Metadata, DescribeTopicPartitions, DescribeCluster, ApiVersions. */
import * as apiVersions from "../../../src/protocol/messages/api-versions.ts";
import * as createPartitions from "../../../src/protocol/messages/create-partitions.ts";
import * as createTopics from "../../../src/protocol/messages/create-topics.ts";
import * as deleteTopics from "../../../src/protocol/messages/delete-topics.ts";
import * as describeCluster from "../../../src/protocol/messages/describe-cluster.ts";
import * as describeConfigs from "../../../src/protocol/messages/describe-configs.ts";
import * as describeTopicPartitions from "../../../src/protocol/messages/describe-topic-partitions.ts";
import * as metadata from "../../../src/protocol/messages/metadata.ts";
import { ZERO_UUID } from "../../../src/protocol/reader.ts";
import type { Choice } from "./choice.ts";
import { consumerGroups } from "./consumer-model.ts";
import type { Model } from "./model.ts";
import { newStep, type Settle, type Step } from "./step.ts";

const timeoutMs = 30_000;
const goodConfigs: readonly Readonly<Record<string, string>>[] = [
  { "compression.type": "gzip" },
  { "compression.type": "zstd", "compression.zstd.level": "1" },
  { "compression.type": "lz4" },
  { "compression.type": "snappy" },
  { "compression.type": "uncompressed" },
  { "message.timestamp.type": "LogAppendTime" },
  { "max.message.bytes": "1000" },
  { "max.message.bytes": "300" },
  { "cleanup.policy": "compact" },
  { "cleanup.policy": "compact,delete", "min.cleanable.dirty.ratio": "0.9" },
  { "message.timestamp.before.max.ms": "86400000" },
  { "message.timestamp.after.max.ms": "100000" },
  { "retention.bytes": "1000000000", "segment.bytes": "1073741824" },
  { "min.insync.replicas": "1", "unclean.leader.election.enable": "true" },
  { "file.delete.delay.ms": "1000", "flush.messages": "1000" },
];

const badConfigs: readonly Readonly<Record<string, string | null>>[] = [
  { "cleanup.policy": "shred" },
  { "cleanup.policy": "" },
  { "compression.type": "brotli" },
  { "compression.gzip.level": "17" },
  { "compression.lz4.level": "0" },
  { "compression.zstd.level": "99" },
  { "max.message.bytes": "-1" },
  { "max.message.bytes": "many" },
  { "max.message.bytes": "3000000000" },
  { "max.message.bytes": null },
  { "message.timestamp.type": "Now" },
  { "min.cleanable.dirty.ratio": "1.5" },
  { "min.insync.replicas": "0" },
  { "no.such.setting": "1" },
  { preallocate: "perhaps" },
  { "retention.ms": "-2" },
  { "segment.bytes": "13" },
  { "segment.ms": "0" },
  { "remote.storage.enable": "true" },
  { "min.compaction.lag.ms": "100", "max.compaction.lag.ms": "10" },
  { "leader.replication.throttled.replicas": "zero" },
  { "unclean.leader.election.enable": "1" },
];

const configNames = [
  "cleanup.policy",
  "compression.type",
  "max.message.bytes",
  "message.timestamp.type",
  "retention.ms",
  "segment.bytes",
  "min.insync.replicas",
  "no.such.setting",
];

interface TopicWish {
  readonly name: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly assignments: readonly { readonly partitionIndex: number; readonly brokerIds: number[] }[];
  readonly configs: Readonly<Record<string, string | null>>;
}

function badName(model: Model, choice: Choice): string {
  return choice.pick([
    "",
    ".",
    "..",
    "no spaces here",
    "slash/slash",
    `${model.prefix}-${"x".repeat(250)}`,
    "ümlaut",
    "__consumer_offsets",
  ]);
}

function assignmentsOf(choice: Choice): TopicWish["assignments"] {
  if (choice.chance(0.93)) return [];
  return choice.pick([
    [{ partitionIndex: 0, brokerIds: [1] }],
    [
      { partitionIndex: 0, brokerIds: [1] },
      { partitionIndex: 1, brokerIds: [1] },
    ],
    [{ partitionIndex: 1, brokerIds: [1] }],
    [{ partitionIndex: 0, brokerIds: [] }],
    [{ partitionIndex: 0, brokerIds: [1, 1] }],
    [
      { partitionIndex: 0, brokerIds: [1] },
      { partitionIndex: 0, brokerIds: [1] },
    ],
    [{ partitionIndex: 0, brokerIds: [99] }],
  ]);
}

function wish(model: Model, choice: Choice): TopicWish {
  let name = model.next("t");
  if (choice.chance(0.1)) name = badName(model, choice);
  else if (choice.chance(0.08)) name = model.topicName(choice);
  else if (choice.chance(0.05) && model.topics[0] !== undefined) name = model.topics[0].name.replaceAll("-", "_").replace("_", ".");
  const assignments = assignmentsOf(choice);
  const usual = assignments.length === 0 || choice.chance(0.1);
  return {
    name,
    assignments,
    partitions: usual ? choice.mostly(choice.between(1, 3), [-1, 0, -2], 0.93) : -1,
    replicationFactor: usual ? choice.mostly(1, [-1, 0, -3], 0.93) : -1,
    configs: choice.weighted<() => Readonly<Record<string, string | null>>>([
      [5, () => ({})],
      [5, () => choice.pick(goodConfigs)],
      [2, () => choice.pick(badConfigs)],
      [0.7, () => ({ ...choice.pick(goodConfigs), ...choice.pick(goodConfigs) })],
    ])(),
  };
}

function toCreatable(topic: TopicWish) {
  return createTopics.newCreatableTopic({
    name: topic.name,
    numPartitions: topic.partitions,
    replicationFactor: topic.replicationFactor,
    assignments: topic.assignments.map((assignment) => createTopics.newCreatableReplicaAssignment({ ...assignment })),
    configs: Object.entries(topic.configs).map(([name, value]) => createTopics.newCreatableTopicConfig({ name, value })),
  });
}

function createStep(version: number, wishes: readonly TopicWish[], validateOnly: boolean): Step {
  const request = () => createTopics.newCreateTopicsRequest({ topics: wishes.map(toCreatable), timeoutMs, validateOnly });
  return newStep(createTopics, createTopics.createTopicsApi, version, request, {
    bind: (answer, bindings) => {
      if (!validateOnly) for (const topic of answer.topics) if (topic.errorCode === 0) bindings.bindTopic(topic.name, topic.topicId);
    },
    settle: (answer) =>
      answer.topics
        .filter((topic) => topic.errorCode === 0 && !validateOnly)
        .map((topic): Settle => {
          const made = wishes.find((one) => one.name === topic.name);
          const partitions = made === undefined ? 1 : made.assignments.length || Math.max(made.partitions, 1);
          return { kind: "topic", name: topic.name, partitions };
        }),
  });
}

function isSound(topic: TopicWish): boolean {
  const isNamed = /^[\w.-]{1,249}$/.test(topic.name) && topic.name !== "." && topic.name !== ".." && !topic.name.startsWith("__");
  return (
    isNamed && !badConfigs.includes(topic.configs) && topic.partitions !== 0 && topic.partitions !== -2 && topic.replicationFactor >= -1
  );
}

function remember(model: Model, topic: TopicWish): void {
  if (!isSound(topic) || topic.replicationFactor === 0 || model.topicOf(topic.name) !== undefined) return;
  const partitions = topic.assignments.length || Math.max(topic.partitions, 1);
  const configs = Object.fromEntries(Object.entries(topic.configs).filter((entry): entry is [string, string] => entry[1] !== null));
  model.topics.push({ name: topic.name, partitions, isDeleted: false, ends: Array<number>(partitions).fill(0), configs });
}

/** A topic that a sequence begins with. */
export function firstTopic(model: Model, choice: Choice): Step[] {
  const configs = choice.chance(0.6) ? {} : choice.pick(goodConfigs);
  const topic: TopicWish = { name: model.next("t"), partitions: choice.between(1, 3), replicationFactor: 1, assignments: [], configs };
  remember(model, topic);
  return [createStep(7, [topic], false)];
}

/** A topic that is gone comes again, as another. */
export function topicAgainSteps(model: Model, choice: Choice): Step[] {
  const gone = model.topics.find(({ name, isDeleted }) => isDeleted && model.topicOf(name) === undefined);
  if (gone === undefined) return firstTopic(model, choice);
  const topic: TopicWish = { name: gone.name, partitions: choice.between(1, 4), replicationFactor: 1, assignments: [], configs: {} };
  remember(model, topic);
  return [createStep(7, [topic], false)];
}

export function createTopicSteps(model: Model, choice: Choice): Step[] {
  const wishes = [wish(model, choice)];
  if (choice.chance(0.15)) wishes.push(choice.chance(0.3) ? { ...wish(model, choice), name: wishes[0]?.name ?? "" } : wish(model, choice));
  const validateOnly = choice.chance(0.2);
  const isAmbiguous = new Set(wishes.map((one) => one.name)).size < wishes.length;
  if (!validateOnly && !isAmbiguous) for (const one of wishes) remember(model, one);
  return [createStep(model.version(19, choice), wishes, validateOnly)];
}

export function deleteTopicSteps(model: Model, choice: Choice): Step[] {
  const names = [model.topicName(choice)];
  if (choice.chance(0.15)) names.push(choice.chance(0.4) ? (names[0] ?? "") : model.topicName(choice));
  const version = model.version(20, choice);
  const byId = version >= 6 && choice.chance(0.4);
  if (new Set(names).size === names.length) {
    for (const name of names) {
      const topic = model.topicOf(name);
      if (topic !== undefined) topic.isDeleted = true;
    }
  }
  return [deleteStep(model, version, names, byId)];
}

function deleteStep(model: Model, version: number, names: readonly string[], byId: boolean): Step {
  return newStep(
    deleteTopics,
    deleteTopics.deleteTopicsApi,
    version,
    (bindings) =>
      deleteTopics.newDeleteTopicsRequest({
        topics:
          version < 6
            ? []
            : names.map((name) => deleteTopics.newDeleteTopicState(byId ? { name: null, topicId: bindings.topicId(name) } : { name })),
        topicNames: version < 6 ? [...names] : [],
        timeoutMs,
      }),
    {
      settle: (answer) => {
        if (answer.responses.every((one) => one.errorCode !== 0)) return [];
        const groups = [...model.groups, ...consumerGroups(model)].map((group) => group.name);
        return names.flatMap((name): Settle[] => [
          { kind: "no-topic", name },
          ...(groups.length === 0 ? [] : [{ kind: "no-offsets", topic: name, groups } as const]),
        ]);
      },
    },
  );
}

/** Every topic of the sequence goes, so that the servers stay small. */
export function lastSteps(model: Model): Step[] {
  const names = model.liveTopics().map((topic) => topic.name);
  return names.length === 0 ? [] : [deleteStep(model, 5, names, false)];
}

export function createPartitionsSteps(model: Model, choice: Choice): Step[] {
  const name = model.topicName(choice);
  const topic = model.topicOf(name);
  const now = topic?.partitions ?? 1;
  const count = choice.mostly(Math.min(now + 1, 6), [now, now - 1, 0, -1, 20_000], 0.6);
  const validateOnly = choice.chance(0.2);
  const assignments = choice.chance(0.8)
    ? null
    : choice
        .pick([[[1]], [[1], [1]], [[99]], [[]]])
        .map((brokerIds) => createPartitions.newCreatePartitionsAssignment({ brokerIds: [...brokerIds] }));
  const isSound = count === now + 1 && (assignments === null || (assignments.length === 1 && assignments[0]?.brokerIds[0] === 1));
  if (topic !== undefined && !validateOnly && isSound) {
    topic.partitions = count;
    topic.ends.push(0);
  }
  const request = () =>
    createPartitions.newCreatePartitionsRequest({
      topics: [createPartitions.newCreatePartitionsTopic({ name, count, assignments })],
      timeoutMs,
      validateOnly,
    });
  return [
    newStep(createPartitions, createPartitions.createPartitionsApi, model.version(37, choice), request, {
      settle: (answer) => (answer.results[0]?.errorCode === 0 && !validateOnly ? [{ kind: "topic", name, partitions: count }] : []),
    }),
  ];
}

export function describeConfigsSteps(model: Model, choice: Choice): Step[] {
  const resourceName = choice.mostly(model.topicName(choice), ["", "no spaces here"], 0.97);
  const resourceType = choice.mostly(2, [0, 3], 0.97);
  const keys = choice.chance(0.5) ? null : [choice.pick(configNames), choice.pick(configNames)];
  const includeSynonyms = choice.chance(0.5);
  const includeDocumentation = choice.chance(0.3);
  const resource = () => describeConfigs.newDescribeConfigsResource({ resourceType, resourceName, configurationKeys: keys });
  const request = () => describeConfigs.newDescribeConfigsRequest({ resources: [resource()], includeSynonyms, includeDocumentation });
  return [newStep(describeConfigs, describeConfigs.describeConfigsApi, model.version(32, choice), request)];
}

export function metadataSteps(model: Model, choice: Choice): Step[] {
  const version = model.version(3, choice);
  const names = [model.topicName(choice)];
  if (choice.chance(0.3)) names.push(choice.mostly(model.topicName(choice), ["", "no spaces here", names[0] ?? ""], 0.7));
  const isAll = choice.chance(0.1);
  const byId = version >= 12 && choice.chance(0.4);
  const allowAutoTopicCreation = version < 4;
  const includeTopicAuthorizedOperations = choice.chance(0.3);
  const includeClusterAuthorizedOperations = choice.chance(0.3);
  // Versions below 4 make what they name; the sequence does not ask them for what is not there.
  const asked = version < 4 ? names.filter((name) => model.topicOf(name) !== undefined) : names;
  if (asked.length === 0 && version === 0) return [];
  return [
    newStep(
      metadata,
      metadata.metadataApi,
      version,
      (bindings) => {
        const topics = asked.map((name) =>
          metadata.newMetadataRequestTopic(byId ? { name: null, topicId: bindings.topicId(name) } : { name, topicId: ZERO_UUID }),
        );
        return metadata.newMetadataRequest({
          topics: isAll ? (version === 0 ? [] : null) : topics,
          allowAutoTopicCreation,
          includeTopicAuthorizedOperations,
          includeClusterAuthorizedOperations,
        });
      },
      {
        bind: (answer, bindings) => {
          for (const topic of answer.topics) if (topic.errorCode === 0) bindings.bindTopic(topic.name, topic.topicId);
        },
      },
    ),
  ];
}

export function describeTopicPartitionsSteps(model: Model, choice: Choice): Step[] {
  const names = [...new Set([model.topicName(choice), ...model.liveTopics().map((topic) => topic.name)])].slice(0, choice.between(1, 4));
  const limit = choice.mostly(2000, [1, 2, 0, -1], 0.5);
  const first = [...names].sort()[0] ?? "";
  const cursor = choice.chance(0.75)
    ? null
    : { topicName: choice.pick([first, names.at(-1) ?? ""]), partitionIndex: choice.pick([0, 1, 2, -1]) };
  const request = () =>
    describeTopicPartitions.newDescribeTopicPartitionsRequest({
      topics: names.map((name) => describeTopicPartitions.newTopicRequest({ name })),
      responsePartitionLimit: limit,
      cursor: cursor === null ? null : describeTopicPartitions.newDescribeTopicPartitionsRequestCursor(cursor),
    });
  return [newStep(describeTopicPartitions, describeTopicPartitions.describeTopicPartitionsApi, 0, request)];
}

export function describeClusterSteps(model: Model, choice: Choice): Step[] {
  const fields = { includeClusterAuthorizedOperations: choice.chance(0.5), endpointType: choice.mostly(1, [2, 0, 7], 0.8) };
  const request = () => describeCluster.newDescribeClusterRequest({ ...fields, includeFencedBrokers: false });
  return [newStep(describeCluster, describeCluster.describeClusterApi, model.version(60, choice), request)];
}

export function apiVersionsSteps(model: Model, choice: Choice): Step[] {
  const version = choice.mostly(model.version(18, choice), [6, 99], 0.9);
  const clientSoftwareName = choice.mostly("differential", ["", "-x", "a b", "x".repeat(300)], 0.85);
  const clientSoftwareVersion = choice.mostly("1.0", ["", "1.0-", "1_0"], 0.9);
  const cluster = choice.mostly(
    { clusterId: null, nodeId: -1 },
    [
      { clusterId: "another", nodeId: 1 },
      { clusterId: null, nodeId: 1 },
    ],
    0.8,
  );
  const request = () => apiVersions.newApiVersionsRequest({ clientSoftwareName, clientSoftwareVersion, ...cluster });
  return [newStep(apiVersions, apiVersions.apiVersionsApi, version, request)];
}

/** An API or version that nobody serves: the connection is closed. */
export function unservedSteps(model: Model, choice: Choice): Step[] {
  const header = choice.pick([
    { key: 0, version: 2 },
    { key: 0, version: 14 },
    { key: 1, version: 3 },
    { key: 1, version: 19 },
    { key: 3, version: 14 },
    { key: 4, version: 0 },
    { key: 7, version: 0 },
    { key: 999, version: 0 },
    { key: -1, version: 0 },
    { key: 19, version: 1 },
    { key: 22, version: 7 },
  ]);
  const request = () => metadata.newMetadataRequest({ topics: [] });
  return [{ ...newStep(metadata, metadata.metadataApi, model.version(3, choice, 4, 8), request), rawHeader: header }];
}
