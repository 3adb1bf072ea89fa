/**
 * Transactions: InitProducerId with a transactional id, AddPartitionsToTxn, Produce, AddOffsetsToTxn, TxnOffsetCommit, EndTxn, WriteTxnMarkers, and what
 * administrators ask. What a coordinator does after its answer is waited for, so that reads behind it see the same.
 */
import * as addOffsets from "../../../src/protocol/messages/add-offsets-to-txn.ts";
import * as addPartitions from "../../../src/protocol/messages/add-partitions-to-txn.ts";
import * as describeProducers from "../../../src/protocol/messages/describe-producers.ts";
import * as describeTransactions from "../../../src/protocol/messages/describe-transactions.ts";
import * as endTxn from "../../../src/protocol/messages/end-txn.ts";
import * as initProducerId from "../../../src/protocol/messages/init-producer-id.ts";
import * as listTransactions from "../../../src/protocol/messages/list-transactions.ts";
import * as txnOffsetCommit from "../../../src/protocol/messages/txn-offset-commit.ts";
import * as writeTxnMarkers from "../../../src/protocol/messages/write-txn-markers.ts";
import type { Choice } from "./choice.ts";
import { chooseGroup, chooseSpeaker, speak } from "./group-steps.ts";
import type { Model, ProducerModel } from "./model.ts";
import { choosePlaces, placesByTopic } from "./offset-steps.ts";
import { choosePlainWrite, chooseWrite, type PartitionWrite, produceStep } from "./produce-steps.ts";
import { absentProducerId, type Bindings, newStep, type Settle, type Step } from "./step.ts";

function transactional(model: Model): ProducerModel[] {
  return model.producers.filter((producer) => producer.transactionalId !== null);
}

function chooseTransactional(model: Model, choice: Choice): ProducerModel | undefined {
  const known = transactional(model);
  return known.length === 0 ? undefined : choice.pick(known);
}

interface Identity {
  readonly producerId: bigint;
  readonly producerEpoch: number;
}

/** The producer as it names itself: mostly rightly. */
interface Claim {
  readonly producer: ProducerModel;
  readonly epochShift: number;
  readonly isForeign: boolean;
}

function chooseClaim(producer: ProducerModel, choice: Choice): Claim {
  return { producer, epochShift: choice.mostly(0, [1, -1], 0.95), isForeign: choice.chance(0.02) };
}

function claimed({ producer, epochShift, isForeign }: Claim, bindings: Bindings): Identity {
  return {
    producerId: isForeign ? absentProducerId : bindings.bigint(producer.reference, absentProducerId),
    producerEpoch: bindings.number(producer.epochReference, 0) + epochShift,
  };
}

function transactionalIdOf(model: Model, producer: ProducerModel, choice: Choice): string {
  return choice.mostly(producer.transactionalId ?? "", [`${model.prefix}-no-transaction`, ""], 0.98);
}

/** After it the coordinator has written its markers. */
function settled(producer: ProducerModel): () => readonly Settle[] {
  return () => [{ kind: "transaction", id: producer.transactionalId ?? "" }];
}

export function initTransactionsSteps(model: Model, choice: Choice): Step[] {
  const known = transactional(model);
  const isNew = known.length === 0 || (known.length < 3 && choice.chance(0.4));
  const producer: ProducerModel = isNew
    ? {
        reference: model.reference("producer"),
        epochReference: model.reference("epoch"),
        transactionalId: model.next("x"),
        nextSequence: new Map(),
        isInTransaction: false,
      }
    : choice.pick(known);
  if (isNew) model.producers.push(producer);
  const version = model.version(22, choice);
  const names = version >= 3 && choice.chance(0.3);
  const claim = chooseClaim(producer, choice);
  const transactionTimeoutMs = choice.mostly(60_000, [0, -1, 900_001, 900_000], 0.93);
  const transactionalId = choice.mostly(producer.transactionalId ?? "", [""], 0.98);
  producer.nextSequence.clear();
  producer.isInTransaction = false;
  return [
    newStep(
      initProducerId,
      initProducerId.initProducerIdApi,
      version,
      (bindings) =>
        initProducerId.newInitProducerIdRequest({ transactionalId, transactionTimeoutMs, ...(names ? claimed(claim, bindings) : {}) }),
      {
        retries: true,
        bind: (answer, bindings) => {
          if (answer.errorCode !== 0) return;
          bindings.set(producer.reference, answer.producerId);
          bindings.set(producer.epochReference, answer.producerEpoch);
        },
        settle: settled(producer),
      },
    ),
  ];
}

