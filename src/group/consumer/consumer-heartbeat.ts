/**
 * What a heartbeat of the consumer protocol does to its group (KIP-848), as records to write and the answer that leaves when they are durable. Pure: time and
 * topics are given.
 *
 * A heartbeat (1) makes or changes its member, (2) raises the group's epoch when subscriptions, the preferred assignor or the topics have changed, (3) makes a new
 * target when the epoch is above the target's and the last target is old enough, (4) takes the member a step towards its target.
 *
 * Neighbours: `consumer-member.ts` (the step), `assignors.ts` (the target), `classic-members.ts` (members of the classic protocol do the same by joining).
 */
import { assert } from "../../base/assert.ts";
import { ASSIGNORS, type AssignorMember } from "./assignors.ts";
import { type ConsumerGroup, count, hasLeft, preferredAssignor } from "./consumer-group.ts";
import {
  type Assignment,
  type ConsumerHeartbeat,
  type ConsumerMember,
  type GroupChange,
  type HeartbeatAnswer,
  isRefusal,
  LEAVE_EPOCH,
  LEFT_STATIC_EPOCH,
  type MemberProgress,
  type MemberSubscription,
  NO_ASSIGNMENT,
  NO_PARTITIONS,
  NO_PROGRESS,
  type Refusal,
  type ResolvedPattern,
} from "./consumer-group-types.ts";
import { reconcile } from "./consumer-member.ts";
import { type PatternContext, updatePatterns } from "./pattern-topics.ts";
import { type HashedTopic, hashTopics } from "./topic-hash.ts";
import { hasSamePartitions, isSameAssignment, isWithin } from "./topic-partitions.ts";

export interface PlanContext extends PatternContext {
  readonly defaultAssignor: string;
  /** Of consumer groups. */
  readonly maxSize: number;
  readonly heartbeatIntervalMs: number;
  /** Between two targets. */
  readonly assignmentIntervalMs: number;
  getTopic(name: string): HashedTopic | undefined;
  getTopicById(topicId: string): HashedTopic | undefined;
}

export interface Plan<Answer> {
  readonly changes: readonly GroupChange[];
  readonly answer: Answer;
}

/** A member on its way: who it was, and what it says now. */
export interface MemberUpdate {
  readonly memberId: string;
  /** Undefined: it is new. */
  readonly before: ConsumerMember | undefined;
  /** The static member whose place it takes. */
  readonly replaced: ConsumerMember | undefined;
  readonly subscription: MemberSubscription;
  readonly owned: Assignment | undefined;
  /** The group is classic once the member is in it: its epoch stays, nobody makes a target any more, and a member with another subscription keeps what it has until it is given some. */
  readonly downgrades?: boolean;
}

export interface UpdatedMember {
  readonly progress: MemberProgress;
  /** Other topics, or another pattern. */
  readonly hasSubscriptionChanged: boolean;
}

export function planHeartbeat(group: ConsumerGroup, request: ConsumerHeartbeat, context: PlanContext): Plan<HeartbeatAnswer> | Refusal {
  const { memberId, memberEpoch, owned } = request;
  const full = findFull(group, request.memberId, request.instanceId, context.maxSize);
  if (full !== undefined) return full;
  const found = findMember(group, request);
  if (isRefusal(found)) return found;
  const { before, replaced } = found;
  const base = before ?? replaced;
  if (before?.progress.state === "unknown" && (owned === undefined || owned.size > 0)) {
    return refuse(
      "fenced-member-epoch",
      "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.",
    );
  }
  const update = { memberId, before, replaced, subscription: mergeSubscription(base?.subscription, request), owned };
  const planned = planMember(group, update, context);
  if (isRefusal(planned)) return planned;
  const { progress } = planned.answer;
  const isFull =
    request.rebalanceTimeoutMs !== undefined && (request.topics !== undefined || request.pattern !== undefined) && owned !== undefined;
  const isTold = memberEpoch === 0 || isFull || !hasSamePartitions(before?.progress.assigned ?? NO_PARTITIONS, progress.assigned);
  const assignment = isTold ? toAnswer(progress) : undefined;
  const answer = { memberId, memberEpoch: progress.epoch, heartbeatIntervalMs: context.heartbeatIntervalMs, assignment };
  return { changes: planned.changes, answer };
}

