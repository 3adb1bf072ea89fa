/**
 * The stored form of a partition's checkpoint: leader-epoch chain and producer state as they are right after the batch that ends at `end offset`.
 * Written into segment objects by storage, which does not look inside. Integers are big-endian.
 *
 *    at  size  field
 *     0     4  magic "WPCK"
 *     4     2  format version (1)
 *     6     2  0
 *     8     8  end offset
 *    16     4  number of leader epochs, E
 *    20     4  number of producers, P
 *    24   12E  per epoch: epoch (4), start offset (8)
 *              per producer: id (8), epoch (2), number of batches B (2), last used, wall ms (8),
 *                then B times: first sequence (4), last sequence (4), last offset (8), max timestamp ms (8)
 *   end     4  CRC32C of everything before
 *
 * A reader refuses another magic, a version that it does not know, and a wrong checksum. No field is a 32-bit delta of an offset (case M5).
 */
import { Trouble } from "../base/trouble.ts";
import { type Crc32c, readInt64, viewOf, writeInt64 } from "./batch-layout.ts";
import type { LeaderEpochStart } from "./leader-epochs.ts";
import { listBatches, type ProducerEntry, type RememberedBatch } from "./producer-state.ts";

const MAGIC = 0x5750434b;
export const CHECKPOINT_VERSION = 1;
const HEADER_BYTES = 24;
const EPOCH_BYTES = 12;
const PRODUCER_BYTES = 20;
const BATCH_BYTES = 24;
const CRC_BYTES = 4;

export interface ProducerSnapshot {
  readonly producerId: number;
  readonly epoch: number;
  readonly lastUsedMs: number;
  readonly batches: readonly RememberedBatch[];
}

export interface PartitionCheckpoint {
  readonly endOffset: number;
  readonly leaderEpochs: readonly LeaderEpochStart[];
  readonly producers: readonly ProducerSnapshot[];
}

export function encodeCheckpoint(
  endOffset: number,
  leaderEpochs: readonly LeaderEpochStart[],
  producers: Iterable<ProducerEntry>,
  crc32c: Crc32c,
): Uint8Array {
  const entries = [...producers];
  const batches = entries.reduce((sum, entry) => sum + entry.count, 0);
  const size = HEADER_BYTES + leaderEpochs.length * EPOCH_BYTES + entries.length * PRODUCER_BYTES + batches * BATCH_BYTES + CRC_BYTES;
  const bytes = new Uint8Array(size);
  const view = viewOf(bytes);
  view.setUint32(0, MAGIC);
  view.setUint16(4, CHECKPOINT_VERSION);
  writeInt64(view, 8, endOffset);
  view.setUint32(16, leaderEpochs.length);
  view.setUint32(20, entries.length);
  let at = HEADER_BYTES;
  for (const { epoch, startOffset } of leaderEpochs) {
    view.setInt32(at, epoch);
    writeInt64(view, at + 4, startOffset);
    at += EPOCH_BYTES;
  }
  for (const entry of entries) at = encodeProducer(view, at, entry);
  view.setUint32(at, crc32c(bytes, 0, at));
  return bytes;
}

function encodeProducer(view: DataView, start: number, entry: ProducerEntry): number {
  writeInt64(view, start, entry.producerId);
  view.setInt16(start + 8, entry.epoch);
  view.setUint16(start + 10, entry.count);
  writeInt64(view, start + 12, entry.lastUsedMs);
  let at = start + PRODUCER_BYTES;
  for (const batch of listBatches(entry)) {
    view.setInt32(at, batch.firstSequence);
    view.setInt32(at + 4, batch.lastSequence);
    writeInt64(view, at + 8, batch.lastOffset);
    writeInt64(view, at + 16, batch.maxTimestampMs);
    at += BATCH_BYTES;
  }
  return at;
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
  if (version !== CHECKPOINT_VERSION) throw damaged(`format version ${version}, this broker reads ${CHECKPOINT_VERSION}`);
  const end = bytes.length - CRC_BYTES;
  if (crc32c(bytes, 0, end) !== view.getUint32(end)) throw damaged("checksum mismatch");
  const leaderEpochs: LeaderEpochStart[] = [];
  let at = HEADER_BYTES;
  for (let left = view.getUint32(16); left > 0; left--) {
    leaderEpochs.push({ epoch: view.getInt32(at), startOffset: readInt64(view, at + 4) });
    at += EPOCH_BYTES;
  }
  const producers: ProducerSnapshot[] = [];
  for (let left = view.getUint32(20); left > 0; left--) {
    const batchCount = view.getUint16(at + 10);
    const batches: RememberedBatch[] = [];
    for (let index = 0; index < batchCount; index++) {
      const row = at + PRODUCER_BYTES + index * BATCH_BYTES;
      batches.push({
        firstSequence: view.getInt32(row),
        lastSequence: view.getInt32(row + 4),
        lastOffset: readInt64(view, row + 8),
        maxTimestampMs: readInt64(view, row + 16),
      });
    }
    producers.push({ producerId: readInt64(view, at), epoch: view.getInt16(at + 8), lastUsedMs: readInt64(view, at + 12), batches });
    at += PRODUCER_BYTES + batchCount * BATCH_BYTES;
  }
  if (at !== end) throw damaged(`${end - at} bytes too many`);
  return { endOffset: readInt64(view, 8), leaderEpochs, producers };
}
