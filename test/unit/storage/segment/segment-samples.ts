/** A segment object with everything the format has, made the same way each time. */
import { DataBlock } from "../../../../src/storage/segment/data-block.ts";
import { CODEC_NONE, CODEC_ZSTD } from "../../../../src/storage/segment/segment-format.ts";
import { type FinishedBlock, type StreamSection, writeSegment } from "../../../../src/storage/segment/segment-writer.ts";
import { batchBytes, crc32c, STREAM_A, STREAM_B } from "../storage-harness.ts";

export const FAR_OFFSET = 2 ** 40 + 12_345;

export interface SampleBatch {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly maxTimestampMs: number;
  readonly length: number;
}

export const SAMPLE_A: readonly (readonly SampleBatch[])[] = [
  [
    { baseOffset: 0, lastOffset: 4, maxTimestampMs: 1_700_000_000_123, length: 200 },
    { baseOffset: 5, lastOffset: 5, maxTimestampMs: 1_700_000_000_456, length: 90 },
    { baseOffset: 6, lastOffset: 9, maxTimestampMs: 1_700_000_000_456, length: 120 },
  ],
  [{ baseOffset: 10, lastOffset: 10, maxTimestampMs: -1, length: 70 }],
];
/** Beyond 2^32, with a gap as log compaction leaves it. */
export const SAMPLE_B: readonly (readonly SampleBatch[])[] = [
  [
    { baseOffset: FAR_OFFSET, lastOffset: FAR_OFFSET + 5_000_000_000, maxTimestampMs: 7, length: 80 },
    { baseOffset: FAR_OFFSET + 6_000_000_000, lastOffset: FAR_OFFSET + 6_000_000_001, maxTimestampMs: 3, length: 81 },
  ],
];

export function finishBlock(batches: readonly SampleBatch[], term: number, isCompressed: boolean): FinishedBlock {
  const payloadBytes = batches.reduce((sum, batch) => sum + batch.length, 0);
  const block = DataBlock.create(batches.length, payloadBytes);
  const best = batches.reduce((a, b) => (b.maxTimestampMs > a.maxTimestampMs ? b : a));
  batches.forEach((batch, i) => {
    const at = block.addBatch(i, batch.baseOffset, batch.lastOffset, batch.maxTimestampMs, batch.length);
    block.bytes.set(batchBytes(batch.baseOffset, batch.length), at);
  });
  return {
    stored: isCompressed ? new Uint8Array(Bun.zstdCompressSync(block.bytes as Uint8Array<ArrayBuffer>, { level: 1 })) : block.bytes,
    codec: isCompressed ? CODEC_ZSTD : CODEC_NONE,
    rawBytes: block.bytes.length,
    term,
    baseOffset: batches[0]?.baseOffset ?? 0,
    endOffset: (batches.at(-1)?.lastOffset ?? 0) + 1,
    maxTimestampMs: best.maxTimestampMs,
    maxTimestampBaseOffset: best.baseOffset,
    batchCount: batches.length,
  };
}

export function sampleSections(): StreamSection[] {
  const [first = [], second = []] = SAMPLE_A;
  return [
    {
      stream: STREAM_B,
      blocks: SAMPLE_B.map((batches) => finishBlock(batches, 9, true)),
      checkpoint: { bytes: new TextEncoder().encode("producer state of B"), endOffset: FAR_OFFSET + 6_000_000_002 },
    },
    { stream: STREAM_A, blocks: [finishBlock(first, 3, true), finishBlock(second, 4, false)], checkpoint: undefined },
    { stream: { ...STREAM_A, partition: 2 }, blocks: [], checkpoint: { bytes: new Uint8Array(0), endOffset: 17 } },
  ];
}

export function sampleSegment(): Uint8Array {
  return writeSegment(sampleSections(), crc32c);
}
