/** What others do to groups of the consumer protocol: offsets of members and of nobody, tools of the classic groups, deletion. */
import type { Choice } from "./choice.ts";
import { type ConsumerGroupModel, type ConsumerMemberModel, chooseConsumerGroup, consumerGroups, epochOf } from "./consumer-model.ts";
import { deleteGroupsStep, describeStep } from "./group-steps.ts";
import type { Model } from "./model.ts";
import { type Asker, type CommitIdentity, commitStep, deleteOffsetsStep, fetchOffsetsStep } from "./offset-steps.ts";
import type { Bindings, Step } from "./step.ts";

interface Speaker {
  readonly member: ConsumerMemberModel | undefined;
  readonly memberId: string;
  readonly epochShift: number;
}

/** Mostly one that is a member. */
function chooseSpeaker(group: ConsumerGroupModel, choice: Choice): Speaker {
  const members = group.members.filter(({ state }) => state === "in" || choice.chance(0.1));
  const member = members.length === 0 || choice.chance(0.12) ? undefined : choice.pick(members);
  return {
    member,
    memberId: member?.id ?? choice.mostly("", ["stranger"], 0.7),
    epochShift: choice.mostly(0, [-1, -2, 1, -100], 0.8),
  };
}

function epochSaid({ member, memberId, epochShift }: Speaker, bindings: Bindings): number {
  if (member === undefined) return memberId === "" ? -1 : 3;
  return Math.max(epochOf(member, bindings) + epochShift, -1);
}

export function consumerCommitSteps(model: Model, choice: Choice): Step[] {
  const group = chooseConsumerGroup(model, choice);
  const speaker = chooseSpeaker(group, choice);
  const instance = choice.mostly(speaker.member?.instance ?? null, [null, "instance-1", "no-such-instance"], 0.92);
  const who = (bindings: Bindings): CommitIdentity => ({
    memberId: speaker.memberId,
    generationId: epochSaid(speaker, bindings),
    groupInstanceId: instance,
  });
  return [commitStep(model, choice, model.version(8, choice), group.name, speaker.member?.state === "in", who)];
}

export function consumerFetchOffsetsSteps(model: Model, choice: Choice): Step[] {
  const version = model.version(9, choice);
  const groups = [chooseConsumerGroup(model, choice)];
  if (version >= 8 && choice.chance(0.3)) {
    const more = chooseConsumerGroup(model, choice);
    if (more !== groups[0]) groups.push(more);
  }
  const askers = groups.map((group): Asker => {
    const speaker = chooseSpeaker(group, choice);
    if (speaker.memberId === "") return { groupId: group.name, memberId: choice.pick([null, ""]), memberEpoch: () => -1 };
    return { groupId: group.name, memberId: speaker.memberId, memberEpoch: (bindings) => epochSaid(speaker, bindings) };
  });
  return [fetchOffsetsStep(model, choice, version, askers)];
}

export function consumerOffsetDeleteSteps(model: Model, choice: Choice): Step[] {
  return [deleteOffsetsStep(model, choice, chooseConsumerGroup(model, choice).name)];
}

export function deleteConsumerGroupSteps(model: Model, choice: Choice): Step[] {
  return [deleteGroupsStep(model, choice, chooseConsumerGroup(model, choice).name)];
}

/** The tools of classic groups. */
export function describeAsClassicSteps(model: Model, choice: Choice): Step[] {
  const names = [chooseConsumerGroup(model, choice).name, ...consumerGroups(model).map(({ name }) => name)];
  return [describeStep(model.version(15, choice), names.slice(0, choice.between(1, 2)), choice.chance(0.3))];
}
