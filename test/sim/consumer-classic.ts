/**
 * One member of the classic protocol in a group that consumers of the new protocol join and leave (KIP-848, "online migration"): it lets everything go before it joins
 * again, as with Java's range assignor, or only what is not assigned to it any more (`isCooperative`, KIP-429), and joins once more then. Where the group is classic,
 * its leader gives out the partitions.
 */
import { heartbeatApi, newHeartbeatRequest } from "../../src/protocol/messages/heartbeat.ts";
import {
  type JoinGroupResponse,
  joinGroupApi,
  newJoinGroupRequest,
  newJoinGroupRequestProtocol,
} from "../../src/protocol/messages/join-group.ts";
import { leaveGroupApi, newLeaveGroupRequest, newMemberIdentity } from "../../src/protocol/messages/leave-group.ts";
import { newSyncGroupRequest, newSyncGroupRequestAssignment, syncGroupApi } from "../../src/protocol/messages/sync-group.ts";
import { decodeAssignment, decodeSubscription, encodeAssignment, encodeSubscription } from "./consumer-embedded.ts";
import type { MemberOptions, Subscription } from "./consumer-member.ts";
import { MemberTrace, type PartitionTrace } from "./consumer-model.ts";
import { PartitionReader } from "./consumer-reader.ts";
import { type Reading, UNKNOWN_MEMBER_ID } from "./consumer-remains.ts";
import { CoordinatorLink } from "./consumer-requests.ts";
import type { KnownTopic } from "./consumer-topics.ts";

const ILLEGAL_GENERATION = 22;
const INCONSISTENT_GROUP_PROTOCOL = 23;
const REBALANCE_IN_PROGRESS = 27;
const MEMBER_ID_REQUIRED = 79;
const JOIN_AGAIN: ReadonlySet<number> = new Set([
  ILLEGAL_GENERATION,
  INCONSISTENT_GROUP_PROTOCOL,
  UNKNOWN_MEMBER_ID,
  REBALANCE_IN_PROGRESS,
]);
const SESSION_TIMEOUT_MS = 6_000;
const REBALANCE_TIMEOUT_MS = 3_000;
/** After a broker's start. */
const LOADING_MS = 5_000;
const LOOK_EVERY_MS = 3_000;

export class ClassicMember {
  trace: MemberTrace;
  subscription: Subscription;
  readonly isReplaced = false;
  private readonly options: MemberOptions;
  private readonly link: CoordinatorLink;
  private readonly reader: PartitionReader;
  private memberId = "";
  private generation = -1;
  private isJoined = false;
  private owned: ReadonlySet<PartitionTrace> = new Set();
  private beatDueMs = 0;
  /** As the leader: the topics that it gave out, with their partitions. */
  private shared: ReadonlyMap<string, KnownTopic> | undefined;
  private lookDueMs = 0;

  constructor(options: MemberOptions) {
    this.options = options;
    this.subscription = options.subscription;
    this.link = new CoordinatorLink(options.place);
    this.trace = this.newTrace();
    this.reader = new PartitionReader(options, this.link);
  }

  get isMember(): boolean {
    return this.isJoined;
  }

  get partitions(): ReadonlySet<PartitionTrace> {
    return this.owned;
  }

  get currentEpoch(): number {
    return this.generation;
  }

  get isSettled(): boolean {
    return this.isJoined;
  }

  get reading(): Reading {
    const committer = { groupId: this.options.model.groupId, memberId: this.memberId, epoch: this.generation, instanceId: undefined };
    return { committer, trace: this.trace, positions: new Map(this.reader.positions) };
  }

  subscribe(subscription: Subscription): void {
    this.subscription = subscription;
    this.isJoined = false;
  }

  async commitRemains(): Promise<void> {}

  close(): void {
    this.link.close();
  }

