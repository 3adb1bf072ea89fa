/**
 * The topics in a consumer's metadata (ConsumerProtocolSubscription, whose version 0 begins every version): int16 version, then an array of
 * strings. Everything else in it is between the members.
 */
import { DecodeError } from "../protocol/codec-error.ts";
import { Reader } from "../protocol/reader.ts";

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
