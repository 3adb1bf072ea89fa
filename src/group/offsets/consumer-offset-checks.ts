/**
 * Whether offsets may be committed to a group, or told of it, by who asks. In a consumer group (KIP-848) a member's epoch stands where a classic group has its
 * generation; an older epoch is taken for partitions that the member has had since then (KIP-1251).
 */
import type { AnyGroup } from "../any-group.ts";
import type { ConsumerGroup } from "../consumer/consumer-group.ts";
import type { ConsumerMember } from "../consumer/consumer-group-types.ts";
import type { GroupError, MemberIdentity, OffsetFetcher } from "../group-types.ts";

/** `generation`: of a classic group, or the member's epoch; -1 from a client that is not a member. */
export interface Committer extends MemberIdentity {
  readonly generation: number;
}

export interface CommitKind {
  /** Producers of transactions need not say for whom they commit (KIP-447). */
  readonly isTransactional: boolean;
  /** By a version of the request that knows member epochs. */
  readonly isNewClient: boolean;
}

/** By who commits; `findStaleOffset` looks at what is committed. */
export function findCommitError(group: AnyGroup, committer: Committer, kind: CommitKind): GroupError | undefined {
  const { memberId, groupInstanceId, generation } = committer;
  if (group.kind === "classic") return group.findCommitError(committer, generation, kind.isTransactional);
  if (generation < 0 && group.size === 0) return undefined;
  if (kind.isTransactional && generation === -1 && memberId === "" && groupInstanceId === undefined) return undefined;
  const member = group.getMember(memberId);
  if (member === undefined) return "unknown-member";
  const isClassic = member.subscription.classic !== undefined;
  if (!kind.isTransactional && !isClassic && !kind.isNewClient) return "unsupported-version";
  return generation > member.progress.epoch ? staleness(member) : undefined;
}

/** The first that is too old for its partition, by a member that `findCommitError` has let pass: then none of the request's is taken. */
export function findStaleOffset(
  group: ConsumerGroup,
  { memberId, generation }: Committer,
  offsets: Iterable<{ readonly topicId: string; readonly partition: number }>,
): GroupError | undefined {
  const member = group.getMember(memberId);
  if (member === undefined || generation === member.progress.epoch) return undefined;
  const { assigned, pendingRevocation } = member.progress;
  for (const { topicId, partition } of offsets) {
    const givenAt = assigned.get(topicId)?.get(partition) ?? pendingRevocation.get(topicId)?.get(partition);
    if (givenAt === undefined || generation < givenAt) return staleness(member);
  }
  return undefined;
}

export function findFetchError(group: ConsumerGroup, { memberId, memberEpoch }: OffsetFetcher): GroupError | undefined {
  const member = group.getMember(memberId);
  if (member === undefined) return "unknown-member";
  return memberEpoch === member.progress.epoch ? undefined : staleness(member);
}

function staleness({ subscription }: ConsumerMember): GroupError {
  return subscription.classic === undefined ? "stale-member-epoch" : "illegal-generation";
}
