/**
 * One server of the two that are compared, and what a script of requests to one group of it was told: lines, in the order of the script, in which ids are names. Members speak as raw
 * requests and keep only what a client would have to.
 *
 * Neighbours: `actors.ts` (the members), `../mixed-groups.ts` (runs a script on both servers and compares the lines).
 */
import { consumerGroupDescribeApi, newConsumerGroupDescribeRequest } from "../../../src/protocol/messages/consumer-group-describe.ts";
import { describeGroupsApi, newDescribeGroupsRequest } from "../../../src/protocol/messages/describe-groups.ts";
import {
  incrementalAlterConfigsApi,
  newAlterableConfig,
  newAlterConfigsResource,
  newIncrementalAlterConfigsRequest,
} from "../../../src/protocol/messages/incremental-alter-configs.ts";
import { listGroupsApi, newListGroupsRequest } from "../../../src/protocol/messages/list-groups.ts";
import { KafkaConnection } from "../../support/kafka-connection.ts";
import { createTopicRaw, readMetadata } from "../../support/raw-client.ts";
import { viewAssignment } from "../differential/embedded-view.ts";

/** Partitions of the topics that the scripts share. */
export const TOPICS: Readonly<Record<string, number>> = { t: 6, u: 2 };

const WAIT_MS = 15_000;
const POLL_MS = 40;
/** Kafka's RESOURCE type of groups. */
const GROUP_RESOURCE = 32;

export interface TopicIds {
  /** Of the topics of this run: scripts say "t". */
  readonly suffix: string;
  readonly names: ReadonlyMap<string, string>;
  readonly ids: ReadonlyMap<string, string>;
}

export async function makeTopics(port: number, suffix: string): Promise<TopicIds> {
  using connection = await KafkaConnection.open(port);
  for (const [name, partitions] of Object.entries(TOPICS)) await createTopicRaw(connection, name + suffix, { partitions });
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const { topics } = await readMetadata(connection, null);
    const found = topics.filter(({ name, errorCode }) => errorCode === 0 && name?.endsWith(suffix) === true);
    if (found.length === Object.keys(TOPICS).length) {
      const pairs = found.map(({ name, topicId }) => [(name ?? "").slice(0, -suffix.length), topicId] as const);
      return { suffix, ids: new Map(pairs), names: new Map(pairs.map(([name, id]) => [id, name])) };
    }
    if (performance.now() > deadline) throw new Error("the topics do not come");
    await Bun.sleep(POLL_MS);
  }
}

/** "t:0,1 u:0": topics and partitions in order. */
export function showPartitions(topics: readonly { readonly name: string; readonly partitions: readonly number[] }[]): string {
  return topics
    .filter(({ partitions }) => partitions.length > 0)
    .map(({ name, partitions }) => `${name}:${partitions.toSorted((a, b) => a - b).join()}`)
    .sort()
    .join(" ");
}

export class Side {
  readonly groupId: string;
  readonly topics: TopicIds;
  readonly lines: string[] = [];
  readonly #port: number;
  readonly #connections: KafkaConnection[] = [];
  readonly #names = new Map<string, string>();
  #admin: KafkaConnection | undefined;
  #startedMs = 0;

  constructor(port: number, groupId: string, topics: TopicIds) {
    this.#port = port;
    this.groupId = groupId;
    this.topics = topics;
  }

  /** A connection of its own: an answer that waits must not hold up another member's. */
  async connect(): Promise<KafkaConnection> {
    const connection = await KafkaConnection.open(this.#port);
    this.#connections.push(connection);
    return connection;
  }

  end(): void {
    for (const connection of this.#connections) connection.close();
  }

  // --- what was told ---

  /** From here on the id is written as the name. */
  name(id: string, name: string): void {
    if (id !== "") this.#names.set(id, name);
  }

  say(what: string, answer: unknown): void {
    let line = `${what} ${JSON.stringify(answer)}`;
    for (const [id, name] of this.#names) line = line.replaceAll(id, `<${name}>`);
    this.lines.push(line.replaceAll(this.groupId, "<group>").replaceAll(this.topics.suffix, ""));
  }

  nameOf(memberId: string): string {
    return this.#names.get(memberId) ?? memberId;
  }

  topicName(topicId: string): string {
    return this.topics.names.get(topicId) ?? topicId;
  }

  topicId(name: string): string {
    return this.topics.ids.get(name) ?? "";
  }

  // --- the group ---

  async #asAdmin(): Promise<KafkaConnection> {
    this.#admin ??= await this.connect();
    return this.#admin;
  }

  async #describeConsumers() {
    const connection = await this.#asAdmin();
    const answer = await connection.request(consumerGroupDescribeApi, 1, newConsumerGroupDescribeRequest({ groupIds: [this.groupId] }));
    return answer.groups[0];
  }

  async #describeClassic() {
    const connection = await this.#asAdmin();
    const answer = await connection.request(describeGroupsApi, 6, newDescribeGroupsRequest({ groups: [this.groupId] }));
    return answer.groups[0];
  }

