/**
 * The records of the metadata log and their binary form: the only place that knows their numbers and layouts.
 *
 * A record lies in a batch as: type varint, version varint, body length varint, body (integers and texts as in byte-codec.ts).
 *
 * | type | record             | v1 body, in order                                                                                   |
 * |------|--------------------|-----------------------------------------------------------------------------------------------------|
 * | 1    | controller-elected | nodeId varint, epoch varint, incarnation uuid                                                       |
 * | 2    | broker-registered  | nodeId varint, incarnation uuid, walId string, rack (flag, string), listeners                        |
 * | 3    | wal-opened         | walId string, nodeId varint, walEpoch varint, sealedLsn varint                                      |
 * | 4    | topic-created      | topicId uuid, name string, replicationFactor varint, isInternal flag, configs, placements           |
 * | 5    | topic-deleted      | topicId uuid                                                                                        |
 * | 6    | partitions-added   | topicId uuid, placements                                                                            |
 * | 7    | partition-owner    | topicId uuid, partition varint, nodeId varint, walId string, term varint                            |
 * | 8    | object-committed   | objectKey string, sizeBytes varint, nodeId varint, walId string, walCommitted (flag, lsn varint,    |
 * |      |                    | predecessorChecksum u32, walEpoch varint), ranges                                                   |
 * | 9    | objects-removed    | objectKeys                                                                                          |
 * | 10   | object-written-off | objectKey string, nodeId varint, walId string                                                       |
 * | 11   | log-start-offset   | topicId uuid, partition varint, offset varint                                                       |
 * | 12   | topic-config       | topicId uuid, name string, value (flag, string); no value: back to the default                       |
 * | 13   | producer-id-block  | firstId varint, count varint, nodeId varint                                                         |
 * | 14   | feature-level      | name string, level varint                                                                           |
 * | 15   | change-outcome     | nodeId varint, brokerEpoch varint, sequence varint, outcomes bytes                                  |
 * | 16   | config             | resourceType varint, resourceName string, name string, value (flag, string); no value: removed      |
 * | 17   | ranges-released    | topicId uuid, partition varint, offset varint                                                       |
 *
 * A reader refuses a type or version that it does not know: the log is not to be half understood.
 */

import { type ByteReader, ByteWriter, DamagedBytes } from "./byte-codec.ts";
import type { BrokerView } from "./cluster-metadata.ts";

export type Listener = BrokerView["listeners"][number];

/** `count` consecutive partitions owned by one broker, their tails in its WAL. */
export interface Placement {
  readonly nodeId: number;
  readonly walId: string;
  readonly count: number;
}

/** `WalPosition` of storage, as stored. */
export interface StoredWalPosition {
  readonly lsn: number;
  readonly predecessorChecksum: number;
  readonly walEpoch: number;
}

export interface CommittedRangeRecord {
  readonly topicId: string;
  readonly partition: number;
  readonly term: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestampMs: number;
  readonly sizeBytes: number;
  readonly hasCheckpoint: boolean;
}

