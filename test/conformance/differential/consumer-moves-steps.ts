/**
 * Groups that go from one protocol to the other (KIP-848, "online migration"): one member of the classic protocol, and some of the consumer protocol that come and
 * go. Never two classic ones: they would wait for each other when nobody else is left.
 */
import * as heartbeat from "../../../src/protocol/messages/heartbeat.ts";
import * as joinGroup from "../../../src/protocol/messages/join-group.ts";
import * as leaveGroup from "../../../src/protocol/messages/leave-group.ts";
import * as syncGroup from "../../../src/protocol/messages/sync-group.ts";
import type { Choice } from "./choice.ts";
import {
  beatStep,
  type ConsumerGroupModel,
  type ConsumerMemberModel,
  goesOn,
  groupNamed,
  joins,
  membersOf,
  newMember,
  ownedBy,
} from "./consumer-model.ts";
import { describeConsumersStep } from "./consumer-steps.ts";
import { assignmentBytes, type EmbeddedView, subscriptionBytes, viewAssignment } from "./embedded-view.ts";
import { describeStep } from "./group-steps.ts";
import type { Model } from "./model.ts";
import { commitStep, fetchOffsetsStep } from "./offset-steps.ts";
import { type Bindings, newStep, type Step } from "./step.ts";

const timeoutMs = 600_000;
const mostConsumers = 2;
const strangerId = "stranger-00000000-0000-0000-0000-000000000000";

/** The member of the classic protocol. */
interface ClassicModel {
  /** Begins the names of its bindings. */
  readonly reference: string;
  /** Ids that servers make for dynamic members of a group that is not classic decide what range gives them: only static ones join such a group. */
  readonly instance: string | null;
  topics: readonly string[];
  /** Names of its protocols. */
  names: readonly string[];
  isIn: boolean;
}

const classics = new WeakMap<ConsumerGroupModel, ClassicModel>();

function memberIdOf(classic: ClassicModel, bindings: Bindings): string {
  return bindings.string(`id:${classic.reference}`, "");
}

function generationOf(classic: ClassicModel, bindings: Bindings): number {
  return bindings.number(`generation:${classic.reference}`, -1);
}

function ownedOf(classic: ClassicModel, bindings: Bindings): EmbeddedView["topics"] {
  return (JSON.parse(bindings.string(`owned:${classic.reference}`, "[]")) as EmbeddedView["topics"]) ?? [];
}

/** A group, its classic member, and its versions. */
class Moves {
  readonly model: Model;
  readonly choice: Choice;
  readonly group: ConsumerGroupModel;
  readonly classic: ClassicModel;

  constructor(model: Model, choice: Choice) {
    this.model = model;
    this.choice = choice;
    this.group = groupNamed(model, choice.pick(["moves-1", "moves-2"]));
    const known = classics.get(this.group);
    if (known === undefined || (!known.isIn && choice.chance(0.3))) {
      const instance = this.consumers.length > 0 || choice.chance(0.4) ? `classic-${choice.int(2)}` : null;
      classics.set(this.group, { reference: model.reference("classic"), instance, topics: this.topics(), names: ["range"], isIn: false });
    }
    this.classic = classics.get(this.group) as ClassicModel;
  }

  get consumers(): ConsumerMemberModel[] {
    return membersOf(this.group, "in", "away");
  }

  topics(): string[] {
    const { model, choice } = this;
    return [...new Set(Array.from({ length: choice.chance(0.7) ? 1 : 2 }, () => model.topicName(choice)))];
  }

  version(key: number, min = 0): number {
    return this.model.version(key, this.choice, this.classic.instance === null ? min : Math.max(min, key === 11 ? 5 : 3));
  }

  // --- the classic member ---

