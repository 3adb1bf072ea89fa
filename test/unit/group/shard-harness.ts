/** One shard of the group coordinator over a log in memory, and all that it knows as text. */
import { TimerQueue } from "../../../src/coordinator/timer-queue.ts";
import type { AnyGroup } from "../../../src/group/any-group.ts";
import { encodeChange } from "../../../src/group/consumer/consumer-group-records.ts";
import { PatternMatches } from "../../../src/group/consumer/pattern-matches.ts";
import { TopicWatch } from "../../../src/group/consumer/topic-watch.ts";
import { CoordinatorShard } from "../../../src/group/coordinator-shard.ts";
import { declareGroupMetrics, type GroupCounts } from "../../../src/group/group-metrics.ts";
import { CrashingLog, LOG_TOPIC_ID, loadFully, NOTHING, type Remains, show } from "../coordinator/crashing-log.ts";
import { fakeConfig } from "../support/fake-config.ts";
import { FakeMetadata } from "../support/fake-metadata.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { decompressForTest } from "../support/record-batches.ts";
import { NO_METRICS } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

/** For metrics that nobody reads. */
export const NO_COUNTS: GroupCounts = {
  countGroups: () => 0,
  countMembers: () => 0,
  countOffsets: () => 0,
  countPending: () => 0,
  countLoading: () => 0,
  readLags: () => [],
};

/** What stays when a shard dies, besides its log. */
export interface Surroundings {
  readonly rewriteAboveBytes: number;
  readonly clock: ManualClock;
  readonly metadata: FakeMetadata;
  readonly random: SeededRandom;
}

export function newSurroundings(rewriteAboveBytes: number): Surroundings {
  return { rewriteAboveBytes, clock: new ManualClock(), metadata: new FakeMetadata(), random: new SeededRandom(7) };
}

export class ShardHarness {
  readonly around: Surroundings;
  readonly log: CrashingLog;
  readonly shard: CoordinatorShard;

  constructor(around: Surroundings, remains: Remains = NOTHING) {
    const { clock, metadata, random } = around;
    this.around = around;
    this.log = new CrashingLog(around.rewriteAboveBytes, clock, remains);
    const { logger, rewrites, shardLog } = this.log;
    const watch = new TopicWatch(metadata.image);
    this.shard = new CoordinatorShard(
      {
        partition: 0,
        topicName: "__consumer_offsets",
        topicId: LOG_TOPIC_ID,
        gate: { verify: async ({ partitions }) => partitions.map(() => 0), tryAwaitChange: () => undefined },
        settings: {
          initialRebalanceDelayMs: 10,
          maxSize: 1_000,
          offsetMetadataMaxBytes: 4096,
          loadBufferBytes: 1 << 20,
          offsetsRetentionMs: 60_000,
          commitTimeoutMs: 1_000_000,
        },
        config: fakeConfig({ "group.consumer.assignment.interval.ms": "0" }),
        clock,
        random,
        timers: new TimerQueue(clock),
        logger,
        metrics: declareGroupMetrics(NO_METRICS, NO_COUNTS),
        crc32c: tableCrc32c,
        decompress: decompressForTest,
        rewrites,
        maxBatchBytes: () => 1 << 20,
        image: () => metadata.image,
        topicsVersion: () => watch.version,
        patterns: new PatternMatches(clock, watch),
      },
      shardLog,
    );
    this.log.onLost = () => this.shard.close();
  }

  /** Another coordinator reads what is left of this log, or of another. */
  async crash(remains: Remains = this.log.remains): Promise<ShardHarness> {
    const next = new ShardHarness(this.around, remains);
    this.shard.close();
    await loadFully(next.shard, this.around.clock);
    return next;
  }

  /** All that the shard knows and a log can say. */
  dump(): unknown {
    const groups = [...this.shard.groups()].map(describe).sort((a, b) => (a.groupId < b.groupId ? -1 : 1));
    const offsets = groups.map(({ groupId }) => [...this.shard.offsets.entries(groupId)].map(show).sort());
    const pending = [...this.shard.pending.all()].map((entry) => show({ ...entry, order: 0 })).sort();
    return { groups, offsets, pending };
  }
}

function describe(group: AnyGroup) {
  const { groupId, kind } = group;
  if (group.kind === "consumer") {
    const records = Array.from(group.changes(), (change) => show(encodeChange(groupId, change))).sort();
    const patterns = show(new Map(group.patterns()));
    const targets = show(new Map(group.targets()));
    return { groupId, kind, state: group.state, records, patterns, targets, owners: [...ownersOf(group)].sort() };
  }
  const { state, generation, protocolType, protocolName, roster } = group;
  const members = Array.from(roster.all(), (member) => show({ ...member, session: undefined })).sort();
  return { groupId, kind, state, generation, protocolType, protocolName, leaderId: roster.leaderId, members };
}

function* ownersOf(group: AnyGroup & { readonly kind: "consumer" }): Generator<string> {
  for (const { memberId, progress } of group.members()) {
    for (const owned of [progress.assigned, progress.pendingRevocation]) {
      for (const [topicId, partitions] of owned) {
        for (const partition of partitions.keys()) {
          yield `${topicId}-${partition}: ${memberId} has it, the group says ${group.getOwner(topicId, partition)}`;
        }
      }
    }
  }
}
