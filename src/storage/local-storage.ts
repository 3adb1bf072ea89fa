/**
 * `Storage` over one WAL: opens streams on what the WAL recovered, and joins WAL, uploader, block cache and readers. All that decides
 * when bytes are durable is the WAL's; all that decides what objects hold is the metadata's, through the ports.
 */
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { Jobs } from "../base/jobs.ts";
import type { Random } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";
import type { Logger, Metrics } from "../telemetry/telemetry.ts";
import { MemoryBudget } from "./cache/memory-budget.ts";
import { SegmentCache } from "./cache/segment-cache.ts";
import type { CommittedRangesPort, ObjectCommitPort } from "./ports.ts";
import { type Crc32c, SEGMENT_TAIL_BYTES, segmentDamaged } from "./segment/segment-format.ts";
import type { OpenStreamOptions, Storage, StorageState } from "./storage.ts";
import { CatchUpReader } from "./stream/catch-up-reader.ts";
import { DamageHold } from "./stream/damage-hold.ts";
import { LocalStream } from "./stream/local-stream.ts";
import { ObjectReader } from "./stream/object-reader.ts";
import { RecoveredTails } from "./stream/recovered-tails.ts";
import { ReleaseTracker } from "./stream/release-tracker.ts";
import { RetainedTails } from "./stream/retained-tails.ts";
import type { StreamLog } from "./stream/stream-log.ts";
import { type Lsn, type Reservation, type Stream, type StreamId, type StreamKey, streamKey, type WalPosition } from "./types.ts";
import { EndlessRetry } from "./upload/endless-retry.ts";
import type { MakeObjectKey } from "./upload/object-keys.ts";
import { type IsBatchCompressed, PartBuilder } from "./upload/part-builder.ts";
import { Uploader } from "./upload/uploader.ts";
import type { DamageReport, RecoveredEntry, Wal } from "./wal/wal.ts";

export interface LocalStorageOptions {
  readonly wal: Wal;
  /** From `openWal`, in LSN order. */
  readonly recovered: readonly RecoveredEntry[];
  /** From `openWal`; undefined: the WAL is whole. */
  readonly damage?: DamageReport | undefined;
  /** All streams that were this broker's when the WAL was opened; asked for only when it is damaged. */
  readonly listStreams: () => Iterable<StreamId>;
  /** What the metadata log holds for this WAL; undefined: nothing yet. */
  readonly committedPosition: WalPosition | undefined;
  readonly store: ObjectStore;
  readonly commits: ObjectCommitPort;
  readonly ranges: CommittedRangesPort;
  readonly makeObjectKey: MakeObjectKey;
  readonly isBatchCompressed: IsBatchCompressed;
  readonly clock: Clock;
  readonly random: Random;
  readonly jobs: Jobs;
  readonly crc32c: Crc32c;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly blockCacheBytes: number;
  readonly catchUpMemoryBytes: number;
  readonly uploadSizeBytes: number;
  readonly uploadIntervalMs: number;
  readonly segmentZstdLevel: number;
  /** For tests: memory of uploads that is used again is filled with poison first. */
  readonly poisonReleased?: boolean;
  /** Default 4. */
  readonly maxParallelUploads?: number;
  /** References to committed batches kept for reads from ring and device; default 1,000,000 (52 bytes each). */
  readonly maxRetainedBatches?: number;
}

const BLANK_POSITION: WalPosition = { lsn: 0 as Lsn, predecessorChecksum: 0, walEpoch: 0 };
const CHECKPOINT_ATTEMPTS = 4;

export class LocalStorage implements Storage {
  private readonly wal: Wal;
  private readonly ranges: CommittedRangesPort;
  private readonly releases = new ReleaseTracker();
  private readonly damageHold: DamageHold;
  private readonly recovered: RecoveredTails;
  private readonly retained: RetainedTails;
  private readonly cache: SegmentCache;
  private readonly reader: CatchUpReader;
  private readonly retry: EndlessRetry;
  private readonly walRetry: EndlessRetry;
  private readonly uploader: Uploader;
  /** Private memory by purpose: each is 0 when nothing is under way. */
  private readonly sliceBudget: MemoryBudget;
  private readonly loadBudget: MemoryBudget;
  private readonly fetchBudget: MemoryBudget;
  private readonly uploadBudget: MemoryBudget;
  private readonly open = new Map<StreamKey, LocalStream>();
  /** Open streams, and closed ones whose tail is not in objects yet. */
  private readonly logs = new Map<StreamKey, StreamLog>();
  private readonly releaseListeners: ((streams: readonly Stream[]) => void)[] = [];
  private uploadFailure: string | undefined;