  /** `isSound`: nothing that might be refused. */
  join(isSound = false): Step[] {
    const { classic, choice, group } = this;
    // A dynamic member that has once left comes under another id, which nobody can foresee.
    if (!classic.isIn && classic.instance === null && this.consumers.length > 0) return this.describe();
    if (choice.chance(0.3)) classic.topics = this.topics();
    const { topics } = classic;
    const subscriptionVersion = choice.pick([0, 1, 2, 3]);
    if (!isSound) classic.names = choice.mostly(["range"], [["cooperative-sticky", "range"], ["roundrobin"]], 0.8);
    const { names } = classic;
    const protocolType = isSound ? "consumer" : choice.mostly("consumer", ["connect"], 0.97);
    const isMalformed = !isSound && choice.chance(0.03);
    const ownsNothing = choice.chance(0.15);
    const version = this.version(11);
    const step = newStep(
      joinGroup,
      joinGroup.joinGroupApi,
      version,
      (bindings) =>
        joinGroup.newJoinGroupRequest({
          groupId: group.name,
          sessionTimeoutMs: timeoutMs,
          rebalanceTimeoutMs: timeoutMs,
          memberId: memberIdOf(classic, bindings),
          groupInstanceId: version >= 5 ? classic.instance : null,
          protocolType,
          protocols: names.map((name) =>
            joinGroup.newJoinGroupRequestProtocol({
              name,
              metadata: isMalformed
                ? Buffer.from("nonsense")
                : subscriptionBytes(
                    subscriptionVersion,
                    topics,
                    ownsNothing ? [] : ownedOf(classic, bindings),
                    generationOf(classic, bindings),
                  ),
            }),
          ),
        }),
      {
        bind: (answer, bindings) => {
          if (answer.memberId !== "") bindings.set(`id:${classic.reference}`, answer.memberId);
          if (answer.errorCode === 0) bindings.set(`generation:${classic.reference}`, answer.generationId);
        },
      },
    );
    const isNew = !classic.isIn;
    classic.isIn = true;
    // A new dynamic member is told its id first.
    return [
      ...(isNew && classic.instance === null && version >= 4 ? [step, step] : [step]),
      ...(isSound || choice.chance(0.8) ? this.sync(isSound) : []),
    ];
  }

  sync(isSound = false): Step[] {
    const { classic, choice, group, model } = this;
    const version = this.version(14);
    const isOdd = !isSound && choice.chance(0.1);
    const shift = isOdd ? choice.pick([-1, 1, 0]) : 0;
    const protocolName = isOdd ? choice.pick(["other", null]) : (classic.names[0] ?? null);
    const all = classic.topics.flatMap((name) => {
      const partitions = model.topicOf(name)?.partitions ?? 0;
      return partitions === 0 ? [] : [{ name, partitions: Array.from({ length: partitions }, (_, index) => index) }];
    });
    const userData = !isSound && choice.chance(0.04);
    return [
      newStep(
        syncGroup,
        syncGroup.syncGroupApi,
        version,
        (bindings) => {
          const memberId = memberIdOf(classic, bindings);
          return syncGroup.newSyncGroupRequest({
            groupId: group.name,
            generationId: generationOf(classic, bindings) + shift,
            memberId,
            groupInstanceId: version >= 3 ? classic.instance : null,
            protocolType: version >= 5 ? "consumer" : null,
            protocolName: version >= 5 ? protocolName : null,
            // What the leader of a classic group decides; others are not listened to.
            assignments: [syncGroup.newSyncGroupRequestAssignment({ memberId, assignment: assignmentBytes(1, all, userData) })],
          });
        },
        {
          bind: (answer, bindings) => {
            const view = viewAssignment(answer.assignment);
            if (answer.errorCode === 0 && view !== undefined) bindings.set(`owned:${classic.reference}`, JSON.stringify(view.topics));
          },
        },
      ),
    ];
  }

  beatClassic(): Step[] {
    const { classic, choice, group } = this;
    const version = this.version(12);
    const shift = choice.mostly(0, [-1, 1], 0.9);
    const isStranger = choice.chance(0.05);
    return [
      newStep(heartbeat, heartbeat.heartbeatApi, version, (bindings) =>
        heartbeat.newHeartbeatRequest({
          groupId: group.name,
          generationId: generationOf(classic, bindings) + shift,
          memberId: isStranger ? strangerId : memberIdOf(classic, bindings),
          groupInstanceId: version >= 3 ? classic.instance : null,
        }),
      ),
    ];
  }

  /** A client that keeps up: it is told to join again, does so, and asks for what it has. */
  keepUp(): Step[] {
    return [...this.beatClassic(), ...this.join(), ...this.sync()];
  }

  leaveClassic(): Step[] {
    const { classic, choice, group } = this;
    const version = this.version(13);
    const byInstance = version >= 3 && classic.instance !== null && choice.chance(0.5);
    const alsoStranger = version >= 3 && choice.chance(0.1);
    classic.isIn = false;
    return [
      newStep(leaveGroup, leaveGroup.leaveGroupApi, version, (bindings) => {
        const memberId = memberIdOf(classic, bindings);
        const members = [{ memberId: byInstance ? "" : memberId, groupInstanceId: classic.instance }];
        if (alsoStranger) members.push({ memberId: strangerId, groupInstanceId: null });
        bindings.set(`id:${classic.reference}`, "");
        bindings.set(`owned:${classic.reference}`, "[]");
        return leaveGroup.newLeaveGroupRequest({
          groupId: group.name,
          memberId: version >= 3 ? "" : memberId,
          members: version >= 3 ? members.map((one) => leaveGroup.newMemberIdentity(one)) : [],
        });
      }),
    ];
  }

