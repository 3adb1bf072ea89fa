/**
 * ListOffsets by time, exact at batch level: ranges and index entries carry the greatest timestamp, so a lookup opens one object's
 * index and one block: two ranged reads, if a bound of the search does not cut through a block that hides the answer behind it.
 */
import type { CommittedRange } from "../ports.ts";
import type { DataBlock } from "../segment/data-block.ts";
import type { ObjectReader } from "./object-reader.ts";
import type { StreamLog } from "./stream-log.ts";

export interface TimedBatch {
  readonly baseOffset: number;
  readonly maxTimestampMs: number;
}

/** First batch with lastOffset >= fromOffset, wholly below endOffset, whose greatest timestamp is at least `timestampMs`. */
export async function findFirstAtTime(
  log: StreamLog,
  objects: ObjectReader,
  timestampMs: number,
  fromOffset: number,
  endOffset: number,
): Promise<TimedBatch | undefined> {
  let offset = fromOffset;
  // While objects are read, the tail's start may move on: what it leaves behind is looked up in objects too.
  while (offset < Math.min(endOffset, log.tailStartOffset)) {
    const objectsEnd = Math.min(endOffset, log.tailStartOffset);
    for (const range of objects.getRanges(log.id)) {
      if (range.endOffset <= offset || range.maxTimestampMs < timestampMs) continue;
      if (range.baseOffset >= objectsEnd) break;
      const isCandidate = (maximum: number) => maximum >= timestampMs;
      const found = await findInRange(log, objects, range, offset, objectsEnd, isCandidate, firstMatch(timestampMs));
      if (found !== undefined) return found;
    }
    offset = objectsEnd;
  }
  const index = log.index;
  for (let sequence = index.find(offset); sequence < index.endSequence; sequence += 1) {
    if (index.lastOffset(sequence) >= endOffset) return undefined;
    const maxTimestampMs = index.maxTimestampMs(sequence);
    if (maxTimestampMs >= timestampMs) return { baseOffset: index.baseOffset(sequence), maxTimestampMs };
  }
  return undefined;
}

/** The earliest of the batches with the greatest timestamp. */
export async function findGreatestTime(
  log: StreamLog,
  objects: ObjectReader,
  fromOffset: number,
  endOffset: number,
): Promise<TimedBatch | undefined> {
  const tailStart = log.tailStartOffset;
  let best: TimedBatch | undefined;
  const index = log.index;
  for (let sequence = index.find(Math.max(fromOffset, tailStart)); sequence < index.endSequence; sequence += 1) {
    if (index.lastOffset(sequence) >= endOffset) break;
    const maxTimestampMs = index.maxTimestampMs(sequence);
    if (best === undefined || maxTimestampMs > best.maxTimestampMs) best = { baseOffset: index.baseOffset(sequence), maxTimestampMs };
  }
  const objectsEnd = Math.min(endOffset, tailStart);
  const ranges = objects.getRanges(log.id).filter((range) => range.endOffset > fromOffset && range.baseOffset < objectsEnd);
  // The most promising range first, the earlier of equals: once one is known to hold its maximum, lesser ones are never opened.
  for (const range of ranges.sort((a, b) => b.maxTimestampMs - a.maxTimestampMs || a.baseOffset - b.baseOffset)) {
    if (best !== undefined && !couldBeat(best, range)) continue;
    const isCandidate = (maximum: number, base: number) =>
      best === undefined || maximum > best.maxTimestampMs || (maximum === best.maxTimestampMs && base < best.baseOffset);
    for (;;) {
      const found = await findInRange(log, objects, range, fromOffset, objectsEnd, isCandidate, greatestMatch);
      if (found === undefined || !isCandidate(found.maxTimestampMs, found.baseOffset)) break;
      best = found;
    }
  }
  return best;
}

function couldBeat(best: TimedBatch, range: CommittedRange): boolean {
  return range.maxTimestampMs > best.maxTimestampMs || (range.maxTimestampMs === best.maxTimestampMs && range.baseOffset < best.baseOffset);
}

type MatchBatch = (block: DataBlock, first: number, end: number) => number | undefined;

function firstMatch(timestampMs: number): MatchBatch {
  return (block, first, end) => {
    for (let i = first; i < end; i += 1) if (block.maxTimestampMs(i) >= timestampMs) return i;
    return undefined;
  };
}

const greatestMatch: MatchBatch = (block, first, end) => {
  let best: number | undefined;
  for (let i = first; i < end; i += 1) if (best === undefined || block.maxTimestampMs(i) > block.maxTimestampMs(best)) best = i;
  return best;
};

/**
 * Goes through the range's blocks in order. A block whose greatest timestamp passes `isCandidate` and that lies wholly within the bounds
 * needs no second read when the index already names the batch; else the block decides.
 */
async function findInRange(
  log: StreamLog,
  objects: ObjectReader,
  range: CommittedRange,
  fromOffset: number,
  endOffset: number,
  isCandidate: (maxTimestampMs: number, baseOffset: number) => boolean,
  match: MatchBatch,
): Promise<TimedBatch | undefined> {
  const bound = Math.min(endOffset, range.endOffset);
  let offset = Math.max(fromOffset, range.baseOffset);
  while (offset < bound) {
    const located = await objects.locate(log.id, offset, undefined);
    if (located === undefined) return undefined;
    const entry = located.index.getBlock(located.blockNumber);
    if (entry.baseOffset >= bound) return undefined;
    if (isCandidate(entry.maxTimestampMs, entry.maxTimestampBaseOffset)) {
      const isWhole = entry.baseOffset >= fromOffset && entry.endOffset <= bound;
      if (isWhole && match === greatestMatch) return { baseOffset: entry.maxTimestampBaseOffset, maxTimestampMs: entry.maxTimestampMs };
      const fetched = await objects.fetchBlock(log.id, offset, 0);
      if (fetched === undefined) return undefined;
      const found = matchIn(fetched.held.block, fromOffset, bound, match);
      fetched.held.release();
      if (found !== undefined && isCandidate(found.maxTimestampMs, found.baseOffset)) return found;
    }
    offset = entry.endOffset;
  }
  return undefined;
}

function matchIn(block: DataBlock, fromOffset: number, bound: number, match: MatchBatch): TimedBatch | undefined {
  let end = block.findBatch(bound - 1);
  if (end < block.batchCount && block.lastOffset(end) < bound) end += 1;
  const found = match(block, block.findBatch(fromOffset), end);
  return found === undefined ? undefined : { baseOffset: block.baseOffset(found), maxTimestampMs: block.maxTimestampMs(found) };
}
