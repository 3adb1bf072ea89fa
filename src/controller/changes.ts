/**
 * What brokers ask of the controller, and its answers. A request carries its broker's epoch and a sequence number; the log keeps the answer to
 * the last one of each broker (record `change-outcome`), so that a repeated request gets the same answer from whoever is controller then.
 *
 * Outcomes as stored: version u8 = 1, count varint, then per change a kind byte and:
 *
 * | kind | outcome      | body                                                    |
 * |------|--------------|---------------------------------------------------------|
 * | 1    | done         |                                                         |
 * | 2    | topic        | kind of TopicOutcome u8 (order below), message string   |
 * | 3    | ranges       | count varint, then a flag each: accepted                |
 * | 4    | producer-ids | firstId, count varints                                  |
 * | 5    | refused      | code string, message string                             |
 * | 6    | config       | kind of ConfigOutcome u8 (order below); features too    |
 */
import { ByteReader, ByteWriter, DamagedBytes } from "../metadata/byte-codec.ts";
import type { ConfigChange, ConfigOutcome, FeatureUpdate, LogStart, NewTopic, TopicOutcome } from "../metadata/cluster-metadata.ts";
import type { Listener, StoredWalPosition } from "../metadata/records.ts";
import type { CommitRange } from "../storage/ports.ts";

export interface BrokerRegistration {
  readonly nodeId: number;
  /** Random per process life: a registration that is repeated after a lost reply is known by it. */
  readonly incarnation: string;
  readonly walId: string;
  readonly rack: string | undefined;
  readonly listeners: readonly Listener[];
}

export type Change =
  | { readonly kind: "create-topic"; readonly topicId: string; readonly topic: NewTopic }
  | { readonly kind: "delete-topic"; readonly topicId: string }
  | { readonly kind: "create-partitions"; readonly topicId: string; readonly totalCount: number }
  | {
      readonly kind: "commit-object";
      readonly objectKey: string;
      readonly sizeBytes: number;
      readonly walId: string;
      readonly walCommitted: StoredWalPosition;
      readonly ranges: readonly CommitRange[];
    }
  | { readonly kind: "write-off-object"; readonly objectKey: string; readonly walId: string }
  | { readonly kind: "remove-objects"; readonly objectKeys: readonly string[] }
  | { readonly kind: "advance-log-starts"; readonly starts: readonly LogStart[] }
  | { readonly kind: "alter-configs"; readonly change: ConfigChange }
  | { readonly kind: "update-features"; readonly updates: readonly FeatureUpdate[] }
  | { readonly kind: "take-producer-ids"; readonly count: number }
  | { readonly kind: "open-wal"; readonly walId: string; readonly walEpoch: number; readonly sealedLsn: number };

export type TopicOutcomeKind = TopicOutcome["kind"];

export type ChangeOutcome =
  | { readonly kind: "done" }
  | { readonly kind: "topic"; readonly outcome: TopicOutcomeKind; readonly message: string }
  | { readonly kind: "ranges"; readonly accepted: readonly boolean[] }
  | { readonly kind: "producer-ids"; readonly firstId: number; readonly count: number }
  /** Of configurations and of feature levels: both are changed from what was seen. */
  | { readonly kind: "config"; readonly outcome: ConfigOutcome }
  /** The change contradicts the log; nothing was changed. A bug or a stale asker. */
  | { readonly kind: "refused"; readonly code: string; readonly message: string };

export type Request =
  | { readonly kind: "register"; readonly registration: BrokerRegistration }
  | {
      readonly kind: "changes";
      readonly nodeId: number;
      readonly brokerEpoch: number;
      /** 1, 2, ... within the broker's epoch; one request of a broker at a time. */
      readonly sequence: number;
      readonly changes: readonly Change[];
    };

export type Answer =
  | { readonly kind: "registered"; readonly brokerEpoch: number }
  | { readonly kind: "outcomes"; readonly outcomes: readonly ChangeOutcome[] }
  /** The asker's registration has been replaced, or its WAL is another broker's. */
  | { readonly kind: "fenced"; readonly message: string };

