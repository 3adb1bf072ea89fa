/** The assignors of consumer groups, by their properties, on random groups. */
import { describe, expect, test } from "bun:test";
import { ASSIGNORS, type AssignorMember } from "../../../../src/group/consumer/assignors.ts";
import { type Assignment, NO_ASSIGNMENT } from "../../../../src/group/consumer/consumer-group-types.ts";
import { countPartitions } from "../../../../src/group/consumer/topic-partitions.ts";
import { SeededRandom } from "../../support/seeded-random.ts";

type Groups = { readonly counts: Map<string, number>; readonly members: AssignorMember[] };

function randomGroup(random: SeededRandom, isHomogeneous: boolean): Groups {
  const counts = new Map<string, number>();
  for (let topic = 0; topic <= random.nextInt(6); topic++) counts.set(`t${topic}`, random.nextInt(20));
  const all = new Set(counts.keys());
  const members = Array.from({ length: 1 + random.nextInt(12) }, (_, index): AssignorMember => {
    const topicIds = isHomogeneous ? all : new Set([...all].filter(() => random.nextInt(3) > 0));
    return { memberId: `m${index}`, instanceId: random.nextInt(3) === 0 ? `i${index}` : undefined, topicIds, before: NO_ASSIGNMENT };
  });
  return { counts, members };
}

/** Everything that somebody subscribes to is assigned, once, to a subscriber. */
function expectComplete({ counts, members }: Groups, assignments: ReadonlyMap<string, Assignment>): void {
  const seen = new Set<string>();
  for (const { memberId, topicIds } of members) {
    for (const [topicId, partitions] of assignments.get(memberId) ?? NO_ASSIGNMENT) {
      expect(topicIds.has(topicId)).toBe(true);
      for (const partition of partitions) {
        expect(seen.has(`${topicId}-${partition}`)).toBe(false);
        seen.add(`${topicId}-${partition}`);
      }
    }
  }
  let wanted = 0;
  for (const [topicId, count] of counts) if (members.some(({ topicIds }) => topicIds.has(topicId))) wanted += count;
  expect(seen.size).toBe(wanted);
}

/** Nobody has two more than another that could take one of them, itself or by way of others. */
function expectBalanced({ members }: Groups, assignments: ReadonlyMap<string, Assignment>): void {
  const sizeOf = ({ memberId }: AssignorMember): number => countPartitions(assignments.get(memberId) ?? NO_ASSIGNMENT);
  for (const rich of members) {
    const reached = new Set([rich]);
    for (const giver of reached) {
      for (const topicId of (assignments.get(giver.memberId) ?? NO_ASSIGNMENT).keys()) {
        for (const taker of members) if (taker.topicIds.has(topicId)) reached.add(taker);
      }
    }
    for (const poor of reached) expect(sizeOf(rich) - sizeOf(poor)).toBeLessThanOrEqual(1);
  }
}

function withBefore(members: readonly AssignorMember[], assignments: ReadonlyMap<string, Assignment>): AssignorMember[] {
  return members.map((member) => ({ ...member, before: assignments.get(member.memberId) ?? NO_ASSIGNMENT }));
}

function countMoved(members: readonly AssignorMember[], assignments: ReadonlyMap<string, Assignment>): number {
  let moved = 0;
  for (const { memberId, before } of members) {
    for (const [topicId, partitions] of before) {
      const after = new Set(assignments.get(memberId)?.get(topicId));
      for (const partition of partitions) if (!after.has(partition)) moved += 1;
    }
  }
  return moved;
}

const SEEDS = Array.from({ length: 150 }, (_, seed) => seed);

