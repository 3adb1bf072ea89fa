/**
 * The next image while it is made: applies the records of one batch to an image, keeps the hash, and knows which topics changed. The controller
 * evaluates changes against a draft; readers replay batches through one. Both therefore run the same code, and the batch's hash proves it.
 *
 * Guards, asserted here because nothing may pass them, whoever wrote the record: a committed end never falls and never jumps, a term never falls, a
 * topic id names one topic for ever, WAL positions and producer ids only rise, an object is removed only without references.
 */
import { assert } from "../base/assert.ts";
import type { CowMapEdit } from "./cow-map.ts";
import {
  type BrokerState,
  brokerBody,
  type ControllerState,
  type CounterState,
  configBody,
  controllerBody,
  countersBody,
  ENTITY,
  type EntityBody,
  featureBody,
  hashEntity,
  type ObjectState,
  objectBody,
  type PartitionState,
  partitionBody,
  type ResourceConfig,
  rangeBody,
  resourceKey,
  type TopicState,
  topicBody,
  type WalState,
  walBody,
} from "./entities.ts";
import { ClusterImage, type ImageParts } from "./image.ts";
import { RangeRun, type SegmentObject } from "./range-run.ts";
import type { CommittedRangeRecord, MetadataRecord, Placement, RecordBodies } from "./records.ts";

export class ImageDraft {
  /** Slot that the batch will take. */
  readonly slot: number;
  readonly changedTopicIds = new Set<string>();
  readonly #base: ImageParts;
  #hash: bigint;
  #controller: ControllerState;
  #counters: CounterState;
  readonly #features: Map<string, number>;
  readonly #brokers: Map<number, BrokerState>;
  readonly #wals: Map<string, WalState>;
  readonly #configs: Map<string, ResourceConfig>;
  readonly #topics: CowMapEdit<TopicState>;
  readonly #topicIdsByName: CowMapEdit<string>;
  readonly #objects: CowMapEdit<ObjectState>;
  readonly #garbage: CowMapEdit<ObjectState>;
  /** Partition arrays that belong to this draft alone. */
  readonly #ownedPartitions = new Map<string, PartitionState[]>();

  constructor(base: ClusterImage) {
    const { parts } = base;
    this.#base = parts;
    this.slot = parts.slot + 1;
    this.#hash = parts.hash;
    this.#controller = parts.controller;
    this.#counters = parts.counters;
    this.#features = new Map(parts.features);
    this.#brokers = new Map(parts.brokersById);
    this.#wals = new Map(parts.wals);
    this.#configs = new Map(parts.configs);
    this.#topics = parts.topicsById.edit();
    this.#topicIdsByName = parts.topicIdsByName.edit();
    this.#objects = parts.objects.edit();
    this.#garbage = parts.garbage.edit();
  }

  get hash(): bigint {
    return this.#hash;
  }

  get controller(): ControllerState {
    return this.#controller;
  }

  get counters(): CounterState {
    return this.#counters;
  }

  getBroker(nodeId: number): BrokerState | undefined {
    return this.#brokers.get(nodeId);
  }

  getWal(walId: string): WalState | undefined {
    return this.#wals.get(walId);
  }

  /** The finalised level, as the log has it. */
  getFeature(name: string): number | undefined {
    return this.#features.get(name);
  }

  getConfigs(resourceType: number, resourceName: string): ReadonlyMap<string, string> | undefined {
    return this.#configs.get(resourceKey(resourceType, resourceName))?.configs;
  }

  getTopic(topicId: string): TopicState | undefined {
    return this.#topics.get(topicId);
  }

  getTopicByName(name: string): TopicState | undefined {
    const topicId = this.#topicIdsByName.get(name);
    return topicId === undefined ? undefined : this.#topics.get(topicId);
  }

  getObject(key: string): ObjectState | undefined {
    return this.#objects.get(key);
  }

  /** The next image. The draft must not be used afterwards. */
  done(): ClusterImage {
    return new ClusterImage({
      clusterId: this.#base.clusterId,
      slot: this.slot,
      hash: this.#hash,
      controller: this.#controller,
      counters: this.#counters,
      features: this.#features,
      brokersById: this.#brokers,
      wals: this.#wals,
      configs: this.#configs,
      topicsById: this.#topics.done(),
      topicIdsByName: this.#topicIdsByName.done(),
      objects: this.#objects.done(),
      garbage: this.#garbage.done(),
    });
  }

