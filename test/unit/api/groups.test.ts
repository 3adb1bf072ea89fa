/** The group APIs over fakes: every version through the wire, durability before answers, and what a restart finds. */
import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import { type DescribeGroupsResponse, newDescribeGroupsRequest } from "../../../src/protocol/messages/describe-groups.ts";
import { type FindCoordinatorResponse, newFindCoordinatorRequest } from "../../../src/protocol/messages/find-coordinator.ts";
import { type HeartbeatResponse, newHeartbeatRequest } from "../../../src/protocol/messages/heartbeat.ts";
import { type JoinGroupResponse, newJoinGroupRequest } from "../../../src/protocol/messages/join-group.ts";
import { type LeaveGroupResponse, newLeaveGroupRequest } from "../../../src/protocol/messages/leave-group.ts";
import { type ListGroupsResponse, newListGroupsRequest } from "../../../src/protocol/messages/list-groups.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  type OffsetCommitResponse,
} from "../../../src/protocol/messages/offset-commit.ts";
import { newOffsetFetchRequest, type OffsetFetchResponse } from "../../../src/protocol/messages/offset-fetch.ts";
import { newSyncGroupRequest, type SyncGroupResponse } from "../../../src/protocol/messages/sync-group.ts";
import { subscription } from "../group/classic/group-harness.ts";
import { ApiHarness } from "../support/api-harness.ts";
import { FakeStream } from "../support/fake-storage.ts";
import { settle } from "../support/manual-clock.ts";
import {
  commit,
  commitRequest,
  crash,
  fetchOffset,
  fetchRequest,
  joinAndSync,
  KEYS,
  leaveRequest,
  makeHarness,
  SETTINGS,
} from "./groups-harness.ts";

describe("FindCoordinator", () => {
  test("creates __consumer_offsets with its settings, and names the owner in every version", async () => {
    const h = new ApiHarness({ ...SETTINGS, "offsets.topic.num.partitions": "7" });
    for (let version = 0; version <= 6; version++) {
      const request = newFindCoordinatorRequest(version < 4 ? { key: "g" } : { coordinatorKeys: ["g", "h"] });
      const answer = await h.callOverWire<FindCoordinatorResponse>(KEYS.find, request, version);
      const found = version < 4 ? [answer] : answer.coordinators;
      if (version >= 1 && version < 4) expect(answer.errorMessage).toBe("NONE");
      expect(found.map(({ errorCode, nodeId, host, port }) => [errorCode, nodeId, host, port])).toEqual(
        found.map(() => [0, 1, "127.0.0.1", 9092]),
      );
    }
    const topic = h.metadata.image.getTopic("__consumer_offsets");
    expect(topic?.partitionCount).toBe(7);
    expect(topic?.configs.get("cleanup.policy")).toBe("compact");
    expect(h.storage.opens).toBe(0);
  });

  test("transactional ids have a coordinator too, share keys none, as in a Kafka without share groups", async () => {
    const h = new ApiHarness();
    const find = async (keyType: number) =>
      (await h.callOverWire<FindCoordinatorResponse>(KEYS.find, newFindCoordinatorRequest({ keyType, coordinatorKeys: ["x"] }), 6))
        .coordinators[0]?.errorCode;
    expect(await find(1)).toBe(ErrorCodes.NONE);
    expect(h.metadata.image.getTopic("__transaction_state")).toMatchObject({ partitionCount: 50 });
    expect(await find(2)).toBe(ErrorCodes.INVALID_REQUEST);
  });

  test("a topic that cannot be created is tried again by the client", async () => {
    const h = new ApiHarness();
    h.metadata.failure = new Error("no controller");
    const answer = await h.callOverWire<FindCoordinatorResponse>(KEYS.find, newFindCoordinatorRequest({ coordinatorKeys: ["g"] }), 4);
    expect(answer.coordinators[0]?.errorCode).toBe(ErrorCodes.COORDINATOR_NOT_AVAILABLE);
  });
});