  constructor(options: LocalStorageOptions) {
    const { wal, metrics } = options;
    this.wal = wal;
    this.ranges = options.ranges;
    const { damage, recovered } = options;
    this.damageHold = new DamageHold(damage, recovered, damage === undefined ? [] : options.listStreams());
    this.recovered = new RecoveredTails(recovered, options.ranges, this.damageHold);
    this.retained = new RetainedTails(wal, options.maxRetainedBatches ?? 1_000_000);
    this.sliceBudget = new MemoryBudget(Math.max(Math.floor(options.catchUpMemoryBytes / 2), 1));
    this.loadBudget = new MemoryBudget(Math.max(Math.floor(options.catchUpMemoryBytes / 4), 1));
    this.fetchBudget = new MemoryBudget(Math.max(Math.floor(options.catchUpMemoryBytes / 4), SEGMENT_TAIL_BYTES));
    const maxParallelUploads = options.maxParallelUploads ?? 4;
    this.uploadBudget = new MemoryBudget(maxParallelUploads * PartBuilder.memoryBytes(options.uploadSizeBytes));
    this.cache = new SegmentCache({
      store: options.store,
      jobs: options.jobs,
      crc32c: options.crc32c,
      capacityBytes: options.blockCacheBytes,
      fetchBudget: this.fetchBudget,
      clock: options.clock,
      poisonReleased: options.poisonReleased ?? false,
    });
    this.reader = new CatchUpReader({
      wal,
      objects: new ObjectReader(options.ranges, this.cache),
      clock: options.clock,
      logger: options.logger,
      sliceBudget: this.sliceBudget,
      loadBudget: this.loadBudget,
    });
    const { clock, random, logger } = options;
    this.retry = new EndlessRetry(clock, random, logger, {
      failing: "upload.waiting",
      working: "upload.resumed",
      // An attempt whose outcome is not known is everyday life, and so is a second one.
      fromAttempt: 3,
    });
    this.walRetry = new EndlessRetry(clock, random, logger, { failing: "wal.unreadable", working: "wal.readable" });
    this.uploader = new Uploader({
      ...options,
      builder: new PartBuilder({ ...options, zstdLevel: options.segmentZstdLevel }),
      retry: this.retry,
      walRetry: this.walRetry,
      budget: this.uploadBudget,
      maxParallelUploads,
      committedPosition: options.committedPosition ?? BLANK_POSITION,
      canAdvance: () => this.recovered.isEmpty,
      onCommitted: this.onCommitted,
      onFailed: (error) => {
        this.uploadFailure = error instanceof Error ? error.message : String(error);
      },
    });
    wal.onReleased(this.onWalReleased);
    wal.onStateChange(() => this.uploader.noteWalPressure());
    metrics.observedGauge("weir_block_cache_bytes", "Private memory of cached blocks and indexes.", () => this.cache.usedBytes);
    metrics.observedGauge(
      "weir_catch_up_bytes",
      "Private memory of answers read from device or objects.",
      () => this.sliceBudget.usedBytes,
    );
    metrics.observedGauge("weir_fetch_bytes", "Memory claimed by reads of the object store under way.", () => this.fetchBudget.usedBytes);
    metrics.observedGauge(
      "weir_held_partitions",
      "Partitions held because the WAL is damaged where records of theirs may have lain.",
      () => this.damageHold.size,
    );
    metrics.observedGauge("weir_wal_full", "1 while appends wait until uploads have freed the WAL.", () =>
      wal.state.kind === "full" ? 1 : 0,
    );
    metrics.observedGauge("weir_upload_bytes", "Private copies held by uploads under way.", () => this.uploadBudget.usedBytes);
  }

  get state(): StorageState {
    const { kind, reason } = this.wal.state;
    if (this.uploadFailure !== undefined && kind !== "failed")
      return { kind: "failed", reason: `uploads have stopped: ${this.uploadFailure}` };
    if (kind !== "full") return reason === undefined ? { kind } : { kind, reason };
    const trouble = this.storeTrouble;
    if (this.heldStreamCount > 0)
      return { kind: "wal-full", reason: `the WAL is damaged and keeps its place for ${this.heldStreamCount} held streams` };
    return {
      kind: "wal-full",
      reason: trouble === undefined ? "appends wait for uploads" : `appends wait for uploads: ${trouble.message}`,
    };
  }

  /** The trouble (of the store, the metadata log, or the device at reading) that uploads are waiting out at present. */
  get storeTrouble(): Trouble | undefined {
    return this.retry.trouble ?? this.walRetry.trouble;
  }

  /** Streams that are not opened because the WAL is damaged where records of theirs may have lain. */
  get heldStreamCount(): number {
    return this.damageHold.size;
  }

  /** M12: bytes of private memory held by reads and uploads; 0 when every slice was released and no upload is under way. */
  get heldBytes(): number {
    return this.sliceBudget.usedBytes + this.loadBudget.usedBytes + this.fetchBudget.usedBytes + this.uploadBudget.usedBytes;
  }

