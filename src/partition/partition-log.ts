/**
 * One partition that this broker owns: Kafka's view of a storage stream. Offsets, idempotence, leader epochs; appends and reads.
 *
 * Invariants
 * - `append` is one synchronous section: ownership, sequence, offset, patch, copy. Nothing in it awaits, so state and log never disagree.
 * - Readers see only what is durable: high watermark = the stream's durable end. Until there are transactions the last stable offset is the same.
 * - Once closed (deleted, or owned under another term) a log appends nothing and wakes whoever waits on it; it never comes back.
 *
 * Neighbours: `partition-registry.ts` opens and closes logs, `fetch-waiters.ts` waits on them, `storage/` holds the bytes.
 */
import { assert } from "../base/assert.ts";
import type { CheckpointSource, RecordsSlice, Reservation, Stream } from "../storage/types.ts";
import { type Crc32c, patchOffsetAndEpoch, readStoredBatch, type StoredBatch } from "./batch-layout.ts";
import type { CheckedBatch } from "./batch-validation.ts";
import { encodeCheckpoint, type PartitionCheckpoint } from "./checkpoint-format.ts";
import type { FetchWaiter } from "./fetch-waiters.ts";
import { type EpochEnd, LeaderEpochs } from "./leader-epochs.ts";
import { ProducerState } from "./producer-state.ts";

export type AppendOutcome =
  | { readonly kind: "appended"; readonly baseOffset: number }
  /** Sent before: the answer of the first time, to be given when everything appended so far is durable. */
  | { readonly kind: "duplicate"; readonly baseOffset: number; readonly maxTimestampMs: number }
  | { readonly kind: "not-owner" }
  | { readonly kind: "out-of-order" }
  | { readonly kind: "stale-epoch" };

const NOT_OWNER: AppendOutcome = { kind: "not-owner" };
const OUT_OF_ORDER: AppendOutcome = { kind: "out-of-order" };
const STALE_EPOCH: AppendOutcome = { kind: "stale-epoch" };

/** A checkpoint is due after this much has been appended since the last one: it bounds what an opening has to read. */
export const CHECKPOINT_BATCHES = 1_000;
export const CHECKPOINT_BYTES = 16 * 1024 * 1024;
export const CHECKPOINT_NEW_PRODUCERS = 100;

export interface PartitionLogOptions {
  readonly topicId: string;
  readonly partition: number;
  /** The leader epoch under which this broker owns it. */
  readonly term: number;
  readonly logStartOffset: number;
  readonly crc32c: Crc32c;
  /** Default CHECKPOINT_BATCHES. */
  readonly checkpointBatches?: number | undefined;
}

export class PartitionLog implements CheckpointSource {
  readonly topicId: string;
  readonly partition: number;
  readonly term: number;
  /** Long polls that want to know of the next release. Owned by `fetch-waiters.ts`. */
  readonly waiters = new Set<FetchWaiter>();

  readonly #crc32c: Crc32c;
  readonly #checkpointBatches: number;
  readonly #producers = new ProducerState();
  readonly #epochs = new LeaderEpochs();
  #stream: Stream | undefined;
  #logStartOffset: number;
  #isServing = false;
  #batchesSinceCheckpoint = 0;
  #bytesSinceCheckpoint = 0;
  #newProducersSinceCheckpoint = 0;
  /** Appended, not yet released: end offsets and sizes, in order, from #pendingHead on. */
  #pendingEnds: number[] = [];
  #pendingSizes: number[] = [];
  #pendingHead = 0;

  constructor(options: PartitionLogOptions) {
    this.topicId = options.topicId;
    this.partition = options.partition;
    this.term = options.term;
    this.#logStartOffset = options.logStartOffset;
    this.#crc32c = options.crc32c;
    this.#checkpointBatches = options.checkpointBatches ?? CHECKPOINT_BATCHES;
  }

  get isServing(): boolean {
    return this.#isServing;
  }

