/**
 * The assignors of consumer groups: who shall own which partitions. Pure.
 *
 * `range` gives every member a contiguous range of each of its topics, so that equal partition numbers of topics with as many partitions come together.
 * `uniform` gives every member as many partitions as any other that could take them, or some that others could take who could then give theirs, give or
 * take one, and moves as few as it can.
 *
 * Both give every partition of a subscribed topic to exactly one member that is subscribed to it. Racks are not looked at.
 */
import { assert } from "../../base/assert.ts";
import { type Assignment, NO_ASSIGNMENT } from "./consumer-group-types.ts";

export interface AssignorMember {
  readonly memberId: string;
  readonly instanceId: string | undefined;
  /** Ids of existing topics. Members with the same subscription may share one set. */
  readonly topicIds: ReadonlySet<string>;
  /** The target before this one. */
  readonly before: Assignment;
}

/** Partitions of a topic. */
export type PartitionCounts = ReadonlyMap<string, number>;

export type Assignor = (members: readonly AssignorMember[], counts: PartitionCounts) => Map<string, Assignment>;

export const ASSIGNORS: ReadonlyMap<string, Assignor> = new Map([
  ["uniform", assignUniform],
  ["range", assignRange],
]);

// --- range ---

export function assignRange(members: readonly AssignorMember[], counts: PartitionCounts): Map<string, Assignment> {
  const subscribers = new Map<string, number>();
  for (const { topicIds } of members) for (const topicId of topicIds) subscribers.set(topicId, (subscribers.get(topicId) ?? 0) + 1);
  const ranges = new Map<string, { next: number; readonly quota: number; extra: number }>();
  for (const [topicId, count] of subscribers) {
    const partitions = countOf(counts, topicId);
    ranges.set(topicId, { next: 0, quota: Math.floor(partitions / count), extra: partitions % count });
  }
  const assignments = new Map<string, Assignment>();
  for (const { memberId, topicIds } of [...members].sort(byInstanceThenMember)) {
    const assignment = new Map<string, readonly number[]>();
    for (const topicId of topicIds) {
      const range = ranges.get(topicId);
      assert(range !== undefined, "a subscribed topic has no range");
      const length = range.quota + (range.extra > 0 ? 1 : 0);
      if (range.extra > 0) range.extra -= 1;
      const start = range.next;
      if (length > 0)
        assignment.set(
          topicId,
          Array.from({ length }, (_, index) => start + index),
        );
      range.next += length;
    }
    assignments.set(memberId, assignment);
  }
  return assignments;
}

