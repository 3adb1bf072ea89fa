/** The record bytes of a Fetch answer as fields that can be compared one by one. */
import { loadAddon } from "../../../src/native/load-addon.ts";
import { decompress } from "../../../src/protocol/compression.ts";
import { iterateRecords } from "../../../src/protocol/records.ts";
import { crc32c } from "../../support/record-batch.ts";

export interface BatchView {
  readonly baseOffset: bigint;
  readonly batchLength: number;
  readonly partitionLeaderEpoch: number;
  readonly magic: number;
  /** The checksum covers producer id and times, which differ by nature: it has to be right, not the same. */
  readonly isChecksumRight: boolean;
  readonly attributes: number;
  readonly lastOffsetDelta: number;
  readonly baseTimestamp: bigint;
  readonly maxTimestamp: bigint;
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly count: number;
  /** Content as a decoder sees it. */
  readonly records: unknown;
  /** As it lies in the batch; for compressed ones. */
  readonly payload: Uint8Array | null;
}

export interface RecordsView {
  readonly batches: readonly BatchView[];
  /** Bytes of a batch that was cut at the size limit. */
  readonly cutBytes: number;
}

const headerBytes = 61;
const maxContentBytes = 64 << 20;

function readRecords(batch: Buffer): unknown {
  try {
    const codecs = loadAddon();
    return [...iterateRecords(batch, 0, (codec, payload) => decompress(codec, payload, maxContentBytes, codecs))].map((record) => ({
      offset: record.offset,
      timestamp: record.timestamp,
      key: record.key,
      value: record.value,
      headers: record.headers,
    }));
  } catch (error) {
    return `does not decode: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function viewBatch(batch: Buffer): BatchView {
  const attributes = batch.readInt16BE(21);
  return {
    baseOffset: batch.readBigInt64BE(0),
    batchLength: batch.readInt32BE(8),
    partitionLeaderEpoch: batch.readInt32BE(12),
    magic: batch.readInt8(16),
    isChecksumRight: crc32c(batch.subarray(21)) === batch.readUInt32BE(17),
    attributes,
    lastOffsetDelta: batch.readInt32BE(23),
    baseTimestamp: batch.readBigInt64BE(27),
    maxTimestamp: batch.readBigInt64BE(35),
    producerId: batch.readBigInt64BE(43),
    producerEpoch: batch.readInt16BE(51),
    baseSequence: batch.readInt32BE(53),
    count: batch.readInt32BE(57),
    records: readRecords(batch),
    payload: (attributes & 7) === 0 ? null : batch.subarray(headerBytes),
  };
}

export function viewRecords(bytes: Uint8Array): RecordsView {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const batches: BatchView[] = [];
  let at = 0;
  while (at + headerBytes <= all.length) {
    const end = at + 12 + all.readInt32BE(at + 8);
    if (end > all.length || end < at + headerBytes) break;
    batches.push(viewBatch(all.subarray(at, end)));
    at = end;
  }
  return { batches, cutBytes: all.length - at };
}
