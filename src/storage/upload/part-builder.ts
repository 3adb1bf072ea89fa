/**
 * Reads a planned part's batches from ring or device into private memory, compresses them off the event loop and puts the object
 * together. Never keeps a view of the ring.
 */
import type { Jobs } from "../../base/jobs.ts";
import { DataBlock } from "../segment/data-block.ts";
import { type BlockCodec, CODEC_NONE, CODEC_ZSTD, type Crc32c } from "../segment/segment-format.ts";
import { type FinishedBlock, type StreamSection, writeSegment } from "../segment/segment-writer.ts";
import type { StreamLog } from "../stream/stream-log.ts";
import type { Wal } from "../wal/wal.ts";
import type { PlannedBlock, PlannedPart } from "./upload-plan.ts";

/** Whether the batch at bytes[start] was compressed by its producer. The layer above knows the batch header. */
export type IsBatchCompressed = (bytes: Uint8Array, start: number) => boolean;

export interface PartBuilderOptions {
  readonly wal: Wal;
  readonly jobs: Jobs;
  readonly crc32c: Crc32c;
  readonly zstdLevel: number;
  readonly isBatchCompressed: IsBatchCompressed;
}

const PARALLEL_BLOCKS = 2;
/** Index, directories, checkpoints. */
const OVERHEAD_BYTES = 64 * 1024;

export class PartBuilder {
  private readonly options: PartBuilderOptions;

  constructor(options: PartBuilderOptions) {
    this.options = options;
  }

  /** Private memory that a build needs at most: all blocks stored as they are, twice (as blocks, then in the object). */
  static memoryBytes(payloadBytes: number): number {
    return 2 * payloadBytes + OVERHEAD_BYTES;
  }

  async build(part: PlannedPart): Promise<Uint8Array> {
    const sections: StreamSection[] = [];
    for (const run of part.runs) {
      const blocks: FinishedBlock[] = [];
      for (let i = 0; i < run.blocks.length; i += PARALLEL_BLOCKS) {
        blocks.push(...(await Promise.all(run.blocks.slice(i, i + PARALLEL_BLOCKS).map((block) => this.buildBlock(run.log, block)))));
      }
      const checkpoint = run.checkpoint === undefined ? undefined : { bytes: run.checkpoint, endOffset: run.endOffset };
      sections.push({ stream: run.log.id, blocks, checkpoint });
    }
    return writeSegment(sections, this.options.crc32c);
  }

  private async buildBlock(log: StreamLog, planned: PlannedBlock): Promise<FinishedBlock> {
    const { wal, isBatchCompressed } = this.options;
    const index = log.index;
    const block = DataBlock.create(planned.endSequence - planned.firstSequence, planned.payloadBytes);
    let compressedBytes = 0;
    let maxTimestampMs = index.maxTimestampMs(planned.firstSequence);
    let maxTimestampBaseOffset = index.baseOffset(planned.firstSequence);
    for (let sequence = planned.firstSequence; sequence < planned.endSequence; sequence += 1) {
      const location = index.location(sequence);
      const baseOffset = index.baseOffset(sequence);
      const timestampMs = index.maxTimestampMs(sequence);
      const start = block.addBatch(sequence - planned.firstSequence, baseOffset, index.lastOffset(sequence), timestampMs, location.length);
      const bytes = wal.tryView(location) ?? (await wal.read(location, { stream: log.id, term: index.term(sequence), baseOffset }));
      block.bytes.set(bytes, start);
      if (isBatchCompressed(block.bytes, start)) compressedBytes += location.length;
      if (timestampMs > maxTimestampMs) {
        maxTimestampMs = timestampMs;
        maxTimestampBaseOffset = baseOffset;
      }
    }
    const { stored, codec } = await this.encode(block.bytes, compressedBytes * 2 >= planned.payloadBytes);
    return {
      stored,
      codec,
      rawBytes: block.bytes.length,
      term: planned.term,
      baseOffset: index.baseOffset(planned.firstSequence),
      endOffset: index.lastOffset(planned.endSequence - 1) + 1,
      maxTimestampMs,
      maxTimestampBaseOffset,
      batchCount: block.batchCount,
    };
  }

  /** Blocks that producers have mostly compressed are stored as they are, and so is what zstd cannot make smaller. */
  private async encode(raw: Uint8Array, isCompressed: boolean): Promise<{ stored: Uint8Array; codec: BlockCodec }> {
    if (isCompressed) return { stored: raw, codec: CODEC_NONE };
    const stored = await this.options.jobs.zstdCompress(raw, this.options.zstdLevel);
    return stored.length < raw.length ? { stored, codec: CODEC_ZSTD } : { stored: raw, codec: CODEC_NONE };
  }
}
