/**
 * What lies on a WAL device, byte by byte. This file owns the format; nothing else knows an offset. All integers are little-endian; a
 * 64-bit field holds a number below 2^53 (asserted when written, checked when read). Reserved bytes are zero.
 *
 * Device, in blocks of 4096 bytes:
 *
 *   block 0, 1   two header copies, written in turn (generation mod 2), each durable before the next
 *   block 2      fence block: the epoch of a taker (a device that two machines can reach); zero here
 *   block 3      scratch: what the device probe may write to
 *   block 4..15  reserved
 *   block 16..   data area of `capacityBlocks`: LSN n lies at block dataStartBlock + n mod capacityBlocks
 *
 * Header copy (one block):
 *
 *   0    8   magic "WEIRWAL1"
 *   8    4   format version (1); a higher one is refused
 *   12   4   CRC32C of the block with this field zero
 *   16   16  WAL id
 *   32   8   generation: the copy with the higher one counts
 *   40   1   state: 0 unclaimed, 1 claimed
 *   41   7   reserved
 *   48   8   WAL epoch: rises by one on each opening
 *   56   8   capacity of the data area, blocks; fixed while the WAL holds anything
 *   64   8   data start, blocks
 *   72   4   node id (claimed)
 *   76   4   reserved
 *   80   8   most bytes that were ever allowed in flight beyond the durable LSN: how far a scan looks behind a break
 *   88   8   most blocks that a commit was ever allowed to have
 *   96   8   highest metadata slot seen
 *   104  2   length of the cluster id, then up to 62 bytes of it (ASCII)
 *   168  2   length of the hash of that slot, then up to 86 bytes of it (ASCII); length 0: no slot seen yet
 *
 * Commit (whole blocks; begins at LSN n; never crosses the end of the data area):
 *
 *   0    8   magic "WEIRCMT1"
 *   8    2   format version (1)
 *   10   1   kind: 0 entries follow, 1 skip: the stretch up to the end of the data area is unused and only this block is written
 *   11   1   reserved
 *   12   4   CRC32C of the written blocks with this field zero: names this commit in the chain
 *   16   16  WAL id
 *   32   8   WAL epoch
 *   40   8   LSN: its own place in the endless address space (what tells laps apart)
 *   48   4   blocks it takes
 *   52   4   bytes used (header and entries, without padding)
 *   56   4   entries
 *   60   4   CRC32C of the commit before it (0 for the first one ever)
 *   64   8   LSN below which everything was durable when this was sealed
 *   72   8   reserved
 *   80       entries, one after the other; then zeros to the end of the block
 *
 * Entry:
 *
 *   0    4   CRC32C of the 60 bytes that follow
 *   4    1   kind (0: a batch)
 *   5    3   reserved
 *   8    16  topic id
 *   24   4   partition
 *   28   4   term (leader epoch)
 *   32   8   base offset
 *   40   8   last offset
 *   48   8   max timestamp, ms, signed (the only field that may be negative)
 *   56   4   payload bytes
 *   60   4   CRC32C of the payload
 *   64       payload
 */
import { assert, assertSafe } from "../../base/assert.ts";
import type { StreamId } from "../types.ts";
import type { Crc32c } from "./wal.ts";
import { WAL_BLOCK_BYTES } from "./wal-device.ts";

export const WAL_FORMAT_VERSION = 1;
export const HEADER_COPIES = 2;
export const DATA_START_BLOCK = 16;
/** The smallest device that is worth formatting: 64 blocks of data. */
export const MIN_CAPACITY_BLOCKS = 64;
export const COMMIT_HEADER_BYTES = 80;
export const ENTRY_HEADER_BYTES = 64;
/** A commit is at most this part of ring and device. */
export const MAX_COMMIT_FRACTION = 4;

const HEADER_MAGIC = "WEIRWAL1";
const COMMIT_MAGIC = "WEIRCMT1";
const CHECKSUM_AT = 12;
const CLUSTER_ID_AT = 104;
const CLUSTER_ID_MAX_BYTES = 62;
const SLOT_HASH_AT = 168;
const SLOT_HASH_MAX_BYTES = 86;
const TWO_32 = 0x1_0000_0000;
const ZERO_4 = new Uint8Array(4);

export interface WalHeader {
  /** 22-character base64url of 16 bytes. */
  readonly walId: string;
  readonly generation: number;
  readonly claimedBy: { readonly clusterId: string; readonly nodeId: number } | undefined;
  readonly walEpoch: number;
  readonly capacityBlocks: number;
  readonly dataStartBlock: number;
  readonly maxInFlightBytes: number;
  readonly maxCommitBlocks: number;
  readonly metadataSlot: { readonly slot: number; readonly hash: string } | undefined;
}

