/**
 * Moves what the WAL holds into segment objects: cuts by size and age, uploads with some overlap, commits strictly in LSN order,
 * then lets the WAL reuse the range.
 *
 * A cut is one synchronous moment: WAL position, every stream's end and its checkpoint agree. Each object has a key of its own, created
 * once. An object's bytes are freed when every attempt to write it has settled. Nothing is armed while there is nothing to upload: an
 * idle broker wakes nothing and writes nothing.
 *
 * Invariant: `walCommitted` of a commit covers only appends that this commit or an earlier one holds (or whose stream is gone). It stands still while
 * recovered entries wait for their streams to be opened.
 */
import { assert } from "../../base/assert.ts";
import type { Clock, TimerHandle } from "../../base/clock.ts";
import { Trouble } from "../../base/trouble.ts";
import type { ObjectStore } from "../../objectstore/object-store.ts";
import type { Counter, Logger, Metrics } from "../../telemetry/telemetry.ts";
import type { MemoryBudget } from "../cache/memory-budget.ts";
import type { ObjectCommit, ObjectCommitPort, RangeOutcome } from "../ports.ts";
import { FOOTER_BYTES } from "../segment/segment-format.ts";
import type { StreamLog } from "../stream/stream-log.ts";
import type { WalPosition } from "../types.ts";
import type { Wal } from "../wal/wal.ts";
import type { EndlessRetry } from "./endless-retry.ts";
import type { MakeObjectKey } from "./object-keys.ts";
import { PartBuilder } from "./part-builder.ts";
import { type CutRun, type PlannedPart, planParts } from "./upload-plan.ts";

export interface UploaderOptions {
  readonly wal: Wal;
  readonly clock: Clock;
  readonly store: ObjectStore;
  readonly commits: ObjectCommitPort;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly builder: PartBuilder;
  /** Of the object store and the metadata log. */
  readonly retry: EndlessRetry;
  /** Of the WAL's device. */
  readonly walRetry: EndlessRetry;
  readonly makeObjectKey: MakeObjectKey;
  /** Private copies of all uploads together. */
  readonly budget: MemoryBudget;
  readonly uploadSizeBytes: number;
  readonly uploadIntervalMs: number;
  readonly maxParallelUploads: number;
  /** What the metadata log holds for this WAL. */
  readonly committedPosition: WalPosition;
  /** False while recovered entries wait for their streams. */
  readonly canAdvance: () => boolean;
  /** `count` more batches of the log are in objects, or gone. */
  readonly onCommitted: (log: StreamLog, count: number) => void;
  /** The uploader has met something that repeating cannot mend. */
  readonly onFailed: (error: unknown) => void;
}

interface UploadedObject {
  readonly key: string;
  readonly sizeBytes: number;
}

interface Part {
  readonly plan: PlannedPart;
  /** The position up to which the WAL is committed with this part; undefined: where it was. */
  readonly durable: Promise<WalPosition>;
  readonly advances: boolean;
  readonly isLastOfCut: boolean;
  readonly cutNumber: number;
  uploaded: Promise<UploadedObject> | undefined;
}

interface FlushWaiter {
  readonly cutNumber: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const PUT_DEADLINE_MS = 60_000;

export class Uploader {
  private readonly options: UploaderOptions;
  private readonly wal: Wal;
  private readonly stopped = new AbortController();
  private readonly uploadedObjects: Counter;
  private readonly uploadedBytes: Counter;
  private readonly payloadBytes: Counter;

  private dirty: StreamLog[] = [];
  private dirtyBytes = 0;
  private timer: TimerHandle | undefined;
  private isCutDeferred = false;
  /** A cut was due while all uploads were busy. */
  private isCutWanted = false;
  private cutCount = 0;
  private committedCuts = 0;
  private lastCutLsn: number;
  private readonly queue: Part[] = [];
  /** Parts whose upload has begun, in commit order. */
  private readonly started: Part[] = [];
  private uploadingCount = 0;
  private isCommitting = false;
  private committedPosition: WalPosition;
  private flushWaiters: FlushWaiter[] = [];
  private failure: unknown;

