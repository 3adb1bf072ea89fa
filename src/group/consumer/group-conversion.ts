/**
 * A group that goes from one protocol to the other while it is in use (KIP-848, `group.consumer.migration.policy`): a classic group of consumers becomes a
 * consumer group when a first member of the new protocol joins, and is classic again when the last one has left. Members keep what they have.
 */
import type { ClassicGroup } from "../classic/classic-group.ts";
import type { StoredGroup } from "../classic/group-host.ts";
import { metadataOf } from "../classic/group-roster.ts";
import { CONSUMER_PROTOCOL_TYPE } from "../classic/subscription.ts";
import { NO_BYTES } from "../group-types.ts";
import type { ConsumerGroup } from "./consumer-group.ts";
import type { Assignment, ConsumerMember, GroupChange, MemberSubscription, Refusal } from "./consumer-group-types.ts";
import { refuse, sortedUnique } from "./consumer-heartbeat.ts";
import { readAssignment, readSubscription, toTopicIds, writeAssignment } from "./embedded-protocol.ts";
import { type HashedTopic, hashTopics } from "./topic-hash.ts";
import { partitionsOf, unionOf } from "./topic-partitions.ts";

export interface MigrationPolicy {
  readonly canUpgrade: boolean;
  readonly canDowngrade: boolean;
}

/** Of `group.consumer.migration.policy`. */
export function migrationPolicyOf(value: string): MigrationPolicy {
  const name = value.trim().toLowerCase();
  return { canUpgrade: name === "bidirectional" || name === "upgrade", canDowngrade: name === "bidirectional" || name === "downgrade" };
}

// --- upgrade ---

export interface UpgradeContext {
  readonly policy: MigrationPolicy;
  /** Of consumer groups. */
  readonly maxSize: number;
  getTopic(name: string): HashedTopic | undefined;
}

/** The records that make the consumer group; in Kafka's order. */
export function planUpgrade(group: ClassicGroup, context: UpgradeContext): readonly GroupChange[] | Refusal {
  const cannot = (why: string): Refusal =>
    refuse("group-not-found", `Cannot upgrade classic group ${group.groupId} to consumer group because ${why}.`);
  if (!context.policy.canUpgrade) return cannot("online upgrade is disabled");
  if (!group.usesConsumerProtocol) return cannot("the group does not use the consumer embedded protocol");
  if (group.roster.size > context.maxSize) return cannot("the group size exceeds the consumer group maximum size");
  const subscriptions: GroupChange[] = [];
  const targets: GroupChange[] = [];
  const claims: Claim[] = [];
  const names = new Set<string>();
  const epoch = group.generation;
  for (const member of group.roster.all()) {
    const { memberId } = member;
    const metadata = group.protocolName === undefined ? NO_BYTES : metadataOf(member, group.protocolName);
    const subscription = readSubscription(metadata.length > 0 ? metadata : (member.protocols[0]?.metadata ?? NO_BYTES));
    const assignment = readAssignment(member.assignment);
    if (assignment === undefined) return cannot("the embedded consumer protocol is malformed");
    if (assignment.hasUserData) {
      return refuse(
        "group-not-found",
        `Cannot upgrade classic group ${group.groupId} to consumer group because an unsupported custom assignor is in use. ` +
          "Please refer to the documentation or switch to a default assignor before re-attempting the upgrade.",
      );
    }
    if (subscription === undefined) return cannot("the embedded consumer protocol is malformed");
    for (const topic of subscription.topics) names.add(topic);
    const partitions = toTopicIds(assignment.partitions, context.getTopic);
    const value: MemberSubscription = {
      instanceId: member.groupInstanceId,
      rackId: subscription.rackId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeoutMs: member.rebalanceTimeoutMs,
      topics: sortedUnique(subscription.topics),
      pattern: "",
      serverAssignor: undefined,
      classic: { sessionTimeoutMs: member.sessionTimeoutMs, protocols: member.protocols },
    };
    subscriptions.push({ kind: "member", memberId, value });
    targets.push({ kind: "target", memberId, value: partitions });
    claims.push({ memberId, assigned: partitions, claimed: toTopicIds(subscription.owned, context.getTopic) });
  }
  const topics = [...names].map((name) => context.getTopic(name)).filter((topic) => topic !== undefined);
  return [
    ...subscriptions,
    { kind: "group-epoch", value: { epoch, metadataHash: hashTopics(topics) } },
    ...targets,
    // No target was made: the first heartbeat may make one.
    { kind: "target-epoch", value: { epoch, timestampMs: 0 } },
    ...planProgresses(claims, epoch),
  ];
}

