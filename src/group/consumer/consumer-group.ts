/**
 * One group of the consumer protocol (KIP-848): its members, their target and what they own, as the log's records say. No IO and no decisions: `apply` takes
 * one record at a time, at the load as in life, and what is asked of the group is answered from what was applied.
 *
 *     Empty --member--> Assigning --target of the group's epoch--> Reconciling --all members there--> Stable
 *
 * Invariants
 * - State = the records applied, in order. Counts and owners are derived from members as they come and go.
 * - A partition has at most one owner; what a member is to revoke is its own until it says that it has let go.
 *
 * Neighbours: `consumer-heartbeat.ts` and `classic-members.ts` (which records a request makes), `shard-consumer-groups.ts` (writes and applies them).
 */

import type { Timer } from "../../coordinator/timer-queue.ts";
import {
  type Assignment,
  type ConsumerGroupDescription,
  type ConsumerGroupState,
  type ConsumerMember,
  type GroupChange,
  LEFT_STATIC_EPOCH,
  type MemberProgress,
  type MemberSubscription,
  NO_ASSIGNMENT,
  NO_PROGRESS,
  type ResolvedPattern,
} from "./consumer-group-types.ts";
import { isReconciledTo } from "./consumer-member.ts";
import { eachPartition, partitionsOf, unionOf } from "./topic-partitions.ts";

/** The timers of a member, each made when it is first needed. */
export interface MemberTimers {
  session?: Timer;
  /** What is to be revoked has to be let go, or the member is fenced. */
  rebalance?: Timer;
  /** Of a member of the classic protocol: it has to join again, and then to ask for its assignment. */
  join?: Timer;
  sync?: Timer;
}

/** Of a group and of its target while no record tells of another: a first member without topics changes neither. */
const FIRST_EPOCH = 1;

export class ConsumerGroup {
  readonly kind = "consumer";
  readonly groupId: string;
  readonly #members = new Map<string, ConsumerMember>();
  readonly #staticIds = new Map<string, string>();
  readonly #targets = new Map<string, Assignment>();
  readonly #owners = new Map<string, Map<number, string>>();
  readonly #patterns = new Map<string, ResolvedPattern>();
  /** How many members name a topic, follow a pattern, ask for an assignor, know a protocol of the classic kind. */
  readonly #topicCounts = new Map<string, number>();
  readonly #patternCounts = new Map<string, number>();
  readonly #assignorCounts = new Map<string, number>();
  readonly #protocolCounts = new Map<string, number>();
  #classicCount = 0;
  #epoch = FIRST_EPOCH;
  #metadataHash = 0n;
  #targetEpoch = FIRST_EPOCH;
  #targetTimestampMs = 0;
  readonly timers = new Map<string, MemberTimers>();
  /** The topics may have changed since the hash was made. */
  isMetadataStale = true;

  constructor(groupId: string) {
    this.groupId = groupId;
  }

  get epoch(): number {
    return this.#epoch;
  }

  get metadataHash(): bigint {
    return this.#metadataHash;
  }

  get targetEpoch(): number {
    return this.#targetEpoch;
  }

  /** Wall clock, ms; 0 when there was none yet. */
  get targetTimestampMs(): number {
    return this.#targetTimestampMs;
  }

  get size(): number {
    return this.#members.size;
  }

  get classicCount(): number {
    return this.#classicCount;
  }

  members(): Iterable<ConsumerMember> {
    return this.#members.values();
  }

  getMember(memberId: string): ConsumerMember | undefined {
    return this.#members.get(memberId);
  }

  getStaticMember(instanceId: string | undefined): ConsumerMember | undefined {
    const memberId = instanceId === undefined ? undefined : this.#staticIds.get(instanceId);
    return memberId === undefined ? undefined : this.#members.get(memberId);
  }

  getTarget(memberId: string): Assignment {
    return this.#targets.get(memberId) ?? NO_ASSIGNMENT;
  }

  targets(): ReadonlyMap<string, Assignment> {
    return this.#targets;
  }

  getOwner(topicId: string, partition: number): string | undefined {
    return this.#owners.get(topicId)?.get(partition);
  }

  patterns(): ReadonlyMap<string, ResolvedPattern> {
    return this.#patterns;
  }

  /** Patterns that members follow, with how many do. */
  patternCounts(): ReadonlyMap<string, number> {
    return this.#patternCounts;
  }

