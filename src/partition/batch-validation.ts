/**
 * Kafka's rules for record batches that clients produce (ProduceRequest.validateRecords, UnifiedLog.analyzeAndValidateRecords, LogValidator), in
 * Kafka's order, so that a batch with several faults gets the same answer. Refusals are values; `api/` gives them their Kafka codes.
 *
 * A batch that passes is ready for the synchronous append: only base offset and leader epoch are still open, and those lie outside the CRC.
 * LogAppendTime, and a max timestamp that does not fit the records, are patched here and pay for a new CRC.
 *
 * Differences, all towards refusing: timestamps and producer ids beyond 2^53; offset deltas that are not 0, 1, 2, ... (Kafka writes such
 * compressed batches anew and takes uncompressed ones as they are); a batch that decompresses to more than MAX_DECOMPRESSED_BATCH_BYTES.
 *
 * Neighbours: `record-walk.ts` walks one record at a time; the addon scans whole batches; `recompression.ts` for a topic's `compression.type`.
 */
import {
  ATTRIBUTES_AT,
  addToSequence,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_OVERHEAD,
  CODEC_MASK,
  CODEC_NONE,
  CODEC_ZSTD,
  CONTROL_BIT,
  CRC_AT,
  type Crc32c,
  LAST_OFFSET_DELTA_AT,
  LENGTH_AT,
  LOG_APPEND_TIME_BIT,
  LOG_OVERHEAD,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  patchTimestamp,
  RECORD_COUNT_AT,
  readInt64,
  TRANSACTIONAL_BIT,
  viewOf,
} from "./batch-layout.ts";
import { recompressBatch } from "./recompression.ts";
import { type Compress, type Decompress, MAX_DECOMPRESSED_BATCH_BYTES, type ScanRecords } from "./record-content.ts";
import { getWalkPosition, nextRecord, startWalk, type WalkedRecord } from "./record-walk.ts";

export type { Decompress };

/** A topic's settings that bear on appends. */
export interface BatchRules {
  readonly maxMessageBytes: number;
  readonly isLogAppendTime: boolean;
  /** Java longs; what lies beyond 2^53 is a bound that no exact number reaches. */
  readonly timestampBeforeMaxMs: number;
  readonly timestampAfterMaxMs: number;
  readonly isCompacted: boolean;
  readonly maxDecompressedRecordBytes: number;
  /** The codec that batches are stored in (`compression.type`), and its level; undefined: the producer's. */
  readonly targetCodec?: number | undefined;
  readonly compressionLevel?: number | undefined;
}

export interface ValidationContext {
  readonly crc32c: Crc32c;
  readonly decompress: Decompress;
  /** Absent: records are always looked at one by one. */
  readonly scanRecords?: ScanRecords | undefined;
  /** Absent: batches stay in the producer's codec. */
  readonly compress?: Compress | undefined;
  readonly nowMs: number;
  /** For messages. */
  readonly topicName: string;
  readonly partition: number;
  /** Produce below version 7 may not bring zstd. */
  readonly isZstdAllowed: boolean;
}

/** A smaller batch is walked here in less time than the call into the addon takes. */
const SCANNED_FROM_BYTES = 1024;

export interface RecordError {
  readonly batchIndex: number;
  readonly message: string;
}

export type RefusalReason = "invalid-record" | "corrupt" | "too-large" | "unsupported-compression" | "invalid-timestamp";

export interface BatchRefusal {
  readonly kind: "refused";
  readonly reason: RefusalReason;
  readonly message: string;
  /** Where it was found, which decides what Kafka tells the client besides the code: nothing; `message`; the log's start; all of these and the records. */
  readonly stage: "request" | "framing" | "log" | "records";
  readonly recordErrors: readonly RecordError[];
}

export interface CheckedBatch {
  readonly kind: "checked";
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly recordCount: number;
  readonly maxTimestampMs: number;
  /** -1 without idempotence. */
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly lastSequence: number;
  readonly isTransactional: boolean;
  /** -1 unless the topic stamps append time. */
  readonly logAppendTimeMs: number;
}