/** "blank": not one of ours (no magic). "damaged": ours, but the checksum fails or a field makes no sense. "newer": of a later format version. */
export type DecodedHeader =
  | { readonly kind: "valid"; readonly header: WalHeader }
  | { readonly kind: "blank" | "damaged" }
  | { readonly kind: "newer"; readonly version: number };

export type CommitKind = "entries" | "skip";

export interface CommitHeader {
  readonly kind: CommitKind;
  readonly checksum: number;
  readonly walId: string;
  readonly walEpoch: number;
  readonly lsn: number;
  readonly blockCount: number;
  readonly usedBytes: number;
  readonly entryCount: number;
  readonly predecessorChecksum: number;
  readonly durableLsn: number;
}

export interface EntryFields {
  readonly kind: number;
  readonly stream: StreamId;
  readonly term: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly maxTimestampMs: number;
}

export interface EntryHeader extends EntryFields {
  readonly payloadBytes: number;
  readonly payloadChecksum: number;
}

/** Blocks that hold `bytes`. */
export function blocksFor(bytes: number): number {
  return Math.ceil(bytes / WAL_BLOCK_BYTES);
}

/** Byte offset on the device of an LSN. The one place that knows the lap arithmetic. */
export function deviceOffsetOf(lsn: number, layout: { readonly capacityBlocks: number; readonly dataStartBlock: number }): number {
  const place = assertSafe(lsn, "LSN") % layout.capacityBlocks;
  return assertSafe((layout.dataStartBlock + place) * WAL_BLOCK_BYTES, "device offset");
}

/** Data blocks that a device of this size has room for; 0 when it is too small to be a WAL. */
export function capacityBlocksOf(deviceBytes: number): number {
  const blocks = Math.floor(deviceBytes / WAL_BLOCK_BYTES) - DATA_START_BLOCK;
  return blocks < MIN_CAPACITY_BLOCKS ? 0 : blocks;
}

/** A header copy as one block. */
export function encodeHeader(header: WalHeader, crc32c: Crc32c): Uint8Array {
  const block = Buffer.alloc(WAL_BLOCK_BYTES);
  block.write(HEADER_MAGIC, 0, "latin1");
  block.writeUInt32LE(WAL_FORMAT_VERSION, 8);
  writeId(block, 16, header.walId);
  writeU64(block, 32, header.generation, "generation");
  block[40] = header.claimedBy === undefined ? 0 : 1;
  writeU64(block, 48, header.walEpoch, "WAL epoch");
  writeU64(block, 56, header.capacityBlocks, "capacity");
  writeU64(block, 64, header.dataStartBlock, "data start");
  writeU64(block, 80, header.maxInFlightBytes, "max in-flight bytes");
  writeU64(block, 88, header.maxCommitBlocks, "max commit blocks");
  if (header.claimedBy !== undefined) {
    block.writeUInt32LE(header.claimedBy.nodeId, 72);
    writeText(block, CLUSTER_ID_AT, header.claimedBy.clusterId, CLUSTER_ID_MAX_BYTES, "cluster id");
  }
  if (header.metadataSlot !== undefined) {
    writeU64(block, 96, header.metadataSlot.slot, "metadata slot");
    assert(header.metadataSlot.hash.length > 0, "a metadata slot has a hash");
    writeText(block, SLOT_HASH_AT, header.metadataSlot.hash, SLOT_HASH_MAX_BYTES, "metadata slot hash");
  }
  block.writeUInt32LE(crc32c(block, 0, block.length), CHECKSUM_AT);
  return block;
}

