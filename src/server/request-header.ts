/**
 * Kafka's request header (RequestHeader.json, https://kafka.apache.org/protocol#protocol_messages):
 *
 *   v1: api key int16, api version int16, correlation id int32, client id nullable string
 *   v2: the same, then a tagged-field section. The client id is never compact, so that key and version can be read first.
 */
import { Reader } from "../protocol/reader.ts";

export interface RequestPrefix {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
}

export interface RequestHeader extends RequestPrefix {
  readonly clientId: string | null;
}

/** Throws DecodeError. Leaves the reader behind the prefix. */
export function readRequestPrefix(reader: Reader): RequestPrefix {
  return { apiKey: reader.readInt16(), apiVersion: reader.readInt16(), correlationId: reader.readInt32() };
}

/** The rest of the header. Throws DecodeError. Leaves the reader at the body. */
export function readClientId(reader: Reader, headerVersion: number): string | null {
  const clientId = reader.readNullableString("clientId");
  if (headerVersion >= 2) reader.readUnknownTags();
  return clientId;
}

/** For log lines about requests that are not understood further. */
export function tryReadClientId(frame: Uint8Array): string | null {
  try {
    const reader = new Reader(frame);
    readRequestPrefix(reader);
    return readClientId(reader, 1);
  } catch {
    return null;
  }
}
