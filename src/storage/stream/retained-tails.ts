/**
 * References to committed batches stay usable for reads as long as ring or device hold the bytes, but their number is bounded over all streams.
 * The oldest commit's references go first, which is also the order in which the WAL reuses its ranges.
 */
import type { Lsn } from "../types.ts";
import type { Wal } from "../wal/wal.ts";
import type { StreamLog } from "./stream-log.ts";

interface RetainedRun {
  readonly log: StreamLog;
  readonly endSequence: number;
  readonly count: number;
  /** First block of the commit with the run's last batch: once that is reused, all of the run is. */
  readonly lastLsn: Lsn;
}

export class RetainedTails {
  private readonly wal: Wal;
  private readonly maxBatches: number;
  private runs: RetainedRun[] = [];
  private first = 0;
  private count = 0;

  constructor(wal: Wal, maxBatches: number) {
    this.wal = wal;
    this.maxBatches = maxBatches;
  }

  /** References to committed batches held, at most. */
  get batchCount(): number {
    return this.count;
  }

  /** The log's batches up to `endSequence` are committed; `count` of them since the last call. */
  noteCommitted(log: StreamLog, endSequence: number, count: number): void {
    if (count > 0 && log.index.holds(endSequence - 1)) {
      this.runs.push({ log, endSequence, count, lastLsn: log.index.lsn(endSequence - 1) });
      this.count += count;
    }
    let oldest = this.runs[this.first];
    while (oldest !== undefined && (this.count > this.maxBatches || !this.wal.isOnDevice(oldest.lastLsn))) {
      oldest.log.index.trimTo(oldest.endSequence);
      this.count -= oldest.count;
      this.first += 1;
      oldest = this.runs[this.first];
    }
    if (this.first > 256 && this.first * 2 > this.runs.length) {
      this.runs = this.runs.slice(this.first);
      this.first = 0;
    }
  }
}
