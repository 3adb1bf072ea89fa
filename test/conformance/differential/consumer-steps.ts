/** Members of the consumer protocol (KIP-848): ConsumerGroupHeartbeat in all its ways, ConsumerGroupDescribe. */
import * as describe from "../../../src/protocol/messages/consumer-group-describe.ts";
import type { Choice } from "./choice.ts";
import {
  type Beat,
  beatStep,
  type ConsumerGroupModel,
  type ConsumerMemberModel,
  chooseConsumerGroup,
  consumerGroups,
  goesOn,
  joins,
  membersOf,
  newMember,
  ownedBy,
} from "./consumer-model.ts";
import type { Model } from "./model.ts";
import { absentTopicId, newStep, type Step } from "./step.ts";

type Owned = NonNullable<Beat["owned"]>;

const heartbeatKey = 68;
const describeKey = 69;
/** Nothing waits for it: what runs out in time is not compared. */
const rebalanceTimeoutMs = 600_000;
const mostMembers = 4;

function chooseTopics(model: Model, choice: Choice): string[] {
  const names = Array.from(
    {
      length: choice.weighted([
        [6, 1],
        [3, 2],
        [1, 3],
        [0.4, 0],
      ]),
    },
    () => model.topicName(choice),
  );
  return choice.chance(0.05) ? [...names, ...names] : [...new Set(names)];
}

function assignorFor(group: ConsumerGroupModel, choice: Choice): string | null {
  return group.kind === "range" ? "range" : choice.pick(["range", "uniform", null]);
}

/** A member of the group that is in it; undefined when nobody is. */
function chooseMember(group: ConsumerGroupModel, choice: Choice): ConsumerMemberModel | undefined {
  const members = membersOf(group, "in");
  return members.length === 0 ? undefined : choice.pick(members);
}

function joinBeat(model: Model, choice: Choice, group: ConsumerGroupModel, member: ConsumerMemberModel): Beat {
  member.topics = chooseTopics(model, choice);
  // Where others have topics, Kafka 4.4 goes on taking all for subscribed to the same until somebody's subscription changes.
  if (member.topics.length === 0 && group.kind === "range") member.topics = [model.topicName(choice)];
  return {
    epoch: joins,
    rackId: choice.mostly<string | null>(null, ["rack-a", "rack-b"], 0.6),
    rebalanceTimeoutMs: choice.mostly(rebalanceTimeoutMs, [300_000, 2_000_000_000], 0.8),
    topics: member.topics,
    assignor: assignorFor(group, choice),
    owned: () => [],
  };
}

/** Somebody new comes, somebody who left comes again, or somebody who is there begins anew. */
export function consumerJoinSteps(model: Model, choice: Choice): Step[] {
  const group = chooseConsumerGroup(model, choice);
  const present = membersOf(group, "in", "away");
  const isFull = present.length >= (group.kind === "lone" ? 1 : mostMembers);
  const known = group.members.filter(({ state }) => state === "out");
  const member =
    isFull || choice.chance(0.15)
      ? (chooseMember(group, choice) ?? present[0] ?? newMember(model, choice, group))
      : known.length > 0 && choice.chance(0.3)
        ? choice.pick(known)
        : newMember(model, choice, group);
  const beat = joinBeat(model, choice, group, member);
  member.state = "in";
  return [beatStep(model.version(heartbeatKey, choice), group, member, beat)];
}

function chooseOwned(choice: Choice, member: ConsumerMemberModel, others: readonly ConsumerMemberModel[]): Owned {
  return choice.weighted<Owned>([
    [6, (bindings) => ownedBy(member, bindings)],
    [4, () => null],
    [1.5, () => []],
    [1.5, (bindings) => ownedBy(member, bindings, "before")],
    [0.5, (bindings) => ownedBy(others[0] ?? member, bindings)],
    [0.3, () => [{ topicId: absentTopicId, partitions: [0] }]],
    [0.3, (bindings) => ownedBy(member, bindings).map(({ topicId, partitions }) => ({ topicId, partitions: [...partitions, 99] }))],
    [0.3, (bindings) => ownedBy(member, bindings).slice(0, 1)],
  ]);
}

/** A member goes on: says nothing, says what it has, says everything, or changes its mind. */
export function consumerBeatSteps(model: Model, choice: Choice): Step[] {
  const group = chooseConsumerGroup(model, choice);
  const member = chooseMember(group, choice);
  if (member === undefined) return consumerJoinSteps(model, choice);
  const others = membersOf(group, "in").filter((other) => other !== member);
  const isFull = choice.chance(0.25);
  const changes = choice.chance(0.2);
  if (changes) member.topics = chooseTopics(model, choice);
  const shift = choice.mostly(0, [1, -1, -2, 100], 0.93);
  const beat: Beat = {
    epoch: (known) => Math.max(known + shift, 1),
    instanceId: choice.mostly<string | null>(member.instance, [null, "instance-1", "no-such-instance"], 0.96),
    rackId: choice.mostly<string | null>(null, ["rack-a", "rack-c"], 0.9),
    rebalanceTimeoutMs: isFull ? rebalanceTimeoutMs : choice.mostly(-1, [400_000], 0.95),
    topics: isFull || changes ? member.topics : null,
    assignor: choice.chance(0.15) ? assignorFor(group, choice) : null,
    owned: isFull && choice.chance(0.8) ? (bindings) => ownedBy(member, bindings) : chooseOwned(choice, member, others),
    pattern: choice.mostly<string | null>(null, [""], 0.95),
  };
  return [beatStep(model.version(heartbeatKey, choice, beat.pattern === null ? 0 : 1), group, member, beat)];
}

