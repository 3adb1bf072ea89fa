/**
 * One partition that this broker owns: Kafka's view of a storage stream. Offsets, idempotence, transactions, leader epochs; appends and reads.
 *
 * Invariants
 * - `append` and `appendMarker` are one synchronous section each: ownership, producer, offset, patch, copy. Nothing in them awaits, so state and log
 *   never disagree.
 * - Readers see only what is durable: high watermark = the stream's durable end; read_committed sees up to the last stable offset.
 * - Once closed (deleted, or owned under another term) a log appends nothing and wakes whoever waits on it; it never comes back.
 *
 * Neighbours: `partition-registry.ts` opens and closes logs, `fetch-waiters.ts` waits on them, `storage/` holds the bytes.
 */
import { assert } from "../base/assert.ts";
import type { CheckpointSource, RecordsSlice, Reservation, Stream } from "../storage/types.ts";
import {
  addToSequence,
  CONTROL_BIT,
  type Crc32c,
  patchOffsetAndEpoch,
  readStoredBatch,
  type StoredBatch,
  TRANSACTIONAL_BIT,
  viewOf,
} from "./batch-layout.ts";
import type { CheckedBatch } from "./batch-validation.ts";
import { encodeCheckpoint, type PartitionCheckpoint } from "./checkpoint-format.ts";
import { makeMarker, readMarker } from "./control-batch.ts";
import type { FetchWaiter } from "./fetch-waiters.ts";
import { type EpochEnd, LeaderEpochs } from "./leader-epochs.ts";
import { NO_OFFSET, NO_SEQUENCE, type ProducedBatch, type ProducerEntry, ProducerState } from "./producer-state.ts";
import type { MarkerLog, MarkerOutcome, TransactionMarker } from "./transaction-ports.ts";
import { type AbortedTransaction, TransactionState } from "./transaction-state.ts";
import { NO_GUARD, Verifications } from "./verification.ts";

export type AppendOutcome =
  | { readonly kind: "appended"; readonly baseOffset: number }
  /** Sent before: the answer of the first time, to be given when everything appended so far is durable. */
  | { readonly kind: "duplicate"; readonly baseOffset: number; readonly maxTimestampMs: number }
  | { readonly kind: "not-owner" }
  | { readonly kind: "out-of-order" }
  | { readonly kind: "stale-epoch" }
  /** The transaction is not verified (any more), or the batch is not transactional while one is open. */
  | { readonly kind: "invalid-transaction-state" };

const NOT_OWNER = { kind: "not-owner" } as const;
const STALE_EPOCH = { kind: "stale-epoch" } as const;
const COORDINATOR_FENCED = { kind: "coordinator-fenced" } as const;

const MAX_EPOCH = 32_767;

export interface VerificationStart {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  /** The client's request adds partitions to the transaction by itself (transaction.version 2). */
  readonly supportsEpochBump: boolean;
}

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
  /** `transaction.partition.verification.enable`; default true. */
  readonly isVerificationEnabled?: () => boolean;
  /** What the topic stamps markers with; default: the time given. */
  readonly isLogAppendTime?: () => boolean;
}

export class PartitionLog implements CheckpointSource, MarkerLog {
  readonly topicId: string;
  readonly partition: number;
  readonly term: number;
  /** Long polls that want to know of the next release. Owned by `fetch-waiters.ts`. */
  readonly waiters = new Set<FetchWaiter>();

  readonly #crc32c: Crc32c;
  readonly #checkpointBatches: number;
  readonly #isVerificationEnabled: () => boolean;
  readonly #isLogAppendTime: () => boolean;
  readonly #producers = new ProducerState();
  readonly #transactions = new TransactionState();
  readonly #verifications = new Verifications();
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
  /** The last stable offset of the last release, and whether it was below the high watermark then. */
  #toldStableEnd = 0;
  #isStableBehind = false;