function toAnswer({ assigned }: MemberProgress): Assignment {
  return new Map(Array.from(assigned, ([topicId, partitions]) => [topicId, [...partitions.keys()]]));
}

export function findFull(group: ConsumerGroup, memberId: string, instanceId: string | undefined, maxSize: number): Refusal | undefined {
  if (group.size < maxSize || group.getMember(memberId) !== undefined || group.getStaticMember(instanceId) !== undefined) return undefined;
  return refuse("group-full", `The consumer group has reached its maximum capacity of ${maxSize} members.`);
}

// --- who it is ---

interface FoundMember {
  readonly before: ConsumerMember | undefined;
  readonly replaced: ConsumerMember | undefined;
}

function findMember(group: ConsumerGroup, request: ConsumerHeartbeat): FoundMember | Refusal {
  const { memberId, memberEpoch, instanceId } = request;
  if (instanceId !== undefined) return findStatic(group, request, instanceId);
  const before = group.getMember(memberId);
  if (memberEpoch === 0) return { before, replaced: undefined };
  if (before === undefined) return refuseUnknown(group, memberId);
  return findEpochError(before, request) ?? { before, replaced: undefined };
}

function findStatic(group: ConsumerGroup, request: ConsumerHeartbeat, instanceId: string): FoundMember | Refusal {
  const { memberId, memberEpoch } = request;
  const known = group.getStaticMember(instanceId);
  if (memberEpoch !== 0) {
    if (known === undefined) return refuse("unknown-member", `Instance id ${instanceId} is unknown.`);
    if (known.memberId !== memberId) return refuseFenced(memberId, instanceId, known.memberId);
    return findEpochError(known, request) ?? { before: known, replaced: undefined };
  }
  if (known === undefined) return { before: group.getMember(memberId), replaced: undefined };
  if (known.subscription.classic === undefined && !hasLeft(known)) {
    return refuse(
      "unreleased-instance",
      `Static member ${memberId} with instance id ${instanceId} cannot join the group because the instance id is owned by ${known.memberId} member.`,
    );
  }
  return { before: undefined, replaced: known };
}

/** The epoch before is taken from a member that has nothing it should not have: the answer with the new one was lost. */
function findEpochError({ progress }: ConsumerMember, { memberEpoch, owned }: ConsumerHeartbeat): Refusal | undefined {
  if (memberEpoch === progress.epoch) return undefined;
  const isGreater = memberEpoch > progress.epoch;
  if (!isGreater && memberEpoch === progress.previousEpoch && owned !== undefined && isWithin(owned, progress.assigned)) return undefined;
  return refuse(
    "fenced-member-epoch",
    `The consumer group member has a ${isGreater ? "greater" : "smaller"} member epoch (${memberEpoch}) than the one known by the group coordinator ` +
      `(${progress.epoch}). The member must abandon all its partitions and rejoin.`,
  );
}

function refuseUnknown(group: ConsumerGroup, memberId: string): Refusal {
  return refuse("unknown-member", `Member ${memberId} is not a member of group ${group.groupId}.`);
}

function refuseFenced(memberId: string, instanceId: string, byMemberId: string): Refusal {
  return refuse("fenced-instance", `Static member ${memberId} with instance id ${instanceId} was fenced by member ${byMemberId}.`);
}

export function refuse(error: Refusal["error"], message: string): Refusal {
  return { error, message };
}

// --- its subscription ---

function mergeSubscription(base: MemberSubscription | undefined, request: ConsumerHeartbeat): MemberSubscription {
  return {
    clientId: request.clientId,
    clientHost: request.clientHost,
    instanceId: request.instanceId ?? base?.instanceId,
    rackId: request.rackId ?? base?.rackId,
    rebalanceTimeoutMs: request.rebalanceTimeoutMs ?? base?.rebalanceTimeoutMs ?? -1,
    topics: request.topics === undefined ? (base?.topics ?? []) : sortedUnique(request.topics),
    pattern: request.pattern ?? base?.pattern ?? "",
    serverAssignor: request.serverAssignor ?? base?.serverAssignor,
    classic: undefined,
  };
}

export function sortedUnique(names: readonly string[]): string[] {
  return [...new Set(names)].sort();
}