function nameOf(context: Pick<ValidationContext, "topicName" | "partition">): string {
  return `${context.topicName}-${context.partition}`;
}

function refuse(reason: RefusalReason, message: string, stage: BatchRefusal["stage"] = "log"): BatchRefusal {
  return { kind: "refused", reason, message, stage, recordErrors: [] };
}

/** Who a batch says that it is from; -1 where it says nothing. */
export interface BatchProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly isTransactional: boolean;
}

/** `bytes` hold a whole batch of magic 2. */
export function readBatchProducer(bytes: Uint8Array): BatchProducer {
  const view = viewOf(bytes);
  return {
    producerId: readInt64(view, PRODUCER_ID_AT),
    producerEpoch: view.getInt16(PRODUCER_EPOCH_AT),
    baseSequence: view.getInt32(BASE_SEQUENCE_AT),
    isTransactional: (view.getInt16(ATTRIBUTES_AT) & TRANSACTIONAL_BIT) !== 0,
  };
}

/**
 * The batch in the records field of one partition, after `findFramingRefusal` has found nothing wrong; a piece of another behind it is left away, as Kafka
 * does. `bytes` may be patched in place.
 */
export function validateFramedBatch(bytes: Uint8Array, rules: BatchRules, context: ValidationContext): CheckedBatch | BatchRefusal {
  const whole = viewOf(bytes);
  const sizeBytes = LOG_OVERHEAD + whole.getInt32(LENGTH_AT);
  const isAlone = sizeBytes === bytes.length;
  const batch = isAlone ? bytes : bytes.subarray(0, sizeBytes);
  const view = isAlone ? whole : viewOf(batch);
  return checkHeader(view, batch, rules, context) ?? checkRecords(view, batch, rules, context);
}

/** What is wrong with the bytes before any log is asked: these come before the check of acks. */
export function findFramingRefusal(
  bytes: Uint8Array | null,
  context: Pick<ValidationContext, "topicName" | "partition" | "isZstdAllowed">,
): BatchRefusal | undefined {
  return bytes === null ? refuse("invalid-record", "no records", "request") : checkFraming(viewOf(bytes), bytes.length, context);
}

/** What the first look at a partition's bytes finds: that the first batch is transactional or not, or that it is no batch (RequestUtils.flag). */
export function lookAtFirstBatch(bytes: Uint8Array | null): "transactional" | "plain" | BatchRefusal {
  if (bytes === null) return "plain";
  const view = viewOf(bytes);
  const first = measureBatch(view, 0, bytes.length);
  if (typeof first !== "number") return first;
  if (first === 0 || view.getInt8(MAGIC_AT) !== 2) return "plain";
  return (view.getInt16(ATTRIBUTES_AT) & TRANSACTIONAL_BIT) === 0 ? "plain" : "transactional";
}

/** ByteBufferLogInputStream and ProduceRequest.validateRecords. */
function checkFraming(
  view: DataView,
  size: number,
  context: Pick<ValidationContext, "topicName" | "partition" | "isZstdAllowed">,
): BatchRefusal | undefined {
  const first = measureBatch(view, 0, size);
  if (typeof first !== "number") return first;
  if (first === 0) return refuse("invalid-record", "Produce requests must have at least one record batch per partition", "request");
  if (view.getInt8(MAGIC_AT) !== 2) {
    return refuse("invalid-record", "Produce requests are only allowed to contain record batches with magic version 2", "request");
  }
  if (first < BATCH_OVERHEAD) return refuse("corrupt", `Record is corrupt in topic partition ${nameOf(context)}`, "request");
  if ((view.getInt16(ATTRIBUTES_AT) & CODEC_MASK) === CODEC_ZSTD && !context.isZstdAllowed) {
    return refuse("unsupported-compression", "Produce requests below version 7 are not allowed to use ZStandard compression", "request");
  }
  if (first === size) return undefined;
  const second = measureBatch(view, first, size);
  if (typeof second !== "number") return second;
  if (second === 0) return undefined;
  return refuse("invalid-record", "Produce requests are only allowed to contain exactly one record batch per partition", "request");
}

