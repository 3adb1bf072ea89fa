/**
 * One object of the metadata log. Created once under its slot's key, never changed.
 *
 * | offset | bytes | field                                                                                     |
 * |--------|-------|-------------------------------------------------------------------------------------------|
 * | 0      | 8     | magic "WEIRMLOG"                                                                          |
 * | 8      | 4     | format version, 1                                                                         |
 * | 12     | 4     | CRC32C of everything from offset 16                                                       |
 * | 16     | 16    | cluster id                                                                                |
 * | 32     | 8     | slot                                                                                      |
 * | 40     | 16    | nonce, random per batch: by it a writer knows its own batch when a reply was lost          |
 * | 56     | 4     | node id of the writer                                                                     |
 * | 60     | 8     | controller epoch under which it was written                                               |
 * | 68     | 8     | hash of the image after this batch (image.ts)                                             |
 * | 76     | 4     | number of records                                                                         |
 * | 80     |       | records (records.ts)                                                                      |
 *
 * All integers little-endian.
 */
import { Trouble } from "../base/trouble.ts";
import { ByteReader, ByteWriter, DamagedBytes } from "./byte-codec.ts";
import { type MetadataRecord, readRecord, UnknownRecord, writeRecord } from "./records.ts";

export type Crc32c = (bytes: Uint8Array, start: number, end: number) => number;

export interface LogBatch {
  readonly clusterId: string;
  readonly slot: number;
  /** 22-character base64url. */
  readonly nonce: string;
  readonly writerNodeId: number;
  readonly controllerEpoch: number;
  readonly imageHashAfter: bigint;
  readonly records: readonly MetadataRecord[];
}

const MAGIC = "WEIRMLOG";
const VERSION = 1;
const CRC_OFFSET = 12;
const CRC_START = 16;

export function encodeLogBatch(batch: LogBatch, crc32c: Crc32c): Uint8Array {
  const writer = beginChecked(MAGIC, VERSION);
  writer.uuid(batch.clusterId);
  writer.i64(batch.slot);
  writer.uuid(batch.nonce);
  writer.u32(batch.writerNodeId);
  writer.i64(batch.controllerEpoch);
  writer.u64(batch.imageHashAfter);
  writer.u32(batch.records.length);
  for (const record of batch.records) writeRecord(writer, record);
  return sealChecked(writer, crc32c);
}

/** `key` is for the message. Throws Trouble "metadata-damaged" or "metadata-format-unknown". */
export function decodeLogBatch(bytes: Uint8Array, key: string, crc32c: Crc32c): LogBatch {
  try {
    const reader = openChecked(bytes, MAGIC, VERSION, crc32c);
    const clusterId = reader.uuid();
    const slot = reader.i64();
    const nonce = reader.uuid();
    const writerNodeId = reader.u32();
    const controllerEpoch = reader.i64();
    const imageHashAfter = reader.u64();
    const count = reader.u32();
    if (count * 3 > reader.remaining) throw new DamagedBytes(`${count} records do not fit`);
    const records: MetadataRecord[] = [];
    for (let index = 0; index < count; index++) records.push(readRecord(reader));
    reader.expectEnd();
    return { clusterId, slot, nonce, writerNodeId, controllerEpoch, imageHashAfter, records };
  } catch (error) {
    throw troubleOf(error, key);
  }
}

/** Checks magic, version and checksum of any metadata object (all begin alike) and gives a reader behind them. */
export function openChecked(bytes: Uint8Array, magic: string, version: number, crc32c: Crc32c): ByteReader {
  const reader = new ByteReader(bytes);
  const found = Buffer.from(reader.raw(magic.length)).toString("latin1");
  if (found !== magic) throw new DamagedBytes(`does not begin with ${magic}`);
  const foundVersion = reader.u32();
  if (foundVersion !== version) throw new UnknownRecord(`format version ${foundVersion}; known is ${version}`);
  const crc = reader.u32();
  if (crc !== crc32c(bytes, reader.position, bytes.length)) throw new DamagedBytes("CRC32C does not match");
  return reader;
}

/** Header of any metadata object; the checksum is set by `sealChecked`. */
export function beginChecked(magic: string, version: number): ByteWriter {
  const writer = new ByteWriter(4_096);
  writer.raw(Buffer.from(magic, "latin1"));
  writer.u32(version);
  writer.u32(0);
  return writer;
}

export function sealChecked(writer: ByteWriter, crc32c: Crc32c): Uint8Array {
  const bytes = writer.view();
  writer.setU32(CRC_OFFSET, crc32c(bytes, CRC_START, bytes.length));
  return writer.finish();
}

export function troubleOf(error: unknown, key: string): unknown {
  if (error instanceof DamagedBytes) {
    return new Trouble({
      code: "metadata-damaged",
      message: `metadata object ${key} is damaged: ${error.message}`,
      remedy: "Do not delete it. Restore the object from a version or a copy of the bucket.",
      retryable: false,
      cause: error,
    });
  }
  if (error instanceof UnknownRecord) {
    return new Trouble({
      code: "metadata-format-unknown",
      message: `metadata object ${key} was written by a newer release: ${error.message}`,
      remedy: "Start this broker with a release that knows the format.",
      retryable: false,
      cause: error,
    });
  }
  return error;
}
