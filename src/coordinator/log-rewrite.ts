/**
 * Keeps a coordinator's log about as long as what it says: when it has grown to a multiple of the state in memory, the records of the whole state are appended
 * once more, and then the log begins where that began. Replay is "the last one wins", so a crash at any step finds the same state. In place of Kafka's log
 * cleaner; docs/decisions/0008 says why.
 *
 * Invariants
 * - A slice of records is made from memory in the synchronous step in which it is given to the log: log order stays the order of memory.
 * - The log never begins above the last stable offset as it was when the rewrite began: all records of a transaction that was open then, or came later, stay.
 * - It begins later only when all that was written is durable and in segment objects, by the durable way that DeleteRecords takes.
 * - One slice at a time is on its way, and one log of a coordinator at a time is written anew. When the shard ends, the rewrite ends with it: nothing is lost.
 *
 * Neighbours: `shard-log.ts` (the log), `group/group-state-records.ts` and `transaction/transaction-state-records.ts` (whose records).
 */
import type { Clock } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import type { ClusterMetadata } from "../metadata/cluster-metadata.ts";
import type { CheckedBatch } from "../partition/batch-validation.ts";
import type { Counter, Logger, Metrics } from "../telemetry/telemetry.ts";
import type { ShardLog } from "./shard-log.ts";

export interface StateRecord {
  readonly key: Uint8Array;
  /** null: a tombstone. */
  readonly value: Uint8Array | null;
}

/** A shard's state as the records that a replay of its log would need. */
export interface StateRecords<Item extends StateRecord> {
  /** What they all would take, about; must be cheap. */
  estimateBytes(): number;
  /** Each is made when it is asked for. What comes into being meanwhile need not be among them: its own records come later in the log. */
  records(): Iterator<Item, void>;
  /** Undefined when a record is larger than the topic takes. */
  build(records: readonly Item[]): readonly CheckedBatch[] | undefined;
}

export interface LogRewritesOptions {
  readonly topicName: string;
  readonly clock: Clock;
  readonly metadata: Pick<ClusterMetadata, "advanceLogStarts">;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Default REWRITE_ABOVE_BYTES. */
  readonly rewriteAboveBytes?: number | undefined;
}

/** A log below this is loaded in a fraction of a second. */
export const REWRITE_ABOVE_BYTES = 16 * 1024 * 1024;
/** A log may be so many times as large as its state: it is written once for each twofold growth, and read at most threefold. */
const MOST_TIMES_STATE = 3;
/** Written at one stretch: about a millisecond, and a small part of the least log. */
const SLICE_BYTES = 64 * 1024;
const SLICES_PER_LOG = 8;
/** Pause after a slice, in times of what it took. */
const PAUSE_TIMES = 3;
const MIN_PAUSE_MS = 1;
/** Between two looks at whether segment objects hold what was written, and between two tries to move the log's start. */
const LOOK_EVERY_MS = 1_000;
const ADVANCE_DEADLINE_MS = 60_000;
/** Between two looks at the size the log grows by this part of the least. */
const LOOKS_PER_GROWTH = 8;

/** What the rewrites of one coordinator share. */
export class LogRewrites {
  readonly options: LogRewritesOptions;
  readonly aboveBytes: number;
  readonly sliceBytes: number;
  readonly rewrites: Counter;
  readonly writtenBytes: Counter;
  #lastTurn: Promise<void> = Promise.resolve();

  constructor(options: LogRewritesOptions) {
    const { metrics, topicName: topic } = options;
    this.options = options;
    this.aboveBytes = options.rewriteAboveBytes ?? REWRITE_ABOVE_BYTES;
    this.sliceBytes = Math.min(SLICE_BYTES, this.aboveBytes / SLICES_PER_LOG);
    this.rewrites = metrics.counter(
      "weir_coordinator_rewrites_total",
      "Partitions of internal topics that were written anew and cut off before.",
      { topic },
    );
    this.writtenBytes = metrics.counter("weir_coordinator_rewritten_bytes_total", "Bytes that rewrites of internal topics appended.", {
      topic,
    });
  }

  /** Resolves when all who asked before have ended theirs, with what ends this one. */
  async takeTurn(): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#lastTurn;
    this.#lastTurn = promise;
    await before;
    return resolve;
  }
}

interface Progress {
  records: number;
  bytes: number;
}

/** Of one shard. */
export class LogRewrite<Item extends StateRecord> {
  readonly #shared: LogRewrites;
  readonly #log: ShardLog;
  readonly #state: StateRecords<Item>;
  #isRunning = false;
  #isLoaded = false;
  /** The size at which it is worth looking again. */
  #nextLookBytes: number;
  /** What the last rewrite wrote, over what had been estimated. */
  #correction = 1;

