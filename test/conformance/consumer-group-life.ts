/**
 * Lives of groups by raw requests, in which every record that a coordinator keeps of consumer groups is written and taken away: members by name and by pattern, static
 * ones and ones with a rack, who join, share, leave and come back; classic members beside them; an upgrade and a downgrade; offsets in and out of transactions; a group
 * that is deleted; a kill -9 in between.
 */
import { expect } from "bun:test";
import { ErrorCodes } from "../../src/protocol/error-codes.ts";
import {
  type ConsumerGroupHeartbeatRequest,
  consumerGroupHeartbeatApi,
  newConsumerGroupHeartbeatRequest,
} from "../../src/protocol/messages/consumer-group-heartbeat.ts";
import { deleteGroupsApi, newDeleteGroupsRequest } from "../../src/protocol/messages/delete-groups.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { joinGroupApi, newJoinGroupRequest, newJoinGroupRequestProtocol } from "../../src/protocol/messages/join-group.ts";
import { leaveGroupApi, newLeaveGroupRequest, newMemberIdentity } from "../../src/protocol/messages/leave-group.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  offsetCommitApi,
} from "../../src/protocol/messages/offset-commit.ts";
import {
  newOffsetDeleteRequest,
  newOffsetDeleteRequestPartition,
  newOffsetDeleteRequestTopic,
  offsetDeleteApi,
} from "../../src/protocol/messages/offset-delete.ts";
import { newSyncGroupRequest, newSyncGroupRequestAssignment, syncGroupApi } from "../../src/protocol/messages/sync-group.ts";
import type { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, readMetadata } from "../support/raw-client.ts";
import { type ServerUnderTest, uniqueName } from "../support/server-under-test.ts";
import { subscription } from "../unit/group/classic/group-harness.ts";
import { insist, RawTransactionalProducer } from "./transactions-raw.ts";

type Beat = Partial<ConsumerGroupHeartbeatRequest>;

/** A member of the consumer protocol that tells what it has and takes what it is given. */
class Member {
  readonly groupId: string;
  readonly memberId: string;
  readonly full: Beat;
  epoch = 0;
  owned: { topicId: string; partitions: number[] }[] = [];

  constructor(groupId: string, memberId: string, full: Beat) {
    this.groupId = groupId;
    this.memberId = memberId;
    this.full = full;
  }

  /** Joins with all it has to say, or beats. `epoch`: leaves. */
  async beat(connection: KafkaConnection, leaveEpoch?: -1 | -2): Promise<void> {
    const { groupId, memberId, epoch, owned, full } = this;
    const asMember = { rebalanceTimeoutMs: 30_000, topicPartitions: owned, ...full };
    const asLeaver = { memberEpoch: leaveEpoch ?? epoch, instanceId: full.instanceId ?? null };
    const request = newConsumerGroupHeartbeatRequest({
      groupId,
      memberId,
      memberEpoch: epoch,
      ...(leaveEpoch === undefined ? asMember : asLeaver),
    });
    const answer = await insist(
      () => connection.request(consumerGroupHeartbeatApi, 1, request),
      ({ errorCode }) => errorCode,
    );
    if (answer.errorCode !== 0) throw new Error(`${groupId} ${memberId}: error ${answer.errorCode} ${answer.errorMessage}`);
    this.epoch = Math.max(0, answer.memberEpoch);
    if (leaveEpoch !== undefined) this.owned = [];
    else if (answer.assignment !== null)
      this.owned = answer.assignment.topicPartitions.map(({ topicId, partitions }) => ({ topicId, partitions }));
  }
}

async function settle(connection: KafkaConnection, members: readonly Member[]): Promise<void> {
  for (let round = 0; round < 4; round++) for (const member of members) await member.beat(connection);
}

export class GroupsLife {
  readonly #server: ServerUnderTest;
  readonly first = uniqueName("life-one");
  readonly second = uniqueName("life-two");
  /** A group of the consumer protocol alone. */
  readonly consumers = uniqueName("consumers");
  /** One whose members leave, and that is deleted. */
  readonly gone = uniqueName("gone");
  /** Classic, then of both protocols, then classic again. */
  readonly turning = uniqueName("turning");

  constructor(server: ServerUnderTest) {
    this.#server = server;
  }

  async topics(connection: KafkaConnection): Promise<{ name: string; id: string; partitions: number }[]> {
    const { topics } = await readMetadata(connection, null);
    return topics.map(({ name, topicId, partitions }) => ({ name: name ?? "", id: topicId, partitions: partitions.length }));
  }

