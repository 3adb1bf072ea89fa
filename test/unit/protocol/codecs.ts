/** Every generated codec as a pair of functions, by the name of its message. */
import { kebab } from "../../../scripts/protocol/emit-files.ts";

import * as headers from "../../../src/protocol/messages/headers.ts";
import { apiDefinitions } from "../../../src/protocol/messages/index.ts";
import { consumerOffsetsRecords, shareGroupStateRecords, transactionStateRecords } from "../../../src/protocol/messages/records/index.ts";
import type { Reader } from "../../../src/protocol/reader.ts";
import type { Writer } from "../../../src/protocol/writer.ts";
import { Writer as WriterClass } from "../../../src/protocol/writer.ts";
import { definitionOf, definitionsOfKind, type Message } from "./random-message.ts";

export interface Codec {
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
  read(reader: Reader, version: number): unknown;
  write(writer: Writer, message: unknown, version: number): void;
}

type ReadFunction = (reader: Reader, version: number) => unknown;
type WriteFunction = (writer: Writer, message: never, version: number) => void;

async function load(): Promise<Codec[]> {
  const codecs: Codec[] = [];
  for (const api of apiDefinitions) {
    const { minVersion, maxVersion } = api;
    codecs.push({ name: `${api.name}Request`, minVersion, maxVersion, read: api.readRequest, write: api.writeRequest });
    codecs.push({ name: `${api.name}Response`, minVersion, maxVersion, read: api.readResponse, write: api.writeResponse });
  }
  for (const record of [...consumerOffsetsRecords, ...transactionStateRecords, ...shareGroupStateRecords]) {
    const { minValueVersion, maxValueVersion } = record;
    codecs.push({
      name: `${record.name}Key`,
      minVersion: 0,
      maxVersion: 0,
      read: (r) => record.readKey(r),
      write: (w, m) => record.writeKey(w, m),
    });
    codecs.push({
      name: `${record.name}Value`,
      minVersion: minValueVersion,
      maxVersion: maxValueVersion,
      read: record.readValue,
      write: record.writeValue,
    });
  }
  for (const { name, kind, validVersions } of definitionsOfKind("header", "data")) {
    const file = kind === "header" ? headers : await import(`../../../src/protocol/messages/data/${kebab(name)}.ts`);
    const functions = file as unknown as Record<string, unknown>;
    const read = functions[`read${name}`] as ReadFunction;
    const write = functions[`write${name}`] as WriteFunction;
    codecs.push({ name, minVersion: validVersions.from, maxVersion: validVersions.to, read, write: write as Codec["write"] });
  }
  return codecs;
}

export const codecs: readonly Codec[] = await load();

export function encode(codec: Codec, message: Message | unknown, version: number): Uint8Array {
  const writer = new WriterClass(64);
  codec.write(writer, message, version);
  return new Uint8Array(writer.toBytes());
}

/** The message as `newX()` makes it. */
export async function newMessage(name: string): Promise<unknown> {
  const { kind } = definitionOf(name);
  const base = kebab(name.replace(kind === "request" || kind === "response" ? /(Request|Response)$/ : /(Key|Value)$/, ""));
  const folder = kind === "data" ? "data/" : kind.startsWith("coordinator") ? "records/" : "";
  const file =
    kind === "header" ? headers : await import(`../../../src/protocol/messages/${folder}${kind === "data" ? kebab(name) : base}.ts`);
  return (file as unknown as Record<string, () => unknown>)[`new${name}`]!();
}
