/**
 * Kafka's compression codecs for batch payloads, always bounded: a small frame that would expand beyond `maxBytes` is refused before the
 * memory is taken. gzip and zstd are the runtime's; raw snappy blocks and lz4 frames come from the native addon (`BlockCodecs`).
 *
 * Snappy payloads use snappy-java's framing: an 8-byte magic, two int32 versions, then blocks of int32 length and raw snappy. A payload without
 * the magic is one raw block, which librdkafka-based clients of old sent and Kafka accepts.
 */
import { constants, gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { getInt32, getUint32, setInt32 } from "./big-endian.ts";
import { DecodeError } from "./codec-error.ts";

export const Codec = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;

/** The part of the addon that compression needs. Decompression throws when the input is damaged or larger than `maxBytes`. */
export interface BlockCodecs {
  lz4FrameCompress(bytes: Uint8Array): Uint8Array;
  lz4FrameDecompress(bytes: Uint8Array, maxBytes: number): Uint8Array;
  snappyCompress(bytes: Uint8Array): Uint8Array;
  snappyDecompress(bytes: Uint8Array, maxBytes: number): Uint8Array;
  /** lz4's high-compression levels, 1 to 17 (above 12 as 12). */
  lz4HighCompress(bytes: Uint8Array, level: number): Uint8Array;
  /**
   * A batch's records (message format 2) at one look, compressed or not. Null or undefined: something is odd. Else greatest timestamp (-1: none is set),
   * least one that is set (Infinity: none is), records without a key, length of the longest record, length of the content.
   */
  scanRecords?(
    codec: number,
    bytes: Uint8Array,
    count: number,
    baseTimestampMs: number,
    maxContentBytes: number,
  ): readonly number[] | null | undefined;
}

const XERIAL_MAGIC = [0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00];
const XERIAL_HEADER_BYTES = 16;
const XERIAL_VERSION = 1;
/** snappy-java's default. */
const XERIAL_BLOCK_BYTES = 32 * 1024;

/** Kafka's default levels (CompressionType): gzip's is the library's own; lz4's means the fast codec, every other level the high-compression one. */
export const GZIP_DEFAULT_LEVEL = -1;
export const LZ4_DEFAULT_LEVEL = 9;
export const ZSTD_DEFAULT_LEVEL = 3;

/** `level` is the codec's own; snappy has none. Undefined: Kafka's default. */
export function compress(codec: number, bytes: Uint8Array, blocks: BlockCodecs, level?: number): Uint8Array {
  switch (codec) {
    case Codec.none:
      return bytes;
    case Codec.gzip:
      return level === undefined || level === GZIP_DEFAULT_LEVEL ? gzipSync(bytes) : gzipSync(bytes, { level });
    case Codec.snappy:
      return snappyXerialCompress(bytes, blocks);
    case Codec.lz4:
      return level === undefined || level === LZ4_DEFAULT_LEVEL ? blocks.lz4FrameCompress(bytes) : blocks.lz4HighCompress(bytes, level);
    case Codec.zstd:
      // The runtime's own call takes no negative levels.
      return zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: level ?? ZSTD_DEFAULT_LEVEL } });
    default:
      throw new DecodeError(`unknown compression codec ${codec}`);
  }
}

/** DecodeError when `bytes` is damaged, truncated, or holds more than `maxBytes`. */
export function decompress(codec: number, bytes: Uint8Array, maxBytes: number, blocks: BlockCodecs): Uint8Array {
  try {
    switch (codec) {
      case Codec.none:
        return bytes;
      case Codec.gzip:
        return gunzipSync(bytes, { maxOutputLength: maxBytes });
      case Codec.snappy:
        return snappyXerialDecompress(bytes, maxBytes, blocks);
      case Codec.lz4:
        return blocks.lz4FrameDecompress(bytes, maxBytes);
      case Codec.zstd:
        expectWholeZstdFrames(bytes);
        return zstdDecompressSync(bytes, { maxOutputLength: maxBytes, params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX } });
    }
  } catch (error) {
    if (error instanceof DecodeError) throw error;
    throw new DecodeError(`payload of codec ${codec}: ${error instanceof Error ? error.message : String(error)}`);
  }
  throw new DecodeError(`unknown compression codec ${codec}`);
}

