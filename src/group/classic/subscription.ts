/**
 * The topics in a consumer's metadata (ConsumerProtocolSubscription, whose version 0 begins every version): int16 version, then an array of
 * strings. Everything else in it is between the members.
 */
import { DecodeError } from "../../protocol/codec-error.ts";
import { Reader } from "../../protocol/reader.ts";
import type { GroupView } from "./group-host.ts";
import { metadataOf } from "./group-roster.ts";

export const CONSUMER_PROTOCOL_TYPE = "consumer";

/** Undefined when the metadata is something else. */
export function readSubscribedTopics(metadata: Uint8Array): readonly string[] | undefined {
  try {
    const reader = new Reader(metadata);
    reader.readInt16();
    return reader.readStringArray(reader.readArrayLength("topics"), "topics");
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** What all members of a group subscribe to; undefined when it is not a consumer group or that cannot be told. */
export function readGroupTopics({ protocolType, protocolName, roster }: GroupView): ReadonlySet<string> | undefined {
  if (protocolType !== CONSUMER_PROTOCOL_TYPE) return undefined;
  const topics = new Set<string>();
  for (const member of roster.all()) {
    const subscribed = readSubscribedTopics(metadataOf(member, protocolName));
    if (subscribed === undefined) return undefined;
    for (const topic of subscribed) topics.add(topic);
  }
  return topics;
}