export interface RecordBodies {
  "controller-elected": { readonly nodeId: number; readonly epoch: number; readonly incarnation: string };
  "broker-registered": {
    readonly nodeId: number;
    readonly incarnation: string;
    readonly walId: string;
    readonly rack: string | undefined;
    readonly listeners: readonly Listener[];
  };
  "wal-opened": { readonly walId: string; readonly nodeId: number; readonly walEpoch: number; readonly sealedLsn: number };
  "topic-created": {
    readonly topicId: string;
    readonly name: string;
    readonly replicationFactor: number;
    readonly isInternal: boolean;
    readonly configs: ReadonlyMap<string, string>;
    readonly placements: readonly Placement[];
  };
  "topic-deleted": { readonly topicId: string };
  "partitions-added": { readonly topicId: string; readonly placements: readonly Placement[] };
  "partition-owner": {
    readonly topicId: string;
    readonly partition: number;
    readonly nodeId: number;
    readonly walId: string;
    readonly term: number;
  };
  "object-committed": {
    readonly objectKey: string;
    readonly sizeBytes: number;
    readonly nodeId: number;
    readonly walId: string;
    /** undefined in all but the last part of a commit that was split. */
    readonly walCommitted: StoredWalPosition | undefined;
    readonly ranges: readonly CommittedRangeRecord[];
  };
  "objects-removed": { readonly objectKeys: readonly string[] };
  "object-written-off": { readonly objectKey: string; readonly nodeId: number; readonly walId: string };
  "log-start-offset": { readonly topicId: string; readonly partition: number; readonly offset: number };
  "topic-config": { readonly topicId: string; readonly name: string; readonly value: string | undefined };
  "producer-id-block": { readonly firstId: number; readonly count: number; readonly nodeId: number };
  "feature-level": { readonly name: string; readonly level: number };
  "change-outcome": { readonly nodeId: number; readonly brokerEpoch: number; readonly sequence: number; readonly outcomes: Uint8Array };
  /** A setting of a resource that is no topic: brokers, groups, client metrics. `resourceType` as in ConfigResource.Type. */
  config: { readonly resourceType: number; readonly resourceName: string; readonly name: string; readonly value: string | undefined };
  /** Ranges that end at or below `offset`, itself not above the log start, are dropped though no checkpoint covers them. */
  "ranges-released": { readonly topicId: string; readonly partition: number; readonly offset: number };
}

export type RecordType = keyof RecordBodies;
export type MetadataRecord = { [T in RecordType]: { readonly type: T } & RecordBodies[T] }[RecordType];

interface RecordCodec<T extends RecordType> {
  readonly number: number;
  readonly version: number;
  write(writer: ByteWriter, body: RecordBodies[T]): void;
  read(reader: ByteReader): RecordBodies[T];
}