  constructor(shared: LogRewrites, log: ShardLog, state: StateRecords<Item>) {
    this.#shared = shared;
    this.#log = log;
    this.#state = state;
    this.#nextLookBytes = shared.aboveBytes;
    log.watchGrowth(() => this.#look());
  }

  /** The state is all in memory. */
  onLoaded(): void {
    this.#isLoaded = true;
    this.#look();
  }

  #look(): void {
    const log = this.#log;
    if (log.sizes.bytes < this.#nextLookBytes || this.#isRunning || !this.#isLoaded || log.isClosed) return;
    const { aboveBytes } = this.#shared;
    this.#nextLookBytes = log.sizes.bytes + aboveBytes / LOOKS_PER_GROWTH;
    const freeableBytes = log.sizes.bytesBelow(log.log.lastStableOffset);
    if (freeableBytes < aboveBytes) return;
    const estimatedBytes = this.#state.estimateBytes();
    if (freeableBytes < MOST_TIMES_STATE * this.#correction * estimatedBytes) return;
    this.#isRunning = true;
    void this.#run(estimatedBytes);
  }

  async #run(estimatedBytes: number): Promise<void> {
    const { clock } = this.#shared.options;
    const endTurn = await this.#shared.takeTurn();
    try {
      // Whoever appended just now comes first.
      await clock.sleep(0);
      if (this.#log.isClosed) return;
      await this.#rewrite(estimatedBytes, endTurn);
    } finally {
      endTurn();
      this.#isRunning = false;
    }
    this.#look();
  }

  async #rewrite(estimatedBytes: number, endTurn: () => void): Promise<void> {
    const log = this.#log;
    const { clock, logger, topicName: topic } = this.#shared.options;
    const { partition } = log.log;
    const startedMs = clock.monotonicMs();
    const startOffset = log.log.lastStableOffset;
    const before = { records: log.log.logEndOffset - log.log.logStartOffset, bytes: log.sizes.bytes };
    const written = await this.#write();
    if (written === "too-large") {
      this.#nextLookBytes = log.sizes.bytes * 2;
      logger.warn("coordinator.rewrite-failed", "a record of the state is larger than the topic takes now", { topic, partition });
      return;
    }
    if (!(await log.allDurable())) return;
    const endOffset = log.log.logEndOffset;
    endTurn();
    if (estimatedBytes > 0 && written.bytes > 0) this.#correction = written.bytes / estimatedBytes;
    if (!(await this.#moveStart(startOffset, endOffset))) {
      this.#nextLookBytes = log.sizes.bytes * 2;
      return;
    }
    log.sizes.trimTo(startOffset);
    this.#nextLookBytes = this.#shared.aboveBytes;
    this.#shared.rewrites.add(1);
    logger.info("coordinator.rewritten", "a partition's state was written anew, and what lay before is gone", {
      topic,
      partition,
      recordsBefore: before.records,
      recordsAfter: log.log.logEndOffset - startOffset,
      recordsWritten: written.records,
      bytesBefore: before.bytes,
      bytesAfter: log.sizes.bytes,
      elapsedMs: Math.round(clock.monotonicMs() - startedMs),
    });
  }

  /** Appends the records of the whole state; returns early when the log is closed. */
  async #write(): Promise<Progress | "too-large"> {
    const { clock } = this.#shared.options;
    const progress: Progress = { records: 0, bytes: 0 };
    const source = this.#state.records();
    for (;;) {
      const startedMs = clock.monotonicMs();
      const slice = takeSlice(source, this.#shared.sliceBytes);
      if (slice.length === 0) return progress;
      const batches = this.#state.build(slice);
      if (batches === undefined) return "too-large";
      this.#log.append(batches, () => {});
      const sizeBytes = batches.reduce((sum, { bytes }) => sum + bytes.length, 0);
      progress.records += slice.length;
      progress.bytes += sizeBytes;
      this.#shared.writtenBytes.add(sizeBytes);
      const tookMs = clock.monotonicMs() - startedMs;
      if (!(await this.#log.allDurable())) return progress;
      await clock.sleep(Math.max(MIN_PAUSE_MS, PAUSE_TIMES * tookMs));
    }
  }

  /** False when the shard ended before. */
  async #moveStart(offset: number, writtenEnd: number): Promise<boolean> {
    const { clock, metadata } = this.#shared.options;
    const { log } = this.#log;
    const { topicId, partition, term } = log;
    // Nothing that segment objects hold is given up for what only the WAL holds.
    while (!this.#log.isClosed && log.stream.committedEndOffset < writtenEnd) await clock.sleep(LOOK_EVERY_MS);
    while (!this.#log.isClosed) {
      try {
        const [isAccepted] = await metadata.advanceLogStarts([{ topicId, partition, term, offset, releaseBelow: 0 }], ADVANCE_DEADLINE_MS);
        return isAccepted === true && !this.#log.isClosed;
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
      }
      await clock.sleep(LOOK_EVERY_MS);
    }
    return false;
  }
}

function takeSlice<Item extends StateRecord>(source: Iterator<Item, void>, sizeBytes: number): Item[] {
  const slice: Item[] = [];
  for (let bytes = 0; bytes < sizeBytes; ) {
    const next = source.next();
    if (next.done === true) return slice;
    slice.push(next.value);
    bytes += next.value.key.length + (next.value.value?.length ?? 0);
  }
  return slice;
}