  topicCounts(): ReadonlyMap<string, number> {
    return this.#topicCounts;
  }

  assignorCounts(): ReadonlyMap<string, number> {
    return this.#assignorCounts;
  }

  /** How many members of the classic protocol know it. */
  supporters(protocol: string): number {
    return this.#protocolCounts.get(protocol) ?? 0;
  }

  isSubscribedTo(topic: string): boolean {
    if (this.#topicCounts.has(topic)) return true;
    for (const pattern of this.#patternCounts.keys()) if (this.#patterns.get(pattern)?.topics.includes(topic) === true) return true;
    return false;
  }

  get state(): ConsumerGroupState {
    if (this.#members.size === 0) return "Empty";
    if (this.#epoch > this.#targetEpoch) return "Assigning";
    for (const member of this.#members.values()) if (!isReconciledTo(member, this.#targetEpoch)) return "Reconciling";
    return "Stable";
  }

  // --- records ---

  apply(change: GroupChange): void {
    switch (change.kind) {
      case "group-epoch":
        this.#epoch = change.value?.epoch ?? FIRST_EPOCH;
        this.#metadataHash = change.value?.metadataHash ?? 0n;
        return;
      case "target-epoch":
        this.#targetEpoch = change.value?.epoch ?? FIRST_EPOCH;
        this.#targetTimestampMs = Math.max(0, change.value?.timestampMs ?? 0);
        return;
      case "target":
        if (change.value === undefined) this.#targets.delete(change.memberId);
        else this.#targets.set(change.memberId, change.value);
        return;
      case "pattern":
        if (change.value === undefined) this.#patterns.delete(change.pattern);
        else this.#patterns.set(change.pattern, change.value);
        return;
      case "member":
        this.#applyMember(change.memberId, change.value);
        return;
      case "progress":
        this.#applyProgress(change.memberId, change.value);
    }
  }

  #applyMember(memberId: string, subscription: MemberSubscription | undefined): void {
    const before = this.#members.get(memberId);
    if (before !== undefined) this.#count(memberId, before.subscription, -1);
    if (subscription === undefined) {
      if (before !== undefined) this.#disown(memberId, before.progress);
      this.#members.delete(memberId);
      return;
    }
    this.#members.set(memberId, { memberId, subscription, progress: before?.progress ?? NO_PROGRESS });
    this.#count(memberId, subscription, 1);
  }

  /** A member that is not known yet is made by the record of its subscription, which may come later in a compacted log. */
  #applyProgress(memberId: string, progress: MemberProgress | undefined): void {
    const member = this.#members.get(memberId);
    if (member === undefined) {
      if (progress !== undefined) this.#applyMember(memberId, UNKNOWN_SUBSCRIPTION);
      else return;
    }
    const { subscription, progress: before } = this.#members.get(memberId) as ConsumerMember;
    this.#disown(memberId, before);
    const next = progress ?? NO_PROGRESS;
    this.#members.set(memberId, { memberId, subscription, progress: next });
    for (const owned of [next.assigned, next.pendingRevocation]) {
      for (const [topicId, partition] of eachPartition(owned)) {
        const ofTopic = this.#owners.get(topicId);
        if (ofTopic === undefined) this.#owners.set(topicId, new Map([[partition, memberId]]));
        else ofTopic.set(partition, memberId);
      }
    }
  }

  #disown(memberId: string, progress: MemberProgress): void {
    for (const owned of [progress.assigned, progress.pendingRevocation]) {
      for (const [topicId, partition] of eachPartition(owned)) {
        const ofTopic = this.#owners.get(topicId);
        if (ofTopic?.get(partition) !== memberId) continue;
        ofTopic.delete(partition);
        if (ofTopic.size === 0) this.#owners.delete(topicId);
      }
    }
  }

  #count(memberId: string, subscription: MemberSubscription, change: 1 | -1): void {
    const { instanceId, topics, pattern, serverAssignor, classic } = subscription;
    for (const topic of topics) count(this.#topicCounts, topic, change);
    if (pattern !== "") count(this.#patternCounts, pattern, change);
    if (serverAssignor !== undefined) count(this.#assignorCounts, serverAssignor, change);
    if (classic !== undefined) {
      this.#classicCount += change;
      for (const { name } of classic.protocols) count(this.#protocolCounts, name, change);
    }
    if (instanceId === undefined) return;
    if (change === 1) this.#staticIds.set(instanceId, memberId);
    else if (this.#staticIds.get(instanceId) === memberId) this.#staticIds.delete(instanceId);
  }

  // --- as tools see it ---

  describe(defaultAssignor: string): ConsumerGroupDescription {
    return {
      groupId: this.groupId,
      state: this.state,
      groupEpoch: this.#epoch,
      assignmentEpoch: this.#targetEpoch,
      assignor: preferredAssignor(this.#assignorCounts) ?? defaultAssignor,
      members: Array.from(this.#members.values(), ({ memberId, subscription, progress }) => ({
        memberId,
        instanceId: subscription.instanceId,
        rackId: subscription.rackId,
        epoch: progress.epoch,
        clientId: subscription.clientId,
        clientHost: subscription.clientHost,
        topics: subscription.topics,
        pattern: subscription.pattern,
        assigned: partitionsOf(unionOf(progress.assigned, progress.pendingRevocation)),
        target: this.getTarget(memberId),
        isClassic: subscription.classic !== undefined,
      })),
    };
  }

  /** The records that say all that there is of the group, each as it is in the moment in which it is asked for. */
  *changes(): Generator<GroupChange, void> {
    yield { kind: "group-epoch", value: { epoch: this.#epoch, metadataHash: this.#metadataHash } };
    for (const [memberId, { subscription }] of this.#members) yield { kind: "member", memberId, value: subscription };
    for (const [pattern, value] of this.#patterns) yield { kind: "pattern", pattern, value };
    for (const [memberId, value] of this.#targets) yield { kind: "target", memberId, value };
    yield { kind: "target-epoch", value: { epoch: this.#targetEpoch, timestampMs: this.#targetTimestampMs } };
    for (const [memberId, { progress }] of this.#members) {
      if (progress !== NO_PROGRESS) yield { kind: "progress", memberId, value: progress };
    }
  }

  /** The records that take away all that there is of the group. */
  tombstones(): GroupChange[] {
    const changes: GroupChange[] = [];
    const memberIds = [...this.#members.keys()];
    for (const memberId of memberIds) changes.push({ kind: "progress", memberId, value: undefined });
    for (const memberId of new Set([...memberIds, ...this.#targets.keys()])) changes.push({ kind: "target", memberId, value: undefined });
    changes.push({ kind: "target-epoch", value: undefined });
    for (const memberId of memberIds) changes.push({ kind: "member", memberId, value: undefined });
    for (const pattern of this.#patterns.keys()) changes.push({ kind: "pattern", pattern, value: undefined });
    changes.push({ kind: "group-epoch", value: undefined });
    return changes;
  }

  cancelTimers(memberId: string): void {
    const timers = this.timers.get(memberId);
    for (const timer of [timers?.session, timers?.rebalance, timers?.join, timers?.sync]) timer?.cancel();
    this.timers.delete(memberId);
  }

  /** The group is deleted, or its coordinator is no longer here. */
  end(): void {
    for (const memberId of [...this.timers.keys()]) this.cancelTimers(memberId);
  }
}

/** Stands in for a record that is still to come. */
const UNKNOWN_SUBSCRIPTION: MemberSubscription = {
  instanceId: undefined,
  rackId: undefined,
  clientId: "",
  clientHost: "",
  rebalanceTimeoutMs: -1,
  topics: [],
  pattern: "",
  serverAssignor: undefined,
  classic: undefined,
};

/** What most members ask for; undefined when nobody asks. Of as many: what is new, else "uniform", as in Kafka. */
export function preferredAssignor(counts: ReadonlyMap<string, number>, isNew: (name: string) => boolean = () => false): string | undefined {
  let preferred: string | undefined;
  for (const [name, count] of counts) {
    const most = preferred === undefined ? 0 : (counts.get(preferred) ?? 0);
    const winsTie = isNew(name) || (name === "uniform" && preferred !== undefined && !isNew(preferred));
    if (count > most || (count === most && winsTie)) preferred = name;
  }
  return preferred;
}

export function count(counts: Map<string, number>, key: string, change: number): void {
  const next = (counts.get(key) ?? 0) + change;
  if (next === 0) counts.delete(key);
  else counts.set(key, next);
}

export function hasLeft({ progress }: ConsumerMember): boolean {
  return progress.epoch === LEFT_STATIC_EPOCH;
}
