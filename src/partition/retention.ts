/**
 * Retention (`cleanup.policy` with `delete`): every `log.retention.check.interval.ms` the owner of a partition lets its log begin later, where committed
 * ranges have outlived `retention.ms` or the log is larger than `retention.bytes` without them. A committed range stands where Kafka has a segment: it is
 * kept or dropped whole, and what is not yet in an object is never dropped. The new start is in the metadata log before anybody sees it; whether an
 * object may then be deleted follows from its references.
 *
 * Rules as in UnifiedLog: oldest first, stopping at the first range that stays; a range has expired when its newest record is older than `retention.ms`; for
 * `retention.bytes` a range goes while the rest is still at least that large.
 *
 * Ranges above the newest checkpoint keep the producer state that lies nowhere else; they are released once producers of that age have expired anyway.
 */
import type { Clock, TimerHandle } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import type { Config } from "../config/config.ts";
import type { ClusterMetadata, LogStart, PartitionView, TopicView } from "../metadata/cluster-metadata.ts";
import type { CommittedRange, CommittedRangesPort } from "../storage/ports.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import type { TopicRulesCache } from "./topic-rules.ts";

export interface RetentionOptions {
  readonly metadata: ClusterMetadata;
  readonly ranges: CommittedRangesPort;
  readonly topicRules: TopicRulesCache;
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** In Java's longs: -1 is "no limit". */
export interface RetentionRules {
  readonly retentionMs: number;
  readonly retentionBytes: number;
}

/** Changes sent to the metadata log at once. */
const STARTS_PER_CHANGE = 1_000;
const CHANGE_DEADLINE_MS = 60_000;

/** Where a log should begin: at least `logStartOffset`. `ranges` in offset order. */
export function findRetainedStart(
  ranges: readonly CommittedRange[],
  logStartOffset: number,
  { retentionMs, retentionBytes }: RetentionRules,
  nowMs: number,
): number {
  let sizeBytes = 0;
  for (const range of ranges) if (range.endOffset > logStartOffset) sizeBytes += range.sizeBytes;
  let start = logStartOffset;
  for (const range of ranges) {
    if (range.endOffset <= logStartOffset) continue;
    const hasExpired = retentionMs >= 0 && nowMs - range.maxTimestampMs > retentionMs;
    const isSurplus = retentionBytes >= 0 && sizeBytes - range.sizeBytes >= retentionBytes;
    if (!hasExpired && !isSurplus) break;
    sizeBytes -= range.sizeBytes;
    start = range.endOffset;
  }
  return start;
}

/** End of the leading ranges, below `limit`, whose newest record is older than `ageMs`. */
function findExpiredEnd(ranges: readonly CommittedRange[], limit: number, ageMs: number, nowMs: number): number {
  let end = 0;
  for (const range of ranges) {
    if (range.endOffset > limit || nowMs - range.maxTimestampMs <= ageMs) break;
    end = range.endOffset;
  }
  return end;
}

export class Retention {
  readonly #options: RetentionOptions;
  #timer: TimerHandle | undefined;
  #isClosed = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #schedule(): void {
    const { clock, config } = this.#options;
    if (this.#isClosed) return;
    this.#timer = clock.schedule(config.getNumber("log.retention.check.interval.ms"), () => {
      void this.run().finally(() => this.#schedule());
    });
  }

  /** One pass over the partitions that this broker owns. What fails is tried again by the next pass. */
  async run(): Promise<void> {
    const { metadata, logger } = this.#options;
    const starts: LogStart[] = [];
    for (const topic of metadata.image.topics()) {
      if (this.#options.topicRules.get(topic).isDeleted) this.#collect(topic, starts);
    }
    try {
      for (let at = 0; at < starts.length && !this.#isClosed; at += STARTS_PER_CHANGE) {
        await metadata.advanceLogStarts(starts.slice(at, at + STARTS_PER_CHANGE), CHANGE_DEADLINE_MS);
      }
      if (starts.length > 0)
        logger.info("retention.applied", "logs begin later: their oldest records were past retention", { partitions: starts.length });
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      logger.warn("retention.failed", error.message, { code: error.code, partitions: starts.length });
    }
  }

  #collect(topic: TopicView, starts: LogStart[]): void {
    const { metadata, config } = this.#options;
    for (let partition = 0; partition < topic.partitionCount; partition++) {
      const view = metadata.image.getPartition(topic.topicId, partition);
      if (view?.ownerNodeId !== config.nodeId) continue;
      const start = this.#plan(topic, partition, view);
      if (start !== undefined) starts.push(start);
    }
  }

  #plan(topic: TopicView, partition: number, view: PartitionView): LogStart | undefined {
    const { ranges: port, topicRules, clock, config } = this.#options;
    const { topicId } = topic;
    const ranges = port.getRanges({ topicId, partition });
    const first = ranges[0];
    if (first === undefined) return undefined;
    const nowMs = clock.wallMs();
    const offset = findRetainedStart(ranges, view.logStartOffset, topicRules.get(topic), nowMs);
    const releaseBelow = findExpiredEnd(ranges, offset, config.getNumber("producer.id.expiration.ms"), nowMs);
    if (offset === view.logStartOffset && releaseBelow < first.endOffset) return undefined;
    return { topicId, partition, term: view.term, offset, releaseBelow };
  }
}