  /** To be taken one after the other. */
  steps(): (() => Promise<void>)[] {
    const { consumers, gone, first } = this;
    const byName = new Member(consumers, "by-name", { subscribedTopicNames: [first], rackId: "rack-é", serverAssignor: "range" });
    const byPattern = new Member(consumers, "by-pattern", {
      subscribedTopicNames: [],
      subscribedTopicRegex: `${this.second.slice(0, -2)}.*|${first}`,
    });
    const fixed = new Member(consumers, "fixed", { subscribedTopicNames: [first], instanceId: "instance" });
    const leaver = new Member(gone, "leaver", { subscribedTopicNames: [], subscribedTopicRegex: `${first}` });
    const over =
      <T>(work: (connection: KafkaConnection) => Promise<T>) =>
      async (): Promise<void> => {
        using connection = await this.#server.connect();
        await work(connection);
      };
    return [
      over(async (connection) => {
        await this.#prepare(connection);
        await settle(connection, [byName, byPattern, leaver]);
        await this.#commit(connection, byName, 7n);
        await this.#commit(connection, leaver, 3n);
      }),
      over(async (connection) => {
        await settle(connection, [byName, byPattern, fixed, leaver]);
        await fixed.beat(connection, -2);
        await this.#commitInTransactions(connection);
      }),
      async () => {
        await this.#server.restart("kill");
        await over((connection) => this.#upgrade(connection))();
      },
      over(async (connection) => {
        const back = new Member(consumers, "fixed-again", fixed.full);
        await settle(connection, [byName, byPattern, back]);
        await byPattern.beat(connection, -1);
        await leaver.beat(connection, -1);
        await settle(connection, [byName, back]);
        await this.#delete(connection);
      }),
    ];
  }

  async #prepare(connection: KafkaConnection): Promise<void> {
    await createTopicRaw(connection, this.first, { partitions: 3 });
    await createTopicRaw(connection, this.second, { partitions: 2 });
    const find = newFindCoordinatorRequest({ coordinatorKeys: [this.consumers] });
    await insist(
      () => connection.request(findCoordinatorApi, 6, find),
      (answer) => answer.coordinators[0]?.errorCode ?? -1,
    );
  }

  async #commit(connection: KafkaConnection, { groupId, memberId, epoch }: Member, offset: bigint): Promise<void> {
    const topicId = (await this.topics(connection)).find(({ name }) => name === this.first)?.id ?? "";
    const partitions = [0, 1].map((partitionIndex) =>
      newOffsetCommitRequestPartition({
        partitionIndex,
        committedOffset: offset,
        committedLeaderEpoch: partitionIndex,
        committedMetadata: "note é",
      }),
    );
    const topics = [newOffsetCommitRequestTopic({ topicId, partitions })];
    const request = newOffsetCommitRequest({ groupId, memberId, generationIdOrMemberEpoch: epoch, topics });
    const answer = await connection.request(offsetCommitApi, 10, request);
    expect(answer.topics[0]?.partitions.map(({ errorCode }) => errorCode)).toEqual([0, 0]);
  }

  /** Partition 0 of `second`: 11 committed, 12 aborted, both generations of the protocol. */
  async #commitInTransactions(connection: KafkaConnection): Promise<void> {
    for (const generation of [1, 2] as const) {
      const producer = new RawTransactionalProducer(connection, uniqueName("tx"), generation);
      expect(await producer.init()).toBe(0);
      for (const isCommit of [true, false]) {
        expect(await producer.commitOffset(this.consumers, this.second, isCommit ? 11 : 12)).toBe(0);
        expect(await producer.end(isCommit)).toBe(0);
      }
    }
  }

  /** A classic member, a consumer beside it, and the classic one alone again. */
  async #upgrade(connection: KafkaConnection): Promise<void> {
    const groupId = this.turning;
    const metadata = subscription(this.first);
    const join = async (memberId: string) => {
      const request = newJoinGroupRequest({
        groupId,
        memberId,
        sessionTimeoutMs: 30_000,
        rebalanceTimeoutMs: 30_000,
        protocolType: "consumer",
        protocols: [newJoinGroupRequestProtocol({ name: "range", metadata })],
      });
      return insist(
        () => connection.request(joinGroupApi, 9, request),
        ({ errorCode }) => errorCode,
      );
    };
    const sync = async (memberId: string, generationId: number, assignment?: Uint8Array) => {
      const assignments = assignment === undefined ? [] : [newSyncGroupRequestAssignment({ memberId, assignment })];
      const request = newSyncGroupRequest({
        groupId,
        memberId,
        generationId,
        protocolType: "consumer",
        protocolName: "range",
        assignments,
      });
      expect((await connection.request(syncGroupApi, 5, request)).errorCode).toBe(0);
    };
    const { memberId, errorCode } = await join("");
    expect(errorCode).toBe(ErrorCodes.MEMBER_ID_REQUIRED);
    const joined = await join(memberId);
    // ConsumerProtocolAssignment version 0: no topics, no user data.
    await sync(memberId, joined.generationId, Buffer.from([0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]));
    const consumer = new Member(groupId, "newcomer", { subscribedTopicNames: [this.first] });
    await consumer.beat(connection);
    const again = await join(memberId);
    expect(again.errorCode).toBe(0);
    await sync(memberId, again.generationId);
    await settle(connection, [consumer]);
    await consumer.beat(connection, -1);
    const last = await join(memberId);
    expect(last.errorCode).toBe(0);
    await sync(memberId, last.generationId, Buffer.from([0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]));
    const leave = newLeaveGroupRequest({ groupId, members: [newMemberIdentity({ memberId })] });
    expect((await connection.request(leaveGroupApi, 5, leave)).errorCode).toBe(0);
  }

  async #delete(connection: KafkaConnection): Promise<void> {
    const partitions = [newOffsetDeleteRequestPartition({ partitionIndex: 1 })];
    const topics = [newOffsetDeleteRequestTopic({ name: this.second, partitions })];
    expect((await connection.request(offsetDeleteApi, 0, newOffsetDeleteRequest({ groupId: this.consumers, topics }))).errorCode).toBe(0);
    const deletion = newDeleteGroupsRequest({ groupsNames: [this.gone] });
    expect((await connection.request(deleteGroupsApi, 2, deletion)).results[0]?.errorCode).toBe(0);
  }
}
