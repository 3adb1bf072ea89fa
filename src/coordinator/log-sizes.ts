/**
 * How many bytes of a log lie below an offset, about: a step is noted each so many bytes. What is told is never more than there is, and exact at the log's
 * end. In memory: 16 bytes for each step of the log.
 */

interface Step {
  readonly endOffset: number;
  /** All bytes counted when the log ended there. */
  readonly totalBytes: number;
}

export class LogSizes {
  readonly #stepBytes: number;
  /** In order of offset. */
  #steps: Step[] = [];
  #end: Step = { endOffset: 0, totalBytes: 0 };
  #trimmedBytes = 0;

  constructor(stepBytes: number) {
    this.#stepBytes = stepBytes;
  }

  /** Where the last batch that was noted ends. */
  get endOffset(): number {
    return this.#end.endOffset;
  }

  /** From the log's start to its end. */
  get bytes(): number {
    return this.#end.totalBytes - this.#trimmedBytes;
  }

  /** The batch that ends at `endOffset` is in the log; one that was noted before counts once. */
  note(endOffset: number, sizeBytes: number): void {
    if (endOffset <= this.#end.endOffset) return;
    this.#end = { endOffset, totalBytes: this.#end.totalBytes + sizeBytes };
    if (this.#end.totalBytes - (this.#steps.at(-1)?.totalBytes ?? 0) >= this.#stepBytes) this.#steps.push(this.#end);
  }

  bytesBelow(offset: number): number {
    return Math.max(0, this.#totalBelow(offset) - this.#trimmedBytes);
  }

  /** The log begins at `offset` from now on. */
  trimTo(offset: number): void {
    this.#trimmedBytes = Math.max(this.#trimmedBytes, this.#totalBelow(offset));
    this.#steps = this.#steps.filter(({ endOffset }) => endOffset > offset);
  }

  #totalBelow(offset: number): number {
    if (offset >= this.#end.endOffset) return this.#end.totalBytes;
    let total = 0;
    for (const step of this.#steps) {
      if (step.endOffset > offset) break;
      total = step.totalBytes;
    }
    return total;
  }
}