describe("members", () => {
  for (const version of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) {
    test(`join, sync, heartbeat, leave with JoinGroup v${version}`, async () => {
      const h = await makeHarness();
      const { memberId, generation } = await joinAndSync(h, "g", version);
      const beat = newHeartbeatRequest({ groupId: "g", memberId, generationId: generation });
      for (let v = 0; v <= 4; v++) expect((await h.callOverWire<HeartbeatResponse>(KEYS.heartbeat, beat, v)).errorCode).toBe(0);
      const leaveVersion = Math.min(version, 5);
      const leave = leaveVersion < 3 ? newLeaveGroupRequest({ groupId: "g", memberId }) : leaveRequest(memberId);
      const left = await h.callOverWire<LeaveGroupResponse>(KEYS.leave, leave, leaveVersion);
      expect([left.errorCode, left.members.map((member) => member.errorCode)]).toEqual([0, leaveVersion < 3 ? [] : [0]]);
      expect((await h.callOverWire<HeartbeatResponse>(KEYS.heartbeat, beat, 4)).errorCode).toBe(ErrorCodes.UNKNOWN_MEMBER_ID);
    });
  }

  test("the last one's leave is answered when the empty group is durable: it does not come back with its member", async () => {
    const h = await makeHarness();
    const { memberId } = await joinAndSync(h);
    h.storage.isDurableAtOnce = false;
    let hasLeft = false;
    const leaving = h.callOverWire<LeaveGroupResponse>(KEYS.leave, leaveRequest(memberId), 5).then((answer) => {
      hasLeft = true;
      return answer;
    });
    await settle();
    expect(hasLeft).toBe(false);
    h.storage.release();
    expect((await leaving).errorCode).toBe(0);
    const after = crash(h);
    after.services.groups.loadOwned();
    await settle();
    const { groups } = await after.callOverWire<ListGroupsResponse>(KEYS.list, newListGroupsRequest(), 5);
    expect(groups).toMatchObject([{ groupId: "g", groupState: "Empty" }]);
  });

  const badJoins: readonly [string, Parameters<typeof newJoinGroupRequest>[0], number][] = [
    ["no group id", { groupId: "" }, ErrorCodes.INVALID_GROUP_ID],
    ["a session that is too short", { sessionTimeoutMs: 5999 }, ErrorCodes.INVALID_SESSION_TIMEOUT],
    ["a session that is too long", { sessionTimeoutMs: 1_800_001 }, ErrorCodes.INVALID_SESSION_TIMEOUT],
    ["a member id that was never given", { memberId: "stranger" }, ErrorCodes.UNKNOWN_MEMBER_ID],
    ["no protocols", { protocols: [] }, ErrorCodes.INCONSISTENT_GROUP_PROTOCOL],
  ];
  test.each(badJoins)("a join with %s is refused in every version", async (_, change, code) => {
    const h = await makeHarness();
    for (let version = 0; version <= 9; version++) {
      const request = newJoinGroupRequest({
        groupId: "g",
        protocolType: "consumer",
        sessionTimeoutMs: 10_000,
        protocols: [{ name: "range", metadata: subscription("t") }],
        ...change,
      });
      const answer = await h.callOverWire<JoinGroupResponse>(KEYS.join, request, version);
      expect([answer.errorCode, answer.generationId]).toEqual([code, -1]);
    }
  });

  test("a sync without the protocol's type and name is refused from v5", async () => {
    const h = await makeHarness();
    const answer = await h.callOverWire<SyncGroupResponse>(KEYS.sync, newSyncGroupRequest({ groupId: "g" }), 5);
    expect(answer.errorCode).toBe(ErrorCodes.INCONSISTENT_GROUP_PROTOCOL);
  });

  test("while another broker would have the group, and before there is a topic, this is not the coordinator", async () => {
    const h = new ApiHarness();
    const beat = newHeartbeatRequest({ groupId: "g" });
    expect((await h.callOverWire<HeartbeatResponse>(KEYS.heartbeat, beat, 4)).errorCode).toBe(ErrorCodes.NOT_COORDINATOR);
  });

  test("a group that waits is told to look elsewhere when the broker drains", async () => {
    const h = await makeHarness({ "group.initial.rebalance.delay.ms": "3000" });
    const request = newJoinGroupRequest({
      groupId: "g",
      protocolType: "consumer",
      sessionTimeoutMs: 10_000,
      protocols: [{ name: "range", metadata: subscription("t") }],
    });
    const waits = h.callOverWire<JoinGroupResponse>(KEYS.join, request, 3);
    await settle();
    h.services.groups.close();
    expect((await waits).errorCode).toBe(ErrorCodes.NOT_COORDINATOR);
    expect((await h.callOverWire<JoinGroupResponse>(KEYS.join, request, 3)).errorCode).toBe(ErrorCodes.COORDINATOR_NOT_AVAILABLE);
  });
});