/** Size of the batch at `start`, 0 when less than a whole one is left. */
function measureBatch(view: DataView, start: number, size: number): number | BatchRefusal {
  const remaining = size - start;
  if (remaining < LOG_OVERHEAD) return 0;
  const length = view.getInt32(start + LENGTH_AT);
  if (length < 14) return refuse("corrupt", `Record size ${length} is less than the minimum record overhead (14)`, "framing");
  if (remaining <= MAGIC_AT) return 0;
  const magic = view.getInt8(start + MAGIC_AT);
  if (magic < 0 || magic > 2) return refuse("corrupt", `Invalid magic found in record: ${magic}`, "framing");
  return remaining < length + LOG_OVERHEAD ? 0 : length + LOG_OVERHEAD;
}

function checkHeader(view: DataView, bytes: Uint8Array, rules: BatchRules, context: ValidationContext): BatchRefusal | undefined {
  const baseOffset = readInt64(view, 0);
  if (baseOffset !== 0) {
    return refuse(
      "invalid-record",
      `The baseOffset of the record batch in the append to ${nameOf(context)} should be 0, but it is ${baseOffset}`,
    );
  }
  if (bytes.length > rules.maxMessageBytes) {
    const message = `The record batch size in the append to ${nameOf(context)} is ${bytes.length} bytes which exceeds the maximum configured value of ${rules.maxMessageBytes}.`;
    return refuse("too-large", message, "request");
  }
  const storedCrc = view.getUint32(CRC_AT);
  if (context.crc32c(bytes, ATTRIBUTES_AT, bytes.length) !== storedCrc) {
    return refuse("corrupt", `Record is corrupt (stored crc = ${storedCrc}) in topic partition ${nameOf(context)}.`, "request");
  }
  const codec = view.getInt16(ATTRIBUTES_AT) & CODEC_MASK;
  if (codec > CODEC_ZSTD) return refuse("unsupported-compression", `Unknown compression type id: ${codec}`);
  const lastOffsetDelta = view.getInt32(LAST_OFFSET_DELTA_AT);
  const count = view.getInt32(RECORD_COUNT_AT);
  if (lastOffsetDelta < 0) {
    return refuse("invalid-record", `Batch has an invalid offset range: [0, ${lastOffsetDelta}] in topic partition ${nameOf(context)}`);
  }
  if (count <= 0)
    return refuse("invalid-record", `Invalid reported count for record batch: ${count} in topic partition ${nameOf(context)}`);
  if (count !== lastOffsetDelta + 1) {
    return refuse(
      "invalid-record",
      `Inconsistent batch offset range [0, ${lastOffsetDelta}] and count of records ${count} in topic partition ${nameOf(context)}`,
    );
  }
  if ((view.getInt16(ATTRIBUTES_AT) & CONTROL_BIT) !== 0) {
    return refuse("invalid-record", `Clients are not allowed to write control records in topic partition ${nameOf(context)}`);
  }
  return checkProducer(view, context);
}

function checkProducer(view: DataView, context: ValidationContext): BatchRefusal | undefined {
  const producerId = readInt64(view, PRODUCER_ID_AT);
  if (producerId < 0) return undefined;
  if (!Number.isSafeInteger(producerId)) {
    return refuse("invalid-record", `Producer id ${view.getBigInt64(PRODUCER_ID_AT)} was never given out (${nameOf(context)})`);
  }
  const baseSequence = view.getInt32(BASE_SEQUENCE_AT);
  if (baseSequence < 0) {
    return refuse(
      "invalid-record",
      `Invalid sequence number ${baseSequence} in record batch with producerId ${producerId} in topic partition ${nameOf(context)}`,
    );
  }
  return undefined;
}

