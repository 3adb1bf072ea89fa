/**
 * What a connection has yet to send. Byte sources (views into ring, cache or object store by reference) are resolved only when the socket has room: what
 * lies in large pieces of private memory is written from there, the rest by copying into one staging buffer that all connections share; nothing is
 * kept in it between calls.
 *
 * Invariant: every ByteSource pushed is released exactly once: when its last byte was taken by the socket, or at `dispose`.
 */
import { assert } from "../base/assert.ts";
import type { ByteSource } from "../base/byte-source.ts";
import type { OutputPiece } from "../protocol/writer.ts";

export const STAGING_BYTES = 256 * 1024;
/** Pieces from here on are written from where they lie. */
const DIRECT_WRITE_BYTES = 64 * 1024;
/** Popped pieces are dropped from the array in runs of this many. */
const COMPACT_AT = 256;

/** "empty": all was taken. "blocked": the socket is full. "loading": a source's bytes are being read. */
export type FlushOutcome = "empty" | "blocked" | "loading";

export interface OutputSink {
  write(bytes: Uint8Array): number;
}

const sizeOf = (piece: OutputPiece): number => (piece instanceof Uint8Array ? piece.length : piece.sizeBytes);

export class OutputQueue {
  private readonly sink: OutputSink;
  private readonly staging: Uint8Array;
  private readonly onLoaded: (error: unknown) => void;
  private pieces: OutputPiece[] = [];
  private first = 0;
  private firstOffset = 0;
  private loading: ByteSource | undefined;
  private isDisposed = false;
  private heldBytes = 0;

  /** `onLoaded` is called when a load has settled: with undefined, flush again; with an error, close the connection. */
  constructor(sink: OutputSink, staging: Uint8Array, onLoaded: (error: unknown) => void) {
    this.sink = sink;
    this.staging = staging;
    this.onLoaded = onLoaded;
  }

  get isEmpty(): boolean {
    return this.first === this.pieces.length;
  }

  /** Private memory that waits here; byte sources hold none. */
  get privateBytes(): number {
    return this.heldBytes;
  }

  push(pieces: readonly OutputPiece[]): void {
    assert(!this.isDisposed, "output pushed after dispose");
    for (const piece of pieces) {
      if (piece instanceof Uint8Array) this.heldBytes += piece.length;
      this.pieces.push(piece);
    }
  }

  /** Hands the socket as much as it takes. Returns the bytes taken beside the outcome. */
  flush(): { readonly outcome: FlushOutcome; readonly writtenBytes: number } {
    let writtenBytes = 0;
    while (this.loading === undefined) {
      this.dropFinished();
      const head = this.pieces[this.first];
      if (head === undefined) return { outcome: "empty", writtenBytes };
      const bytes = directBytes(head, this.firstOffset) ?? this.stage();
      if (bytes.length === 0) {
        this.load(head as ByteSource);
        break;
      }
      const taken = this.sink.write(bytes);
      this.advance(taken);
      writtenBytes += taken;
      if (taken < bytes.length) return { outcome: "blocked", writtenBytes };
    }
    return { outcome: "loading", writtenBytes };
  }

  dispose(): void {
    if (this.isDisposed) return;
    this.isDisposed = true;
    for (let index = this.first; index < this.pieces.length; index++) releasePiece(this.pieces[index]);
    this.pieces = [];
    this.first = 0;
    this.heldBytes = 0;
  }

  /** Copies what fits, from the head on, up to the first piece that is not in memory or is better written directly. */
  private stage(): Uint8Array {
    let filled = 0;
    let offset = this.firstOffset;
    for (let index = this.first; index < this.pieces.length && filled < this.staging.length; index++) {
      const piece = this.pieces[index]!;
      if (index > this.first && directBytes(piece, 0) !== undefined) break;
      const length = Math.min(sizeOf(piece) - offset, this.staging.length - filled);
      if (piece instanceof Uint8Array) {
        this.staging.set(piece.subarray(offset, offset + length), filled);
      } else if (length > 0 && !piece.tryCopy(offset, length, this.staging, filled)) break;
      filled += length;
      offset = 0;
    }
    return this.staging.subarray(0, filled);
  }

  private load(source: ByteSource): void {
    this.loading = source;
    source.load().then(
      () => this.loaded(undefined),
      (error: unknown) => this.loaded(error ?? new Error("a byte source could not be read")),
    );
  }

  private loaded(error: unknown): void {
    this.loading = undefined;
    if (!this.isDisposed) this.onLoaded(error);
  }

  private advance(taken: number): void {
    let left = taken;
    while (left > 0) {
      const piece = this.pieces[this.first];
      assert(piece !== undefined, "more was taken than was offered");
      const rest = sizeOf(piece) - this.firstOffset;
      if (left < rest) {
        this.firstOffset += left;
        return;
      }
      left -= rest;
      this.pop(piece);
    }
  }

  private dropFinished(): void {
    for (let head = this.pieces[this.first]; head !== undefined && sizeOf(head) === this.firstOffset; head = this.pieces[this.first])
      this.pop(head);
  }

  private pop(piece: OutputPiece): void {
    this.first++;
    this.firstOffset = 0;
    if (piece instanceof Uint8Array) this.heldBytes -= piece.length;
    else piece.release();
    if (this.first === this.pieces.length) {
      this.pieces.length = 0;
      this.first = 0;
    } else if (this.first >= COMPACT_AT) {
      this.pieces.splice(0, this.first);
      this.first = 0;
    }
  }
}

/** What is written from where it lies, from `offset` of the piece on. */
function directBytes(piece: OutputPiece, offset: number): Uint8Array | undefined {
  if (sizeOf(piece) - offset < DIRECT_WRITE_BYTES) return undefined;
  const bytes = piece instanceof Uint8Array ? piece.subarray(offset) : piece.tryView?.(offset);
  return bytes !== undefined && bytes.length >= DIRECT_WRITE_BYTES ? bytes : undefined;
}

/** Gives back what a piece refers to; for answers that will not be sent. */
export function releasePiece(piece: OutputPiece | undefined): void {
  if (piece !== undefined && !(piece instanceof Uint8Array)) piece.release();
}
