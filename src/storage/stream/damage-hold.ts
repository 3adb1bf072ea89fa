/**
 * Which streams a damaged WAL holds back. What lay in a gap is unknown, so a stream counts as unharmed only when it is proven: an entry of it lies behind the
 * last gap, and its entries go on from one to the next without a hole (offsets have none, so nothing of it was in a gap). Of any other stream
 * acknowledged records may be lost without a trace: it is not opened, and while one is held the WAL's committed position stands still,
 * so that a restart finds the gap again.
 *
 * A stream that came into being after this start has nothing in a gap.
 */
import { Trouble } from "../../base/trouble.ts";
import { type StreamId, type StreamKey, streamKey } from "../types.ts";
import { BATCH_ENTRY_KIND, type DamageReport, type RecoveredEntry } from "../wal/wal.ts";

export class DamageHold {
  private readonly held = new Map<StreamKey, StreamId>();
  private readonly gaps: string;

  /** `streams`: all that were this broker's when the WAL was opened. */
  constructor(damage: DamageReport | undefined, recovered: readonly RecoveredEntry[], streams: Iterable<StreamId>) {
    this.gaps = damage?.gaps.map(({ fromLsn, toLsn }) => `${fromLsn}-${toLsn}`).join(", ") ?? "";
    const lastGapEnd = damage?.gaps.at(-1)?.toLsn;
    if (lastGapEnd === undefined) return;
    const unharmed = findUnharmed(recovered, lastGapEnd);
    for (const id of streams) {
      const key = streamKey(id);
      if (!unharmed.has(key)) this.held.set(key, id);
    }
  }

  /** How many streams are held: 0 when there is no damage, or none that matters any more. */
  get size(): number {
    return this.held.size;
  }

  getStreams(): readonly StreamId[] {
    return [...this.held.values()];
  }

  /** The stream is gone: what it may have lost does not matter. */
  drop(key: StreamKey): void {
    this.held.delete(key);
  }

  /** Throws Trouble "stream-damaged". */
  refuse(key: StreamKey): void {
    if (!this.held.has(key)) return;
    throw new Trouble({
      code: "stream-damaged",
      message: `stream ${key} is held: the WAL cannot be read at LSN ${this.gaps}, and acknowledged records of the stream may have lain there`,
      retryable: false,
      remedy: "restore the WAL's volume from a snapshot, or delete the topic; docs/operations.md says what to weigh",
    });
  }
}

function findUnharmed(recovered: readonly RecoveredEntry[], lastGapEnd: number): ReadonlySet<StreamKey> {
  const nextOffsets = new Map<StreamKey, number>();
  const broken = new Set<StreamKey>();
  const unharmed = new Set<StreamKey>();
  for (const entry of recovered) {
    if (entry.kind !== BATCH_ENTRY_KIND) continue;
    const key = streamKey(entry.stream);
    if ((nextOffsets.get(key) ?? entry.baseOffset) !== entry.baseOffset) broken.add(key);
    nextOffsets.set(key, entry.lastOffset + 1);
    if (entry.location.lsn >= lastGapEnd) unharmed.add(key);
  }
  for (const key of broken) unharmed.delete(key);
  return unharmed;
}