  constructor(options: PartitionLogOptions) {
    this.topicId = options.topicId;
    this.partition = options.partition;
    this.term = options.term;
    this.#logStartOffset = options.logStartOffset;
    this.#crc32c = options.crc32c;
    this.#checkpointBatches = options.checkpointBatches ?? CHECKPOINT_BATCHES;
    this.#isVerificationEnabled = options.isVerificationEnabled ?? (() => true);
    this.#isLogAppendTime = options.isLogAppendTime ?? (() => false);
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

  /** First offset of the earliest undecided transaction, at most the high watermark. */
  get lastStableOffset(): number {
    const { highWatermark } = this;
    const { firstUnstableOffset } = this.#transactions;
    return firstUnstableOffset < highWatermark ? Math.max(firstUnstableOffset, this.#logStartOffset) : highWatermark;
  }

  /** A batch or marker of it is remembered: which sequence is its next is certain. */
  knowsProducer(producerId: number): boolean {
    return this.#producers.get(producerId) !== undefined;
  }

  get producerCount(): number {
    return this.#producers.size;
  }

  // --- opening (called by the registry, in this order) ---

  attachStream(stream: Stream): void {
    assert(this.#stream === undefined, "a partition log gets one stream");
    this.#stream = stream;
  }

  /**
   * Batches from `replayStart` on will be replayed. When that is above the checkpoint, what the batches between said of producers is unknown: then the
   * producers are forgotten, as in Kafka. An open transaction with records at or above it is found again by the replay.
   */
  restoreCheckpoint(checkpoint: PartitionCheckpoint, replayStart: number): void {
    for (const { epoch, startOffset } of checkpoint.leaderEpochs) this.#epochs.assign(epoch, startOffset);
    if (replayStart > checkpoint.endOffset) return;
    const open: [number, number][] = [];
    for (const producer of checkpoint.producers) {
      this.#producers.restore(producer);
      if (producer.transactionFirstOffset !== NO_OFFSET) open.push([producer.transactionFirstOffset, producer.producerId]);
    }
    this.#transactions.restore(open, checkpoint.aborted);
  }

  /** A batch above the checkpoint, found in the stream at opening. `bytes` holds it. */
  replayBatch(batch: StoredBatch, bytes: Uint8Array, nowMs: number): void {
    if (batch.leaderEpoch >= (this.#epochs.latest ?? 0)) this.#epochs.assign(batch.leaderEpoch, batch.baseOffset);
    if (batch.producerId >= 0) {
      if ((batch.attributes & CONTROL_BIT) !== 0) this.#replayMarker(batch, bytes, nowMs);
      else {
        const lastSequence = batch.baseSequence < 0 ? NO_SEQUENCE : addToSequence(batch.baseSequence, batch.lastOffset - batch.baseOffset);
        const isTransactional = (batch.attributes & TRANSACTIONAL_BIT) !== 0;
        this.#noteProduced({ ...batch, lastSequence, isTransactional }, batch.baseOffset, batch.lastOffset, nowMs);
      }
    }
    this.#countTowardsCheckpoint(batch.end - batch.start);
  }

  #replayMarker(batch: StoredBatch, bytes: Uint8Array, nowMs: number): void {
    const marker = readMarker(bytes, viewOf(bytes), batch);
    if (marker === undefined) return;
    const { producerId, producerEpoch, maxTimestampMs } = batch;
    this.#noteMarker({ producerId, producerEpoch, ...marker }, batch.baseOffset, maxTimestampMs, nowMs);
  }

  startServing(): void {
    this.#transactions.onDurable(this.highWatermark);
    this.#transactions.trimTo(this.#logStartOffset);
    this.#toldStableEnd = this.lastStableOffset;
    this.#isStableBehind = this.#toldStableEnd < this.highWatermark;
    this.#epochs.assign(this.term, this.logEndOffset);
    this.#epochs.trimTo(this.#logStartOffset);
    this.#isServing = true;
  }

  // --- appending ---

  /**
   * The synchronous section of a produce. `batch` has passed `validateFramedBatch`; the caller holds a reservation that covers its bytes. The batch is patched in
   * place and copied before the call returns. `guard` is what `startVerification` gave, once the coordinator has agreed. A batch with a producer id and
   * without sequences is a coordinator's (offsets within a transaction).
   */
  append(batch: CheckedBatch, reservation: Reservation, nowMs: number, guard: number = NO_GUARD): AppendOutcome {
    if (!this.#isServing) return NOT_OWNER;
    const { producerId } = batch;
    if (producerId >= 0) {
      const verdict = this.#producers.check(batch, guard, this.#verifications.get(producerId), this.#isVerificationEnabled());
      if (verdict.kind !== "next") return verdict;
    }
    const baseOffset = this.stream.nextOffset;
    const lastOffset = baseOffset + batch.recordCount - 1;
    this.#write(batch.bytes, batch.view, lastOffset, batch.maxTimestampMs, reservation);
    if (producerId >= 0) this.#noteProduced(batch, baseOffset, lastOffset, nowMs);
    return { kind: "appended", baseOffset };
  }

  #write(bytes: Uint8Array, view: DataView, lastOffset: number, maxTimestampMs: number, reservation: Reservation): void {
    const { stream, term } = this;
    const baseOffset = stream.nextOffset;
    patchOffsetAndEpoch(view, 0, baseOffset, term);
    stream.append({ baseOffset, lastOffset, maxTimestampMs, term, source: bytes, start: 0, end: bytes.length }, reservation);
    this.#pendingEnds.push(lastOffset + 1);
    this.#pendingSizes.push(bytes.length);
    this.#countTowardsCheckpoint(bytes.length);
  }

  /** A data batch with a producer id lies at [baseOffset, lastOffset]. */
  #noteProduced(batch: ProducedBatch & { readonly maxTimestampMs: number }, baseOffset: number, lastOffset: number, nowMs: number): void {
    const { producerId, producerEpoch, maxTimestampMs } = batch;
    if (batch.baseSequence === NO_SEQUENCE) this.#producers.touch(producerId, producerEpoch, maxTimestampMs, nowMs);
    else {
      const remembered = { firstSequence: batch.baseSequence, lastSequence: batch.lastSequence, lastOffset, maxTimestampMs };
      if (this.#producers.record(producerId, producerEpoch, remembered, nowMs)) this.#newProducersSinceCheckpoint += 1;
    }
    if (!batch.isTransactional) return;
    this.#verifications.clear(producerId);
    const entry = this.#producers.get(producerId);
    if (entry === undefined || entry.transactionFirstOffset !== NO_OFFSET) return;
    entry.transactionFirstOffset = baseOffset;
    this.#transactions.begin(producerId, baseOffset);
  }

  // --- transactions ---

  /** The producer's transaction is open here: its batches need no verification. */
  hasOpenTransaction(producerId: number, producerEpoch: number): boolean {
    return this.#producers.hasOpenTransaction(producerId, producerEpoch);
  }

  /**
   * Before a transaction's batch: NO_GUARD when the transaction is open here already, else a guard for `append`, to be used when the coordinator has
   * agreed. (UnifiedLog.maybeStartTransactionVerification.)
   */
  startVerification(start: VerificationStart, nowMs: number): number | "stale-epoch" | "not-owner" {
    if (!this.#isServing) return "not-owner";
    const { producerId, producerEpoch } = start;
    if (producerEpoch < (this.#producers.get(producerId)?.epoch ?? producerEpoch)) return "stale-epoch";
    if (this.hasOpenTransaction(producerId, producerEpoch)) return NO_GUARD;
    return this.#verifications.start(producerId, producerEpoch, start.baseSequence, start.supportsEpochBump, nowMs).guard;
  }

  /**
   * Ends a producer's transaction here. Epochs as ProducerAppendInfo checks them: with transaction.version 2 the marker's epoch is above that of the
   * transaction's batches (but for the last epoch there is), before it is not below.
   */
  appendMarker(marker: TransactionMarker, reservation: Reservation, nowMs: number): MarkerOutcome {
    if (!this.#isServing) return NOT_OWNER;
    const { producerId, producerEpoch } = marker;
    const entry = this.#producers.get(producerId);
    const lastEpoch = entry?.epoch ?? -1;
    if (producerEpoch < lastEpoch) return STALE_EPOCH;
    // The same epoch with nothing open is a marker that comes again, after a crash of its coordinator: it ends nothing a second time.
    const isRepeated = entry?.transactionFirstOffset === NO_OFFSET || producerEpoch === MAX_EPOCH;
    if (marker.transactionVersion >= 2 && producerEpoch === lastEpoch && !isRepeated) return STALE_EPOCH;
    if (entry !== undefined && entry.coordinatorEpoch > marker.coordinatorEpoch) return COORDINATOR_FENCED;
    const bytes = makeMarker(marker, nowMs, this.#isLogAppendTime(), this.#crc32c);
    const offset = this.stream.nextOffset;
    this.#write(bytes, viewOf(bytes), offset, nowMs, reservation);
    this.#noteMarker(marker, offset, nowMs, nowMs);
    return { kind: "appended", offset };
  }

  #noteMarker(
    marker: Pick<TransactionMarker, "producerId" | "producerEpoch" | "isCommit" | "coordinatorEpoch">,
    offset: number,
    timestampMs: number,
    nowMs: number,
  ): void {
    const { producerId } = marker;
    const entry = this.#producers.touch(producerId, marker.producerEpoch, timestampMs, nowMs);
    entry.coordinatorEpoch = marker.coordinatorEpoch;
    this.#verifications.noteMarker(producerId, marker.producerEpoch);
    const firstOffset = entry.transactionFirstOffset;
    if (firstOffset === NO_OFFSET) return;
    entry.transactionFirstOffset = NO_OFFSET;
    this.#transactions.end(producerId, firstOffset, offset, !marker.isCommit);
  }

  /** Transactions aborted by markers that read_committed may see records of in [fromOffset, endOffset). */
  listAborted(fromOffset: number, endOffset: number): readonly AbortedTransaction[] {
    return this.#transactions.listAborted(fromOffset, endOffset);
  }

  listProducers(): IterableIterator<ProducerEntry> {
    return this.#producers.entries();
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
    this.#transactions.onDurable(durableEnd);
    const stableEnd = this.lastStableOffset;
    const hasMoved = stableEnd > this.#toldStableEnd;
    const followsReleases = stableEnd === durableEnd && !this.#isStableBehind;
    this.#toldStableEnd = stableEnd;
    this.#isStableBehind = stableEnd < durableEnd;
    for (const waiter of this.waiters) {
      if (!waiter.isReadCommitted || followsReleases) waiter.addBytes(released);
      else if (hasMoved) waiter.wake();
    }
  }

  // --- reading ---

  /** Synchronous read below `endOffset`; undefined when the first batch is not in memory. */
  tryRead(
    fromOffset: number,
    maxBytes: number,
    atLeastOneBatch: boolean,
    endOffset: number = this.highWatermark,
  ): RecordsSlice | undefined {
    return this.stream.tryRead(fromOffset, { endOffset, maxBytes, atLeastOneBatch });
  }

  /** Rejects with a Trouble. */
  read(
    fromOffset: number,
    maxBytes: number,
    atLeastOneBatch: boolean,
    signal?: AbortSignal,
    endOffset: number = this.highWatermark,
  ): Promise<RecordsSlice> {
    return this.stream.read(fromOffset, { endOffset, maxBytes, atLeastOneBatch }, signal);
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
    this.#transactions.trimTo(logStartOffset);
    this.stream.trimTo(logStartOffset);
    this.#wakeAll();
  }

  expireProducers(nowMs: number, expirationMs: number): number {
    this.#verifications.expire(nowMs, expirationMs);
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
    const { logEndOffset: endOffset } = this;
    const { aborted } = this.#transactions;
    return encodeCheckpoint({ endOffset, leaderEpochs: this.#epochs.entries, producers: this.#producers.entries(), aborted }, this.#crc32c);
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