  get stream(): Stream {
    assert(this.#stream !== undefined, "the partition log has no stream yet");
    return this.#stream;
  }

  get logStartOffset(): number {
    return this.#logStartOffset;
  }

  get logEndOffset(): number {
    return this.stream.nextOffset;
  }

  get highWatermark(): number {
    return this.stream.durableEndOffset;
  }

  get lastStableOffset(): number {
    return this.highWatermark;
  }

  get producerCount(): number {
    return this.#producers.size;
  }

  // --- opening (called by the registry, in this order) ---

  attachStream(stream: Stream): void {
    assert(this.#stream === undefined, "a partition log gets one stream");
    this.#stream = stream;
  }

  restoreCheckpoint(checkpoint: PartitionCheckpoint): void {
    for (const { epoch, startOffset } of checkpoint.leaderEpochs) this.#epochs.assign(epoch, startOffset);
    for (const producer of checkpoint.producers) {
      this.#producers.restore(producer.producerId, producer.epoch, producer.lastUsedMs, producer.batches);
    }
  }

  /** A batch above the checkpoint, found in the stream at opening. */
  replayBatch(batch: StoredBatch, nowMs: number): void {
    if (batch.leaderEpoch >= (this.#epochs.latest ?? 0)) this.#epochs.assign(batch.leaderEpoch, batch.baseOffset);
    if (batch.producerId >= 0 && batch.baseSequence >= 0) this.#remember(batch, nowMs);
    this.#countTowardsCheckpoint(batch.end - batch.start);
  }

  #remember(batch: StoredBatch, nowMs: number): void {
    const span = batch.lastOffset - batch.baseOffset;
    const sum = batch.baseSequence + span;
    const isNew = this.#producers.record(
      batch.producerId,
      batch.producerEpoch,
      {
        firstSequence: batch.baseSequence,
        lastSequence: sum > 0x7fffffff ? sum - 0x80000000 : sum,
        lastOffset: batch.lastOffset,
        maxTimestampMs: batch.maxTimestampMs,
      },
      nowMs,
    );
    if (isNew) this.#newProducersSinceCheckpoint += 1;
  }

  startServing(): void {
    this.#epochs.assign(this.term, this.logEndOffset);
    this.#epochs.trimTo(this.#logStartOffset);
    this.#isServing = true;
  }

  // --- appending ---

  /**
   * The synchronous section of a produce. `batch` has passed `validateBatch`; the caller holds a reservation that covers its bytes. The batch is patched in
   * place and copied before the call returns.
   */
  append(batch: CheckedBatch, reservation: Reservation, nowMs: number): AppendOutcome {
    if (!this.#isServing) return NOT_OWNER;
    const { producerId } = batch;
    if (producerId >= 0) {
      const verdict = this.#producers.check(producerId, batch.producerEpoch, batch.baseSequence, batch.lastSequence);
      if (verdict.kind === "duplicate") {
        return { kind: "duplicate", baseOffset: verdict.baseOffset, maxTimestampMs: verdict.maxTimestampMs };
      }
      if (verdict.kind === "out-of-order") return OUT_OF_ORDER;
      if (verdict.kind === "stale-epoch") return STALE_EPOCH;
    }
    const stream = this.stream;
    const baseOffset = stream.nextOffset;
    const lastOffset = baseOffset + batch.recordCount - 1;
    const { bytes, view } = batch;
    patchOffsetAndEpoch(view, 0, baseOffset, this.term);
    stream.append(
      { baseOffset, lastOffset, maxTimestampMs: batch.maxTimestampMs, term: this.term, source: bytes, start: 0, end: bytes.length },
      reservation,
    );
    this.#pendingEnds.push(lastOffset + 1);
    this.#pendingSizes.push(bytes.length);
    this.#countTowardsCheckpoint(bytes.length);
    if (producerId >= 0) this.#rememberAppended(batch, lastOffset, nowMs);
    return { kind: "appended", baseOffset };
  }

  #rememberAppended(batch: CheckedBatch, lastOffset: number, nowMs: number): void {
    const remembered = {
      firstSequence: batch.baseSequence,
      lastSequence: batch.lastSequence,
      lastOffset,
      maxTimestampMs: batch.maxTimestampMs,
    };
    if (this.#producers.record(batch.producerId, batch.producerEpoch, remembered, nowMs)) this.#newProducersSinceCheckpoint += 1;
  }

  /** The stream's durable end has risen: whoever waits learns how many bytes came. */
  onReleased(): void {
    const durableEnd = this.highWatermark;
    let released = 0;
    let head = this.#pendingHead;
    while (head < this.#pendingEnds.length && (this.#pendingEnds[head] as number) <= durableEnd) {
      released += this.#pendingSizes[head] as number;
      head += 1;
    }
    if (head === this.#pendingEnds.length) {
      this.#pendingEnds.length = 0;
      this.#pendingSizes.length = 0;
      head = 0;
    } else if (head > 1024) {
      this.#pendingEnds.splice(0, head);
      this.#pendingSizes.splice(0, head);
      head = 0;
    }
    this.#pendingHead = head;
    for (const waiter of this.waiters) waiter.addBytes(released);
  }

  // --- reading ---

  /** Synchronous read below the high watermark; undefined when the first batch is not in memory. */
  tryRead(fromOffset: number, maxBytes: number, atLeastOneBatch: boolean): RecordsSlice | undefined {
    return this.stream.tryRead(fromOffset, { endOffset: this.lastStableOffset, maxBytes, atLeastOneBatch });
  }

  /** Rejects with a Trouble. */
  read(fromOffset: number, maxBytes: number, atLeastOneBatch: boolean, signal?: AbortSignal): Promise<RecordsSlice> {
    return this.stream.read(fromOffset, { endOffset: this.lastStableOffset, maxBytes, atLeastOneBatch }, signal);
  }

  /** Where the largest epoch not above `epoch` ends, as far as readers may see. Undefined when nothing is known of it. */
  endOfEpoch(epoch: number): EpochEnd | undefined {
    return this.#epochs.endOf(epoch, this.highWatermark);
  }

  epochOf(offset: number): number | undefined {
    return this.#epochs.epochOf(offset);
  }

  // --- life ---

  /** The metadata log has a new log start offset. */
  advanceLogStart(logStartOffset: number): void {
    if (logStartOffset <= this.#logStartOffset) return;
    this.#logStartOffset = logStartOffset;
    this.#epochs.trimTo(logStartOffset);
    this.stream.trimTo(logStartOffset);
    this.#wakeAll();
  }

  expireProducers(nowMs: number, expirationMs: number): number {
    return this.#producers.expire(nowMs, expirationMs);
  }

  close(): void {
    this.#isServing = false;
    this.#wakeAll();
  }

  #wakeAll(): void {
    for (const waiter of this.waiters) waiter.wake();
  }

  #countTowardsCheckpoint(sizeBytes: number): void {
    this.#batchesSinceCheckpoint += 1;
    this.#bytesSinceCheckpoint += sizeBytes;
  }

  takeCheckpoint(force: boolean): Uint8Array | undefined {
    if (!this.#isServing) return undefined;
    const isDue =
      this.#batchesSinceCheckpoint >= this.#checkpointBatches ||
      this.#bytesSinceCheckpoint >= CHECKPOINT_BYTES ||
      this.#newProducersSinceCheckpoint >= CHECKPOINT_NEW_PRODUCERS;
    if (!isDue && !(force && this.#batchesSinceCheckpoint > 0)) return undefined;
    this.#batchesSinceCheckpoint = 0;
    this.#bytesSinceCheckpoint = 0;
    this.#newProducersSinceCheckpoint = 0;
    return encodeCheckpoint(this.logEndOffset, this.#epochs.entries, this.#producers.entries(), this.#crc32c);
  }
}

/** Calls `visit` for each batch of `bytes`, which holds whole batches. */
export function forEachBatch(bytes: Uint8Array, view: DataView, visit: (batch: StoredBatch) => void): void {
  for (let at = 0; at < bytes.length; ) {
    const batch = readStoredBatch(view, at);
    assert(batch.end > at && batch.end <= bytes.length, "a stored batch is cut off");
    visit(batch);
    at = batch.end;
  }
}

/** A private copy of a slice's bytes; the slice stays the caller's to release. Rejects with a Trouble. */
export async function copySlice(slice: RecordsSlice): Promise<Uint8Array> {
  const bytes = new Uint8Array(slice.sizeBytes);
  if (slice.sizeBytes === 0 || slice.tryCopy(0, bytes.length, bytes, 0)) return bytes;
  await slice.load();
  assert(slice.tryCopy(0, bytes.length, bytes, 0), "a loaded slice cannot be copied");
  return bytes;
}