function isSameSubscription(a: MemberSubscription, b: MemberSubscription): boolean {
  return (
    a.instanceId === b.instanceId &&
    a.rackId === b.rackId &&
    a.clientId === b.clientId &&
    a.clientHost === b.clientHost &&
    a.rebalanceTimeoutMs === b.rebalanceTimeoutMs &&
    a.pattern === b.pattern &&
    a.serverAssignor === b.serverAssignor &&
    isSameTopics(a.topics, b.topics) &&
    isSameClassic(a.classic, b.classic)
  );
}

function isSameTopics(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((topic, index) => topic === b[index]));
}

function isSameClassic(a: MemberSubscription["classic"], b: MemberSubscription["classic"]): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a.sessionTimeoutMs !== b.sessionTimeoutMs || a.protocols.length !== b.protocols.length) return false;
  return a.protocols.every(({ name, metadata }, index) => {
    const other = b.protocols[index];
    return other !== undefined && other.name === name && Buffer.compare(other.metadata, metadata) === 0;
  });
}

// --- the group ---

/** The four steps. `answer` says how far the member has come. */
export function planMember(group: ConsumerGroup, update: MemberUpdate, context: PlanContext): Plan<UpdatedMember> | Refusal {
  const { memberId, before, replaced, subscription, downgrades = false } = update;
  const base = before ?? replaced;
  const changes: GroupChange[] = [];
  const progress = replaced === undefined ? (before?.progress ?? NO_PROGRESS) : takePlace(group, replaced, memberId, changes);
  if (base === undefined || !isSameSubscription(base.subscription, subscription)) {
    changes.push({ kind: "member", memberId, value: subscription });
  }
  const patternCounts = changedCounts(group.patternCounts(), patternsOf(base?.subscription), patternsOf(subscription));
  const patterns = updatePatterns(group, patternCounts, context);
  if (isRefusal(patterns)) return patterns;
  changes.push(...patterns.changes);
  const hasTopicsChanged = !isSameTopics(base?.subscription.topics ?? [], subscription.topics);
  const hasPatternChanged = (base?.subscription.pattern ?? "") !== subscription.pattern;
  const hasSubscriptionChanged = hasTopicsChanged || hasPatternChanged;
  const countsBefore = group.assignorCounts();
  const assignor = preferredAssignor(countsBefore) ?? context.defaultAssignor;
  const assignorCounts = changedCounts(countsBefore, assignorsOf(base?.subscription), assignorsOf(subscription));
  const nextAssignor = preferredAssignor(assignorCounts, (name) => !countsBefore.has(name)) ?? context.defaultAssignor;
  const isPatternKnown = subscription.pattern === "" || group.patterns().has(subscription.pattern);
  const isBumped = hasTopicsChanged || (hasPatternChanged && isPatternKnown) || assignor !== nextAssignor;
  // What a pattern matches counts on its own: Kafka looks at it after the heartbeat.
  const bumps = Number(isBumped) + Number(patterns.haveTopicsChanged);
  let { epoch } = group;
  if (!downgrades && (bumps > 0 || group.isMetadataStale)) {
    const topicCounts = changedCounts(group.topicCounts(), base?.subscription.topics ?? [], subscription.topics);
    const metadataHash = hashOf(topicCounts.keys(), patterns.resolved, context);
    if (bumps > 0 || metadataHash !== group.metadataHash) {
      epoch += Math.max(bumps, 1);
      changes.push({ kind: "group-epoch", value: { epoch, metadataHash } });
    }
  }
  const target = downgrades
    ? { epoch: group.targetEpoch, assignment: group.getTarget(base?.memberId ?? memberId) }
    : planTarget(group, update, epoch, nextAssignor, patterns.resolved, context, changes);
  const isFree = (topicId: string, partition: number): boolean => {
    const owner = group.getOwner(topicId, partition);
    return owner === undefined || owner === memberId || owner === replaced?.memberId;
  };
  const isSubscribed = subscribedTo(subscription, patterns.resolved, context);
  const next =
    downgrades && hasSubscriptionChanged
      ? progress
      : reconcile({ memberId, subscription, progress }, { ...target, isFree, isSubscribed, hasSubscriptionChanged, owned: update.owned });
  if (next !== progress || base === undefined) changes.push({ kind: "progress", memberId, value: next });
  return { changes, answer: { progress: next, hasSubscriptionChanged } };
}

