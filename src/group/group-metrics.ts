/** The group room's metrics: declared once, whatever the number of groups. */
import type { Counter, Metrics } from "../telemetry/telemetry.ts";
import type { GroupState } from "./group-types.ts";

export interface GroupMetrics {
  readonly commits: Counter;
  readonly expiredOffsets: Counter;
  readonly rebalances: Counter;
  readonly completedRebalances: Counter;
  readonly expiredMembers: Counter;
}

export interface GroupCounts {
  countGroups(state: GroupState): number;
  countMembers(): number;
  countOffsets(): number;
  countLoading(): number;
}

const STATES: readonly GroupState[] = ["Empty", "PreparingRebalance", "CompletingRebalance", "Stable"];

export function declareGroupMetrics(metrics: Metrics, counts: GroupCounts): GroupMetrics {
  for (const state of STATES) {
    metrics.observedGauge("weir_groups", "Classic groups coordinated here, by state.", () => counts.countGroups(state), { state });
  }
  metrics.observedGauge("weir_group_members", "Members of the groups coordinated here.", () => counts.countMembers());
  metrics.observedGauge("weir_group_offsets", "Committed offsets kept for the groups coordinated here.", () => counts.countOffsets());
  metrics.observedGauge("weir_group_partitions_loading", "Partitions of __consumer_offsets that are being read.", () =>
    counts.countLoading(),
  );
  return {
    commits: metrics.counter("weir_group_offset_commits_total", "Offsets committed by clients."),
    expiredOffsets: metrics.counter("weir_group_offsets_expired_total", "Committed offsets removed because their retention ended."),
    rebalances: metrics.counter("weir_group_rebalances_total", "Rebalances begun."),
    completedRebalances: metrics.counter("weir_group_rebalances_completed_total", "Rebalances whose assignment was stored."),
    expiredMembers: metrics.counter("weir_group_members_expired_total", "Members removed because they went silent."),
  };
}
