/**
 * Groups under the `uniform` assignor: whom it gives what is each server's choice, but both have to give everything to somebody who is subscribed to it, as
 * evenly, and may move no more than they must.
 */
import type { Node } from "./compare.ts";

interface Topic {
  readonly topicName: string;
  readonly partitions: readonly number[];
}

interface Member {
  readonly memberId: string;
  readonly subscribedTopicNames: readonly string[];
  readonly assignment: { readonly topicPartitions: readonly Topic[] };
  readonly targetAssignment: { readonly topicPartitions: readonly Topic[] };
}

interface Group {
  readonly groupId: string;
  readonly assignorName: string;
  readonly members: readonly Member[];
}

type Field = "assignment" | "targetAssignment";

function asGroup(value: unknown): Group | undefined {
  const group = value as Group | undefined;
  return group !== undefined && group.assignorName === "uniform" && group.members.length > 1 ? group : undefined;
}

/** Partition to member; undefined when one is given twice, or to somebody who is not subscribed to it. */
function ownersIn(group: Group, field: Field): Map<string, string> | undefined {
  const owners = new Map<string, string>();
  for (const member of group.members) {
    for (const { topicName, partitions } of member[field].topicPartitions) {
      if (!member.subscribedTopicNames.includes(topicName)) return undefined;
      for (const partition of partitions) {
        const key = `${topicName}/${partition}`;
        if (owners.has(key)) return undefined;
        owners.set(key, member.memberId);
      }
    }
  }
  return owners;
}

/** The lower, the more even. */
function unevenness(owners: ReadonlyMap<string, string>): number {
  const sizes = new Map<string, number>();
  for (const memberId of owners.values()) sizes.set(memberId, (sizes.get(memberId) ?? 0) + 1);
  return [...sizes.values()].reduce((sum, size) => sum + size * size, 0);
}

/** The same partitions are given, and at least as evenly. */
export function isAsFair(weirOwners: readonly Node[], kafkaOwners: readonly Node[]): boolean {
  const isDescribed = (node: Node) => node.assignorName !== undefined;
  const [weir, kafka] = [asGroup(weirOwners.find(isDescribed)), asGroup(kafkaOwners.find(isDescribed))];
  if (weir === undefined || kafka === undefined) return false;
  return (["assignment", "targetAssignment"] as const).every((field) => {
    const [ours, theirs] = [ownersIn(weir, field), ownersIn(kafka, field)];
    if (ours === undefined || theirs === undefined) return false;
    const isSameSet = [...ours.keys()].toSorted().join() === [...theirs.keys()].toSorted().join();
    return isSameSet && unevenness(ours) <= unevenness(theirs);
  });
}

/** Targets as they were described last, by server and group. */
export class UniformHistory {
  readonly #before = new Map<string, ReadonlyMap<string, string>>();

  /**
   * By group, how many partitions each server took from a member that could have kept them. Only where all are subscribed to the same and nothing but members
   * has come or gone: else it depends on what each had given to whom before.
   */
  noteMoves(weir: unknown, kafka: unknown): { readonly groupId: string; readonly weir: number; readonly kafka: number }[] {
    const theirs = new Map(groupsOf(kafka).map((group) => [group.groupId, group]));
    return groupsOf(weir).flatMap((group) => {
      const other = theirs.get(group.groupId);
      const [ours, others] = [this.#note("weir", group), other === undefined ? undefined : this.#note("kafka", other)];
      return ours === undefined || others === undefined ? [] : [{ groupId: group.groupId, weir: ours, kafka: others }];
    });
  }

  #note(side: string, group: Group): number | undefined {
    const key = `${side}:${group.groupId}`;
    const before = this.#before.get(key);
    if (new Set(group.members.map(({ subscribedTopicNames }) => subscribedTopicNames.toSorted().join())).size > 1) {
      this.#before.delete(key);
      return undefined;
    }
    const owners = ownersIn(group, "targetAssignment") ?? new Map<string, string>();
    this.#before.set(key, owners);
    if (before?.size !== owners.size) return undefined;
    const staying = new Set(group.members.map(({ memberId }) => memberId));
    let moves = 0;
    for (const [partition, owner] of owners) {
      const former = before.get(partition);
      if (former === undefined) return undefined;
      if (former !== owner && staying.has(former)) moves++;
    }
    return moves;
  }
}

function groupsOf(answer: unknown): Group[] {
  return ((answer as { readonly groups?: readonly unknown[] } | undefined)?.groups ?? [])
    .map(asGroup)
    .filter((group) => group !== undefined);
}
