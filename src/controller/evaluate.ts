/**
 * Decides one change against a draft of the next image, and applies the records that follow from it. Pure: the same draft and change give the same
 * records. Nothing here awaits, so a batch is one consistent decision.
 */

import type { ConfigChange, ConfigOutcome, FeatureOutcome, FeatureUpdate, LogStart } from "../metadata/cluster-metadata.ts";
import type { BrokerState } from "../metadata/entities.ts";
import type { ImageDraft } from "../metadata/image-draft.ts";
import type { CommittedRangeRecord, MetadataRecord, Placement } from "../metadata/records.ts";
import type { CommitRange } from "../storage/ports.ts";
import type { Change, ChangeOutcome, TopicOutcomeKind } from "./changes.ts";

/** Above it a CreateTopics or CreatePartitions is answered "limit-exceeded". */
export const MAX_PARTITIONS_PER_TOPIC = 100_000;
/** One object's commit is one record (it must be atomic); this bounds it to about 16 MB. */
export const MAX_RANGES_PER_OBJECT = 200_000;

const INTERNAL_TOPICS: ReadonlySet<string> = new Set(["__consumer_offsets", "__transaction_state", "__share_group_state"]);

export class Evaluation {
  readonly draft: ImageDraft;
  readonly records: MetadataRecord[] = [];

  constructor(draft: ImageDraft) {
    this.draft = draft;
  }

  add(record: MetadataRecord): void {
    this.draft.apply(record);
    this.records.push(record);
  }

  /** `asker` is a current registration in the draft. */
  evaluate(change: Change, asker: BrokerState): ChangeOutcome {
    switch (change.kind) {
      case "create-topic":
        return this.#createTopic(change, asker);
      case "delete-topic":
        if (this.draft.getTopic(change.topicId) === undefined) return topicOutcome("unknown-topic");
        this.add({ type: "topic-deleted", topicId: change.topicId });
        return topicOutcome("done");
      case "create-partitions":
        return this.#createPartitions(change, asker);
      case "commit-object":
        return this.#commitObject(change, asker);
      case "write-off-object":
        if (this.draft.getObject(change.objectKey) !== undefined) return refused("object-known", `${change.objectKey} is in the log`);
        this.add({ type: "object-written-off", objectKey: change.objectKey, nodeId: asker.nodeId, walId: change.walId });
        return { kind: "done" };
      case "remove-objects":
        return this.#removeObjects(change.objectKeys);
      case "advance-log-starts":
        return { kind: "ranges", accepted: change.starts.map((start) => this.#advanceLogStart(start, asker)) };
      case "alter-configs":
        return { kind: "config", outcome: this.#alterConfigs(change.change) };
      case "update-features":
        return { kind: "config", outcome: this.#updateFeatures(change.updates) };
      case "take-producer-ids": {
        const firstId = this.draft.counters.nextProducerId;
        this.add({ type: "producer-id-block", firstId, count: change.count, nodeId: asker.nodeId });
        return { kind: "producer-ids", firstId, count: change.count };
      }
      case "open-wal":
        return this.#openWal(change, asker);
    }
  }

  #createTopic({ topicId, topic }: Extract<Change, { kind: "create-topic" }>, asker: BrokerState): ChangeOutcome {
    const { name, partitionCount, replicationFactor, configs } = topic;
    if (this.draft.getTopicByName(name) !== undefined) return topicOutcome("exists");
    if (this.draft.getTopic(topicId) !== undefined) return refused("topic-id-taken", `topic id ${topicId} is taken`);
    if (partitionCount < 1) return topicOutcome("invalid-partitions", "Number of partitions was set to an invalid non-positive value.");
    if (partitionCount > MAX_PARTITIONS_PER_TOPIC) return tooManyPartitions(partitionCount);
    const isInternal = INTERNAL_TOPICS.has(name);
    const placements = placePartitions(partitionCount, asker);
    this.add({ type: "topic-created", topicId, name, replicationFactor: Math.max(1, replicationFactor), isInternal, configs, placements });
    return topicOutcome("done");
  }

  #createPartitions({ topicId, totalCount }: Extract<Change, { kind: "create-partitions" }>, asker: BrokerState): ChangeOutcome {
    const topic = this.draft.getTopic(topicId);
    if (topic === undefined) return topicOutcome("unknown-topic");
    const added = totalCount - topic.partitionCount;
    if (added <= 0) {
      const message = `The topic ${topic.name} currently has ${topic.partitionCount} partition(s); ${totalCount} would not be an increase.`;
      return topicOutcome("invalid-partitions", message);
    }
    if (totalCount > MAX_PARTITIONS_PER_TOPIC) return tooManyPartitions(totalCount);
    this.add({ type: "partitions-added", topicId, placements: placePartitions(added, asker) });
    return topicOutcome("done");
  }

  /**
   * Per range: "accepted" when topic and term are current, the asker's WAL is the owner's, and the base equals the committed end; "gone" when the topic is
   * deleted or owned otherwise. A base elsewhere means that a writer lost count: refused, and nothing is changed.
   */
  #commitObject(change: Extract<Change, { kind: "commit-object" }>, asker: BrokerState): ChangeOutcome {
    const { objectKey, sizeBytes, walId, walCommitted, ranges } = change;
    if (ranges.length > MAX_RANGES_PER_OBJECT) return refused("commit-too-large", `${objectKey} has ${ranges.length} ranges`);
    if (asker.walId !== walId) return refused("commit-foreign-wal", `broker ${asker.nodeId} has WAL ${asker.walId}, not ${walId}`);
    const known = this.draft.getObject(objectKey);
    if (known !== undefined) {
      if (known.object.sizeBytes !== sizeBytes)
        return refused("commit-object-known", `${objectKey} is in the log with another size or written off`);
      return { kind: "ranges", accepted: ranges.map((range) => this.#isCommitted(objectKey, range)) };
    }
    const position = this.draft.getWal(walId)!.committed;
    if (walCommitted.lsn < position.lsn)
      return refused("commit-below-wal", `LSN ${walCommitted.lsn} of WAL ${walId} after ${position.lsn}`);
    const accepted: boolean[] = [];
    const records: CommittedRangeRecord[] = [];
    /** Committed ends as this object raises them: an object may hold several ranges of one partition. */
    const ends = new Map<string, number>();
    for (const range of ranges) {
      const { topicId, partition: index } = range.stream;
      const partition = this.draft.getTopic(topicId)?.partitions[index];
      const isOwned = partition !== undefined && partition.term === range.term && partition.ownerWalId === walId;
      accepted.push(isOwned);
      if (!isOwned) continue;
      const id = `${topicId}-${index}`;
      const end = ends.get(id) ?? partition.committedEndOffset;
      if (range.baseOffset !== end || range.endOffset <= end) {
        return refused("commit-base-mismatch", `${objectKey}: [${range.baseOffset}, ${range.endOffset}) of ${id}, committed up to ${end}`);
      }
      ends.set(id, range.endOffset);
      const { stream: _, ...rest } = range;
      records.push({ topicId, partition: index, ...rest });
    }
    this.add({ type: "object-committed", objectKey, sizeBytes, nodeId: asker.nodeId, walId, walCommitted, ranges: records });
    return { kind: "ranges", accepted };
  }

  #isCommitted(objectKey: string, range: CommitRange): boolean {
    const found = this.draft.getTopic(range.stream.topicId)?.partitions[range.stream.partition]?.ranges.find(range.baseOffset);
    return found?.object.key === objectKey && found.baseOffset === range.baseOffset;
  }

  #advanceLogStart({ topicId, partition: index, term, offset, releaseBelow }: LogStart, asker: BrokerState): boolean {
    const partition = this.draft.getTopic(topicId)?.partitions[index];
    if (partition === undefined || partition.term !== term || partition.ownerNodeId !== asker.nodeId) return false;
    if (offset > partition.logStartOffset) this.add({ type: "log-start-offset", topicId, partition: index, offset });
    const now = this.draft.getTopic(topicId)!.partitions[index]!;
    const releasable = Math.min(releaseBelow, now.logStartOffset);
    const first = now.ranges.find(0);
    if (first !== undefined && first.endOffset <= releasable) {
      this.add({ type: "ranges-released", topicId, partition: index, offset: releasable });
    }
    return true;
  }

  #alterConfigs({ resource, sets }: ConfigChange): ConfigOutcome {
    const isTopic = resource.kind === "topic";
    const topic = isTopic ? this.draft.getTopic(resource.topicId) : undefined;
    if (isTopic && topic === undefined) return "unknown-topic";
    const configs = isTopic ? topic?.configs : this.draft.getConfigs(resource.type, resource.name);
    if (sets.some(({ name, expected }) => configs?.get(name) !== expected)) return "conflict";
    for (const { name, expected, value } of sets) {
      if (value === expected) continue;
      if (isTopic) this.add({ type: "topic-config", topicId: resource.topicId, name, value });
      else this.add({ type: "config", resourceType: resource.type, resourceName: resource.name, name, value });
    }
    return "done";
  }

