/**
 * Reads a planned part's batches from ring or device into private memory, compresses them off the event loop and puts the object
 * together. Never keeps a view of the ring.
 */
import { BufferPool, freeNow } from "../../base/buffer-pool.ts";
import type { Clock } from "../../base/clock.ts";
import type { Jobs } from "../../base/jobs.ts";
import { DataBlock, rawBlockBytes } from "../segment/data-block.ts";
import { type BlockCodec, CODEC_NONE, CODEC_ZSTD, type Crc32c } from "../segment/segment-format.ts";
import { compareStreams, type FinishedBlock, SegmentWriter, segmentBytes } from "../segment/segment-writer.ts";
import type { StreamLog } from "../stream/stream-log.ts";
import type { PayloadPlace, Wal } from "../wal/wal.ts";
import type { PlannedBlock, PlannedPart } from "./upload-plan.ts";

/** Whether the batch at bytes[start] was compressed by its producer. The layer above knows the batch header. */
export type IsBatchCompressed = (bytes: Uint8Array, start: number) => boolean;

export interface PartBuilderOptions {
  readonly wal: Wal;
  readonly jobs: Jobs;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly zstdLevel: number;
  readonly isBatchCompressed: IsBatchCompressed;
  /** Memory for about two objects of this payload is kept for the next ones. */
  readonly uploadSizeBytes: number;
  /** For tests: memory that is used again is filled with poison first. */
  readonly poisonReleased?: boolean;
}

/** An object ready to be written. */
export interface BuiltObject {
  readonly bytes: Uint8Array;
  /** The memory may be used for another object: nobody reads `bytes` any more. Without it the garbage collector takes it. */
  reuse(): void;
}

const PARALLEL_BLOCKS = 2;
/** Index, directories, checkpoints. */
const OVERHEAD_BYTES = 64 * 1024;
/** Blocks under way. */
const RETAINED_BLOCK_BYTES = 8 * 1024 * 1024;
/** A compressed block larger than this part of the raw one is not worth its decompressions. */
const WORTHWHILE_RATIO = 0.95;
/** Blocks of a stream stored without trying after one that was not worthwhile. */
const BLOCKS_NOT_TRIED = 15;
const MEMORY_IDLE_MS = 5_000;

export class PartBuilder {
  private readonly options: PartBuilderOptions;
  private readonly buffers: BufferPool;
  /** How many of a stream's next blocks are stored without trying to compress them. */
  private readonly untriedBlocks = new WeakMap<StreamLog, number>();

  constructor(options: PartBuilderOptions) {
    this.options = options;
    const retainedBytes = 2 * options.uploadSizeBytes + RETAINED_BLOCK_BYTES;
    this.buffers = new BufferPool({
      clock: options.clock,
      retainedBytes,
      idleMs: MEMORY_IDLE_MS,
      poisonReleased: options.poisonReleased ?? false,
    });
  }

  /** Private memory that a build needs at most: the object with all blocks stored as they are, and as much again for blocks under way. */
  static memoryBytes(payloadBytes: number): number {
    return 2 * payloadBytes + OVERHEAD_BYTES;
  }

  async build(part: PlannedPart): Promise<BuiltObject> {
    const runs = [...part.runs].sort((a, b) => compareStreams(a.log.id, b.log.id));
    const buffer = this.buffers.take(objectBytesAtMost(part));
    const writer = new SegmentWriter(buffer, this.options.crc32c);
    for (const run of runs) {
      const checkpoint = run.checkpoint === undefined ? undefined : { bytes: run.checkpoint, endOffset: run.endOffset };
      writer.beginStream(run.log.id, checkpoint);
      for (let i = 0; i < run.blocks.length; i += PARALLEL_BLOCKS) {
        const blocks = run.blocks.slice(i, i + PARALLEL_BLOCKS).map((block) => this.buildBlock(run.log, block));
        for (const { block, release } of await Promise.all(blocks)) {
          writer.addBlock(block);
          release();
        }
      }
    }
    return { bytes: writer.finish(), reuse: () => this.buffers.give(buffer) };
  }

