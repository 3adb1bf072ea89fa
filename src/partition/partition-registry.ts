/**
 * The partitions that this broker owns and has open. Logs open lazily, once each however many requests ask (they wait for the same promise), and close
 * when the metadata log says that the topic is gone or that the term has moved on.
 *
 * Opening = the storage stream (with what recovery found of it) + the newest checkpoint + the headers of the batches above it.
 *
 * Invariant: at most one PartitionLog per stream; it serves only while the image says "this broker, this term".
 */
import type { Clock, TimerHandle } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import type { Config } from "../config/config.ts";
import type { ClusterMetadata, PartitionView } from "../metadata/cluster-metadata.ts";
import type { CommittedRangesPort } from "../storage/ports.ts";
import type { Storage } from "../storage/storage.ts";
import type { Stream } from "../storage/types.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import { type Crc32c, viewOf } from "./batch-layout.ts";
import { decodeCheckpoint } from "./checkpoint-format.ts";
import { copySlice, forEachBatch, PartitionLog } from "./partition-log.ts";
import type { TopicRulesCache } from "./topic-rules.ts";

/** Why a partition cannot be served here. */
export type Unavailable = "unknown-partition" | "not-owner";
export type Lookup = PartitionLog | Unavailable;

export interface PartitionRegistryOptions {
  readonly storage: Storage;
  /** Where committed data lies: what is kept below a log start for its producer state. */
  readonly ranges: CommittedRangesPort;
  readonly metadata: ClusterMetadata;
  readonly config: Config;
  readonly topicRules: TopicRulesCache;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly crc32c: Crc32c;
  /** Batches between a partition's checkpoints; see `CHECKPOINT_BATCHES`, the default. */
  readonly checkpointBatches?: number;
}

/** Bytes read at once while producer state is rebuilt. */
const REBUILD_READ_BYTES = 4 * 1024 * 1024;

export class PartitionRegistry {
  readonly #options: PartitionRegistryOptions;
  /** By topic id, then partition. */
  readonly #logs = new Map<string, PartitionLog[]>();
  readonly #byStream = new Map<Stream, PartitionLog>();
  readonly #opening = new Map<string, Promise<Lookup>>();
  #expiryTimer: TimerHandle | undefined;
  #openCount = 0;
  #isClosed = false;

  constructor(options: PartitionRegistryOptions) {
    this.#options = options;
    options.metadata.onChange((topicIds) => this.#onMetadataChange(topicIds));
    options.storage.onReleased((streams) => {
      for (const stream of streams) this.#byStream.get(stream)?.onReleased();
    });
    this.#scheduleExpiry();
  }

  get openCount(): number {
    return this.#openCount;
  }

  /** The log when it is open, why it cannot be served, or undefined: it has to be opened first (`open`). */
  find(topicId: string, partition: number): Lookup | undefined {
    const log = this.#logs.get(topicId)?.[partition];
    if (log?.isServing === true) return log;
    const view = this.#options.metadata.image.getPartition(topicId, partition);
    if (view === undefined) return "unknown-partition";
    return view.ownerNodeId === this.#options.config.nodeId ? undefined : "not-owner";
  }

  /** Opens the log unless it is open. Rejects with a Trouble when its state cannot be read; the next call tries again. */
  open(topicId: string, partition: number): Promise<Lookup> {
    const found = this.find(topicId, partition);
    if (found !== undefined) return Promise.resolve(found);
    const key = `${topicId}-${partition}`;
    const running = this.#opening.get(key);
    if (running !== undefined) return running;
    const opening = this.#openUntilCurrent(topicId, partition).finally(() => this.#opening.delete(key));
    this.#opening.set(key, opening);
    return opening;
  }

  /** Closes every log (after a drain: the state is in checkpoints). */
  close(): void {
    this.#isClosed = true;
    this.#expiryTimer?.cancel();
    for (const logs of [...this.#logs.values()]) {
      for (const log of Object.values(logs)) this.#closeLog(log);
    }
  }

  #isLogAppendTime(topicId: string): boolean {
    const topic = this.#options.metadata.image.getTopicById(topicId);
    return topic !== undefined && this.#options.topicRules.get(topic).isLogAppendTime;
  }

  /** Opens again when the image moved on meanwhile. */
  async #openUntilCurrent(topicId: string, partition: number): Promise<Lookup> {
    for (;;) {
      const view = this.#options.metadata.image.getPartition(topicId, partition);
      if (view === undefined) return "unknown-partition";
      if (view.ownerNodeId !== this.#options.config.nodeId || this.#isClosed) return "not-owner";
      const log = await this.#openOnce(topicId, partition, view.term, view.logStartOffset, view.committedEndOffset);
      const now = this.#options.metadata.image.getPartition(topicId, partition);
      if (now !== undefined && now.term === view.term && now.ownerNodeId === view.ownerNodeId && !this.#isClosed) {
        if (hasSuccessor(log, now)) {
          this.#options.storage.closeStream({ topicId, partition });
          return "not-owner";
        }
        log.startServing();
        log.advanceLogStart(now.logStartOffset);
        this.#add(log);
        return log;
      }
      this.#options.storage.closeStream({ topicId, partition });
    }
  }

  async #openOnce(
    topicId: string,
    partition: number,
    term: number,
    logStartOffset: number,
    committedEndOffset: number,
  ): Promise<PartitionLog> {
    const { storage, crc32c, logger, checkpointBatches } = this.#options;
    const id = { topicId, partition };
    const log = new PartitionLog({
      topicId,
      partition,
      term,
      logStartOffset,
      crc32c,
      checkpointBatches,
      isVerificationEnabled: () => this.#options.config.getBoolean("transaction.partition.verification.enable"),
      isLogAppendTime: () => this.#isLogAppendTime(topicId),
    });
    const stream = storage.openStream(id, { term, committedEndOffset, logStartOffset, checkpointSource: log });
    log.attachStream(stream);
    try {
      const bytes = await storage.readCheckpoint(id);
      const checkpoint = bytes === undefined ? undefined : decodeCheckpoint(bytes, crc32c);
      const replayStart = this.#findReplayStart(stream, checkpoint?.endOffset ?? 0, logStartOffset);
      if (checkpoint !== undefined) log.restoreCheckpoint(checkpoint, replayStart);
      const batches = await this.#replay(log, stream, replayStart);
      logger.debug("partition.opened", "A partition log is open.", { topicId, partition, term, batches, endOffset: stream.nextOffset });
      return log;
    } catch (error) {
      storage.closeStream(id);
      throw error;
    }
  }

