/**
 * What the recovery scan found, until each stream's owner opens it (or the caller says that nobody ever will). While a stream waits here, the WAL's
 * committed position must not pass it. The same holds for streams of which a damaged WAL may have lost entries (`damage-hold.ts`).
 */
import { Trouble } from "../../base/trouble.ts";
import type { CommittedRangesPort } from "../ports.ts";
import type { OpenStreamOptions } from "../storage.ts";
import { type StreamId, type StreamKey, streamKey } from "../types.ts";
import { BATCH_ENTRY_KIND, type RecoveredEntry } from "../wal/wal.ts";
import type { DamageHold } from "./damage-hold.ts";
import { StreamLog } from "./stream-log.ts";

export class RecoveredTails {
  private readonly entries = new Map<StreamKey, RecoveredEntry[]>();
  /** Streams with entries above their committed end. */
  private readonly waiting = new Map<StreamKey, StreamId>();

  private readonly damageHold: DamageHold;

  constructor(recovered: readonly RecoveredEntry[], ranges: CommittedRangesPort, damageHold: DamageHold) {
    this.damageHold = damageHold;
    for (const entry of recovered) {
      if (entry.kind !== BATCH_ENTRY_KIND) continue;
      const key = streamKey(entry.stream);
      const entries = this.entries.get(key);
      if (entries === undefined) this.entries.set(key, [entry]);
      else entries.push(entry);
      if (entry.lastOffset >= ranges.getCommittedEnd(entry.stream)) this.waiting.set(key, entry.stream);
    }
  }

  get isEmpty(): boolean {
    return this.waiting.size === 0 && this.damageHold.size === 0;
  }

  getStreams(): readonly StreamId[] {
    const held = this.damageHold.getStreams().filter((id) => !this.waiting.has(streamKey(id)));
    return [...this.waiting.values(), ...held];
  }

  drop(id: StreamId): void {
    const key = streamKey(id);
    this.entries.delete(key);
    this.waiting.delete(key);
    this.damageHold.drop(key);
  }

  /**
   * The stream with its recovered tail above the committed end. Entries below it are kept for reads. Throws Trouble "stream-damaged", and goes on holding
   * the entries, when offsets are missing between committed end and tail or within the tail, or may be missing at its end.
   */
  open(id: StreamId, options: OpenStreamOptions): StreamLog {
    const key = streamKey(id);
    const log = new StreamLog(id, options.term, options.committedEndOffset, options.logStartOffset);
    const entries = this.entries.get(key) ?? [];
    const startOffset = log.nextOffset;
    const lastOffset = entries.at(-1)?.lastOffset ?? -1;
    let expectedOffset: number | undefined;
    for (const entry of lastOffset + 1 >= startOffset ? entries : []) {
      if (expectedOffset === undefined ? entry.baseOffset > startOffset : entry.baseOffset !== expectedOffset) {
        throw streamDamaged(key, expectedOffset ?? startOffset, entry);
      }
      log.index.push(entry.baseOffset, entry.lastOffset, entry.maxTimestampMs, entry.term, entry.location);
      expectedOffset = entry.lastOffset + 1;
    }
    this.damageHold.refuse(key);
    log.nextOffset = Math.max(startOffset, expectedOffset ?? startOffset);
    log.durableEndOffset = log.nextOffset;
    const firstUncommitted = log.index.find(options.committedEndOffset);
    log.cutSequence = firstUncommitted;
    log.committedSequence = firstUncommitted;
    for (let sequence = firstUncommitted; sequence < log.index.endSequence; sequence += 1)
      log.dirtyBytes += log.index.lengthBytes(sequence);
    this.drop(id);
    return log;
  }
}

function streamDamaged(key: StreamKey, expectedOffset: number, entry: RecoveredEntry): Trouble {
  return new Trouble({
    code: "stream-damaged",
    message: `stream ${key}: the WAL holds offsets ${entry.baseOffset}-${entry.lastOffset} at LSN ${entry.location.lsn} where ${expectedOffset} must follow; what lies between is lost or damaged`,
    retryable: false,
    remedy: "the partition is held as it is: run `weir wal verify` on the device, and see docs/operations.md",
  });
}
