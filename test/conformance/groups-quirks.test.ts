/** What clients of groups depend on, request by request. Passes against Apache Kafka 4.4 too (CONFORMANCE_PORT). */
import { describe, expect } from "bun:test";
import { ErrorCodes } from "../../src/protocol/error-codes.ts";
import { deleteGroupsApi, newDeleteGroupsRequest } from "../../src/protocol/messages/delete-groups.ts";
import { describeGroupsApi, newDescribeGroupsRequest } from "../../src/protocol/messages/describe-groups.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { heartbeatApi, newHeartbeatRequest } from "../../src/protocol/messages/heartbeat.ts";
import { type JoinGroupResponse, joinGroupApi, newJoinGroupRequest } from "../../src/protocol/messages/join-group.ts";
import { leaveGroupApi, newLeaveGroupRequest } from "../../src/protocol/messages/leave-group.ts";
import { listGroupsApi, newListGroupsRequest } from "../../src/protocol/messages/list-groups.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  offsetCommitApi,
} from "../../src/protocol/messages/offset-commit.ts";
import { newOffsetDeleteRequest, offsetDeleteApi } from "../../src/protocol/messages/offset-delete.ts";
import { newOffsetFetchRequest, offsetFetchApi } from "../../src/protocol/messages/offset-fetch.ts";
import { newSyncGroupRequest, syncGroupApi } from "../../src/protocol/messages/sync-group.ts";
import { ZERO_UUID } from "../../src/protocol/reader.ts";
import type { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, readMetadata } from "../support/raw-client.ts";
import { hasServer, ServerUnderTest, serverMissing, uniqueName } from "../support/server-under-test.ts";
import { testIf } from "../support/tools.ts";

const server = ServerUnderTest.forThisFile({ settings: { "group.initial.rebalance.delay.ms": "0" } });
const run = testIf(hasServer, serverMissing);

/** ConsumerProtocolSubscription version 0. */
function subscription(topic: string): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 1, 0, topic.length]), Buffer.from(topic), Buffer.from([0xff, 0xff, 0xff, 0xff])]);
}

/** Retries while the coordinator is being found or loaded, as clients do. */
async function untilReady<T>(ask: () => Promise<T>, codeOf: (answer: T) => number | undefined): Promise<T> {
  const transient: readonly (number | undefined)[] = [
    ErrorCodes.COORDINATOR_NOT_AVAILABLE,
    ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCodes.NOT_COORDINATOR,
  ];
  for (;;) {
    const answer = await ask();
    if (!transient.includes(codeOf(answer))) return answer;
    await Bun.sleep(50);
  }
}

async function findGroup(connection: KafkaConnection, groupId: string): Promise<void> {
  const request = newFindCoordinatorRequest({ coordinatorKeys: [groupId] });
  const answer = await untilReady(
    () => connection.request(findCoordinatorApi, 6, request),
    ({ coordinators }) => coordinators[0]?.errorCode,
  );
  expect(answer.coordinators[0]).toMatchObject({ key: groupId, errorCode: 0 });
}

interface JoinOptions {
  readonly memberId?: string;
  readonly groupInstanceId?: string;
  readonly version?: number;
  readonly protocols?: readonly string[];
  readonly protocolType?: string;
}

function join(connection: KafkaConnection, groupId: string, options: JoinOptions = {}): Promise<JoinGroupResponse> {
  const request = newJoinGroupRequest({
    groupId,
    memberId: options.memberId ?? "",
    groupInstanceId: options.groupInstanceId ?? null,
    protocolType: options.protocolType ?? "consumer",
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 20_000,
    protocols: (options.protocols ?? ["range"]).map((name) => ({ name, metadata: subscription("t") })),
  });
  return untilReady(
    () => connection.request(joinGroupApi, options.version ?? 9, request),
    (answer) => answer.errorCode,
  );
}

