/** Many members and many groups, by raw connections; and what a kill -9 leaves of them. */
import { describe, expect } from "bun:test";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { heartbeatApi, newHeartbeatRequest } from "../../src/protocol/messages/heartbeat.ts";
import { type JoinGroupResponse, joinGroupApi, newJoinGroupRequest } from "../../src/protocol/messages/join-group.ts";
import { listGroupsApi, newListGroupsRequest } from "../../src/protocol/messages/list-groups.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  offsetCommitApi,
} from "../../src/protocol/messages/offset-commit.ts";
import { newOffsetFetchRequest, offsetFetchApi } from "../../src/protocol/messages/offset-fetch.ts";
import { newSyncGroupRequest, syncGroupApi } from "../../src/protocol/messages/sync-group.ts";
import { ZERO_UUID } from "../../src/protocol/reader.ts";
import type { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw } from "../support/raw-client.ts";
import { ServerUnderTest } from "../support/server-under-test.ts";
import { testIf } from "../support/tools.ts";
import { hasWeir, weirMissing } from "../support/weir-process.ts";

const server = ServerUnderTest.forThisFile({ settings: { "group.initial.rebalance.delay.ms": "200" } });
const run = testIf(hasWeir, weirMissing);
const LOADING = 14;

function join(connection: KafkaConnection, groupId: string, memberId: string): Promise<JoinGroupResponse> {
  const protocols = [{ name: "range", metadata: Buffer.from([0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]) }];
  const request = newJoinGroupRequest({
    groupId,
    memberId,
    protocolType: "consumer",
    sessionTimeoutMs: 60_000,
    rebalanceTimeoutMs: 60_000,
    protocols,
  });
  return connection.request(joinGroupApi, 9, request);
}

/** A member that joins again until its generation holds: its assignment is its own id. */
async function settleMember(connection: KafkaConnection, groupId: string): Promise<{ memberId: string; generation: number }> {
  let { memberId } = await join(connection, groupId, "");
  for (;;) {
    const joined = await join(connection, groupId, memberId);
    if (joined.errorCode !== 0) throw new Error(`join answered ${joined.errorCode}`);
    memberId = joined.memberId;
    const synced = await connection.request(
      syncGroupApi,
      5,
      newSyncGroupRequest({
        groupId,
        memberId,
        generationId: joined.generationId,
        protocolType: "consumer",
        protocolName: "range",
        assignments: joined.members.map((member) => ({ memberId: member.memberId, assignment: Buffer.from(member.memberId) })),
      }),
    );
    if (synced.errorCode === 0) {
      expect(Buffer.from(synced.assignment).toString()).toBe(memberId);
      return { memberId, generation: joined.generationId };
    }
  }
}

describe("many", () => {
  run(
    "200 members form one group in which each has its own assignment, and a kill -9 does not end its generation",
    async () => {
      using first = await server.connect();
      await first.request(findCoordinatorApi, 6, newFindCoordinatorRequest({ coordinatorKeys: ["big"] }));
      const connections = await Promise.all(Array.from({ length: 200 }, () => server.connect()));
      const settled = await Promise.all(connections.map((connection) => settleMember(connection, "big")));
      expect(new Set(settled.map((member) => member.memberId)).size).toBe(200);
      // Who settled in an earlier generation is told by its heartbeat and joins again.
      const beat = async (connection: KafkaConnection, member: { memberId: string; generation: number }) =>
        (
          await connection.request(
            heartbeatApi,
            4,
            newHeartbeatRequest({ groupId: "big", memberId: member.memberId, generationId: member.generation }),
          )
        ).errorCode;
      const codes = await Promise.all(connections.map((connection, index) => beat(connection, settled[index]!)));
      expect(codes.filter((code) => code !== 0)).toEqual([]);
      for (const connection of connections) connection.close();
      await server.restart("kill");
      using again = await server.connect();
      for (const member of settled) expect(await beat(again, member)).toBe(0);
    },
    120_000,
  );

  run(
    "1,000 groups keep their offsets over a kill -9",
    async () => {
      using connection = await server.connect();
      await createTopicRaw(connection, "many", { partitions: 1 });
      await connection.request(findCoordinatorApi, 6, newFindCoordinatorRequest({ coordinatorKeys: ["group-0"] }));
      const groups = Array.from({ length: 1000 }, (_, index) => `group-${index}`);
      for (const [index, groupId] of groups.entries()) {
        const partitions = [newOffsetCommitRequestPartition({ partitionIndex: 0, committedOffset: BigInt(index * 7) })];
        const request = newOffsetCommitRequest({ groupId, topics: [newOffsetCommitRequestTopic({ name: "many", partitions })] });
        const answer = await connection.request(offsetCommitApi, 9, request);
        expect(answer.topics[0]?.partitions[0]?.errorCode).toBe(0);
      }
      await server.restart("kill");
      using after = await server.connect();
      const topics = [{ name: "many", topicId: ZERO_UUID, partitionIndexes: [0] }];
      const fetch = newOffsetFetchRequest({ groups: groups.map((groupId) => ({ groupId, memberId: null, memberEpoch: -1, topics })) });
      for (;;) {
        const answer = await after.request(offsetFetchApi, 9, fetch);
        if (answer.groups.some((group) => group.errorCode === LOADING)) continue;
        const offsets = answer.groups.map((group) => Number(group.topics[0]?.partitions[0]?.committedOffset));
        expect(offsets).toEqual(groups.map((_, index) => index * 7));
        break;
      }
      const listed = await after.request(listGroupsApi, 5, newListGroupsRequest());
      expect(listed.groups.filter((group) => group.groupId.startsWith("group-")).length).toBe(1000);
    },
    120_000,
  );
});
