/**
 * Recognises sequential consumers of one stream: a read that begins where an earlier one ended is one of them, and its window doubles. A reader that
 * jumps starts from none, so that a lookup does not fetch what nobody reads.
 *
 * What is asked for ahead is topped up when half of the window is used up, so that one request brings many blocks along.
 */
const MAX_CURSORS = 16;
const FIRST_WINDOW_BYTES = 256 * 1024;

/** One sequential consumer. Sizes are those of blocks as they lie in memory. */
export interface Cursor {
  /** 0 until it has gone on once. */
  windowBytes: number;
  /** Everything up to here has been asked for; what has been, beyond the consumer's offset, is about `aheadBytes`. */
  aheadOffset: number;
  aheadBytes: number;
  /** Somebody is topping it up. */
  isFetching: boolean;
}

export class ReadAhead {
  private readonly maxWindowBytes: number;
  /** Next offset that a sequential consumer will ask for -> the consumer. Oldest first. */
  private readonly cursors = new Map<number, Cursor>();

  constructor(maxWindowBytes: number) {
    this.maxWindowBytes = maxWindowBytes;
  }

  /** The consumer of a read at `offset`: a new one, with a window of 0, if it continues nothing. */
  take(offset: number): Cursor {
    const cursor = this.cursors.get(offset);
    if (cursor === undefined) return { windowBytes: 0, aheadOffset: offset, aheadBytes: 0, isFetching: false };
    this.cursors.delete(offset);
    return cursor;
  }

  /** The consumer's read has brought `readBytes` and ended before `nextOffset`. Returns how many bytes to fetch from `cursor.aheadOffset` on, 0 for none. */
  advance(nextOffset: number, cursor: Cursor, readBytes: number): number {
    const wasSequential = cursor.windowBytes > 0;
    cursor.windowBytes = Math.min(wasSequential ? cursor.windowBytes * 2 : FIRST_WINDOW_BYTES, this.maxWindowBytes);
    cursor.aheadBytes = cursor.aheadOffset > nextOffset ? Math.max(cursor.aheadBytes - readBytes, 0) : 0;
    cursor.aheadOffset = Math.max(cursor.aheadOffset, nextOffset);
    this.cursors.set(nextOffset, cursor);
    for (const oldest of this.cursors.keys()) {
      if (this.cursors.size <= MAX_CURSORS) break;
      this.cursors.delete(oldest);
    }
    if (!wasSequential || cursor.isFetching || cursor.aheadBytes * 2 > cursor.windowBytes) return 0;
    return cursor.windowBytes - cursor.aheadBytes;
  }
}
