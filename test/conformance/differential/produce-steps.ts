/** Produce, plain and idempotent, good and damaged, and InitProducerId without a transactional id. */
import * as initProducerId from "../../../src/protocol/messages/init-producer-id.ts";
import * as produce from "../../../src/protocol/messages/produce.ts";
import { type BatchSpec, type Damage, damages, encodeBatchSpec, type RecordSpec, rareDamages, structureDamages } from "./batches.ts";
import type { Choice } from "./choice.ts";
import type { Model, ProducerModel, TopicModel } from "./model.ts";
import { absentProducerId, type Bindings, newStep, type Step } from "./step.ts";

const longAgo = 1_700_000_000_000;

/** One partition's part of a Produce request. */
export interface PartitionWrite {
  readonly topic: string;
  readonly partition: number;
  /** Bytes of their own kind in place of a batch. */
  readonly raw: "empty" | "short" | undefined;
  readonly batch: BatchSpec;
  readonly producer: ProducerModel | undefined;
  /** Added to the producer's epoch. */
  readonly epochShift: number;
  /** Its records get other timestamps where the batch is written anew. */
  readonly isMovedInTime: boolean;
}

export function chooseRecords(choice: Choice, isKeyed: boolean): RecordSpec[] {
  const count = choice.weighted([
    [5, 1],
    [4, choice.between(2, 5)],
    [1, choice.between(6, 40)],
  ]);
  return Array.from({ length: count }, () => ({
    key: isKeyed ? `k${choice.int(5)}` : choice.chance(0.5) ? null : `key-${choice.int(9)}`,
    value: choice.chance(0.08)
      ? null
      : `value ${choice.int(1000)} `.repeat(
          choice.weighted([
            [8, 1],
            [2, 10],
            [0.6, 120],
          ]),
        ),
    headers: choice.chance(0.85)
      ? []
      : [
          ["h1", "header value"],
          ["h2", choice.chance(0.5) ? null : ""],
        ],
    timestampDelta: choice.mostly(choice.int(100), [0, -20], 0.8),
  }));
}

export function chooseBatch(topic: TopicModel | undefined, choice: Choice, isTransactional = false): BatchSpec {
  const isCompacted = topic?.configs["cleanup.policy"]?.includes("compact") ?? false;
  return {
    codec: choice.mostly(0, [1, 2, 3, 4], 0.55),
    records: chooseRecords(choice, isCompacted && choice.chance(0.9)),
    baseTimestamp: longAgo + 1000 * choice.int(5000),
    producerEpoch: -1,
    baseSequence: -1,
    isTransactional,
    damage: choice.weighted<() => Damage>([
      [isTransactional ? 800 : 82, () => "none"],
      [18, () => choice.pick(damages)],
      [0.2, () => choice.pick(rareDamages)],
    ])(),
  };
}

function chooseProducer(model: Model, choice: Choice): ProducerModel | undefined {
  const plain = model.producers.filter((producer) => producer.transactionalId === null);
  return plain.length > 0 && choice.chance(0.45) ? choice.pick(plain) : undefined;
}

/** Sequence number for the next batch of a producer: mostly right, else repeated, ahead or behind. */
export function chooseSequence(producer: ProducerModel, place: string, records: number, choice: Choice, isGood: boolean): number {
  const next = producer.nextSequence.get(place) ?? 0;
  const sequence = choice.weighted<number>([
    [10, next],
    [1.5, Math.max(0, next - records)],
    [0.6, Math.max(0, next - 1)],
    [0.6, next + 1],
    [0.4, next + 1000],
    [0.4, 0],
  ]);
  if (isGood && sequence === next) producer.nextSequence.set(place, next + records);
  return sequence;
}

export function chooseWrite(model: Model, choice: Choice, producer: ProducerModel | undefined): PartitionWrite {
  const topic = model.topicName(choice);
  const partition = model.partition(topic, choice);
  const spec = chooseBatch(model.topicOf(topic), choice, producer !== undefined && producer.transactionalId !== null);
  const isGood = spec.damage === "none" || spec.damage === "leader-epoch" || spec.damage === "base-offset";
  const place = `${topic}/${partition}`;
  const epochShift = producer === undefined ? 0 : choice.mostly(0, [1, -1, 5], 0.94);
  const baseSequence =
    producer === undefined ? -1 : chooseSequence(producer, place, spec.records.length, choice, isGood && epochShift === 0);
  const raw = choice.chance(0.985) ? undefined : choice.pick(["empty", "short"] as const);
  if (isGood && raw === undefined) model.grow(topic, partition, spec.records.length);
  const isWrittenAnew = !["producer", undefined].includes(model.topicOf(topic)?.configs["compression.type"]);
  const isMovedInTime = isWrittenAnew && spec.damage === "log-append-time";
  return { topic, partition, raw, batch: { ...spec, baseSequence }, producer, epochShift, isMovedInTime };
}

/** A good batch in order. */
export function choosePlainWrite(topic: TopicModel, partition: number, producer: ProducerModel, choice: Choice): PartitionWrite {
  const place = `${topic.name}/${partition}`;
  const baseSequence = producer.nextSequence.get(place) ?? 0;
  const records = chooseRecords(choice, true).slice(0, 4);
  producer.nextSequence.set(place, baseSequence + records.length);
  const batch: BatchSpec = { ...chooseBatch(topic, choice, producer.transactionalId !== null), damage: "none", records, baseSequence };
  return { topic: topic.name, partition, raw: undefined, batch, producer, epochShift: 0, isMovedInTime: false };
}

