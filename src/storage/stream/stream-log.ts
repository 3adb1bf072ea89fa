/**
 * The state of one stream that outlives its owner's handle: a closed stream whose tail is not yet in objects is still uploaded. `LocalStream` is the owner's
 * handle on it; the uploader and the release tracker work on it directly.
 *
 * Invariant: committedEndOffset <= cutOffset <= nextOffset, durableEndOffset <= nextOffset; none of them ever falls.
 */
import { assert } from "../../base/assert.ts";
import type { CheckpointSource, StreamId, StreamKey } from "../types.ts";
import { streamKey } from "../types.ts";
import { BatchIndex } from "./batch-index.ts";

export class StreamLog {
  readonly id: StreamId;
  readonly key: StreamKey;
  readonly index = new BatchIndex();
  /** The owner's present term: what commits are checked against. */
  term: number;
  checkpointSource: CheckpointSource | undefined;
  nextOffset: number;
  durableEndOffset: number;
  committedEndOffset: number;
  logStartOffset: number;

  /** Uploader: cuts were taken up to here; the first batch above is `cutSequence`. */
  cutOffset: number;
  cutSequence = 0;
  /** Uploader: batches below are in objects (or gone). */
  committedSequence = 0;
  /** Uploader: in its list of streams with batches above `cutOffset`. */
  isDirty = false;
  /** Payload bytes above `cutOffset`. */
  dirtyBytes = 0;

  /** Release tracker: the open commit that last took a batch of this stream, and its place in that commit's list. */
  trackedLsn = -1;
  trackedSlot = 0;

  constructor(id: StreamId, term: number, committedEndOffset: number, logStartOffset: number) {
    this.id = id;
    this.key = streamKey(id);
    this.term = term;
    this.logStartOffset = logStartOffset;
    this.committedEndOffset = committedEndOffset;
    const start = Math.max(committedEndOffset, logStartOffset);
    this.nextOffset = start;
    this.durableEndOffset = start;
    this.cutOffset = committedEndOffset;
  }

  /** Nothing of it waits for an upload or a commit. */
  get isCommitted(): boolean {
    return this.committedSequence === this.index.endSequence;
  }

  /** Offset of the first batch whose place in the WAL is known; `nextOffset` when none is. */
  get tailStartOffset(): number {
    const head = this.index.headSequence;
    return this.index.holds(head) ? this.index.baseOffset(head) : this.nextOffset;
  }

  advanceDurable(endOffset: number): void {
    assert(endOffset >= this.durableEndOffset && endOffset <= this.nextOffset, `durable end of ${this.key} only rises`);
    this.durableEndOffset = endOffset;
  }

  /** M3: the committed end never moves back. */
  advanceCommitted(endOffset: number): void {
    assert(endOffset <= this.durableEndOffset, `what is committed of ${this.key} is durable`);
    if (endOffset > this.committedEndOffset) this.committedEndOffset = endOffset;
  }
}