function addPartitionsStep(
  version: number,
  claim: Claim,
  transactionalId: string,
  places: ReturnType<typeof choosePlaces>,
  verifyOnly: boolean,
): Step {
  return newStep(
    addPartitions,
    addPartitions.addPartitionsToTxnApi,
    version,
    (bindings) => {
      const topics = placesByTopic(places).map(([name, parts]) =>
        addPartitions.newAddPartitionsToTxnTopic({ name, partitions: parts.map((part) => part.partition) }),
      );
      const { producerId, producerEpoch } = claimed(claim, bindings);
      if (version < 4) {
        return addPartitions.newAddPartitionsToTxnRequest({
          v3AndBelowTransactionalId: transactionalId,
          v3AndBelowProducerId: producerId,
          v3AndBelowProducerEpoch: producerEpoch,
          v3AndBelowTopics: topics,
        });
      }
      const transaction = addPartitions.newAddPartitionsToTxnTransaction({
        transactionalId,
        producerId,
        producerEpoch,
        verifyOnly,
        topics,
      });
      return addPartitions.newAddPartitionsToTxnRequest({ transactions: [transaction] });
    },
    { retries: true },
  );
}

export function addPartitionsSteps(model: Model, choice: Choice): Step[] {
  const producer = chooseTransactional(model, choice);
  if (producer === undefined) return [];
  const version = model.version(24, choice);
  const verifyOnly = version >= 4 && choice.chance(0.3);
  if (!verifyOnly) producer.isInTransaction = true;
  return [
    addPartitionsStep(
      version,
      chooseClaim(producer, choice),
      transactionalIdOf(model, producer, choice),
      choosePlaces(model, choice),
      verifyOnly,
    ),
  ];
}

/** Versions below 12 take only partitions that were added; from 12 on the produce adds them itself (KIP-890). */
export function transactionalProduceSteps(model: Model, choice: Choice): Step[] {
  const producer = chooseTransactional(model, choice);
  if (producer === undefined) return [];
  const write = chooseWrite(model, choice, producer);
  const version = model.version(0, choice, 3);
  const steps: Step[] = [];
  if (version < 12 && choice.chance(0.9)) {
    const claim: Claim = { producer, epochShift: 0, isForeign: false };
    steps.push(addPartitionsStep(model.version(24, choice, 0, 3), claim, producer.transactionalId ?? "", [write], false));
  }
  producer.isInTransaction = true;
  const transactionalId = choice.mostly(producer.transactionalId, [null, `${model.prefix}-no-transaction`], 0.97);
  return [...steps, produceStep(version, -1, transactionalId, [write])];
}

export function addOffsetsSteps(model: Model, choice: Choice): Step[] {
  const producer = chooseTransactional(model, choice);
  if (producer === undefined) return [];
  const claim = chooseClaim(producer, choice);
  const group = chooseGroup(model, choice);
  const transactionalId = transactionalIdOf(model, producer, choice);
  producer.isInTransaction = true;
  return [
    newStep(
      addOffsets,
      addOffsets.addOffsetsToTxnApi,
      model.version(25, choice),
      (bindings) => addOffsets.newAddOffsetsToTxnRequest({ transactionalId, groupId: group.name, ...claimed(claim, bindings) }),
      { retries: true },
    ),
  ];
}

