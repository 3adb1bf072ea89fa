/**
 * Reads the committed offsets of a batch where they lie: a load reads millions of them, and what they name repeats from record to record. The layouts that Kafka 4.4
 * and Weir write today are known here (OffsetCommit key, values 3 and 4); everything else is left to the generated reader, which also finds what is wrong.
 *
 * Invariant: what it answers is what the generated reader would answer.
 */
import { ZERO_UUID } from "../../protocol/reader.ts";
import type { CommittedOffset } from "../group-types.ts";

const KEY_TYPE = 1;
const VALUE_WITH_EPOCH = 3;
const VALUE_WITH_TOPIC_ID = 4;
const UUID_BYTES = 16;

/** The text of the bytes that were asked for last, remembered: the next ones are mostly the same. */
class RepeatedText {
  #bytes = new Uint8Array(0);
  #text = "";
  readonly #decode: (bytes: Buffer) => string;

  constructor(decode: (bytes: Buffer) => string) {
    this.#decode = decode;
  }

  read(bytes: Uint8Array, start: number, length: number): string {
    const known = this.#bytes;
    if (known.length === length) {
      // Names differ at their end, where they are counted up.
      let index = length - 1;
      while (index >= 0 && known[index] === bytes[start + index]) index--;
      if (index < 0) return this.#text;
    }
    this.#bytes = bytes.slice(start, start + length);
    this.#text = this.#decode(Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, length));
    return this.#text;
  }
}

const decodeUtf8 = (bytes: Buffer): string => bytes.toString("utf8");
const decodeUuid = (bytes: Buffer): string => bytes.toString("base64url");

/** The record that was read last; valid until the next one. */
export class OffsetRecordReader {
  readonly #groups = new RepeatedText(decodeUtf8);
  readonly #topics = new RepeatedText(decodeUtf8);
  readonly #topicIds = new RepeatedText(decodeUuid);
  group = "";
  topic = "";
  partition = 0;
  /** Undefined: deleted. */
  committed: CommittedOffset | undefined;

  /** False: not one of the known layouts. `valueLength` is -1 for a tombstone. */
  read(bytes: Uint8Array, view: DataView, keyAt: number, keyLength: number, valueAt: number, valueLength: number): boolean {
    const keyEnd = keyAt + keyLength;
    if (keyLength < 10 || view.getInt16(keyAt) !== KEY_TYPE) return false;
    const groupLength = view.getInt16(keyAt + 2);
    const topicAt = keyAt + 4 + groupLength;
    if (groupLength < 0 || topicAt + 6 > keyEnd) return false;
    const topicLength = view.getInt16(topicAt);
    const partitionAt = topicAt + 2 + topicLength;
    if (topicLength < 0 || partitionAt + 4 !== keyEnd) return false;
    this.committed = undefined;
    if (valueLength >= 0 && !this.#readValue(bytes, view, valueAt, valueAt + valueLength)) return false;
    this.group = this.#groups.read(bytes, keyAt + 4, groupLength);
    this.topic = this.#topics.read(bytes, topicAt + 2, topicLength);
    this.partition = view.getInt32(partitionAt);
    return true;
  }

  #readValue(bytes: Uint8Array, view: DataView, at: number, end: number): boolean {
    if (end - at < 24) return false;
    const version = view.getInt16(at);
    let metadataLength: number;
    let next = at + 14;
    if (version === VALUE_WITH_EPOCH) {
      metadataLength = view.getInt16(next);
      next += 2;
    } else if (version === VALUE_WITH_TOPIC_ID) {
      metadataLength = view.getUint8(next) - 1;
      next += 1;
      // A length of more than one byte.
      if (metadataLength >= 127) return false;
    } else return false;
    const timestampAt = next + metadataLength;
    const tagsAt = timestampAt + 8;
    if (metadataLength < 0 || tagsAt > end) return false;
    let topicId = ZERO_UUID;
    if (version === VALUE_WITH_EPOCH) {
      if (tagsAt !== end) return false;
    } else if (tagsAt + 1 === end) {
      if (view.getUint8(tagsAt) !== 0) return false;
    } else {
      // One tagged field, number 0, of 16 bytes.
      const isTopicId = tagsAt + 3 + UUID_BYTES === end && view.getUint8(tagsAt) === 1 && view.getUint16(tagsAt + 1) === UUID_BYTES;
      if (!isTopicId) return false;
      topicId = this.#topicIds.read(bytes, tagsAt + 3, UUID_BYTES);
    }
    this.committed = {
      topicId,
      offset: view.getBigInt64(at + 2),
      leaderEpoch: view.getInt32(at + 10),
      metadata: metadataLength === 0 ? "" : decodeUtf8(Buffer.from(bytes.buffer, bytes.byteOffset + next, metadataLength)),
      commitTimestampMs: view.getInt32(timestampAt) * 4_294_967_296 + view.getUint32(timestampAt + 4),
      expireTimestampMs: undefined,
    };
    return true;
  }
}
