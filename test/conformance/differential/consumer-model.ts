/** What a sequence's author believes of the groups of the consumer protocol (KIP-848), and how one of their heartbeats becomes a step. */
import * as heartbeat from "../../../src/protocol/messages/consumer-group-heartbeat.ts";
import type { Choice } from "./choice.ts";
import type { Model } from "./model.ts";
import { type Bindings, newStep, type Settle, type Step } from "./step.ts";

export interface ConsumerMemberModel {
  /** Made by the client (from version 1 of the heartbeat; version 0 takes it as well). */
  readonly id: string;
  /** Begins the names of its bindings. */
  readonly reference: string;
  readonly instance: string | null;
  /** `away`: a static member that will be back. */
  state: "out" | "in" | "away";
  topics: readonly string[];
}

export interface ConsumerGroupModel {
  readonly name: string;
  /**
   * range: gives the same to the same members everywhere. lone: of one member, of which every assignor says the same. pattern: its members follow one pattern
   * at a time, under range. uniform: whom it gives what is each server's choice.
   */
  readonly kind: string;
  readonly members: ConsumerMemberModel[];
}

const groupsOf = new WeakMap<Model, ConsumerGroupModel[]>();

/** Those that have been spoken to. */
export function consumerGroups(model: Model): ConsumerGroupModel[] {
  const groups = groupsOf.get(model) ?? [];
  groupsOf.set(model, groups);
  return groups;
}

const names = [
  "range-1",
  "range-2",
  "range-3",
  "lone-1",
  "lone-2",
  "pattern-1",
  "pattern-2",
  "uniform-1",
  "uniform-2",
  "moves-1",
  "moves-2",
] as const;

/** All that a sequence may speak to: whether a coordinator knows a topic has to be known of each. */
export function consumerGroupNames(model: Model): string[] {
  return names.map((name) => `${model.prefix}-${name}`);
}

export function groupNamed(model: Model, name: (typeof names)[number]): ConsumerGroupModel {
  const groups = consumerGroups(model);
  const known = groups.find((group) => group.name === `${model.prefix}-${name}`);
  if (known !== undefined) return known;
  const group: ConsumerGroupModel = { name: `${model.prefix}-${name}`, kind: name.replace(/-\d$/, ""), members: [] };
  groups.push(group);
  return group;
}

export function chooseConsumerGroup(model: Model, choice: Choice): ConsumerGroupModel {
  return groupNamed(
    model,
    choice.weighted([
      [4, "range-1"],
      [2, "range-2"],
      [0.7, "range-3"],
      [1.5, "lone-1"],
      [0.7, "lone-2"],
    ]),
  );
}

/** What has to come to rest after a topic has come, gone or grown, where groups of consumers are subscribed to it. */
export function withCoordinators(model: Model, step: Step): Step {
  const { settle } = step;
  if (settle === undefined) return step;
  const groups = consumerGroupNames(model);
  return {
    ...step,
    settle: (answer) =>
      settle(answer).flatMap((one): Settle[] => {
        if (one.kind !== "topic" && one.kind !== "no-topic") return [one];
        return [one, { kind: "coordinators", groups, topic: one.name, partitions: one.kind === "topic" ? one.partitions : 0 }];
      }),
  };
}

/** Ids in no particular order, which range assigns by. */
export function newMember(model: Model, choice: Choice, group: ConsumerGroupModel): ConsumerMemberModel {
  const id = `${choice.pick(["m", "a", "z", "M", "_"])}${choice.int(1_000_000)}-${model.next("member")}`;
  const taken = group.members.map(({ instance }) => instance);
  const free = ["instance-1", "instance-2", "Instance-0"].filter((name) => !taken.includes(name));
  const instance = free.length > 0 && choice.chance(0.3) ? choice.pick(free) : null;
  const member: ConsumerMemberModel = { id, reference: model.reference("consumer"), instance, state: "out", topics: [] };
  group.members.push(member);
  return member;
}

export function membersOf(group: ConsumerGroupModel, ...states: readonly ConsumerMemberModel["state"][]): ConsumerMemberModel[] {
  return group.members.filter(({ state }) => states.includes(state));
}

// --- what a member knows ---

export type TopicPartitions = heartbeat.ConsumerGroupHeartbeatRequestTopicPartitions[];

export function epochOf(member: ConsumerMemberModel, bindings: Bindings): number {
  return bindings.number(`epoch:${member.reference}`, 0);
}

/** As it was told last; `before`: as it was told before that. */
export function ownedBy(member: ConsumerMemberModel, bindings: Bindings, which: "owned" | "before" = "owned"): TopicPartitions {
  return JSON.parse(bindings.string(`${which}:${member.reference}`, "[]")) as TopicPartitions;
}

function take(member: ConsumerMemberModel, answer: heartbeat.ConsumerGroupHeartbeatResponse, bindings: Bindings): void {
  if (answer.errorCode !== 0) return;
  bindings.set(`epoch:${member.reference}`, answer.memberEpoch);
  if (answer.assignment === null) return;
  bindings.set(`before:${member.reference}`, bindings.string(`owned:${member.reference}`, "[]"));
  // In one order, since the ids are in another on each server.
  const partitions = answer.assignment.topicPartitions
    .map(({ topicId, partitions: of }) => ({ topicId, partitions: of.toSorted((a, b) => a - b) }))
    .toSorted((a, b) => (bindings.topicName(a.topicId) < bindings.topicName(b.topicId) ? -1 : 1));
  bindings.set(`owned:${member.reference}`, JSON.stringify(partitions));
}

export interface Beat {
  readonly groupId?: string;
  readonly memberId?: string;
  readonly epoch: (known: number) => number;
  readonly instanceId?: string | null;
  readonly rackId?: string | null;
  readonly rebalanceTimeoutMs?: number;
  readonly topics?: readonly string[] | null;
  readonly pattern?: string | null;
  readonly assignor?: string | null;
  readonly owned?: (bindings: Bindings) => TopicPartitions | null;
  readonly settle?: readonly Settle[];
  readonly isUnderWay?: boolean;
}

export function beatStep(version: number, group: ConsumerGroupModel, member: ConsumerMemberModel, beat: Beat): Step {
  const { settle } = beat;
  return newStep(
    heartbeat,
    heartbeat.consumerGroupHeartbeatApi,
    version,
    (bindings) =>
      heartbeat.newConsumerGroupHeartbeatRequest({
        groupId: beat.groupId ?? group.name,
        memberId: beat.memberId ?? member.id,
        memberEpoch: beat.epoch(epochOf(member, bindings)),
        instanceId: beat.instanceId === undefined ? member.instance : beat.instanceId,
        rackId: beat.rackId ?? null,
        rebalanceTimeoutMs: beat.rebalanceTimeoutMs ?? -1,
        subscribedTopicNames: beat.topics === undefined || beat.topics === null ? null : [...beat.topics],
        subscribedTopicRegex: beat.pattern ?? null,
        serverAssignor: beat.assignor ?? null,
        topicPartitions: beat.owned?.(bindings) ?? null,
      }),
    {
      bind: (answer, bindings) => {
        if (beat.memberId === undefined && beat.groupId === undefined) take(member, answer, bindings);
      },
      ...(settle === undefined ? {} : { settle: () => settle }),
      ...(beat.isUnderWay === true ? { isUnderWay: true } : {}),
    },
  );
}

export const joins = () => 0;
export const goesOn = (known: number) => known;
