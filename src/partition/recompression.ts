/**
 * Stores a batch in the codec that its topic's `compression.type` names (LogValidator.buildRecordsAndAssignOffsets). Records stay byte by byte as the
 * producer made them; of the attributes only codec and transactional bit are kept, and `finish` in batch-validation sets the time type and the CRC.
 *
 * Markers never come here: Kafka does not compress control batches either.
 */
import {
  ATTRIBUTES_AT,
  BATCH_OVERHEAD,
  CODEC_MASK,
  CODEC_NONE,
  LENGTH_AT,
  LOG_OVERHEAD,
  TRANSACTIONAL_BIT,
  viewOf,
} from "./batch-layout.ts";
import { type Compress, type Decompress, MAX_DECOMPRESSED_BATCH_BYTES } from "./record-content.ts";

/** A new batch; its CRC is still that of the old one. `bytes` have passed the checks. */
export function recompressBatch(
  bytes: Uint8Array,
  view: DataView,
  codec: number,
  level: number | undefined,
  compress: Compress,
  decompress: Decompress,
): Uint8Array {
  const attributes = view.getInt16(ATTRIBUTES_AT);
  const source = attributes & CODEC_MASK;
  const content =
    source === CODEC_NONE
      ? bytes.subarray(BATCH_OVERHEAD)
      : decompress(source, bytes, BATCH_OVERHEAD, bytes.length, MAX_DECOMPRESSED_BATCH_BYTES);
  const packed = codec === CODEC_NONE ? content : compress(codec, content, level);
  const stored = new Uint8Array(BATCH_OVERHEAD + packed.length);
  stored.set(bytes.subarray(0, BATCH_OVERHEAD));
  stored.set(packed, BATCH_OVERHEAD);
  const storedView = viewOf(stored);
  storedView.setInt32(LENGTH_AT, stored.length - LOG_OVERHEAD);
  storedView.setInt16(ATTRIBUTES_AT, (attributes & TRANSACTIONAL_BIT) | codec);
  return stored;
}
