/** What others do to groups of the consumer protocol: offsets of members and of nobody, tools of the classic groups, deletion. */
import * as addOffsets from "../../../src/protocol/messages/add-offsets-to-txn.ts";
import * as endTxn from "../../../src/protocol/messages/end-txn.ts";
import * as initProducerId from "../../../src/protocol/messages/init-producer-id.ts";
import * as txnOffsetCommit from "../../../src/protocol/messages/txn-offset-commit.ts";
import type { Choice } from "./choice.ts";
import { type ConsumerGroupModel, type ConsumerMemberModel, chooseConsumerGroup, consumerGroups, epochOf } from "./consumer-model.ts";
import { deleteGroupsStep, describeStep } from "./group-steps.ts";
import type { Model } from "./model.ts";
import {
  type Asker,
  type CommitIdentity,
  choosePlaces,
  commitStep,
  deleteOffsetsStep,
  fetchOffsetsStep,
  placesByTopic,
} from "./offset-steps.ts";
import { absentProducerId, type Bindings, newStep, type Step } from "./step.ts";

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

/** A transaction of offsets alone, by a member under its epoch, or by a producer that does not say for whom. */
export function consumerTransactionSteps(model: Model, choice: Choice): Step[] {
  const group = chooseConsumerGroup(model, choice);
  const transactionalId = model.next("ctx");
  const reference = model.reference("producer");
  const producer = (bindings: Bindings) => ({
    transactionalId,
    producerId: bindings.bigint(reference, absentProducerId),
    producerEpoch: bindings.number(`epoch:${reference}`, 0),
  });
  const init = newStep(
    initProducerId,
    initProducerId.initProducerIdApi,
    4,
    () => initProducerId.newInitProducerIdRequest({ transactionalId, transactionTimeoutMs: 600_000 }),
    {
      retries: true,
      bind: (answer, bindings) => {
        bindings.set(reference, answer.producerId);
        bindings.set(`epoch:${reference}`, answer.producerEpoch);
      },
    },
  );
  const add = newStep(
    addOffsets,
    addOffsets.addOffsetsToTxnApi,
    3,
    (bindings) => addOffsets.newAddOffsetsToTxnRequest({ groupId: group.name, ...producer(bindings) }),
    { retries: true },
  );
  const commit = () => {
    const speaker = chooseSpeaker(group, choice);
    const version = model.version(28, choice, 3);
    const places = choosePlaces(model, choice).map((place) => ({ ...place, offset: choice.int(60) }));
    const groupInstanceId = speaker.member?.instance ?? null;
    return newStep(
      txnOffsetCommit,
      txnOffsetCommit.txnOffsetCommitApi,
      version,
      (bindings) =>
        txnOffsetCommit.newTxnOffsetCommitRequest({
          groupId: group.name,
          ...producer(bindings),
          generationIdOrMemberEpoch: epochSaid(speaker, bindings),
          memberId: speaker.memberId,
          groupInstanceId,
          topics: placesByTopic(places).map(([name, parts]) =>
            txnOffsetCommit.newTxnOffsetCommitRequestTopic({
              ...(version >= 6 ? { topicId: bindings.topicId(name) } : { name }),
              partitions: parts.map(({ partition, offset }) =>
                txnOffsetCommit.newTxnOffsetCommitRequestPartition({ partitionIndex: partition, committedOffset: BigInt(offset) }),
              ),
            }),
          ),
        }),
      { retries: true },
    );
  };
  const committed = choice.chance(0.7);
  const end = newStep(endTxn, endTxn.endTxnApi, 3, (bindings) => endTxn.newEndTxnRequest({ committed, ...producer(bindings) }), {
    retries: true,
    settle: () => [{ kind: "transaction", id: transactionalId }],
  });
  const look = () => fetchOffsetsStep(model, choice, 8, [{ groupId: group.name, memberId: null, memberEpoch: () => -1 }]);
  return [init, add, commit(), ...(choice.chance(0.4) ? [commit()] : []), look(), end, look()];
}
