/**
 * KIP-890: a transaction's first batch in a partition is appended only after the coordinator has said that the transaction is open and contains the
 * partition. Between question and append a marker may end that transaction; so each question gets a guard, which a marker (or the
 * append) takes back, and an append whose guard is gone is refused. Pure state of one partition; not stored: after a restart it is asked again.
 *
 * Neighbours: `partition-log.ts` holds it; `api/00-produce.ts` and the group coordinator ask in between (`transaction-ports.ts`).
 */

/** Proof of nothing: the transaction was open already, or nobody was asked. */
export const NO_GUARD = 0;

export interface Verification {
  guard: number;
  readonly startedMs: number;
  /** The producer's epoch rises with each transaction (transaction.version 2). */
  readonly supportsEpochBump: boolean;
  epoch: number;
  /** Lowest sequence asked for and not appended yet: a higher one may not overtake it. */
  lowestSequence: number;
}

export class Verifications {
  readonly #byProducer = new Map<number, Verification>();
  #lastGuard = NO_GUARD;

  get size(): number {
    return this.#byProducer.size;
  }

  get(producerId: number): Verification | undefined {
    return this.#byProducer.size === 0 ? undefined : this.#byProducer.get(producerId);
  }

  /** Begins a question, or joins the one under way. (ProducerStateManager.maybeCreateVerificationStateEntry.) */
  start(producerId: number, epoch: number, sequence: number, supportsEpochBump: boolean, nowMs: number): Verification {
    const known = this.#byProducer.get(producerId);
    if (known !== undefined) {
      if (epoch === known.epoch && sequence < known.lowestSequence) known.lowestSequence = sequence;
      if (epoch > known.epoch) {
        known.epoch = epoch;
        known.lowestSequence = sequence;
      }
      return known;
    }
    this.#lastGuard += 1;
    const started = { guard: this.#lastGuard, startedMs: nowMs, supportsEpochBump, epoch, lowestSequence: sequence };
    this.#byProducer.set(producerId, started);
    return started;
  }

  /**
   * A marker has been appended: the guard is gone. With an epoch per transaction a marker of the question's own epoch is an older transaction's, so that the
   * lowest sequence stays. (UnifiedLog.updateProducers; Kafka leaves the guard as well.)
   */
  noteMarker(producerId: number, epoch: number): void {
    const known = this.get(producerId);
    if (known === undefined) return;
    if (known.supportsEpochBump && known.epoch === epoch) {
      this.#lastGuard += 1;
      known.guard = this.#lastGuard;
    } else this.#byProducer.delete(producerId);
  }

  /** Something of the transaction has been appended. */
  clear(producerId: number): void {
    if (this.#byProducer.size > 0) this.#byProducer.delete(producerId);
  }

  /** Forgets questions that nobody came back with. */
  expire(nowMs: number, expirationMs: number): void {
    for (const [producerId, { startedMs }] of this.#byProducer) {
      if (nowMs - startedMs >= expirationMs) this.#byProducer.delete(producerId);
    }
  }
}
