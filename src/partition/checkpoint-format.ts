/**
 * The stored form of a partition's checkpoint: leader-epoch chain, producer state and transactions as they are right after the batch that ends at `end
 * offset`. Written into segment objects by storage, which does not look inside. Integers are big-endian.
 *
 *    at  size  field
 *     0     4  magic "WPCK"
 *     4     2  format version (1 or 2)
 *     6     2  0
 *     8     8  end offset
 *    16     4  number of leader epochs, E
 *    20     4  number of producers, P
 *    24     4  (2) number of aborted transactions, A
 *    +    12E  per epoch: epoch (4), start offset (8)
 *              per producer: id (8), epoch (2), number of batches B (2), last used, wall ms (8),
 *                (2) coordinator epoch (4), first offset of the open transaction or -1 (8), last timestamp ms (8),
 *                then B times: first sequence (4), last sequence (4), last offset (8), max timestamp ms (8)
 *    +    32A  (2) per aborted transaction, by last offset: producer id (8), first offset (8), last offset (8), last stable offset (8)
 *   end     4  CRC32C of everything before
 *
 * Version 1 has no fields marked (2): it is what a partition without transactions still writes, so that a broker that knows no transactions can
 * read it. A reader refuses another magic, a version that it does not know, and a wrong checksum. No field is a 32-bit delta of an offset (case M5).
 */
import { Trouble } from "../base/trouble.ts";
import { type Crc32c, readInt64, viewOf, writeInt64 } from "./batch-layout.ts";
import type { LeaderEpochStart } from "./leader-epochs.ts";
import { listBatches, NO_OFFSET, type ProducerEntry, type ProducerSnapshot, type RememberedBatch } from "./producer-state.ts";
import type { AbortedTransaction } from "./transaction-state.ts";

const MAGIC = 0x5750434b;
const PLAIN_VERSION = 1;
const TRANSACTIONS_VERSION = 2;
const HEADER_BYTES = 24;
const EPOCH_BYTES = 12;
const PRODUCER_BYTES = 20;
const PRODUCER_TRANSACTION_BYTES = 20;
const BATCH_BYTES = 24;
const ABORTED_BYTES = 32;
const CRC_BYTES = 4;

export interface PartitionCheckpoint {
  readonly endOffset: number;
  readonly leaderEpochs: readonly LeaderEpochStart[];
  readonly producers: readonly ProducerSnapshot[];
  readonly aborted: readonly AbortedTransaction[];
}

export interface CheckpointInput {
  readonly endOffset: number;
  readonly leaderEpochs: readonly LeaderEpochStart[];
  readonly producers: Iterable<ProducerEntry>;
  readonly aborted: readonly AbortedTransaction[];
}

function hasTransactions(entry: ProducerEntry): boolean {
  return entry.coordinatorEpoch !== -1 || entry.transactionFirstOffset !== NO_OFFSET || entry.count === 0;
}

export function encodeCheckpoint(input: CheckpointInput, crc32c: Crc32c): Uint8Array {
  const { leaderEpochs, aborted } = input;
  const entries = [...input.producers];
  const isPlain = aborted.length === 0 && !entries.some(hasTransactions);
  const batches = entries.reduce((sum, entry) => sum + entry.count, 0);
  const common = HEADER_BYTES + leaderEpochs.length * EPOCH_BYTES + entries.length * PRODUCER_BYTES + batches * BATCH_BYTES + CRC_BYTES;
  const bytes = new Uint8Array(
    isPlain ? common : common + 4 + entries.length * PRODUCER_TRANSACTION_BYTES + aborted.length * ABORTED_BYTES,
  );
  const view = viewOf(bytes);
  view.setUint32(0, MAGIC);
  view.setUint16(4, isPlain ? PLAIN_VERSION : TRANSACTIONS_VERSION);
  writeInt64(view, 8, input.endOffset);
  view.setUint32(16, leaderEpochs.length);
  view.setUint32(20, entries.length);
  let at = HEADER_BYTES;
  if (!isPlain) {
    view.setUint32(at, aborted.length);
    at += 4;
  }
  for (const { epoch, startOffset } of leaderEpochs) {
    view.setInt32(at, epoch);
    writeInt64(view, at + 4, startOffset);
    at += EPOCH_BYTES;
  }
  for (const entry of entries) at = encodeProducer(view, at, entry, isPlain);
  if (!isPlain) for (const transaction of aborted) at = encodeAborted(view, at, transaction);
  view.setUint32(at, crc32c(bytes, 0, at));
  return bytes;
}

