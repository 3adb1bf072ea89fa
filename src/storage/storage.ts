/**
 * The storage room's face: append, group commit, read, upload, recover. One WAL, one memory ring, one uploader, one block cache.
 * Knows no Kafka and no metadata records; what it needs of them are the ports in `ports.ts`.
 */
import type { CheckpointSource, Reservation, Stream, StreamId } from "./types.ts";

export interface OpenStreamOptions {
  readonly term: number;
  readonly committedEndOffset: number;
  readonly logStartOffset: number;
  readonly checkpointSource: CheckpointSource;
}

export interface StorageState {
  /** "serving" | "wal-full": appends wait for uploads | "device-failing": writes are being repeated, or nothing can be read | "failed": fenced, nothing is released any more. */
  readonly kind: "serving" | "wal-full" | "device-failing" | "failed";
  readonly reason?: string;
}

export interface Storage {
  readonly state: StorageState;

  /** Room for `bytes` of batches (`batches` of them) in ring and WAL, or undefined when there is none now. */
  tryReserve(bytes: number, batches: number): Reservation | undefined;
  /** Waits, first come first served. Rejects when `signal` aborts or storage has failed. A request larger than could ever fit rejects with Trouble "batch-too-large". */
  reserve(bytes: number, batches: number, signal?: AbortSignal): Promise<Reservation>;

  /** Opens a stream; what the WAL scan recovered of it above `committedEndOffset` is in it. One at a time per stream. */
  openStream(id: StreamId, options: OpenStreamOptions): Stream;
  closeStream(id: StreamId): void;

  /**
   * Streams that the recovery scan found data of (above their committed end), for opening them first; and those that a damaged WAL holds back, whose
   * `openStream` throws Trouble "stream-damaged".
   */
  getRecoveredStreams(): readonly StreamId[];

  /** Resolves when everything appended so far is durable and released (strictly in LSN order). Rejects with a Trouble when storage has failed. */
  whenDurable(): Promise<void>;

  /** Called after each release, with the streams whose `durableEndOffset` rose, before any `whenDurable` of that commit resolves. */
  onReleased(listener: (streams: readonly Stream[]) => void): void;

  /** The checkpoint of a stream from its object; undefined when there is none. */
  readCheckpoint(id: StreamId): Promise<Uint8Array | undefined>;

  /** Uploads and commits everything appended so far (drain). */
  flushToObjects(signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
