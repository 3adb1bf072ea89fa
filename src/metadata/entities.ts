/**
 * What the image consists of, and the one binary form of each entity. The form serves two ends: the image's hash is the sum of its entities'
 * hashes (so it is kept up to date at the cost of what changed, in any order), and a snapshot is a list of entities.
 *
 * | kind | entity     | body, in order                                                                                               |
 * |------|------------|--------------------------------------------------------------------------------------------------------------|
 * | 1    | controller | nodeId varint, epoch varint                                                                                  |
 * | 2    | counters   | nextProducerId varint, nextObjectNumber varint                                                               |
 * | 3    | feature    | name string, level varint                                                                                    |
 * | 4    | broker     | nodeId, brokerEpoch varints, incarnation uuid, walId string, rack (flag, string), listeners, isFenced flag,    |
 * |      |            | lastSequence varint, lastOutcomes bytes                                                                      |
 * | 5    | wal        | walId string, nodeId, walEpoch, sealedLsn varints, committed position (lsn, predecessorChecksum u32, epoch)  |
 * | 6    | object     | number varint, key string, sizeBytes, nodeId varints, walId string, references varint                        |
 * | 7    | topic      | topicId uuid, name string, partitionCount, replicationFactor varints, isInternal flag, configs               |
 * | 8    | partition  | topicId uuid, index, ownerNodeId varints, ownerWalId string, term, logStartOffset, committedEndOffset varints, |
 * |      |            | checkpoint (flag, object number varint, endOffset varint)                                                    |
 * | 9    | range      | topicId uuid, partition, baseOffset, endOffset varints, maxTimestampMs i64, sizeBytes, object number varints |
 * | 10   | config     | resourceType varint, resourceName string, configs                                                            |
 */

import { type ByteReader, ByteWriter } from "./byte-codec.ts";
import type { TopicView } from "./cluster-metadata.ts";
import type { RangeEntry, RangeRun, SegmentObject } from "./range-run.ts";
import {
  type Listener,
  readConfigs,
  readListeners,
  readOptionalString,
  readWalPosition,
  type StoredWalPosition,
  writeConfigs,
  writeListeners,
  writeOptionalString,
  writeWalPosition,
} from "./records.ts";

export interface ControllerState {
  /** -1 before the first election. */
  readonly nodeId: number;
  readonly epoch: number;
}

export interface CounterState {
  readonly nextProducerId: number;
  readonly nextObjectNumber: number;
}

export interface BrokerState {
  readonly nodeId: number;
  /** Slot of its registration. */
  readonly brokerEpoch: number;
  /** Random per process life. */
  readonly incarnation: string;
  readonly walId: string;
  readonly rack: string | undefined;
  readonly listeners: readonly Listener[];
  readonly isFenced: boolean;
  /** The last request of this broker that the log answered, and the answer. */
  readonly lastSequence: number;
  readonly lastOutcomes: Uint8Array;
}

export interface WalState {
  readonly walId: string;
  readonly nodeId: number;
  readonly walEpoch: number;
  /** Where the scan that opened the epoch found the end. */
  readonly sealedLsn: number;
  readonly committed: StoredWalPosition;
}

export interface ObjectState {
  readonly object: SegmentObject;
  /** Ranges and checkpoints that name it. 0: garbage. */
  readonly references: number;
}

export interface PartitionState {
  readonly ownerNodeId: number;
  /** The WAL that holds everything above the committed end. */
  readonly ownerWalId: string;
  readonly term: number;
  readonly logStartOffset: number;
  readonly committedEndOffset: number;
  readonly ranges: RangeRun;
  readonly checkpoint: { readonly object: SegmentObject; readonly endOffset: number } | undefined;
}

export interface TopicState extends TopicView {
  readonly partitions: readonly PartitionState[];
}

export const ENTITY = {
  controller: 1,
  counters: 2,
  feature: 3,
  broker: 4,
  wal: 5,
  object: 6,
  topic: 7,
  partition: 8,
  range: 9,
  config: 10,
} as const;

/** Writes one entity's body. */
export type EntityBody = (writer: ByteWriter) => void;

const scratch = new ByteWriter(512);

/** xxHash64 of the kind and the body. */
export function hashEntity(kind: number, body: EntityBody): bigint {
  scratch.clear();
  scratch.u8(kind);
  body(scratch);
  return Bun.hash.xxHash64(scratch.view());
}

export function controllerBody({ nodeId, epoch }: ControllerState): EntityBody {
  return (w) => {
    w.varint(nodeId);
    w.varint(epoch);
  };
}

export function readController(r: ByteReader): ControllerState {
  return { nodeId: r.varint(), epoch: r.varint() };
}

export function countersBody(counters: CounterState): EntityBody {
  return (w) => {
    w.varint(counters.nextProducerId);
    w.varint(counters.nextObjectNumber);
  };
}

export function readCounters(r: ByteReader): CounterState {
  return { nextProducerId: r.varint(), nextObjectNumber: r.varint() };
}

export function featureBody(name: string, level: number): EntityBody {
  return (w) => {
    w.string(name);
    w.varint(level);
  };
}

/** Settings of one resource that is no topic; without settings there is no entity. */
export interface ResourceConfig {
  readonly resourceType: number;
  readonly resourceName: string;
  readonly configs: ReadonlyMap<string, string>;
}

