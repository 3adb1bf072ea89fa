/**
 * Idempotent batches that were refused for a while (the partition could not be opened, no room). A partition that does not know a producer takes any sequence for its
 * beginning; so a batch that was sent behind a refused one, and comes once the partition is open, would overtake it: the refused one is then out of order
 * for good, and its records are lost without a word (KAFKA-14359, KAFKA-15591). Until the refused one has come again, what lies behind it is refused as well.
 *
 * Only for producers that the partition does not know: of the others it knows which sequence is next. Transactions have the same in `verification.ts`. Pure
 * state, not stored: with the process its connections go, and what was under way on them.
 *
 * Neighbours: `api/00-produce.ts` notes and asks.
 */

/** A client that has given up by then goes on under a new epoch. */
const REMEMBERED_MS = 300_000;
/** Beyond it the oldest are forgotten. */
const MAX_REFUSED = 10_000;
const SEQUENCE_MASK = 0x7fffffff;
const HALF_OF_SEQUENCES = 0x40000000;

export interface SequencePlace {
  readonly topicId: string;
  readonly partition: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
}

interface Refused {
  readonly epoch: number;
  readonly lowestSequence: number;
  readonly untilMs: number;
}

export class RefusedSequences {
  /** By partition and producer, in the order in which they were last refused. */
  readonly #refused = new Map<string, Refused>();

  get size(): number {
    return this.#refused.size;
  }

  /** The batch was not appended, and its client will send it again. `nowMs`: boot time. */
  note(place: SequencePlace, nowMs: number): void {
    const key = keyOf(place);
    const { producerEpoch: epoch, baseSequence } = place;
    const known = this.#refused.get(key);
    if (known !== undefined && known.epoch > epoch) return;
    const isLater = known?.epoch === epoch && isAfter(baseSequence, known.lowestSequence);
    const lowestSequence = isLater ? known.lowestSequence : baseSequence;
    this.#refused.delete(key);
    this.#refused.set(key, { epoch, lowestSequence, untilMs: nowMs + REMEMBERED_MS });
    if (this.#refused.size <= MAX_REFUSED) return;
    for (const oldest of this.#refused.keys()) {
      this.#refused.delete(oldest);
      break;
    }
  }

  /** An earlier batch of this producer epoch was refused and has not come again. */
  isBehind(place: SequencePlace, nowMs: number): boolean {
    if (this.#refused.size === 0) return false;
    const known = this.#refused.get(keyOf(place));
    if (known === undefined || known.epoch !== place.producerEpoch || nowMs >= known.untilMs) return false;
    return isAfter(place.baseSequence, known.lowestSequence);
  }

  /** A batch of the producer was appended: from now on the partition knows it. */
  clear(place: SequencePlace): void {
    if (this.#refused.size > 0) this.#refused.delete(keyOf(place));
  }
}

function keyOf({ topicId, partition, producerId }: SequencePlace): string {
  return `${topicId}-${partition}-${producerId}`;
}

/** Sequences wrap from 2^31 - 1 to 0. */
function isAfter(sequence: number, other: number): boolean {
  const distance = (sequence - other) & SEQUENCE_MASK;
  return distance !== 0 && distance < HALF_OF_SEQUENCES;
}
