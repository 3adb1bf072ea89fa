/**
 * Members of a classic consumer group: join, take an assignment, read from the committed offsets on, commit, heartbeat, and begin again after each rebalance. What was
 * acknowledged as committed may never be answered lower again.
 */

import { fetchApi, newFetchPartition, newFetchRequest, newFetchTopic } from "../../src/protocol/messages/fetch.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { heartbeatApi, newHeartbeatRequest } from "../../src/protocol/messages/heartbeat.ts";
import { joinGroupApi, newJoinGroupRequest, newJoinGroupRequestProtocol } from "../../src/protocol/messages/join-group.ts";
import { leaveGroupApi, newLeaveGroupRequest, newMemberIdentity } from "../../src/protocol/messages/leave-group.ts";
import {
  newOffsetCommitRequest,
  newOffsetCommitRequestPartition,
  newOffsetCommitRequestTopic,
  offsetCommitApi,
} from "../../src/protocol/messages/offset-commit.ts";
import { newOffsetFetchRequest, newOffsetFetchRequestTopic, offsetFetchApi } from "../../src/protocol/messages/offset-fetch.ts";
import { newSyncGroupRequest, newSyncGroupRequestAssignment, syncGroupApi } from "../../src/protocol/messages/sync-group.ts";
import type { LogModel } from "./history.ts";
import { decodeSimBatches } from "./sim-batch.ts";
import { ConnectionLost, type SimConnection } from "./sim-client.ts";
import { type ClientPlace, insist } from "./sim-clients.ts";

const MEMBER_ID_REQUIRED = 79;
const UNKNOWN_MEMBER_ID = 25;
/** COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER, REQUEST_TIMED_OUT: over another connection. */
const ELSEWHERE: ReadonlySet<number> = new Set([3, 6, 7, 14, 15, 16]);
/** ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS: join again. */
const REJOIN: ReadonlySet<number> = new Set([22, 25, 27]);
const SESSION_TIMEOUT_MS = 6_000;
const REBALANCE_TIMEOUT_MS = 3_000;
const HEARTBEAT_EVERY_MS = 1_000;

/** What all members of the group were told. */
export class GroupModel {
  readonly groupId: string;
  readonly logs: readonly LogModel[];
  /** Highest committed offset that was acknowledged, by log. */
  private readonly acknowledged = new Map<LogModel, number>();

  constructor(groupId: string, logs: readonly LogModel[]) {
    this.groupId = groupId;
    this.logs = logs;
  }

  getAcknowledged(log: LogModel): number {
    return this.acknowledged.get(log) ?? -1;
  }

  acknowledge(log: LogModel, offset: number): void {
    this.acknowledged.set(log, Math.max(this.getAcknowledged(log), offset));
  }
}

class Rejoin extends Error {}

interface Membership {
  readonly generationId: number;
  readonly assigned: readonly LogModel[];
}

export class SimGroupMember {
  private readonly place: ClientPlace;
  private readonly name: string;
  private readonly group: GroupModel;
  private memberId = "";
  private isStopping = false;

  constructor(place: ClientPlace, name: string, group: GroupModel) {
    this.place = place;
    this.name = name;
    this.group = group;
  }

  stop(): void {
    this.isStopping = true;
  }

  async run(): Promise<void> {
    while (!this.isStopping) await insist(this.place, (connection) => this.workOver(connection));
  }

  private async workOver(connection: SimConnection): Promise<void> {
    const request = newFindCoordinatorRequest({ key: this.group.groupId, keyType: 0 });
    const { errorCode } = await connection.request(findCoordinatorApi, 2, request);
    this.place.done("find-coordinator");
    await this.settle("FindCoordinator", errorCode);
    while (!this.isStopping) {
      try {
        const membership = await this.join(connection);
        await this.consume(connection, membership, await this.readCommitted(connection, membership.assigned));
      } catch (error) {
        if (!(error instanceof Rejoin)) throw error;
        await this.place.process.clock.sleep(20 + this.place.process.random.nextFloat() * 100);
      }
    }
    const members = [newMemberIdentity({ memberId: this.memberId })];
    await connection.request(leaveGroupApi, 3, newLeaveGroupRequest({ groupId: this.group.groupId, members }));
    this.place.done("leave-group");
  }

