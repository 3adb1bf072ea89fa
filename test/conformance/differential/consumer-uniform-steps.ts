/** Groups of several members under `uniform`: something happens, everybody beats until all have what they shall have, and then that is compared. */
import type { Choice } from "./choice.ts";
import {
  type Beat,
  beatStep,
  type ConsumerMemberModel,
  goesOn,
  groupNamed,
  joins,
  membersOf,
  newMember,
  ownedBy,
} from "./consumer-model.ts";
import { describeConsumersStep } from "./consumer-steps.ts";
import type { Model } from "./model.ts";
import type { Step } from "./step.ts";

const rebalanceTimeoutMs = 600_000;
const mostMembers = 5;
/** One gives up, says so, and the other is given: a last one for those whom the order of the members has made wait. */
const roundsToRest = 4;

export function uniformSteps(model: Model, choice: Choice): Step[] {
  const group = groupNamed(model, choice.pick(["uniform-1", "uniform-2"]));
  const version = () => model.version(68, choice);
  const beat = (member: ConsumerMemberModel, change: Partial<Beat>) =>
    beatStep(version(), group, member, { epoch: goesOn, isUnderWay: true, ...change });
  const topicsOf = () => {
    const names = model.liveTopics().map(({ name }) => name);
    return choice.chance(0.6) || names.length === 0 ? names : names.filter(() => choice.chance(0.6));
  };
  const join = (): Step => {
    const known = group.members.filter(({ state }) => state === "out");
    const member = known.length > 0 && choice.chance(0.3) ? choice.pick(known) : newMember(model, choice, group);
    member.state = "in";
    // Somebody without topics: see `consumer-steps.ts`.
    const names = topicsOf();
    const topics = names.length === 0 ? [model.topicName(choice)] : names;
    return beat(member, { epoch: joins, rebalanceTimeoutMs, topics, assignor: choice.pick(["uniform", null]), owned: () => [] });
  };
  const present = () => membersOf(group, "in");
  const member = present().length === 0 ? undefined : choice.pick(present());
  const event =
    member === undefined
      ? "join"
      : choice.weighted([
          [5, "join"],
          [2, "leave"],
          [2, "change"],
          [1, "nothing"],
        ] as const);
  const events: Step[] = [];
  if (event === "join" && present().length < mostMembers) events.push(join());
  else if (event === "change" && member !== undefined)
    events.push(beat(member, { topics: topicsOf(), owned: (bindings) => ownedBy(member, bindings) }));
  else if (event === "leave" && member !== undefined) {
    member.state = "out";
    events.push(beat(member, { epoch: () => -1 }));
  }
  const round = () => present().map((member) => beat(member, { owned: (bindings) => ownedBy(member, bindings) }));
  return [...events, ...Array.from({ length: roundsToRest }, round).flat(), describeConsumersStep(1, [group.name])];
}
