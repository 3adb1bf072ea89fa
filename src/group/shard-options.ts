/** What a shard of the group coordinator is given. */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { Config } from "../config/config.ts";
import type { LogRewrites } from "../coordinator/log-rewrite.ts";
import type { TimerQueue } from "../coordinator/timer-queue.ts";
import type { ImageView } from "../metadata/cluster-metadata.ts";
import type { Decompress } from "../partition/batch-validation.ts";
import type { TransactionGate } from "../partition/transaction-ports.ts";
import type { Crc32c } from "../protocol/record-batch.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import type { PatternMatches } from "./consumer/pattern-matches.ts";
import type { GroupMetrics } from "./group-metrics.ts";

export interface ShardSettings {
  readonly initialRebalanceDelayMs: number;
  readonly maxSize: number;
  readonly offsetMetadataMaxBytes: number;
  readonly loadBufferBytes: number;
  readonly offsetsRetentionMs: number;
  /** How long an answer waits for what it needs to be durable. */
  readonly commitTimeoutMs: number;
}

export interface ShardOptions {
  readonly partition: number;
  readonly topicName: string;
  readonly topicId: string;
  /** Asked before offsets of a transaction are taken. */
  readonly gate: TransactionGate;
  readonly settings: ShardSettings;
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: TimerQueue;
  readonly logger: Logger;
  readonly metrics: GroupMetrics;
  readonly crc32c: Crc32c;
  readonly decompress: Decompress;
  readonly rewrites: LogRewrites;
  /** Largest batch that the topic takes now. */
  maxBatchBytes(): number;
  image(): ImageView;
  /** Rises when topics come, go or grow. */
  topicsVersion(): number;
  readonly patterns: PatternMatches;
}