describe("offsets", () => {
  test("are committed and fetched in every version, and what was never committed is -1 (case B2)", async () => {
    const h = await makeHarness();
    const { topicId } = h.metadata.topics.get("t")!;
    for (let version = 2; version <= 10; version++) {
      const request = commitRequest(BigInt(version) * 1000n);
      const topic = request.topics[0]!;
      if (version >= 10) Object.assign(topic, { name: "", topicId });
      const answer = await h.callOverWire<OffsetCommitResponse>(KEYS.commit, request, version);
      expect(answer.topics[0]?.partitions[0]?.errorCode).toBe(0);
      expect(await fetchOffset(h)).toBe(BigInt(version) * 1000n);
    }
    for (let version = 1; version <= 7; version++) {
      const request = newOffsetFetchRequest({ groupId: "g", topics: [{ name: "t", partitionIndexes: [1, 2] }] });
      const { topics } = await h.callOverWire<OffsetFetchResponse>(KEYS.fetch, request, version);
      expect(topics[0]?.partitions.map((p) => [p.errorCode, p.committedOffset, p.metadata])).toEqual([
        [0, 10_000n, "note"],
        [0, -1n, ""],
      ]);
    }
    const all = newOffsetFetchRequest({
      groups: ["g", "nobody"].map((groupId) => ({ groupId, memberId: null, memberEpoch: -1, topics: null })),
    });
    for (let version = 8; version <= 10; version++) {
      const { groups } = await h.callOverWire<OffsetFetchResponse>(KEYS.fetch, all, version);
      expect(groups.map((group) => [group.groupId, group.errorCode, group.topics.length])).toEqual([
        ["g", 0, 1],
        ["nobody", 0, 0],
      ]);
      expect(groups[0]?.topics[0]).toMatchObject(version < 10 ? { name: "t" } : { topicId });
    }
  });

  test("unknown topics, ids and partitions", async () => {
    const h = await makeHarness();
    const partitions = [newOffsetCommitRequestPartition({ partitionIndex: 9, committedOffset: 5n })];
    const strange = "AAAAAAAAAAAAAAAAAAAAAw";
    const byName = newOffsetCommitRequest({
      groupId: "g",
      topics: ["t", "nothing"].map((name) => newOffsetCommitRequestTopic({ name, partitions })),
    });
    const byId = newOffsetCommitRequest({ groupId: "g", topics: [newOffsetCommitRequestTopic({ topicId: strange, partitions })] });
    const codes = (answer: OffsetCommitResponse) => answer.topics.map((topic) => topic.partitions[0]?.errorCode);
    expect(codes(await h.callOverWire(KEYS.commit, byName, 9))).toEqual([3, 3]);
    expect(codes(await h.callOverWire(KEYS.commit, byId, 10))).toEqual([ErrorCodes.UNKNOWN_TOPIC_ID]);
    const fetch = newOffsetFetchRequest({
      groups: [{ groupId: "g", memberId: null, memberEpoch: -1, topics: [{ name: "", topicId: strange, partitionIndexes: [0] }] }],
    });
    const { groups } = await h.callOverWire<OffsetFetchResponse>(KEYS.fetch, fetch, 10);
    expect(groups[0]?.topics[0]?.partitions[0]).toMatchObject({ errorCode: ErrorCodes.UNKNOWN_TOPIC_ID, committedOffset: -1n });
  });

  test("any int64 comes back as it went", async () => {
    const h = await makeHarness();
    for (const offset of [0n, -5n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n]) {
      expect(await commit(h, offset)).toBe(0);
      expect(await fetchOffset(h)).toBe(offset);
    }
    expect(await fetchOffset(crash(h))).not.toBe(0n);
  });

  test("metadata beyond offset.metadata.max.bytes is refused alone", async () => {
    const h = await makeHarness();
    const partitions = ["x".repeat(4097), "x".repeat(4096)].map((committedMetadata, partitionIndex) =>
      newOffsetCommitRequestPartition({ partitionIndex, committedOffset: 1n, committedMetadata }),
    );
    const request = newOffsetCommitRequest({ groupId: "g", topics: [newOffsetCommitRequestTopic({ name: "t", partitions })] });
    const answer = await h.callOverWire<OffsetCommitResponse>(KEYS.commit, request, 9);
    expect(answer.topics[0]?.partitions.map((p) => p.errorCode)).toEqual([ErrorCodes.OFFSET_METADATA_TOO_LARGE, 0]);
  });

  test("commits of members are fenced", async () => {
    const h = await makeHarness();
    const { memberId, generation } = await joinAndSync(h);
    const member = { memberId, generationIdOrMemberEpoch: generation };
    expect(await commit(h, 5n, member)).toBe(0);
    expect(await commit(h, 6n, { ...member, generationIdOrMemberEpoch: generation - 1 })).toBe(ErrorCodes.ILLEGAL_GENERATION);
    expect(await commit(h, 6n, { ...member, memberId: "stranger" })).toBe(ErrorCodes.UNKNOWN_MEMBER_ID);
    expect(await commit(h, 6n)).toBe(ErrorCodes.UNKNOWN_MEMBER_ID);
    expect(await commit(h, 6n, { groupId: "other", ...member })).toBe(ErrorCodes.GROUP_ID_NOT_FOUND);
    const old = await h.callOverWire<OffsetCommitResponse>(KEYS.commit, commitRequest(6n, { groupId: "other", ...member }), 8);
    expect(old.topics[0]?.partitions[0]?.errorCode).toBe(ErrorCodes.ILLEGAL_GENERATION);
    expect(await fetchOffset(h)).toBe(5n);
  });

  test("are answered when durable, and told to nobody before", async () => {
    const h = await makeHarness();
    expect(await commit(h, 1n)).toBe(0);
    h.storage.isDurableAtOnce = false;
    let isCommitted = false;
    let told: bigint | undefined;
    const committing = commit(h, 2n).then(() => {
      isCommitted = true;
    });
    const fetching = fetchOffset(h).then((offset) => {
      told = offset;
    });
    await settle();
    expect([isCommitted, told]).toEqual([false, undefined]);
    h.storage.release();
    await Promise.all([committing, fetching]);
    expect(told).toBe(2n);
  });

  test("that were not durable are not there after a crash, those that were answered are", async () => {
    const h = await makeHarness();
    await commit(h, 1n);
    h.storage.isDurableAtOnce = false;
    void commit(h, 2n).catch(() => {});
    await settle();
    const after = crash(h);
    after.storage.isDurableAtOnce = true;
    after.services.groups.loadOwned();
    await settle();
    expect(await fetchOffset(after)).toBe(1n);
  });

  test("wait for room in storage, in order", async () => {
    const h = await makeHarness();
    await commit(h, 1n);
    h.storage.hasRoom = false;
    const answers = [commit(h, 2n), commit(h, 3n), fetchOffset(h)];
    await settle();
    h.storage.grant();
    expect(await Promise.all(answers)).toEqual([0, 0, 3n]);
    expect(h.storage.openReservations).toBe(0);
  });

  test("that wait too long for the WAL are to be tried again, and are there when it has room", async () => {
    const h = await makeHarness();
    await commit(h, 1n);
    h.storage.hasRoom = false;
    const waiting = commit(h, 2n);
    const reading = h.callOverWire<OffsetFetchResponse>(KEYS.fetch, fetchRequest(), 9);
    await settle();
    await h.clock.advance(5000);
    expect(await waiting).toBe(ErrorCodes.COORDINATOR_NOT_AVAILABLE);
    expect((await reading).groups[0]?.errorCode).toBe(ErrorCodes.NOT_COORDINATOR);
    h.storage.grant();
    await settle();
    expect(await fetchOffset(h)).toBe(2n);
  });

  test("when the outcome of a write is not known, the groups are given up and read again", async () => {
    const h = await makeHarness();
    await commit(h, 1n);
    h.storage.isDurableAtOnce = false;
    const failing = commit(h, 2n);
    const reading = h.callOverWire<OffsetFetchResponse>(KEYS.fetch, fetchRequest(), 9);
    await settle();
    h.storage.fail();
    expect(await failing).toBe(ErrorCodes.NOT_COORDINATOR);
    expect((await reading).groups[0]?.errorCode).toBe(ErrorCodes.NOT_COORDINATOR);
    expect(h.logger.names()).toContain("group.unloaded");
  });
});