function snappyXerialCompress(bytes: Uint8Array, blocks: BlockCodecs): Uint8Array {
  const parts: Uint8Array[] = [];
  let sizeBytes = XERIAL_HEADER_BYTES;
  for (let at = 0; at < bytes.length; at += XERIAL_BLOCK_BYTES) {
    const part = blocks.snappyCompress(bytes.subarray(at, Math.min(at + XERIAL_BLOCK_BYTES, bytes.length)));
    parts.push(part);
    sizeBytes += 4 + part.length;
  }
  const framed = new Uint8Array(sizeBytes);
  framed.set(XERIAL_MAGIC);
  setInt32(framed, 8, XERIAL_VERSION);
  setInt32(framed, 12, XERIAL_VERSION);
  let at = XERIAL_HEADER_BYTES;
  for (const part of parts) {
    setInt32(framed, at, part.length);
    framed.set(part, at + 4);
    at += 4 + part.length;
  }
  return framed;
}

function snappyXerialDecompress(bytes: Uint8Array, maxBytes: number, blocks: BlockCodecs): Uint8Array {
  if (!XERIAL_MAGIC.every((byte, i) => bytes[i] === byte)) return blocks.snappyDecompress(bytes, maxBytes);
  if (bytes.length < XERIAL_HEADER_BYTES) throw new DecodeError("snappy header is truncated");
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for (let at = XERIAL_HEADER_BYTES; at < bytes.length; ) {
    if (bytes.length - at < 4) throw new DecodeError(`snappy block length at ${at} is truncated`);
    const length = getInt32(bytes, at);
    if (length < 0 || length > bytes.length - at - 4) throw new DecodeError(`snappy block of ${length} bytes at ${at} is truncated`);
    const part = blocks.snappyDecompress(bytes.subarray(at + 4, at + 4 + length), maxBytes - sizeBytes);
    parts.push(part);
    sizeBytes += part.length;
    at += 4 + length;
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts, sizeBytes);
}

const ZSTD_MAGIC = 0x28b52ffd;
/** 0x184D2A5? in little endian: skippable frames. */
const ZSTD_SKIPPABLE_MASK = 0xf0ffffff;
const ZSTD_SKIPPABLE = 0x502a4d18;
const ZSTD_WINDOW_LOG_MAX = 27;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];

/**
 * Walks the frames' block headers (RFC 8878 section 3.1.1): the runtime's bounded zstd decoder takes a truncated frame for its end and
 * would give back a part of the content.
 */
function expectWholeZstdFrames(bytes: Uint8Array): void {
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < 8) throw new DecodeError(`zstd frame at ${at} is truncated`);
    const magic = getUint32(bytes, at);
    if ((magic & ZSTD_SKIPPABLE_MASK) >>> 0 === ZSTD_SKIPPABLE) at += 8 + littleEndian(bytes, at + 4, 4);
    else if (magic === ZSTD_MAGIC) at = zstdFrameEnd(bytes, at + 4);
    else throw new DecodeError(`no zstd frame at ${at}`);
    if (at > bytes.length) throw new DecodeError("zstd frame is truncated");
  }
}

/** `at` is just behind the magic. */
function zstdFrameEnd(bytes: Uint8Array, at: number): number {
  const descriptor = bytes[at]!;
  const singleSegment = (descriptor & 0x20) !== 0;
  const contentSize = descriptor >>> 6;
  let next = at + 1 + (singleSegment ? 0 : 1) + DICTIONARY_ID_BYTES[descriptor & 3]!;
  next += contentSize === 0 && singleSegment ? 1 : CONTENT_SIZE_BYTES[contentSize]!;
  for (;;) {
    if (bytes.length - next < 3) throw new DecodeError(`zstd block at ${next} is truncated`);
    const header = littleEndian(bytes, next, 3);
    const runLength = ((header >>> 1) & 3) === 1;
    next += 3 + (runLength ? 1 : header >>> 3);
    if ((header & 1) !== 0) break;
  }
  return next + ((descriptor & 0x04) === 0 ? 0 : 4);
}

function littleEndian(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = size - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}
