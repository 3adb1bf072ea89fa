/** A storage whose durability the test decides: batches lie in an array, and become durable when `release` is called (or at once). */

import { Trouble } from "../../../src/base/trouble.ts";
import type { OpenStreamOptions, Storage, StorageState } from "../../../src/storage/storage.ts";
import type { AppendInput, ReadLimits, RecordsSlice, Reservation, Stream, StreamId } from "../../../src/storage/types.ts";

export interface FakeBatch {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly maxTimestampMs: number;
  readonly bytes: Uint8Array;
}

export class FakeSlice implements RecordsSlice {
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly sizeBytes: number;
  releases = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, firstOffset: number, nextOffset: number) {
    this.#bytes = bytes;
    this.sizeBytes = bytes.length;
    this.firstOffset = firstOffset;
    this.nextOffset = nextOffset;
  }

  tryCopy(from: number, length: number, target: Uint8Array, targetOffset: number): boolean {
    target.set(this.#bytes.subarray(from, from + length), targetOffset);
    return true;
  }

  load(): Promise<void> {
    return Promise.resolve();
  }

  release(): void {
    this.releases += 1;
    if (this.releases > 1) throw new Error("a slice was released twice");
  }
}

export class FakeStream implements Stream {
  readonly id: StreamId;
  readonly options: OpenStreamOptions;
  readonly batches: FakeBatch[] = [];
  readonly slices: FakeSlice[] = [];
  nextOffset: number;
  durableEndOffset: number;
  committedEndOffset: number;
  localStartOffset: number;
  trimmedTo = 0;
  /** Offsets below are not in memory: `tryRead` says undefined. */
  coldBelow = 0;
  /** When set, `read` rejects with it. */
  readFailure: Error | undefined;
  tryReads = 0;

  constructor(id: StreamId, options: OpenStreamOptions, batches: readonly FakeBatch[]) {
    this.id = id;
    this.options = options;
    this.batches.push(...batches);
    const last = batches.at(-1);
    this.nextOffset = last === undefined ? options.committedEndOffset : last.lastOffset + 1;
    this.durableEndOffset = this.nextOffset;
    this.committedEndOffset = options.committedEndOffset;
    this.localStartOffset = options.logStartOffset;
  }

  append(input: AppendInput, _reservation: Reservation): void {
    if (input.baseOffset !== this.nextOffset) throw new Error(`append at ${input.baseOffset}, expected ${this.nextOffset}`);
    // Not slice: of a Buffer that would be a view.
    const bytes = new Uint8Array(input.source.subarray(input.start, input.end));
    this.batches.push({ baseOffset: input.baseOffset, lastOffset: input.lastOffset, maxTimestampMs: input.maxTimestampMs, bytes });
    this.nextOffset = input.lastOffset + 1;
  }

  tryRead(fromOffset: number, limits: ReadLimits): RecordsSlice | undefined {
    this.tryReads += 1;
    return fromOffset < this.coldBelow ? undefined : this.#slice(fromOffset, limits);
  }

  read(fromOffset: number, limits: ReadLimits): Promise<RecordsSlice> {
    return this.readFailure === undefined ? Promise.resolve(this.#slice(fromOffset, limits)) : Promise.reject(this.readFailure);
  }

  #slice(fromOffset: number, limits: ReadLimits): RecordsSlice {
    const parts: Uint8Array[] = [];
    let size = 0;
    let next = fromOffset;
    let first = fromOffset;
    for (const batch of this.batches) {
      if (batch.lastOffset < fromOffset) continue;
      if (batch.lastOffset >= limits.endOffset) break;
      const isFirst = parts.length === 0;
      if (size + batch.bytes.length > limits.maxBytes && !(isFirst && limits.atLeastOneBatch)) break;
      if (isFirst) first = batch.baseOffset;
      parts.push(batch.bytes);
      size += batch.bytes.length;
      next = batch.lastOffset + 1;
    }
    const slice = new FakeSlice(Buffer.concat(parts), first, next);
    this.slices.push(slice);
    return slice;
  }

  findBatchByTimestamp(timestampMs: number, fromOffset: number, endOffset: number): Promise<number | undefined> {
    const found = this.batches.find((b) => b.lastOffset >= fromOffset && b.lastOffset < endOffset && b.maxTimestampMs >= timestampMs);
    return Promise.resolve(found?.baseOffset);
  }

