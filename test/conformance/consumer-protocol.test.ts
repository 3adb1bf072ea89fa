/**
 * The consumer protocol (KIP-848), request by request. Passes against Apache Kafka 4.4 too (CONFORMANCE_PORT), but for what restarts the
 * server.
 */
import { expect } from "bun:test";
import { ErrorCodes } from "../../src/protocol/error-codes.ts";
import { consumerGroupDescribeApi, newConsumerGroupDescribeRequest } from "../../src/protocol/messages/consumer-group-describe.ts";
import {
  type ConsumerGroupHeartbeatRequest,
  type ConsumerGroupHeartbeatResponse,
  consumerGroupHeartbeatApi,
  newConsumerGroupHeartbeatRequest,
} from "../../src/protocol/messages/consumer-group-heartbeat.ts";
import { deleteGroupsApi, newDeleteGroupsRequest } from "../../src/protocol/messages/delete-groups.ts";
import { describeGroupsApi, newDescribeGroupsRequest } from "../../src/protocol/messages/describe-groups.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { listGroupsApi, newListGroupsRequest } from "../../src/protocol/messages/list-groups.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  offsetCommitApi,
} from "../../src/protocol/messages/offset-commit.ts";
import { newOffsetFetchRequest, newOffsetFetchRequestGroup, offsetFetchApi } from "../../src/protocol/messages/offset-fetch.ts";
import type { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, readMetadata } from "../support/raw-client.ts";
import { hasServer, isExternal, ServerUnderTest, serverMissing, uniqueName } from "../support/server-under-test.ts";
import { testIf } from "../support/tools.ts";

const settings = { "group.consumer.assignment.interval.ms": "0" };
const server = ServerUnderTest.forThisFile({ settings });
const run = testIf(hasServer, serverMissing);
const TRANSIENT: readonly number[] = [
  ErrorCodes.COORDINATOR_NOT_AVAILABLE,
  ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCodes.NOT_COORDINATOR,
];

/** Asks again while the coordinator is being found or loaded, as clients do. */
async function beat(connection: KafkaConnection, change: Partial<ConsumerGroupHeartbeatRequest>): Promise<ConsumerGroupHeartbeatResponse> {
  for (;;) {
    const answer = await connection.request(consumerGroupHeartbeatApi, 1, newConsumerGroupHeartbeatRequest(change));
    if (!TRANSIENT.includes(answer.errorCode)) return answer;
    await connection.request(findCoordinatorApi, 6, newFindCoordinatorRequest({ coordinatorKeys: [change.groupId ?? ""] }));
    await Bun.sleep(50);
  }
}

function join(
  connection: KafkaConnection,
  groupId: string,
  memberId: string,
  topic: string,
  change: Partial<ConsumerGroupHeartbeatRequest> = {},
) {
  const full = { rebalanceTimeoutMs: 30_000, subscribedTopicNames: [topic], topicPartitions: [] };
  return beat(connection, { groupId, memberId, memberEpoch: 0, ...full, ...change });
}

function partitionsOf(answer: ConsumerGroupHeartbeatResponse): number[] {
  return (answer.assignment?.topicPartitions ?? []).flatMap(({ partitions }) => partitions).sort();
}

async function newTopic(connection: KafkaConnection, partitions: number): Promise<{ topic: string; topicId: string }> {
  const topic = uniqueName("kip848");
  await createTopicRaw(connection, topic, { partitions });
  const metadata = await readMetadata(connection, [topic]);
  return { topic, topicId: metadata.topics[0]?.topicId ?? "" };
}

async function commit(connection: KafkaConnection, groupId: string, memberId: string, epoch: number, topicId: string, offset: bigint) {
  const partitions = [newOffsetCommitRequestPartition({ partitionIndex: 0, committedOffset: offset })];
  const topics = [newOffsetCommitRequestTopic({ topicId, partitions })];
  const request = newOffsetCommitRequest({ groupId, memberId, generationIdOrMemberEpoch: epoch, topics });
  return (await connection.request(offsetCommitApi, 10, request)).topics[0]?.partitions[0]?.errorCode;
}

/** A member of one topic that beats until everything is as it shall be: Kafka 4.4 makes targets in the background. */
class Member {
  readonly connection: KafkaConnection;
  readonly groupId: string;
  readonly memberId: string;
  readonly topicId: string;
  epoch = 0;
  partitions: number[] = [];