export function decodeHeader(bytes: Uint8Array, crc32c: Crc32c): DecodedHeader {
  const block = asBuffer(bytes);
  if (block.toString("latin1", 0, 8) !== HEADER_MAGIC) return { kind: "blank" };
  const version = block.readUInt32LE(8);
  if (version > WAL_FORMAT_VERSION) return { kind: "newer", version };
  if (block.readUInt32LE(CHECKSUM_AT) !== checksumOf(block, WAL_BLOCK_BYTES, crc32c)) return { kind: "damaged" };
  const numbers = [32, 48, 56, 64, 80, 88, 96].map((at) => readU64(block, at));
  if (numbers.some((value) => value === undefined)) return { kind: "damaged" };
  const [generation = 0, walEpoch = 0, capacityBlocks = 0, dataStartBlock = 0, maxInFlightBytes = 0, maxCommitBlocks = 0, slot = 0] =
    numbers;
  const clusterId = readText(block, CLUSTER_ID_AT, CLUSTER_ID_MAX_BYTES);
  const hash = readText(block, SLOT_HASH_AT, SLOT_HASH_MAX_BYTES);
  if (clusterId === undefined || hash === undefined || capacityBlocks < MIN_CAPACITY_BLOCKS || dataStartBlock < DATA_START_BLOCK) {
    return { kind: "damaged" };
  }
  const claimedBy = block[40] === 0 ? undefined : { clusterId, nodeId: block.readUInt32LE(72) };
  const header = {
    walId: readId(block, 16),
    generation,
    claimedBy,
    walEpoch,
    capacityBlocks,
    dataStartBlock,
    maxInFlightBytes,
    maxCommitBlocks,
    metadataSlot: hash === "" ? undefined : { slot, hash },
  };
  return { kind: "valid", header };
}

/**
 * Writes the header of a commit at target[at, ..) and its checksum over the `writtenBytes` that go to the device, which must be in place and
 * padded already. Returns the checksum.
 */
export function sealCommit(
  target: Buffer,
  at: number,
  writtenBytes: number,
  header: Omit<CommitHeader, "checksum">,
  crc32c: Crc32c,
): number {
  target.write(COMMIT_MAGIC, at, "latin1");
  target.writeUInt16LE(WAL_FORMAT_VERSION, at + 8);
  target[at + 10] = header.kind === "skip" ? 1 : 0;
  target[at + 11] = 0;
  target.writeUInt32LE(0, at + CHECKSUM_AT);
  writeId(target, at + 16, header.walId);
  writeU64(target, at + 32, header.walEpoch, "WAL epoch");
  writeU64(target, at + 40, header.lsn, "LSN");
  target.writeUInt32LE(header.blockCount, at + 48);
  target.writeUInt32LE(header.usedBytes, at + 52);
  target.writeUInt32LE(header.entryCount, at + 56);
  target.writeUInt32LE(header.predecessorChecksum, at + 60);
  writeU64(target, at + 64, header.durableLsn, "durable LSN");
  target.fill(0, at + 72, at + COMMIT_HEADER_BYTES);
  const checksum = crc32c(target, at, at + writtenBytes);
  target.writeUInt32LE(checksum, at + CHECKSUM_AT);
  return checksum;
}

/** The header at the start of `block` as it stands, unverified; undefined when it cannot be one. Check its checksum with `commitChecksumMatches`. */
export function decodeCommitHeader(bytes: Uint8Array): CommitHeader | undefined {
  const block = asBuffer(bytes);
  if (block.length < WAL_BLOCK_BYTES || block.toString("latin1", 0, 8) !== COMMIT_MAGIC) return undefined;
  if (block.readUInt16LE(8) !== WAL_FORMAT_VERSION) return undefined;
  const walEpoch = readU64(block, 32);
  const lsn = readU64(block, 40);
  const durableLsn = readU64(block, 64);
  const kindByte = block[10] ?? 255;
  if (walEpoch === undefined || lsn === undefined || durableLsn === undefined || kindByte > 1) return undefined;
  const kind: CommitKind = kindByte === 1 ? "skip" : "entries";
  const blockCount = block.readUInt32LE(48);
  const usedBytes = block.readUInt32LE(52);
  if (blockCount === 0 || usedBytes < COMMIT_HEADER_BYTES || usedBytes > blockCount * WAL_BLOCK_BYTES) return undefined;
  return {
    kind,
    checksum: block.readUInt32LE(CHECKSUM_AT),
    walId: readId(block, 16),
    walEpoch,
    lsn,
    blockCount,
    usedBytes,
    entryCount: block.readUInt32LE(56),
    predecessorChecksum: block.readUInt32LE(60),
    durableLsn,
  };
}

/** Bytes of a commit that are really written: a skip commit writes one block however long it is. */
export function writtenBytesOf(header: { readonly kind: CommitKind; readonly blockCount: number }): number {
  return header.kind === "skip" ? WAL_BLOCK_BYTES : header.blockCount * WAL_BLOCK_BYTES;
}

/** `bytes` begins with the commit and holds all that is written of it. */
export function commitChecksumMatches(bytes: Uint8Array, header: CommitHeader, crc32c: Crc32c): boolean {
  return checksumOf(asBuffer(bytes), writtenBytesOf(header), crc32c) === header.checksum;
}