  findMaxTimestampBatch(fromOffset: number, endOffset: number): Promise<{ baseOffset: number; maxTimestampMs: number } | undefined> {
    let best: FakeBatch | undefined;
    for (const batch of this.batches) {
      if (batch.lastOffset < fromOffset || batch.lastOffset >= endOffset) continue;
      if (best === undefined || batch.maxTimestampMs > best.maxTimestampMs) best = batch;
    }
    return Promise.resolve(best);
  }

  trimTo(logStartOffset: number): void {
    this.trimmedTo = logStartOffset;
  }
}

export class FakeStorage implements Storage {
  state: StorageState = { kind: "serving" };
  readonly streams = new Map<string, FakeStream>();
  /** What a stream is opened with: as recovery or the object store would have it. */
  readonly stored = new Map<string, FakeBatch[]>();
  readonly checkpoints = new Map<string, Uint8Array>();
  /** False: appends wait for `release`. */
  isDurableAtOnce = true;
  /** False: `tryReserve` has no room, and `reserve` waits for `grant`. */
  hasRoom = true;
  openReservations = 0;
  opens = 0;
  #listeners: ((streams: readonly Stream[]) => void)[] = [];
  #durable: { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } | undefined;
  #waiting: (() => void)[] = [];

  tryReserve(bytes: number, _batches: number): Reservation | undefined {
    return this.hasRoom ? this.#reservation(bytes) : undefined;
  }

  reserve(bytes: number, _batches: number, signal?: AbortSignal): Promise<Reservation> {
    if (this.hasRoom) return Promise.resolve(this.#reservation(bytes));
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => resolve(this.#reservation(bytes)));
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      if (signal?.aborted) reject(signal.reason);
    });
  }

  /** Gives room to everyone who waits. */
  grant(): void {
    this.hasRoom = true;
    for (const waiting of this.#waiting.splice(0)) waiting();
  }

  #reservation(bytes: number): Reservation {
    this.openReservations += 1;
    return {
      bytes,
      release: () => {
        this.openReservations -= 1;
      },
    };
  }

  openStream(id: StreamId, options: OpenStreamOptions): Stream {
    const key = `${id.topicId}-${id.partition}`;
    if (this.streams.has(key)) throw new Error(`stream ${key} is open`);
    this.opens += 1;
    const stream = new FakeStream(id, options, this.stored.get(key) ?? []);
    this.streams.set(key, stream);
    return stream;
  }

  closeStream(id: StreamId): void {
    const key = `${id.topicId}-${id.partition}`;
    const stream = this.streams.get(key);
    if (stream === undefined) throw new Error(`stream ${key} is not open`);
    this.stored.set(key, [...stream.batches]);
    this.streams.delete(key);
  }

  stream(topicId: string, partition: number): FakeStream {
    const stream = this.streams.get(`${topicId}-${partition}`);
    if (stream === undefined) throw new Error(`stream ${topicId}-${partition} is not open`);
    return stream;
  }

  getRecoveredStreams(): readonly StreamId[] {
    return [];
  }

  whenDurable(): Promise<void> {
    if (this.isDurableAtOnce) {
      this.release();
      return Promise.resolve();
    }
    this.#durable ??= Promise.withResolvers<void>();
    return this.#durable.promise;
  }

  /** Everything appended so far becomes durable. */
  release(): void {
    const risen = [...this.streams.values()].filter((stream) => stream.durableEndOffset < stream.nextOffset);
    for (const stream of risen) stream.durableEndOffset = stream.nextOffset;
    if (risen.length > 0) for (const listener of this.#listeners) listener(risen);
    this.#durable?.resolve();
    this.#durable = undefined;
  }

  /** The device failed for good. */
  fail(): void {
    this.#durable?.reject(new Trouble({ code: "wal-failed", message: "the device failed", retryable: false }));
    this.#durable = undefined;
  }

  onReleased(listener: (streams: readonly Stream[]) => void): void {
    this.#listeners.push(listener);
  }

  readCheckpoint(id: StreamId): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.checkpoints.get(`${id.topicId}-${id.partition}`));
  }

  flushToObjects(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
