/**
 * Apache Kafka 4.4's own group coordinator and Weir read each other's __consumer_offsets: the logs of groups' lives on dist/weir are replayed by Kafka's
 * GroupCoordinatorShard, whose serde writes the same bytes for every record and which then says of the groups what Weir says; and what Kafka's coordinator wrote
 * for members at random is read, and written alike, by Weir. Kafka's formatters read the topic through a console consumer.
 */
import { expect } from "bun:test";
import { decodeChange, encodeChange } from "../../src/group/consumer/consumer-group-records.ts";
import { recordTypeOf } from "../../src/protocol/coordinator-record.ts";
import { consumerGroupDescribeApi, newConsumerGroupDescribeRequest } from "../../src/protocol/messages/consumer-group-describe.ts";
import { fetchApi } from "../../src/protocol/messages/fetch.ts";
import { listGroupsApi, newListGroupsRequest } from "../../src/protocol/messages/list-groups.ts";
import { newOffsetFetchRequest, newOffsetFetchRequestGroup, offsetFetchApi } from "../../src/protocol/messages/offset-fetch.ts";
import { Writer } from "../../src/protocol/writer.ts";
import type { KafkaConnection } from "../support/kafka-connection.ts";
import { fetchRequest, fetchVersion, listOffset } from "../support/raw-client.ts";
import { ServerUnderTest, serverMissing } from "../support/server-under-test.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { testIf } from "../support/tools.ts";
import { hasWeir } from "../support/weir-process.ts";
import { ConsumerHarness } from "../unit/group/consumer/consumer-harness.ts";
import { hasKafkaTools, noKafkaTools, runKafkaTool } from "./clients.ts";
import { GroupsLife } from "./consumer-group-life.ts";
import { findKafkaJars } from "./protocol-oracle/kafka-jars.ts";
import { askOracle, textOf } from "./protocol-oracle/oracle.ts";

const OFFSETS_PARTITIONS = 50;
const OFFSETS_TOPIC = "__consumer_offsets";
const CONSUMER_GROUP_KEYS = [3, 5, 6, 7, 8, 16];
const KAFKA_SEEDS = 10;
const TIMEOUT_MS = 240_000;

const jars = findKafkaJars();
const server = ServerUnderTest.forThisFile({
  settings: { "group.consumer.assignment.interval.ms": "0", "group.initial.rebalance.delay.ms": "0" },
});

interface OracleTopic {
  readonly name: string;
  readonly id: string;
  readonly partitions: number;
}

interface OracleRecord {
  readonly key: string;
  readonly value: string | null;
  readonly keyJson: Readonly<Record<string, unknown>>;
  readonly same: boolean;
}

interface PartitionsOfTopic {
  readonly topicId: string;
  readonly topicName: string;
  readonly partitions: readonly number[];
}

interface SaidOfMember {
  readonly memberId: string;
  readonly subscribedTopicNames: readonly string[];
  readonly assignment: { readonly topicPartitions: readonly PartitionsOfTopic[] };
  readonly targetAssignment: { readonly topicPartitions: readonly PartitionsOfTopic[] };
}

interface SaidOfGroup {
  readonly groupId: string;
  readonly members: readonly SaidOfMember[];
}

interface SaidOfOffsets {
  readonly groupId: string;
  readonly topics: readonly { readonly name: string; readonly partitions: readonly CommittedOffset[] }[];
}

interface CommittedOffset {
  readonly partitionIndex: number;
  readonly committedOffset: number | bigint;
  readonly committedLeaderEpoch: number;
  readonly metadata: string | null;
}

/** What a coordinator says of its groups. */
interface Said {
  readonly groups: readonly { readonly groupId: string }[];
  readonly described: readonly SaidOfGroup[];
  readonly offsets: readonly SaidOfOffsets[];
}

