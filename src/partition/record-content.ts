/**
 * What validation and searches ask of those who know codecs: content of a compressed batch, a look at all of its records, and compressing it anew.
 * Types and one bound; the bodies are made of `protocol/compression.ts` and the addon where the parts are joined.
 */

/** What all records of a batch that is whole and in order have in common. */
export interface RecordScan {
  /** -1 when none is set. */
  readonly maxTimestampMs: number;
  /** Least of those that are set; Infinity when none is. */
  readonly minTimestampMs: number;
  readonly keyless: number;
  readonly longestRecordBytes: number;
}

/**
 * A fast look at the records in bytes[start, end); undefined when anything about them is odd, then they are looked at one by one. `codec` is 0..4,
 * `baseTimestampMs` a safe integer.
 */
export type ScanRecords = (
  codec: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  count: number,
  baseTimestampMs: number,
  maxContentBytes: number,
) => RecordScan | undefined;

/** Compresses a batch's records; `codec` is 0..4, `level` the codec's own (undefined: Kafka's default). */
export type Compress = (codec: number, content: Uint8Array, level: number | undefined) => Uint8Array;

/** Content of a compressed batch; throws when it is damaged or larger than `maxBytes`. `codec` is 1..4. */
export type Decompress = (codec: number, bytes: Uint8Array, start: number, end: number, maxBytes: number) => Uint8Array;

/** Bound of the memory that one compressed batch may take where its content is needed as a whole. */
export const MAX_DECOMPRESSED_BATCH_BYTES = 128 * 1024 * 1024;
