/**
 * Checks every byte of a segment object: CRCs, places, directories, and that no byte lies outside of them. For tests and for
 * `weir object verify`. Throws the first Trouble it meets, which names the part.
 */
import type { Jobs } from "../../base/jobs.ts";
import { streamKey } from "../types.ts";
import { openBlock } from "./open-block.ts";
import * as format from "./segment-format.ts";
import { SegmentIndex, type StreamEntry } from "./segment-index.ts";

export interface SegmentSummary {
  readonly streams: number;
  readonly blocks: number;
  readonly batches: number;
  readonly checkpoints: number;
  readonly rawBytes: number;
  readonly storedBytes: number;
}

export async function verifySegment(objectKey: string, bytes: Uint8Array, crc32c: format.Crc32c, jobs: Jobs): Promise<SegmentSummary> {
  verifyHeader(objectKey, bytes, crc32c);
  const index = SegmentIndex.open(objectKey, bytes, bytes.length, crc32c);
  let position = format.HEADER_BYTES;
  let batches = 0;
  let rawBytes = 0;
  let checkpoints = 0;
  const streams: StreamEntry[] = [];
  for (let i = 0; i < index.streamCount; i += 1) {
    const stream = index.getStream(i);
    streams.push(stream);
    for (let number = stream.firstBlock; number < stream.firstBlock + stream.blockCount; number += 1) {
      const entry = index.getBlock(number);
      const part = index.describeBlock(stream.stream, entry);
      if (entry.position !== position) throw format.segmentDamaged(objectKey, part, "it does not begin where the last one ends");
      position += entry.storedBytes;
      const block = await openBlock(index, stream.stream, entry, bytes.subarray(entry.position, position), crc32c, jobs);
      batches += block.batchCount;
      rawBytes += entry.rawBytes;
    }
  }
  for (const { stream, checkpoint } of streams) {
    if (checkpoint === undefined) continue;
    const part = `checkpoint of ${streamKey(stream)}`;
    if (checkpoint.position !== position) throw format.segmentDamaged(objectKey, part, "it does not begin where the last one ends");
    position += checkpoint.sizeBytes;
    if (crc32c(bytes, checkpoint.position, position) !== checkpoint.crc) throw format.segmentDamaged(objectKey, part, "wrong CRC32C");
    checkpoints += 1;
  }
  if (position !== index.position) throw format.segmentDamaged(objectKey, "index", "there are bytes before it that it does not name");
  return { streams: index.streamCount, blocks: index.blockCount, batches, checkpoints, rawBytes, storedBytes: bytes.length };
}

function verifyHeader(objectKey: string, bytes: Uint8Array, crc32c: format.Crc32c): void {
  if (bytes.length < format.HEADER_BYTES || !format.hasMagic(bytes, 0, format.HEADER_MAGIC))
    throw format.segmentDamaged(objectKey, "header", "wrong magic");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (crc32c(bytes, 0, 12) !== view.getUint32(12)) throw format.segmentDamaged(objectKey, "header", "wrong CRC32C");
  if (view.getUint16(8) !== format.SEGMENT_VERSION) throw format.segmentVersionUnknown(objectKey, view.getUint16(8));
}
