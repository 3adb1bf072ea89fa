/**
 * What an owner remembers of idempotent producers (KIP-98): for each producer id its epoch and its last five batches, so that a retry of any of
 * the last five gets the answer of the first time, and a gap is seen. Pure state: no clock, no IO.
 *
 * Invariants: `check` changes nothing; `record` is called in the same synchronous section, right after the append. The state after batches
 * b1..bn is a function of these batches, so that checkpoint + later batches rebuild it (cases R1, R2).
 *
 * An unknown producer may begin with any sequence: its state may have been dropped by expiry, and UNKNOWN_PRODUCER_ID is never the answer
 * (KIP-360). Timestamps of use are the broker's wall clock at the append, not the client's.
 */
import { addToSequence } from "./batch-layout.ts";

/** Batches remembered per producer; equals the most a client keeps in flight with idempotence. */
export const DUPLICATE_WINDOW = 5;
/** Beyond it the producers that were idle longest are forgotten, whatever the expiration. */
export const MAX_PRODUCERS_PER_PARTITION = 50_000;

const FIELDS = 4;
const FIRST_SEQUENCE = 0;
const LAST_SEQUENCE = 1;
const LAST_OFFSET = 2;
const TIMESTAMP = 3;

export interface ProducerEntry {
  readonly producerId: number;
  epoch: number;
  lastUsedMs: number;
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

export type SequenceVerdict =
  | { readonly kind: "next" }
  | { readonly kind: "duplicate"; readonly baseOffset: number; readonly lastOffset: number; readonly maxTimestampMs: number }
  | { readonly kind: "out-of-order" }
  | { readonly kind: "stale-epoch" };

const NEXT: SequenceVerdict = { kind: "next" };
const OUT_OF_ORDER: SequenceVerdict = { kind: "out-of-order" };
const STALE_EPOCH: SequenceVerdict = { kind: "stale-epoch" };

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

  /** Kafka's ProducerAppendInfo and findDuplicateBatch. Sequences are 0..2^31-1, `producerId` is safe and not negative. */
  check(producerId: number, epoch: number, firstSequence: number, lastSequence: number): SequenceVerdict {
    const entry = this.#entries.get(producerId);
    if (entry === undefined) return epoch < 0 ? STALE_EPOCH : NEXT;
    if (epoch < entry.epoch) return STALE_EPOCH;
    if (epoch > entry.epoch) return firstSequence === 0 ? NEXT : OUT_OF_ORDER;
    const { rows, count } = entry;
    for (let index = count - 1; index >= 0; index--) {
      const at = index * FIELDS;
      if (rows[at + FIRST_SEQUENCE] === firstSequence && rows[at + LAST_SEQUENCE] === lastSequence) {
        const lastOffset = rows[at + LAST_OFFSET] as number;
        return {
          kind: "duplicate",
          baseOffset: lastOffset - sequenceDistance(firstSequence, lastSequence),
          lastOffset,
          maxTimestampMs: rows[at + TIMESTAMP] as number,
        };
      }
    }
    if (count === 0) return NEXT;
    const newest = rows[(count - 1) * FIELDS + LAST_SEQUENCE] as number;
    return firstSequence === addToSequence(newest, 1) ? NEXT : OUT_OF_ORDER;
  }

  /** Remembers an appended batch. True when the producer was not known before. */
  record(producerId: number, epoch: number, batch: RememberedBatch, nowMs: number): boolean {
    let entry = this.#entries.get(producerId);
    const isNew = entry === undefined;
    if (entry === undefined) {
      if (this.#entries.size >= this.#maxProducers) this.#dropLongestIdle();
      entry = { producerId, epoch, lastUsedMs: nowMs, count: 0, rows: new Float64Array(DUPLICATE_WINDOW * FIELDS) };
      this.#entries.set(producerId, entry);
    }
    if (entry.epoch !== epoch) {
      entry.epoch = epoch;
      entry.count = 0;
    }
    entry.lastUsedMs = nowMs;
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

  /** Puts back an entry from a checkpoint. */
  restore(producerId: number, epoch: number, lastUsedMs: number, batches: readonly RememberedBatch[]): void {
    this.#entries.delete(producerId);
    this.#entries.set(producerId, { producerId, epoch, lastUsedMs, count: 0, rows: new Float64Array(DUPLICATE_WINDOW * FIELDS) });
    for (const batch of batches) this.record(producerId, epoch, batch, lastUsedMs);
  }

  /** Forgets producers idle for `expirationMs` or longer; answers how many. */
  expire(nowMs: number, expirationMs: number): number {
    let dropped = 0;
    for (const entry of this.#entries.values()) {
      if (nowMs - entry.lastUsedMs < expirationMs) continue;
      this.#entries.delete(entry.producerId);
      dropped += 1;
    }
    return dropped;
  }

  /** Makes room at the limit: an eighth of the table goes at once, so that the sort is paid rarely. */
  #dropLongestIdle(): void {
    const byAge = [...this.#entries.values()].sort((a, b) => a.lastUsedMs - b.lastUsedMs);
    const count = Math.max(1, this.#maxProducers >> 3);
    for (const entry of byAge.slice(0, count)) this.#entries.delete(entry.producerId);
  }
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