async function joinKnown(connection: KafkaConnection, groupId: string, options: JoinOptions = {}): Promise<JoinGroupResponse> {
  const { memberId, errorCode } = await join(connection, groupId, options);
  expect(errorCode).toBe(ErrorCodes.MEMBER_ID_REQUIRED);
  return join(connection, groupId, { ...options, memberId });
}

function sync(
  connection: KafkaConnection,
  groupId: string,
  joined: JoinGroupResponse,
  assignment = "mine",
  instance: string | null = null,
) {
  const { memberId, generationId } = joined;
  const isLeader = joined.leader === memberId;
  return connection.request(
    syncGroupApi,
    5,
    newSyncGroupRequest({
      groupId,
      memberId,
      generationId,
      groupInstanceId: instance,
      protocolType: "consumer",
      protocolName: "range",
      assignments: isLeader ? [{ memberId, assignment: Buffer.from(assignment) }] : [],
    }),
  );
}

async function beat(connection: KafkaConnection, groupId: string, memberId: string, generationId: number, instance: string | null = null) {
  const request = newHeartbeatRequest({ groupId, memberId, generationId, groupInstanceId: instance });
  return (await connection.request(heartbeatApi, 4, request)).errorCode;
}

interface CommitOptions {
  readonly memberId?: string;
  readonly generation?: number;
  readonly version?: number;
  readonly metadata?: string | null;
  readonly partition?: number;
}

async function commit(connection: KafkaConnection, groupId: string, topic: string, offset: bigint, options: CommitOptions = {}) {
  const partitions = [
    newOffsetCommitRequestPartition({
      partitionIndex: options.partition ?? 0,
      committedOffset: offset,
      committedMetadata: options.metadata ?? null,
    }),
  ];
  const request = newOffsetCommitRequest({
    groupId,
    memberId: options.memberId ?? "",
    generationIdOrMemberEpoch: options.generation ?? -1,
    topics: [newOffsetCommitRequestTopic({ name: topic, partitions })],
  });
  const answer = await connection.request(offsetCommitApi, options.version ?? 9, request);
  return answer.topics[0]?.partitions[0]?.errorCode;
}

async function fetchOffsets(connection: KafkaConnection, groupId: string, topic: string, partitionIndexes: number[]) {
  const topics = [{ name: topic, topicId: ZERO_UUID, partitionIndexes }];
  const request = newOffsetFetchRequest({ groups: [{ groupId, memberId: null, memberEpoch: -1, topics }] });
  const group = (await connection.request(offsetFetchApi, 9, request)).groups[0];
  return [group?.errorCode, ...(group?.topics[0]?.partitions.map((p) => [p.errorCode, p.committedOffset, p.metadata]) ?? [])];
}

/** A topic, a group name, and a coordinator that is there. */
async function open(partitions = 2): Promise<{ connection: KafkaConnection; topic: string; group: string }> {
  const connection = await server.connect();
  const topic = uniqueName("topic");
  const group = uniqueName("group");
  await createTopicRaw(connection, topic, { partitions });
  await findGroup(connection, group);
  return { connection, topic, group };
}

