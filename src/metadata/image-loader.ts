/**
 * Builds an image from the entities of a snapshot. Checks while it goes: the hash over all entities is the manifest's, every reference
 * resolves, and each object's reference count is what the ranges and checkpoints add up to.
 */
import { type ByteReader, DamagedBytes } from "./byte-codec.ts";
import type { TopicView } from "./cluster-metadata.ts";
import { CowMap } from "./cow-map.ts";
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
  readBroker,
  readController,
  readCounters,
  readObject,
  readPartition,
  readRangeEntity,
  readResourceConfig,
  readTopic,
  readWal,
  resourceKey,
  type TopicState,
  topicBody,
  type WalState,
  walBody,
} from "./entities.ts";
import { ClusterImage, emptyParts } from "./image.ts";
import { RangeRun, type SegmentObject } from "./range-run.ts";

interface LoadedTopic {
  readonly view: TopicView;
  readonly partitions: PartitionState[];
}

export class ImageLoader {
  #hash = 0n;
  #controller: ControllerState;
  #counters: CounterState;
  readonly #clusterId: string;
  readonly #features = new Map<string, number>();
  readonly #brokers = new Map<number, BrokerState>();
  readonly #wals = new Map<string, WalState>();
  readonly #configs = new Map<string, ResourceConfig>();
  readonly #objects = new Map<number, ObjectState>();
  readonly #references = new Map<number, number>();
  readonly #topics = new Map<string, LoadedTopic>();

  constructor(clusterId: string) {
    const empty = emptyParts(clusterId);
    this.#clusterId = clusterId;
    this.#controller = empty.controller;
    this.#counters = empty.counters;
  }

  /** One entity; objects come before what refers to them, a topic before its partitions, a partition before its ranges. */
  add(kind: number, reader: ByteReader): void {
    switch (kind) {
      case ENTITY.controller:
        this.#controller = readController(reader);
        this.#count(kind, controllerBody(this.#controller));
        return;
      case ENTITY.counters:
        this.#counters = readCounters(reader);
        this.#count(kind, countersBody(this.#counters));
        return;
      case ENTITY.feature: {
        const name = reader.string();
        const level = reader.varint();
        this.#features.set(name, level);
        this.#count(kind, featureBody(name, level));
        return;
      }
      case ENTITY.broker: {
        const broker = readBroker(reader);
        this.#brokers.set(broker.nodeId, broker);
        this.#count(kind, brokerBody(broker));
        return;
      }
      case ENTITY.wal: {
        const wal = readWal(reader);
        this.#wals.set(wal.walId, wal);
        this.#count(kind, walBody(wal));
        return;
      }
      case ENTITY.config: {
        const config = readResourceConfig(reader);
        this.#configs.set(resourceKey(config.resourceType, config.resourceName), config);
        this.#count(kind, configBody(config));
        return;
      }
      case ENTITY.object: {
        const state = readObject(reader);
        this.#objects.set(state.object.number, state);
        this.#count(kind, objectBody(state));
        return;
      }
      case ENTITY.topic: {
        const view = readTopic(reader);
        this.#topics.set(view.topicId, { view, partitions: [] });
        this.#count(kind, topicBody(view));
        return;
      }
      case ENTITY.partition:
        this.#addPartition(reader);
        return;
      case ENTITY.range:
        this.#addRange(reader);
        return;
      default:
        throw new DamagedBytes(`entity kind ${kind}`);
    }
  }

  /** Throws DamagedBytes when the parts do not make the whole that the manifest states. */
  finish(slot: number, expectedHash: bigint): ClusterImage {
    if (this.#hash !== expectedHash)
      throw new DamagedBytes(`image hash is ${this.#hash.toString(16)}, stated ${expectedHash.toString(16)}`);
    const objects = CowMap.empty<ObjectState>().edit();
    const garbage = CowMap.empty<ObjectState>().edit();
    for (const state of this.#objects.values()) {
      const counted = this.#references.get(state.object.number) ?? 0;
      if (counted !== state.references) throw new DamagedBytes(`${state.object.key} has ${counted} references, stated ${state.references}`);
      objects.set(state.object.key, state);
      if (counted === 0) garbage.set(state.object.key, state);
    }
    const topicsById = CowMap.empty<TopicState>().edit();
    const topicIdsByName = CowMap.empty<string>().edit();
    for (const { view, partitions } of this.#topics.values()) {
      if (partitions.length !== view.partitionCount) throw new DamagedBytes(`topic ${view.name} has ${partitions.length} partitions`);
      topicsById.set(view.topicId, { ...view, partitions });
      topicIdsByName.set(view.name, view.topicId);
    }
    return new ClusterImage({
      clusterId: this.#clusterId,
      slot,
      hash: this.#hash,
      controller: this.#controller,
      counters: this.#counters,
      features: this.#features,
      brokersById: this.#brokers,
      wals: this.#wals,
      configs: this.#configs,
      topicsById: topicsById.done(),
      topicIdsByName: topicIdsByName.done(),
      objects: objects.done(),
      garbage: garbage.done(),
    });
  }

  #addPartition(reader: ByteReader): void {
    const read = readPartition(reader);
    const partitions = this.#topic(read.topicId).partitions;
    if (read.index !== partitions.length) throw new DamagedBytes(`partition ${read.index} after ${partitions.length}`);
    const checkpoint =
      read.checkpoint === undefined
        ? undefined
        : { object: this.#refer(read.checkpoint.objectNumber), endOffset: read.checkpoint.endOffset };
    const partition: PartitionState = {
      ownerNodeId: read.ownerNodeId,
      ownerWalId: read.ownerWalId,
      term: read.term,
      logStartOffset: read.logStartOffset,
      committedEndOffset: read.committedEndOffset,
      ranges: RangeRun.EMPTY,
      checkpoint,
    };
    partitions.push(partition);
    this.#count(ENTITY.partition, partitionBody(read.topicId, read.index, partition));
  }

  #addRange(reader: ByteReader): void {
    const { topicId, partition: index, objectNumber, ...rest } = readRangeEntity(reader);
    const partitions = this.#topic(topicId).partitions;
    const partition = partitions[index];
    if (partition === undefined) throw new DamagedBytes(`range of unknown partition ${topicId}-${index}`);
    const range = { ...rest, object: this.#refer(objectNumber) };
    partitions[index] = { ...partition, ranges: partition.ranges.append(range) };
    this.#count(ENTITY.range, rangeBody(topicId, index, range));
  }

  #topic(topicId: string): LoadedTopic {
    const topic = this.#topics.get(topicId);
    if (topic === undefined) throw new DamagedBytes(`partition of unknown topic ${topicId}`);
    return topic;
  }

  #refer(objectNumber: number): SegmentObject {
    const state = this.#objects.get(objectNumber);
    if (state === undefined) throw new DamagedBytes(`reference to unknown object ${objectNumber}`);
    this.#references.set(objectNumber, (this.#references.get(objectNumber) ?? 0) + 1);
    return state.object;
  }

  #count(kind: number, body: EntityBody): void {
    this.#hash = BigInt.asUintN(64, this.#hash + hashEntity(kind, body));
  }
}
