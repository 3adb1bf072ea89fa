/**
 * What happens to groups, each a scenario of its own: members join, leave, are killed and restarted one after the other, go over to the other protocol
 * and back; the broker is killed with -9 and comes back.
 */
import type { GroupVerdict } from "./groups-checker.ts";
import type { MemberKind, MemberProcess } from "./groups-members.ts";
import { GroupStage, LONG_SESSION_MS } from "./groups-stage.ts";

/** What a scenario shows. */
export interface ScenarioResult extends GroupVerdict {
  /** At once, at most. */
  readonly members: number;
  readonly rebalances: number;
}

/** `type`: what the group must be by now; a client may fall back to the classic protocol and not say so. */
async function conclude(stage: GroupStage, type: string, problems: readonly string[] = []): Promise<ScenarioResult> {
  await mustBeOfType(stage, type);
  const rebalances = await stage.readRebalances();
  const verdict = await stage.finish();
  return { ...verdict, members: stage.mostMembers, rebalances, problems: [...problems, ...verdict.problems] };
}

/** Joins, leaves, a killed member, a killed broker, a rolling restart. */
export async function churn(kind: MemberKind): Promise<ScenarioResult> {
  await kind.prepare();
  await using stage = await GroupStage.open();
  let members = [stage.start(kind), stage.start(kind)];
  await stage.working(members, "two members share the partitions");
  const third = stage.start(kind);
  await stage.working([...members, third], "a third joins");
  await members.shift()?.leave();
  await stage.working([...members, third], "the first has left");
  await third.kill();
  await stage.working(members, "a killed member's partitions move");
  members.push(stage.start(kind));
  await stage.working(members, "another takes its place");
  await stage.killBroker();
  await stage.working(members, "the broker was killed and came back");
  for (const member of members) {
    await member.leave();
    members = [...members.filter((other) => other !== member), stage.start(kind)];
    await stage.working(members, "a rolling restart");
  }
  return await conclude(stage, kind.protocol);
}

/** Each member leaves in its turn, and another comes. */
export async function restartRolling(kind: MemberKind, count = 3): Promise<ScenarioResult> {
  await kind.prepare();
  await using stage = await GroupStage.open({ sessionMs: LONG_SESSION_MS });
  const members = Array.from({ length: count }, () => stage.start(kind));
  await stage.working(members, "the members share the partitions");
  for (const [index, member] of members.entries()) {
    await member.leave();
    members[index] = stage.start(kind);
    await stage.working(members, `member ${index} of a rolling restart`);
  }
  return await conclude(stage, kind.protocol);
}

/**
 * Static members that restart within their session keep their partitions: no rebalance (KIP-345). A classic one is killed, and whoever has its instance id next
 * takes its place; one of the consumer protocol must say that it goes for a while (KIP-848).
 */
export async function restartStatic(kind: MemberKind, count = 2): Promise<ScenarioResult> {
  await kind.prepare();
  await using stage = await GroupStage.open({ sessionMs: LONG_SESSION_MS });
  const members = Array.from({ length: count }, (_, index) => stage.start(kind, { instanceId: `static${index}` }));
  await stage.working(members, "the static members share the partitions");
  const before = await stage.readRebalances();
  for (const [index, member] of members.entries()) {
    await (kind.protocol === "classic" ? member.kill() : member.leave());
    members[index] = stage.start(kind, { instanceId: `static${index}` });
    await stage.working(members, "a static member came back");
  }
  const more = (await stage.readRebalances()) - before;
  return await conclude(stage, kind.protocol, more === 0 ? [] : [`${more} rebalances while static members restarted`]);
}

/** The broker is killed under them, again and again. */
export async function killBrokers(kind: MemberKind, kills = 4): Promise<ScenarioResult> {
  await kind.prepare();
  await using stage = await GroupStage.open({ sessionMs: LONG_SESSION_MS });
  const members = Array.from({ length: 3 }, () => stage.start(kind));
  await stage.working(members, "the members share the partitions");
  for (let kill = 0; kill < kills; kill++) {
    await stage.killBroker();
    await stage.working(members, `kill ${kill}`);
  }
  return await conclude(stage, kind.protocol);
}

/** 200 members by few processes, one of which leaves with all of its members and comes back; then the broker is killed. */
export async function manyMembers(kind: MemberKind, count = 200, processes = 4): Promise<ScenarioResult> {
  await kind.prepare();
  await using stage = await GroupStage.open({ sessionMs: LONG_SESSION_MS, partitions: count });
  const members = Array.from({ length: processes }, () => stage.start(kind, { members: count / processes }));
  await stage.working(members, `${count} members have a partition each`);
  await members.shift()?.leave();
  await stage.working(members, "a quarter has left");
  members.push(stage.start(kind, { members: count / processes }));
  await stage.working(members, "and came back");
  await stage.killBroker();
  await stage.working(members, "the broker was killed and came back");
  return await conclude(stage, kind.protocol);
}

/** What a member of a mixed group is before, while and after the group is one of the consumer protocol. */
export interface MixedMember {
  readonly before: MemberKind;
  readonly upgraded: MemberKind;
  readonly after: MemberKind;
}

/** Classic members go over to the consumer protocol one by one, and back (KIP-848, online migration); on either way the broker is killed when half have gone. */
export async function migrate(kinds: readonly MixedMember[]): Promise<ScenarioResult> {
  for (const { before, upgraded, after } of kinds) for (const kind of [before, upgraded, after]) await kind.prepare();
  await using stage = await GroupStage.open({ sessionMs: LONG_SESSION_MS });
  const members = kinds.map(({ before }) => stage.start(before));
  await stage.working(members, "classic members share the partitions");
  await mustBeOfType(stage, "classic");
  await replaceEach(
    stage,
    members,
    kinds.map(({ upgraded }) => upgraded),
  );
  await mustBeOfType(stage, "consumer");
  await replaceEach(
    stage,
    members,
    kinds.map(({ after }) => after),
  );
  return await conclude(stage, "classic");
}

/** In between the group is of the consumer protocol: from the first such member to the last one's leaving. */
async function replaceEach(stage: GroupStage, members: MemberProcess[], kinds: readonly MemberKind[]): Promise<void> {
  for (const [index, kind] of kinds.entries()) {
    await members[index]?.leave();
    members[index] = stage.start(kind);
    await stage.working(members, `member ${index} is ${kind.name} now`);
    if (index < kinds.length - 1) await mustBeOfType(stage, "consumer");
    if (index + 1 !== Math.floor(kinds.length / 2)) continue;
    await stage.killBroker();
    await stage.working(members, `the broker was killed when member ${index} had become ${kind.name}`);
  }
}

async function mustBeOfType(stage: GroupStage, type: string): Promise<void> {
  const found = await stage.readGroupType();
  if (found !== type) throw new Error(`the group is ${found}, and should be ${type}`);
}