  constructor(options: UploaderOptions) {
    this.options = options;
    this.wal = options.wal;
    this.committedPosition = options.committedPosition;
    this.lastCutLsn = options.wal.headLsn;
    const { metrics } = options;
    this.uploadedObjects = metrics.counter("weir_upload_objects_total", "Segment objects committed to the metadata log.");
    this.uploadedBytes = metrics.counter("weir_upload_object_bytes_total", "Bytes of segment objects committed.");
    this.payloadBytes = metrics.counter("weir_upload_payload_bytes_total", "Bytes of record batches in them before our compression.");
    metrics.observedGauge("weir_upload_waiting_bytes", "Bytes of record batches appended and not yet cut.", () => this.dirtyBytes);
    metrics.observedGauge("weir_upload_parts", "Objects being uploaded or waiting for upload or commit.", () => this.partCount);
  }

  private get partCount(): number {
    return this.queue.length + this.started.length;
  }
  get isIdle(): boolean {
    return this.dirty.length === 0 && this.partCount === 0;
  }

  /** Hot path: a batch of `bytes` was appended to (or recovered for) the log. */
  noteAppend(log: StreamLog, bytes: number): void {
    log.dirtyBytes += bytes;
    this.dirtyBytes += bytes;
    if (!log.isDirty) {
      log.isDirty = true;
      this.dirty.push(log);
      if (this.timer === undefined) this.timer = this.options.clock.schedule(this.options.uploadIntervalMs, this.onTimer);
    }
    if (this.dirtyBytes >= this.options.uploadSizeBytes && !this.isCutDeferred) this.requestCut();
  }

  private readonly onTimer = (): void => {
    this.timer = undefined;
    this.requestCut();
  };

  /** After the present turn, so that an append's caller has brought its own state (what a checkpoint holds) up to date. */
  private requestCut(): void {
    if (this.isCutDeferred) return;
    this.isCutDeferred = true;
    this.options.clock.defer(this.onDeferred);
  }

  private readonly onDeferred = (): void => {
    this.isCutDeferred = false;
    if (this.stopped.signal.aborted) return;
    if (this.partCount >= this.options.maxParallelUploads) {
      this.isCutWanted = true;
      return;
    }
    this.isCutWanted = false;
    this.cut(false);
  };

  /** The WAL has released or refused something: it must not fill up with what nobody cut. */
  noteWalPressure(): void {
    const { wal } = this;
    const isFull = wal.state.kind === "full";
    if (this.partCount > 0 || (!isFull && wal.usedBlocks * 2 <= wal.capacityBlocks)) return;
    const isWorthwhile = wal.headLsn - this.lastCutLsn >= wal.capacityBlocks / 16;
    if (isFull ? wal.usedBlocks > 0 && this.options.canAdvance() : isWorthwhile) this.requestCut();
  }

  private cut(isForced: boolean): void {
    const { options } = this;
    this.timer?.cancel();
    this.timer = undefined;
    const logs = this.dirty;
    const totalBytes = this.dirtyBytes;
    this.dirty = [];
    this.dirtyBytes = 0;
    const runs = logs.map((log) => takeRun(log, isForced));
    if (runs.length === 0 && this.wal.state.kind !== "full") return;

    const walCut = this.wal.cut();
    walCut.durable.catch(() => undefined);
    this.lastCutLsn = walCut.lsn;
    this.cutCount += 1;
    const plans = planParts(runs, totalBytes, options.uploadSizeBytes);
    const advances = options.canAdvance();
    plans.forEach((plan, i) => {
      const isLastOfCut = i === plans.length - 1;
      this.queue.push({
        plan,
        durable: walCut.durable,
        advances: advances && isLastOfCut,
        isLastOfCut,
        cutNumber: this.cutCount,
        uploaded: undefined,
      });
    });
    this.startUploads();
  }