  tryReserve(bytes: number, batches: number): Reservation | undefined {
    return this.wal.tryReserve(bytes, batches);
  }

  reserve(bytes: number, batches: number, signal?: AbortSignal): Promise<Reservation> {
    return this.wal.reserve(bytes, batches, signal);
  }

  openStream(id: StreamId, options: OpenStreamOptions): Stream {
    const key = streamKey(id);
    assert(!this.open.has(key), `stream ${key} is open once`);
    const log = this.reopenLog(key, options) ?? this.recovered.open(id, options);
    log.checkpointSource = options.checkpointSource;
    this.logs.set(key, log);
    const stream = new LocalStream({
      log,
      wal: this.wal,
      releases: this.releases,
      reader: this.reader,
      noteAppend: (written, bytes) => this.uploader.noteAppend(written, bytes),
    });
    this.open.set(key, stream);
    if (log.dirtyBytes > 0 && !log.isDirty) {
      const bytes = log.dirtyBytes;
      log.dirtyBytes = 0;
      this.uploader.noteAppend(log, bytes);
    }
    return stream;
  }

  /** A stream that was closed and still has a tail goes on with it. */
  private reopenLog(key: StreamKey, options: OpenStreamOptions): StreamLog | undefined {
    const log = this.logs.get(key);
    if (log === undefined) return undefined;
    if (options.committedEndOffset > log.durableEndOffset || options.term < log.term) {
      throw new Trouble({
        code: "stream-not-settled",
        message: `stream ${key} is committed to ${options.committedEndOffset} under term ${options.term}, but an earlier tail of it (to ${log.nextOffset}, term ${log.term}) is still being uploaded`,
        retryable: true,
      });
    }
    log.term = options.term;
    log.advanceCommitted(options.committedEndOffset);
    log.logStartOffset = Math.max(log.logStartOffset, options.logStartOffset);
    return log;
  }

  closeStream(id: StreamId): void {
    const key = streamKey(id);
    const stream = this.open.get(key);
    if (stream === undefined) return;
    stream.close();
    this.open.delete(key);
    stream.log.checkpointSource = undefined;
    if (stream.log.isCommitted) this.logs.delete(key);
  }

  getRecoveredStreams(): readonly StreamId[] {
    return this.recovered.getStreams();
  }

  /** The metadata log, read to its end after the fence, does not know the topic: what the WAL holds of it, or has lost, need not be kept. */
  dropRecovered(id: StreamId): void {
    this.recovered.drop(id);
    this.uploader.noteWalPressure();
  }

  whenDurable(): Promise<void> {
    return this.wal.whenDurable();
  }

  onReleased(listener: (streams: readonly Stream[]) => void): void {
    this.releaseListeners.push(listener);
  }

  private readonly onWalReleased = (releasedThrough: Lsn): void => {
    const streams: Stream[] = [];
    for (const log of this.releases.release(releasedThrough)) {
      const stream = this.open.get(log.key);
      if (stream !== undefined) streams.push(stream);
    }
    if (streams.length > 0) for (const listener of this.releaseListeners) listener(streams);
    this.uploader.noteWalPressure();
  };

  private readonly onCommitted = (log: StreamLog, count: number): void => {
    this.retained.noteCommitted(log, log.committedSequence, count);
    if (log.isCommitted && !this.open.has(log.key) && this.logs.get(log.key) === log) this.logs.delete(log.key);
  };

  async readCheckpoint(id: StreamId): Promise<Uint8Array | undefined> {
    let missingKey: string | undefined;
    for (let attempt = 0; attempt < CHECKPOINT_ATTEMPTS; attempt += 1) {
      const place = this.ranges.getCheckpoint(id);
      if (place === undefined) return undefined;
      if (place.objectKey === missingKey) break;
      const index = await this.cache.getIndex(place.objectKey, id);
      const entry = index?.findStream(id);
      if (index !== undefined && entry?.checkpoint?.endOffset !== place.endOffset) {
        throw segmentDamaged(place.objectKey, "index", `it lacks the checkpoint of ${streamKey(id)} at ${place.endOffset}`);
      }
      const bytes = index === undefined || entry === undefined ? undefined : await this.cache.readCheckpoint(index, entry);
      if (bytes !== undefined) return bytes;
      this.cache.forget(place.objectKey);
      missingKey = place.objectKey;
    }
    throw new Trouble({
      code: "segment-missing",
      message: `segment object ${missingKey} is not in the store, but the metadata log says that it holds the checkpoint of ${streamKey(id)}`,
      retryable: true,
      remedy: "Restore the object from the bucket's versions or a backup.",
    });
  }

  async flushToObjects(signal?: AbortSignal): Promise<void> {
    await this.uploader.flush(signal);
  }

  async close(): Promise<void> {
    await this.uploader.close();
    for (const stream of this.open.values()) stream.close();
    await this.wal.close();
  }
}
