/** Requests of groups over the wire, as the tests of groups send them, and a broker that dies. */
import { expect } from "bun:test";
import type { GroupCoordinator } from "../../../src/group/group-coordinator.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import { newFindCoordinatorRequest } from "../../../src/protocol/messages/find-coordinator.ts";
import { type JoinGroupResponse, newJoinGroupRequest } from "../../../src/protocol/messages/join-group.ts";
import { newLeaveGroupRequest } from "../../../src/protocol/messages/leave-group.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  type OffsetCommitRequest,
  type OffsetCommitResponse,
} from "../../../src/protocol/messages/offset-commit.ts";
import { newOffsetFetchRequest, type OffsetFetchResponse } from "../../../src/protocol/messages/offset-fetch.ts";
import { newSyncGroupRequest, type SyncGroupResponse } from "../../../src/protocol/messages/sync-group.ts";
import { ZERO_UUID } from "../../../src/protocol/reader.ts";
import { subscription } from "../group/classic/group-harness.ts";
import { ApiHarness, loseVolatile } from "../support/api-harness.ts";
import { settle } from "../support/manual-clock.ts";

export const KEYS = {
  commit: 8,
  fetch: 9,
  find: 10,
  join: 11,
  heartbeat: 12,
  leave: 13,
  sync: 14,
  describe: 15,
  list: 16,
  delete: 42,
  drop: 47,
};
export const SETTINGS = { "group.initial.rebalance.delay.ms": "0" };

export async function makeHarness(settings: Readonly<Record<string, string>> = {}): Promise<ApiHarness> {
  const h = new ApiHarness({ ...SETTINGS, ...settings });
  h.metadata.addTopic("t", 4);
  await h.callOverWire(KEYS.find, newFindCoordinatorRequest({ coordinatorKeys: ["g"] }), 4);
  return h;
}

/** The process is gone without a word; another starts with what was durable. */
export function crash(h: ApiHarness, settings: Readonly<Record<string, string>> = {}): ApiHarness {
  (h.services.groups as GroupCoordinator).close();
  loseVolatile(h);
  return new ApiHarness({ ...SETTINGS, ...settings }, h.storage, h.metadata);
}

export function commitRequest(offset: bigint, change: Partial<OffsetCommitRequest> = {}): OffsetCommitRequest {
  const partitions = [newOffsetCommitRequestPartition({ partitionIndex: 1, committedOffset: offset, committedMetadata: "note" })];
  return newOffsetCommitRequest({ groupId: "g", topics: [newOffsetCommitRequestTopic({ name: "t", partitions })], ...change });
}

export async function commit(h: ApiHarness, offset: bigint, change: Partial<OffsetCommitRequest> = {}): Promise<number | undefined> {
  const answer = await h.callOverWire<OffsetCommitResponse>(KEYS.commit, commitRequest(offset, change), 9);
  return answer.topics[0]?.partitions[0]?.errorCode;
}

export const fetchRequest = (groupId = "g", partitionIndexes = [1]) =>
  newOffsetFetchRequest({
    groups: [{ groupId, memberId: null, memberEpoch: -1, topics: [{ name: "t", topicId: ZERO_UUID, partitionIndexes }] }],
  });

export async function fetchOffset(h: ApiHarness, partition = 1): Promise<bigint | undefined> {
  const answer = await h.callOverWire<OffsetFetchResponse>(KEYS.fetch, fetchRequest("g", [partition]), 9);
  return answer.groups[0]?.topics[0]?.partitions[0]?.committedOffset;
}

export const leaveRequest = (memberId: string) =>
  newLeaveGroupRequest({ groupId: "g", members: [{ memberId, groupInstanceId: null, reason: null }] });

export interface Joined {
  readonly memberId: string;
  readonly generation: number;
}

export async function joinAndSync(h: ApiHarness, groupId = "g", version = 9, groupInstanceId: string | null = null): Promise<Joined> {
  const request = (memberId: string) =>
    newJoinGroupRequest({
      groupId,
      memberId,
      groupInstanceId: version >= 5 ? groupInstanceId : null,
      protocolType: "consumer",
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: version === 0 ? -1 : 20_000,
      protocols: [{ name: "range", metadata: subscription("t") }],
    });
  const first = h.callOverWire<JoinGroupResponse>(KEYS.join, request(""), version);
  await settle();
  await h.clock.advance(1);
  let joined = await first;
  if (joined.errorCode === ErrorCodes.MEMBER_ID_REQUIRED) {
    const second = h.callOverWire<JoinGroupResponse>(KEYS.join, request(joined.memberId), version);
    await settle();
    await h.clock.advance(1);
    joined = await second;
  }
  expect([joined.errorCode, joined.protocolName]).toEqual([0, "range"]);
  const { memberId, generationId } = joined;
  const named = version >= 9 ? { protocolType: "consumer", protocolName: "range" } : {};
  const synced = await h.callOverWire<SyncGroupResponse>(
    KEYS.sync,
    newSyncGroupRequest({
      groupId,
      memberId,
      generationId,
      groupInstanceId: version >= 5 ? groupInstanceId : null,
      ...named,
      assignments: [{ memberId, assignment: Buffer.from("mine") }],
    }),
    version >= 9 ? 5 : version >= 5 ? 3 : 0,
  );
  expect([synced.errorCode, Buffer.from(synced.assignment).toString()]).toEqual([0, "mine"]);
  return { memberId, generation: generationId };
}