export function txnOffsetCommitSteps(model: Model, choice: Choice): Step[] {
  const producer = chooseTransactional(model, choice);
  if (producer === undefined) return [];
  const claim = chooseClaim(producer, choice);
  const group = chooseGroup(model, choice);
  const speaker = chooseSpeaker(group, choice);
  const version = model.version(28, choice);
  const places = choosePlaces(model, choice).map((place) => ({
    ...place,
    offset: choice.int(60),
    note: choice.mostly("note", [null, ""], 0.8),
  }));
  const transactionalId = transactionalIdOf(model, producer, choice);
  return [
    newStep(
      txnOffsetCommit,
      txnOffsetCommit.txnOffsetCommitApi,
      version,
      (bindings) => {
        const said = speak(group, speaker, bindings);
        return txnOffsetCommit.newTxnOffsetCommitRequest({
          transactionalId,
          groupId: group.name,
          ...claimed(claim, bindings),
          ...(version >= 3
            ? { generationIdOrMemberEpoch: said.generationId, memberId: said.memberId, groupInstanceId: said.groupInstanceId }
            : {}),
          topics: placesByTopic(places).map(([name, parts]) =>
            txnOffsetCommit.newTxnOffsetCommitRequestTopic({
              ...(version >= 6 ? { topicId: bindings.topicId(name) } : { name }),
              partitions: parts.map((part) =>
                txnOffsetCommit.newTxnOffsetCommitRequestPartition({
                  partitionIndex: part.partition,
                  committedOffset: BigInt(part.offset),
                  committedMetadata: part.note,
                }),
              ),
            }),
          ),
        });
      },
      { retries: true },
    ),
  ];
}

export function endTxnSteps(model: Model, choice: Choice): Step[] {
  const producer = chooseTransactional(model, choice);
  if (producer === undefined) return [];
  const version = model.version(26, choice);
  const claim = chooseClaim(producer, choice);
  const committed = choice.chance(0.6);
  const transactionalId = transactionalIdOf(model, producer, choice);
  producer.isInTransaction = false;
  if (version >= 5) producer.nextSequence.clear();
  const step = newStep(
    endTxn,
    endTxn.endTxnApi,
    version,
    (bindings) => endTxn.newEndTxnRequest({ transactionalId, committed, ...claimed(claim, bindings) }),
    {
      retries: true,
      bind: (answer, bindings) => {
        if (answer.errorCode !== 0 || version < 5) return;
        bindings.set(producer.reference, answer.producerId);
        bindings.set(producer.epochReference, answer.producerEpoch);
      },
      settle: settled(producer),
    },
  );
  return choice.chance(0.1) ? [step, step] : [step];
}

/** As a coordinator would, or a confused one. */
export function writeMarkersSteps(model: Model, choice: Choice): Step[] {
  const producer = choice.chance(0.7) ? chooseTransactional(model, choice) : model.producers[0];
  if (producer === undefined) return [];
  const claim = chooseClaim(producer, choice);
  const version = model.version(27, choice);
  const places = choosePlaces(model, choice);
  const transactionResult = choice.chance(0.5);
  const coordinatorEpoch = choice.mostly(0, [-1, 3], 0.95);
  const transactionVersion = version >= 2 ? choice.mostly(0, [1, 2], 0.6) : 0;
  return [
    newStep(writeTxnMarkers, writeTxnMarkers.writeTxnMarkersApi, version, (bindings) =>
      writeTxnMarkers.newWriteTxnMarkersRequest({
        markers: [
          writeTxnMarkers.newWritableTxnMarker({
            ...claimed(claim, bindings),
            producerEpoch: Math.max(0, claimed(claim, bindings).producerEpoch),
            transactionResult,
            coordinatorEpoch,
            transactionVersion,
            topics: placesByTopic(places).map(([name, parts]) =>
              writeTxnMarkers.newWritableTxnMarkerTopic({ name, partitionIndexes: parts.map((part) => part.partition) }),
            ),
          }),
        ],
      }),
    ),
  ];
}

