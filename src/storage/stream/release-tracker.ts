/**
 * Knows which streams wait for which WAL commit, so that a release touches just these. One record per commit, none per batch.
 */
import { assert } from "../../base/assert.ts";
import type { Lsn } from "../types.ts";
import type { StreamLog } from "./stream-log.ts";

interface OpenCommit {
  readonly lsn: Lsn;
  readonly streams: StreamLog[];
  readonly endOffsets: number[];
}

export class ReleaseTracker {
  private readonly commits: OpenCommit[] = [];
  private first = 0;

  /** `lsn`: first block of the commit that took the batch. */
  noteAppend(stream: StreamLog, lsn: Lsn, endOffset: number): void {
    let commit = this.commits.at(-1);
    if (commit === undefined || commit.lsn !== lsn) {
      assert(commit === undefined || lsn > commit.lsn, "commits follow each other");
      commit = { lsn, streams: [], endOffsets: [] };
      this.commits.push(commit);
    }
    if (stream.trackedLsn !== lsn) {
      stream.trackedLsn = lsn;
      stream.trackedSlot = commit.streams.length;
      commit.streams.push(stream);
      commit.endOffsets.push(endOffset);
    } else {
      commit.endOffsets[stream.trackedSlot] = endOffset;
    }
  }

  /** Raises the durable ends of what lies below `releasedThrough`; each stream once in the answer. */
  release(releasedThrough: Lsn): readonly StreamLog[] {
    const risen = new Set<StreamLog>();
    let commit = this.commits[this.first];
    while (commit !== undefined && commit.lsn < releasedThrough) {
      for (let i = 0; i < commit.streams.length; i += 1) {
        const stream = commit.streams[i];
        if (stream === undefined) continue;
        stream.advanceDurable(commit.endOffsets[i] ?? 0);
        risen.add(stream);
      }
      this.first += 1;
      commit = this.commits[this.first];
    }
    if (this.first === this.commits.length) {
      this.commits.length = 0;
      this.first = 0;
    } else if (this.first > 64) {
      this.commits.splice(0, this.first);
      this.first = 0;
    }
    return [...risen];
  }
}
