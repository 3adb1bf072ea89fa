/**
 * The owner's handle on one stream. Append is the hot path: one copy into the ring, one row in the index, no promise and no
 * closure. Reads that the ring can serve are synchronous references; all others go through the catch-up reader.
 */
import { assert } from "../../base/assert.ts";
import type { AppendInput, ReadLimits, RecordsSlice, Reservation, Stream, StreamId } from "../types.ts";
import { BATCH_ENTRY_KIND, type Wal, type WalEntryInput } from "../wal/wal.ts";
import { type CatchUpReader, selectTail } from "./catch-up-reader.ts";
import { emptySlice } from "./private-slice.ts";
import { ReadAhead } from "./read-ahead.ts";
import type { ReleaseTracker } from "./release-tracker.ts";
import type { StreamLog } from "./stream-log.ts";
import { TailSlice } from "./tail-slice.ts";
import { findFirstAtTime, findGreatestTime } from "./time-lookup.ts";

export interface LocalStreamOptions {
  readonly log: StreamLog;
  readonly wal: Wal;
  readonly releases: ReleaseTracker;
  readonly reader: CatchUpReader;
  /** Told of each append, with its payload bytes. */
  readonly noteAppend: (log: StreamLog, bytes: number) => void;
}

/** One object for all appends: the WAL reads it before it returns. */
type EntryScratch = { -readonly [Field in keyof WalEntryInput]: WalEntryInput[Field] };

export class LocalStream implements Stream {
  readonly id: StreamId;
  readonly log: StreamLog;
  private readonly wal: Wal;
  private readonly releases: ReleaseTracker;
  private readonly reader: CatchUpReader;
  private readonly noteAppend: (log: StreamLog, bytes: number) => void;
  private readonly readAhead: ReadAhead;
  private readonly scratch: EntryScratch;
  private isClosed = false;

  constructor(options: LocalStreamOptions) {
    this.log = options.log;
    this.id = options.log.id;
    this.wal = options.wal;
    this.releases = options.releases;
    this.reader = options.reader;
    this.noteAppend = options.noteAppend;
    this.readAhead = new ReadAhead(options.reader.maxWindowBytes);
    this.scratch = {
      stream: this.id,
      kind: BATCH_ENTRY_KIND,
      term: 0,
      baseOffset: 0,
      lastOffset: 0,
      maxTimestampMs: 0,
      source: new Uint8Array(0),
      start: 0,
      end: 0,
    };
  }

  get nextOffset(): number {
    return this.log.nextOffset;
  }
  get durableEndOffset(): number {
    return this.log.durableEndOffset;
  }
  get committedEndOffset(): number {
    return this.log.committedEndOffset;
  }
  get localStartOffset(): number {
    this.dropUnreachable();
    return this.log.tailStartOffset;
  }

  append(input: AppendInput, reservation: Reservation): void {
    const { log, scratch } = this;
    assert(!this.isClosed, "a closed stream takes no appends");
    assert(input.baseOffset === log.nextOffset, "an append begins at the next offset");
    assert(input.lastOffset >= input.baseOffset && input.end > input.start, "a batch covers offsets and has bytes");
    scratch.term = input.term;
    scratch.baseOffset = input.baseOffset;
    scratch.lastOffset = input.lastOffset;
    scratch.maxTimestampMs = input.maxTimestampMs;
    scratch.source = input.source;
    scratch.start = input.start;
    scratch.end = input.end;
    const location = this.wal.append(scratch, reservation);
    log.index.push(input.baseOffset, input.lastOffset, input.maxTimestampMs, input.term, location);
    log.nextOffset = input.lastOffset + 1;
    this.releases.noteAppend(log, location.lsn, log.nextOffset);
    this.noteAppend(log, input.end - input.start);
  }

  tryRead(fromOffset: number, limits: ReadLimits): RecordsSlice | undefined {
    const log = this.log;
    const endOffset = Math.min(limits.endOffset, log.durableEndOffset);
    if (fromOffset >= endOffset) return emptySlice(fromOffset);
    if (fromOffset < log.tailStartOffset) return undefined;
    const sequence = log.index.find(fromOffset);
    if (!log.index.holds(sequence)) return emptySlice(fromOffset);
    if (this.wal.tryView(log.index.location(sequence)) === undefined) return undefined;
    const bounded = endOffset === limits.endOffset ? limits : { ...limits, endOffset };
    const selection = selectTail(log, sequence, fromOffset, bounded, Number.MAX_SAFE_INTEGER - sequence);
    if (selection.sizeBytes === 0) return emptySlice(fromOffset);
    return new TailSlice(this.reader, log, sequence, log.index.baseOffset(sequence), selection.nextOffset, selection.sizeBytes);
  }

  async read(fromOffset: number, limits: ReadLimits, signal?: AbortSignal): Promise<RecordsSlice> {
    return this.tryRead(fromOffset, limits) ?? (await this.reader.read(this.log, fromOffset, limits, this.readAhead, signal));
  }

  async findBatchByTimestamp(timestampMs: number, fromOffset: number, endOffset: number): Promise<number | undefined> {
    const bound = Math.min(endOffset, this.log.durableEndOffset);
    return (await findFirstAtTime(this.log, this.reader.objects, timestampMs, fromOffset, bound))?.baseOffset;
  }

  async findMaxTimestampBatch(fromOffset: number, endOffset: number): Promise<{ baseOffset: number; maxTimestampMs: number } | undefined> {
    return await findGreatestTime(this.log, this.reader.objects, fromOffset, Math.min(endOffset, this.log.durableEndOffset));
  }

  /** What is not committed yet is still uploaded in order: the metadata log decides what becomes of it. */
  trimTo(logStartOffset: number): void {
    const log = this.log;
    assert(logStartOffset <= log.nextOffset, "the log start does not pass the log's end");
    if (logStartOffset <= log.logStartOffset) return;
    log.logStartOffset = logStartOffset;
    const sequence = log.index.find(logStartOffset);
    log.index.trimTo(Math.min(sequence, log.committedSequence));
  }

  /** Drops references to committed batches that neither ring nor device has any more. */
  private dropUnreachable(): void {
    const { index, committedSequence } = this.log;
    while (index.headSequence < committedSequence) {
      const head = index.headSequence;
      if (this.wal.isOnDevice(index.lsn(head)) || this.wal.tryView(index.location(head)) !== undefined) return;
      index.trimTo(head + 1);
    }
  }

  close(): void {
    this.isClosed = true;
  }
}
