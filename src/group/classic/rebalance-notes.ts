/** What a coordinator notes of its classic groups: log lines and counts. */
import type { Logger } from "../../telemetry/telemetry.ts";
import type { GroupMetrics } from "../group-metrics.ts";
import type { GroupView } from "./group-host.ts";

interface Notes {
  readonly logger: Logger;
  readonly metrics: GroupMetrics;
}

export function noteRebalanceStarted({ logger, metrics }: Notes, group: GroupView, reason: string): void {
  metrics.rebalances.add(1);
  logger.debug("group.rebalancing", reason, { group: group.groupId, generation: group.generation, members: group.roster.size });
}

export function noteRebalanceJoined({ logger }: Notes, { groupId, generation, protocolName, roster }: GroupView): void {
  logger.debug("group.joined", "all members have joined", { group: groupId, generation, protocolName, members: roster.size });
}

export function noteRebalanceCompleted({ logger, metrics }: Notes, { groupId, generation, protocolName, roster }: GroupView): void {
  metrics.completedRebalances.add(1);
  logger.info("group.rebalanced", "the members have their assignments", {
    group: groupId,
    generation,
    protocolName,
    members: roster.size,
  });
}

export function noteMembersExpired({ logger, metrics }: Notes, group: GroupView, memberIds: readonly string[], why: string): void {
  metrics.expiredMembers.add(memberIds.length);
  for (const memberId of memberIds) {
    logger.info("group.member-expired", `a member was removed: it ${why}`, {
      group: group.groupId,
      member: memberId,
      generation: group.generation,
    });
  }
}