describe("load", () => {
  test("finds members, generation and offsets as they were acknowledged; sessions begin anew", async () => {
    const h = await makeHarness();
    const { memberId, generation } = await joinAndSync(h);
    await commit(h, 77n, { memberId, generationIdOrMemberEpoch: generation });
    const describeAll = (on: ApiHarness) =>
      on.callOverWire<DescribeGroupsResponse>(KEYS.describe, newDescribeGroupsRequest({ groups: ["g"] }), 6);
    const before = await describeAll(h);
    const after = crash(h);
    after.services.groups.loadOwned();
    await settle();
    expect(await describeAll(after)).toEqual(before);
    expect(await fetchOffset(after)).toBe(77n);
    const beat = newHeartbeatRequest({ groupId: "g", memberId, generationId: generation });
    expect((await after.callOverWire<HeartbeatResponse>(KEYS.heartbeat, beat, 4)).errorCode).toBe(0);
    const silent = crash(after);
    silent.services.groups.loadOwned();
    await settle();
    expect((await describeAll(silent)).groups[0]?.groupState).toBe("Stable");
    await silent.clock.advance(60_000);
    expect((await describeAll(silent)).groups[0]?.groupState).toBe("Empty");
  });

  test("goes to the log end as it was at open: a short read is tried again (case M18)", async () => {
    const h = await makeHarness();
    await commit(h, 1n);
    const after = crash(h);
    const [key = ""] = h.storage.stored.keys();
    const openStream = after.storage.openStream.bind(after.storage);
    after.storage.openStream = (id, options) => {
      const stream = openStream(id, options);
      if (`${id.topicId}-${id.partition}` === key) after.storage.stream(id.topicId, id.partition).durableEndOffset = 0;
      return stream;
    };
    after.services.groups.loadOwned();
    await settle();
    const fetch = async () => (await after.callOverWire<OffsetFetchResponse>(KEYS.fetch, fetchRequest(), 9)).groups[0]?.errorCode;
    expect(await fetch()).toBe(ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS);
    const list = await after.callOverWire<ListGroupsResponse>(KEYS.list, newListGroupsRequest(), 5);
    expect(list.errorCode).toBe(ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS);
    expect((await after.callOverWire<HeartbeatResponse>(KEYS.heartbeat, newHeartbeatRequest({ groupId: "g" }), 4)).errorCode).toBe(0);
    await after.clock.advance(1000);
    expect(await fetch()).toBe(ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS);
    for (const stream of after.storage.streams.values()) stream.durableEndOffset = stream.nextOffset;
    await after.clock.advance(200);
    expect(await fetchOffset(after)).toBe(1n);
  });

  test("a log that cannot be read is not an empty one", async () => {
    const h = await makeHarness();
    await commit(h, 1n);
    const after = crash(h);
    const openStream = after.storage.openStream.bind(after.storage);
    const failures = [new Trouble({ code: "store-unavailable", message: "the store is away", retryable: true })];
    after.storage.openStream = (id, options) => {
      const stream = openStream(id, options);
      const fake = after.storage.stream(id.topicId, id.partition);
      // The producer state's own replay reads from memory; the load finds the log cold.
      fake.tryRead = () =>
        fake.tryReads++ === 0
          ? FakeStream.prototype.tryRead.call(fake, 0, { endOffset: 1e9, maxBytes: 1e9, atLeastOneBatch: true })
          : undefined;
      fake.readFailure = failures[0];
      return stream;
    };
    after.services.groups.loadOwned();
    await settle();
    await after.clock.advance(1000);
    const { groups } = await after.callOverWire<OffsetFetchResponse>(KEYS.fetch, fetchRequest(), 9);
    expect(groups[0]?.errorCode).toBe(ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS);
    expect(after.logger.names()).toContain("group.load-waits");
    for (const stream of after.storage.streams.values()) stream.readFailure = undefined;
    await after.clock.advance(200);
    expect(await fetchOffset(after)).toBe(1n);
  });
});
