/** What storage needs from the cluster's metadata; the metadata room implements it. */
import type { StreamId, WalPosition } from "./types.ts";

/** A run of offsets [baseOffset, endOffset) of one stream inside one segment object. */
export interface CommittedRange {
  readonly objectKey: string;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestampMs: number;
  /** Bytes of its batches before our compression. */
  readonly sizeBytes: number;
}

export interface CommitRange {
  readonly stream: StreamId;
  readonly term: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestampMs: number;
  readonly sizeBytes: number;
  /** The object holds a checkpoint of this stream taken at `endOffset`. */
  readonly hasCheckpoint: boolean;
}

export interface ObjectCommit {
  readonly objectKey: string;
  readonly objectSizeBytes: number;
  readonly walId: string;
  /** With this commit everything of the WAL below `walCommitted` is in objects (or gone, or moved). */
  readonly walCommitted: WalPosition;
  readonly ranges: readonly CommitRange[];
}

/** "accepted": topic id and term are current and the base equals the committed end. "gone": topic deleted, or owned under another term. */
export type RangeOutcome = "accepted" | "gone";

export interface ObjectCommitPort {
  /** Answers per range, after the metadata log holds the commit for certain. Calls are made one at a time, in LSN order. Waits out transient store faults. */
  commitObject(commit: ObjectCommit): Promise<readonly RangeOutcome[]>;
  /** The writer will never commit this object: it may be deleted. Best effort. */
  writeOffObject(objectKey: string): Promise<void>;
}

export interface CommittedRangesPort {
  /** The committed range that contains `offset`; else the first above it; undefined when none. */
  findRange(stream: StreamId, offset: number): CommittedRange | undefined;
  /** All committed ranges in offset order (for time lookups). */
  getRanges(stream: StreamId): readonly CommittedRange[];
  getCommittedEnd(stream: StreamId): number;
  /** Where the newest checkpoint lies: its object and the offset it was taken at. */
  getCheckpoint(stream: StreamId): { readonly objectKey: string; readonly endOffset: number } | undefined;
}