  private async join(connection: SimConnection): Promise<Membership> {
    const { groupId } = this.group;
    const topics = [...new Set(this.group.logs.map((log) => log.topic))];
    const protocols = [newJoinGroupRequestProtocol({ name: "range", metadata: encodeSubscription(topics) })];
    const joined = await connection.request(
      joinGroupApi,
      5,
      newJoinGroupRequest({
        groupId,
        memberId: this.memberId,
        protocolType: "consumer",
        protocols,
        sessionTimeoutMs: SESSION_TIMEOUT_MS,
        rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
      }),
    );
    this.place.done("join-group");
    if (joined.errorCode === MEMBER_ID_REQUIRED) {
      this.memberId = joined.memberId;
      throw new Rejoin();
    }
    await this.settle("JoinGroup", joined.errorCode);
    this.memberId = joined.memberId;
    const { generationId } = joined;
    const assignments =
      joined.leader === joined.memberId
        ? joined.members.map(({ memberId }, index) =>
            newSyncGroupRequestAssignment({
              memberId,
              assignment: Buffer.from(this.group.logs.flatMap((_, at) => (at % joined.members.length === index ? [at] : []))),
            }),
          )
        : [];
    const synced = await connection.request(
      syncGroupApi,
      3,
      newSyncGroupRequest({ groupId, generationId, memberId: this.memberId, assignments }),
    );
    this.place.done("sync-group");
    await this.settle("SyncGroup", synced.errorCode);
    return { generationId, assigned: [...synced.assignment].flatMap((at) => this.group.logs[at] ?? []) };
  }

  private async readCommitted(connection: SimConnection, logs: readonly LogModel[]): Promise<Map<LogModel, number>> {
    const positions = new Map<LogModel, number>();
    const before = new Map(logs.map((log) => [log, this.group.getAcknowledged(log)]));
    const wasCurrent = this.place.isCurrent(connection.host);
    const committed = await fetchCommitted(connection, this.group, logs);
    this.place.done("offset-fetch");
    for (const [log, { errorCode, offset }] of committed) {
      await this.settle("OffsetFetch", errorCode);
      // A coordinator that was replaced and does not know it yet has missed what came after.
      if (wasCurrent && this.place.isCurrent(connection.host) && offset < (before.get(log) ?? -1)) {
        log.find(
          "nonmonotonic-offset",
          `${this.group.groupId} is told ${offset}, and ${before.get(log)} was acknowledged as committed before`,
        );
      }
      positions.set(log, Math.max(0, offset));
    }
    return positions;
  }

  private async consume(
    connection: SimConnection,
    { generationId, assigned }: Membership,
    positions: Map<LogModel, number>,
  ): Promise<void> {
    const { process, pace } = this.place;
    const { groupId } = this.group;
    let heartbeatMs = process.scheduler.nowMs;
    while (!this.isStopping) {
      if (process.scheduler.nowMs - heartbeatMs > HEARTBEAT_EVERY_MS) {
        heartbeatMs = process.scheduler.nowMs;
        const beat = await connection.request(heartbeatApi, 3, newHeartbeatRequest({ groupId, generationId, memberId: this.memberId }));
        this.place.done("heartbeat");
        await this.settle("Heartbeat", beat.errorCode);
      }
      await pace.next();
      if (assigned.length > 0 && process.random.chance(75)) await this.poll(connection, assigned, positions);
      else await this.commit(connection, generationId, positions);
    }
    await this.commit(connection, generationId, positions);
  }

