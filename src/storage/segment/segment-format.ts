/**
 * The segment object: an immutable object that holds blocks of record batches of one or many streams. This file owns the format;
 * `segment-writer.ts` makes it, `segment-index.ts`, `data-block.ts` and `verify-segment.ts` read it. All integers are big-endian;
 * every offset, position and timestamp has 64 bits (no 32-bit delta anywhere) and is within 2^53.
 *
 *   object     header | block ... block | checkpoint ... checkpoint | index | footer        (no gaps: every byte is under a CRC32C)
 *
 *   header     bytes  what
 *        0     8      magic "WEIRSEGM"
 *        8     2      format version (1)
 *       10     2      zero
 *       12     4      CRC32C of bytes 0..11
 *
 *   block      bytes  what: codec 0 stores this raw content, codec 1 a zstd frame of it. The index holds its place and CRC.
 *        0     4      batch count n, 1 or more
 *        4     8n     base offset of each batch
 *              8n     last offset of each batch
 *              8n     greatest timestamp of each batch, signed
 *              4n     length of each batch
 *              ...    the batches
 *
 *   index      bytes  what
 *        0     4      magic "WSIX"
 *        4     2      format version (1)
 *        6     2      zero
 *        8     4      stream count
 *       12     4      block count
 *       16     56 x   stream entries, ordered by (topic id bytes, partition)
 *              64 x   block entries, grouped by stream in that order, ascending offsets within one
 *
 *   stream entry
 *        0     16     topic id
 *       16     4      partition
 *       20     4      number of its first block entry
 *       24     4      its block entries
 *       28     4      1: has a checkpoint; else 0, and the checkpoint fields are zero
 *       32     8      checkpoint position in the object
 *       40     4      checkpoint length
 *       44     4      checkpoint CRC32C
 *       48     8      offset after the last batch the checkpoint covers
 *
 *   block entry
 *        0     8      position in the object
 *        8     4      stored bytes
 *       12     4      raw bytes (of the content drawn above)
 *       16     4      CRC32C of the stored bytes
 *       20     4      term (leader epoch) under which its batches were appended, signed
 *       24     8      base offset of its first batch
 *       32     8      end offset: last offset of its last batch, plus one
 *       40     8      greatest timestamp in it, signed
 *       48     8      base offset of the first batch that has that timestamp
 *       56     4      batch count
 *       60     1      codec: 0 stored as it is, 1 zstd
 *       61     3      zero
 *
 *   footer     bytes  what (the last 40 bytes of the object)
 *        0     8      index position
 *        8     4      index length
 *       12     4      CRC32C of the index
 *       16     8      object size, footer included
 *       24     2      format version (1)
 *       26     2      zero
 *       28     8      magic "WEIRSEGF"
 *       36     4      CRC32C of bytes 0..35
 *
 * One read of the last SEGMENT_TAIL_BYTES always holds index and footer (the writer keeps the index that small), so any batch
 * is found with two ranged reads: the tail, then its block.
 */
import { Trouble } from "../../base/trouble.ts";
import type { Addon } from "../../native/addon.ts";

export type Crc32c = Addon["crc32c"];

export const SEGMENT_VERSION = 1;
export const HEADER_BYTES = 16;
export const FOOTER_BYTES = 40;
export const INDEX_HEADER_BYTES = 16;
export const STREAM_ENTRY_BYTES = 56;
export const BLOCK_ENTRY_BYTES = 64;
export const BLOCK_HEADER_BYTES = 4;
export const BATCH_ENTRY_BYTES = 28;

export const SEGMENT_TAIL_BYTES = 256 * 1024;
export const INDEX_MAX_BYTES = SEGMENT_TAIL_BYTES - FOOTER_BYTES;

/** A block is closed when its batches reach it; one larger batch is a block by itself. */
export const BLOCK_TARGET_BYTES = 512 * 1024;

export const CODEC_NONE = 0;
export const CODEC_ZSTD = 1;
export type BlockCodec = typeof CODEC_NONE | typeof CODEC_ZSTD;

export const HEADER_MAGIC = asciiBytes("WEIRSEGM");
export const INDEX_MAGIC = asciiBytes("WSIX");
export const FOOTER_MAGIC = asciiBytes("WEIRSEGF");

function asciiBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function hasMagic(bytes: Uint8Array, position: number, magic: Uint8Array): boolean {
  if (position < 0 || position + magic.length > bytes.length) return false;
  for (let i = 0; i < magic.length; i += 1) if (bytes[position + i] !== magic[i]) return false;
  return true;
}

/** `part` names what is damaged: "footer", "index", "block 3 of topic-0 [0, 17)", ... */
export function segmentDamaged(objectKey: string, part: string, detail: string): Trouble {
  return new Trouble({
    code: "segment-damaged",
    message: `segment object ${objectKey}: ${part} is damaged: ${detail}`,
    retryable: false,
    remedy: "Compare the object with a backup or another replica of the bucket; nothing was deleted.",
  });
}

export function segmentVersionUnknown(objectKey: string, version: number): Trouble {
  return new Trouble({
    code: "segment-version-unknown",
    message: `segment object ${objectKey} has format version ${version}; this program reads version ${SEGMENT_VERSION}`,
    retryable: false,
    remedy: "Run the newer version that wrote it.",
  });
}

/** Kafka's 22-character base64url form of a topic id as its 16 bytes. */
export function topicIdBytes(topicId: string): Buffer {
  return Buffer.from(topicId, "base64url");
}