  /** By the tool of administrators: members of the consumer protocol too. */
  removeConsumer(): Step[] {
    const { group, choice } = this;
    const [member] = this.consumers;
    if (member === undefined) return [];
    member.state = "out";
    const rest = this.#afterLast();
    const byInstance = member.instance !== null && choice.chance(0.5);
    const identity = { memberId: byInstance ? "" : member.id, groupInstanceId: byInstance ? member.instance : null };
    const request = () => leaveGroup.newLeaveGroupRequest({ groupId: group.name, members: [leaveGroup.newMemberIdentity(identity)] });
    return [newStep(leaveGroup, leaveGroup.leaveGroupApi, this.model.version(13, choice, 3), request), ...rest];
  }

  commit(): Step[] {
    const { classic, choice, group, model } = this;
    const shift = choice.mostly(0, [-1, 1, -3], 0.8);
    const version = model.version(8, choice, classic.instance === null ? 2 : 7);
    return [
      commitStep(model, choice, version, group.name, false, (bindings) => ({
        memberId: memberIdOf(classic, bindings),
        generationId: Math.max(generationOf(classic, bindings) + shift, -1),
        groupInstanceId: classic.instance,
      })),
    ];
  }

  fetchOffsets(): Step[] {
    const { classic, choice, group, model } = this;
    const memberEpoch = (bindings: Bindings) => generationOf(classic, bindings);
    // Its id is not known when the sequence is made: `memberId` is who asks, and only strangers have a fixed one.
    return [fetchOffsetsStep(model, choice, model.version(9, choice), [{ groupId: group.name, memberId: strangerId, memberEpoch }])];
  }

  // --- members of the consumer protocol ---

  joinConsumer(): Step[] {
    const { group, choice, model, consumers } = this;
    // A dynamic classic member is found by its id, which begins alike on both servers.
    const known = group.members.filter(({ state }) => state === "out");
    if (consumers.length >= mostConsumers) return this.beatConsumers();
    const member = known.length > 0 && choice.chance(0.4) ? choice.pick(known) : newMember(model, choice, group);
    member.state = "in";
    member.topics = this.topics();
    return [
      beatStep(model.version(68, choice), group, member, {
        epoch: joins,
        rebalanceTimeoutMs: timeoutMs,
        topics: member.topics,
        assignor: "range",
        owned: () => [],
      }),
    ];
  }

  beatConsumers(): Step[] {
    const { group, choice, model } = this;
    return membersOf(group, "in").map((member) =>
      beatStep(model.version(68, choice), group, member, { epoch: goesOn, owned: (bindings) => ownedBy(member, bindings) }),
    );
  }

  leaveConsumer(): Step[] {
    const { group, choice, model, consumers } = this;
    const [member] = consumers;
    if (member === undefined) return [];
    const epoch = member.instance !== null && choice.chance(0.3) ? -2 : -1;
    member.state = epoch === -1 ? "out" : "away";
    return [beatStep(model.version(68, choice), group, member, { epoch: () => epoch }), ...this.#afterLast()];
  }

  /**
   * The group is classic now. Until its member has joined again, Kafka has it for the owner of what it was to have, Weir of what it has: should a member of the
   * new protocol come before that, it is given something else.
   */
  #afterLast(): Step[] {
    return this.consumers.length === 0 && this.classic.isIn ? this.join(true) : [];
  }

  describe(): Step[] {
    return [describeConsumersStep(1, [this.group.name]), describeStep(6, [this.group.name])];
  }
}

export function movesSteps(model: Model, choice: Choice): Step[] {
  const moves = new Moves(model, choice);
  const isIn = moves.classic.isIn;
  const steps = choice.weighted<() => Step[]>([
    [isIn ? 2 : 5, () => moves.join()],
    [isIn ? 2 : 0.3, () => moves.sync()],
    [isIn ? 3 : 0.3, () => moves.beatClassic()],
    [isIn ? 4 : 0, () => moves.keepUp()],
    [isIn ? 1 : 0.1, () => moves.leaveClassic()],
    [isIn ? 1.5 : 0.2, () => moves.commit()],
    [0.5, () => moves.fetchOffsets()],
    [4, () => moves.joinConsumer()],
    [5, () => moves.beatConsumers()],
    [2.5, () => moves.leaveConsumer()],
    [0.5, () => moves.removeConsumer()],
  ])();
  return [...steps, ...(choice.chance(0.5) ? moves.describe() : [])];
}
