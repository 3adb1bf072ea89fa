/** R8, B1, B2, M18 for groups of the consumer protocol: what systems like ours met with classic ones, over the wire, with members under their epochs. */
import { describe, expect, test } from "bun:test";
import type { Committer } from "../../../../src/group/offsets/consumer-offset-checks.ts";
import { ErrorCodes } from "../../../../src/protocol/error-codes.ts";
import {
  type ConsumerGroupDescribeResponse,
  newConsumerGroupDescribeRequest,
} from "../../../../src/protocol/messages/consumer-group-describe.ts";
import {
  type ConsumerGroupHeartbeatRequest,
  type ConsumerGroupHeartbeatResponse,
  newConsumerGroupHeartbeatRequest,
} from "../../../../src/protocol/messages/consumer-group-heartbeat.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  type OffsetCommitResponse,
} from "../../../../src/protocol/messages/offset-commit.ts";
import {
  newOffsetDeleteRequest,
  newOffsetDeleteRequestPartition,
  newOffsetDeleteRequestTopic,
  type OffsetDeleteResponse,
} from "../../../../src/protocol/messages/offset-delete.ts";
import {
  newOffsetFetchRequest,
  newOffsetFetchRequestGroup,
  newOffsetFetchRequestTopics,
  type OffsetFetchResponse,
} from "../../../../src/protocol/messages/offset-fetch.ts";
import type { ProducerIdentity } from "../../../../src/transaction/transaction-types.ts";
import type { ApiHarness } from "../../support/api-harness.ts";
import { addOffset, crash, describeState, end, init, rounds, start, topicIdOf } from "../../support/transaction-world.ts";

const KEYS = { commit: 8, fetch: 9, offsetDelete: 47, heartbeat: 68, describe: 69 };
const UNKNOWN: readonly number[] = [ErrorCodes.GROUP_ID_NOT_FOUND, ErrorCodes.UNKNOWN_MEMBER_ID, ErrorCodes.FENCED_MEMBER_EPOCH];

/** A member that has told what it wants, and says at each heartbeat what it has. */
class Member {
  /** null: not a member. */
  readonly memberId: string | null;
  epoch = 0;
  owned: { topicId: string; partitions: number[] }[] = [];

  constructor(memberId: string | null) {
    this.memberId = memberId;
  }

  get committer(): Committer {
    return { memberId: this.memberId ?? "", groupInstanceId: undefined, generation: this.epoch };
  }

  async beat(h: ApiHarness, change: Partial<ConsumerGroupHeartbeatRequest> = {}): Promise<number> {
    const { epoch: memberEpoch } = this;
    const memberId = this.memberId ?? "";
    const full = { rebalanceTimeoutMs: 30_000, subscribedTopicNames: ["t"], topicPartitions: this.owned };
    const request = newConsumerGroupHeartbeatRequest({ groupId: "g", memberId, memberEpoch, ...full, ...change });
    const answer = await h.callOverWire<ConsumerGroupHeartbeatResponse>(KEYS.heartbeat, request, 1);
    if (answer.errorCode !== 0) return answer.errorCode;
    this.epoch = answer.memberEpoch;
    if (answer.assignment !== null)
      this.owned = answer.assignment.topicPartitions.map(({ topicId, partitions }) => ({ topicId, partitions }));
    return 0;
  }

  async commit(h: ApiHarness, offset: bigint): Promise<number> {
    const partitions = [newOffsetCommitRequestPartition({ partitionIndex: 0, committedOffset: offset })];
    const topics = [newOffsetCommitRequestTopic({ topicId: topicIdOf(h), partitions })];
    const request = newOffsetCommitRequest({ groupId: "g", memberId: this.memberId ?? "", generationIdOrMemberEpoch: this.epoch, topics });
    const answer = await h.callOverWire<OffsetCommitResponse>(KEYS.commit, request, 10);
    return answer.topics[0]?.partitions[0]?.errorCode ?? -1;
  }

  /** Error code and offset of partition 0. */
  async fetch(h: ApiHarness, requireStable: boolean, topicId = topicIdOf(h)): Promise<[errorCode: number, offset: number]> {
    const topics = [newOffsetFetchRequestTopics({ topicId, partitionIndexes: [0] })];
    const asked = newOffsetFetchRequestGroup({ groupId: "g", memberId: this.memberId, memberEpoch: this.epoch, topics });
    const request = newOffsetFetchRequest({ groups: [asked], requireStable });
    const found = (await h.callOverWire<OffsetFetchResponse>(KEYS.fetch, request, 10)).groups[0];
    const partition = found?.topics[0]?.partitions[0];
    const errorCode = found?.errorCode === 0 ? partition?.errorCode : found?.errorCode;
    return [errorCode ?? -1, Number(partition?.committedOffset ?? -1n)];
  }
}

