/** Stored bytes of a block -> its checked, raw content. Every read of an object's block comes through here. */
import { assert } from "../../base/assert.ts";
import type { Jobs } from "../../base/jobs.ts";
import { Trouble } from "../../base/trouble.ts";
import type { StreamId } from "../types.ts";
import { DataBlock } from "./data-block.ts";
import { CODEC_NONE, CODEC_ZSTD, type Crc32c, segmentDamaged } from "./segment-format.ts";
import type { BlockEntry, SegmentIndex } from "./segment-index.ts";

/**
 * `stored` may be a view of a larger read. The block lies at the start of `memory`, which has room for `entry.rawBytes`, holds anything, and is
 * nobody else's until this settles. Rejects with Trouble "segment-damaged" that names the block.
 */
export async function openBlock(
  index: SegmentIndex,
  stream: StreamId,
  entry: BlockEntry,
  stored: Uint8Array,
  crc32c: Crc32c,
  jobs: Jobs,
  memory: Uint8Array = new Uint8Array(entry.rawBytes),
): Promise<DataBlock> {
  assert(memory.length >= entry.rawBytes, "a block fits its memory");
  const part = index.describeBlock(stream, entry);
  if (stored.length !== entry.storedBytes) throw segmentDamaged(index.objectKey, part, `${stored.length} of ${entry.storedBytes} bytes`);
  if (crc32c(stored, 0, stored.length) !== entry.crc) throw segmentDamaged(index.objectKey, part, "wrong CRC32C");
  const raw = memory.subarray(0, entry.rawBytes);
  const rawBytes = await decode(index.objectKey, part, entry, stored, jobs, raw);
  if (rawBytes !== entry.rawBytes) throw segmentDamaged(index.objectKey, part, `${rawBytes} raw bytes, the index says ${entry.rawBytes}`);
  return DataBlock.open(raw, entry.baseOffset, entry.endOffset, entry.batchCount, index.objectKey, part);
}

/** Returns how many bytes of `raw` it has written. */
async function decode(
  objectKey: string,
  part: string,
  entry: BlockEntry,
  stored: Uint8Array,
  jobs: Jobs,
  raw: Uint8Array,
): Promise<number> {
  if (entry.codec === CODEC_NONE) {
    if (stored.length === raw.length) raw.set(stored);
    return stored.length;
  }
  if (entry.codec !== CODEC_ZSTD) throw segmentDamaged(objectKey, part, `unknown codec ${entry.codec}`);
  try {
    return await jobs.zstdDecompressInto(stored, raw);
  } catch (cause) {
    if (cause instanceof Trouble) throw cause;
    throw segmentDamaged(objectKey, part, `its zstd frame does not decode (${cause instanceof Error ? cause.message : String(cause)})`);
  }
}
