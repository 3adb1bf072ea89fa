/**
 * From a batch to the exact record: by timestamp (ListOffsets) or by greatest timestamp, inside compressed batches too. Works on private
 * copies of stored batches.
 */
import { BATCH_OVERHEAD, CODEC_MASK, CODEC_NONE, LOG_APPEND_TIME_BIT, type StoredBatch, viewOf } from "./batch-layout.ts";
import { copySlice, forEachBatch, type PartitionLog } from "./partition-log.ts";
import { type Decompress, MAX_DECOMPRESSED_BATCH_BYTES } from "./record-content.ts";
import { nextRecord, startWalk } from "./record-walk.ts";

export interface FoundRecord {
  readonly offset: number;
  readonly timestampMs: number;
  readonly leaderEpoch: number;
}

/** First record of one batch at or above `fromOffset` whose timestamp reaches `timestampMs`. Throws what `decompress` throws. */
export function findInBatch(
  bytes: Uint8Array,
  batch: StoredBatch,
  timestampMs: number,
  fromOffset: number,
  decompress: Decompress,
): FoundRecord | undefined {
  const { leaderEpoch } = batch;
  if ((batch.attributes & LOG_APPEND_TIME_BIT) !== 0) {
    if (batch.maxTimestampMs < timestampMs) return undefined;
    return { offset: Math.max(batch.baseOffset, fromOffset), timestampMs: batch.maxTimestampMs, leaderEpoch };
  }
  const codec = batch.attributes & CODEC_MASK;
  const isPlain = codec === CODEC_NONE;
  const start = batch.start + BATCH_OVERHEAD;
  const records = isPlain ? bytes : decompress(codec, bytes, start, batch.end, MAX_DECOMPRESSED_BATCH_BYTES);
  const end = isPlain ? batch.end : records.length;
  startWalk(isPlain ? start : 0);
  for (let index = 0; index < batch.recordCount; index++) {
    const record = nextRecord(records, end);
    if (record === undefined) return undefined;
    const timestamp = batch.baseTimestampMs + record.timestampDelta;
    const offset = batch.baseOffset + record.offsetDelta;
    if (timestamp >= timestampMs && offset >= fromOffset) return { offset, timestampMs: timestamp, leaderEpoch };
  }
  return undefined;
}

/** First record of the log at or above its start whose timestamp reaches `timestampMs`, below `endOffset`. Rejects with a Trouble. */
export async function findByTimestamp(
  log: PartitionLog,
  timestampMs: number,
  endOffset: number,
  decompress: Decompress,
): Promise<FoundRecord | undefined> {
  for (let from = log.logStartOffset; ; ) {
    const baseOffset = await log.stream.findBatchByTimestamp(timestampMs, from, endOffset);
    if (baseOffset === undefined) return undefined;
    const searched = await searchBatchAt(log, Math.max(baseOffset, from), timestampMs, decompress);
    if (searched === undefined) return undefined;
    if (searched.found !== undefined) return searched.found;
    from = searched.nextOffset;
  }
}

/** The first record with the greatest timestamp below the high watermark. Rejects with a Trouble. */
export async function findMaxTimestamp(log: PartitionLog, decompress: Decompress): Promise<FoundRecord | undefined> {
  const found = await log.stream.findMaxTimestampBatch(log.logStartOffset, log.highWatermark);
  if (found === undefined) return undefined;
  const at = Math.max(found.baseOffset, log.logStartOffset);
  return (await searchBatchAt(log, at, found.maxTimestampMs, decompress))?.found;
}

async function searchBatchAt(
  log: PartitionLog,
  offset: number,
  timestampMs: number,
  decompress: Decompress,
): Promise<{ found: FoundRecord | undefined; nextOffset: number } | undefined> {
  const slice = log.tryRead(offset, 1, true) ?? (await log.read(offset, 1, true));
  try {
    if (slice.sizeBytes === 0) return undefined;
    const bytes = await copySlice(slice);
    let found: FoundRecord | undefined;
    forEachBatch(bytes, viewOf(bytes), (batch) => {
      found ??= findInBatch(bytes, batch, timestampMs, Math.max(log.logStartOffset, 0), decompress);
    });
    return { found, nextOffset: slice.nextOffset };
  } finally {
    slice.release();
  }
}