/** Writes an entry's header at target[at, at + 64). The payload, at target[at + 64, ..), must be in place already. */
export function encodeEntryHeader(target: Buffer, at: number, entry: EntryFields, payloadBytes: number, crc32c: Crc32c): void {
  assert(entry.kind >= 0 && entry.kind <= 255, `entry kind out of range: ${entry.kind}`);
  assert(Number.isSafeInteger(entry.maxTimestampMs), `max timestamp is not a safe integer: ${entry.maxTimestampMs}`);
  target[at + 4] = entry.kind;
  target.fill(0, at + 5, at + 8);
  writeId(target, at + 8, entry.stream.topicId);
  target.writeUInt32LE(entry.stream.partition, at + 24);
  target.writeUInt32LE(entry.term, at + 28);
  writeU64(target, at + 32, entry.baseOffset, "base offset");
  writeU64(target, at + 40, entry.lastOffset, "last offset");
  const timestampHigh = Math.floor(entry.maxTimestampMs / TWO_32);
  target.writeUInt32LE(entry.maxTimestampMs - timestampHigh * TWO_32, at + 48);
  target.writeInt32LE(timestampHigh, at + 52);
  target.writeUInt32LE(payloadBytes, at + 56);
  const payloadAt = at + ENTRY_HEADER_BYTES;
  target.writeUInt32LE(crc32c(target, payloadAt, payloadAt + payloadBytes), at + 60);
  target.writeUInt32LE(crc32c(target, at + 4, payloadAt), at);
}

/** The entry header at bytes[at, at + 64); undefined when its checksum does not match or a field makes no sense. */
export function decodeEntryHeader(bytes: Uint8Array, at: number, crc32c: Crc32c): EntryHeader | undefined {
  const source = asBuffer(bytes);
  if (at + ENTRY_HEADER_BYTES > source.length) return undefined;
  if (source.readUInt32LE(at) !== crc32c(source, at + 4, at + ENTRY_HEADER_BYTES)) return undefined;
  const baseOffset = readU64(source, at + 32);
  const lastOffset = readU64(source, at + 40);
  const maxTimestampMs = source.readInt32LE(at + 52) * TWO_32 + source.readUInt32LE(at + 48);
  if (baseOffset === undefined || lastOffset === undefined || !Number.isSafeInteger(maxTimestampMs)) return undefined;
  return {
    kind: source[at + 4] ?? 0,
    stream: { topicId: readId(source, at + 8), partition: source.readUInt32LE(at + 24) },
    term: source.readUInt32LE(at + 28),
    baseOffset,
    lastOffset,
    maxTimestampMs,
    payloadBytes: source.readUInt32LE(at + 56),
    payloadChecksum: source.readUInt32LE(at + 60),
  };
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function checksumOf(bytes: Buffer, length: number, crc32c: Crc32c): number {
  const before = crc32c(bytes, 0, CHECKSUM_AT);
  return crc32c(bytes, CHECKSUM_AT + 4, length, crc32c(ZERO_4, 0, 4, before));
}

function writeU64(target: Buffer, at: number, value: number, name: string): void {
  assertSafe(value, name);
  target.writeUInt32LE(value % TWO_32, at);
  target.writeUInt32LE(Math.floor(value / TWO_32), at + 4);
}

/** Undefined at or above 2^53: nothing that we wrote. */
function readU64(source: Buffer, at: number): number | undefined {
  const value = source.readUInt32LE(at + 4) * TWO_32 + source.readUInt32LE(at);
  return Number.isSafeInteger(value) ? value : undefined;
}

function writeId(target: Buffer, at: number, id: string): void {
  const written = target.write(id, at, 16, "base64url");
  assert(id.length === 22 && written === 16, `not a 22-character id: ${id}`);
}

function readId(source: Buffer, at: number): string {
  return source.toString("base64url", at, at + 16);
}

function writeText(target: Buffer, at: number, text: string, maxBytes: number, name: string): void {
  assert(Buffer.byteLength(text, "latin1") === Buffer.byteLength(text, "utf8") && text.length <= maxBytes, `${name} does not fit: ${text}`);
  target.writeUInt16LE(text.length, at);
  target.write(text, at + 2, "latin1");
}

function readText(source: Buffer, at: number, maxBytes: number): string | undefined {
  const length = source.readUInt16LE(at);
  return length > maxBytes ? undefined : source.toString("latin1", at + 2, at + 2 + length);
}
