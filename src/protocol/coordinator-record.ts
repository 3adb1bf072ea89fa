/**
 * Keys and values of the internal topics' records (__consumer_offsets, __transaction_state, __share_group_state) as they lie on the log:
 * a key is an int16 record type and the key's fields; a value is an int16 version and the value's fields.
 */
import type { CoordinatorRecordDefinition } from "./api-definition.ts";
import { DecodeError } from "./codec-error.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

export function encodeRecordKey<Key, Value>(definition: CoordinatorRecordDefinition<Key, Value>, key: Key): Uint8Array {
  const writer = new Writer(64);
  writer.writeInt16(definition.type);
  definition.writeKey(writer, key);
  return writer.toBytes();
}

export function encodeRecordValue<Key, Value>(
  definition: CoordinatorRecordDefinition<Key, Value>,
  value: Value,
  version: number,
): Uint8Array {
  const writer = new Writer();
  writer.writeInt16(version);
  definition.writeValue(writer, value, version);
  return writer.toBytes();
}

/** The record type of a key, to find its definition by. DecodeError when there are not even two bytes. */
export function recordTypeOf(keyBytes: Uint8Array): number {
  return new Reader(keyBytes).readInt16();
}

export function decodeRecordKey<Key, Value>(definition: CoordinatorRecordDefinition<Key, Value>, bytes: Uint8Array): Key {
  const reader = new Reader(bytes);
  const type = reader.readInt16();
  if (type !== definition.type) throw new DecodeError(`record type ${type} is not ${definition.name}`);
  const key = definition.readKey(reader);
  reader.expectEnd();
  return key;
}

/** DecodeError for a version outside the definition's. */
export function decodeRecordValue<Key, Value>(definition: CoordinatorRecordDefinition<Key, Value>, bytes: Uint8Array): Value {
  const reader = new Reader(bytes);
  const version = reader.readInt16();
  if (version < definition.minValueVersion || version > definition.maxValueVersion) {
    throw new DecodeError(`${definition.name} has no value version ${version}`);
  }
  const value = definition.readValue(reader, version);
  reader.expectEnd();
  return value;
}