interface OracleAnswer extends Said {
  readonly records: readonly OracleRecord[];
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function sortPartitions(topics: readonly PartitionsOfTopic[]) {
  return topics
    .map(({ topicId, topicName, partitions }) => ({ topicId, topicName, partitions: [...partitions].sort((a, b) => a - b) }))
    .sort((a, b) => compareText(a.topicName, b.topicName));
}

/** Groups without names and values that depend on who is asked, in one order. */
function toComparable(said: Said) {
  const byGroup = (a: { groupId: string }, b: { groupId: string }) => compareText(a.groupId, b.groupId);
  return {
    groups: [...said.groups].map((group) => ({ ...group })).sort(byGroup),
    described: said.described
      .map((group) => ({
        ...group,
        authorizedOperations: 0,
        members: group.members
          .map((member) => ({
            ...member,
            subscribedTopicNames: [...member.subscribedTopicNames].sort(),
            assignment: sortPartitions(member.assignment.topicPartitions),
            targetAssignment: sortPartitions(member.targetAssignment.topicPartitions),
          }))
          .sort((a, b) => compareText(a.memberId, b.memberId)),
      }))
      .sort(byGroup),
    offsets: said.offsets.map(({ groupId, topics }) => ({ groupId, topics: sortOffsets(topics) })).sort(byGroup),
  };
}

function sortOffsets(topics: SaidOfOffsets["topics"]) {
  return topics
    .flatMap(({ name, partitions }) =>
      partitions.map(({ partitionIndex, committedOffset, committedLeaderEpoch, metadata }) => ({
        at: `${name}-${partitionIndex}`,
        offset: Number(committedOffset),
        epoch: committedLeaderEpoch,
        metadata,
      })),
    )
    .sort((a, b) => compareText(a.at, b.at));
}

async function askKafka(
  commands: readonly { readonly kind: "T" | "L" | "H"; readonly body: Uint8Array | bigint }[],
): Promise<OracleAnswer[]> {
  const writer = new Writer(1 << 20);
  for (const { kind, body } of commands) {
    writer.writeInt8(kind.charCodeAt(0));
    if (typeof body === "bigint") writer.writeInt64(body);
    else writer.writeBytes(body);
  }
  using folder = new TemporaryFolder("group-records-oracle");
  const answers = await askOracle(jars, "GroupRecordsOracle.java", folder.path, writer);
  return answers.flatMap((answer, index) => {
    if (!answer.ok) throw new Error(textOf(answer));
    return commands[index]?.kind === "T" ? [] : [JSON.parse(textOf(answer)) as OracleAnswer];
  });
}

function topicsCommand(topics: readonly OracleTopic[]) {
  return { kind: "T" as const, body: Buffer.from(JSON.stringify(topics)) };
}

// --- what Weir says ---

/** The batches of a partition as they lie in the log up to `end`. */
async function fetchLog(connection: KafkaConnection, partition: number, end: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < end; ) {
    const request = fetchRequest(OFFSETS_TOPIC, partition, at, { maxBytes: 1 << 20 });
    const found = (await connection.request(fetchApi, fetchVersion, request)).responses[0]?.partitions[0];
    if (found?.errorCode !== 0 || !(found.records instanceof Uint8Array) || found.records.length === 0) {
      throw new Error(`${OFFSETS_TOPIC}-${partition} at ${at}: error ${found?.errorCode}`);
    }
    const bytes = found.records.slice();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let start = 0;
    while (start + 12 <= bytes.length && start + 12 + view.getInt32(start + 8) <= bytes.length) {
      at = Number(view.getBigInt64(start)) + view.getInt32(start + 23) + 1;
      start += 12 + view.getInt32(start + 8);
    }
    parts.push(bytes.subarray(0, start));
  }
  return Buffer.concat(parts);
}

async function listWeirGroups(connection: KafkaConnection) {
  const listed = await connection.request(listGroupsApi, 5, newListGroupsRequest());
  expect(listed.errorCode).toBe(0);
  return listed.groups;
}