/** Member "owner" has partition 0, member "next" waits for it. */
async function makeGroup(): Promise<{ h: ApiHarness; owner: Member; next: Member }> {
  const h = start();
  topicIdOf(h);
  await h.services.groups.findCoordinator("g");
  const [owner, next] = [new Member("owner"), new Member("waiting")];
  expect(await owner.beat(h)).toBe(0);
  expect(await next.beat(h)).toBe(0);
  for (let round = 0; round < 3; round++) {
    await h.clock.advance(1000);
    for (const member of [owner, next]) expect(await member.beat(h)).toBe(0);
  }
  expect([owner.owned.length, next.owned.length]).toEqual([1, 0]);
  return { h, owner, next };
}

/** Offset 42 is committed in a transaction, 43 lies in the next one, which is still open. */
async function beginTwo(h: ApiHarness, owner: Member): Promise<ProducerIdentity> {
  const first = await init(h);
  await addOffset(h, first, 42n, owner.committer);
  const who = await end(h, first, true);
  if (typeof who === "string") throw new Error(who);
  await rounds(6);
  expect(await owner.fetch(h, true)).toEqual([0, 42]);
  await addOffset(h, who, 43n, owner.committer);
  return who;
}

describe("R8: the reply to EndTxn is lost", () => {
  test("at every durable step of the commit the next member waits or is told the new offset, never the old one", async () => {
    for (let steps = 0; steps < 6; steps++) {
      const { h, owner, next } = await makeGroup();
      const who = await beginTwo(h, owner);
      h.storage.isDurableAtOnce = false;
      void end(h, who, true);
      for (let step = 0; step < steps; step++) {
        await rounds(3);
        h.storage.release();
      }
      await rounds(3);
      // The owner is gone; the next member asks before and after the partition is its own.
      const left = owner.beat(h, { memberEpoch: -1 });
      const fetched = next.fetch(h, true);
      await rounds(3);
      h.storage.isDurableAtOnce = true;
      h.storage.release();
      await rounds(8);
      expect(await left).toBe(0);
      const [errorCode, offset] = await fetched;
      if (errorCode === 0) expect(offset).toBe(43);
      else expect([errorCode, offset]).toEqual([ErrorCodes.UNSTABLE_OFFSET_COMMIT, -1]);
      await h.clock.advance(1000);
      expect(await next.beat(h)).toBe(0);
      expect(next.owned).toEqual([{ topicId: topicIdOf(h), partitions: [0] }]);
      expect(await next.fetch(h, true)).toEqual([0, 43]);
    }
  });

  test("and the broker is killed: members go on under their epochs, and the new offset comes without anyone asking for it again", async () => {
    const { h, owner } = await makeGroup();
    const who = await beginTwo(h, owner);
    h.storage.isDurableAtOnce = false;
    void end(h, who, true);
    await rounds(3);
    h.storage.release();
    const after = await crash(h, (opened) => {
      opened.storage.isDurableAtOnce = true;
    });
    expect(await owner.beat(after)).toBe(0);
    expect(await owner.fetch(after, true)).toEqual([0, 43]);
    expect(await describeState(after)).toBe("CompleteCommit");
  });
});

describe("B1: a store that refuses every append for a while", () => {
  test("joins, heartbeats, commits, fetches and leaves all end, and the members go on when it has room again", async () => {
    const { h, owner, next } = await makeGroup();
    h.storage.hasRoom = false;
    const newcomer = new Member("newcomer");
    const waiting = [
      newcomer.beat(h),
      owner.commit(h, 7n),
      next.fetch(h, true).then(([code]) => code),
      next.beat(h, { memberEpoch: -1 }),
      owner.beat(h),
    ];
    let ended = 0;
    for (const each of waiting) void each.then(() => (ended += 1));
    await rounds(3);
    await h.clock.advance(31_000);
    await rounds(3);
    h.storage.grant();
    h.storage.hasRoom = true;
    await rounds(8);
    expect(ended).toBe(waiting.length);
    for (const code of await Promise.all(waiting)) expect(UNKNOWN).not.toContain(code);
    for (let round = 0; round < 4; round++) {
      await h.clock.advance(1000);
      for (const member of [owner, newcomer]) expect(await member.beat(h)).toBe(0);
    }
    expect(await owner.commit(h, 8n)).toBe(0);
    expect(await owner.fetch(h, true)).toEqual([0, 8]);
  });
});

