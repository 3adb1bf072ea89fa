/**
 * The leader-epoch chain of a partition (KIP-101, KIP-279): which epoch begins at which offset. Epochs and offsets both rise. Answers
 * OffsetForLeaderEpoch, the divergence check of Fetch and the epoch of an offset for ListOffsets.
 */
import { assert } from "../base/assert.ts";

export interface LeaderEpochStart {
  readonly epoch: number;
  readonly startOffset: number;
}

export interface EpochEnd {
  readonly epoch: number;
  readonly endOffset: number;
}

export class LeaderEpochs {
  #entries: LeaderEpochStart[] = [];

  get entries(): readonly LeaderEpochStart[] {
    return this.#entries;
  }

  get latest(): number | undefined {
    return this.#entries.at(-1)?.epoch;
  }

  /** `epoch` begins at `startOffset`, unless it is already known. An epoch that got no batch gives way to the next. */
  assign(epoch: number, startOffset: number): void {
    const last = this.#entries.at(-1);
    if (last !== undefined) {
      assert(epoch >= last.epoch, `leader epoch fell from ${last.epoch} to ${epoch}`);
      if (epoch === last.epoch) return;
      assert(startOffset >= last.startOffset, `leader epoch ${epoch} begins at ${startOffset}, below epoch ${last.epoch}`);
      if (last.startOffset === startOffset) this.#entries.pop();
    }
    this.#entries.push({ epoch, startOffset });
  }

  /** Offsets below are gone: the epoch that contains `logStartOffset` now begins there. */
  trimTo(logStartOffset: number): void {
    const first = this.#entries.findLastIndex((entry) => entry.startOffset <= logStartOffset);
    if (first < 0) return;
    const containing = this.#entries[first];
    if (containing === undefined) return;
    this.#entries = [{ epoch: containing.epoch, startOffset: logStartOffset }, ...this.#entries.slice(first + 1)];
  }

  epochOf(offset: number): number | undefined {
    return this.#entries.findLast((entry) => entry.startOffset <= offset)?.epoch;
  }

  /**
   * The largest epoch not above `requested` and where it ends; `logEndOffset` ends the latest. Undefined when nothing is known of it
   * (LeaderEpochFileCache.endOffsetFor).
   */
  endOf(requested: number, logEndOffset: number): EpochEnd | undefined {
    if (requested === -1) return undefined;
    if (this.latest === requested) return { epoch: requested, endOffset: logEndOffset };
    const higherIndex = this.#entries.findIndex((entry) => entry.epoch > requested);
    const higher = this.#entries[higherIndex];
    if (higher === undefined) return undefined;
    const floor = this.#entries[higherIndex - 1];
    return { epoch: floor?.epoch ?? requested, endOffset: higher.startOffset };
  }
}