function checkRecords(view: DataView, bytes: Uint8Array, rules: BatchRules, context: ValidationContext): CheckedBatch | BatchRefusal {
  const maxTimestampMs = scanRecords(view, bytes, rules, context) ?? walkContent(view, bytes, rules, context);
  if (typeof maxTimestampMs !== "number") return maxTimestampMs;
  const { targetCodec } = rules;
  const { compress } = context;
  if (targetCodec === undefined || compress === undefined || !isWrittenAnew(view, rules)) {
    return finish(view, bytes, maxTimestampMs, rules, context);
  }
  if (readInt64(view, PRODUCER_ID_AT) >= 0 && view.getInt16(PRODUCER_EPOCH_AT) < 0) {
    return refuse("invalid-record", `A batch of a producer without an epoch cannot be written anew (${nameOf(context)})`);
  }
  const stored = recompressBatch(bytes, view, targetCodec, rules.compressionLevel, compress, context.decompress);
  if (stored.length > rules.maxMessageBytes) {
    const message = `Message batch size is ${stored.length} bytes in append to partition ${nameOf(context)} which exceeds the maximum configured size of ${rules.maxMessageBytes}.`;
    return refuse("too-large", message, "request");
  }
  return finish(viewOf(stored), stored, maxTimestampMs, rules, context, true);
}

/** Stored in another codec than the producer's. */
function isWrittenAnew(view: DataView, rules: BatchRules): boolean {
  return rules.targetCodec !== undefined && rules.targetCodec !== (view.getInt16(ATTRIBUTES_AT) & CODEC_MASK);
}

/** The greatest timestamp when all records are well at one look. */
function scanRecords(view: DataView, bytes: Uint8Array, rules: BatchRules, context: ValidationContext): number | undefined {
  const attributes = view.getInt16(ATTRIBUTES_AT);
  const codec = attributes & CODEC_MASK;
  const baseTimestamp = readInt64(view, BASE_TIMESTAMP_AT);
  if (context.scanRecords === undefined || (attributes & LOG_APPEND_TIME_BIT) !== 0 || !Number.isSafeInteger(baseTimestamp))
    return undefined;
  if (codec === CODEC_NONE && bytes.length < SCANNED_FROM_BYTES) return undefined;
  const count = view.getInt32(RECORD_COUNT_AT);
  const scan = context.scanRecords(codec, bytes, BATCH_OVERHEAD, bytes.length, count, baseTimestamp, MAX_DECOMPRESSED_BATCH_BYTES);
  if (scan === undefined || (rules.isCompacted && scan.keyless > 0)) return undefined;
  if (scan.minTimestampMs < 0 && isWrittenAnew(view, rules)) return undefined;
  if (codec !== CODEC_NONE && scan.longestRecordBytes > rules.maxDecompressedRecordBytes) return undefined;
  if (!rules.isLogAppendTime) {
    if (scan.minTimestampMs < context.nowMs - rules.timestampBeforeMaxMs) return undefined;
    if (scan.maxTimestampMs > context.nowMs + rules.timestampAfterMaxMs) return undefined;
  }
  return scan.maxTimestampMs;
}

/** Record by record. */
function walkContent(view: DataView, bytes: Uint8Array, rules: BatchRules, context: ValidationContext): number | BatchRefusal {
  const codec = view.getInt16(ATTRIBUTES_AT) & CODEC_MASK;
  let records = bytes;
  let start = BATCH_OVERHEAD;
  if (codec !== CODEC_NONE) {
    try {
      records = context.decompress(codec, bytes, BATCH_OVERHEAD, bytes.length, MAX_DECOMPRESSED_BATCH_BYTES);
    } catch (error) {
      return refuse("invalid-record", `The batch for ${nameOf(context)} cannot be decompressed: ${(error as Error).message}`);
    }
    start = 0;
  }
  return walkRecords(view, records, start, rules, context);
}

