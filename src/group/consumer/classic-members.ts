/**
 * Members of the classic protocol in a group of the consumer protocol (KIP-848, "online migration"): a join is their heartbeat, the generation they are told is
 * their member epoch, and a sync is answered with what they are assigned. They are told to join again when there is something new for them.
 *
 * Neighbours: `consumer-heartbeat.ts` (what a join does to the group), `shard-consumer-groups.ts` (timers, writing), `group-conversion.ts`.
 */

import { copyProtocols } from "../classic/group-roster.ts";
import { CONSUMER_PROTOCOL_TYPE } from "../classic/subscription.ts";
import type { GroupError, JoinAnswer, JoinRequest, MemberIdentity, SyncAnswer, SyncRequest } from "../group-types.ts";
import type { ConsumerGroup } from "./consumer-group.ts";
import { type ConsumerMember, isRefusal, type Refusal } from "./consumer-group-types.ts";
import { findFull, isTargetDue, type Plan, type PlanContext, planMember, refuse, sortedUnique } from "./consumer-heartbeat.ts";
import { readSubscription, toTopicIds, writeAssignment } from "./embedded-protocol.ts";
import { partitionsOf } from "./topic-partitions.ts";

export interface JoinPlan extends Plan<JoinAnswer> {
  readonly hasSubscriptionChanged: boolean;
}

/** `memberId`: the request's, or a new one. `downgrades`: the group is classic with it. */
export function planJoin(
  group: ConsumerGroup,
  request: JoinRequest,
  memberId: string,
  downgrades: boolean,
  context: PlanContext,
): JoinPlan | Refusal {
  const { groupInstanceId } = request;
  const full = findFull(group, memberId, groupInstanceId, context.maxSize);
  if (full !== undefined) return full;
  const [first] = request.protocols;
  const isSupported = request.protocols.some(({ name }) => group.supporters(name) === group.classicCount);
  const subscription = first === undefined ? undefined : readSubscription(first.metadata);
  if (request.protocolType !== CONSUMER_PROTOCOL_TYPE || !isSupported || first === undefined || subscription === undefined) {
    return refuse("inconsistent-protocol", `Member ${memberId}'s protocols are not supported.`);
  }
  if (request.memberId === "" && groupInstanceId === undefined && request.requiresKnownMemberId) return refuse("member-id-required", "");
  const found = findJoining(group, request, memberId);
  if (isRefusal(found)) return found;
  const base = found.before ?? found.replaced;
  const planned = planMember(
    group,
    {
      memberId,
      ...found,
      subscription: {
        clientId: request.clientId,
        clientHost: request.clientHost,
        instanceId: groupInstanceId ?? base?.subscription.instanceId,
        rackId: subscription.rackId ?? base?.subscription.rackId,
        rebalanceTimeoutMs: request.rebalanceTimeoutMs,
        topics: sortedUnique(subscription.topics),
        pattern: "",
        serverAssignor: base?.subscription.serverAssignor,
        classic: { sessionTimeoutMs: request.sessionTimeoutMs, protocols: copyProtocols(request.protocols) },
      },
      owned: toTopicIds(subscription.owned, context.getTopic),
      downgrades,
    },
    context,
  );
  if (isRefusal(planned)) return planned;
  const answer = {
    memberId,
    generation: planned.answer.progress.epoch,
    protocolType: CONSUMER_PROTOCOL_TYPE,
    protocolName: first.name,
    leaderId: "",
    skipAssignment: false,
    members: [],
  };
  return { changes: planned.changes, answer, hasSubscriptionChanged: planned.answer.hasSubscriptionChanged };
}

function findJoining(group: ConsumerGroup, request: JoinRequest, memberId: string) {
  const { groupInstanceId } = request;
  if (groupInstanceId === undefined) return { before: group.getMember(memberId), replaced: undefined };
  const known = group.getStaticMember(groupInstanceId);
  if (request.memberId === "") return { before: undefined, replaced: known };
  if (known === undefined) return refuse("unknown-member", `Instance id ${groupInstanceId} is unknown.`);
  if (known.memberId !== memberId) {
    const message = `Static member ${memberId} with instance id ${groupInstanceId} was fenced by member ${known.memberId}.`;
    return refuse("fenced-instance", message);
  }
  return { before: known, replaced: undefined };
}

/** The member that a Sync, a Heartbeat or a LeaveGroup comes from. By instance id alone: an administrator removes it. */
export function findClassicMember(group: ConsumerGroup, { memberId, groupInstanceId }: MemberIdentity): ConsumerMember | GroupError {
  const member = groupInstanceId === undefined ? group.getMember(memberId) : group.getStaticMember(groupInstanceId);
  if (member === undefined) return "unknown-member";
  if (member.memberId !== memberId) return "fenced-instance";
  return member.subscription.classic === undefined ? "unknown-member" : member;
}

export function findSyncError(group: ConsumerGroup, member: ConsumerMember, request: SyncRequest): GroupError | undefined {
  const { protocolType, protocolName } = request;
  if (request.generation !== member.progress.epoch) return "illegal-generation";
  const told = member.subscription.classic?.protocols[0]?.name;
  if (protocolType !== undefined && protocolType !== CONSUMER_PROTOCOL_TYPE) return "inconsistent-protocol";
  if (protocolName !== undefined && protocolName !== told) return "inconsistent-protocol";
  const isBehind = group.targetEpoch > member.progress.epoch && member.progress.state !== "unrevoked-partitions";
  return isBehind ? "rebalance-in-progress" : undefined;
}

export function describeSync(member: ConsumerMember, { protocolType, protocolName }: SyncRequest, context: PlanContext): SyncAnswer {
  const metadata = member.subscription.classic?.protocols[0]?.metadata;
  const version = metadata === undefined ? 0 : (readSubscription(metadata)?.version ?? 0);
  const assignment = writeAssignment(partitionsOf(member.progress.assigned), version, (topicId) => context.getTopicById(topicId)?.name);
  return { protocolType, protocolName, assignment };
}

/** There is a new target, something to give up, or something to be had that was not free before. */
export function hasToJoinAgain(group: ConsumerGroup, member: ConsumerMember, context: PlanContext): boolean {
  const { epoch, state } = member.progress;
  if (epoch < group.targetEpoch || state === "unrevoked-partitions") return true;
  // Where nobody but classic members is left, one of them has to make the target.
  if (group.classicCount === group.size && group.epoch > group.targetEpoch && isTargetDue(group, context)) return true;
  return state === "unreleased-partitions" && isAllFree(group, member);
}

function isAllFree(group: ConsumerGroup, { memberId, progress }: ConsumerMember): boolean {
  for (const [topicId, partitions] of group.getTarget(memberId)) {
    const assigned = progress.assigned.get(topicId);
    for (const partition of partitions) {
      if (assigned?.has(partition) !== true && group.getOwner(topicId, partition) !== undefined) return false;
    }
  }
  return true;
}
