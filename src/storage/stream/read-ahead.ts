/**
 * Recognises sequential consumers of one stream: a read that begins where an earlier one ended is one of them, and its window doubles. A reader that
 * jumps starts from none, so that a lookup does not fetch what nobody reads.
 */
const MAX_CURSORS = 16;
const FIRST_WINDOW_BYTES = 256 * 1024;

export class ReadAhead {
  private readonly maxWindowBytes: number;
  /** Next offset that a sequential consumer will ask for -> its window. Oldest first. */
  private readonly windows = new Map<number, number>();

  constructor(maxWindowBytes: number) {
    this.maxWindowBytes = maxWindowBytes;
  }

  /** Window of a read at `offset`: 0 for one that continues nothing. */
  take(offset: number): number {
    const window = this.windows.get(offset);
    if (window === undefined) return 0;
    this.windows.delete(offset);
    return window;
  }

  /** The read that had `window` ended before `nextOffset`. Returns the window for what follows. */
  advance(nextOffset: number, window: number): number {
    const next = Math.min(window === 0 ? FIRST_WINDOW_BYTES : window * 2, this.maxWindowBytes);
    this.windows.set(nextOffset, next);
    for (const oldest of this.windows.keys()) {
      if (this.windows.size <= MAX_CURSORS) break;
      this.windows.delete(oldest);
    }
    return window === 0 ? 0 : next;
  }
}