  private async poll(connection: SimConnection, assigned: readonly LogModel[], positions: Map<LogModel, number>): Promise<void> {
    const topics = assigned.map((log) =>
      newFetchTopic({
        topic: log.topic,
        partitions: [
          newFetchPartition({ partition: log.partition, fetchOffset: BigInt(positions.get(log) ?? 0), partitionMaxBytes: 32_768 }),
        ],
      }),
    );
    const request = newFetchRequest({
      replicaId: -1,
      maxWaitMs: this.place.pace.isBehind ? 0 : 100,
      minBytes: 1,
      maxBytes: 1 << 20,
      sessionId: 0,
      sessionEpoch: -1,
      topics,
    });
    const answer = await connection.request(fetchApi, 12, request);
    this.place.done("poll");
    for (const { topic, partitions } of answer.responses) {
      for (const { partitionIndex, errorCode, records } of partitions) {
        const log = this.place.history.log(topic, partitionIndex);
        if (errorCode !== 0) throw new ConnectionLost("again");
        if (!(records instanceof Uint8Array) || records.length === 0) continue;
        positions.set(log, log.poll(this.name, positions.get(log) ?? 0, decodeSimBatches(records)));
      }
    }
  }

  private async commit(connection: SimConnection, generationId: number, positions: ReadonlyMap<LogModel, number>): Promise<void> {
    const topics = [...positions].map(([log, offset]) =>
      newOffsetCommitRequestTopic({
        name: log.topic,
        partitions: [
          newOffsetCommitRequestPartition({ partitionIndex: log.partition, committedOffset: BigInt(offset), committedMetadata: "" }),
        ],
      }),
    );
    const fields = { groupId: this.group.groupId, generationIdOrMemberEpoch: generationId, memberId: this.memberId, topics };
    const answer = await connection.request(offsetCommitApi, 7, newOffsetCommitRequest(fields));
    this.place.done("offset-commit");
    for (const { name, partitions } of answer.topics) {
      for (const { partitionIndex, errorCode } of partitions) {
        const log = this.place.history.log(name, partitionIndex);
        if (errorCode === 0) this.group.acknowledge(log, positions.get(log) ?? 0);
        else await this.settle("OffsetCommit", errorCode);
      }
    }
  }

  /** Throws when the answer means to go elsewhere or to join again. */
  private async settle(what: string, errorCode: number): Promise<void> {
    if (errorCode === 0) return;
    if (errorCode === UNKNOWN_MEMBER_ID) this.memberId = "";
    if (REJOIN.has(errorCode)) throw new Rejoin();
    if (!ELSEWHERE.has(errorCode))
      this.place.history.find("unexpected-error", `${this.name}: ${what} was answered with error ${errorCode}`);
    await this.place.process.clock.sleep(50);
    throw new ConnectionLost("again");
  }
}

/** By log; offset -1: none is committed. */
export async function fetchCommitted(
  connection: SimConnection,
  group: GroupModel,
  logs: readonly LogModel[],
): Promise<Map<LogModel, { readonly errorCode: number; readonly offset: number }>> {
  const topics = logs.map((log) => newOffsetFetchRequestTopic({ name: log.topic, partitionIndexes: [log.partition] }));
  const answer = await connection.request(
    offsetFetchApi,
    7,
    newOffsetFetchRequest({ groupId: group.groupId, topics, requireStable: true }),
  );
  const found = new Map<LogModel, { readonly errorCode: number; readonly offset: number }>();
  for (const log of logs) {
    const part = answer.topics
      .filter((topic) => topic.name === log.topic)
      .flatMap((topic) => topic.partitions)
      .find((partition) => partition.partitionIndex === log.partition);
    found.set(log, { errorCode: answer.errorCode || (part?.errorCode ?? 0), offset: Number(part?.committedOffset ?? -1n) });
  }
  return found;
}

/** ConsumerProtocolSubscription version 0. */
function encodeSubscription(topics: readonly string[]): Buffer {
  const parts: Buffer[] = [Buffer.from([0, 0, 0, 0, 0, topics.length])];
  for (const topic of topics) parts.push(Buffer.from([0, topic.length]), Buffer.from(topic));
  parts.push(Buffer.from([0xff, 0xff, 0xff, 0xff]));
  return Buffer.concat(parts);
}
