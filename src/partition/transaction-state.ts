/**
 * Which transactions of a partition are undecided, and which were aborted. The last stable offset is the first offset of the earliest transaction that is
 * open or whose marker is not durable yet; read_committed readers see nothing at or above it, and are told which of the transactions below were aborted.
 *
 * Invariants
 * - Transactions begin at the log's end, so `#open` is in order of first offset; markers too, so `#aborted` is in order of last offset.
 * - A transaction that ended keeps the last stable offset down until its marker is durable: else a crash could take the end back (case R4).
 *
 * The aborted ones are held in memory and in every checkpoint, 32 bytes each, and go when the log start passes their marker: docs/decisions says why.
 */
import { assert } from "../base/assert.ts";

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
  /** Offset of the marker. */
  readonly lastOffset: number;
  /** The last stable offset once this marker is durable: whoever reads only below it needs no later entry. */
  readonly lastStableOffset: number;
}

interface EndedTransaction {
  readonly firstOffset: number;
  readonly markerOffset: number;
}

export class TransactionState {
  /** First offset to producer id. */
  readonly #open = new Map<number, number>();
  /** Ended, marker not durable; in order of marker. */
  #ended: EndedTransaction[] = [];
  #aborted: AbortedTransaction[] = [];
  /** Least first offset of what is open or ended and not durable; Infinity when there is none. */
  #firstUnstable = Number.POSITIVE_INFINITY;

  get openCount(): number {
    return this.#open.size;
  }

  get aborted(): readonly AbortedTransaction[] {
    return this.#aborted;
  }

  /** Infinity when nothing is undecided. */
  get firstUnstableOffset(): number {
    return this.#firstUnstable;
  }

  begin(producerId: number, firstOffset: number): void {
    this.#open.set(firstOffset, producerId);
    if (firstOffset < this.#firstUnstable) this.#firstUnstable = firstOffset;
  }

  /** The marker at `markerOffset` has been appended. */
  end(producerId: number, firstOffset: number, markerOffset: number, isAbort: boolean): void {
    assert(this.#open.delete(firstOffset), `the transaction of producer ${producerId} that began at ${firstOffset} is open`);
    this.#ended.push({ firstOffset, markerOffset });
    if (!isAbort) return;
    const nextOpen = this.#open.keys().next().value;
    this.#aborted.push({ producerId, firstOffset, lastOffset: markerOffset, lastStableOffset: nextOpen ?? markerOffset + 1 });
  }

  /** Markers below `durableEndOffset` are durable. */
  onDurable(durableEndOffset: number): void {
    let count = 0;
    while (count < this.#ended.length && (this.#ended[count] as EndedTransaction).markerOffset < durableEndOffset) count += 1;
    if (count === 0) return;
    this.#ended.splice(0, count);
    let first = this.#open.keys().next().value ?? Number.POSITIVE_INFINITY;
    for (const { firstOffset } of this.#ended) if (firstOffset < first) first = firstOffset;
    this.#firstUnstable = first;
  }

  /** Aborted transactions that may have records in [fromOffset, endOffset), in order of their markers. */
  listAborted(fromOffset: number, endOffset: number): AbortedTransaction[] {
    const found: AbortedTransaction[] = [];
    for (let index = this.#findMarkerFrom(fromOffset); index < this.#aborted.length; index++) {
      const transaction = this.#aborted[index] as AbortedTransaction;
      if (transaction.firstOffset < endOffset) found.push(transaction);
      if (transaction.lastStableOffset >= endOffset) break;
    }
    return found;
  }

  /** Index of the first aborted transaction whose marker lies at or above `offset`. */
  #findMarkerFrom(offset: number): number {
    let low = 0;
    let high = this.#aborted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#aborted[middle] as AbortedTransaction).lastOffset >= offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Records below are gone. */
  trimTo(logStartOffset: number): void {
    const gone = this.#findMarkerFrom(logStartOffset);
    if (gone > 0) this.#aborted = this.#aborted.slice(gone);
  }

  /** What a checkpoint held. `open` maps first offsets to producer ids, in any order. */
  restore(open: readonly (readonly [firstOffset: number, producerId: number])[], aborted: readonly AbortedTransaction[]): void {
    for (const [firstOffset, producerId] of [...open].sort((a, b) => a[0] - b[0])) this.begin(producerId, firstOffset);
    this.#aborted = [...aborted];
  }
}
