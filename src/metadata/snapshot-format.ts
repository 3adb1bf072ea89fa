/**
 * A snapshot: the image after one slot, as chunks of entities (entities.ts) and a manifest that names them. A chunk's content is a function of the image
 * alone, so writing it twice is harmless, and a chunk that has not changed since the last snapshot is named again instead of written.
 *
 * Both begin with: magic (8), format version u32 = 1, CRC32C of the rest u32.
 *
 * | object   | magic    | rest                                                                                                       |
 * |----------|----------|------------------------------------------------------------------------------------------------------------|
 * | chunk    | WEIRSNAP | entities: kind u8, length varint, body                                                                     |
 * | manifest | WEIRMANI | cluster id uuid, slot i64, image hash u64, floor step i64, floor i64, chunks: count varint, then each        |
 * |          |          | key string (below the cluster's folder), size varint, xxHash64 of its bytes u64; to be read in this order   |
 */
import { type ByteReader, ByteWriter, DamagedBytes } from "./byte-codec.ts";
import {
  brokerBody,
  configBody,
  controllerBody,
  countersBody,
  ENTITY,
  type EntityBody,
  featureBody,
  type ObjectState,
  objectBody,
  partitionBody,
  rangeBody,
  type TopicState,
  topicBody,
  walBody,
} from "./entities.ts";
import type { ClusterImage } from "./image.ts";
import { beginChecked, type Crc32c, openChecked, sealChecked, troubleOf } from "./log-batch.ts";

export interface SnapshotChunkRef {
  readonly key: string;
  readonly sizeBytes: number;
  readonly hash: bigint;
}

export interface SnapshotManifest {
  readonly clusterId: string;
  readonly slot: number;
  readonly imageHash: bigint;
  readonly floorStep: number;
  readonly floor: number;
  readonly chunks: readonly SnapshotChunkRef[];
}

const CHUNK_MAGIC = "WEIRSNAP";
const MANIFEST_MAGIC = "WEIRMANI";
const VERSION = 1;
/** Objects are chunked by number, so that chunks of old objects stay as they are. */
const OBJECTS_PER_CHUNK = 16_384;
/** Topics are chunked by hash; about this many ranges and partitions in each chunk. */
const ENTITIES_PER_TOPIC_CHUNK = 16_384;
const MAX_TOPIC_CHUNKS = 256;

export function chunkHash(bytes: Uint8Array): bigint {
  return Bun.hash.xxHash64(bytes);
}

/** The chunks of an image, in the order in which they are to be read. */
export function* encodeChunks(image: ClusterImage, crc32c: Crc32c): Generator<Uint8Array> {
  yield sealChecked(encodeCluster(image), crc32c);
  yield* encodeObjects(image, crc32c);
  yield* encodeTopics(image, crc32c);
}

/** Calls `visit` for each entity of a chunk, with a reader at its body. Throws a Trouble that names `key`. */
export function decodeChunk(bytes: Uint8Array, key: string, crc32c: Crc32c, visit: (kind: number, reader: ByteReader) => void): void {
  try {
    const reader = openChecked(bytes, CHUNK_MAGIC, VERSION, crc32c);
    while (reader.remaining > 0) {
      const kind = reader.u8();
      const length = reader.count(1);
      const end = reader.position + length;
      visit(kind, reader);
      if (reader.position !== end) throw new DamagedBytes(`entity of kind ${kind} is off its length`);
    }
  } catch (error) {
    throw troubleOf(error, key);
  }
}

export function encodeManifest(manifest: SnapshotManifest, crc32c: Crc32c): Uint8Array {
  const writer = beginChecked(MANIFEST_MAGIC, VERSION);
  writer.uuid(manifest.clusterId);
  writer.i64(manifest.slot);
  writer.u64(manifest.imageHash);
  writer.i64(manifest.floorStep);
  writer.i64(manifest.floor);
  writer.varint(manifest.chunks.length);
  for (const chunk of manifest.chunks) {
    writer.string(chunk.key);
    writer.varint(chunk.sizeBytes);
    writer.u64(chunk.hash);
  }
  return sealChecked(writer, crc32c);
}

