/**
 * How a member comes to own its target (KIP-848): first it gives up what is not in the target, and says so; then it moves to the target's epoch and is given
 * what is free; what others still hold it is given later.
 *
 *     stable --new target--> unrevoked-partitions --no longer owned--> unreleased-partitions --all free--> stable
 *
 * Invariants
 * - A partition has at most one owner: it is given only when `isFree` says so, and an owner keeps it, also while it is to be revoked, until the member says
 *   that it has let go.
 * - The epoch rises only when nothing is left to be revoked.
 */
import type { Assignment, ConsumerMember, MemberProgress, MemberState, OwnedPartitions } from "./consumer-group-types.ts";
import { NO_PARTITIONS } from "./consumer-group-types.ts";
import { isSameOwned, overlaps, unionOf } from "./topic-partitions.ts";

export interface ReconciliationTarget {
  readonly epoch: number;
  readonly assignment: Assignment;
  /** Nobody owns the partition, or the member itself does. */
  isFree(topicId: string, partition: number): boolean;
  /** Of the member, as it is subscribed now. */
  isSubscribed(topicId: string): boolean;
  /** The member has just changed its subscription: what it is no longer subscribed to goes at once. */
  readonly hasSubscriptionChanged: boolean;
  /** What the member says that it owns; undefined when it did not say. */
  readonly owned: Assignment | undefined;
}

/** The same object when nothing changes. */
export function reconcile({ progress }: ConsumerMember, target: ReconciliationTarget): MemberProgress {
  switch (progress.state) {
    case "stable":
      if (progress.epoch !== target.epoch) return takeStep(progress, progress.epoch, target);
      return target.hasSubscriptionChanged ? dropUnsubscribed(progress, target) : progress;
    case "unrevoked-partitions":
      if (stillOwns(progress.pendingRevocation, target)) {
        return target.hasSubscriptionChanged ? dropUnsubscribed(progress, target) : progress;
      }
      return takeStep(progress, progress.epoch, target);
    case "unreleased-partitions":
      return takeStep(progress, progress.epoch, target);
    case "unknown":
      return takeStep(progress, target.epoch, target);
  }
}

export function isReconciledTo({ progress }: ConsumerMember, targetEpoch: number): boolean {
  return progress.state === "stable" && progress.epoch === targetEpoch;
}

/** A member that does not say what it owns may own all that it had. */
function stillOwns(partitions: OwnedPartitions, { owned }: ReconciliationTarget): boolean {
  return owned === undefined || overlaps(owned, partitions);
}

function takeStep(progress: MemberProgress, epoch: number, target: ReconciliationTarget): MemberProgress {
  const { kept, removed } = splitAssigned(progress.assigned, target);
  if (removed.size > 0 && stillOwns(removed, target)) return advance(progress, "unrevoked-partitions", epoch, kept, removed);
  const { given, isAll } = takeFree(kept, target);
  return advance(progress, isAll ? "stable" : "unreleased-partitions", target.epoch, given, NO_PARTITIONS);
}

function splitAssigned(assigned: OwnedPartitions, target: ReconciliationTarget) {
  const kept = new Map<string, ReadonlyMap<number, number>>();
  const removed = new Map<string, ReadonlyMap<number, number>>();
  for (const [topicId, epochs] of assigned) {
    const wanted = new Set(target.isSubscribed(topicId) ? target.assignment.get(topicId) : undefined);
    const stays = new Map<number, number>();
    const goes = new Map<number, number>();
    for (const [partition, epoch] of epochs) (wanted.has(partition) ? stays : goes).set(partition, epoch);
    if (stays.size > 0) kept.set(topicId, stays);
    if (goes.size > 0) removed.set(topicId, goes);
  }
  return { kept, removed };
}

function takeFree(kept: OwnedPartitions, target: ReconciliationTarget): { given: OwnedPartitions; isAll: boolean } {
  const given = new Map(kept);
  let isAll = true;
  for (const [topicId, partitions] of target.assignment) {
    if (!target.isSubscribed(topicId)) continue;
    const epochs = new Map(kept.get(topicId));
    for (const partition of partitions) {
      if (epochs.has(partition)) continue;
      if (target.isFree(topicId, partition)) epochs.set(partition, target.epoch);
      else isAll = false;
    }
    if (epochs.size > 0) given.set(topicId, epochs);
  }
  return { given, isAll };
}

/** Only what the member is no longer subscribed to: the new target is not there yet. */
function dropUnsubscribed(progress: MemberProgress, target: ReconciliationTarget): MemberProgress {
  const kept = new Map<string, ReadonlyMap<number, number>>();
  const removed = new Map<string, ReadonlyMap<number, number>>();
  for (const [topicId, epochs] of progress.assigned) (target.isSubscribed(topicId) ? kept : removed).set(topicId, epochs);
  if (removed.size === 0) return progress;
  const pendingRevocation = unionOf(progress.pendingRevocation, removed);
  if (!stillOwns(pendingRevocation, target)) return { ...progress, previousEpoch: progress.epoch, assigned: kept };
  return { ...progress, previousEpoch: progress.epoch, state: "unrevoked-partitions", assigned: kept, pendingRevocation };
}

function advance(
  progress: MemberProgress,
  state: MemberState,
  epoch: number,
  assigned: OwnedPartitions,
  pendingRevocation: OwnedPartitions,
): MemberProgress {
  const isSame =
    state === progress.state &&
    epoch === progress.epoch &&
    // The member has heard of its epoch: the one before is not taken any more.
    progress.previousEpoch === progress.epoch &&
    isSameOwned(assigned, progress.assigned) &&
    isSameOwned(pendingRevocation, progress.pendingRevocation);
  if (isSame) return progress;
  return { epoch, previousEpoch: progress.epoch, state, assigned, pendingRevocation };
}
