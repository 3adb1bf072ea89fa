/** Committed offsets in memory: by group, topic, partition. What was never committed is absent, never 0 (case B2). */
import type { TopicPartition } from "../../coordinator/topic-partition.ts";
import type { CommittedOffset } from "../group-types.ts";

export type GroupOffsets = ReadonlyMap<string, ReadonlyMap<number, CommittedOffset>>;

const NOTHING: GroupOffsets = new Map();

export class OffsetStore {
  readonly #groups = new Map<string, Map<string, Map<number, CommittedOffset>>>();
  /** The ids under which each topic was committed, also of offsets that are removed since: by these a topic that is gone is noticed. */
  readonly #topicIds = new Map<string, Set<string>>();
  /** What was put last: the next offset is mostly of the same topic. */
  #last = { topic: "", topicId: "" };
  #count = 0;

  /** Partitions with an offset, over all groups. */
  get count(): number {
    return this.#count;
  }

  ofGroup(groupId: string): GroupOffsets {
    return this.#groups.get(groupId) ?? NOTHING;
  }

  get(groupId: string, { topic, partition }: TopicPartition): CommittedOffset | undefined {
    return this.#groups.get(groupId)?.get(topic)?.get(partition);
  }

  put(groupId: string, { topic, partition }: TopicPartition, committed: CommittedOffset): void {
    let topics = this.#groups.get(groupId);
    if (topics === undefined) {
      topics = new Map();
      this.#groups.set(groupId, topics);
    }
    let partitions = topics.get(topic);
    if (partitions === undefined) {
      partitions = new Map();
      topics.set(topic, partitions);
    }
    if (!partitions.has(partition)) this.#count += 1;
    partitions.set(partition, committed);
    const { topicId } = committed;
    if (topic !== this.#last.topic || topicId !== this.#last.topicId) this.#noteTopic(topic, topicId);
  }

  #noteTopic(topic: string, topicId: string): void {
    this.#last = { topic, topicId };
    const topicIds = this.#topicIds.get(topic);
    if (topicIds === undefined) this.#topicIds.set(topic, new Set([topicId]));
    else topicIds.add(topicId);
  }

  /** Names of topics with offsets for which `isGone`; each is named once, and again only when something is put for it. The caller removes those offsets. */
  takeTopics(isGone: (topic: string, topicId: string) => boolean): string[] {
    const found: string[] = [];
    for (const [topic, topicIds] of this.#topicIds) {
      const gone = [...topicIds].filter((topicId) => isGone(topic, topicId));
      if (gone.length === 0) continue;
      found.push(topic);
      for (const topicId of gone) topicIds.delete(topicId);
      if (topicIds.size === 0) this.#topicIds.delete(topic);
    }
    this.#last = { topic: "", topicId: "" };
    return found;
  }

  remove(groupId: string, { topic, partition }: TopicPartition): void {
    const topics = this.#groups.get(groupId);
    const partitions = topics?.get(topic);
    if (topics === undefined || partitions === undefined || !partitions.delete(partition)) return;
    this.#count -= 1;
    if (partitions.size === 0) topics.delete(topic);
    if (topics.size === 0) this.#groups.delete(groupId);
  }

  *entries(groupId: string): Generator<[TopicPartition, CommittedOffset]> {
    for (const [topic, partitions] of this.ofGroup(groupId)) {
      for (const [partition, committed] of partitions) yield [{ topic, partition }, committed];
    }
  }

  groupIds(): Iterable<string> {
    return this.#groups.keys();
  }
}
