/** Groups as administrators see them: listed, described, deleted, and their offsets' end. */
import { describe, expect, test } from "bun:test";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import { type DeleteGroupsResponse, newDeleteGroupsRequest } from "../../../src/protocol/messages/delete-groups.ts";
import { type DescribeGroupsResponse, newDescribeGroupsRequest } from "../../../src/protocol/messages/describe-groups.ts";
import { newHeartbeatRequest } from "../../../src/protocol/messages/heartbeat.ts";
import { type ListGroupsResponse, newListGroupsRequest } from "../../../src/protocol/messages/list-groups.ts";
import { newOffsetCommitRequestPartition, newOffsetCommitRequestTopic } from "../../../src/protocol/messages/offset-commit.ts";
import { newOffsetDeleteRequest, type OffsetDeleteResponse } from "../../../src/protocol/messages/offset-delete.ts";
import type { ApiHarness } from "../support/api-harness.ts";
import { settle } from "../support/manual-clock.ts";
import { commit, commitRequest, crash, fetchOffset, joinAndSync, KEYS, leaveRequest, makeHarness } from "./groups-harness.ts";

describe("administration", () => {
  test("ListGroups by state and type, in every version", async () => {
    const h = await makeHarness();
    await joinAndSync(h, "used");
    await commit(h, 1n, { groupId: "simple" });
    const list = async (version: number, statesFilter: string[] = [], typesFilter: string[] = []) =>
      (await h.callOverWire<ListGroupsResponse>(KEYS.list, newListGroupsRequest({ statesFilter, typesFilter }), version)).groups
        .map((group) => [group.groupId, group.protocolType, group.groupState, group.groupType].join())
        .sort();
    for (let version = 0; version <= 3; version++) expect(await list(version)).toEqual(["simple,,,", "used,consumer,,"]);
    expect(await list(4, ["stable"])).toEqual(["used,consumer,Stable,"]);
    expect(await list(5, ["EMPTY"])).toEqual(["simple,,Empty,classic"]);
    expect(await list(5, [], ["Classic"])).toEqual(["simple,,Empty,classic", "used,consumer,Stable,classic"]);
    expect(await list(5, [], ["consumer"])).toEqual([]);
    expect(await list(5, ["no such"])).toEqual([]);
  });

  test("DescribeGroups in every version; a group that is not there is Dead, from v6 an error", async () => {
    const h = await makeHarness();
    const { memberId } = await joinAndSync(h, "g", 9, "i");
    for (let version = 0; version <= 6; version++) {
      const request = newDescribeGroupsRequest({ groups: ["g", "none"], includeAuthorizedOperations: version >= 3 });
      const { groups } = await h.callOverWire<DescribeGroupsResponse>(KEYS.describe, request, version);
      expect(groups[0]).toMatchObject({ errorCode: 0, groupState: "Stable", protocolType: "consumer", protocolData: "range" });
      expect(groups[0]?.members[0]).toMatchObject({
        memberId,
        groupInstanceId: version >= 4 ? "i" : null,
        clientHost: "/127.0.0.1",
        memberAssignment: new Uint8Array(Buffer.from("mine")),
      });
      expect(groups[1]).toMatchObject({ groupState: "Dead", errorCode: version >= 6 ? ErrorCodes.GROUP_ID_NOT_FOUND : 0 });
    }
  });

  test("DeleteGroups refuses a group in use, and deletes an empty one with its offsets for good", async () => {
    const h = await makeHarness();
    const { memberId, generation } = await joinAndSync(h);
    await commit(h, 9n, { memberId, generationIdOrMemberEpoch: generation });
    const remove = async (on: ApiHarness, version: number) =>
      (
        await on.callOverWire<DeleteGroupsResponse>(KEYS.delete, newDeleteGroupsRequest({ groupsNames: ["g", "none", "g"] }), version)
      ).results.map((result) => [result.groupId, result.errorCode]);
    for (let version = 0; version <= 3; version++) {
      expect(await remove(h, version)).toEqual([
        ["g", ErrorCodes.NON_EMPTY_GROUP],
        ["none", ErrorCodes.GROUP_ID_NOT_FOUND],
      ]);
    }
    const absent = await h.callOverWire<DeleteGroupsResponse>(KEYS.delete, newDeleteGroupsRequest({ groupsNames: ["none"] }), 3);
    expect(absent.results[0]?.errorMessage).toBeNull();
    await h.callOverWire(KEYS.leave, leaveRequest(memberId), 5);
    expect((await remove(h, 3))[0]).toEqual(["g", 0]);
    expect(await fetchOffset(h)).toBe(-1n);
    const after = crash(h);
    after.services.groups.loadOwned();
    await settle();
    expect(await fetchOffset(after)).toBe(-1n);
    expect((await after.callOverWire<ListGroupsResponse>(KEYS.list, newListGroupsRequest(), 5)).groups).toEqual([]);
  });

  test("OffsetDelete spares what a group in use subscribes to", async () => {
    const h = await makeHarness();
    h.metadata.addTopic("u", 1);
    const { memberId, generation } = await joinAndSync(h);
    const member = { memberId, generationIdOrMemberEpoch: generation };
    await commit(h, 9n, member);
    const u = newOffsetCommitRequestTopic({
      name: "u",
      partitions: [newOffsetCommitRequestPartition({ partitionIndex: 0, committedOffset: 3n })],
    });
    await commit(h, 9n, { ...member, topics: [u] });
    const drop = (groupId: string) =>
      h.callOverWire<OffsetDeleteResponse>(
        KEYS.drop,
        newOffsetDeleteRequest({
          groupId,
          topics: ["t", "u", "none"].map((name) => ({ name, partitions: [{ partitionIndex: name === "u" ? 0 : 1 }] })),
        }),
        0,
      );
    const answer = await drop("g");
    expect(answer.topics.map((topic) => topic.partitions[0]?.errorCode)).toEqual([ErrorCodes.GROUP_SUBSCRIBED_TO_TOPIC, 0, 3]);
    expect((await drop("none")).errorCode).toBe(ErrorCodes.GROUP_ID_NOT_FOUND);
    expect(await fetchOffset(h)).toBe(9n);
  });
});

