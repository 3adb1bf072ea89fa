/** The group room's metrics: declared once, whatever the number of groups. */
import type { Counter, Metrics, Series } from "../telemetry/telemetry.ts";
import type { GroupType } from "./group-types.ts";
import type { GroupLag } from "./offsets/group-lag.ts";

export interface GroupMetrics {
  readonly commits: Counter;
  readonly expiredOffsets: Counter;
  readonly rebalances: Counter;
  readonly completedRebalances: Counter;
  readonly expiredMembers: Counter;
}

export interface GroupCounts {
  countGroups(type: GroupType, state: string): number;
  countMembers(): number;
  countOffsets(): number;
  countPending(): number;
  countLoading(): number;
  /** At most LAG_SERIES_MAX of them are asked for. */
  readLags(): Iterable<GroupLag>;
}

/** A scrape costs some microseconds for each; their labels are the clients' own, so they must have a limit. */
export const LAG_SERIES_MAX = 5_000;

const STATES: readonly string[] = ["Empty", "PreparingRebalance", "CompletingRebalance", "Stable"];
const CONSUMER_STATES: readonly string[] = ["Empty", "Assigning", "Reconciling", "Stable"];

export function declareGroupMetrics(metrics: Metrics, counts: GroupCounts): GroupMetrics {
  for (const state of STATES) {
    metrics.observedGauge("weir_groups", "Classic groups coordinated here, by state.", () => counts.countGroups("classic", state), {
      state,
    });
  }
  for (const state of CONSUMER_STATES) {
    const help = "Groups of the consumer protocol coordinated here, by state.";
    metrics.observedGauge("weir_consumer_groups", help, () => counts.countGroups("consumer", state), { state });
  }
  metrics.observedGauge("weir_group_members", "Members of the groups coordinated here.", () => counts.countMembers());
  metrics.observedGauge("weir_group_offsets", "Committed offsets kept for the groups coordinated here.", () => counts.countOffsets());
  metrics.observedGauge("weir_group_offsets_pending", "Partitions whose committed offset waits for a transaction to end.", () =>
    counts.countPending(),
  );
  metrics.observedGauge("weir_group_partitions_loading", "Partitions of __consumer_offsets that are being read.", () =>
    counts.countLoading(),
  );
  metrics.observedSeries(
    "kafka_consumergroup_lag",
    "Records between a group's committed offset and the partition's end; 0 when it has caught up.",
    ["consumergroup", "topic", "partition"],
    () => lagSeries(counts.readLags()),
  );
  metrics.observedGauge("weir_group_lags_omitted", "Committed offsets whose lag is not exposed because there are too many.", () =>
    Math.max(0, counts.countOffsets() - LAG_SERIES_MAX),
  );
  return {
    commits: metrics.counter("weir_group_offset_commits_total", "Offsets committed by clients."),
    expiredOffsets: metrics.counter("weir_group_offsets_expired_total", "Committed offsets removed because their retention ended."),
    rebalances: metrics.counter("weir_group_rebalances_total", "Rebalances begun."),
    completedRebalances: metrics.counter("weir_group_rebalances_completed_total", "Rebalances whose assignment was stored."),
    expiredMembers: metrics.counter("weir_group_members_expired_total", "Members removed because they went silent."),
  };
}

function* lagSeries(lags: Iterable<GroupLag>): Generator<Series> {
  let count = 0;
  for (const { groupId, topic, partition, lag } of lags) {
    if (++count > LAG_SERIES_MAX) return;
    yield { labels: { consumergroup: groupId, topic, partition: String(partition) }, value: lag };
  }
}