export function resourceKey(resourceType: number, resourceName: string): string {
  return `${resourceType}:${resourceName}`;
}

export function configBody({ resourceType, resourceName, configs }: ResourceConfig): EntityBody {
  return (w) => {
    w.varint(resourceType);
    w.string(resourceName);
    writeConfigs(w, configs);
  };
}

export function readResourceConfig(r: ByteReader): ResourceConfig {
  return { resourceType: r.varint(), resourceName: r.string(), configs: readConfigs(r) };
}

export function brokerBody(broker: BrokerState): EntityBody {
  return (w) => {
    w.varint(broker.nodeId);
    w.varint(broker.brokerEpoch);
    w.uuid(broker.incarnation);
    w.string(broker.walId);
    writeOptionalString(w, broker.rack);
    writeListeners(w, broker.listeners);
    w.boolean(broker.isFenced);
    w.varint(broker.lastSequence);
    w.bytes(broker.lastOutcomes);
  };
}

export function readBroker(r: ByteReader): BrokerState {
  return {
    nodeId: r.varint(),
    brokerEpoch: r.varint(),
    incarnation: r.uuid(),
    walId: r.string(),
    rack: readOptionalString(r),
    listeners: readListeners(r),
    isFenced: r.boolean(),
    lastSequence: r.varint(),
    lastOutcomes: r.bytes(),
  };
}

export function walBody(wal: WalState): EntityBody {
  return (w) => {
    w.string(wal.walId);
    w.varint(wal.nodeId);
    w.varint(wal.walEpoch);
    w.varint(wal.sealedLsn);
    writeWalPosition(w, wal.committed);
  };
}

export function readWal(r: ByteReader): WalState {
  return { walId: r.string(), nodeId: r.varint(), walEpoch: r.varint(), sealedLsn: r.varint(), committed: readWalPosition(r) };
}

export function objectBody({ object, references }: ObjectState): EntityBody {
  return (w) => {
    w.varint(object.number);
    w.string(object.key);
    w.varint(object.sizeBytes);
    w.varint(object.nodeId);
    w.string(object.walId);
    w.varint(references);
  };
}

export function readObject(r: ByteReader): ObjectState {
  const object = { number: r.varint(), key: r.string(), sizeBytes: r.varint(), nodeId: r.varint(), walId: r.string() };
  return { object, references: r.varint() };
}

export function topicBody(topic: TopicView): EntityBody {
  return (w) => {
    w.uuid(topic.topicId);
    w.string(topic.name);
    w.varint(topic.partitionCount);
    w.varint(topic.replicationFactor);
    w.boolean(topic.isInternal);
    writeConfigs(w, topic.configs);
  };
}

export function readTopic(r: ByteReader): TopicView {
  return {
    topicId: r.uuid(),
    name: r.string(),
    partitionCount: r.varint(),
    replicationFactor: r.varint(),
    isInternal: r.boolean(),
    configs: readConfigs(r),
  };
}

export function partitionBody(topicId: string, index: number, partition: PartitionState): EntityBody {
  return (w) => {
    w.uuid(topicId);
    w.varint(index);
    w.varint(partition.ownerNodeId);
    w.string(partition.ownerWalId);
    w.varint(partition.term);
    w.varint(partition.logStartOffset);
    w.varint(partition.committedEndOffset);
    w.boolean(partition.checkpoint !== undefined);
    if (partition.checkpoint === undefined) return;
    w.varint(partition.checkpoint.object.number);
    w.varint(partition.checkpoint.endOffset);
  };
}

export interface ReadPartition {
  readonly topicId: string;
  readonly index: number;
  readonly ownerNodeId: number;
  readonly ownerWalId: string;
  readonly term: number;
  readonly logStartOffset: number;
  readonly committedEndOffset: number;
  readonly checkpoint: { readonly objectNumber: number; readonly endOffset: number } | undefined;
}

export function readPartition(r: ByteReader): ReadPartition {
  return {
    topicId: r.uuid(),
    index: r.varint(),
    ownerNodeId: r.varint(),
    ownerWalId: r.string(),
    term: r.varint(),
    logStartOffset: r.varint(),
    committedEndOffset: r.varint(),
    checkpoint: r.boolean() ? { objectNumber: r.varint(), endOffset: r.varint() } : undefined,
  };
}

export function rangeBody(topicId: string, partition: number, range: RangeEntry): EntityBody {
  return (w) => {
    w.uuid(topicId);
    w.varint(partition);
    w.varint(range.baseOffset);
    w.varint(range.endOffset);
    w.i64(range.maxTimestampMs);
    w.varint(range.sizeBytes);
    w.varint(range.object.number);
  };
}

export interface ReadRange {
  readonly topicId: string;
  readonly partition: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestampMs: number;
  readonly sizeBytes: number;
  readonly objectNumber: number;
}

export function readRangeEntity(r: ByteReader): ReadRange {
  return {
    topicId: r.uuid(),
    partition: r.varint(),
    baseOffset: r.varint(),
    endOffset: r.varint(),
    maxTimestampMs: r.i64(),
    sizeBytes: r.varint(),
    objectNumber: r.varint(),
  };
}
