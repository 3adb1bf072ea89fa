/**
 * Record batches of magic 2 for tests: a writer and a reader of their own, independent of the server's, so that the server is not checked against
 * itself. Uncompressed only; no headers. Layout (Kafka's documentation, "Record Batch"; big-endian):
 *
 *   0 baseOffset i64 | 8 batchLength i32 | 12 partitionLeaderEpoch i32 | 16 magic i8 | 17 crc u32 (CRC32C from 21 on) | 21 attributes i16 |
 *   23 lastOffsetDelta i32 | 27 baseTimestamp i64 | 35 maxTimestamp i64 | 43 producerId i64 | 51 producerEpoch i16 | 53 baseSequence i32 |
 *   57 count i32 | 61 records
 */
const crcTable = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});

/** CRC-32C (Castagnoli), bit by table. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crcTable[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

export interface BatchOptions {
  readonly values: readonly (string | Uint8Array)[];
  readonly timestampMs?: number;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
  readonly attributes?: number;
  /** Compresses the records; `attributes` must name the codec. */
  readonly compress?: (records: Buffer) => Uint8Array;
}

function zigzag(value: number): number[] {
  const bytes: number[] = [];
  let rest = value < 0 ? -value * 2 - 1 : value * 2;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return bytes;
}

export function encodeBatch(options: BatchOptions): Buffer {
  const records = options.values.map((value, index) => {
    const bytes = typeof value === "string" ? Buffer.from(value) : Buffer.from(value);
    // attributes, timestampDelta 0, offsetDelta, no key, value, no headers
    const body = Buffer.concat([Buffer.from([0, 0, ...zigzag(index), 1, ...zigzag(bytes.length)]), bytes, Buffer.from([0])]);
    return Buffer.concat([Buffer.from(zigzag(body.length)), body]);
  });
  const plain = Buffer.concat(records);
  const payload = options.compress === undefined ? plain : Buffer.from(options.compress(plain));
  const batch = Buffer.alloc(61 + payload.length);
  const timestamp = BigInt(options.timestampMs ?? 1_700_000_000_000);
  batch.writeInt32BE(batch.length - 12, 8);
  batch.writeInt32BE(-1, 12);
  batch.writeInt8(2, 16);
  batch.writeInt16BE(options.attributes ?? 0, 21);
  batch.writeInt32BE(options.values.length - 1, 23);
  batch.writeBigInt64BE(timestamp, 27);
  batch.writeBigInt64BE(timestamp, 35);
  batch.writeBigInt64BE(BigInt(options.producerId ?? -1), 43);
  batch.writeInt16BE(options.producerEpoch ?? -1, 51);
  batch.writeInt32BE(options.baseSequence ?? -1, 53);
  batch.writeInt32BE(options.values.length, 57);
  payload.copy(batch, 61);
  return sealBatch(batch);
}

/** Writes the checksum that the batch's bytes have now. */
export function sealBatch(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
  return batch;
}

export interface DecodedRecord {
  readonly offset: number;
  readonly value: Buffer;
}

/** Records of whole, uncompressed batches; an incomplete batch at the end is left out, as a fetch may cut it. Throws on a wrong checksum. */
export function decodeBatches(bytes: Uint8Array): DecodedRecord[] {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const records: DecodedRecord[] = [];
  for (let at = 0; at + 61 <= all.length; ) {
    const end = at + 12 + all.readInt32BE(at + 8);
    if (end > all.length) break;
    if (crc32c(all.subarray(at + 21, end)) !== all.readUInt32BE(at + 17)) throw new Error(`the batch at byte ${at} has a wrong checksum`);
    if ((all.readInt16BE(at + 21) & 7) !== 0) throw new Error("only uncompressed batches are read here");
    const baseOffset = Number(all.readBigInt64BE(at));
    const count = all.readInt32BE(at + 57);
    let position = at + 61;
    const varint = (): number => {
      let result = 0;
      for (let factor = 1; ; factor *= 128) {
        const byte = all[position++] ?? 0;
        result += (byte & 0x7f) * factor;
        if (byte < 0x80) break;
      }
      return result % 2 === 0 ? result / 2 : -(result + 1) / 2;
    };
    for (let index = 0; index < count; index++) {
      const recordEnd = varint() + position;
      position++;
      varint();
      const offsetDelta = varint();
      const keyLength = varint();
      position += Math.max(keyLength, 0);
      const valueLength = varint();
      records.push({ offset: baseOffset + offsetDelta, value: all.subarray(position, position + Math.max(valueLength, 0)) });
      position = recordEnd;
    }
    at = end;
  }
  return records;
}
