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

/** An object's bytes at most, when `storedBytes` are those of its blocks. */
export function segmentBytes(streamCount: number, blockCount: number, storedBytes: number, checkpointBytes: number): number {
  return format.HEADER_BYTES + storedBytes + checkpointBytes + indexBytes(streamCount, blockCount) + format.FOOTER_BYTES;
}

/** Streams in the order in which an object holds them. */
export function compareStreams(a: StreamId, b: StreamId): number {
  return Buffer.compare(format.topicIdBytes(a.topicId), format.topicIdBytes(b.topicId)) || a.partition - b.partition;
}

export function writeSegment(sections: readonly StreamSection[], crc32c: format.Crc32c): Uint8Array {
  const ordered = [...sections].sort((a, b) => compareStreams(a.stream, b.stream));
  const blocks = ordered.flatMap((section) => section.blocks);
  const storedBytes = blocks.reduce((sum, block) => sum + block.stored.length, 0);
  const checkpointBytes = ordered.reduce((sum, section) => sum + (section.checkpoint?.bytes.length ?? 0), 0);
  const target = new Uint8Array(segmentBytes(ordered.length, blocks.length, storedBytes, checkpointBytes));
  const writer = new SegmentWriter(target, crc32c);
  for (const section of ordered) {
    writer.beginStream(section.stream, section.checkpoint);
    for (const block of section.blocks) writer.addBlock(block);
  }
  return writer.finish();
}

/** A block of which the object has the bytes. */
interface PlacedBlock extends Omit<FinishedBlock, "stored"> {
  readonly position: number;
  readonly storedBytes: number;
  readonly checksum: number;
}

interface WrittenStream extends Omit<StreamSection, "blocks"> {
  readonly topicId: Buffer;
  readonly blocks: PlacedBlock[];
}

/** Writes an object into memory that is large enough (`segmentBytes`), block by block, so that no block has to be kept until the end. */
export class SegmentWriter {
  readonly #object: Uint8Array;
  readonly #view: DataView;
  readonly #crc32c: format.Crc32c;
  readonly #streams: WrittenStream[] = [];
  #position: number;

  constructor(target: Uint8Array, crc32c: format.Crc32c) {
    this.#object = target;
    this.#view = new DataView(target.buffer, target.byteOffset, target.byteLength);
    this.#crc32c = crc32c;
    target.fill(0, 0, format.HEADER_BYTES);
    writeHeader(target, this.#view, crc32c);
    this.#position = format.HEADER_BYTES;
  }

  /** In the order of `compareStreams`. */
  beginStream(stream: StreamId, checkpoint: StreamSection["checkpoint"]): void {
    const last = this.#streams.at(-1);
    assert(last === undefined || compareStreams(last.stream, stream) < 0, `stream ${streamKey(stream)} has one section, in order`);
    this.#streams.push({ stream, checkpoint, topicId: format.topicIdBytes(stream.topicId), blocks: [] });
  }

  /** Of the stream that was begun last, in offset order. `block.stored` is copied. */
  addBlock(block: FinishedBlock): void {
    const blocks = this.#streams.at(-1)?.blocks;
    assert(blocks !== undefined, "a block belongs to a stream");
    const next = blocks.at(-1)?.endOffset ?? -1;
    assert(block.baseOffset >= next && block.endOffset > block.baseOffset && block.batchCount > 0, "blocks of a stream ascend");
    const { stored, ...entry } = block;
    const position = this.#position;
    this.#object.set(stored, position);
    this.#position += stored.length;
    const checksum = this.#crc32c(this.#object, position, this.#position);
    blocks.push({ ...entry, position, storedBytes: stored.length, checksum });
  }

  /** Checkpoints, index and footer; answers the object, a view of the target. */
  finish(): Uint8Array {
    const blockCount = this.#streams.reduce((sum, stream) => sum + stream.blocks.length, 0);
    const indexLength = indexBytes(this.#streams.length, blockCount);
    assert(indexLength <= format.INDEX_MAX_BYTES, "the index fits the tail read");
    const checkpointPosition = this.#position;
    const checkpointBytes = this.#streams.reduce((sum, stream) => sum + (stream.checkpoint?.bytes.length ?? 0), 0);
    const indexPosition = checkpointPosition + checkpointBytes;
    const sizeBytes = indexPosition + indexLength + format.FOOTER_BYTES;
    assert(sizeBytes <= this.#object.length, "the object fits its memory");
    this.#object.fill(0, indexPosition, sizeBytes);
    writeBlockEntries(this.#view, this.#streams, indexPosition);
    writeStreams(this.#object, this.#view, this.#streams, blockCount, { indexPosition, checkpointPosition }, this.#crc32c);
    const object = this.#object.subarray(0, sizeBytes);
    writeFooter(object, this.#view, indexPosition, indexLength, this.#crc32c);
    return object;
  }
}

function writeHeader(object: Uint8Array, view: DataView, crc32c: format.Crc32c): void {
  object.set(format.HEADER_MAGIC, 0);
  view.setUint16(8, format.SEGMENT_VERSION);
  view.setUint32(12, crc32c(object, 0, 12));
}

function writeBlockEntries(view: DataView, streams: readonly WrittenStream[], indexPosition: number): void {
  let entry = indexPosition + format.INDEX_HEADER_BYTES + format.STREAM_ENTRY_BYTES * streams.length;
  for (const { blocks } of streams) {
    for (const block of blocks) {
      setUint64(view, entry, block.position);
      view.setUint32(entry + 8, block.storedBytes);
      view.setUint32(entry + 12, block.rawBytes);
      view.setUint32(entry + 16, block.checksum);
      view.setInt32(entry + 20, block.term);
      setUint64(view, entry + 24, block.baseOffset);
      setUint64(view, entry + 32, block.endOffset);
      setInt64(view, entry + 40, block.maxTimestampMs);
      setUint64(view, entry + 48, block.maxTimestampBaseOffset);
      view.setUint32(entry + 56, block.batchCount);
      view.setUint8(entry + 60, block.codec);
      entry += format.BLOCK_ENTRY_BYTES;
    }
  }
}

/** Checkpoints, the index's header and its stream entries. */
function writeStreams(
  object: Uint8Array,
  view: DataView,
  streams: readonly WrittenStream[],
  blockCount: number,
  places: { readonly indexPosition: number; readonly checkpointPosition: number },
  crc32c: format.Crc32c,
): void {
  object.set(format.INDEX_MAGIC, places.indexPosition);
  view.setUint16(places.indexPosition + 4, format.SEGMENT_VERSION);
  view.setUint32(places.indexPosition + 8, streams.length);
  view.setUint32(places.indexPosition + 12, blockCount);
  let entry = places.indexPosition + format.INDEX_HEADER_BYTES;
  let position = places.checkpointPosition;
  let firstBlock = 0;
  for (const { stream, checkpoint, topicId, blocks } of streams) {
    assert(topicId.length === 16, `topic id ${stream.topicId} is 16 bytes of base64url`);
    object.set(topicId, entry);
    view.setInt32(entry + 16, stream.partition);
    view.setUint32(entry + 20, firstBlock);
    view.setUint32(entry + 24, blocks.length);
    if (checkpoint !== undefined) {
      object.set(checkpoint.bytes, position);
      view.setUint32(entry + 28, 1);
      setUint64(view, entry + 32, position);
      view.setUint32(entry + 40, checkpoint.bytes.length);
      view.setUint32(entry + 44, crc32c(object, position, position + checkpoint.bytes.length));
      setUint64(view, entry + 48, checkpoint.endOffset);
      position += checkpoint.bytes.length;
    }
    firstBlock += blocks.length;
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
