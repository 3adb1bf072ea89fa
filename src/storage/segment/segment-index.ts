/**
 * The index of one segment object, opened from the object's tail. Holds the index's bytes and reads entries in place: a cached index costs
 * its stored size. Footer and index CRCs, and every bound that a later read relies on, are checked once, at open.
 */
import { assert } from "../../base/assert.ts";
import { type StreamId, streamKey } from "../types.ts";
import { getInt64, getUint64 } from "./integers.ts";
import * as format from "./segment-format.ts";

export interface BlockEntry {
  /** Number of the block in its object: with the object's key, its identity. */
  readonly number: number;
  readonly position: number;
  readonly storedBytes: number;
  readonly rawBytes: number;
  readonly crc: number;
  readonly term: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestampMs: number;
  readonly maxTimestampBaseOffset: number;
  readonly batchCount: number;
  readonly codec: number;
}

export interface StreamEntry {
  readonly stream: StreamId;
  readonly firstBlock: number;
  readonly blockCount: number;
  readonly checkpoint:
    | { readonly position: number; readonly sizeBytes: number; readonly crc: number; readonly endOffset: number }
    | undefined;
}

export class SegmentIndex {
  readonly objectKey: string;
  readonly streamCount: number;
  readonly blockCount: number;
  readonly objectSizeBytes: number;
  /** Where the index begins: blocks and checkpoints lie below. */
  readonly position: number;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;

  private constructor(objectKey: string, bytes: Uint8Array, position: number, objectSizeBytes: number) {
    this.objectKey = objectKey;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = position;
    this.objectSizeBytes = objectSizeBytes;
    this.streamCount = this.view.getUint32(8);
    this.blockCount = this.view.getUint32(12);
  }

  /** Bytes of memory that the index holds. */
  get sizeBytes(): number {
    return this.bytes.length;
  }

  /**
   * `tail` is the object's last SEGMENT_TAIL_BYTES (or all of it when it is smaller).
   * Throws Trouble "segment-damaged" or "segment-version-unknown".
   */
  static open(objectKey: string, tail: Uint8Array, objectSizeBytes: number, crc32c: format.Crc32c): SegmentIndex {
    const damaged = (part: string, detail: string) => format.segmentDamaged(objectKey, part, detail);
    if (tail.length < format.FOOTER_BYTES + format.INDEX_HEADER_BYTES)
      throw damaged("footer", `the object has only ${objectSizeBytes} bytes`);
    const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
    const footer = tail.length - format.FOOTER_BYTES;
    if (!format.hasMagic(tail, footer + 28, format.FOOTER_MAGIC)) throw damaged("footer", "wrong magic");
    if (crc32c(tail, footer, footer + 36) !== view.getUint32(footer + 36)) throw damaged("footer", "wrong CRC32C");
    const version = view.getUint16(footer + 24);
    if (version !== format.SEGMENT_VERSION) throw format.segmentVersionUnknown(objectKey, version);
    const position = getUint64(view, footer);
    const length = view.getUint32(footer + 8);
    if (getUint64(view, footer + 16) !== objectSizeBytes)
      throw damaged("footer", `the object has ${objectSizeBytes} bytes, not those it states`);
    if (position + length + format.FOOTER_BYTES !== objectSizeBytes || length > footer || length < format.INDEX_HEADER_BYTES) {
      throw damaged("footer", "the index's place is impossible");
    }
    const start = footer - length;
    if (crc32c(tail, start, footer) !== view.getUint32(footer + 12)) throw damaged("index", "wrong CRC32C");
    const index = new SegmentIndex(objectKey, tail.slice(start, footer), position, objectSizeBytes);
    index.check();
    return index;
  }

