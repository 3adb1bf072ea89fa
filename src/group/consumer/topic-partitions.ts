/** Sets of partitions by topic: what members own, are to own, and say that they own. Pure. */
import type { Assignment, OwnedPartitions } from "./consumer-group-types.ts";

/** What is owned, without the epochs. */
export function partitionsOf(owned: OwnedPartitions): Assignment {
  const partitions = new Map<string, readonly number[]>();
  for (const [topicId, epochs] of owned)
    partitions.set(
      topicId,
      [...epochs.keys()].sort((a, b) => a - b),
    );
  return partitions;
}

export function isSameAssignment(a: Assignment, b: Assignment): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [topicId, partitions] of a) {
    const others = b.get(topicId);
    if (others === undefined || others.length !== partitions.length) return false;
    if (!partitions.every((partition, index) => partition === others[index])) return false;
  }
  return true;
}

/** The same partitions; the epochs do not count. */
export function hasSamePartitions(a: OwnedPartitions, b: OwnedPartitions): boolean {
  return isSame(a, b, (_, other) => other !== undefined);
}

/** The same partitions under the same epochs. */
export function isSameOwned(a: OwnedPartitions, b: OwnedPartitions): boolean {
  return isSame(a, b, (epoch, other) => epoch === other);
}

/** `matches` is asked for each partition of `a`: its epoch, and that of `b`'s, undefined when `b` has it not. */
function isSame(a: OwnedPartitions, b: OwnedPartitions, matches: (epoch: number, other: number | undefined) => boolean): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [topicId, partitions] of a) {
    const others = b.get(topicId);
    if (others === undefined || others.size !== partitions.size) return false;
    for (const [partition, epoch] of partitions) if (!matches(epoch, others.get(partition))) return false;
  }
  return true;
}

/** Everything that is claimed is owned. */
export function isWithin(claimed: Assignment, owned: OwnedPartitions): boolean {
  for (const [topicId, partitions] of claimed) {
    const known = owned.get(topicId);
    if (known === undefined || partitions.some((partition) => !known.has(partition))) return false;
  }
  return true;
}

/** Any of what is claimed is owned. */
export function overlaps(claimed: Assignment, owned: OwnedPartitions): boolean {
  for (const [topicId, partitions] of claimed) {
    const known = owned.get(topicId);
    if (known !== undefined && partitions.some((partition) => known.has(partition))) return true;
  }
  return false;
}

export function countPartitions(assignment: Assignment): number {
  let count = 0;
  for (const partitions of assignment.values()) count += partitions.length;
  return count;
}

export function* eachPartition(owned: OwnedPartitions): Generator<readonly [string, number]> {
  for (const [topicId, partitions] of owned) for (const partition of partitions.keys()) yield [topicId, partition];
}

/** The members of both; a topic of both has the partitions of both. */
export function unionOf(a: OwnedPartitions, b: OwnedPartitions): OwnedPartitions {
  if (a.size === 0) return b;
  if (b.size === 0) return a;
  const union = new Map<string, ReadonlyMap<number, number>>(a);
  for (const [topicId, partitions] of b) union.set(topicId, new Map([...(union.get(topicId) ?? []), ...partitions]));
  return union;
}
