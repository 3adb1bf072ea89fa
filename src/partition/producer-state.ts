/**
 * What an owner remembers of producers (KIP-98): for each producer id its epoch, its last five batches, so that a retry of any of them gets the
 * answer of the first time and a gap is seen, and where its open transaction begins. Pure state: no clock, no IO.
 *
 * Invariants: `check` changes nothing; `record`, `touch` and `endTransaction` are called in the same synchronous section, right after the append. The
 * state after batches b1..bn is a function of these batches, so that checkpoint + later batches rebuild it (cases R1, R2).
 *
 * An unknown producer may begin with any sequence: its state may have been dropped by expiry, and UNKNOWN_PRODUCER_ID is never the answer
 * (KIP-360). Expiry goes by the broker's wall clock at the append, not by the client's timestamps as in Kafka; who has a transaction open never expires.
 */
import { addToSequence } from "./batch-layout.ts";
import { NO_GUARD, type Verification } from "./verification.ts";

/** Batches remembered per producer; equals the most a client keeps in flight with idempotence. */
export const DUPLICATE_WINDOW = 5;
/** Beyond it the producers that were idle longest are forgotten, whatever the expiration. */
export const MAX_PRODUCERS_PER_PARTITION = 50_000;
export const NO_SEQUENCE = -1;
/** Of batches that name a producer and no epoch. Kafka takes them while it knows no other epoch, and then in any order. */
const NO_EPOCH = -1;
/** No transaction is open. */
export const NO_OFFSET = -1;

const FIELDS = 4;
const FIRST_SEQUENCE = 0;
const LAST_SEQUENCE = 1;
const LAST_OFFSET = 2;
const TIMESTAMP = 3;

export interface ProducerEntry {
  readonly producerId: number;
  epoch: number;
  /** Of the newest marker; -1 before the first. */
  coordinatorEpoch: number;
  /** First offset of the open transaction; NO_OFFSET when none is open. */
  transactionFirstOffset: number;
  lastUsedMs: number;
  /** Greatest timestamp of the newest batch, or the newest marker's: what DescribeProducers answers. */
  lastTimestampMs: number;
  /** Batches held, 0..5; the newest is at index count - 1. */
  count: number;
  /** DUPLICATE_WINDOW rows of first sequence, last sequence, last offset, max timestamp; oldest first. */
  readonly rows: Float64Array;
}

export interface RememberedBatch {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly lastOffset: number;
  readonly maxTimestampMs: number;
}

/** A batch that has a producer id. `firstSequence` is NO_SEQUENCE when a coordinator wrote it, not a client. */
export interface ProducedBatch {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly lastSequence: number;
  readonly isTransactional: boolean;
}

export type SequenceVerdict =
  | { readonly kind: "next" }
  | { readonly kind: "duplicate"; readonly baseOffset: number; readonly lastOffset: number; readonly maxTimestampMs: number }
  | { readonly kind: "out-of-order" }
  | { readonly kind: "stale-epoch" }
  /** Not part of a transaction that the coordinator has confirmed; or plain while the producer's transaction is open. */
  | { readonly kind: "invalid-transaction-state" };

const NEXT: SequenceVerdict = { kind: "next" };
const OUT_OF_ORDER: SequenceVerdict = { kind: "out-of-order" };
const STALE_EPOCH: SequenceVerdict = { kind: "stale-epoch" };
const INVALID_TRANSACTION_STATE: SequenceVerdict = { kind: "invalid-transaction-state" };

/** Offsets between two sequences, which may lie on both sides of the wrap. */
function sequenceDistance(first: number, last: number): number {
  return last >= first ? last - first : last + 0x80000000 - first;
}

export class ProducerState {
  readonly #entries = new Map<number, ProducerEntry>();
  readonly #maxProducers: number;

  constructor(maxProducers: number = MAX_PRODUCERS_PER_PARTITION) {
    this.#maxProducers = maxProducers;
  }

  get size(): number {
    return this.#entries.size;
  }

  entries(): IterableIterator<ProducerEntry> {
    return this.#entries.values();
  }

  get(producerId: number): ProducerEntry | undefined {
    return this.#entries.get(producerId);
  }