const CODECS: { readonly [T in RecordType]: RecordCodec<T> } = {
  "controller-elected": {
    number: 1,
    version: 1,
    write(w, r) {
      w.varint(r.nodeId);
      w.varint(r.epoch);
      w.uuid(r.incarnation);
    },
    read: (r) => ({ nodeId: r.varint(), epoch: r.varint(), incarnation: r.uuid() }),
  },
  "broker-registered": {
    number: 2,
    version: 1,
    write(w, r) {
      w.varint(r.nodeId);
      w.uuid(r.incarnation);
      w.string(r.walId);
      writeOptionalString(w, r.rack);
      writeListeners(w, r.listeners);
    },
    read: (r) => ({
      nodeId: r.varint(),
      incarnation: r.uuid(),
      walId: r.string(),
      rack: readOptionalString(r),
      listeners: readListeners(r),
    }),
  },
  "wal-opened": {
    number: 3,
    version: 1,
    write(w, r) {
      w.string(r.walId);
      w.varint(r.nodeId);
      w.varint(r.walEpoch);
      w.varint(r.sealedLsn);
    },
    read: (r) => ({ walId: r.string(), nodeId: r.varint(), walEpoch: r.varint(), sealedLsn: r.varint() }),
  },
  "topic-created": {
    number: 4,
    version: 1,
    write(w, r) {
      w.uuid(r.topicId);
      w.string(r.name);
      w.varint(r.replicationFactor);
      w.boolean(r.isInternal);
      writeConfigs(w, r.configs);
      writePlacements(w, r.placements);
    },
    read: (r) => ({
      topicId: r.uuid(),
      name: r.string(),
      replicationFactor: r.varint(),
      isInternal: r.boolean(),
      configs: readConfigs(r),
      placements: readPlacements(r),
    }),
  },
  "topic-deleted": { number: 5, version: 1, write: (w, r) => w.uuid(r.topicId), read: (r) => ({ topicId: r.uuid() }) },
  "partitions-added": {
    number: 6,
    version: 1,
    write(w, r) {
      w.uuid(r.topicId);
      writePlacements(w, r.placements);
    },
    read: (r) => ({ topicId: r.uuid(), placements: readPlacements(r) }),
  },
  "partition-owner": {
    number: 7,
    version: 1,
    write(w, r) {
      w.uuid(r.topicId);
      w.varint(r.partition);
      w.varint(r.nodeId);
      w.string(r.walId);
      w.varint(r.term);
    },
    read: (r) => ({ topicId: r.uuid(), partition: r.varint(), nodeId: r.varint(), walId: r.string(), term: r.varint() }),
  },
  "object-committed": {
    number: 8,
    version: 1,
    write(w, r) {
      w.string(r.objectKey);
      w.varint(r.sizeBytes);
      w.varint(r.nodeId);
      w.string(r.walId);
      w.boolean(r.walCommitted !== undefined);
      if (r.walCommitted !== undefined) writeWalPosition(w, r.walCommitted);
      w.varint(r.ranges.length);
      for (const range of r.ranges) writeRange(w, range);
    },
    read: (r) => ({
      objectKey: r.string(),
      sizeBytes: r.varint(),
      nodeId: r.varint(),
      walId: r.string(),
      walCommitted: r.boolean() ? readWalPosition(r) : undefined,
      ranges: readList(r, 30, readRange),
    }),
  },
  "objects-removed": {
    number: 9,
    version: 1,
    write(w, r) {
      w.varint(r.objectKeys.length);
      for (const key of r.objectKeys) w.string(key);
    },
    read: (r) => ({ objectKeys: readList(r, 1, (reader) => reader.string()) }),
  },
  "object-written-off": {
    number: 10,
    version: 1,
    write(w, r) {
      w.string(r.objectKey);
      w.varint(r.nodeId);
      w.string(r.walId);
    },
    read: (r) => ({ objectKey: r.string(), nodeId: r.varint(), walId: r.string() }),
  },
  "log-start-offset": {
    number: 11,
    version: 1,
    write(w, r) {
      w.uuid(r.topicId);
      w.varint(r.partition);
      w.varint(r.offset);
    },
    read: (r) => ({ topicId: r.uuid(), partition: r.varint(), offset: r.varint() }),
  },
  "topic-config": {
    number: 12,
    version: 1,
    write(w, r) {
      w.uuid(r.topicId);
      w.string(r.name);
      writeOptionalString(w, r.value);
    },
    read: (r) => ({ topicId: r.uuid(), name: r.string(), value: readOptionalString(r) }),
  },
  "producer-id-block": {
    number: 13,
    version: 1,
    write(w, r) {
      w.varint(r.firstId);
      w.varint(r.count);
      w.varint(r.nodeId);
    },
    read: (r) => ({ firstId: r.varint(), count: r.varint(), nodeId: r.varint() }),
  },
  "feature-level": {
    number: 14,
    version: 1,
    write(w, r) {
      w.string(r.name);
      w.varint(r.level);
    },
    read: (r) => ({ name: r.string(), level: r.varint() }),
  },
  "change-outcome": {
    number: 15,
    version: 1,
    write(w, r) {
      w.varint(r.nodeId);
      w.varint(r.brokerEpoch);
      w.varint(r.sequence);
      w.bytes(r.outcomes);
    },
    read: (r) => ({ nodeId: r.varint(), brokerEpoch: r.varint(), sequence: r.varint(), outcomes: r.bytes() }),
  },
  config: {
    number: 16,
    version: 1,
    write(w, r) {
      w.varint(r.resourceType);
      w.string(r.resourceName);
      w.string(r.name);
      writeOptionalString(w, r.value);
    },
    read: (r) => ({ resourceType: r.varint(), resourceName: r.string(), name: r.string(), value: readOptionalString(r) }),
  },
  "ranges-released": {
    number: 17,
    version: 1,
    write(w, r) {
      w.uuid(r.topicId);
      w.varint(r.partition);
      w.varint(r.offset);
    },
    read: (r) => ({ topicId: r.uuid(), partition: r.varint(), offset: r.varint() }),
  },
};

const TYPE_BY_NUMBER: ReadonlyMap<number, RecordType> = new Map(
  (Object.keys(CODECS) as RecordType[]).map((type) => [CODECS[type].number, type]),
);

/** A record type or version that this release does not know. */
export class UnknownRecord extends Error {
  override readonly name = "UnknownRecord";
}