/** What a member of a classic group was given, and what it had when it joined: it may not have let go of the rest yet. */
interface Claim {
  readonly memberId: string;
  readonly assigned: Assignment;
  readonly claimed: Assignment;
}

/** Cooperative members join once more when they have let go (KIP-429): until then what they had is theirs, unless another was given it. */
function planProgresses(claims: readonly Claim[], epoch: number): GroupChange[] {
  const nameOf = (topicId: string, partition: number): string => `${topicId}-${partition}`;
  const taken = new Set(
    claims.flatMap(({ assigned }) => [...assigned].flatMap(([topicId, of]) => of.map((each) => nameOf(topicId, each)))),
  );
  const ownedSince = (of: readonly number[]): ReadonlyMap<number, number> => new Map(of.map((partition) => [partition, epoch]));
  return claims.map(({ memberId, assigned, claimed }) => {
    const pending = new Map<string, ReadonlyMap<number, number>>();
    for (const [topicId, of] of claimed) {
      const left = of.filter((partition) => !taken.has(nameOf(topicId, partition)));
      for (const partition of left) taken.add(nameOf(topicId, partition));
      if (left.length > 0) pending.set(topicId, ownedSince(left));
    }
    const owned = new Map(Array.from(assigned, ([topicId, of]) => [topicId, ownedSince(of)]));
    const state = pending.size > 0 ? ("unrevoked-partitions" as const) : ("stable" as const);
    return { kind: "progress", memberId, value: { epoch, previousEpoch: epoch, state, assigned: owned, pendingRevocation: pending } };
  });
}

// --- downgrade ---

export interface DowngradeContext {
  readonly policy: MigrationPolicy;
  /** Of classic groups. */
  readonly classicMaxSize: number;
}

/** Without these members only such of the classic protocol are left. */
export function canDowngrade(group: ConsumerGroup, leaving: ReadonlySet<string>, context: DowngradeContext): boolean {
  const remaining = group.size - leaving.size;
  let leavingClassic = 0;
  for (const memberId of leaving) if (group.getMember(memberId)?.subscription.classic !== undefined) leavingClassic += 1;
  const isAllClassic = group.classicCount - leavingClassic === remaining;
  return remaining > 0 && isAllClassic && context.policy.canDowngrade && remaining <= context.classicMaxSize;
}

/**
 * Whoever joins by the classic protocol with this instance id takes the place of the last member of the consumer protocol. One that goes on by the classic protocol under its
 * id alone does not make the group classic.
 */
export function downgradesByJoin(group: ConsumerGroup, instanceId: string | undefined, context: DowngradeContext): boolean {
  const known = group.getStaticMember(instanceId);
  if (known === undefined || known.subscription.classic !== undefined || group.classicCount !== group.size - 1) return false;
  return context.policy.canDowngrade && group.size <= context.classicMaxSize;
}

/**
 * The classic group with the members that stay, under the group's epoch, each with what it has: a consumer group that this one becomes before they have joined again
 * must not take any of it for free.
 */
export function describeDowngraded(
  group: ConsumerGroup,
  leaving: ReadonlySet<string>,
  nowMs: number,
  nameOf: (topicId: string) => string | undefined,
): StoredGroup {
  const staying = [...group.members()].filter(({ memberId }) => !leaving.has(memberId));
  const protocolName = selectProtocol(staying);
  return {
    generation: group.epoch,
    protocolType: CONSUMER_PROTOCOL_TYPE,
    protocolName,
    leaderId: staying[0]?.memberId,
    stateTimestampMs: nowMs,
    members: staying.map(({ memberId, subscription, progress }) => {
      const owned = partitionsOf(unionOf(progress.assigned, progress.pendingRevocation));
      const metadata = subscription.classic?.protocols.find(({ name }) => name === protocolName)?.metadata ?? NO_BYTES;
      const version = readSubscription(metadata)?.version ?? 0;
      return {
        memberId,
        groupInstanceId: subscription.instanceId,
        clientId: subscription.clientId,
        clientHost: subscription.clientHost,
        sessionTimeoutMs: subscription.classic?.sessionTimeoutMs ?? 0,
        rebalanceTimeoutMs: subscription.rebalanceTimeoutMs,
        subscription: metadata,
        protocols: subscription.classic?.protocols,
        assignment: writeAssignment(owned, version, nameOf),
      };
    }),
  };
}

/** The first protocol of the first member that all know. */
function selectProtocol(members: readonly ConsumerMember[]): string | undefined {
  const knows = ({ subscription }: ConsumerMember, wanted: string): boolean =>
    subscription.classic?.protocols.some(({ name }) => name === wanted) === true;
  const offered = members[0]?.subscription.classic?.protocols ?? [];
  return offered.find(({ name }) => members.every((member) => knows(member, name)))?.name;
}
