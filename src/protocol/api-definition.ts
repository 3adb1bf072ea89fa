/**
 * One Kafka API as the generated codecs describe it. Field types in messages: int8/16/32, uint16/32 and float64 are numbers; int64 is bigint
 * (clients choose it; handlers range-check); uuid is the 22-character base64url string ("AAAAAAAAAAAAAAAAAAAAAA" is Kafka's zero uuid); string; bytes is a
 * view into the frame; records is `Records | null`; nullable fields are `T | null`; arrays are JS arrays; unknown tagged fields are kept in
 * `unknownTaggedFields` (absent when none).
 */
import type { ByteSource } from "../base/byte-source.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

/** Record batches: a view when decoded; when answered, also a reference that the connection resolves. */
export type Records = Uint8Array | ByteSource;

export interface UnknownTaggedField {
  readonly tag: number;
  readonly data: Uint8Array;
}

export interface ApiDefinition<Request, Response> {
  readonly key: number;
  /** As Kafka's ApiKeys names it: "Produce". */
  readonly name: string;
  /** Versions that the message definitions of Kafka 4.4 hold as valid. */
  readonly minVersion: number;
  readonly maxVersion: number;
  /** The highest version is not stable: served only when unstable versions are enabled. */
  readonly latestVersionUnstable: boolean;
  /** First flexible version; 32767 when none. */
  readonly flexibleFrom: number;
  /** 1 or 2. */
  requestHeaderVersion(version: number): number;
  /** 0 or 1; always 0 for ApiVersions. */
  responseHeaderVersion(version: number): number;
  readRequest(reader: Reader, version: number): Request;
  writeRequest(writer: Writer, message: Request, version: number): void;
  readResponse(reader: Reader, version: number): Response;
  writeResponse(writer: Writer, message: Response, version: number): void;
}

/** For tables that hold every API. */
export type AnyApiDefinition = ApiDefinition<unknown, unknown>;

/**
 * A record of an internal topic. On the log its key is an int16 record type and the key's fields, its value an int16 version and the value's
 * fields (`coordinator-record.ts` does both).
 */
export interface CoordinatorRecordDefinition<Key, Value> {
  readonly type: number;
  /** "OffsetCommit" */
  readonly name: string;
  readonly minValueVersion: number;
  readonly maxValueVersion: number;
  readKey(reader: Reader): Key;
  writeKey(writer: Writer, key: Key): void;
  readValue(reader: Reader, version: number): Value;
  writeValue(writer: Writer, value: Value, version: number): void;
}

export type AnyCoordinatorRecordDefinition = CoordinatorRecordDefinition<unknown, unknown>;