  /** The producer's transaction is open here under this epoch. */
  hasOpenTransaction(producerId: number, epoch: number): boolean {
    const entry = this.#entries.get(producerId);
    return entry !== undefined && entry.transactionFirstOffset !== NO_OFFSET && entry.epoch === epoch;
  }

  /**
   * May the batch be appended? In Kafka's order: a duplicate, verification of a transaction's first batch, epoch, sequence, transaction. Sequences are
   * 0..2^31-1, `producerId` is safe and not negative. `guard` is what the request's verification gave; with `mustVerify` false none is needed.
   * (UnifiedLog.analyzeAndValidateProducerState, ProducerAppendInfo.)
   */
  check(batch: ProducedBatch, guard: number = NO_GUARD, verification?: Verification, mustVerify = true): SequenceVerdict {
    const { producerEpoch: epoch, isTransactional } = batch;
    const isFromClient = batch.baseSequence !== NO_SEQUENCE;
    const entry = this.#entries.get(batch.producerId);
    if (entry !== undefined && isFromClient && entry.epoch === epoch) {
      const duplicate = findDuplicate(entry, batch.baseSequence, batch.lastSequence);
      if (duplicate !== undefined) return duplicate;
    }
    if (epoch < (entry?.epoch ?? NO_EPOCH)) return STALE_EPOCH;
    if (isTransactional && mustVerify && !this.hasOpenTransaction(batch.producerId, epoch)) {
      if (guard === NO_GUARD || verification?.guard !== guard) return INVALID_TRANSACTION_STATE;
    }
    if (isFromClient && !isInSequence(entry, epoch, batch.baseSequence, verification)) return OUT_OF_ORDER;
    if (entry !== undefined && entry.transactionFirstOffset !== NO_OFFSET && !isTransactional) return INVALID_TRANSACTION_STATE;
    return NEXT;
  }

  /** Remembers an appended batch with sequences. True when the producer was not known before. */
  record(producerId: number, epoch: number, batch: RememberedBatch, nowMs: number): boolean {
    const isNew = !this.#entries.has(producerId);
    const entry = this.touch(producerId, epoch, batch.maxTimestampMs, nowMs);
    if (entry.count === DUPLICATE_WINDOW) {
      entry.rows.copyWithin(0, FIELDS);
      entry.count -= 1;
    }
    const at = entry.count * FIELDS;
    entry.rows[at + FIRST_SEQUENCE] = batch.firstSequence;
    entry.rows[at + LAST_SEQUENCE] = batch.lastSequence;
    entry.rows[at + LAST_OFFSET] = batch.lastOffset;
    entry.rows[at + TIMESTAMP] = batch.maxTimestampMs;
    entry.count += 1;
    return isNew;
  }