export function decodeManifest(bytes: Uint8Array, key: string, crc32c: Crc32c): SnapshotManifest {
  try {
    const reader = openChecked(bytes, MANIFEST_MAGIC, VERSION, crc32c);
    const head = { clusterId: reader.uuid(), slot: reader.i64(), imageHash: reader.u64(), floorStep: reader.i64(), floor: reader.i64() };
    const chunks: SnapshotChunkRef[] = [];
    for (let rest = reader.count(10); rest > 0; rest--) {
      chunks.push({ key: reader.string(), sizeBytes: reader.varint(), hash: reader.u64() });
    }
    reader.expectEnd();
    return { ...head, chunks };
  } catch (error) {
    throw troubleOf(error, key);
  }
}

function encodeCluster({ parts }: ClusterImage): ByteWriter {
  const writer = beginChecked(CHUNK_MAGIC, VERSION);
  if (parts.controller.epoch > 0) writeEntity(writer, ENTITY.controller, controllerBody(parts.controller));
  const { nextProducerId, nextObjectNumber } = parts.counters;
  if (nextProducerId > 0 || nextObjectNumber > 0) writeEntity(writer, ENTITY.counters, countersBody(parts.counters));
  for (const [name, level] of sortedEntries(parts.features)) writeEntity(writer, ENTITY.feature, featureBody(name, level));
  for (const [, broker] of sortedEntries(parts.brokersById)) writeEntity(writer, ENTITY.broker, brokerBody(broker));
  for (const [, wal] of sortedEntries(parts.wals)) writeEntity(writer, ENTITY.wal, walBody(wal));
  for (const [, config] of sortedEntries(parts.configs)) writeEntity(writer, ENTITY.config, configBody(config));
  return writer;
}

function* encodeObjects({ parts }: ClusterImage, crc32c: Crc32c): Generator<Uint8Array> {
  const byChunk = new Map<number, ObjectState[]>();
  for (const state of parts.objects.values()) {
    const chunk = Math.floor(state.object.number / OBJECTS_PER_CHUNK);
    const states = byChunk.get(chunk);
    if (states === undefined) byChunk.set(chunk, [state]);
    else states.push(state);
  }
  for (const [, states] of sortedEntries(byChunk)) {
    const writer = beginChecked(CHUNK_MAGIC, VERSION);
    states.sort((left, right) => left.object.number - right.object.number);
    for (const state of states) writeEntity(writer, ENTITY.object, objectBody(state));
    yield sealChecked(writer, crc32c);
  }
}

function* encodeTopics({ parts }: ClusterImage, crc32c: Crc32c): Generator<Uint8Array> {
  let entities = 0;
  for (const topic of parts.topicsById.values()) {
    entities += 1 + topic.partitions.length;
    for (const partition of topic.partitions) entities += partition.ranges.count;
  }
  let groups = 1;
  while (groups < MAX_TOPIC_CHUNKS && entities / groups > ENTITIES_PER_TOPIC_CHUNK) groups *= 2;
  for (let group = 0; group < groups; group++) {
    const topics = parts.topicsById.valuesOfGroup(group, groups);
    if (topics.length === 0) continue;
    const writer = beginChecked(CHUNK_MAGIC, VERSION);
    topics.sort((left, right) => (left.topicId < right.topicId ? -1 : 1));
    for (const topic of topics) writeTopic(writer, topic);
    yield sealChecked(writer, crc32c);
  }
}

function writeTopic(writer: ByteWriter, topic: TopicState): void {
  const { topicId } = topic;
  writeEntity(writer, ENTITY.topic, topicBody(topic));
  topic.partitions.forEach((partition, index) => {
    writeEntity(writer, ENTITY.partition, partitionBody(topicId, index, partition));
    for (const range of partition.ranges) writeEntity(writer, ENTITY.range, rangeBody(topicId, index, range));
  });
}

const scratch = new ByteWriter(512);

function writeEntity(writer: ByteWriter, kind: number, body: EntityBody): void {
  scratch.clear();
  body(scratch);
  writer.u8(kind);
  writer.bytes(scratch.view());
}

function sortedEntries<K extends string | number, V>(map: ReadonlyMap<K, V>): [K, V][] {
  return [...map].sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
}