async function askWeir(connection: KafkaConnection): Promise<Said> {
  const groups = await listWeirGroups(connection);
  const consumerGroups = groups.filter(({ groupType }) => groupType === "consumer").map(({ groupId }) => groupId);
  const described = await connection.request(consumerGroupDescribeApi, 1, newConsumerGroupDescribeRequest({ groupIds: consumerGroups }));
  const asked = groups.map(({ groupId }) => newOffsetFetchRequestGroup({ groupId, memberEpoch: -1, topics: null }));
  const offsets = await connection.request(offsetFetchApi, 9, newOffsetFetchRequest({ groups: asked }));
  for (const { groupId, errorCode } of [...described.groups, ...offsets.groups])
    expect({ groupId, errorCode }).toEqual({ groupId, errorCode: 0 });
  return { groups, described: described.groups, offsets: offsets.groups };
}

async function readEnds(connection: KafkaConnection): Promise<number[]> {
  const ends = [];
  for (let partition = 0; partition < OFFSETS_PARTITIONS; partition++) {
    ends.push(Number((await listOffset(connection, OFFSETS_TOPIC, partition, -1n)).offset));
  }
  return ends;
}

/** The logs of all partitions and what Weir says of the groups, at one moment: a transaction's markers may come after its end was answered. */
async function capture(connection: KafkaConnection) {
  for (;;) {
    const ends = await readEnds(connection);
    const logs = [];
    for (const [partition, end] of ends.entries()) logs.push(await fetchLog(connection, partition, end));
    const said = await askWeir(connection);
    if (Bun.deepEquals(await readEnds(connection), ends)) return { logs: logs.filter((log) => log.length > 0), said };
  }
}

function mergeAnswers(answers: readonly OracleAnswer[]): OracleAnswer {
  return {
    records: answers.flatMap(({ records }) => records),
    groups: answers.flatMap(({ groups }) => groups),
    described: answers.flatMap(({ described }) => described),
    offsets: answers.flatMap(({ offsets }) => offsets),
  };
}

const typeOf = (record: OracleRecord): number => Number.parseInt(record.key.slice(0, 4), 16);

const hasOracle = hasWeir && !("missing" in jars);
const oracleMissing = hasWeir ? ("missing" in jars ? jars.missing : "") : serverMissing;

testIf(hasOracle, oracleMissing)(
  "Kafka's coordinator replays the logs of groups' lives on Weir and says of the groups what Weir says",
  async () => {
    const life = new GroupsLife(server);
    const moments: Awaited<ReturnType<typeof capture>>[] = [];
    for (const step of life.steps()) {
      await step();
      using connection = await server.connect();
      moments.push(await capture(connection));
    }
    using connection = await server.connect();
    const topics = topicsCommand(await life.topics(connection));
    const commands = moments.flatMap(({ logs }) => logs.map((body) => ({ kind: "L" as const, body })));
    const answers = await askKafka([topics, ...commands]);
    const types = new Set<string>();
    for (const { logs, said } of moments) {
      const kafka = mergeAnswers(answers.splice(0, logs.length));
      expect(kafka.records.filter(({ same }) => !same)).toEqual([]);
      for (const record of kafka.records) types.add(`${typeOf(record)}${record.value === null ? " tombstone" : ""}`);
      expect(toComparable(kafka)).toEqual(toComparable(said));
    }
    // Every kind of record of consumer groups, both given and taken away.
    for (const type of CONSUMER_GROUP_KEYS) for (const kind of ["", " tombstone"]) expect([...types]).toContain(`${type}${kind}`);
  },
  TIMEOUT_MS,
);

testIf(hasWeir && hasKafkaTools, hasWeir ? noKafkaTools : serverMissing)(
  "Kafka's formatters read a topic with the records of consumer groups",
  async () => {
    const life = new GroupsLife(server);
    for (const step of life.steps()) await step();
    const consume = async (formatter: string): Promise<string> => {
      const args = ["--bootstrap-server", server.bootstrap, "--topic", OFFSETS_TOPIC, "--from-beginning", "--timeout-ms", "5000"];
      const { stdout, stderr } = await runKafkaTool("console-consumer", [
        ...args,
        "--formatter",
        `org.apache.kafka.tools.consumer.${formatter}`,
      ]);
      // It ends when nothing more comes.
      expect(stderr.replace("org.apache.kafka.common.errors.TimeoutException", "")).not.toContain("Exception");
      return stdout;
    };
    const [offsets, groups] = await Promise.all([consume("OffsetsMessageFormatter"), consume("GroupMetadataMessageFormatter")]);
    expect(offsets).toContain(
      `{"group":"${life.consumers}","topic":"${life.first}","partition":0}},"value":{"version":4,"data":{"offset":7,`,
    );
    expect(offsets).toContain(`{"group":"${life.gone}","topic":"${life.first}","partition":0}},"value":null}`);
    // The formatter knows classic groups alone, and leaves out the records of others.
    expect(groups).toContain(`"group":"${life.turning}"}},"value":{"version":`);
    expect(groups).not.toContain(`"group":"${life.consumers}"`);
  },
  TIMEOUT_MS,
);