function encodeProducer(view: DataView, start: number, entry: ProducerEntry, isPlain: boolean): number {
  writeInt64(view, start, entry.producerId);
  view.setInt16(start + 8, entry.epoch);
  view.setUint16(start + 10, entry.count);
  writeInt64(view, start + 12, entry.lastUsedMs);
  let at = start + PRODUCER_BYTES;
  if (!isPlain) {
    view.setInt32(at, entry.coordinatorEpoch);
    writeInt64(view, at + 4, entry.transactionFirstOffset);
    writeInt64(view, at + 12, entry.lastTimestampMs);
    at += PRODUCER_TRANSACTION_BYTES;
  }
  for (const batch of listBatches(entry)) {
    view.setInt32(at, batch.firstSequence);
    view.setInt32(at + 4, batch.lastSequence);
    writeInt64(view, at + 8, batch.lastOffset);
    writeInt64(view, at + 16, batch.maxTimestampMs);
    at += BATCH_BYTES;
  }
  return at;
}

function encodeAborted(view: DataView, at: number, transaction: AbortedTransaction): number {
  writeInt64(view, at, transaction.producerId);
  writeInt64(view, at + 8, transaction.firstOffset);
  writeInt64(view, at + 16, transaction.lastOffset);
  writeInt64(view, at + 24, transaction.lastStableOffset);
  return at + ABORTED_BYTES;
}

function damaged(what: string): Trouble {
  return new Trouble({
    code: "partition-checkpoint-damaged",
    message: `A partition's checkpoint cannot be read: ${what}`,
    retryable: false,
    remedy: "Run `weir audit`; the partition stays closed until its checkpoint is readable.",
  });
}

/** Throws Trouble "partition-checkpoint-damaged". */
export function decodeCheckpoint(bytes: Uint8Array, crc32c: Crc32c): PartitionCheckpoint {
  if (bytes.length < HEADER_BYTES + CRC_BYTES) throw damaged(`only ${bytes.length} bytes`);
  const view = viewOf(bytes);
  if (view.getUint32(0) !== MAGIC) throw damaged("another magic number");
  const version = view.getUint16(4);
  if (version !== PLAIN_VERSION && version !== TRANSACTIONS_VERSION) {
    throw damaged(`format version ${version}, this broker reads ${PLAIN_VERSION} to ${TRANSACTIONS_VERSION}`);
  }
  const end = bytes.length - CRC_BYTES;
  if (crc32c(bytes, 0, end) !== view.getUint32(end)) throw damaged("checksum mismatch");
  const isPlain = version === PLAIN_VERSION;
  let at = isPlain ? HEADER_BYTES : HEADER_BYTES + 4;
  const leaderEpochs: LeaderEpochStart[] = [];
  for (let left = view.getUint32(16); left > 0; left--) {
    leaderEpochs.push({ epoch: view.getInt32(at), startOffset: readInt64(view, at + 4) });
    at += EPOCH_BYTES;
  }
  const producers: ProducerSnapshot[] = [];
  for (let left = view.getUint32(20); left > 0; left--) {
    const producer = decodeProducer(view, at, isPlain);
    producers.push(producer);
    at += PRODUCER_BYTES + (isPlain ? 0 : PRODUCER_TRANSACTION_BYTES) + producer.batches.length * BATCH_BYTES;
  }
  const aborted: AbortedTransaction[] = [];
  for (let left = isPlain ? 0 : view.getUint32(HEADER_BYTES); left > 0; left--) {
    aborted.push({
      producerId: readInt64(view, at),
      firstOffset: readInt64(view, at + 8),
      lastOffset: readInt64(view, at + 16),
      lastStableOffset: readInt64(view, at + 24),
    });
    at += ABORTED_BYTES;
  }
  if (at !== end) throw damaged(`${end - at} bytes too many`);
  return { endOffset: readInt64(view, 8), leaderEpochs, producers, aborted };
}

function decodeProducer(view: DataView, start: number, isPlain: boolean): ProducerSnapshot {
  const batches: RememberedBatch[] = [];
  const extra = start + PRODUCER_BYTES;
  const rows = isPlain ? extra : extra + PRODUCER_TRANSACTION_BYTES;
  for (let left = view.getUint16(start + 10), at = rows; left > 0; left--, at += BATCH_BYTES) {
    batches.push({
      firstSequence: view.getInt32(at),
      lastSequence: view.getInt32(at + 4),
      lastOffset: readInt64(view, at + 8),
      maxTimestampMs: readInt64(view, at + 16),
    });
  }
  return {
    producerId: readInt64(view, start),
    epoch: view.getInt16(start + 8),
    lastUsedMs: readInt64(view, start + 12),
    coordinatorEpoch: isPlain ? -1 : view.getInt32(extra),
    transactionFirstOffset: isPlain ? NO_OFFSET : readInt64(view, extra + 4),
    lastTimestampMs: isPlain ? (batches.at(-1)?.maxTimestampMs ?? -1) : readInt64(view, extra + 12),
    batches,
  };
}