  /** `release`: the block's bytes have been copied. A block that is never released is garbage. */
  private async buildBlock(log: StreamLog, planned: PlannedBlock): Promise<{ block: FinishedBlock; release: () => void }> {
    const { wal, isBatchCompressed } = this.options;
    const index = log.index;
    const batchCount = planned.endSequence - planned.firstSequence;
    const memory = this.buffers.take(rawBlockBytes(batchCount, planned.payloadBytes));
    const block = DataBlock.create(batchCount, planned.payloadBytes, memory);
    let compressedBytes = 0;
    let maxTimestampMs = index.maxTimestampMs(planned.firstSequence);
    let maxTimestampBaseOffset = index.baseOffset(planned.firstSequence);
    /** What the ring has no more, and where it belongs in the block. */
    const places: PayloadPlace[] = [];
    const starts: number[] = [];
    const fill = (bytes: Uint8Array, start: number): void => {
      block.bytes.set(bytes, start);
      if (isBatchCompressed(block.bytes, start)) compressedBytes += bytes.length;
    };
    for (let sequence = planned.firstSequence; sequence < planned.endSequence; sequence += 1) {
      const location = index.location(sequence);
      const baseOffset = index.baseOffset(sequence);
      const timestampMs = index.maxTimestampMs(sequence);
      const start = block.addBatch(sequence - planned.firstSequence, baseOffset, index.lastOffset(sequence), timestampMs, location.length);
      const view = wal.tryView(location);
      if (view !== undefined) fill(view, start);
      else {
        places.push({ location, stream: log.id, term: index.term(sequence), baseOffset });
        starts.push(start);
      }
      if (timestampMs > maxTimestampMs) {
        maxTimestampMs = timestampMs;
        maxTimestampBaseOffset = baseOffset;
      }
    }
    if (places.length > 0) await wal.readAll(places, (i, bytes) => fill(bytes, starts[i] as number));
    const { stored, codec } = await this.encode(log, block.bytes, compressedBytes * 2 >= planned.payloadBytes);
    const finished = {
      stored,
      codec,
      rawBytes: block.bytes.length,
      term: planned.term,
      baseOffset: index.baseOffset(planned.firstSequence),
      endOffset: index.lastOffset(planned.endSequence - 1) + 1,
      maxTimestampMs,
      maxTimestampBaseOffset,
      batchCount,
    };
    const release = (): void => {
      if (codec === CODEC_ZSTD) freeNow(stored);
      this.buffers.give(memory);
    };
    return { block: finished, release };
  }

  /**
   * Blocks that producers have mostly compressed are stored as they are (all are at level 0), and so is what zstd cannot make much smaller. After such a block the next
   * ones of the stream are not even tried, except one now and then.
   */
  private async encode(log: StreamLog, raw: Uint8Array, isCompressed: boolean): Promise<{ stored: Uint8Array; codec: BlockCodec }> {
    if (isCompressed || this.options.zstdLevel === 0) return { stored: raw, codec: CODEC_NONE };
    const untried = this.untriedBlocks.get(log) ?? 0;
    if (untried > 0) {
      this.untriedBlocks.set(log, untried - 1);
      return { stored: raw, codec: CODEC_NONE };
    }
    const stored = await this.options.jobs.zstdCompress(raw, this.options.zstdLevel);
    if (stored.length <= raw.length * WORTHWHILE_RATIO) return { stored, codec: CODEC_ZSTD };
    freeNow(stored);
    this.untriedBlocks.set(log, BLOCKS_NOT_TRIED);
    return { stored: raw, codec: CODEC_NONE };
  }
}

/** With every block stored as it is. */
function objectBytesAtMost(part: PlannedPart): number {
  let blockCount = 0;
  let storedBytes = 0;
  let checkpointBytes = 0;
  for (const { blocks, checkpoint } of part.runs) {
    blockCount += blocks.length;
    checkpointBytes += checkpoint?.length ?? 0;
    for (const block of blocks) storedBytes += rawBlockBytes(block.endSequence - block.firstSequence, block.payloadBytes);
  }
  return segmentBytes(part.runs.length, blockCount, storedBytes, checkpointBytes);
}