/** Static members first: their ids last. */
function byInstanceThenMember(a: AssignorMember, b: AssignorMember): number {
  if (a.instanceId !== undefined && b.instanceId !== undefined) return compare(a.instanceId, b.instanceId);
  if (a.instanceId !== undefined) return -1;
  return b.instanceId === undefined ? compare(a.memberId, b.memberId) : 1;
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

// --- uniform ---

/** A member while its assignment is made. */
interface Slot {
  readonly member: AssignorMember;
  readonly partitions: Map<string, Set<number>>;
  count: number;
}

interface LoosePartition {
  readonly topicId: string;
  readonly partition: number;
}

export function assignUniform(members: readonly AssignorMember[], counts: PartitionCounts): Map<string, Assignment> {
  const first = members[0];
  if (first === undefined) return new Map();
  const isHomogeneous = members.every(({ topicIds }) => isSameSet(topicIds, first.topicIds));
  const slots = members.map((member): Slot => ({ member, partitions: new Map(), count: 0 }));
  const taken = keepBefore(slots, counts);
  if (isHomogeneous) fillQuotas(slots, taken, first.topicIds, counts);
  else {
    placeByLoad(slots, taken, counts);
    balance(slots);
  }
  return new Map(slots.map((slot) => [slot.member.memberId, toAssignment(slot)]));
}

/** Everybody keeps what it had of what it subscribes to, each partition once. Gives back what is taken. */
function keepBefore(slots: readonly Slot[], counts: PartitionCounts): Map<string, Set<number>> {
  const taken = new Map<string, Set<number>>();
  for (const slot of slots) {
    for (const [topicId, partitions] of slot.member.before) {
      if (!slot.member.topicIds.has(topicId)) continue;
      const count = countOf(counts, topicId);
      let ofTopic = taken.get(topicId);
      if (ofTopic === undefined) {
        ofTopic = new Set();
        taken.set(topicId, ofTopic);
      }
      for (const partition of partitions) {
        if (partition >= count || ofTopic.has(partition)) continue;
        ofTopic.add(partition);
        give(slot, topicId, partition);
      }
    }
  }
  return taken;
}

/** Every member subscribes to the same topics: each gets its share, whoever has more gives the rest away. */
function fillQuotas(
  slots: readonly Slot[],
  taken: ReadonlyMap<string, ReadonlySet<number>>,
  topicIds: ReadonlySet<string>,
  counts: PartitionCounts,
): void {
  const loose: LoosePartition[] = [];
  let total = 0;
  for (const topicId of topicIds) {
    const count = countOf(counts, topicId);
    total += count;
    const ofTopic = taken.get(topicId);
    for (let partition = 0; partition < count; partition++) if (ofTopic?.has(partition) !== true) loose.push({ topicId, partition });
  }
  const least = Math.floor(total / slots.length);
  let extras = total % slots.length;
  // Who has more than the least keeps one of the extras as long as there are any.
  const keepsExtra = new Set<Slot>();
  for (const slot of slots) {
    if (slot.count <= least || extras === 0) continue;
    keepsExtra.add(slot);
    extras -= 1;
  }
  for (const slot of slots) {
    const quota = least + (keepsExtra.has(slot) ? 1 : 0);
    for (const partition of lastOf(slot, slot.count - quota)) {
      remove(slot, partition.topicId, partition.partition);
      loose.push(partition);
    }
  }
  let next = 0;
  for (const slot of slots) {
    let quota = least;
    if (keepsExtra.has(slot)) quota += 1;
    else if (extras > 0) {
      quota += 1;
      extras -= 1;
    }
    for (; slot.count < quota; next++) {
      const partition = loose[next];
      assert(partition !== undefined, "there are fewer partitions than quotas");
      give(slot, partition.topicId, partition.partition);
    }
  }
  assert(next === loose.length, "partitions are left over");
}

/** Topics with the fewest subscribers first: they have the least choice. */
function placeByLoad(slots: readonly Slot[], taken: ReadonlyMap<string, ReadonlySet<number>>, counts: PartitionCounts): void {
  const subscribers = subscribersOf(slots);
  const topicIds = [...subscribers.keys()].sort((a, b) => (subscribers.get(a)?.length ?? 0) - (subscribers.get(b)?.length ?? 0));
  for (const topicId of topicIds) {
    const heap = new SlotHeap(subscribers.get(topicId) ?? []);
    const ofTopic = taken.get(topicId);
    for (let partition = 0; partition < countOf(counts, topicId); partition++) {
      if (ofTopic?.has(partition) === true) continue;
      give(heap.least, topicId, partition);
      heap.settleLeast();
    }
  }
}

/** Moves partitions from members with more to members with at least two fewer, until there are none: the sum of squares falls with each. */
function balance(slots: readonly Slot[]): void {
  const subscribers = subscribersOf(slots);
  const budget = { looks: MAX_CHAIN_LOOKS };
  for (let hasMoved = true; hasMoved; ) {
    hasMoved = false;
    for (const [topicId, of] of subscribers) {
      while (moveOne(topicId, of)) hasMoved = true;
    }
    if (!hasMoved) hasMoved = moveAlongChains(slots, subscribers, budget);
  }
}

/** Members looked at on the way to somebody with fewer, in one assignment: some tens of milliseconds. Groups of thousands with topics of their own may end less even. */
const MAX_CHAIN_LOOKS = 1_000_000;

/** Who cannot give to a member with two fewer may give to one that can. */
function moveAlongChains(slots: readonly Slot[], subscribers: ReadonlyMap<string, readonly Slot[]>, budget: { looks: number }): boolean {
  let hasMoved = false;
  /** Whom a search that found nothing has reached: nothing is to be found from there. */
  const settled = new Set<Slot>();
  for (const slot of [...slots].sort((a, b) => b.count - a.count)) {
    while (!settled.has(slot) && budget.looks > 0) {
      const steps = findChain(slot, subscribers, settled, budget);
      for (const { from, topicId, to } of steps) {
        const partition = choosePartition(from, topicId);
        remove(from, topicId, partition);
        give(to, topicId, partition);
        hasMoved = true;
      }
    }
  }
  return hasMoved;
}

interface ChainStep {
  readonly from: Slot;
  readonly topicId: string;
  readonly to: Slot;
}

/** From the last to the first, so that each gives before it is given; empty when nobody with two fewer is reached. */
function findChain(
  source: Slot,
  subscribers: ReadonlyMap<string, readonly Slot[]>,
  settled: Set<Slot>,
  budget: { looks: number },
): ChainStep[] {
  const reachedBy = new Map<Slot, ChainStep | undefined>([[source, undefined]]);
  const seenTopics = new Set<string>();
  for (const from of reachedBy.keys()) {
    for (const topicId of from.partitions.keys()) {
      if (seenTopics.has(topicId)) continue;
      seenTopics.add(topicId);
      const takers = subscribers.get(topicId) ?? [];
      budget.looks -= takers.length;
      for (const to of takers) {
        if (reachedBy.has(to) || settled.has(to)) continue;
        reachedBy.set(to, { from, topicId, to });
        if (source.count - to.count < 2) continue;
        const steps: ChainStep[] = [];
        for (let step = reachedBy.get(to); step !== undefined; step = reachedBy.get(step.from)) steps.push(step);
        return steps;
      }
    }
  }
  for (const slot of reachedBy.keys()) settled.add(slot);
  return [];
}

function moveOne(topicId: string, subscribers: readonly Slot[]): boolean {
  let most: Slot | undefined;
  let least: Slot | undefined;
  for (const slot of subscribers) {
    if (slot.partitions.has(topicId) && (most === undefined || slot.count > most.count)) most = slot;
    if (least === undefined || slot.count < least.count) least = slot;
  }
  if (most === undefined || least === undefined || most.count - least.count < 2) return false;
  const partition = choosePartition(most, topicId);
  remove(most, topicId, partition);
  give(least, topicId, partition);
  return true;
}

/** One that moves anyway, rather than one that the member had before. */
function choosePartition(slot: Slot, topicId: string): number {
  const before = new Set(slot.member.before.get(topicId));
  let chosen: number | undefined;
  for (const partition of slot.partitions.get(topicId) ?? []) {
    chosen = partition;
    if (!before.has(partition)) break;
  }
  assert(chosen !== undefined, "a member has no partition of a topic it is listed for");
  return chosen;
}

function subscribersOf(slots: readonly Slot[]): Map<string, Slot[]> {
  const subscribers = new Map<string, Slot[]>();
  for (const slot of slots) {
    for (const topicId of slot.member.topicIds) {
      const of = subscribers.get(topicId);
      if (of === undefined) subscribers.set(topicId, [slot]);
      else of.push(slot);
    }
  }
  return subscribers;
}

/** The member with the fewest partitions on top; only the top ever gets more. */
class SlotHeap {
  readonly #slots: Slot[];

  constructor(slots: readonly Slot[]) {
    // A sorted array is a heap.
    this.#slots = [...slots].sort((a, b) => a.count - b.count);
  }

  get least(): Slot {
    const least = this.#slots[0];
    assert(least !== undefined, "a subscribed topic has no subscriber");
    return least;
  }

  /** The top has grown. */
  settleLeast(): void {
    const slots = this.#slots;
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < slots.length && (slots[child] as Slot).count < (slots[least] as Slot).count) least = child;
      }
      if (least === at) return;
      [slots[at], slots[least]] = [slots[least] as Slot, slots[at] as Slot];
      at = least;
    }
  }
}