  /**
   * State above the checkpoint is replayed also from below the log start, as far as its ranges are kept. What was released there is gone from the front; a hole
   * anywhere else is met by the replay, which fails.
   */
  #findReplayStart(stream: Stream, checkpointEnd: number, logStartOffset: number): number {
    const { ranges } = this.#options;
    const firstKept = ranges.findRange(stream.id, checkpointEnd)?.baseOffset ?? ranges.getCommittedEnd(stream.id);
    return Math.max(checkpointEnd, Math.min(firstKept, logStartOffset));
  }

  /** Brings the state up to the stream's end; answers the number of batches read. */
  async #replay(log: PartitionLog, stream: Stream, fromOffset: number): Promise<number> {
    const nowMs = this.#options.clock.wallMs();
    let batches = 0;
    for (let at = fromOffset; at < stream.nextOffset; ) {
      const limits = { endOffset: stream.nextOffset, maxBytes: REBUILD_READ_BYTES, atLeastOneBatch: true };
      const slice = stream.tryRead(at, limits) ?? (await stream.read(at, limits));
      try {
        // Unreadable is not absent: producer state without these batches would take duplicates for new ones.
        if (slice.sizeBytes === 0) throw unreadable(log, at, stream.nextOffset);
        const bytes = await copySlice(slice);
        forEachBatch(bytes, viewOf(bytes), (batch) => {
          log.replayBatch(batch, bytes, nowMs);
          batches += 1;
        });
        at = slice.nextOffset;
      } finally {
        slice.release();
      }
    }
    return batches;
  }

  #add(log: PartitionLog): void {
    const logs = this.#logs.get(log.topicId) ?? [];
    logs[log.partition] = log;
    this.#logs.set(log.topicId, logs);
    this.#byStream.set(log.stream, log);
    this.#openCount += 1;
  }

  #closeLog(log: PartitionLog): void {
    log.close();
    this.#byStream.delete(log.stream);
    this.#openCount -= 1;
    const logs = this.#logs.get(log.topicId);
    if (logs !== undefined) {
      delete logs[log.partition];
      if (Object.keys(logs).length === 0) this.#logs.delete(log.topicId);
    }
    this.#options.storage.closeStream({ topicId: log.topicId, partition: log.partition });
  }

  #onMetadataChange(topicIds: ReadonlySet<string>): void {
    const changed = topicIds.has("*") ? [...this.#logs.keys()] : topicIds;
    for (const topicId of changed) {
      const logs = this.#logs.get(topicId);
      if (logs === undefined) continue;
      for (const log of Object.values(logs)) this.#compareWithImage(log);
    }
  }

  #compareWithImage(log: PartitionLog): void {
    const { metadata, config, logger } = this.#options;
    const view = metadata.image.getPartition(log.topicId, log.partition);
    if (view !== undefined && view.ownerNodeId === config.nodeId && view.term === log.term && !hasSuccessor(log, view)) {
      log.advanceLogStart(view.logStartOffset);
      return;
    }
    const reason =
      view === undefined ? "topic deleted" : `owned by ${view.ownerNodeId} under term ${view.term}, begins at ${view.logStartOffset}`;
    logger.debug("partition.closed", `A partition log is closed: ${reason}.`, { topicId: log.topicId, partition: log.partition });
    this.#closeLog(log);
  }

  #scheduleExpiry(): void {
    const { clock, config } = this.#options;
    const intervalMs = config.getNumber("producer.id.expiration.check.interval.ms");
    this.#expiryTimer = clock.schedule(intervalMs, () => {
      const expirationMs = config.getNumber("producer.id.expiration.ms");
      const nowMs = clock.wallMs();
      for (const logs of this.#logs.values()) {
        for (const log of Object.values(logs)) log.expireProducers(nowMs, expirationMs);
      }
      this.#scheduleExpiry();
    });
  }
}

/**
 * The log begins above the end that is known here: a process that took this one's place under the same term (a restart keeps it) has written more, and cut it off.
 * This one will hear of its own end.
 */
function hasSuccessor(log: PartitionLog, { logStartOffset }: PartitionView): boolean {
  return logStartOffset > log.logEndOffset;
}

function unreadable(log: PartitionLog, fromOffset: number, endOffset: number): Trouble {
  return new Trouble({
    code: "partition-unreadable",
    message: `partition ${log.topicId}-${log.partition}: nothing can be read at offset ${fromOffset}, below its end ${endOffset}`,
    retryable: true,
    remedy: "It is tried again; the partition stays closed until then.",
  });
}