/** Answers the greatest record timestamp. */
function walkRecords(
  view: DataView,
  records: Uint8Array,
  start: number,
  rules: BatchRules,
  context: ValidationContext,
): number | BatchRefusal {
  const count = view.getInt32(RECORD_COUNT_AT);
  const codec = view.getInt16(ATTRIBUTES_AT) & CODEC_MASK;
  const isClientLogAppendTime = (view.getInt16(ATTRIBUTES_AT) & LOG_APPEND_TIME_BIT) !== 0;
  const fixedTimestamp = isClientLogAppendTime ? readInt64(view, MAX_TIMESTAMP_AT) : undefined;
  const baseTimestamp = readInt64(view, BASE_TIMESTAMP_AT);
  const earliest = context.nowMs - rules.timestampBeforeMaxMs;
  const latest = Math.min(context.nowMs + rules.timestampAfterMaxMs, Number.MAX_SAFE_INTEGER);
  const isCompressed = start === 0;
  const isExact = Number.isSafeInteger(baseTimestamp) || isClientLogAppendTime;
  const isRewritten = isWrittenAnew(view, rules);
  let maxTimestamp = -1;
  let isBeforeEpoch = false;
  let errors: RecordErrors | undefined;
  startWalk(start);
  for (let index = 0; index < count; index++) {
    const record = nextRecord(records, records.length);
    if (record === undefined || record.offsetDelta !== index) {
      return refuse("invalid-record", `Record ${index} of the batch for ${nameOf(context)} has a wrong structure`);
    }
    if (isCompressed && record.sizeBytes > rules.maxDecompressedRecordBytes) {
      return refuse("invalid-record", `Record size ${record.sizeBytes} exceeds the configured maximum ${rules.maxDecompressedRecordBytes}`);
    }
    const timestamp = fixedTimestamp ?? baseTimestamp + record.timestampDelta;
    if (timestamp > maxTimestamp) maxTimestamp = timestamp;
    isBeforeEpoch ||= timestamp < -1;
    if (rules.isCompacted && !record.hasKey) {
      errors ??= new RecordErrors();
      errors.add(index, `Compacted topic cannot accept message without key in topic partition ${nameOf(context)}`, false);
    } else if (!rules.isLogAppendTime && timestamp !== -1) {
      if (isExact && timestamp >= earliest && timestamp <= latest && timestamp >= Number.MIN_SAFE_INTEGER) continue;
      errors ??= new RecordErrors();
      errors.add(index, describeTimestamp(view, index, record.timestampDelta, rules, context), true);
    } else if (isClientLogAppendTime) {
      errors ??= new RecordErrors();
      const isSkimmed = isCompressed && (rules.targetCodec ?? codec) === codec;
      errors.add(index, describeTimeType(record, view.getBigInt64(MAX_TIMESTAMP_AT), isSkimmed), true);
    }
  }
  // What does not parse comes before what may not be.
  if (getWalkPosition() !== records.length) {
    return refuse("invalid-record", "Incorrect declared batch size, records still remaining in file");
  }
  if (errors !== undefined) return errors.toRefusal();
  return isRewritten && isBeforeEpoch
    ? refuse("invalid-record", `Records before 1970 cannot be written anew (${nameOf(context)})`)
    : maxTimestamp;
}

function describeTimestamp(view: DataView, index: number, delta: number, rules: BatchRules, context: ValidationContext): string {
  const isFixed = (view.getInt16(ATTRIBUTES_AT) & LOG_APPEND_TIME_BIT) !== 0;
  const timestamp = isFixed ? view.getBigInt64(MAX_TIMESTAMP_AT) : BigInt.asIntN(64, view.getBigInt64(BASE_TIMESTAMP_AT) + BigInt(delta));
  const now = BigInt(context.nowMs);
  const from = BigInt.asIntN(64, now - toJavaLong(rules.timestampBeforeMaxMs));
  const to = BigInt.asIntN(64, now + toJavaLong(rules.timestampAfterMaxMs));
  return `Timestamp ${timestamp} of message with offset ${index} is out of range. The timestamp should be within [${from}, ${to}]`;
}