  private startUploads(): void {
    while (this.uploadingCount < this.options.maxParallelUploads && this.started.length < 2 * this.options.maxParallelUploads) {
      const part = this.queue.shift();
      if (part === undefined) break;
      this.uploadingCount += 1;
      part.uploaded = this.upload(part).finally(() => {
        this.uploadingCount -= 1;
        if (!this.stopped.signal.aborted) this.startUploads();
      });
      part.uploaded.catch(() => undefined);
      this.started.push(part);
    }
    if (!this.isCommitting && this.started.length > 0) {
      this.isCommitting = true;
      void this.commitStarted();
    }
  }

  private async upload(part: Part): Promise<UploadedObject> {
    const { budget, builder, walRetry } = this.options;
    const { signal } = this.stopped;
    await part.durable;
    const lease = await budget.acquire(PartBuilder.memoryBytes(part.plan.payloadBytes), signal);
    try {
      const { bytes, reuse } = await walRetry.run(
        "reading the WAL for an upload",
        signal,
        () => true,
        () => builder.build(part.plan),
      );
      const object = { key: await this.put(bytes), sizeBytes: bytes.length };
      if (this.options.store.keepsNoBytes === true) reuse();
      return object;
    } finally {
      lease.release();
    }
  }

  /**
   * Creates the object. An attempt that failed may have succeeded unseen, and so may one that was sent twice: what "exists" decides, by its last
   * bytes (size, place and CRCs of everything). Somebody else's means another key; a key has one content ever.
   */
  private async put(bytes: Uint8Array): Promise<string> {
    const { store, retry, makeObjectKey } = this.options;
    const options = { signal: this.stopped.signal, deadlineMs: PUT_DEADLINE_MS };
    let key = makeObjectKey();
    return await retry.run(
      `writing segment objects to ${store.description}`,
      this.stopped.signal,
      () => true,
      async () => {
        for (;;) {
          const { outcome } = await store.createOnce(key, bytes, options);
          if (outcome === "created") return key;
          const tail = await store.getTail(key, FOOTER_BYTES, options);
          if (tail?.sizeBytes === bytes.length && Buffer.compare(tail.bytes, bytes.subarray(-FOOTER_BYTES)) === 0) return key;
          key = makeObjectKey();
        }
      },
    );
  }

  /** One at a time, in LSN order. */
  private async commitStarted(): Promise<void> {
    try {
      for (let part = this.started[0]; part !== undefined; part = this.started[0]) {
        assert(part.uploaded !== undefined, "a started part has its upload");
        const object = await part.uploaded;
        await this.commit(part, object);
        this.started.shift();
        this.afterCommit(part);
      }
      this.isCommitting = false;
    } catch (error) {
      this.isCommitting = false;
      this.fail(error);
    }
  }

  private async commit(part: Part, object: UploadedObject): Promise<void> {
    const { options } = this;
    const walCommitted = part.advances ? await part.durable : this.committedPosition;
    const commit = (): ObjectCommit => ({
      objectKey: object.key,
      objectSizeBytes: object.sizeBytes,
      walId: this.wal.walId,
      walCommitted,
      ranges: part.plan.runs.map((run) => ({
        stream: run.log.id,
        term: run.log.term,
        baseOffset: run.baseOffset,
        endOffset: run.endOffset,
        maxTimestampMs: run.maxTimestampMs,
        sizeBytes: run.sizeBytes,
        hasCheckpoint: run.checkpoint !== undefined,
      })),
    });
    const canRepeat = (trouble: Trouble) => trouble.retryable;
    const outcomes = await options.retry.run("committing segment objects", this.stopped.signal, canRepeat, () =>
      options.commits.commitObject(commit()),
    );
    this.applyOutcomes(part, outcomes);
    if (part.advances) {
      assert(walCommitted.lsn >= this.committedPosition.lsn, "the WAL's committed position only rises");
      this.committedPosition = walCommitted;
      this.wal.trimTo(walCommitted);
    }
    this.uploadedObjects.add(1);
    this.uploadedBytes.add(object.sizeBytes);
    this.payloadBytes.add(part.plan.payloadBytes);
  }