describe("groups", () => {
  run("a member's life: id, join, sync, heartbeat, leave, and the states on the way", async () => {
    const { connection, group } = await open();
    const state = async () => {
      const answer = await untilReady(
        () => connection.request(describeGroupsApi, 6, newDescribeGroupsRequest({ groups: [group] })),
        ({ groups }) => groups[0]?.errorCode,
      );
      return [answer.groups[0]?.errorCode, answer.groups[0]?.groupState, answer.groups[0]?.protocolData, answer.groups[0]?.members.length];
    };
    expect(await state()).toEqual([ErrorCodes.GROUP_ID_NOT_FOUND, "Dead", "", 0]);
    const joined = await joinKnown(connection, group);
    expect(joined).toMatchObject({ errorCode: 0, generationId: 1, protocolType: "consumer", protocolName: "range" });
    expect(joined.members.map((member) => member.memberId)).toEqual([joined.memberId]);
    expect(await state()).toEqual([0, "CompletingRebalance", "", 1]);
    const synced = await sync(connection, group, joined);
    expect(synced).toMatchObject({ errorCode: 0, protocolType: "consumer", protocolName: "range" });
    expect(await state()).toEqual([0, "Stable", "range", 1]);
    expect(await beat(connection, group, joined.memberId, 1)).toBe(0);
    expect(await beat(connection, group, joined.memberId, 0)).toBe(ErrorCodes.ILLEGAL_GENERATION);
    expect(await beat(connection, group, "stranger", 1)).toBe(ErrorCodes.UNKNOWN_MEMBER_ID);
    const leave = newLeaveGroupRequest({
      groupId: group,
      members: [
        { memberId: joined.memberId, groupInstanceId: null, reason: null },
        { memberId: "stranger", groupInstanceId: null, reason: null },
      ],
    });
    const left = await connection.request(leaveGroupApi, 5, leave);
    expect(left.members.map((member) => member.errorCode)).toEqual([0, ErrorCodes.UNKNOWN_MEMBER_ID]);
    expect(await state()).toEqual([0, "Empty", "", 0]);
    connection.close();
  });

  run("what a join is refused for", async () => {
    const { connection, group } = await open();
    expect((await join(connection, "", {})).errorCode).toBe(ErrorCodes.INVALID_GROUP_ID);
    expect((await join(connection, group, { memberId: "stranger" })).errorCode).toBe(ErrorCodes.UNKNOWN_MEMBER_ID);
    expect((await join(connection, group, { protocols: [] })).errorCode).toBe(ErrorCodes.INCONSISTENT_GROUP_PROTOCOL);
    expect((await join(connection, group, { protocolType: "" })).errorCode).toBe(ErrorCodes.INCONSISTENT_GROUP_PROTOCOL);
    await joinKnown(connection, group);
    expect(await join(connection, group, { protocolType: "connect", version: 6 })).toMatchObject({
      errorCode: ErrorCodes.INCONSISTENT_GROUP_PROTOCOL,
      generationId: -1,
      protocolName: "",
      memberId: "",
    });
    const tooShort = newJoinGroupRequest({ groupId: group, protocolType: "consumer", sessionTimeoutMs: 5999 });
    expect((await connection.request(joinGroupApi, 9, tooShort)).errorCode).toBe(ErrorCodes.INVALID_SESSION_TIMEOUT);
    connection.close();
  });

  run("a second member: the first learns of it by its heartbeat, and both get the next generation", async () => {
    const { connection, group } = await open();
    const other = await server.connect();
    const first = await joinKnown(connection, group);
    await sync(connection, group, first);
    const { memberId } = await join(other, group);
    const joining = join(other, group, { memberId });
    while ((await beat(connection, group, first.memberId, 1)) !== ErrorCodes.REBALANCE_IN_PROGRESS) await Bun.sleep(10);
    expect((await sync(connection, group, first)).errorCode).toBe(ErrorCodes.REBALANCE_IN_PROGRESS);
    const again = await join(connection, group, { memberId: first.memberId });
    const second = await joining;
    expect([again.generationId, second.generationId, again.leader, second.leader]).toEqual([2, 2, first.memberId, first.memberId]);
    expect([again.members.length, second.members.length]).toEqual([2, 0]);
    expect((await sync(connection, group, again)).errorCode).toBe(0);
    const empty = await sync(other, group, second);
    expect([empty.errorCode, empty.assignment.length]).toEqual([0, 0]);
    expect((await sync(other, group, { ...second, generationId: 1 })).errorCode).toBe(ErrorCodes.ILLEGAL_GENERATION);
    connection.close();
    other.close();
  });

  run("a static member comes back under a new id without a rebalance, and the old id is fenced", async () => {
    const { connection, group } = await open();
    const first = await join(connection, group, { groupInstanceId: "i" });
    expect(first).toMatchObject({ errorCode: 0, generationId: 1 });
    expect(first.memberId.startsWith("i-")).toBe(true);
    await sync(connection, group, first, "static", "i");
    const back = await join(connection, group, { groupInstanceId: "i" });
    expect(back).toMatchObject({ errorCode: 0, generationId: 1, skipAssignment: true, leader: back.memberId });
    expect(back.memberId).not.toBe(first.memberId);
    const synced = await sync(connection, group, back, "another", "i");
    expect(Buffer.from(synced.assignment).toString()).toBe("static");
    expect(await beat(connection, group, first.memberId, 1, "i")).toBe(ErrorCodes.FENCED_INSTANCE_ID);
    expect(await beat(connection, group, first.memberId, 1)).toBe(ErrorCodes.UNKNOWN_MEMBER_ID);
    const old = await join(connection, group, { groupInstanceId: "i", version: 8 });
    expect(old).toMatchObject({ errorCode: 0, generationId: 1, leader: back.memberId, members: [] });
    connection.close();
  });

  run("commits and fetches: whose, what, and -1 for what was never committed (case B2)", async () => {
    const { connection, topic, group } = await open();
    expect(await fetchOffsets(connection, group, topic, [0, 1])).toEqual([0, [0, -1n, ""], [0, -1n, ""]]);
    expect(await commit(connection, group, topic, 7n, { metadata: "m" })).toBe(0);
    expect(await commit(connection, group, topic, -9n, { partition: 1 })).toBe(0);
    expect(await fetchOffsets(connection, group, topic, [0, 1, 5])).toEqual([0, [0, 7n, "m"], [0, -9n, ""], [0, -1n, ""]]);
    expect(await commit(connection, group, topic, 8n, { metadata: "x".repeat(4097) })).toBe(ErrorCodes.OFFSET_METADATA_TOO_LARGE);
    expect(await commit(connection, group, topic, 8n, { partition: 5 })).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await commit(connection, group, "no-such-topic", 8n)).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await commit(connection, uniqueName("none"), topic, 8n, { memberId: "m", generation: 3 })).toBe(ErrorCodes.GROUP_ID_NOT_FOUND);
    const none = uniqueName("none");
    expect(await commit(connection, none, topic, 8n, { memberId: "m", generation: 3, version: 8 })).toBe(ErrorCodes.ILLEGAL_GENERATION);
    const joined = await joinKnown(connection, group);
    const member = { memberId: joined.memberId, generation: 1 };
    expect(await commit(connection, group, topic, 8n, member)).toBe(ErrorCodes.REBALANCE_IN_PROGRESS);
    await sync(connection, group, joined);
    expect(await commit(connection, group, topic, 8n, member)).toBe(0);
    expect(await commit(connection, group, topic, 9n, { ...member, generation: 0 })).toBe(ErrorCodes.ILLEGAL_GENERATION);
    expect(await commit(connection, group, topic, 9n)).toBe(ErrorCodes.UNKNOWN_MEMBER_ID);
    expect(await fetchOffsets(connection, group, topic, [0])).toEqual([0, [0, 8n, ""]]);
    connection.close();
  });

  run("topic ids from version 10", async () => {
    const { connection, topic, group } = await open();
    const topicId = (await readMetadata(connection, [topic])).topics[0]?.topicId ?? "";
    const strange = "AAAAAAAAAAAAAAAAAAAAAw";
    const partitions = [newOffsetCommitRequestPartition({ partitionIndex: 0, committedOffset: 4n })];
    const topics = [topicId, strange].map((id) => newOffsetCommitRequestTopic({ topicId: id, partitions }));
    const committed = await connection.request(offsetCommitApi, 10, newOffsetCommitRequest({ groupId: group, topics }));
    const codes = new Map(committed.topics.map((each) => [each.topicId, each.partitions[0]?.errorCode]));
    expect([codes.get(topicId), codes.get(strange)]).toEqual([0, ErrorCodes.UNKNOWN_TOPIC_ID]);
    const fetch = (wanted: string[] | null) =>
      newOffsetFetchRequest({
        groups: [
          {
            groupId: group,
            memberId: null,
            memberEpoch: -1,
            topics: wanted?.map((id) => ({ name: "", topicId: id, partitionIndexes: [0] })) ?? null,
          },
        ],
      });
    const fetched = (await connection.request(offsetFetchApi, 10, fetch([topicId, strange]))).groups[0]?.topics ?? [];
    const found = new Map(fetched.map((each) => [each.topicId, each.partitions[0]]));
    expect(found.get(topicId)).toMatchObject({ errorCode: 0, committedOffset: 4n });
    expect(found.get(strange)).toMatchObject({ errorCode: ErrorCodes.UNKNOWN_TOPIC_ID, committedOffset: -1n });
    const all = (await connection.request(offsetFetchApi, 10, fetch(null))).groups[0]?.topics ?? [];
    expect(all.map((each) => [each.topicId, each.partitions[0]?.committedOffset])).toEqual([[topicId, 4n]]);
    connection.close();
  });

  run("listing, deleting offsets and deleting groups", async () => {
    const { connection, topic, group } = await open();
    const simple = uniqueName("simple");
    await findGroup(connection, simple);
    await commit(connection, simple, topic, 3n);
    const joined = await joinKnown(connection, group);
    await sync(connection, group, joined);
    const list = async (version: number, statesFilter: string[], typesFilter: string[]) => {
      const answer = await connection.request(listGroupsApi, version, newListGroupsRequest({ statesFilter, typesFilter }));
      return answer.groups.filter((each) => [group, simple].includes(each.groupId)).map((each) => Object.values(each).join("|"));
    };
    expect((await list(5, [], [])).sort()).toEqual([`${group}|consumer|Stable|classic`, `${simple}||Empty|classic`].sort());
    expect(await list(5, ["stable"], ["CLASSIC"])).toEqual([`${group}|consumer|Stable|classic`]);
    expect(await list(5, [], ["consumer"])).toEqual([]);
    const drop = async (groupId: string, name: string) => {
      const topics = [{ name, partitions: [{ partitionIndex: 0 }] }];
      const answer = await connection.request(offsetDeleteApi, 0, newOffsetDeleteRequest({ groupId, topics }));
      return [answer.errorCode, answer.topics[0]?.partitions[0]?.errorCode];
    };
    expect(await drop(simple, topic)).toEqual([0, 0]);
    expect(await drop(simple, "no-such-topic")).toEqual([0, ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION]);
    expect(await drop(uniqueName("none"), topic)).toEqual([ErrorCodes.GROUP_ID_NOT_FOUND, undefined]);
    expect(await fetchOffsets(connection, simple, topic, [0])).toEqual([0, [0, -1n, ""]]);
    const remove = async (groupId: string) => {
      const answer = await connection.request(deleteGroupsApi, 3, newDeleteGroupsRequest({ groupsNames: [groupId] }));
      return answer.results[0]?.errorCode;
    };
    expect(await remove(group)).toBe(ErrorCodes.NON_EMPTY_GROUP);
    expect(await remove(simple)).toBe(0);
    expect(await remove(simple)).toBe(ErrorCodes.GROUP_ID_NOT_FOUND);
    connection.close();
  });

  run("operations that a group allows (KIP-430)", async () => {
    const { connection, topic, group } = await open();
    await commit(connection, group, topic, 1n);
    const request = newDescribeGroupsRequest({ groups: [group], includeAuthorizedOperations: true });
    const bits = (await connection.request(describeGroupsApi, 6, request)).groups[0]?.authorizedOperations;
    expect(bits).toBe((1 << 3) | (1 << 6) | (1 << 8) | (1 << 10) | (1 << 11));
    connection.close();
  });
});
