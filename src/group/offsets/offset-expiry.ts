/**
 * Which offsets of a group have outlived `offsets.retention.minutes` (KIP-211): the time runs from when the group became empty, for a
 * consumer group in use from the commit of a topic that it no longer subscribes to, for a group that only stores offsets, and for one of the consumer
 * protocol (KIP-848), always from the commit.
 */

import type { TopicPartition } from "../../coordinator/topic-partition.ts";
import type { AnyGroup } from "../any-group.ts";
import type { CommittedOffset } from "../group-types.ts";
import type { GroupOffsets } from "./offset-store.ts";

export interface ExpiryContext {
  /** Wall clock, ms. */
  readonly nowMs: number;
  readonly retentionMs: number;
  /** A transaction is about to replace the offset. */
  isPending(at: TopicPartition): boolean;
}

export interface Expiry {
  readonly expired: readonly TopicPartition[];
  /** Nothing is left: also true of a group without offsets. */
  readonly isAll: boolean;
}

export function findExpiredOffsets(group: AnyGroup, offsets: GroupOffsets, context: ExpiryContext): Expiry {
  if (offsets.size === 0) return { expired: [], isAll: true };
  const startOf = findStart(group);
  if (startOf === undefined) return { expired: [], isAll: false };
  const expired: TopicPartition[] = [];
  let isAll = true;
  for (const [topic, partitions] of offsets) {
    const isInUse = group.isSubscribedTo(topic);
    for (const [partition, committed] of partitions) {
      const at = { topic, partition };
      if (!isInUse && isExpired(committed, startOf(committed), context) && !context.isPending(at)) expired.push(at);
      else isAll = false;
    }
  }
  return { expired, isAll };
}

/** From when the retention of an offset runs; undefined while none expires. */
function findStart(group: AnyGroup): ((committed: CommittedOffset) => number) | undefined {
  if (group.kind === "consumer") return (committed) => committed.commitTimestampMs;
  if (group.protocolType === undefined) return (committed) => committed.commitTimestampMs;
  if (group.state === "Empty") return (committed) => group.stateTimestampMs ?? committed.commitTimestampMs;
  const isKnown = group.usesConsumerProtocol && group.subscribedTopics !== undefined;
  return isKnown && group.state === "Stable" ? (committed) => committed.commitTimestampMs : undefined;
}

function isExpired(committed: CommittedOffset, startMs: number, { nowMs, retentionMs }: ExpiryContext): boolean {
  if (committed.expireTimestampMs !== undefined) return BigInt(nowMs) >= committed.expireTimestampMs;
  return nowMs - startMs >= retentionMs;
}