const OUTCOMES_VERSION = 1;
const KIND = { done: 1, topic: 2, ranges: 3, producerIds: 4, refused: 5, config: 6 } as const;
/** Stored as an index: append only. */
const TOPIC_OUTCOMES: readonly TopicOutcomeKind[] = ["done", "exists", "unknown-topic", "invalid-partitions", "limit-exceeded"];

const CONFIG_OUTCOMES: readonly ConfigOutcome[] = ["done", "unknown-topic", "conflict"];

/** Upper estimate of the log bytes that a change makes, for bounding batches. */
export function estimateBytes(change: Change): number {
  switch (change.kind) {
    case "create-topic": {
      let bytes = 128 + 3 * change.topic.name.length;
      for (const [name, value] of change.topic.configs) bytes += 8 + 3 * (name.length + value.length);
      return bytes;
    }
    case "commit-object":
      return 256 + 3 * change.objectKey.length + 80 * change.ranges.length;
    case "remove-objects":
      return change.objectKeys.reduce((sum, key) => sum + key.length + 4, 64);
    case "advance-log-starts":
      return 64 + 80 * change.starts.length;
    case "alter-configs":
      return change.change.sets.reduce((sum, { name, value }) => sum + 96 + 3 * (name.length + (value?.length ?? 0)), 192);
    case "update-features":
      return change.updates.reduce((sum, { name }) => sum + 16 + 3 * name.length, 64);
    case "write-off-object":
      return 128 + change.objectKey.length;
    default:
      return 192;
  }
}

export function encodeOutcomes(outcomes: readonly ChangeOutcome[]): Uint8Array {
  const writer = new ByteWriter(64);
  writer.u8(OUTCOMES_VERSION);
  writer.varint(outcomes.length);
  for (const outcome of outcomes) encodeOutcome(writer, outcome);
  return writer.finish();
}

/** Throws DamagedBytes. */
export function decodeOutcomes(bytes: Uint8Array): ChangeOutcome[] {
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  if (version !== OUTCOMES_VERSION) throw new DamagedBytes(`outcomes in version ${version}`);
  const outcomes: ChangeOutcome[] = [];
  for (let rest = reader.count(1); rest > 0; rest--) outcomes.push(decodeOutcome(reader));
  reader.expectEnd();
  return outcomes;
}

function encodeOutcome(writer: ByteWriter, outcome: ChangeOutcome): void {
  switch (outcome.kind) {
    case "done":
      writer.u8(KIND.done);
      return;
    case "topic":
      writer.u8(KIND.topic);
      writer.u8(TOPIC_OUTCOMES.indexOf(outcome.outcome));
      writer.string(outcome.message);
      return;
    case "ranges":
      writer.u8(KIND.ranges);
      writer.varint(outcome.accepted.length);
      for (const accepted of outcome.accepted) writer.boolean(accepted);
      return;
    case "producer-ids":
      writer.u8(KIND.producerIds);
      writer.varint(outcome.firstId);
      writer.varint(outcome.count);
      return;
    case "config":
      writer.u8(KIND.config);
      writer.u8(CONFIG_OUTCOMES.indexOf(outcome.outcome));
      return;
    case "refused":
      writer.u8(KIND.refused);
      writer.string(outcome.code);
      writer.string(outcome.message);
      return;
  }
}

function decodeOutcome(reader: ByteReader): ChangeOutcome {
  const kind = reader.u8();
  switch (kind) {
    case KIND.done:
      return { kind: "done" };
    case KIND.topic: {
      const outcome = TOPIC_OUTCOMES[reader.u8()];
      if (outcome === undefined) throw new DamagedBytes("topic outcome");
      return { kind: "topic", outcome, message: reader.string() };
    }
    case KIND.ranges: {
      const accepted: boolean[] = [];
      for (let rest = reader.count(1); rest > 0; rest--) accepted.push(reader.boolean());
      return { kind: "ranges", accepted };
    }
    case KIND.producerIds:
      return { kind: "producer-ids", firstId: reader.varint(), count: reader.varint() };
    case KIND.config: {
      const outcome = CONFIG_OUTCOMES[reader.u8()];
      if (outcome === undefined) throw new DamagedBytes("config outcome");
      return { kind: "config", outcome };
    }
    case KIND.refused:
      return { kind: "refused", code: reader.string(), message: reader.string() };
    default:
      throw new DamagedBytes(`outcome kind ${kind}`);
  }
}
