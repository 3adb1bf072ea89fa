/**
 * From a cut to objects: what was appended up to one synchronous moment, divided into parts of bounded size, each of which becomes
 * one segment object. Pure: reads the streams' indexes, no bytes.
 */
import { assert } from "../../base/assert.ts";
import { BLOCK_TARGET_BYTES, INDEX_MAX_BYTES } from "../segment/segment-format.ts";
import { indexBytes } from "../segment/segment-writer.ts";
import type { StreamLog } from "../stream/stream-log.ts";

/** One stream's share of a cut: batches [firstSequence, endSequence), at least one, offsets [baseOffset, endOffset). */
export interface CutRun {
  readonly log: StreamLog;
  readonly firstSequence: number;
  readonly endSequence: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  /** Taken in the same synchronous section: exactly the state at `endOffset`. */
  readonly checkpoint: Uint8Array | undefined;
}

export interface PlannedBlock {
  readonly firstSequence: number;
  readonly endSequence: number;
  readonly payloadBytes: number;
  readonly term: number;
}

/** What one object holds of a run. Ranges of one stream's parts join without a gap. */
export interface PartRun {
  readonly log: StreamLog;
  readonly endSequence: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestampMs: number;
  readonly sizeBytes: number;
  readonly blocks: readonly PlannedBlock[];
  readonly checkpoint: Uint8Array | undefined;
}

export interface PlannedPart {
  readonly runs: readonly PartRun[];
  readonly payloadBytes: number;
}

/** A cut of up to twice `objectBytes` is one object; a larger one is divided into objects of about that size. */
export function planParts(
  runs: readonly CutRun[],
  totalBytes: number,
  objectBytes: number,
  indexLimitBytes = INDEX_MAX_BYTES,
): PlannedPart[] {
  const blockBytes = Math.min(BLOCK_TARGET_BYTES, Math.ceil(objectBytes / 4));
  const limitBytes = totalBytes <= 2 * objectBytes ? Number.POSITIVE_INFINITY : objectBytes;
  const parts: PlannedPart[] = [];
  let partRuns: PartRun[] = [];
  let payloadBytes = 0;
  let blockCount = 0;
  const closePart = () => {
    parts.push({ runs: partRuns, payloadBytes });
    partRuns = [];
    payloadBytes = 0;
    blockCount = 0;
  };
  for (const run of runs) {
    let open = new OpenRun(run, run.baseOffset);
    for (let sequence = run.firstSequence; sequence < run.endSequence; ) {
      const block = planBlock(run, sequence, blockBytes);
      const isOver = payloadBytes + block.payloadBytes > limitBytes || indexBytes(partRuns.length + 1, blockCount + 1) > indexLimitBytes;
      if (isOver && blockCount > 0) {
        if (open.blocks.length > 0) partRuns.push(open.close(false));
        closePart();
        open = new OpenRun(run, open.endOffset);
      }
      open.add(block);
      payloadBytes += block.payloadBytes;
      blockCount += 1;
      sequence = block.endSequence;
    }
    partRuns.push(open.close(true));
  }
  if (partRuns.length > 0 || parts.length === 0) closePart();
  return parts;
}

class OpenRun {
  readonly blocks: PlannedBlock[] = [];
  private readonly run: CutRun;
  private readonly baseOffset: number;
  private maxTimestampMs = Number.NEGATIVE_INFINITY;
  private sizeBytes = 0;
  endOffset: number;

  constructor(run: CutRun, baseOffset: number) {
    this.run = run;
    this.baseOffset = baseOffset;
    this.endOffset = baseOffset;
  }

  add(block: PlannedBlock): void {
    const index = this.run.log.index;
    this.blocks.push(block);
    this.sizeBytes += block.payloadBytes;
    for (let sequence = block.firstSequence; sequence < block.endSequence; sequence += 1) {
      this.maxTimestampMs = Math.max(this.maxTimestampMs, index.maxTimestampMs(sequence));
    }
    this.endOffset = index.lastOffset(block.endSequence - 1) + 1;
  }

  close(isLast: boolean): PartRun {
    assert(!isLast || this.endOffset === this.run.endOffset, "the blocks of a run reach its end");
    return {
      log: this.run.log,
      endSequence: this.blocks.at(-1)?.endSequence ?? this.run.firstSequence,
      baseOffset: this.baseOffset,
      endOffset: this.endOffset,
      maxTimestampMs: this.maxTimestampMs,
      sizeBytes: this.sizeBytes,
      blocks: this.blocks,
      checkpoint: isLast ? this.run.checkpoint : undefined,
    };
  }
}

function planBlock(run: CutRun, firstSequence: number, blockBytes: number): PlannedBlock {
  const index = run.log.index;
  const term = index.term(firstSequence);
  let payloadBytes = index.lengthBytes(firstSequence);
  let sequence = firstSequence + 1;
  for (; sequence < run.endSequence; sequence += 1) {
    const length = index.lengthBytes(sequence);
    if (payloadBytes + length > blockBytes || index.term(sequence) !== term) break;
    payloadBytes += length;
  }
  return { firstSequence, endSequence: sequence, payloadBytes, term };
}
