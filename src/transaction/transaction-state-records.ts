/**
 * The transactional ids of a shard as records again, for a rewrite of its log.
 *
 * A change counts in memory when it is durable, so the log may be ahead of memory: an id whose change is on its way is left out, for what would be written is
 * older than that. Nothing is lost by it: what is not durable when a slice is made lies above where the log will begin. An id whose markers are being written is
 * pending too, but its last record may lie far below: it is written. One that was never stored (its first producer is on its way) is not.
 */
import type { Clock } from "../base/clock.ts";
import type { StateRecords } from "../coordinator/log-rewrite.ts";
import type { CheckedBatch } from "../partition/batch-validation.ts";
import type { Crc32c } from "../protocol/record-batch.ts";
import { NO_EPOCH, NO_PRODUCER_ID, type TransactionEntry, type TransactionFields } from "./transaction-entry.ts";
import { buildTransactionBatches, encodeTransaction, recordBytes, type TransactionRecord } from "./transaction-records.ts";
import type { TransactionVersion } from "./transaction-types.ts";

export interface TransactionShardState {
  readonly entries: ReadonlyMap<string, TransactionEntry>;
  /** Ids of which a record was given to the log that is not durable yet. */
  readonly onTheirWay: ReadonlySet<string>;
}

export interface TransactionStateOptions {
  readonly clock: Clock;
  readonly crc32c: Crc32c;
  maxBatchBytes(): number;
  serverVersion(): TransactionVersion;
}

/** For estimates: records that are made to see how large they are. */
const SAMPLES = 64;

export class TransactionStateRecords implements StateRecords<TransactionRecord> {
  readonly #state: TransactionShardState;
  readonly #options: TransactionStateOptions;

  constructor(state: TransactionShardState, options: TransactionStateOptions) {
    this.#state = state;
    this.#options = options;
  }

  build(records: readonly TransactionRecord[]): readonly CheckedBatch[] | undefined {
    const { clock, crc32c, maxBatchBytes } = this.#options;
    return buildTransactionBatches(records, clock.wallMs(), maxBatchBytes(), crc32c);
  }

  *records(): Generator<TransactionRecord, void> {
    const { entries, onTheirWay } = this.#state;
    for (const transactionalId of [...entries.keys()]) {
      const fields = entries.get(transactionalId)?.fields;
      if (fields === undefined || onTheirWay.has(transactionalId) || fields.producerEpoch === NO_EPOCH) continue;
      yield this.#encode(transactionalId, fields);
    }
  }

  /** What only the newer version can say was said in it. */
  #encode(transactionalId: string, fields: TransactionFields): TransactionRecord {
    const needsNewer = fields.clientVersion > 0 || fields.nextProducerId !== NO_PRODUCER_ID;
    const serverVersion = this.#options.serverVersion();
    return encodeTransaction(transactionalId, fields, serverVersion === 0 && needsNewer ? 1 : serverVersion);
  }

  estimateBytes(): number {
    const { entries } = this.#state;
    let count = 0;
    let bytes = 0;
    for (const { transactionalId, fields } of entries.values()) {
      count += 1;
      bytes += recordBytes(this.#encode(transactionalId, fields));
      if (count === SAMPLES) break;
    }
    return count === 0 ? 0 : (bytes / count) * entries.size;
  }
}
