/** What every handler is given: the rooms below, as interfaces or small classes, made once by the wire-up. */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { Config } from "../config/config.ts";
import type { MarkerWriter } from "../coordinator/marker-writer.ts";
import type { GroupCoordinator } from "../group/group-coordinator.ts";
import type { ClusterMetadata } from "../metadata/cluster-metadata.ts";
import type { Crc32c } from "../partition/batch-layout.ts";
import type { Decompress } from "../partition/batch-validation.ts";
import type { FetchWaiters } from "../partition/fetch-waiters.ts";
import type { PartitionRegistry } from "../partition/partition-registry.ts";
import type { TopicRulesCache } from "../partition/topic-rules.ts";
import type { TransactionGate } from "../partition/transaction-ports.ts";
import type { BlockCodecs } from "../protocol/compression.ts";
import type { Storage } from "../storage/storage.ts";
import type { Logger, Metrics } from "../telemetry/telemetry.ts";
import type { TransactionCoordinator } from "../transaction/transaction-coordinator.ts";

export interface ApiServices {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly metadata: ClusterMetadata;
  readonly storage: Storage;
  readonly partitions: PartitionRegistry;
  readonly waiters: FetchWaiters;
  readonly topicRules: TopicRulesCache;
  readonly groups: GroupCoordinator;
  readonly transactions: TransactionCoordinator;
  /** What is asked before a transaction's first batch in a partition: the coordinator, or who asks it. */
  readonly gate: TransactionGate;
  readonly markers: MarkerWriter;
  readonly crc32c: Crc32c;
  /** Content of a compressed batch, bounded; see protocol's compression. */
  readonly decompress: Decompress;
  /** Absent: records are looked at one by one, and batches stay in the producer's codec. */
  readonly blockCodecs?: BlockCodecs;
}