  constructor(connection: KafkaConnection, groupId: string, memberId: string, topicId: string) {
    this.connection = connection;
    this.groupId = groupId;
    this.memberId = memberId;
    this.topicId = topicId;
  }

  take(answer: ConsumerGroupHeartbeatResponse): void {
    expect(answer.errorCode).toBe(0);
    this.epoch = answer.memberEpoch;
    if (answer.assignment !== null) this.partitions = partitionsOf(answer);
  }

  async beat(): Promise<void> {
    const { connection, groupId, memberId, epoch: memberEpoch, topicId, partitions } = this;
    const topicPartitions = partitions.length === 0 ? [] : [{ topicId, partitions }];
    this.take(await beat(connection, { groupId, memberId, memberEpoch, topicPartitions }));
  }
}

async function settle(members: readonly Member[], partitions: readonly number[]): Promise<void> {
  const isShared = (): boolean => members.every((member) => member.partitions.length === partitions.length / members.length);
  for (let round = 0; round < 200 && !isShared(); round++) {
    for (const member of members) await member.beat();
    if (isExternal) await Bun.sleep(50);
  }
  for (const member of members) await member.beat();
  expect(members.flatMap((member) => member.partitions).sort()).toEqual([...partitions]);
}

run(
  "two members share a topic; commits and fetches need the member's epoch; tools see it; the empty group is deleted",
  async () => {
    using connection = await server.connect();
    const { topic, topicId } = await newTopic(connection, 2);
    const groupId = uniqueName("g");
    const [first, second] = ["a", "b"].map((memberId) => new Member(connection, groupId, memberId, topicId)) as [Member, Member];
    const joined = await join(connection, groupId, "a", topic);
    expect(joined).toMatchObject({ errorCode: 0, memberId: "a", heartbeatIntervalMs: 5000 });
    first.take(joined);
    await settle([first], [0, 1]);
    second.take(await join(connection, groupId, "b", topic));
    expect(second.partitions).toEqual([]);
    await settle([first, second], [0, 1]);

    const { memberId: mine, epoch } = first.partitions[0] === 0 ? first : second;
    expect(await commit(connection, groupId, mine, epoch, topicId, 7n)).toBe(0);
    expect(await commit(connection, groupId, mine, epoch + 1, topicId, 8n)).toBe(ErrorCodes.STALE_MEMBER_EPOCH);
    expect(await commit(connection, groupId, "nobody", epoch, topicId, 8n)).toBe(ErrorCodes.UNKNOWN_MEMBER_ID);
    const asked = newOffsetFetchRequestGroup({ groupId, memberId: mine, memberEpoch: epoch, topics: null });
    const fetched = await connection.request(offsetFetchApi, 10, newOffsetFetchRequest({ groups: [asked] }));
    expect(fetched.groups[0]?.topics[0]?.partitions[0]?.committedOffset).toBe(7n);
    const stale = newOffsetFetchRequest({ groups: [{ ...asked, memberEpoch: epoch + 5 }] });
    expect((await connection.request(offsetFetchApi, 10, stale)).groups[0]?.errorCode).toBe(ErrorCodes.STALE_MEMBER_EPOCH);

    const described = await connection.request(
      consumerGroupDescribeApi,
      1,
      newConsumerGroupDescribeRequest({ groupIds: [groupId, "none"] }),
    );
    expect(described.groups[0]).toMatchObject({ errorCode: 0, groupState: "Stable", assignorName: "uniform" });
    expect(described.groups[0]?.members.map(({ memberType }) => memberType)).toEqual([1, 1]);
    expect(described.groups[1]).toMatchObject({ errorCode: ErrorCodes.GROUP_ID_NOT_FOUND, errorMessage: "Group none not found." });
    const asClassic = await connection.request(describeGroupsApi, 6, newDescribeGroupsRequest({ groups: [groupId] }));
    expect(asClassic.groups[0]).toMatchObject({ errorCode: ErrorCodes.GROUP_ID_NOT_FOUND, groupState: "Dead" });
    const listed = await connection.request(
      listGroupsApi,
      5,
      newListGroupsRequest({ typesFilter: ["Consumer"], statesFilter: ["stable"] }),
    );
    expect(listed.groups.find((group) => group.groupId === groupId)).toMatchObject({ protocolType: "consumer", groupType: "consumer" });

    const deletion = newDeleteGroupsRequest({ groupsNames: [groupId] });
    expect((await connection.request(deleteGroupsApi, 2, deletion)).results[0]?.errorCode).toBe(ErrorCodes.NON_EMPTY_GROUP);
    for (const memberId of ["a", "b"])
      expect(await beat(connection, { groupId, memberId, memberEpoch: -1 })).toMatchObject({ memberEpoch: -1 });
    expect((await connection.request(deleteGroupsApi, 2, deletion)).results[0]?.errorCode).toBe(0);
    expect((await beat(connection, { groupId, memberId: "a", memberEpoch: 1 })).errorCode).toBe(ErrorCodes.GROUP_ID_NOT_FOUND);
  },
  60_000,
);