  /** The next thing that it does. */
  async step(): Promise<void> {
    const { process } = this.options.place;
    if (!this.isJoined) return this.join();
    if (process.scheduler.nowMs >= this.beatDueMs) return this.beat();
    if (this.shared !== undefined && process.scheduler.nowMs >= this.lookDueMs) return this.lookAtTopics(this.shared);
    const unread = this.reader.findUnread(this.owned);
    if (unread.length > 0) {
      await this.reader.readCommitted(this.trace, undefined, unread);
      return;
    }
    if (this.reader.positions.size === 0) await this.reader.lookAtOthers(this.trace, undefined);
    else if (process.random.chance(75)) await this.reader.poll(this.trace);
    else if (await this.reader.commit(this.reading)) this.beatDueMs = 0;
  }

  /**
   * It may be expelled when it has not joined again within its rebalance timeout, which may have begun with the first heartbeat after the last one that was answered
   * as usual: sooner than its session ends.
   */
  private newTrace(): MemberTrace {
    return new MemberTrace(this.memberId, undefined, Math.min(SESSION_TIMEOUT_MS, REBALANCE_TIMEOUT_MS), REBALANCE_TIMEOUT_MS);
  }

  private async join(): Promise<void> {
    const { model, isCooperative } = this.options;
    if (this.reader.positions.size > 0) await this.reader.commit(this.reading);
    if (!isCooperative) this.letGo();
    if (this.owned.size > 0) model.beatSent(this.trace, this.owned);
    else if (this.memberId !== "") model.joinSent(this.trace);
    const { topics } = this.subscription;
    const metadata = encodeSubscription({ topics, owned: isCooperative ? byName(this.owned) : undefined });
    const request = newJoinGroupRequest({
      groupId: model.groupId,
      memberId: this.memberId,
      protocolType: "consumer",
      protocols: [newJoinGroupRequestProtocol({ name: isCooperative ? "cooperative" : "range", metadata })],
      sessionTimeoutMs: SESSION_TIMEOUT_MS,
      rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
    });
    const { answer } = await this.link.ask("join-group", joinGroupApi, 5, request, ({ errorCode }) => [errorCode]);
    if (answer.errorCode === MEMBER_ID_REQUIRED) {
      this.memberId = answer.memberId;
      this.trace = this.newTrace();
      return;
    }
    if (answer.errorCode !== 0) return this.refused("JoinGroup", answer.errorCode);
    // It was expelled meanwhile, maybe with its whole group: a consumer group takes who comes under an old id for a new member, as Kafka's does.
    if (this.trace.lostMs !== undefined || answer.generationId < this.trace.epoch) model.joinSent(this.trace);
    this.generation = answer.generationId;
    this.shared = undefined;
    await this.sync(answer);
  }

  private letGo(): void {
    this.owned = new Set();
    this.reader.positions.clear();
  }

  private async sync(joined: JoinGroupResponse): Promise<void> {
    const { model, topics, heartbeatMs, place } = this.options;
    const assignments = joined.leader === this.memberId ? await this.assign(joined) : [];
    const { memberId, generation: generationId } = this;
    const request = newSyncGroupRequest({ groupId: model.groupId, generationId, memberId, assignments });
    const { answer, isCurrent, sentMs } = await this.link.ask("sync-group", syncGroupApi, 3, request, ({ errorCode }) => [errorCode]);
    if (answer.errorCode !== 0) return this.refused("SyncGroup", answer.errorCode);
    const owned = topics.partitionsOf(model, decodeAssignment(answer.assignment));
    if (isCurrent) model.beatAnswered(this.trace, sentMs, this.generation, owned);
    else this.trace.isVague = true;
    const revoked = [...this.owned].filter((at) => !owned.has(at));
    for (const at of revoked) this.reader.positions.delete(at);
    this.owned = owned;
    // What it has let go of is free when it has said so.
    this.isJoined = revoked.length === 0;
    this.beatDueMs = place.process.scheduler.nowMs + heartbeatMs;
  }