  /** The producer wrote something under this epoch; a new epoch forgets the batches of the last. */
  touch(producerId: number, epoch: number, timestampMs: number, nowMs: number): ProducerEntry {
    let entry = this.#entries.get(producerId);
    if (entry === undefined) {
      if (this.#entries.size >= this.#maxProducers) this.#dropLongestIdle();
      entry = newEntry(producerId, epoch);
      this.#entries.set(producerId, entry);
    }
    if (entry.epoch !== epoch) {
      entry.epoch = epoch;
      entry.count = 0;
    }
    entry.lastUsedMs = nowMs;
    entry.lastTimestampMs = timestampMs;
    return entry;
  }

  /** Puts back an entry from a checkpoint. */
  restore(snapshot: ProducerSnapshot): void {
    const entry = newEntry(snapshot.producerId, snapshot.epoch);
    this.#entries.set(snapshot.producerId, entry);
    for (const batch of snapshot.batches) this.record(snapshot.producerId, snapshot.epoch, batch, snapshot.lastUsedMs);
    entry.lastUsedMs = snapshot.lastUsedMs;
    entry.lastTimestampMs = snapshot.lastTimestampMs;
    entry.coordinatorEpoch = snapshot.coordinatorEpoch;
    entry.transactionFirstOffset = snapshot.transactionFirstOffset;
  }

  /** Forgets producers idle for `expirationMs` or longer; answers how many. */
  expire(nowMs: number, expirationMs: number): number {
    let dropped = 0;
    for (const entry of this.#entries.values()) {
      if (entry.transactionFirstOffset !== NO_OFFSET || nowMs - entry.lastUsedMs < expirationMs) continue;
      this.#entries.delete(entry.producerId);
      dropped += 1;
    }
    return dropped;
  }

  /** Makes room at the limit: an eighth of the table goes at once, so that the sort is paid rarely. */
  #dropLongestIdle(): void {
    const idle = [...this.#entries.values()].filter((entry) => entry.transactionFirstOffset === NO_OFFSET);
    idle.sort((a, b) => a.lastUsedMs - b.lastUsedMs);
    const count = Math.max(1, this.#maxProducers >> 3);
    for (const entry of idle.slice(0, count)) this.#entries.delete(entry.producerId);
  }
}

/** An entry as a checkpoint holds it. */
export interface ProducerSnapshot {
  readonly producerId: number;
  readonly epoch: number;
  readonly coordinatorEpoch: number;
  readonly transactionFirstOffset: number;
  readonly lastUsedMs: number;
  readonly lastTimestampMs: number;
  readonly batches: readonly RememberedBatch[];
}

function newEntry(producerId: number, epoch: number): ProducerEntry {
  const rows = new Float64Array(DUPLICATE_WINDOW * FIELDS);
  return {
    producerId,
    epoch,
    coordinatorEpoch: -1,
    transactionFirstOffset: NO_OFFSET,
    lastUsedMs: 0,
    lastTimestampMs: -1,
    count: 0,
    rows,
  };
}

function findDuplicate(entry: ProducerEntry, firstSequence: number, lastSequence: number): SequenceVerdict | undefined {
  const { rows, count } = entry;
  for (let index = count - 1; index >= 0; index--) {
    const at = index * FIELDS;
    if (rows[at + FIRST_SEQUENCE] !== firstSequence || rows[at + LAST_SEQUENCE] !== lastSequence) continue;
    const lastOffset = rows[at + LAST_OFFSET] as number;
    return {
      kind: "duplicate",
      baseOffset: lastOffset - sequenceDistance(firstSequence, lastSequence),
      lastOffset,
      maxTimestampMs: rows[at + TIMESTAMP] as number,
    };
  }
  return undefined;
}

/** ProducerAppendInfo.checkSequence. A producer whose only trace is a marker begins at 0, as after a new epoch. */
function isInSequence(
  entry: ProducerEntry | undefined,
  epoch: number,
  firstSequence: number,
  verification: Verification | undefined,
): boolean {
  if (verification !== undefined) {
    // KIP-890: with an epoch per transaction each one begins at 0, so nothing else may be a producer's first batch here.
    const mustBegin = verification.supportsEpochBump && (entry === undefined || entry.count === 0);
    if (mustBegin && firstSequence !== 0) return false;
    // A lower sequence was seen and not yet appended: this one would overtake it.
    if (firstSequence > verification.lowestSequence) return false;
  }
  if (entry === undefined || entry.epoch === NO_EPOCH) return true;
  if (epoch !== entry.epoch || entry.count === 0) return firstSequence === 0;
  return firstSequence === addToSequence(entry.rows[(entry.count - 1) * FIELDS + LAST_SEQUENCE] as number, 1);
}

/** Sequence of the producer's last batch; NO_SEQUENCE when none is remembered. */
export function getLastSequence(entry: ProducerEntry): number {
  return entry.count === 0 ? NO_SEQUENCE : (entry.rows[(entry.count - 1) * FIELDS + LAST_SEQUENCE] as number);
}

/** The batches of an entry, oldest first. */
export function listBatches(entry: ProducerEntry): RememberedBatch[] {
  const batches: RememberedBatch[] = [];
  for (let index = 0; index < entry.count; index++) {
    const at = index * FIELDS;
    batches.push({
      firstSequence: entry.rows[at + FIRST_SEQUENCE] as number,
      lastSequence: entry.rows[at + LAST_SEQUENCE] as number,
      lastOffset: entry.rows[at + LAST_OFFSET] as number,
      maxTimestampMs: entry.rows[at + TIMESTAMP] as number,
    });
  }
  return batches;
}
