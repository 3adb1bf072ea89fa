/**
 * Words of the storage room. It knows no Kafka: a *stream* is one partition log, a *batch* is bytes that cover a run of offsets.
 * Offsets and LSNs are numbers asserted below 2^53. Timestamps are numbers too (range-checked where clients choose them).
 */
import type { ByteSource } from "../base/byte-source.ts";

/** Topic ids are Kafka's 22-character base64url UUIDs everywhere in memory. */
export interface StreamId {
  readonly topicId: string;
  readonly partition: number;
}

export type StreamKey = string & { readonly __brand: "StreamKey" };

export function streamKey(id: StreamId): StreamKey {
  return `${id.topicId}-${id.partition}` as StreamKey;
}

/** A position in a WAL's endless address space, in blocks of 4 KiB. */
export type Lsn = number & { readonly __brand: "Lsn" };

/** Where the chain of commits goes on: everything below is in segment objects that the metadata log names. */
export interface WalPosition {
  readonly lsn: Lsn;
  /** Checksum of the commit that ends at `lsn` (0 for a blank WAL): what the next commit names as its predecessor. */
  readonly predecessorChecksum: number;
  /** Epoch of that commit; the chain's epochs never fall. */
  readonly walEpoch: number;
}

export interface AppendInput {
  /** Offsets that the batch covers, both ends included. */
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly maxTimestampMs: number;
  /** Leader epoch under which it is appended. */
  readonly term: number;
  /** The batch is source[start, end); copied before the call returns. */
  readonly source: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** A claim on room in ring and WAL. `release` gives back what was not used; exactly once. */
export interface Reservation {
  readonly bytes: number;
  release(): void;
}

/** Bytes of consecutive whole batches of one stream, in offset order. */
export interface RecordsSlice extends ByteSource {
  readonly firstOffset: number;
  /** Offset after the last batch in it. */
  readonly nextOffset: number;
}

export interface ReadLimits {
  /** Batches at or above it are not returned (high watermark or last stable offset). A batch that contains it is not returned. */
  readonly endOffset: number;
  /** Stop before going over; the first batch is whole even above it when `atLeastOneBatch`. */
  readonly maxBytes: number;
  readonly atLeastOneBatch: boolean;
}

/** One partition log, open for its owner. Made by `Storage.openStream`. */
export interface Stream {
  readonly id: StreamId;
  /** Offset the next append gets; rises at append. */
  readonly nextOffset: number;
  /** Everything below is durable and released; rises strictly in LSN order. */
  readonly durableEndOffset: number;
  /** Everything below is in segment objects that the metadata log names. */
  readonly committedEndOffset: number;
  /** First offset still held in ring or WAL device (Kafka's local log start). */
  readonly localStartOffset: number;

  /**
   * Copies a batch into the ring. Synchronous; the caller holds a Reservation that covers it. `baseOffset` must equal `nextOffset`.
   * Durable later: see `Storage.whenDurable`.
   */
  append(input: AppendInput, reservation: Reservation): void;

  /** Synchronous read from the ring from the batch that contains `fromOffset`; undefined when the first batch is not in the ring ("needs `read`"). Empty slice: nothing below the limit. */
  tryRead(fromOffset: number, limits: ReadLimits): RecordsSlice | undefined;
  /**
   * As tryRead, from ring, WAL device, block cache or object store; waits for the catch-up budget, a bounded time. Rejects with a Trouble ("catch-up-busy",
   * retryable, when slices held elsewhere leave no memory), or with `signal.reason`.
   */
  read(fromOffset: number, limits: ReadLimits, signal?: AbortSignal): Promise<RecordsSlice>;

  /**
   * Offset range of the batches that may hold the first record with timestamp >= `timestampMs` at or above `fromOffset`: the base offset of the first batch whose max
   * timestamp reaches it; undefined when none. At most two ranged reads of the object store.
   */
  findBatchByTimestamp(timestampMs: number, fromOffset: number, endOffset: number): Promise<number | undefined>;
  /** Base offset of the batch with the greatest max timestamp (the earliest such), for ListOffsets MAX_TIMESTAMP. */
  findMaxTimestampBatch(fromOffset: number, endOffset: number): Promise<{ baseOffset: number; maxTimestampMs: number } | undefined>;

  /** Forgets what lies below (after DeleteRecords or retention are recorded in the metadata log). */
  trimTo(logStartOffset: number): void;
}

/**
 * What a stream's owner saves beside its data (producer state, leader-epoch chain). Storage asks at a cut, synchronously, so the state
 * is exactly the one after the last appended batch.
 */
export interface CheckpointSource {
  /** The checkpoint if enough has changed since the last one that was taken, else undefined. `force`: on close and drain. */
  takeCheckpoint(force: boolean): Uint8Array | undefined;
}
