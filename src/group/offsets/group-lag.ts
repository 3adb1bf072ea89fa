/**
 * How far groups are behind, from what is in memory already: committed offsets and the ends of the partitions that they speak of. Opens and reads nothing.
 * Neighbours: `group-metrics.ts` exposes it; ends come from the partition room, and for logs that are not open from the metadata.
 */
import type { ClusterMetadata } from "../../metadata/cluster-metadata.ts";
import type { PartitionRegistry } from "../../partition/partition-registry.ts";
import { ZERO_UUID } from "../../protocol/reader.ts";
import type { OffsetStore } from "./offset-store.ts";

export interface GroupLag {
  readonly groupId: string;
  readonly topic: string;
  readonly partition: number;
  /** Records, at least 0. */
  readonly lag: number;
}

type OffsetsOfShard = { readonly offsets: Pick<OffsetStore, "groupIds" | "entries"> };

/**
 * What a client could still read. Offsets of a topic that is gone, or that was made anew since, have no lag and are left out. A partition whose log is not open is
 * measured to its committed end: that is its end, except while its recovered tail waits to be opened.
 */
export function* readLags(
  shards: Iterable<OffsetsOfShard>,
  metadata: Pick<ClusterMetadata, "image">,
  partitions: Pick<PartitionRegistry, "find">,
): Generator<GroupLag> {
  const { image } = metadata;
  for (const { offsets } of shards) {
    for (const groupId of offsets.groupIds()) {
      for (const [{ topic, partition }, committed] of offsets.entries(groupId)) {
        const topicId = image.getTopic(topic)?.topicId;
        if (topicId === undefined || (committed.topicId !== ZERO_UUID && committed.topicId !== topicId)) continue;
        const log = partitions.find(topicId, partition);
        const end = typeof log === "object" ? log.highWatermark : image.getPartition(topicId, partition)?.committedEndOffset;
        if (end !== undefined) yield { groupId, topic, partition, lag: Math.max(0, end - Number(committed.offset)) };
      }
    }
  }
}