describe("B2: what is not known is not 0", () => {
  test("never committed, deleted, undecided, or of a topic that is no more: -1", async () => {
    const { h, owner, next } = await makeGroup();
    expect(await owner.fetch(h, true)).toEqual([0, -1]);
    expect(await owner.commit(h, 0n)).toBe(0);
    expect(await owner.fetch(h, true)).toEqual([0, 0]);
    for (const member of [owner, next]) expect(await member.beat(h, { memberEpoch: -1 })).toBe(0);
    const admin = new Member(null);
    admin.epoch = -1;
    const topics = [newOffsetDeleteRequestTopic({ name: "t", partitions: [newOffsetDeleteRequestPartition({ partitionIndex: 0 })] })];
    const deleted = await h.callOverWire<OffsetDeleteResponse>(KEYS.offsetDelete, newOffsetDeleteRequest({ groupId: "g", topics }), 0);
    expect(deleted.topics[0]?.partitions[0]?.errorCode).toBe(0);
    expect(await admin.fetch(h, true)).toEqual([0, -1]);
  });

  test("a fetch under another epoch, by nobody's member, or while the group is loaded is an error, and its offset none", async () => {
    const { h, owner } = await makeGroup();
    expect(await owner.commit(h, 5n)).toBe(0);
    const late = new Member("owner");
    late.epoch = owner.epoch + 1;
    expect(await late.fetch(h, true)).toEqual([ErrorCodes.STALE_MEMBER_EPOCH, -1]);
    const nobody = new Member("nobody");
    nobody.epoch = owner.epoch;
    expect(await nobody.fetch(h, true)).toEqual([ErrorCodes.UNKNOWN_MEMBER_ID, -1]);
    const gone = topicIdOf(h);
    await h.metadata.deleteTopics([gone]);
    const [errorCode, offset] = await owner.fetch(h, true, gone);
    expect([errorCode === 0, offset]).toEqual([false, -1]);
    expect(await owner.fetch(h, true, topicIdOf(h))).toEqual([0, -1]);
  });

  test("a transaction that is not decided", async () => {
    const { h, owner } = await makeGroup();
    const who = await init(h);
    await addOffset(h, who, 9n, owner.committer);
    expect(await owner.fetch(h, true)).toEqual([ErrorCodes.UNSTABLE_OFFSET_COMMIT, -1]);
    expect(await owner.fetch(h, false)).toEqual([0, -1]);
    await end(h, who, false);
    await rounds(6);
    expect(await owner.fetch(h, true)).toEqual([0, -1]);
  });
});

describe("M18: the coordinator's load", () => {
  test("goes to the log end as it was at open: nobody is told that group or member are unknown, and members keep what they have", async () => {
    const { h, owner, next } = await makeGroup();
    expect(await owner.commit(h, 5n)).toBe(0);
    const [epoch, owned] = [owner.epoch, owner.owned];
    const logTopic = h.metadata.topics.get("__consumer_offsets")?.topicId;
    const after = await crash(h, (opened) => {
      const openStream = opened.storage.openStream.bind(opened.storage);
      opened.storage.openStream = (id, options) => {
        const stream = openStream(id, options);
        if (id.topicId === logTopic) opened.storage.stream(id.topicId, id.partition).durableEndOffset = 0;
        return stream;
      };
    });
    const describeGroup = async () => {
      const request = newConsumerGroupDescribeRequest({ groupIds: ["g"] });
      return (await after.callOverWire<ConsumerGroupDescribeResponse>(KEYS.describe, request, 1)).groups[0];
    };
    for (let look = 0; look < 3; look++) {
      for (const member of [owner, next, new Member("new")]) expect(await member.beat(after)).toBe(ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS);
      expect(await owner.commit(after, 6n)).toBe(ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS);
      expect(await owner.fetch(after, true)).toEqual([ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS, -1]);
      expect((await describeGroup())?.errorCode).toBe(ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS);
      await after.clock.advance(100);
    }
    for (const stream of after.storage.streams.values()) stream.durableEndOffset = stream.nextOffset;
    await after.clock.advance(200);
    await rounds(4);
    expect((await describeGroup())?.members.map(({ memberId }) => memberId).sort()).toEqual(["owner", "waiting"]);
    expect(await owner.beat(after)).toBe(0);
    expect([owner.epoch, owner.owned]).toEqual([epoch, owned]);
    expect(await owner.fetch(after, true)).toEqual([0, 5]);
  });
});