  private applyOutcomes(part: Part, outcomes: readonly RangeOutcome[]): void {
    assert(outcomes.length === part.plan.runs.length, "a commit is answered range by range");
    part.plan.runs.forEach((run, i) => {
      const { log } = run;
      if (outcomes[i] === "accepted") log.advanceCommitted(run.endOffset);
      else
        this.options.logger.info(
          "upload.range-gone",
          `${log.key} [${run.baseOffset}, ${run.endOffset}) is gone or owned under another term`,
          { term: log.term },
        );
      const count = run.endSequence - log.committedSequence;
      assert(count >= 0, "parts of a stream are committed in order");
      log.committedSequence = run.endSequence;
      this.options.onCommitted(log, count);
    });
  }

  private afterCommit(part: Part): void {
    if (part.isLastOfCut) this.committedCuts = part.cutNumber;
    const isReached = (waiter: FlushWaiter) => waiter.cutNumber <= this.committedCuts;
    const reached = this.flushWaiters.filter(isReached);
    this.flushWaiters = this.flushWaiters.filter((waiter) => !isReached(waiter));
    for (const waiter of reached) waiter.resolve();
    if (this.stopped.signal.aborted) return;
    this.startUploads();
    if (this.isCutWanted) this.requestCut();
    else this.noteWalPressure();
  }

  /** Resolves when everything appended so far is committed. Rejects when aborted, closed or failed. */
  flush(signal?: AbortSignal): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    if (this.stopped.signal.aborted) return Promise.reject(storageClosed());
    if (signal?.aborted) return Promise.reject(signal.reason);
    this.cut(true);
    const cutNumber = this.cutCount;
    if (this.committedCuts >= cutNumber) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.flushWaiters = this.flushWaiters.filter((other) => other !== waiter);
        reject(signal?.reason);
      };
      const settle = () => signal?.removeEventListener("abort", onAbort);
      const waiter: FlushWaiter = {
        cutNumber,
        resolve: () => {
          settle();
          resolve();
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      this.flushWaiters.push(waiter);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  private fail(error: unknown): void {
    const wasClosed = this.stopped.signal.aborted;
    this.stop(error);
    if (wasClosed) return;
    this.failure = error;
    this.options.logger.error("upload.failed", `uploads have stopped: ${error instanceof Error ? error.message : String(error)}`);
    this.options.onFailed(error);
  }

  private stop(reason: unknown): void {
    this.stopped.abort(reason);
    this.timer?.cancel();
    this.timer = undefined;
    const waiters = this.flushWaiters;
    this.flushWaiters = [];
    for (const waiter of waiters) waiter.reject(reason);
  }

  /** Gives up what is not committed (it stays in the WAL) and waits for attempts under way. */
  async close(): Promise<void> {
    this.stop(storageClosed());
    await Promise.allSettled(this.started.map((part) => part.uploaded));
  }
}

/** Everything of the log above its last cut. */
function takeRun(log: StreamLog, isForced: boolean): CutRun {
  const run: CutRun = {
    log,
    firstSequence: log.cutSequence,
    endSequence: log.index.endSequence,
    baseOffset: log.cutOffset,
    endOffset: log.nextOffset,
    checkpoint: log.checkpointSource?.takeCheckpoint(isForced),
  };
  log.cutSequence = run.endSequence;
  log.cutOffset = run.endOffset;
  log.isDirty = false;
  log.dirtyBytes = 0;
  return run;
}

function storageClosed(): Trouble {
  return new Trouble({ code: "storage-closed", message: "storage is closed; what is not in objects stays in the WAL", retryable: false });
}