describe("retention", () => {
  const settings = { "offsets.retention.minutes": "10", "offsets.retention.check.interval.ms": "60000" };
  const MINUTE_MS = 60_000;

  test("offsets of a simple group expire after their commit, and the group goes with the last", async () => {
    const h = await makeHarness(settings);
    await commit(h, 5n);
    await h.clock.advance(9 * MINUTE_MS);
    expect(await fetchOffset(h)).toBe(5n);
    await h.clock.advance(2 * MINUTE_MS);
    expect(await fetchOffset(h)).toBe(-1n);
    expect((await h.callOverWire<ListGroupsResponse>(KEYS.list, newListGroupsRequest(), 5)).groups).toEqual([]);
    const after = crash(h, settings);
    after.services.groups.loadOwned();
    await settle();
    expect(await fetchOffset(after)).toBe(-1n);
  });

  test("offsets of a group in use stay, and expire from when it became empty", async () => {
    const h = await makeHarness(settings);
    const { memberId, generation } = await joinAndSync(h);
    await commit(h, 5n, { memberId, generationIdOrMemberEpoch: generation });
    const beat = newHeartbeatRequest({ groupId: "g", memberId, generationId: generation });
    for (let ms = 0; ms < 30 * MINUTE_MS; ms += 5000) {
      await h.clock.advance(5000);
      await h.call(KEYS.heartbeat, beat, 4);
    }
    await h.clock.advance(9 * MINUTE_MS);
    expect(await fetchOffset(h)).toBe(5n);
    await h.clock.advance(3 * MINUTE_MS);
    expect(await fetchOffset(h)).toBe(-1n);
  });

  test("a retention of the client's own counts (OffsetCommit v2-4)", async () => {
    const h = await makeHarness(settings);
    await h.callOverWire(KEYS.commit, commitRequest(5n, { retentionTimeMs: BigInt(2 * MINUTE_MS) }), 4);
    await h.clock.advance(3 * MINUTE_MS);
    expect(await fetchOffset(h)).toBe(-1n);
  });

  test("offsets go with their topic, and a new topic of the name begins without", async () => {
    const h = await makeHarness();
    await commit(h, 5n);
    await h.metadata.deleteTopics([h.metadata.topics.get("t")!.topicId]);
    await settle();
    h.metadata.addTopic("t", 4);
    expect(await fetchOffset(h)).toBe(-1n);
    const after = crash(h);
    after.services.groups.loadOwned();
    await settle();
    expect(await fetchOffset(after)).toBe(-1n);
  });
});