run("what is not a heartbeat is refused in Kafka's words", async () => {
  using connection = await server.connect();
  const { topic } = await newTopic(connection, 1);
  const groupId = uniqueName("g");
  const invalid = async (change: Partial<ConsumerGroupHeartbeatRequest>): Promise<string | null> => {
    const answer = await join(connection, groupId, "a", topic, change);
    expect(answer.errorCode).toBe(ErrorCodes.INVALID_REQUEST);
    return answer.errorMessage;
  };
  expect(await invalid({ memberId: "" })).toBe("MemberId can't be empty.");
  expect(await invalid({ groupId: "" })).toBe("GroupId can't be empty.");
  expect(await invalid({ instanceId: "" })).toBe("InstanceId can't be empty.");
  expect(await invalid({ rebalanceTimeoutMs: -1 })).toBe("RebalanceTimeoutMs must be provided in first request.");
  expect(await invalid({ topicPartitions: null })).toBe("TopicPartitions must be empty when (re-)joining.");
  expect(await invalid({ subscribedTopicNames: null })).toBe(
    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
  );
  expect(await invalid({ memberEpoch: -2 })).toBe("InstanceId can't be null.");
  expect(await invalid({ memberEpoch: -3 })).toBe("MemberEpoch is invalid.");
  const assignor = await join(connection, groupId, "a", topic, { serverAssignor: "none" });
  expect(assignor.errorCode).toBe(ErrorCodes.UNSUPPORTED_ASSIGNOR);
  expect(assignor.errorMessage).toBe("ServerAssignor none is not supported. Supported assignors: uniform, range.");
  const pattern = await join(connection, groupId, "a", topic, { subscribedTopicRegex: "(" });
  expect(pattern.errorCode).toBe(ErrorCodes.INVALID_REGULAR_EXPRESSION);
  expect((await join(connection, groupId, "a", topic)).errorCode).toBe(0);
  expect((await beat(connection, { groupId, memberId: "b", memberEpoch: 1 })).errorCode).toBe(ErrorCodes.UNKNOWN_MEMBER_ID);
  const fenced = await beat(connection, { groupId, memberId: "a", memberEpoch: 9 });
  expect(fenced.errorCode).toBe(ErrorCodes.FENCED_MEMBER_EPOCH);
  expect(fenced.errorMessage).toMatch(
    /has a greater member epoch \(9\) than the one known by the group coordinator \(\d+\)\. The member must/,
  );
});

testIf(hasServer && !isExternal, serverMissing)(
  "a group outlives a kill -9: members go on under their epochs",
  async () => {
    const groupId = uniqueName("g");
    const before = await (async () => {
      using connection = await server.connect();
      const { topic } = await newTopic(connection, 3);
      const joined = await join(connection, groupId, "a", topic, { instanceId: "i" });
      expect(partitionsOf(joined)).toEqual([0, 1, 2]);
      return joined;
    })();
    await server.restart("kill");
    using connection = await server.connect();
    const going = await beat(connection, { groupId, memberId: "a", memberEpoch: before.memberEpoch, instanceId: "i" });
    expect(going).toMatchObject({ errorCode: 0, memberEpoch: before.memberEpoch, assignment: null });
    expect((await beat(connection, { groupId, memberId: "a", memberEpoch: -2, instanceId: "i" })).memberEpoch).toBe(-2);
  },
  60_000,
);