  private check(): void {
    const damaged = (detail: string) => format.segmentDamaged(this.objectKey, "index", detail);
    if (!format.hasMagic(this.bytes, 0, format.INDEX_MAGIC)) throw damaged("wrong magic");
    if (this.view.getUint16(4) !== format.SEGMENT_VERSION) throw format.segmentVersionUnknown(this.objectKey, this.view.getUint16(4));
    const expected = format.INDEX_HEADER_BYTES + format.STREAM_ENTRY_BYTES * this.streamCount + format.BLOCK_ENTRY_BYTES * this.blockCount;
    if (expected !== this.bytes.length) throw damaged("its counts and length disagree");
    let block = 0;
    for (let i = 0; i < this.streamCount; i += 1) {
      const stream = this.getStream(i);
      if (stream.firstBlock !== block) throw damaged(`stream entry ${i} is out of place`);
      block += stream.blockCount;
      if (block > this.blockCount) throw damaged(`stream entry ${i} names blocks that are not there`);
      let next = 0;
      for (let number = stream.firstBlock; number < block; number += 1) {
        const entry = this.getBlock(number);
        const inPlace = entry.position >= format.HEADER_BYTES && entry.position + entry.storedBytes <= this.position;
        if (!inPlace || !(entry.baseOffset >= next && entry.endOffset > entry.baseOffset))
          throw damaged(`block entry ${number} is out of place`);
        next = entry.endOffset;
      }
      const checkpoint = stream.checkpoint;
      if (checkpoint !== undefined && !(checkpoint.position + checkpoint.sizeBytes <= this.position))
        throw damaged(`checkpoint ${i} is out of place`);
    }
    if (block !== this.blockCount) throw damaged("it has blocks of no stream");
  }

  getStream(i: number): StreamEntry {
    assert(i >= 0 && i < this.streamCount, "a stream entry's number is in range");
    const at = format.INDEX_HEADER_BYTES + format.STREAM_ENTRY_BYTES * i;
    const view = this.view;
    const topicId = Buffer.from(this.bytes.buffer, this.bytes.byteOffset + at, 16).toString("base64url");
    return {
      stream: { topicId, partition: view.getInt32(at + 16) },
      firstBlock: view.getUint32(at + 20),
      blockCount: view.getUint32(at + 24),
      checkpoint:
        view.getUint32(at + 28) === 0
          ? undefined
          : {
              position: getUint64(view, at + 32),
              sizeBytes: view.getUint32(at + 40),
              crc: view.getUint32(at + 44),
              endOffset: getUint64(view, at + 48),
            },
    };
  }

  findStream(id: StreamId): StreamEntry | undefined {
    const wanted = format.topicIdBytes(id.topicId);
    let low = 0;
    let high = this.streamCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = format.INDEX_HEADER_BYTES + format.STREAM_ENTRY_BYTES * middle;
      const order = Buffer.compare(this.bytes.subarray(at, at + 16), wanted) || this.view.getInt32(at + 16) - id.partition;
      if (order === 0) return this.getStream(middle);
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return undefined;
  }

  getBlock(number: number): BlockEntry {
    assert(number >= 0 && number < this.blockCount, "a block's number is in range");
    const at = format.INDEX_HEADER_BYTES + format.STREAM_ENTRY_BYTES * this.streamCount + format.BLOCK_ENTRY_BYTES * number;
    const view = this.view;
    return {
      number,
      position: getUint64(view, at),
      storedBytes: view.getUint32(at + 8),
      rawBytes: view.getUint32(at + 12),
      crc: view.getUint32(at + 16),
      term: view.getInt32(at + 20),
      baseOffset: getUint64(view, at + 24),
      endOffset: getUint64(view, at + 32),
      maxTimestampMs: getInt64(view, at + 40),
      maxTimestampBaseOffset: getUint64(view, at + 48),
      batchCount: view.getUint32(at + 56),
      codec: view.getUint8(at + 60),
    };
  }

  /** Number of the stream's block that contains `offset`, else of the first above it; undefined when there is none. */
  findBlock(stream: StreamEntry, offset: number): number | undefined {
    let low = stream.firstBlock;
    const end = stream.firstBlock + stream.blockCount;
    let high = end;
    const ends = format.INDEX_HEADER_BYTES + format.STREAM_ENTRY_BYTES * this.streamCount + 32;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (getUint64(this.view, ends + format.BLOCK_ENTRY_BYTES * middle) > offset) high = middle;
      else low = middle + 1;
    }
    return low < end ? low : undefined;
  }

  /** "block 3 of AAAA-0 [17, 42)": how errors name it. */
  describeBlock(stream: StreamId, entry: BlockEntry): string {
    return `block ${entry.number} of ${streamKey(stream)} [${entry.baseOffset}, ${entry.endOffset})`;
  }
}