  #updateFeatures(updates: readonly FeatureUpdate[]): FeatureOutcome {
    if (updates.some(({ name, expected }) => (this.draft.getFeature(name) ?? 0) !== expected)) return "conflict";
    for (const { name, level } of updates) {
      if (level !== (this.draft.getFeature(name) ?? 0)) this.add({ type: "feature-level", name, level });
    }
    return "done";
  }

  /** Those that are still garbage; others are passed over. */
  #removeObjects(keys: readonly string[]): ChangeOutcome {
    const objectKeys = keys.filter((key) => this.draft.getObject(key)?.references === 0);
    if (objectKeys.length > 0) this.add({ type: "objects-removed", objectKeys });
    return { kind: "done" };
  }

  #openWal({ walId, walEpoch, sealedLsn }: Extract<Change, { kind: "open-wal" }>, asker: BrokerState): ChangeOutcome {
    const wal = this.draft.getWal(walId);
    if (wal === undefined || asker.walId !== walId)
      return refused("wal-not-registered", `broker ${asker.nodeId} has WAL ${asker.walId}, not ${walId}`);
    if (walEpoch <= wal.walEpoch) return refused("wal-epoch-stale", `epoch ${walEpoch} of WAL ${walId} after ${wal.walEpoch}`);
    if (sealedLsn < wal.committed.lsn) {
      return refused("wal-behind-log", `WAL ${walId} ends at LSN ${sealedLsn}, and the log has committed it up to ${wal.committed.lsn}`);
    }
    this.add({ type: "wal-opened", walId, nodeId: asker.nodeId, walEpoch, sealedLsn });
    return { kind: "done" };
  }
}

/** Until brokers report to the controller, the only broker known to be alive is the one that asks. */
function placePartitions(count: number, asker: BrokerState): Placement[] {
  return [{ nodeId: asker.nodeId, walId: asker.walId, count }];
}

function topicOutcome(outcome: TopicOutcomeKind, message = ""): ChangeOutcome {
  return { kind: "topic", outcome, message };
}

function tooManyPartitions(count: number): ChangeOutcome {
  return topicOutcome("limit-exceeded", `${count} partitions are more than the ${MAX_PARTITIONS_PER_TOPIC} that a topic may have.`);
}

function refused(code: string, message: string): ChangeOutcome {
  return { kind: "refused", code, message };
}