/** A static member under a new id: it keeps what it has, and begins at epoch 0. The order of the records matters to whoever reads them. */
function takePlace(group: ConsumerGroup, replaced: ConsumerMember, memberId: string, changes: GroupChange[]): MemberProgress {
  const progress = { ...replaced.progress, epoch: 0, previousEpoch: 0 };
  changes.push(
    ...memberTombstones(replaced.memberId),
    { kind: "member", memberId, value: replaced.subscription },
    { kind: "target", memberId, value: group.getTarget(replaced.memberId) },
    { kind: "progress", memberId, value: progress },
  );
  return progress;
}

export function memberTombstones(memberId: string): GroupChange[] {
  return [
    { kind: "progress", memberId, value: undefined },
    { kind: "target", memberId, value: undefined },
    { kind: "member", memberId, value: undefined },
  ];
}

function patternsOf(subscription: MemberSubscription | undefined): readonly string[] {
  return subscription === undefined || subscription.pattern === "" ? [] : [subscription.pattern];
}

function assignorsOf(subscription: MemberSubscription | undefined): readonly string[] {
  return subscription?.serverAssignor === undefined ? [] : [subscription.serverAssignor];
}

function changedCounts(counts: ReadonlyMap<string, number>, gone: readonly string[], come: readonly string[]): ReadonlyMap<string, number> {
  if (gone === come || (gone.length === come.length && gone.every((key, index) => key === come[index]))) return counts;
  const changed = new Map(counts);
  for (const key of gone) count(changed, key, -1);
  for (const key of come) count(changed, key, 1);
  return changed;
}

function hashOf(names: Iterable<string>, patterns: ReadonlyMap<string, ResolvedPattern>, context: PlanContext): bigint {
  const all = new Set(names);
  for (const { topics } of patterns.values()) for (const topic of topics) all.add(topic);
  const topics: HashedTopic[] = [];
  for (const name of all) {
    const topic = context.getTopic(name);
    if (topic !== undefined) topics.push(topic);
  }
  return hashTopics(topics);
}

/** A pattern may stand for thousands of topics, and most heartbeats never ask. */
function subscribedTo(
  { topics, pattern }: MemberSubscription,
  patterns: ReadonlyMap<string, ResolvedPattern>,
  context: PlanContext,
): (topicId: string) => boolean {
  let names: ReadonlySet<string> | undefined;
  return (topicId) => {
    const name = context.getTopicById(topicId)?.name;
    names ??= new Set([...topics, ...(patterns.get(pattern)?.topics ?? [])]);
    return name !== undefined && names.has(name);
  };
}

// --- the target ---

/** The last one is old enough, or was made by a clock that was ahead: another broker's, or this one's before it was set back. */
export function isTargetDue({ targetTimestampMs }: ConsumerGroup, { nowMs, assignmentIntervalMs }: PlanContext): boolean {
  return nowMs >= targetTimestampMs + assignmentIntervalMs || nowMs < targetTimestampMs;
}

function planTarget(
  group: ConsumerGroup,
  update: MemberUpdate,
  epoch: number,
  assignorName: string,
  patterns: ReadonlyMap<string, ResolvedPattern>,
  context: PlanContext,
  changes: GroupChange[],
): { readonly epoch: number; readonly assignment: Assignment } {
  const { memberId, replaced } = update;
  const beforeId = replaced?.memberId ?? memberId;
  if (epoch <= group.targetEpoch || !isTargetDue(group, context))
    return { epoch: group.targetEpoch, assignment: group.getTarget(beforeId) };
  const ids = new SubscribedIds(patterns, context);
  const members: AssignorMember[] = [];
  for (const each of group.members()) {
    if (each.memberId !== beforeId && each.memberId !== memberId)
      members.push(ids.describe(each.memberId, each.subscription, group.getTarget(each.memberId)));
  }
  members.push(ids.describe(memberId, update.subscription, group.getTarget(beforeId)));
  const assignor = ASSIGNORS.get(assignorName);
  assert(assignor !== undefined, "the preferred assignor is none of ours");
  const assignments = assignor(members, ids.counts);
  for (const [id, assignment] of assignments) {
    const isKnown = id === memberId && replaced !== undefined ? true : group.targets().has(id);
    const known = group.getTarget(id === memberId ? beforeId : id);
    if (!isKnown || !isSameAssignment(known, assignment)) changes.push({ kind: "target", memberId: id, value: assignment });
  }
  changes.push({ kind: "target-epoch", value: { epoch, timestampMs: context.nowMs } });
  return { epoch, assignment: assignments.get(memberId) ?? NO_ASSIGNMENT };
}