/** Never null: at that Kafka's handler throws, and the connection gives no further sign of life. */
function encodeWrite(write: PartitionWrite, bindings: Bindings): Buffer {
  const { producer, batch, epochShift } = write;
  if (write.raw === "empty") return Buffer.alloc(0);
  if (write.raw === "short") return Buffer.alloc(10, 1);
  const producerId = producer === undefined ? -1n : bindings.bigint(producer.reference, absentProducerId);
  const producerEpoch = producer === undefined ? -1 : bindings.number(producer.epochReference, 0) + epochShift;
  return encodeBatchSpec({ ...batch, producerEpoch }, producerId, bindings.startedMs);
}

function groupByTopic(writes: readonly PartitionWrite[]): Map<string, PartitionWrite[]> {
  const byTopic = new Map<string, PartitionWrite[]>();
  for (const write of writes) byTopic.set(write.topic, [...(byTopic.get(write.topic) ?? []), write]);
  return byTopic;
}

export function produceStep(version: number, acks: number, transactionalId: string | null, writes: readonly PartitionWrite[]): Step {
  return newStep(
    produce,
    produce.produceApi,
    version,
    (bindings) =>
      produce.newProduceRequest({
        transactionalId,
        acks,
        timeoutMs: 30_000,
        topicData: [...groupByTopic(writes)].map(([name, parts]) =>
          produce.newTopicProduceData({
            name: version >= 13 ? "" : name,
            ...(version >= 13 ? { topicId: bindings.topicId(name) } : {}),
            partitionData: parts.map((part) =>
              produce.newPartitionProduceData({ index: part.partition, records: encodeWrite(part, bindings) }),
            ),
          }),
        ),
      }),
    { isSilent: acks === 0, retries: transactionalId !== null, parts: writes.some((write) => write.isMovedInTime) },
  );
}

/** Without acks nothing shows in an answer: faults at which the two servers are known to part must be heard. */
function keepComparable(writes: readonly PartitionWrite[], acks: number): readonly PartitionWrite[] {
  const ofAll: readonly Damage[] = writes.length > 1 ? ["codec-5", "codec-7"] : [];
  const parting: readonly Damage[] = [...rareDamages, ...structureDamages, ...ofAll];
  const isParting = (write: PartitionWrite) => write.isMovedInTime || parting.includes(write.batch.damage);
  if (acks !== 0) return writes;
  return writes.map((write) => (isParting(write) ? { ...write, isMovedInTime: false, batch: { ...write.batch, damage: "none" } } : write));
}

export function produceSteps(model: Model, choice: Choice): Step[] {
  const producer = chooseProducer(model, choice);
  const writes = [chooseWrite(model, choice, producer)];
  for (
    let more = choice.weighted([
      [8, 0],
      [2, 1],
      [1, 3],
    ]);
    more > 0;
    more--
  ) {
    const write = chooseWrite(model, choice, producer);
    if (!writes.some((other) => other.topic === write.topic && other.partition === write.partition)) writes.push(write);
  }
  const acks = choice.weighted([
    [10, -1],
    [5, 1],
    [2, 0],
    [0.4, 2],
    [0.3, -2],
  ]);
  return [produceStep(model.version(0, choice, 3), acks, null, keepComparable(writes, acks))];
}

/** Several batches of one producer in order, then some of them again. */
export function duplicateSteps(model: Model, choice: Choice): Step[] {
  const topic = model.liveTopics()[0];
  const producer = model.producers.find((one) => one.transactionalId === null);
  if (topic === undefined || producer === undefined) return [];
  const partition = choice.int(topic.partitions);
  const writes = Array.from({ length: choice.between(2, 7) }, () => {
    const write = choosePlainWrite(topic, partition, producer, choice);
    model.grow(topic.name, partition, write.batch.records.length);
    return write;
  });
  const again = Array.from({ length: 3 }, () => choice.pick(writes));
  return [...writes, ...again].map((write) => produceStep(model.version(0, choice, 7), -1, null, [write]));
}

export function initProducerIdSteps(model: Model, choice: Choice): Step[] {
  const version = model.version(22, choice);
  const known = model.producers.filter((producer) => producer.transactionalId === null);
  const old = version >= 3 && known.length > 0 && choice.chance(0.35) ? choice.pick(known) : undefined;
  const shift = choice.mostly(0, [1, -1], 0.7);
  const producer = old ?? {
    reference: model.reference("producer"),
    epochReference: model.reference("epoch"),
    transactionalId: null,
    nextSequence: new Map<string, number>(),
    isInTransaction: false,
  };
  if (old === undefined) model.producers.push(producer);
  else if (shift === 0) old.nextSequence.clear();
  const transactionTimeoutMs = choice.mostly(60_000, [0, -1, 2_000_000_000], 0.9);
  return [
    newStep(
      initProducerId,
      initProducerId.initProducerIdApi,
      version,
      (bindings) =>
        initProducerId.newInitProducerIdRequest({
          transactionTimeoutMs,
          ...(old === undefined
            ? {}
            : {
                producerId: bindings.bigint(old.reference, absentProducerId),
                producerEpoch: bindings.number(old.epochReference, 0) + shift,
              }),
        }),
      {
        bind: (answer, bindings) => {
          if (answer.errorCode !== 0) return;
          bindings.set(producer.reference, answer.producerId);
          bindings.set(producer.epochReference, answer.producerEpoch);
        },
      },
    ),
  ];
}