function give(slot: Slot, topicId: string, partition: number): void {
  const partitions = slot.partitions.get(topicId);
  if (partitions === undefined) slot.partitions.set(topicId, new Set([partition]));
  else partitions.add(partition);
  slot.count += 1;
}

function remove(slot: Slot, topicId: string, partition: number): void {
  const partitions = slot.partitions.get(topicId);
  assert(partitions?.delete(partition) === true, "a member does not have the partition that is taken from it");
  if (partitions.size === 0) slot.partitions.delete(topicId);
  slot.count -= 1;
}

/** The last `count` partitions of a member: what it was given last moves first. */
function lastOf({ partitions }: Slot, count: number): LoosePartition[] {
  if (count <= 0) return [];
  const all: LoosePartition[] = [];
  for (const [topicId, of] of partitions) for (const partition of of) all.push({ topicId, partition });
  return all.slice(-count);
}

function toAssignment({ partitions }: Slot): Assignment {
  if (partitions.size === 0) return NO_ASSIGNMENT;
  return new Map(Array.from(partitions, ([topicId, of]) => [topicId, [...of].sort((a, b) => a - b)]));
}

function countOf(counts: PartitionCounts, topicId: string): number {
  const count = counts.get(topicId);
  assert(count !== undefined, "a subscribed topic has no partition count");
  return count;
}

function isSameSet(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const element of a) if (!b.has(element)) return false;
  return true;
}