  apply(record: MetadataRecord): void {
    switch (record.type) {
      case "controller-elected":
        this.#electController(record);
        return;
      case "broker-registered":
        this.#registerBroker(record);
        return;
      case "wal-opened":
        this.#openWal(record);
        return;
      case "topic-created":
        this.#createTopic(record);
        return;
      case "topic-deleted":
        this.#deleteTopic(record.topicId);
        return;
      case "partitions-added":
        this.#addPartitions(record.topicId, record.placements);
        return;
      case "partition-owner":
        this.#setOwner(record);
        return;
      case "object-committed":
        this.#commitObject(record);
        return;
      case "objects-removed":
        for (const key of record.objectKeys) this.#removeObject(key);
        return;
      case "object-written-off":
        this.#writeOffObject(record);
        return;
      case "log-start-offset":
        this.#raiseLogStart(record);
        return;
      case "ranges-released":
        this.#releaseRanges(record);
        return;
      case "topic-config":
        this.#setTopicConfig(record);
        return;
      case "config":
        this.#setConfig(record);
        return;
      case "producer-id-block":
        this.#takeProducerIds(record);
        return;
      case "feature-level":
        this.#setFeature(record);
        return;
      case "change-outcome":
        this.#keepOutcome(record);
        return;
    }
  }

  #electController({ nodeId, epoch }: RecordBodies["controller-elected"]): void {
    assert(epoch === this.#controller.epoch + 1, `controller epoch ${epoch} after ${this.#controller.epoch}`);
    const before = this.#controller.epoch === 0 ? undefined : controllerBody(this.#controller);
    this.#controller = { nodeId, epoch };
    this.#replace(ENTITY.controller, before, controllerBody(this.#controller));
  }