/** Topic ids of subscriptions; members with the same subscription share one set. */
class SubscribedIds {
  readonly counts = new Map<string, number>();
  readonly #patterns: ReadonlyMap<string, ResolvedPattern>;
  readonly #context: PlanContext;
  readonly #sets = new Map<string, ReadonlySet<string>>();

  constructor(patterns: ReadonlyMap<string, ResolvedPattern>, context: PlanContext) {
    this.#patterns = patterns;
    this.#context = context;
  }

  describe(memberId: string, subscription: MemberSubscription, before: Assignment): AssignorMember {
    const { topics, pattern, instanceId } = subscription;
    const key = JSON.stringify([pattern, topics]);
    let topicIds = this.#sets.get(key);
    if (topicIds === undefined) {
      topicIds = this.#resolve([...topics, ...(this.#patterns.get(pattern)?.topics ?? [])]);
      this.#sets.set(key, topicIds);
    }
    return { memberId, instanceId, topicIds, before };
  }

  #resolve(names: readonly string[]): ReadonlySet<string> {
    const topicIds = new Set<string>();
    for (const name of names) {
      const topic = this.#context.getTopic(name);
      if (topic === undefined) continue;
      topicIds.add(topic.topicId);
      this.counts.set(topic.topicId, topic.partitionCount);
    }
    return topicIds;
  }
}

// --- leaving ---

export interface Leaving {
  readonly member: ConsumerMember;
  /** It will be back with its instance id. */
  readonly isTemporary: boolean;
}

export function findLeaving(group: ConsumerGroup, request: ConsumerHeartbeat): Leaving | Refusal {
  const { memberId, instanceId, memberEpoch } = request;
  assert(memberEpoch === LEAVE_EPOCH || memberEpoch === LEFT_STATIC_EPOCH, "a heartbeat that does not leave is taken for one that does");
  if (instanceId === undefined) {
    const member = group.getMember(memberId);
    return member === undefined ? refuseUnknown(group, memberId) : { member, isTemporary: false };
  }
  const member = group.getStaticMember(instanceId);
  if (member === undefined) return refuse("unknown-member", `Instance id ${instanceId} is unknown.`);
  if (member.memberId !== memberId) return refuseFenced(memberId, instanceId, member.memberId);
  return { member, isTemporary: memberEpoch === LEFT_STATIC_EPOCH };
}

/** The member's place is kept for its session. Whoever takes it may commit under any epoch what it is given back. */
export function planStaticLeave({ memberId, progress }: ConsumerMember): GroupChange[] {
  const assigned = new Map(
    Array.from(progress.assigned, ([topicId, of]) => [topicId, new Map(Array.from(of.keys(), (partition) => [partition, 0]))] as const),
  );
  return [{ kind: "progress", memberId, value: { ...progress, epoch: LEFT_STATIC_EPOCH, assigned, pendingRevocation: NO_PARTITIONS } }];
}

/** Takes members out. The next heartbeat of another makes the target without them. */
export function planRemoval(group: ConsumerGroup, members: readonly ConsumerMember[], context: PlanContext): GroupChange[] {
  const changes = members.flatMap(({ memberId }) => memberTombstones(memberId));
  const topicCounts = new Map(group.topicCounts());
  const patternCounts = new Map(group.patternCounts());
  for (const { subscription } of members) {
    for (const topic of subscription.topics) count(topicCounts, topic, -1);
    for (const pattern of patternsOf(subscription)) count(patternCounts, pattern, -1);
  }
  const resolved = new Map(group.patterns());
  for (const pattern of group.patterns().keys()) {
    if (patternCounts.has(pattern)) continue;
    resolved.delete(pattern);
    changes.push({ kind: "pattern", pattern, value: undefined });
  }
  const metadataHash = hashOf(topicCounts.keys(), resolved, context);
  const epoch = group.epoch + 1;
  changes.push({ kind: "group-epoch", value: { epoch, metadataHash } });
  // Nobody is left to make the target.
  if (members.length === group.size) changes.push({ kind: "target-epoch", value: { epoch, timestampMs: 0 } });
  return changes;
}