/** The record as Kafka prints it; where it has only skimmed over a compressed one, without key and value, nulls have the length -1. */
function describeTimeType(record: WalkedRecord, timestamp: bigint, isSkimmed: boolean): string {
  const name = isSkimmed ? "PartialDefaultRecord" : "DefaultRecord";
  const [key, value] = [record.keyLength, record.valueLength].map((length) => (isSkimmed ? Math.max(-1, length) : Math.max(0, length)));
  const shown = `${name}(offset=${record.offsetDelta}, timestamp=${timestamp}, key=${key} bytes, value=${value} bytes)`;
  return `Invalid timestamp type in message ${shown}. Producer should not set timestamp type to LogAppendTime.`;
}

const MAX_LONG = 2n ** 63n - 1n;

/** The nearest double of 2^63 - 1 is 2^63. */
function toJavaLong(value: number): bigint {
  const exact = BigInt(value);
  return exact > MAX_LONG ? MAX_LONG : exact;
}

/** At most this many record errors are kept and answered. */
const MAX_RECORD_ERRORS = 10_000;

class RecordErrors {
  readonly #errors: RecordError[] = [];
  #total = 0;
  #hasTimestampError = false;

  add(batchIndex: number, message: string, isTimestampError: boolean): void {
    this.#total += 1;
    this.#hasTimestampError ||= isTimestampError;
    if (this.#errors.length < MAX_RECORD_ERRORS) this.#errors.push({ batchIndex, message });
  }

  toRefusal(): BatchRefusal {
    if (this.#hasTimestampError) {
      const message = "One or more records have been rejected due to invalid timestamp";
      return { kind: "refused", reason: "invalid-timestamp", message, stage: "records", recordErrors: this.#errors };
    }
    const shown = this.#errors.slice(0, 3).map((error) => `RecordError(batchIndex=${error.batchIndex}, message='${error.message}')`);
    const message = `One or more records have been rejected due to ${this.#total} record errors in total, and only showing the first three errors at most: [${shown.join(", ")}]`;
    return { kind: "refused", reason: "invalid-record", message, stage: "records", recordErrors: this.#errors };
  }
}

function finish(
  view: DataView,
  bytes: Uint8Array,
  recordsMaxTimestampMs: number,
  rules: BatchRules,
  context: ValidationContext,
  isRewritten = false,
): CheckedBatch {
  const attributes = view.getInt16(ATTRIBUTES_AT);
  const maxTimestampMs = rules.isLogAppendTime ? context.nowMs : recordsMaxTimestampMs;
  const hasLogAppendTime = (attributes & LOG_APPEND_TIME_BIT) !== 0;
  if (isRewritten || hasLogAppendTime !== rules.isLogAppendTime || readInt64(view, MAX_TIMESTAMP_AT) !== maxTimestampMs) {
    patchTimestamp(view, bytes, 0, bytes.length, maxTimestampMs, rules.isLogAppendTime, context.crc32c);
  }
  const producerId = readInt64(view, PRODUCER_ID_AT);
  const recordCount = view.getInt32(RECORD_COUNT_AT);
  const baseSequence = view.getInt32(BASE_SEQUENCE_AT);
  return {
    kind: "checked",
    bytes,
    view,
    recordCount,
    maxTimestampMs,
    producerId: producerId < 0 ? -1 : producerId,
    producerEpoch: view.getInt16(PRODUCER_EPOCH_AT),
    baseSequence,
    lastSequence: producerId < 0 ? -1 : addToSequence(baseSequence, recordCount - 1),
    isTransactional: (attributes & TRANSACTIONAL_BIT) !== 0,
    logAppendTimeMs: rules.isLogAppendTime ? maxTimestampMs : -1,
  };
}