  #registerBroker({ nodeId, incarnation, walId, rack, listeners }: RecordBodies["broker-registered"]): void {
    const broker = { nodeId, brokerEpoch: this.slot, incarnation, walId, rack, listeners, isFenced: false };
    this.#setBroker({ ...broker, lastSequence: 0, lastOutcomes: new Uint8Array(0) });
    const wal = this.#wals.get(walId);
    assert(wal === undefined || wal.nodeId === nodeId, `WAL ${walId} belongs to broker ${wal?.nodeId}, not ${nodeId}`);
    if (wal === undefined) {
      this.#setWal({ walId, nodeId, walEpoch: 0, sealedLsn: 0, committed: { lsn: 0, predecessorChecksum: 0, walEpoch: 0 } });
    }
    // Its partitions may have come online or gone offline.
    for (const topic of this.#base.topicsById.values()) {
      if (topic.partitions.some((partition) => partition.ownerNodeId === nodeId)) this.changedTopicIds.add(topic.topicId);
    }
  }

  #openWal({ walId, nodeId, walEpoch, sealedLsn }: RecordBodies["wal-opened"]): void {
    const wal = this.#wals.get(walId);
    assert(wal !== undefined && wal.nodeId === nodeId, `WAL ${walId} of broker ${nodeId} is not registered`);
    assert(walEpoch > wal.walEpoch, `epoch ${walEpoch} of WAL ${walId} after ${wal.walEpoch}`);
    assert(sealedLsn >= wal.committed.lsn, `WAL ${walId} sealed at ${sealedLsn}, below its committed ${wal.committed.lsn}`);
    this.#setWal({ ...wal, walEpoch, sealedLsn });
  }

  #createTopic(record: RecordBodies["topic-created"]): void {
    const { topicId, name, replicationFactor, isInternal, configs, placements } = record;
    assert(this.#topics.get(topicId) === undefined, `topic id ${topicId} exists`);
    assert(this.#topicIdsByName.get(name) === undefined, `topic ${name} exists`);
    const topic = { topicId, name, partitionCount: 0, replicationFactor, isInternal, configs, partitions: [] };
    this.#setTopic(topic, undefined);
    this.#topicIdsByName.set(name, topicId);
    this.#addPartitions(topicId, placements);
  }

  #deleteTopic(topicId: string): void {
    const topic = this.#requireTopic(topicId);
    topic.partitions.forEach((partition, index) => {
      for (const range of partition.ranges) {
        this.#replace(ENTITY.range, rangeBody(topicId, index, range), undefined);
        this.#addReferences(range.object, -1);
      }
      if (partition.checkpoint !== undefined) this.#addReferences(partition.checkpoint.object, -1);
      this.#replace(ENTITY.partition, partitionBody(topicId, index, partition), undefined);
    });
    this.#replace(ENTITY.topic, topicBody(topic), undefined);
    this.#topics.delete(topicId);
    this.#topicIdsByName.delete(topic.name);
    this.#ownedPartitions.delete(topicId);
    this.changedTopicIds.add(topicId);
  }

  #addPartitions(topicId: string, placements: readonly Placement[]): void {
    const topic = this.#requireTopic(topicId);
    const partitions = this.#ownPartitions(topic);
    for (const { nodeId, walId, count } of placements) {
      for (let added = 0; added < count; added++) {
        const partition: PartitionState = {
          ownerNodeId: nodeId,
          ownerWalId: walId,
          term: 0,
          logStartOffset: 0,
          committedEndOffset: 0,
          ranges: RangeRun.EMPTY,
          checkpoint: undefined,
        };
        this.#replace(ENTITY.partition, undefined, partitionBody(topicId, partitions.length, partition));
        partitions.push(partition);
      }
    }
    this.#setTopic({ ...topic, partitionCount: partitions.length, partitions }, topic);
  }

  #setOwner({ topicId, partition: index, nodeId, walId, term }: RecordBodies["partition-owner"]): void {
    const partition = this.#requirePartition(topicId, index);
    assert(term > partition.term, `term ${term} of ${topicId}-${index} after ${partition.term}`);
    this.#setPartition(topicId, index, { ...partition, ownerNodeId: nodeId, ownerWalId: walId, term });
  }

  #commitObject(record: RecordBodies["object-committed"]): void {
    const { objectKey, sizeBytes, nodeId, walId, walCommitted, ranges } = record;
    const object = this.#internObject(objectKey, sizeBytes, nodeId, walId);
    let references = 0;
    for (const range of ranges) references += this.#commitRange(object, range);
    this.#addReferences(object, references);
    if (walCommitted === undefined) return;
    const wal = this.#wals.get(walId);
    assert(wal !== undefined, `WAL ${walId} is not registered`);
    assert(walCommitted.lsn >= wal.committed.lsn, `committed LSN ${walCommitted.lsn} of WAL ${walId} after ${wal.committed.lsn}`);
    this.#setWal({ ...wal, committed: walCommitted });
  }

  /** How many references to the object it made. */
  #commitRange(object: SegmentObject, record: CommittedRangeRecord): number {
    const { topicId, partition: index, term, baseOffset, endOffset, maxTimestampMs, sizeBytes } = record;
    const partition = this.#requirePartition(topicId, index);
    assert(term === partition.term, `commit under term ${term} to ${topicId}-${index} at term ${partition.term}`);
    const end = partition.committedEndOffset;
    assert(baseOffset === end && endOffset > end, `commit [${baseOffset}, ${endOffset}) to ${topicId}-${index} committed up to ${end}`);
    const range = { baseOffset, endOffset, maxTimestampMs, sizeBytes, object };
    this.#replace(ENTITY.range, undefined, rangeBody(topicId, index, range));
    let references = 1;
    let { checkpoint } = partition;
    if (record.hasCheckpoint) {
      if (checkpoint !== undefined) this.#addReferences(checkpoint.object, -1);
      checkpoint = { object, endOffset };
      references++;
    }
    this.#setPartition(topicId, index, { ...partition, committedEndOffset: endOffset, ranges: partition.ranges.append(range), checkpoint });
    if (record.hasCheckpoint) return references - this.#dropRanges(topicId, index, Math.min(partition.logStartOffset, endOffset), object);
    return references;
  }

  /**
   * Ranges below the log start go, except those above the newest checkpoint: the producer state that they hold is nowhere else, so they stay until a
   * checkpoint covers them or they are released.
   */
  #raiseLogStart({ topicId, partition: index, offset }: RecordBodies["log-start-offset"]): void {
    const partition = this.#requirePartition(topicId, index);
    assert(offset >= partition.logStartOffset, `log start ${offset} of ${topicId}-${index} after ${partition.logStartOffset}`);
    this.#setPartition(topicId, index, { ...partition, logStartOffset: offset });
    this.#dropRanges(topicId, index, Math.min(offset, partition.checkpoint?.endOffset ?? 0));
  }

  #releaseRanges({ topicId, partition: index, offset }: RecordBodies["ranges-released"]): void {
    const { logStartOffset } = this.#requirePartition(topicId, index);
    assert(offset <= logStartOffset, `ranges of ${topicId}-${index} released up to ${offset}, above the log start ${logStartOffset}`);
    this.#dropRanges(topicId, index, offset);
  }

  /** Drops ranges that end at or below `offset`. Answers how many of them lie in `counted`, whose references the caller counts. */
  #dropRanges(topicId: string, index: number, offset: number, counted?: SegmentObject): number {
    const partition = this.#requirePartition(topicId, index);
    const ranges = partition.ranges.dropBelow(offset);
    const dropped = partition.ranges.count - ranges.count;
    if (dropped === 0) return 0;
    let inCounted = 0;
    for (let at = 0; at < dropped; at++) {
      const range = partition.ranges.get(at);
      this.#replace(ENTITY.range, rangeBody(topicId, index, range), undefined);
      if (range.object.key === counted?.key) inCounted++;
      else this.#addReferences(range.object, -1);
    }
    this.#setPartition(topicId, index, { ...partition, ranges });
    return inCounted;
  }

  #setTopicConfig({ topicId, name, value }: RecordBodies["topic-config"]): void {
    const topic = this.#requireTopic(topicId);
    const configs = new Map(topic.configs);
    if (value === undefined) configs.delete(name);
    else configs.set(name, value);
    this.#setTopic({ ...topic, configs }, topic);
  }

  #setConfig({ resourceType, resourceName, name, value }: RecordBodies["config"]): void {
    const key = resourceKey(resourceType, resourceName);
    const before = this.#configs.get(key);
    const configs = new Map(before?.configs);
    if (value === undefined) configs.delete(name);
    else configs.set(name, value);
    const after = { resourceType, resourceName, configs };
    this.#replace(ENTITY.config, before === undefined ? undefined : configBody(before), configs.size === 0 ? undefined : configBody(after));
    if (configs.size === 0) this.#configs.delete(key);
    else this.#configs.set(key, after);
  }

  #takeProducerIds({ firstId, count }: RecordBodies["producer-id-block"]): void {
    assert(firstId === this.#counters.nextProducerId, `producer ids from ${firstId}; next is ${this.#counters.nextProducerId}`);
    this.#setCounters({ ...this.#counters, nextProducerId: firstId + count });
  }

  #setFeature({ name, level }: RecordBodies["feature-level"]): void {
    const before = this.#features.get(name);
    this.#features.set(name, level);
    this.#replace(ENTITY.feature, before === undefined ? undefined : featureBody(name, before), featureBody(name, level));
  }

  #keepOutcome({ nodeId, brokerEpoch, sequence, outcomes }: RecordBodies["change-outcome"]): void {
    const broker = this.#brokers.get(nodeId);
    assert(broker !== undefined && broker.brokerEpoch === brokerEpoch, `outcome for broker ${nodeId} at epoch ${brokerEpoch}`);
    assert(sequence === broker.lastSequence + 1, `change ${sequence} of broker ${nodeId} after ${broker.lastSequence}`);
    this.#setBroker({ ...broker, lastSequence: sequence, lastOutcomes: outcomes });
  }

  #internObject(key: string, sizeBytes: number, nodeId: number, walId: string): SegmentObject {
    const existing = this.#objects.get(key);
    if (existing !== undefined) return existing.object;
    const object = { number: this.#counters.nextObjectNumber, key, sizeBytes, nodeId, walId };
    this.#setCounters({ ...this.#counters, nextObjectNumber: object.number + 1 });
    this.#setObject({ object, references: 0 }, undefined);
    return object;
  }

  #writeOffObject({ objectKey, nodeId, walId }: RecordBodies["object-written-off"]): void {
    assert(this.#objects.get(objectKey) === undefined, `object ${objectKey} is written off and known`);
    this.#internObject(objectKey, 0, nodeId, walId);
  }

  #removeObject(key: string): void {
    const state = this.#objects.get(key);
    assert(state !== undefined && state.references === 0, `object ${key} is removed with ${state?.references} references`);
    this.#replace(ENTITY.object, objectBody(state), undefined);
    this.#objects.delete(key);
    this.#garbage.delete(key);
  }

  #addReferences(object: SegmentObject, change: number): void {
    if (change === 0) return;
    const before = this.#objects.get(object.key);
    assert(before !== undefined && before.references + change >= 0, `references to ${object.key} fall by ${-change}`);
    this.#setObject({ object, references: before.references + change }, before);
  }

  #setObject(state: ObjectState, before: ObjectState | undefined): void {
    this.#replace(ENTITY.object, before === undefined ? undefined : objectBody(before), objectBody(state));
    this.#objects.set(state.object.key, state);
    if (state.references === 0) this.#garbage.set(state.object.key, state);
    else this.#garbage.delete(state.object.key);
  }

  #setCounters(counters: CounterState): void {
    const { nextProducerId, nextObjectNumber } = this.#counters;
    const before = nextProducerId === 0 && nextObjectNumber === 0 ? undefined : countersBody(this.#counters);
    this.#counters = counters;
    this.#replace(ENTITY.counters, before, countersBody(counters));
  }

  #setBroker(broker: BrokerState): void {
    const before = this.#brokers.get(broker.nodeId);
    this.#brokers.set(broker.nodeId, broker);
    this.#replace(ENTITY.broker, before === undefined ? undefined : brokerBody(before), brokerBody(broker));
  }

  #setWal(wal: WalState): void {
    const before = this.#wals.get(wal.walId);
    this.#wals.set(wal.walId, wal);
    this.#replace(ENTITY.wal, before === undefined ? undefined : walBody(before), walBody(wal));
  }

  #setTopic(topic: TopicState, before: TopicState | undefined): void {
    this.#topics.set(topic.topicId, topic);
    this.#replace(ENTITY.topic, before === undefined ? undefined : topicBody(before), topicBody(topic));
    this.changedTopicIds.add(topic.topicId);
  }

  #setPartition(topicId: string, index: number, partition: PartitionState): void {
    const topic = this.#requireTopic(topicId);
    let partitions = this.#ownedPartitions.get(topicId);
    if (partitions === undefined) {
      partitions = this.#ownPartitions(topic);
      this.#topics.set(topicId, { ...topic, partitions });
    }
    this.#replace(ENTITY.partition, partitionBody(topicId, index, partitions[index]!), partitionBody(topicId, index, partition));
    partitions[index] = partition;
    this.changedTopicIds.add(topicId);
  }

  #ownPartitions(topic: TopicState): PartitionState[] {
    let partitions = this.#ownedPartitions.get(topic.topicId);
    if (partitions === undefined) {
      partitions = topic.partitions.slice();
      this.#ownedPartitions.set(topic.topicId, partitions);
    }
    return partitions;
  }

  #requireTopic(topicId: string): TopicState {
    const topic = this.#topics.get(topicId);
    assert(topic !== undefined, `no topic ${topicId}`);
    return topic;
  }

  #requirePartition(topicId: string, index: number): PartitionState {
    const partition = this.#requireTopic(topicId).partitions[index];
    assert(partition !== undefined, `no partition ${topicId}-${index}`);
    return partition;
  }

  #replace(kind: number, before: EntityBody | undefined, after: EntityBody | undefined): void {
    let hash = this.#hash;
    if (before !== undefined) hash -= hashEntity(kind, before);
    if (after !== undefined) hash += hashEntity(kind, after);
    this.#hash = BigInt.asUintN(64, hash);
  }
}