  /** Its task as the leader: each topic's partitions in turn among those who subscribe to it, without those that others have not let go. */
  private async assign(joined: JoinGroupResponse) {
    const members = joined.members.map(({ memberId, metadata }) => ({ memberId, ...decodeSubscription(metadata) }));
    const names = [...new Set(members.flatMap(({ topics }) => topics))].sort();
    const known = await this.options.topics.find(this.link, names);
    this.shared = known;
    const assignments = new Map(members.map(({ memberId }) => [memberId, new Map<string, number[]>()]));
    for (const [name, { partitions }] of known) {
      const subscribers = members.filter(({ topics }) => topics.includes(name));
      for (let partition = 0; partition < partitions; partition++) {
        const next = subscribers[partition % subscribers.length]?.memberId ?? "";
        // Another has it, and must let it go first: it joins again then.
        if (members.some(({ memberId, owned }) => memberId !== next && owned?.get(name)?.includes(partition) === true)) continue;
        const own = assignments.get(next);
        own?.set(name, [...(own.get(name) ?? []), partition]);
      }
    }
    return Array.from(assignments, ([memberId, own]) => newSyncGroupRequestAssignment({ memberId, assignment: encodeAssignment(own) }));
  }

  /** A leader joins again when topics have grown: the coordinator of a classic group does not look. */
  private async lookAtTopics(shared: ReadonlyMap<string, KnownTopic>): Promise<void> {
    this.lookDueMs = this.options.place.process.scheduler.nowMs + LOOK_EVERY_MS;
    const known = await this.options.topics.find(this.link, [...shared.keys()]);
    if ([...known].some(([name, { partitions }]) => shared.get(name)?.partitions !== partitions)) this.isJoined = false;
  }

  private async beat(): Promise<void> {
    const { model, place, heartbeatMs } = this.options;
    model.beatSent(this.trace, undefined);
    const request = newHeartbeatRequest({ groupId: model.groupId, generationId: this.generation, memberId: this.memberId });
    const { answer, isCurrent, sentMs } = await this.link.ask("heartbeat", heartbeatApi, 3, request, ({ errorCode }) => [errorCode]);
    this.beatDueMs = place.process.scheduler.nowMs + heartbeatMs;
    if (answer.errorCode !== 0) return this.refused("Heartbeat", answer.errorCode);
    // A coordinator that loads its groups says to every member that it is one, as Kafka's does.
    const mayBeLoading = sentMs - place.history.disturbedMs < LOADING_MS;
    if (isCurrent && !mayBeLoading) model.beatAnswered(this.trace, sentMs, this.generation, undefined);
  }

  private refused(what: string, errorCode: number): void {
    const { model } = this.options;
    this.isJoined = false;
    if (!JOIN_AGAIN.has(errorCode)) model.find("unexpected-error", `${this.memberId}: ${what} is answered with error ${errorCode}`);
    if (errorCode !== UNKNOWN_MEMBER_ID && errorCode !== ILLEGAL_GENERATION) return;
    if (this.memberId !== "") model.expelled(this.trace);
    this.letGo();
    if (errorCode === ILLEGAL_GENERATION) return;
    this.memberId = "";
    this.generation = -1;
  }

  async leave(_epoch: -1 | -2): Promise<void> {
    const { model } = this.options;
    if (!this.isJoined) return;
    if (this.options.place.process.random.chance(70)) await this.reader.commit(this.reading);
    model.leaveSent(this.trace);
    this.isJoined = false;
    const members = [newMemberIdentity({ memberId: this.memberId })];
    const request = newLeaveGroupRequest({ groupId: model.groupId, members });
    // Where the group is classic the log does not have it before the next generation: another coordinator may expel the member once more.
    await this.link.ask("leave-group", leaveGroupApi, 3, request, ({ errorCode }) => [errorCode]);
  }
}

function byName(partitions: Iterable<PartitionTrace>): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, number[]>();
  for (const { topic, partition } of partitions) found.set(topic, [...(found.get(topic) ?? []), partition]);
  return found;
}
