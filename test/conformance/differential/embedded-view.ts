/** What consumers of the classic protocol tell each other by way of the coordinator: ConsumerProtocolSubscription and ConsumerProtocolAssignment. */
import { readAssignment } from "../../../src/group/consumer/embedded-protocol.ts";
import { Writer } from "../../../src/protocol/writer.ts";

export interface EmbeddedView {
  readonly version: number;
  readonly topics: readonly { readonly name: string; readonly partitions: readonly number[] }[];
  readonly hasUserData: boolean;
}

/** An assignment as fields that can be compared one by one; undefined when the bytes are something else. */
export function viewAssignment(bytes: Uint8Array): EmbeddedView | undefined {
  const read = bytes.length < 2 ? undefined : readAssignment(bytes);
  if (read === undefined) return undefined;
  const version = Buffer.from(bytes).readInt16BE(0);
  const topics = Array.from(read.partitions, ([name, partitions]) => ({ name, partitions: [...partitions] }));
  return { version, topics: topics.toSorted((a, b) => (a.name < b.name ? -1 : 1)), hasUserData: read.hasUserData };
}

function writeTopics(writer: Writer, topics: EmbeddedView["topics"]): void {
  writer.writeInt32(topics.length);
  for (const { name, partitions } of topics) {
    writer.writeString(name, "topic");
    writer.writeInt32(partitions.length);
    for (const partition of partitions) writer.writeInt32(partition);
  }
}

export function subscriptionBytes(version: number, topics: readonly string[], owned: EmbeddedView["topics"], generation: number): Buffer {
  const writer = new Writer();
  writer.writeInt16(version);
  writer.writeInt32(topics.length);
  for (const topic of topics) writer.writeString(topic, "topic");
  writer.writeInt32(-1);
  if (version >= 1) writeTopics(writer, owned);
  if (version >= 2) writer.writeInt32(generation);
  if (version >= 3) writer.writeNullableString(null, "rack");
  return Buffer.from(writer.toBytes());
}

export function assignmentBytes(version: number, topics: EmbeddedView["topics"], hasUserData: boolean): Buffer {
  const writer = new Writer();
  writer.writeInt16(version);
  writeTopics(writer, topics);
  if (hasUserData) {
    writer.writeInt32(2);
    writer.writeInt16(7);
  } else writer.writeInt32(-1);
  return Buffer.from(writer.toBytes());
}
