/**
 * Commits of a member, and what is left of one that died, fell silent or was replaced: a commit and a heartbeat under its old epoch that are still on their way.
 * None of it may count once somebody else has its place.
 */
import { consumerGroupHeartbeatApi, newConsumerGroupHeartbeatRequest } from "../../src/protocol/messages/consumer-group-heartbeat.ts";
import type { ConsumerGroupModel, MemberTrace, PartitionTrace } from "./consumer-model.ts";
import { type Committer, type CoordinatorLink, commitOffsets } from "./consumer-requests.ts";

/** The group is classic. */
const ILLEGAL_GENERATION = 22;
const REBALANCE_IN_PROGRESS = 27;
export const UNKNOWN_TOPIC = 3;
export const UNKNOWN_MEMBER_ID = 25;
export const GROUP_ID_NOT_FOUND = 69;
export const FENCED_INSTANCE_ID = 82;
export const UNKNOWN_TOPIC_ID = 100;
export const FENCED_MEMBER_EPOCH = 110;
export const STALE_MEMBER_EPOCH = 113;
/** Of partitions whose topic is gone. */
export const GONE: ReadonlySet<number> = new Set([UNKNOWN_TOPIC, UNKNOWN_TOPIC_ID]);
/** Of commits by who is no member any more, or not under this epoch. */
const OUTDATED: ReadonlySet<number> = new Set([
  ILLEGAL_GENERATION,
  REBALANCE_IN_PROGRESS,
  UNKNOWN_MEMBER_ID,
  GROUP_ID_NOT_FOUND,
  FENCED_INSTANCE_ID,
  STALE_MEMBER_EPOCH,
]);
const HEARTBEAT_VERSION = 1;
const REFUSED_BEATS: ReadonlySet<number> = new Set([UNKNOWN_MEMBER_ID, GROUP_ID_NOT_FOUND, FENCED_INSTANCE_ID, FENCED_MEMBER_EPOCH]);

/** Who commits what it has read. */
export interface Reading {
  readonly committer: Committer;
  readonly trace: MemberTrace;
  readonly positions: ReadonlyMap<PartitionTrace, number>;
}

/** Commits where these partitions have been read to. True: some of it was refused since the member or its epoch is outdated. */
export async function commitReading(
  link: CoordinatorLink,
  model: ConsumerGroupModel,
  { committer, trace, positions }: Reading,
  partitions: readonly PartitionTrace[],
  byId: boolean,
): Promise<boolean> {
  const offsets = partitions.map((at) => ({ at, offset: positions.get(at) ?? 0 }));
  for (const { at, offset } of offsets) at.sent.add(offset);
  const { answer, sentMs } = await commitOffsets(link, committer, offsets, byId);
  let isOutdated = false;
  for (const { at, offset } of offsets) {
    const code = answer.get(at) ?? -1;
    if (code === 0) model.commitAcknowledged(trace, at, offset, committer.epoch, sentMs);
    else if (OUTDATED.has(code)) isOutdated = true;
    else if (!GONE.has(code)) model.find("unexpected-error", `${trace.memberId}'s commit of ${at.name} is answered with error ${code}`);
  }
  return isOutdated;
}

/** An offset of 0 would be told apart from none by nobody. */
export function progressOf({ positions }: Reading): readonly PartitionTrace[] {
  return [...positions].filter(([, offset]) => offset > 0).map(([at]) => at);
}

/** Throws ConnectionLost when nobody answers: it is not tried again. */
export async function haunt(link: CoordinatorLink, model: ConsumerGroupModel, reading: Reading): Promise<void> {
  const { committer, trace } = reading;
  const partitions = progressOf(reading);
  if (partitions.length > 0) await commitReading(link, model, reading, partitions, true);
  const wasOut = trace.isOut;
  model.beatSent(trace, undefined);
  const request = newConsumerGroupHeartbeatRequest({
    groupId: model.groupId,
    memberId: trace.memberId,
    memberEpoch: committer.epoch,
    instanceId: trace.instanceId ?? null,
  });
  const { answer, isCurrent, sentMs } = await link.ask("zombie-heartbeat", consumerGroupHeartbeatApi, HEARTBEAT_VERSION, request, (one) => [
    one.errorCode,
  ]);
  if (answer.errorCode === 0) {
    const assigned = answer.assignment === null ? undefined : model.partitionsOf(answer.assignment.topicPartitions);
    if (isCurrent) model.beatAnswered(trace, sentMs, answer.memberEpoch, assigned);
    return;
  }
  if (!wasOut) model.expelled(trace);
  if (!REFUSED_BEATS.has(answer.errorCode))
    model.find(
      "unexpected-error",
      `a late heartbeat of ${trace.memberId} is answered with error ${answer.errorCode}: ${answer.errorMessage}`,
    );
}
