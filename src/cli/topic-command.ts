/** `weir topic list|create|describe|delete|add-partitions`. */
import { Trouble } from "../base/trouble.ts";
import { expectNone } from "../client/client-troubles.ts";
import { EARLIEST, LATEST, readOffsets } from "../client/consumer.ts";
import { createPartitionsApi, newCreatePartitionsRequest, newCreatePartitionsTopic } from "../protocol/messages/create-partitions.ts";
import { createTopicsApi, newCreatableTopic, newCreatableTopicConfig, newCreateTopicsRequest } from "../protocol/messages/create-topics.ts";
import { deleteTopicsApi, newDeleteTopicState, newDeleteTopicsRequest } from "../protocol/messages/delete-topics.ts";
import type { BrokerSession } from "./broker-session.ts";
import { renderFields, renderJson, renderTable } from "./output.ts";

const TIMEOUT_MS = 30_000;
/** Version 7 answers with the topic's id and partitions; 6 names topics as objects. */
const CREATE_TOPICS_MIN_VERSION = 2;
const DELETE_TOPICS_NAMED_STATES = 6;

export async function listTopics({ client, output, print }: BrokerSession, showInternal: boolean): Promise<number> {
  const all = await client.retrying(() => client.topics(null));
  const topics = all.filter((topic) => showInternal || !topic.isInternal).sort((left, right) => (left.name < right.name ? -1 : 1));
  const rows = topics.map((topic) => ({ name: topic.name, partitions: topic.partitions.length, topicId: topic.topicId }));
  await print(
    output === "json"
      ? renderJson(rows)
      : renderTable(
          ["topic", "partitions", "id"],
          rows.map((row) => [row.name, row.partitions, row.topicId]),
        ),
  );
  return 0;
}

export interface CreateTopicArguments {
  readonly name: string;
  /** undefined: the broker's default. */
  readonly partitions: number | undefined;
  readonly replicationFactor: number | undefined;
  /** "KEY=VALUE" each. */
  readonly configs: readonly string[];
  readonly ifNotExists: boolean;
}

const TOPIC_ALREADY_EXISTS = 36;

export async function createTopic({ client, output, print }: BrokerSession, args: CreateTopicArguments): Promise<number> {
  const configs = args.configs.map(parseTopicConfig);
  const topic = newCreatableTopic({
    name: args.name,
    numPartitions: args.partitions ?? -1,
    replicationFactor: args.replicationFactor ?? -1,
    configs: configs.map(([name, value]) => newCreatableTopicConfig({ name, value })),
  });
  const result = await client.retrying(async () => {
    const controller = await client.controller();
    const answer = await controller.request(createTopicsApi, newCreateTopicsRequest({ topics: [topic], timeoutMs: TIMEOUT_MS }), {
      min: CREATE_TOPICS_MIN_VERSION,
    });
    const created = answer.topics[0];
    if (args.ifNotExists && created?.errorCode === TOPIC_ALREADY_EXISTS) return undefined;
    expectNone(created?.errorCode ?? -1, `topic ${args.name} was not created`, created?.errorMessage);
    return created;
  });
  const fields = {
    topic: args.name,
    created: result !== undefined,
    partitions: result?.numPartitions ?? null,
    topicId: result?.topicId ?? null,
  };
  const line =
    result === undefined ? `topic ${args.name} exists already\n` : `created topic ${args.name} with ${result.numPartitions} partitions\n`;
  await print(output === "json" ? renderJson(fields) : line);
  return 0;
}

function parseTopicConfig(text: string): readonly [string, string] {
  const equals = text.indexOf("=");
  if (equals > 0) return [text.slice(0, equals).trim(), text.slice(equals + 1)];
  throw new Trouble({
    code: "usage",
    message: `--topic-config ${text} has no value`,
    remedy: "write KEY=VALUE",
    retryable: false,
    exitCode: 2,
  });
}

export async function describeTopics({ client, output, print }: BrokerSession, names: readonly string[]): Promise<number> {
  const described = await client.retrying(async () => {
    const topics = await client.topics(names.length === 0 ? null : names);
    return Promise.all(
      topics
        .filter((topic) => names.length > 0 || !topic.isInternal)
        .map(async (topic) => {
          const [start, end] = await Promise.all([readOffsets(client, topic, EARLIEST), readOffsets(client, topic, LATEST)]);
          const partitions = topic.partitions.map((each) => ({
            ...each,
            startOffset: start.get(each.partition) ?? null,
            endOffset: end.get(each.partition) ?? null,
          }));
          return { ...topic, partitions };
        }),
    );
  });
  if (output === "json") {
    await print(renderJson(described));
    return 0;
  }
  const header = ["partition", "leader", "epoch", "replicas", "in sync", "start", "end"];
  const blocks = described.map((topic) => {
    const rows = topic.partitions.map((each) => [
      each.partition,
      each.leaderId < 0 ? "none" : each.leaderId,
      each.leaderEpoch,
      each.replicas.join(","),
      each.isr.join(","),
      each.startOffset,
      each.endOffset,
    ]);
    const about = renderFields([
      ["topic", topic.name],
      ["id", topic.topicId],
      ["partitions", topic.partitions.length],
    ]);
    return `${about}${renderTable(header, rows)}`;
  });
  await print(blocks.join("\n"));
  return 0;
}

export async function deleteTopics({ client, output, print }: BrokerSession, names: readonly string[]): Promise<number> {
  const answer = await client.retrying(async () => {
    const controller = await client.controller();
    const result = await controller.request(deleteTopicsApi, (version) =>
      newDeleteTopicsRequest(
        version >= DELETE_TOPICS_NAMED_STATES
          ? { topics: names.map((name) => newDeleteTopicState({ name })), timeoutMs: TIMEOUT_MS }
          : { topicNames: [...names], timeoutMs: TIMEOUT_MS },
      ),
    );
    for (const each of result.responses) expectNone(each.errorCode, `topic ${each.name} was not deleted`, each.errorMessage);
    return result;
  });
  const deleted = answer.responses.map((each) => each.name ?? "");
  await print(output === "json" ? renderJson({ deleted }) : deleted.map((name) => `deleted topic ${name}\n`).join(""));
  return 0;
}

/** `total`: how many partitions the topic shall have, as in Kafka's tool. */
export async function addPartitions({ client, output, print }: BrokerSession, name: string, total: number): Promise<number> {
  await client.retrying(async () => {
    const controller = await client.controller();
    const request = newCreatePartitionsRequest({
      topics: [newCreatePartitionsTopic({ name, count: total, assignments: null })],
      timeoutMs: TIMEOUT_MS,
    });
    const answer = await controller.request(createPartitionsApi, request);
    const result = answer.results[0];
    expectNone(result?.errorCode ?? -1, `topic ${name} keeps its partitions`, result?.errorMessage);
  });
  await print(output === "json" ? renderJson({ topic: name, partitions: total }) : `topic ${name} has ${total} partitions\n`);
  return 0;
}
