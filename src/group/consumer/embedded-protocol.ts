/**
 * What consumers of the classic protocol tell each other through the coordinator: ConsumerProtocolSubscription and ConsumerProtocolAssignment, versions 0-3. A
 * consumer group that has such members reads the one and writes the other (KIP-848, "online migration").
 *
 *     subscription   int16 version, array of string, nullable bytes; v1+: array of (string, array of int32) owned; v2+: int32 generation; v3+: nullable string rack
 *     assignment     int16 version, array of (string, array of int32), nullable bytes
 *
 * A later version begins as the last one known does.
 */
import { DecodeError } from "../../protocol/codec-error.ts";
import { Reader } from "../../protocol/reader.ts";
import { Writer } from "../../protocol/writer.ts";
import type { Assignment } from "./consumer-group-types.ts";
import type { HashedTopic } from "./topic-hash.ts";

export interface EmbeddedSubscription {
  readonly version: number;
  readonly topics: readonly string[];
  readonly owned: ReadonlyMap<string, readonly number[]>;
  readonly rackId: string | undefined;
}

export interface EmbeddedAssignment {
  /** By topic name. */
  readonly partitions: ReadonlyMap<string, readonly number[]>;
  /** Of an assignor of the clients' own: nobody else understands it. */
  readonly hasUserData: boolean;
}

/** Undefined when the bytes are something else. */
export function readSubscription(metadata: Uint8Array): EmbeddedSubscription | undefined {
  return tryRead(metadata, (reader) => {
    const version = reader.readInt16();
    const topics = reader.readStringArray(reader.readArrayLength("topics"), "topics");
    reader.readNullableBytes();
    const owned = version >= 1 ? readPartitions(reader) : new Map();
    if (version >= 2) reader.readInt32();
    const rackId = version >= 3 ? (reader.readNullableString("rackId") ?? undefined) : undefined;
    return { version, topics, owned, rackId };
  });
}

export function readAssignment(bytes: Uint8Array): EmbeddedAssignment | undefined {
  if (bytes.length === 0) return { partitions: new Map(), hasUserData: false };
  return tryRead(bytes, (reader) => {
    reader.readInt16();
    const partitions = readPartitions(reader);
    return { partitions, hasUserData: (reader.readNullableBytes()?.length ?? 0) > 0 };
  });
}

/** In the version that the member's subscription is in. Topics that are gone are left out. */
export function writeAssignment(assignment: Assignment, version: number, nameOf: (topicId: string) => string | undefined): Uint8Array {
  const named = [...assignment].flatMap(([topicId, partitions]) => {
    const name = nameOf(topicId);
    return name === undefined ? [] : [{ name, partitions }];
  });
  const writer = new Writer();
  writer.writeInt16(version);
  writer.writeInt32(named.length);
  for (const { name, partitions } of named) {
    writer.writeString(name, "topic");
    writer.writeInt32(partitions.length);
    for (const partition of partitions) writer.writeInt32(partition);
  }
  writer.writeInt32(-1);
  return writer.toBytes();
}

/** Topics that are not known are left out. */
export function toTopicIds(
  partitions: ReadonlyMap<string, readonly number[]>,
  getTopic: (name: string) => HashedTopic | undefined,
): Assignment {
  const assignment = new Map<string, readonly number[]>();
  for (const [name, of] of partitions) {
    const topic = getTopic(name);
    if (topic !== undefined && of.length > 0)
      assignment.set(
        topic.topicId,
        [...of].sort((a, b) => a - b),
      );
  }
  return assignment;
}

function readPartitions(reader: Reader): Map<string, readonly number[]> {
  const partitions = new Map<string, readonly number[]>();
  const length = reader.readArrayLength("topics");
  for (let index = 0; index < length; index++) {
    const topic = reader.readString("topic");
    partitions.set(topic, reader.readInt32Array(reader.readArrayLength("partitions")));
  }
  return partitions;
}

function tryRead<T>(bytes: Uint8Array, read: (reader: Reader) => T): T | undefined {
  try {
    return read(new Reader(bytes));
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