export function writeRecord(writer: ByteWriter, record: MetadataRecord): void {
  // Type and body belong together by construction of MetadataRecord; the compiler cannot follow the index access.
  const codec = CODECS[record.type] as RecordCodec<RecordType>;
  const body = new ByteWriter();
  codec.write(body, record);
  writer.varint(codec.number);
  writer.varint(codec.version);
  writer.bytes(body.view());
}

/** Throws UnknownRecord or DamagedBytes. */
export function readRecord(reader: ByteReader): MetadataRecord {
  const number = reader.varint();
  const version = reader.varint();
  const length = reader.count(1);
  const type = TYPE_BY_NUMBER.get(number);
  if (type === undefined) throw new UnknownRecord(`record type ${number}`);
  const codec = CODECS[type] as RecordCodec<RecordType>;
  if (version !== codec.version) throw new UnknownRecord(`record ${type} in version ${version}; known is ${codec.version}`);
  const end = reader.position + length;
  const body = codec.read(reader);
  if (reader.position !== end) throw new DamagedBytes(`record ${type} is ${reader.position - end} bytes off its length`);
  return { type, ...body } as MetadataRecord;
}

export function writeWalPosition(w: ByteWriter, position: StoredWalPosition): void {
  w.varint(position.lsn);
  w.u32(position.predecessorChecksum);
  w.varint(position.walEpoch);
}

export function readWalPosition(r: ByteReader): StoredWalPosition {
  return { lsn: r.varint(), predecessorChecksum: r.u32(), walEpoch: r.varint() };
}

export function writeOptionalString(w: ByteWriter, value: string | undefined): void {
  w.boolean(value !== undefined);
  if (value !== undefined) w.string(value);
}

export function readOptionalString(r: ByteReader): string | undefined {
  return r.boolean() ? r.string() : undefined;
}

/** name string, host string, port varint, securityProtocol string, each. */
export function writeListeners(w: ByteWriter, listeners: readonly Listener[]): void {
  w.varint(listeners.length);
  for (const listener of listeners) {
    w.string(listener.name);
    w.string(listener.host);
    w.varint(listener.port);
    w.string(listener.securityProtocol);
  }
}

export function readListeners(r: ByteReader): Listener[] {
  return readList(r, 4, () => ({ name: r.string(), host: r.string(), port: r.varint(), securityProtocol: r.string() }));
}

/** Sorted by name, so that equal configurations have equal bytes. */
export function writeConfigs(w: ByteWriter, configs: ReadonlyMap<string, string>): void {
  w.varint(configs.size);
  for (const name of [...configs.keys()].sort()) {
    w.string(name);
    w.string(configs.get(name)!);
  }
}

export function readConfigs(r: ByteReader): Map<string, string> {
  return new Map(readList(r, 2, () => [r.string(), r.string()] as const));
}

function writePlacements(w: ByteWriter, placements: readonly Placement[]): void {
  w.varint(placements.length);
  for (const placement of placements) {
    w.varint(placement.nodeId);
    w.string(placement.walId);
    w.varint(placement.count);
  }
}

function readPlacements(r: ByteReader): Placement[] {
  return readList(r, 3, () => ({ nodeId: r.varint(), walId: r.string(), count: r.varint() }));
}

function writeRange(w: ByteWriter, range: CommittedRangeRecord): void {
  w.uuid(range.topicId);
  w.varint(range.partition);
  w.varint(range.term);
  w.varint(range.baseOffset);
  w.varint(range.endOffset);
  w.i64(range.maxTimestampMs);
  w.varint(range.sizeBytes);
  w.boolean(range.hasCheckpoint);
}

function readRange(r: ByteReader): CommittedRangeRecord {
  return {
    topicId: r.uuid(),
    partition: r.varint(),
    term: r.varint(),
    baseOffset: r.varint(),
    endOffset: r.varint(),
    maxTimestampMs: r.i64(),
    sizeBytes: r.varint(),
    hasCheckpoint: r.boolean(),
  };
}

function readList<T>(r: ByteReader, minItemBytes: number, read: (reader: ByteReader) => T): T[] {
  const items: T[] = [];
  for (let rest = r.count(minItemBytes); rest > 0; rest--) items.push(read(r));
  return items;
}
