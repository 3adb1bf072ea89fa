/** Puts finished blocks and checkpoints together into one segment object (format: `segment-format.ts`). Pure; does no IO. */
import { assert } from "../../base/assert.ts";
import { type StreamId, streamKey } from "../types.ts";
import { setInt64, setUint64 } from "./integers.ts";
import * as format from "./segment-format.ts";

export interface FinishedBlock {
  readonly stored: Uint8Array;
  readonly codec: format.BlockCodec;
  readonly rawBytes: number;
  readonly term: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestampMs: number;
  /** Base offset of the first batch that has `maxTimestampMs`. */
  readonly maxTimestampBaseOffset: number;
  readonly batchCount: number;
}

export interface StreamSection {
  readonly stream: StreamId;
  readonly blocks: readonly FinishedBlock[];
  readonly checkpoint: { readonly bytes: Uint8Array; readonly endOffset: number } | undefined;
}

/** Index bytes of an object with so many streams and blocks; the caller splits what would exceed INDEX_MAX_BYTES. */
export function indexBytes(streamCount: number, blockCount: number): number {
  return format.INDEX_HEADER_BYTES + format.STREAM_ENTRY_BYTES * streamCount + format.BLOCK_ENTRY_BYTES * blockCount;
}

export function writeSegment(sections: readonly StreamSection[], crc32c: format.Crc32c): Uint8Array {
  const ordered = sections.map((section) => ({ section, topicId: format.topicIdBytes(section.stream.topicId) })).sort(compareSections);
  let blockCount = 0;
  let bodyBytes = format.HEADER_BYTES;
  for (const { section } of ordered) {
    blockCount += section.blocks.length;
    for (const block of section.blocks) bodyBytes += block.stored.length;
    bodyBytes += section.checkpoint?.bytes.length ?? 0;
  }
  const indexLength = indexBytes(ordered.length, blockCount);
  assert(indexLength <= format.INDEX_MAX_BYTES, "the index fits the tail read");

  const object = new Uint8Array(bodyBytes + indexLength + format.FOOTER_BYTES);
  const view = new DataView(object.buffer);
  writeHeader(object, view, crc32c);
  const blocksEnd = writeBlocks(object, view, ordered, bodyBytes, crc32c);
  writeStreams(object, view, ordered, blockCount, { indexPosition: bodyBytes, checkpointPosition: blocksEnd }, crc32c);
  writeFooter(object, view, bodyBytes, indexLength, crc32c);
  return object;
}

interface OrderedSection {
  readonly section: StreamSection;
  readonly topicId: Buffer;
}

function compareSections(a: OrderedSection, b: OrderedSection): number {
  const order = Buffer.compare(a.topicId, b.topicId) || a.section.stream.partition - b.section.stream.partition;
  assert(order !== 0 || a === b, `stream ${streamKey(a.section.stream)} has one section`);
  return order;
}

function writeHeader(object: Uint8Array, view: DataView, crc32c: format.Crc32c): void {
  object.set(format.HEADER_MAGIC, 0);
  view.setUint16(8, format.SEGMENT_VERSION);
  view.setUint32(12, crc32c(object, 0, 12));
}

/** Blocks and their index entries; returns where the blocks end. */
function writeBlocks(
  object: Uint8Array,
  view: DataView,
  ordered: readonly OrderedSection[],
  indexPosition: number,
  crc32c: format.Crc32c,
): number {
  let position = format.HEADER_BYTES;
  let entry = indexPosition + format.INDEX_HEADER_BYTES + format.STREAM_ENTRY_BYTES * ordered.length;
  for (const { section } of ordered) {
    let next = -1;
    for (const block of section.blocks) {
      assert(block.baseOffset >= next && block.endOffset > block.baseOffset && block.batchCount > 0, "blocks of a stream ascend");
      next = block.endOffset;
      object.set(block.stored, position);
      setUint64(view, entry, position);
      view.setUint32(entry + 8, block.stored.length);
      view.setUint32(entry + 12, block.rawBytes);
      view.setUint32(entry + 16, crc32c(object, position, position + block.stored.length));
      view.setInt32(entry + 20, block.term);
      setUint64(view, entry + 24, block.baseOffset);
      setUint64(view, entry + 32, block.endOffset);
      setInt64(view, entry + 40, block.maxTimestampMs);
      setUint64(view, entry + 48, block.maxTimestampBaseOffset);
      view.setUint32(entry + 56, block.batchCount);
      view.setUint8(entry + 60, block.codec);
      position += block.stored.length;
      entry += format.BLOCK_ENTRY_BYTES;
    }
  }
  return position;
}

/** Checkpoints, the index's header and its stream entries. */
function writeStreams(
  object: Uint8Array,
  view: DataView,
  ordered: readonly OrderedSection[],
  blockCount: number,
  places: { readonly indexPosition: number; readonly checkpointPosition: number },
  crc32c: format.Crc32c,
): void {
  object.set(format.INDEX_MAGIC, places.indexPosition);
  view.setUint16(places.indexPosition + 4, format.SEGMENT_VERSION);
  view.setUint32(places.indexPosition + 8, ordered.length);
  view.setUint32(places.indexPosition + 12, blockCount);
  let entry = places.indexPosition + format.INDEX_HEADER_BYTES;
  let position = places.checkpointPosition;
  let firstBlock = 0;
  for (const { section, topicId } of ordered) {
    assert(topicId.length === 16, `topic id ${section.stream.topicId} is 16 bytes of base64url`);
    object.set(topicId, entry);
    view.setInt32(entry + 16, section.stream.partition);
    view.setUint32(entry + 20, firstBlock);
    view.setUint32(entry + 24, section.blocks.length);
    const checkpoint = section.checkpoint;
    if (checkpoint !== undefined) {
      object.set(checkpoint.bytes, position);
      view.setUint32(entry + 28, 1);
      setUint64(view, entry + 32, position);
      view.setUint32(entry + 40, checkpoint.bytes.length);
      view.setUint32(entry + 44, crc32c(object, position, position + checkpoint.bytes.length));
      setUint64(view, entry + 48, checkpoint.endOffset);
      position += checkpoint.bytes.length;
    }
    firstBlock += section.blocks.length;
    entry += format.STREAM_ENTRY_BYTES;
  }
  assert(position === places.indexPosition, "checkpoints end where the index begins");
}

function writeFooter(object: Uint8Array, view: DataView, indexPosition: number, indexLength: number, crc32c: format.Crc32c): void {
  const footer = object.length - format.FOOTER_BYTES;
  setUint64(view, footer, indexPosition);
  view.setUint32(footer + 8, indexLength);
  view.setUint32(footer + 12, crc32c(object, indexPosition, indexPosition + indexLength));
  setUint64(view, footer + 16, object.length);
  view.setUint16(footer + 24, format.SEGMENT_VERSION);
  object.set(format.FOOTER_MAGIC, footer + 28);
  view.setUint32(footer + 36, crc32c(object, footer, footer + 36));
}