/** Everybody says what it has, twice: what one gives up the next is given. */
export function consumerRoundSteps(model: Model, choice: Choice): Step[] {
  const group = chooseConsumerGroup(model, choice);
  const members = membersOf(group, "in");
  const round = () =>
    members.map((member) =>
      beatStep(model.version(heartbeatKey, choice), group, member, { epoch: goesOn, owned: (bindings) => ownedBy(member, bindings) }),
    );
  const times = choice.between(1, 3);
  return [...Array.from({ length: times }, round).flat(), describeConsumersStep(1, [group.name])];
}

export function consumerLeaveSteps(model: Model, choice: Choice): Step[] {
  const group = chooseConsumerGroup(model, choice);
  const member = chooseMember(group, choice) ?? choice.pick([...group.members, newMember(model, choice, group)]);
  const isTemporary = member.instance !== null && choice.chance(0.6);
  const isOdd = choice.chance(0.1);
  const instanceId = isOdd ? choice.pick([null, "instance-1", "no-such-instance"]) : member.instance;
  const epoch = isTemporary || (isOdd && choice.chance(0.5)) ? -2 : -1;
  const isTaken = epoch === -1 || instanceId !== null;
  if (member.state === "in" && instanceId === member.instance && isTaken) member.state = epoch === -2 ? "away" : "out";
  return [beatStep(model.version(heartbeatKey, choice), group, member, { epoch: () => epoch, instanceId })];
}

/** A static member is back: under its id, or under another, as another process with the same instance id. */
export function consumerReturnSteps(model: Model, choice: Choice): Step[] {
  const group = chooseConsumerGroup(model, choice);
  const away = group.members.filter(({ state, instance }) => state === "away" || (state === "in" && instance !== null));
  if (away.length === 0) return consumerLeaveSteps(model, choice);
  const before = choice.pick(away);
  const isReleased = before.state === "away";
  const member: ConsumerMemberModel =
    isReleased && choice.chance(0.3)
      ? before
      : { ...before, id: `${choice.pick(["b", "y"])}-${model.next("member")}`, reference: model.reference("consumer"), state: "out" };
  const beat = joinBeat(model, choice, group, member);
  if (isReleased) {
    before.state = "out";
    member.state = "in";
    if (member !== before) group.members.push(member);
  }
  return [beatStep(model.version(heartbeatKey, choice), group, member, beat)];
}

/** What nobody takes. */
export function consumerRefusedSteps(model: Model, choice: Choice): Step[] {
  const group = chooseConsumerGroup(model, choice);
  const member = chooseMember(group, choice) ?? newMember(model, choice, group);
  const isIn = member.state === "in";
  const join = { ...joinBeat(model, choice, group, { ...member }), memberId: `stranger-${choice.int(3)}` };
  const goes: Beat = { epoch: goesOn, owned: (bindings) => ownedBy(member, bindings) };
  const options: Beat[] = [
    { ...join, topics: null },
    { ...join, owned: () => null },
    { ...join, owned: () => [{ topicId: absentTopicId, partitions: [0] }] },
    { ...join, rebalanceTimeoutMs: -1 },
    { ...join, groupId: "" },
    { ...join, groupId: "  " },
    { ...join, instanceId: "" },
    { ...join, instanceId: " " },
    { ...join, rackId: "" },
    { ...join, rackId: "\t" },
    { ...join, assignor: "cooperative-sticky" },
    { ...join, assignor: "" },
    { ...join, assignor: "Range" },
    { ...goes, assignor: "nonsense", memberId: member.id },
    { ...goes, epoch: () => -3 },
    { ...goes, epoch: () => -2147483648 },
    { ...goes, epoch: () => -2, instanceId: null },
    { ...goes, epoch: () => -2, instanceId: "instance-1", memberId: "stranger" },
    { ...goes, epoch: () => -1, memberId: "stranger" },
    { ...goes, epoch: () => -1, memberId: "" },
    { ...goes, epoch: () => 3, memberId: "" },
    { ...goes, epoch: () => 3, memberId: "stranger" },
    { ...goes, epoch: () => 3, groupId: `${model.prefix}-no-group` },
    { ...goes, epoch: () => -1, groupId: `${model.prefix}-no-group` },
    { ...goes, epoch: () => -2, groupId: `${model.prefix}-no-group`, instanceId: "instance-1" },
    { ...goes, epoch: () => 3, instanceId: "no-such-instance" },
    { ...goes, epoch: () => 3, instanceId: "instance-1", memberId: "stranger" },
  ];
  if (!isIn) member.state = "out";
  const version = model.version(heartbeatKey, choice);
  // Version 0 has the server make an id for an empty one.
  if (version > 0) options.push({ ...join, memberId: "" }, { ...join, memberId: " " });
  return [beatStep(version, group, member, choice.pick(options))];
}

// --- as tools see it ---

export function describeConsumersStep(version: number, groupIds: readonly string[], includeAuthorizedOperations = false): Step {
  const request = () => describe.newConsumerGroupDescribeRequest({ groupIds: [...groupIds], includeAuthorizedOperations });
  return newStep(describe, describe.consumerGroupDescribeApi, version, request);
}

export function consumerDescribeSteps(model: Model, choice: Choice): Step[] {
  const names = [chooseConsumerGroup(model, choice).name];
  if (choice.chance(0.3)) {
    const classic = model.groups[0]?.name ?? `${model.prefix}-no-group`;
    names.push(choice.pick(["", `${model.prefix}-no-group`, classic, ...consumerGroups(model).map(({ name }) => name)]));
  }
  if (choice.chance(0.03)) names.length = 0;
  return [describeConsumersStep(model.version(describeKey, choice), names, choice.chance(0.3))];
}