describe.each(["uniform", "range"])("%s", (name) => {
  const assign = ASSIGNORS.get(name);
  if (assign === undefined) throw new Error("no such assignor");

  test("gives every partition to exactly one subscriber", () => {
    for (const seed of SEEDS) {
      const random = new SeededRandom(seed);
      const group = randomGroup(random, seed % 2 === 0);
      const assignments = assign(group.members, group.counts);
      expectComplete(group, assignments);
      const next = { counts: group.counts, members: withBefore(group.members.slice(random.nextInt(2)), assignments) };
      expectComplete(next, assign(next.members, next.counts));
    }
  });

  test("gives the same answer again when nothing has changed", () => {
    for (const seed of SEEDS) {
      const group = randomGroup(new SeededRandom(seed), seed % 2 === 0);
      const assignments = assign(group.members, group.counts);
      const members = withBefore(group.members, assignments);
      expect(countMoved(members, assign(members, group.counts))).toBe(0);
    }
  });
});

describe("uniform", () => {
  const assign = ASSIGNORS.get("uniform");
  if (assign === undefined) throw new Error("no such assignor");

  test("balances, also after members and topics have come and gone", () => {
    for (const seed of SEEDS) {
      const random = new SeededRandom(seed);
      let group = randomGroup(random, seed % 2 === 0);
      for (let step = 0; step < 5; step++) {
        const assignments = assign(group.members, group.counts);
        expectComplete(group, assignments);
        expectBalanced(group, assignments);
        const other = randomGroup(random, seed % 2 === 0);
        group = { counts: other.counts, members: withBefore(other.members, assignments) };
      }
    }
  });

  test("moves no more than the newcomer's share", () => {
    const topicIds = new Set(["t"]);
    const counts = new Map([["t", 100]]);
    const first = ["a", "b", "c", "d"].map((memberId) => ({ memberId, instanceId: undefined, topicIds, before: NO_ASSIGNMENT }));
    const before = assign(first, counts);
    const members = [...withBefore(first, before), { memberId: "e", instanceId: undefined, topicIds, before: NO_ASSIGNMENT }];
    expect(countMoved(members, assign(members, counts))).toBe(20);
  });

  test("a partition that two had before goes to one of them", () => {
    const topicIds = new Set(["t"]);
    const before: Assignment = new Map([["t", [0, 1]]]);
    const members = ["a", "b"].map((memberId) => ({ memberId, instanceId: undefined, topicIds, before }));
    const group = { counts: new Map([["t", 2]]), members };
    const assignments = assign(members, group.counts);
    expectComplete(group, assignments);
    expectBalanced(group, assignments);
  });
});

test("uniform balances by way of others: who has too many gives to one who gives to one who has none", () => {
  const both = new Set(["t1", "t2"]);
  const one = new Set(["t1"]);
  const of = (memberId: string, topicIds: ReadonlySet<string>, before: Assignment): AssignorMember => ({
    memberId,
    instanceId: undefined,
    topicIds,
    before,
  });
  const members = [
    of("a", both, new Map([["t2", [0, 1]]])),
    of("b", one, new Map([["t1", [0]]])),
    of("c", both, new Map([["t1", [1]]])),
    of("d", one, NO_ASSIGNMENT),
  ];
  const counts = new Map([
    ["t1", 2],
    ["t2", 2],
  ]);
  const assignments = ASSIGNORS.get("uniform")?.(members, counts);
  expect(members.map(({ memberId }) => countPartitions(assignments?.get(memberId) ?? NO_ASSIGNMENT))).toEqual([1, 1, 1, 1]);
});

test("range puts equal partition numbers together, static members first", () => {
  const assign = ASSIGNORS.get("range");
  const topicIds = new Set(["x", "y"]);
  const counts = new Map([
    ["x", 5],
    ["y", 5],
  ]);
  const members = [
    { memberId: "a", instanceId: undefined, topicIds, before: NO_ASSIGNMENT },
    { memberId: "b", instanceId: "i", topicIds, before: NO_ASSIGNMENT },
  ];
  const assignments = assign?.(members, counts);
  expect(assignments?.get("b")).toEqual(
    new Map([
      ["x", [0, 1, 2]],
      ["y", [0, 1, 2]],
    ]),
  );
  expect(assignments?.get("a")?.get("y")).toEqual([3, 4]);
});
