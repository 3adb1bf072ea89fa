/** Extreme values in every field that a client of groups chooses: an answer, a wait or a closed connection, and a broker that goes on as before. */
import { expect } from "bun:test";
import { ErrorCodes } from "../../src/protocol/error-codes.ts";
import { deleteGroupsApi, newDeleteGroupsRequest } from "../../src/protocol/messages/delete-groups.ts";
import { describeGroupsApi, newDescribeGroupsRequest } from "../../src/protocol/messages/describe-groups.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { heartbeatApi, newHeartbeatRequest } from "../../src/protocol/messages/heartbeat.ts";
import { joinGroupApi, newJoinGroupRequest } from "../../src/protocol/messages/join-group.ts";
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
import { extremeFrames, type SampleRequest, validFrames } from "../chaos/sample-requests.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw } from "../support/raw-client.ts";
import { ServerUnderTest } from "../support/server-under-test.ts";
import { testIf } from "../support/tools.ts";
import { hasWeir, weirMissing } from "../support/weir-process.ts";

const server = ServerUnderTest.forThisFile({ settings: { "group.initial.rebalance.delay.ms": "0" } });
const AT_ONCE = 100;
/** A join may wait for as long as its client asked: nobody waits for it here. */
const PATIENCE_MS = 250;

function groupSamples(topic: string, topicId: string): SampleRequest[] {
  const sample = (api: SampleRequest["api"], request: object): SampleRequest => ({ api, request: request as Record<string, unknown> });
  const member = { memberId: "m", groupInstanceId: null, reason: null };
  const partitions = [newOffsetCommitRequestPartition({ partitionIndex: 0, committedOffset: 1n, committedMetadata: "" })];
  return [
    sample(findCoordinatorApi, newFindCoordinatorRequest({ key: "x" })),
    sample(findCoordinatorApi, newFindCoordinatorRequest({ coordinatorKeys: ["x"] })),
    sample(
      joinGroupApi,
      newJoinGroupRequest({
        groupId: "x",
        protocolType: "consumer",
        sessionTimeoutMs: 6000,
        rebalanceTimeoutMs: 6000,
        protocols: [{ name: "range", metadata: new Uint8Array(20) }],
      }),
    ),
    sample(
      syncGroupApi,
      newSyncGroupRequest({ groupId: "x", memberId: "m", assignments: [{ memberId: "m", assignment: new Uint8Array(20) }] }),
    ),
    sample(heartbeatApi, newHeartbeatRequest({ groupId: "x", memberId: "m" })),
    sample(leaveGroupApi, newLeaveGroupRequest({ groupId: "x", memberId: "m" })),
    sample(leaveGroupApi, newLeaveGroupRequest({ groupId: "x", members: [member] })),
    sample(
      offsetCommitApi,
      newOffsetCommitRequest({
        groupId: "y",
        generationIdOrMemberEpoch: -1,
        topics: [newOffsetCommitRequestTopic({ name: topic, partitions })],
      }),
    ),
    sample(
      offsetCommitApi,
      newOffsetCommitRequest({
        groupId: "y",
        generationIdOrMemberEpoch: -1,
        topics: [newOffsetCommitRequestTopic({ topicId, partitions })],
      }),
    ),
    sample(offsetFetchApi, newOffsetFetchRequest({ groupId: "y", topics: [{ name: topic, partitionIndexes: [0] }] })),
    sample(
      offsetFetchApi,
      newOffsetFetchRequest({
        groups: [{ groupId: "y", memberId: null, memberEpoch: -1, topics: [{ name: topic, topicId, partitionIndexes: [0] }] }],
      }),
    ),
    sample(describeGroupsApi, newDescribeGroupsRequest({ groups: ["x"] })),
    sample(listGroupsApi, newListGroupsRequest({ statesFilter: ["Stable"], typesFilter: ["classic"] })),
    sample(deleteGroupsApi, newDeleteGroupsRequest({ groupsNames: ["y"] })),
    sample(offsetDeleteApi, newOffsetDeleteRequest({ groupId: "y", topics: [{ name: topic, partitions: [{ partitionIndex: 0 }] }] })),
  ];
}

async function sendAlone(body: Buffer): Promise<"answered" | "closed" | "waiting"> {
  const connection = await KafkaConnection.open(server.port);
  const answered = connection.exchange(body).then(
    () => "answered" as const,
    () => "closed" as const,
  );
  const outcome = await Promise.race([answered, Bun.sleep(PATIENCE_MS).then(() => "waiting" as const)]);
  connection.close();
  return outcome;
}

async function listGroupIds(connection: KafkaConnection): Promise<string[]> {
  for (;;) {
    const { errorCode, groups } = await connection.request(listGroupsApi, 5, newListGroupsRequest());
    if (errorCode === 0) return groups.map((group) => group.groupId).sort();
    if (errorCode !== ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS) throw new Error(`ListGroups answered ${errorCode}`);
  }
}

testIf(hasWeir, weirMissing)(
  "extreme values neither end the broker nor its groups",
  async () => {
    using connection = await server.connect();
    const { topicId } = await createTopicRaw(connection, "extremes");
    const samples = groupSamples("extremes", topicId);
    const counts = { answered: 0, closed: 0, waiting: 0 };
    const frames = [...validFrames(samples), ...extremeFrames(samples)];
    for (let at = 0; at < frames.length; at += AT_ONCE) {
      for (const outcome of await Promise.all(frames.slice(at, at + AT_ONCE).map(({ body }) => sendAlone(body)))) counts[outcome] += 1;
    }
    console.log(`${frames.length} requests: ${JSON.stringify(counts)}`);
    expect(server.weir?.hasExited).toBe(false);
    expect(server.weir?.logTail()).not.toContain("broker.crashed");
    const before = await listGroupIds(connection);
    await server.restart("kill");
    using after = await server.connect();
    expect(await listGroupIds(after)).toEqual(before);
  },
  120_000,
);
