/**
 * Control batches: the marker that ends a producer's transaction in a partition (KIP-98), one record in Kafka's bytes.
 *
 *   record key:    int16 version (0), int16 type (0 abort, 1 commit)
 *   record value:  int16 version (0), int32 coordinator epoch
 *
 * A reader takes newer versions of key and value for 0, as Kafka's ControlRecordType and EndTransactionMarker do: fields are only ever added.
 */
import { assert } from "../base/assert.ts";
import {
  ATTRIBUTES_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_OVERHEAD,
  CONTROL_BIT,
  CRC_AT,
  type Crc32c,
  LENGTH_AT,
  LOG_APPEND_TIME_BIT,
  LOG_OVERHEAD,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT,
  type StoredBatch,
  TRANSACTIONAL_BIT,
  viewOf,
  writeInt64,
} from "./batch-layout.ts";
import { nextRecord, startWalk } from "./record-walk.ts";
import type { TransactionMarker } from "./transaction-ports.ts";

const ABORT = 0;
const COMMIT = 1;
/** Length 16, attributes, timestamp delta, offset delta, key of 4 bytes, value of 6 bytes, no headers: all varints take one byte. */
const RECORD_BYTES = 17;
export const MARKER_BYTES = BATCH_OVERHEAD + RECORD_BYTES;
const KEY_AT = 5;
const VALUE_AT = KEY_AT + 4 + 1;

/** The batch without base offset and leader epoch, which the append patches in. */
export function makeMarker(marker: TransactionMarker, timestampMs: number, isLogAppendTime: boolean, crc32c: Crc32c): Uint8Array {
  const bytes = new Uint8Array(MARKER_BYTES);
  const view = viewOf(bytes);
  view.setInt32(LENGTH_AT, MARKER_BYTES - LOG_OVERHEAD);
  view.setInt8(MAGIC_AT, 2);
  view.setInt16(ATTRIBUTES_AT, TRANSACTIONAL_BIT | CONTROL_BIT | (isLogAppendTime ? LOG_APPEND_TIME_BIT : 0));
  writeInt64(view, BASE_TIMESTAMP_AT, timestampMs);
  writeInt64(view, MAX_TIMESTAMP_AT, timestampMs);
  writeInt64(view, PRODUCER_ID_AT, marker.producerId);
  view.setInt16(PRODUCER_EPOCH_AT, marker.producerEpoch);
  view.setInt32(BASE_SEQUENCE_AT, -1);
  view.setInt32(RECORD_COUNT_AT, 1);
  const record = BATCH_OVERHEAD;
  view.setUint8(record, (RECORD_BYTES - 1) << 1);
  view.setUint8(record + KEY_AT - 1, 4 << 1);
  view.setInt16(record + KEY_AT + 2, marker.isCommit ? COMMIT : ABORT);
  view.setUint8(record + VALUE_AT - 1, 6 << 1);
  view.setInt32(record + VALUE_AT + 2, marker.coordinatorEpoch);
  view.setUint32(CRC_AT, crc32c(bytes, ATTRIBUTES_AT, MARKER_BYTES));
  return bytes;
}

export interface StoredMarker {
  readonly isCommit: boolean;
  readonly coordinatorEpoch: number;
}

/** What a stored control batch says; undefined when it is not the end of a transaction, or compaction has emptied it. */
export function readMarker(bytes: Uint8Array, view: DataView, batch: StoredBatch): StoredMarker | undefined {
  assert((batch.attributes & CONTROL_BIT) !== 0, "only control batches hold markers");
  if (batch.recordCount === 0) return undefined;
  startWalk(batch.start + BATCH_OVERHEAD);
  const record = nextRecord(bytes, batch.end);
  if (record === undefined || record.keyLength < 4 || record.valueLength < 6) return undefined;
  const type = view.getInt16(record.keyAt + 2);
  if (type !== ABORT && type !== COMMIT) return undefined;
  return { isCommit: type === COMMIT, coordinatorEpoch: view.getInt32(record.valueAt + 2) };
}
