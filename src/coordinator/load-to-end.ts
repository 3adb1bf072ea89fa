/**
 * Reads a coordinator's log once, from its start to its end as it was at the open. A short read is tried again, never taken for the end (case M18), and what
 * cannot be read is not absent: the load waits, visibly, until it can be.
 */
import type { Clock } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import { readStoredBatch, viewOf } from "../partition/batch-layout.ts";
import { DecodeError } from "../protocol/codec-error.ts";
import { inStretches } from "./in-stretches.ts";
import type { ShardLog } from "./shard-log.ts";

/** Small batches are replayed several at once: each replay has a cost of its own, as large as that of a batch of a few records. */
const PIECE_BYTES = 16 * 1024;
/** Between two looks at a log whose end is not readable yet. */
const LOAD_RETRY_MS = 100;

export interface LoadProblem {
  /** Records that are not in Kafka's format; otherwise the read itself failed, or came to nothing. */
  readonly isMalformed: boolean;
  readonly message: string;
  readonly offset: number;
  readonly endOffset: number;
}

export interface LoadOptions {
  readonly log: ShardLog;
  readonly clock: Clock;
  readonly bufferBytes: number;
  /** Whole batches; records below `fromOffset` have been seen. May throw a DecodeError. */
  replay(bytes: Uint8Array, fromOffset: number): void;
  onProblem(problem: LoadProblem): void;
  isClosed(): boolean;
}

/** Answers the end offset; returns early when the shard is closed. */
export async function loadToEnd({ log, clock, bufferBytes, replay, onProblem, isClosed }: LoadOptions): Promise<number> {
  const endOffset = log.log.logEndOffset;
  const replayInStretches = (bytes: Uint8Array, fromOffset: number): Promise<void> => {
    const replayOne = ({ start, end, nextOffset }: Piece): void => {
      replay(bytes.subarray(start, end), fromOffset);
      log.sizes.note(nextOffset, end - start);
    };
    return inStretches(clock, listPieces(bytes), replayOne, isClosed);
  };
  let at = log.log.logStartOffset;
  while (at < endOffset && !isClosed()) {
    try {
      const { bytes, nextOffset } = await log.read(at, bufferBytes);
      if (bytes.length > 0) {
        await replayInStretches(bytes, at);
        at = nextOffset;
        continue;
      }
      onProblem({ isMalformed: false, message: "the log ends early; reading again", offset: at, endOffset });
    } catch (error) {
      if (isClosed()) return endOffset;
      if (!(error instanceof Trouble || error instanceof DecodeError)) throw error;
      onProblem({ isMalformed: error instanceof DecodeError, message: error.message, offset: at, endOffset });
    }
    await clock.sleep(LOAD_RETRY_MS);
  }
  return endOffset;
}

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly nextOffset: number;
}

function* listPieces(bytes: Uint8Array): Generator<Piece> {
  const view = viewOf(bytes);
  for (let start = 0, at = 0; at < bytes.length; ) {
    const { end, lastOffset } = readStoredBatch(view, at);
    at = end;
    if (end - start < PIECE_BYTES && end < bytes.length) continue;
    yield { start, end, nextOffset: lastOffset + 1 };
    start = end;
  }
}