// --- the other way ---

/** As Weir describes it, in the words of the wire. */
function describeReplayed(harness: ConsumerHarness, topics: readonly OracleTopic[]): Said {
  const group = harness.replay().get("g");
  if (group?.kind !== "consumer") return { groups: [], described: [], offsets: [] };
  const nameOf = (topicId: string): string => topics.find(({ id }) => id === topicId)?.name ?? "";
  const partitionsOf = (assignment: ReadonlyMap<string, readonly number[]>) => ({
    topicPartitions: Array.from(assignment, ([topicId, partitions]) => ({ topicId, topicName: nameOf(topicId), partitions })),
  });
  const found = group.describe("uniform");
  const described = {
    errorCode: 0,
    errorMessage: null,
    groupId: found.groupId,
    groupState: found.state,
    groupEpoch: found.groupEpoch,
    assignmentEpoch: found.assignmentEpoch,
    assignorName: found.assignor,
    authorizedOperations: 0,
    members: found.members.map((member) => ({
      memberId: member.memberId,
      instanceId: member.instanceId ?? null,
      rackId: member.rackId ?? null,
      memberEpoch: member.epoch,
      clientId: member.clientId,
      clientHost: member.clientHost,
      subscribedTopicNames: [...member.topics],
      subscribedTopicRegex: member.pattern,
      assignment: partitionsOf(member.assigned),
      targetAssignment: partitionsOf(member.target),
      memberType: member.isClassic ? 0 : 1,
    })),
  };
  return { groups: [], described: [described], offsets: [] };
}

testIf(!("missing" in jars), "missing" in jars ? jars.missing : "")(
  "what Kafka's coordinator wrote for members at random is read by Weir, which writes the same bytes",
  async () => {
    const topics = Array.from({ length: 4 }, (_, index) => ({ name: `t${index + 1}`, partitions: index + 1 }));
    const newHarness = (): { harness: ConsumerHarness; known: OracleTopic[] } => {
      const harness = new ConsumerHarness();
      return { harness, known: topics.map((topic) => ({ ...topic, id: harness.addTopic(topic.name, topic.partitions) })) };
    };
    const { known } = newHarness();
    const seeds = Array.from({ length: KAFKA_SEEDS }, (_, index) => ({ kind: "H" as const, body: BigInt(index + 1) }));
    const answers = await askKafka([topicsCommand(known), ...seeds]);
    const types = new Set<number>();
    for (const kafka of answers) {
      const { harness } = newHarness();
      for (const record of kafka.records) {
        const key = Buffer.from(record.key, "hex");
        const value = record.value === null ? null : Buffer.from(record.value, "hex");
        const decoded = decodeChange(recordTypeOf(key), key, value);
        if (decoded?.change === undefined) throw new Error(`not read: ${JSON.stringify(record)}`);
        const again = encodeChange(decoded.groupId, decoded.change);
        const written = {
          key: Buffer.from(again.key).toString("hex"),
          value: again.value === null ? null : Buffer.from(again.value).toString("hex"),
        };
        expect(written).toEqual({ key: record.key, value: record.value });
        types.add(typeOf(record));
        harness.log.push({ key, value });
      }
      const ofGroup = { groups: [], described: kafka.described, offsets: [] };
      expect(toComparable(describeReplayed(harness, known))).toEqual(toComparable(ofGroup));
    }
    expect([...types].sort((a, b) => a - b)).toEqual(CONSUMER_GROUP_KEYS);
  },
  TIMEOUT_MS,
);