  /**
   * The group as tools see it, whatever its kind is. `withClassicAssignments`: not of a group that is classic since a member left: there each keeps what it had, where Kafka's
   * forgets what was to be given up.
   */
  async describe(what = "group", withClassicAssignments = true): Promise<void> {
    const admin = await this.#asAdmin();
    const listed = (await admin.request(listGroupsApi, 5, newListGroupsRequest())).groups.find(({ groupId }) => groupId === this.groupId);
    const view = [listed?.groupType, listed?.groupState, listed?.protocolType].join(" ");
    const consumers = await this.#describeConsumers();
    if (consumers?.errorCode === 0) {
      const { groupState, groupEpoch, assignmentEpoch, assignorName } = consumers;
      const show = (topics: readonly { topicName: string; partitions: number[] }[]) =>
        showPartitions(topics.map(({ topicName, partitions }) => ({ name: topicName, partitions })));
      const members = consumers.members.map(
        ({ memberId, instanceId, memberEpoch, memberType, subscribedTopicNames, assignment, targetAssignment }) =>
          `${this.nameOf(memberId)}/${instanceId} @${memberEpoch} type ${memberType} ${subscribedTopicNames.toSorted().join()}` +
          ` has [${show(assignment.topicPartitions)}] of [${show(targetAssignment.topicPartitions)}]`,
      );
      this.say(what, { view, groupState, groupEpoch, assignmentEpoch, assignorName, members: members.sort() });
      return;
    }
    const classic = await this.#describeClassic();
    const members = (classic?.members ?? []).map(
      ({ memberId, groupInstanceId, memberAssignment }) =>
        `${this.nameOf(memberId)}/${groupInstanceId}` +
        (withClassicAssignments ? ` has [${showPartitions(viewAssignment(memberAssignment)?.topics ?? [])}]` : ""),
    );
    const { errorCode, errorMessage, groupState, protocolType, protocolData } = classic ?? {};
    this.say(what, {
      view,
      consumers: consumers?.errorCode,
      errorCode,
      errorMessage,
      groupState,
      protocolType,
      protocolData,
      members: members.sort(),
    });
  }

  async hasMember(name: string): Promise<boolean> {
    const [consumers, classic] = [await this.#describeConsumers(), await this.#describeClassic()];
    const ids = [...(consumers?.members ?? []), ...(classic?.members ?? [])].map(({ memberId }) => memberId);
    return ids.some((id) => this.nameOf(id) === name);
  }

  /** What is sent next starts the time that the next `untilGone` measures. */
  startTime(): void {
    this.#startedMs = performance.now();
  }

  /** Waits for the member to be taken out of the group, no earlier than `notBeforeMs` after `startTime`. `meanwhile`: what keeps the others in it. */
  async untilGone(name: string, notBeforeMs: number, meanwhile: () => Promise<unknown> = async () => {}): Promise<void> {
    await this.until(`${name} is gone`, async () => {
      await meanwhile();
      return !(await this.hasMember(name));
    });
    // Timers of whole milliseconds.
    this.say(`${name} is gone, not before its time`, performance.now() - this.#startedMs >= notBeforeMs - 5);
  }

  async until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + WAIT_MS;
    while (!(await condition())) {
      if (performance.now() > deadline) {
        this.say(`never: ${what}`, false);
        return;
      }
      await Bun.sleep(POLL_MS);
    }
  }

  /** Sets the group's own settings; null takes one away. */
  async configure(settings: Readonly<Record<string, string | null>>): Promise<void> {
    const connection = await this.#asAdmin();
    const configs = Object.entries(settings).map(([name, value]) =>
      newAlterableConfig({ name, value, configOperation: value === null ? 1 : 0 }),
    );
    const resource = newAlterConfigsResource({ resourceType: GROUP_RESOURCE, resourceName: this.groupId, configs });
    const request = newIncrementalAlterConfigsRequest({ resources: [resource] });
    const answer = await connection.request(incrementalAlterConfigsApi, 1, request);
    this.say("configure", answer.responses[0]?.errorCode);
  }
}