export function describeProducersSteps(model: Model, choice: Choice): Step[] {
  const places = choosePlaces(model, choice);
  const request = () =>
    describeProducers.newDescribeProducersRequest({
      topics: placesByTopic(places).map(([name, parts]) =>
        describeProducers.newTopicRequest({ name, partitionIndexes: parts.map((part) => part.partition) }),
      ),
    });
  return [newStep(describeProducers, describeProducers.describeProducersApi, model.version(61, choice), request)];
}

export function describeTransactionsSteps(model: Model, choice: Choice): Step[] {
  const ids = transactional(model).map((producer) => producer.transactionalId ?? "");
  if (ids.length === 0 || choice.chance(0.1)) ids.push(choice.pick(["", `${model.prefix}-no-transaction`]));
  const request = () => describeTransactions.newDescribeTransactionsRequest({ transactionalIds: ids });
  return [newStep(describeTransactions, describeTransactions.describeTransactionsApi, model.version(65, choice), request)];
}

export function listTransactionsSteps(model: Model, choice: Choice): Step[] {
  const version = model.version(66, choice);
  const stateFilters = choice.mostly<string[]>([], [["Ongoing"], ["CompleteCommit", "Empty"], ["nonsense", "Ongoing"]], 0.6);
  const filtered = choice.chance(0.2) ? chooseTransactional(model, choice) : undefined;
  const durationFilter = version >= 1 ? choice.mostly(-1n, [-2n, 3_600_000n], 0.8) : -1n;
  const transactionalIdPattern = version >= 2 ? choice.mostly<string | null>(null, ["", `${model.prefix}-.*`, "no.*", "(["], 0.5) : null;
  return [
    newStep(listTransactions, listTransactions.listTransactionsApi, version, (bindings) =>
      listTransactions.newListTransactionsRequest({
        stateFilters,
        producerIdFilters: filtered === undefined ? [] : [bindings.bigint(filtered.reference, absentProducerId)],
        durationFilter,
        transactionalIdPattern,
      }),
    ),
  ];
}

/** A whole transaction without mistakes, over several partitions: what applications do. */
export function wholeTransactionSteps(model: Model, choice: Choice): Step[] {
  const producer = chooseTransactional(model, choice);
  const topic = model.liveTopics()[0];
  if (producer === undefined || topic === undefined) return initTransactionsSteps(model, choice);
  const isSecondGeneration = choice.chance(0.6);
  const claim: Claim = { producer, epochShift: 0, isForeign: false };
  const id = producer.transactionalId ?? "";
  const writes = Array.from(
    { length: topic.partitions },
    (_, partition): PartitionWrite => choosePlainWrite(topic, partition, producer, choice),
  );
  for (const write of writes) model.grow(write.topic, write.partition, write.batch.records.length + 1);
  const endVersion = isSecondGeneration ? 5 : model.version(26, choice, 0, 4);
  const committed = choice.chance(0.6);
  const steps: Step[] = [];
  if (!isSecondGeneration) steps.push(addPartitionsStep(model.version(24, choice, 0, 3), claim, id, writes, false));
  for (const write of writes) steps.push(produceStep(isSecondGeneration ? 12 : model.version(0, choice, 5, 11), -1, id, [write]));
  steps.push(
    newStep(
      endTxn,
      endTxn.endTxnApi,
      endVersion,
      (bindings) => endTxn.newEndTxnRequest({ transactionalId: id, committed, ...claimed(claim, bindings) }),
      {
        retries: true,
        bind: (answer, bindings) => {
          if (answer.errorCode !== 0 || endVersion < 5) return;
          bindings.set(producer.reference, answer.producerId);
          bindings.set(producer.epochReference, answer.producerEpoch);
        },
        settle: settled(producer),
      },
    ),
  );
  if (isSecondGeneration) producer.nextSequence.clear();
  return steps;
}
