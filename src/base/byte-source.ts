/**
 * Bytes that an answer refers to without holding them. Views of the memory ring never outlive the synchronous section that made
 * them, so an answer holds a reference, and the connection resolves it when its socket has room.
 */
export interface ByteSource {
  /** Exact; does not change. */
  readonly sizeBytes: number;
  /**
   * Copies bytes [from, from + length) of the source into `target` at `targetOffset`, if all of them are in memory now.
   * Returns false (and leaves garbage in `target`) when they are not: call `load`.
   */
  tryCopy(from: number, length: number, target: Uint8Array, targetOffset: number): boolean;
  /**
   * Bytes from `from` on, as far as they lie in one piece of private memory that stays as it is until `release`; undefined where they do not. For who writes them
   * from where they lie, in this turn. A source without such memory has no such method.
   */
  tryView?(from: number): Uint8Array | undefined;
  /** Brings the bytes into private memory. Rejects with a Trouble; then the connection must be closed, since its answer's size is already sent. */
  load(): Promise<void>;
  /** Gives memory and budget back. Exactly once, also when the connection closes before the answer was written. */
  release(): void;
}
