/** Names of topic ids, as members find them out: by Metadata, which a client asks for what it does not know. */
import { metadataApi, newMetadataRequest, newMetadataRequestTopic } from "../../src/protocol/messages/metadata.ts";
import type { ConsumerGroupModel, PartitionTrace } from "./consumer-model.ts";
import { askCurrent, type CoordinatorLink } from "./consumer-requests.ts";

const METADATA_VERSION = 12;

export interface KnownTopic {
  readonly topicId: string;
  readonly partitions: number;
}

/** An id has one name for ever, so that all clients may share what one was told. */
export class TopicDirectory {
  private readonly names = new Map<string, string>();
  /** By name, of topics that are never deleted. */
  private readonly known = new Map<string, string>();

  /** Gives partitions their logs; of topics that are gone none is found. */
  async resolve(link: CoordinatorLink, model: ConsumerGroupModel, partitions: readonly PartitionTrace[]): Promise<void> {
    const unknown = new Set(partitions.filter(({ topicId }) => !this.names.has(topicId)).map(({ topicId }) => topicId));
    if (unknown.size > 0) {
      const topics = Array.from(unknown, (topicId) => newMetadataRequestTopic({ topicId, name: null }));
      const request = newMetadataRequest({ topics, allowAutoTopicCreation: false });
      const { answer } = await link.ask("metadata", metadataApi, METADATA_VERSION, request, () => []);
      for (const { topicId, name, errorCode } of answer.topics) if (errorCode === 0 && name !== null) this.names.set(topicId, name);
    }
    for (const at of partitions) {
      const name = this.names.get(at.topicId);
      if (name !== undefined) model.name(at, name);
    }
  }

  /** By names of topics that somebody has looked up. */
  partitionsOf(model: ConsumerGroupModel, partitions: ReadonlyMap<string, readonly number[]>): ReadonlySet<PartitionTrace> {
    const found = new Set<PartitionTrace>();
    for (const [name, own] of partitions) {
      const topicId = this.known.get(name);
      if (topicId === undefined) throw new Error(`a member is given partitions of ${name}, which nobody has looked up`);
      for (const partition of own) {
        const at = model.partition(topicId, partition);
        model.name(at, name);
        found.add(at);
      }
    }
    return found;
  }

  /** What there is of these names now. */
  async find(link: CoordinatorLink, names: readonly string[]): Promise<ReadonlyMap<string, KnownTopic>> {
    const request = newMetadataRequest({ topics: names.map((name) => newMetadataRequestTopic({ name })), allowAutoTopicCreation: false });
    const answer = await askCurrent(link, "metadata", metadataApi, METADATA_VERSION, request, () => []);
    const found = new Map<string, KnownTopic>();
    for (const { topicId, name, errorCode, partitions } of answer.topics) {
      if (errorCode !== 0 || name === null) continue;
      this.names.set(topicId, name);
      this.known.set(name, topicId);
      found.set(name, { topicId, partitions: partitions.length });
    }
    return found;
  }
}
