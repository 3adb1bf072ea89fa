/**
 * Reads a coordinator's log once, from its start to its end as it was at the open. A short read is tried again, never taken for the end (case M18), and what
 * cannot be read is not absent: the load waits, visibly, until it can be.
 */
import type { Clock } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import { readStoredBatch, viewOf } from "../partition/batch-layout.ts";
import { DecodeError } from "../protocol/codec-error.ts";
import type { ShardLog } from "./shard-log.ts";

/** Others are served in between: a read's batches are replayed for so long at a stretch. */
const STRETCH_MS = 5;
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
  const replayInStretches = async (bytes: Uint8Array, fromOffset: number): Promise<void> => {
    const view = viewOf(bytes);
    let startedMs = clock.monotonicMs();
    for (let start = 0; start < bytes.length && !isClosed(); ) {
      const { end, lastOffset } = readStoredBatch(view, start);
      replay(bytes.subarray(start, end), fromOffset);
      log.sizes.note(lastOffset + 1, end - start);
      start = end;
      if (clock.monotonicMs() - startedMs < STRETCH_MS) continue;
      await clock.sleep(0);
      startedMs = clock.monotonicMs();
    }
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
