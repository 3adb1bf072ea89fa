/**
 * What partitions and the transaction coordinator ask of each other (KIP-98, KIP-890). A partition knows which transactions are open in it; only the
 * coordinator knows whether a producer's transaction may touch it. Types only.
 *
 * Neighbours: `partition-log.ts` appends markers and asks for verification before a producer's first transactional batch; `transaction/` implements
 * `TransactionGate` and writes markers; `api/00-produce.ts` stands between the two.
 */
import type { Reservation } from "../storage/types.ts";

/** The end of one producer's transaction in one partition; becomes a control batch. */
export interface TransactionMarker {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly isCommit: boolean;
  /** The term of the coordinator's partition of `__transaction_state`; -1 when an operator aborts (WriteTxnMarkers of Admin.abortTransaction). */
  readonly coordinatorEpoch: number;
  /** 2: markers carry the raised epoch, and one with the epoch of an open transaction's batches is refused (KIP-890). */
  readonly transactionVersion: 0 | 1 | 2;
}

export type MarkerOutcome =
  /** In the log, not yet durable: wait for the storage's `whenDurable` before saying so. */
  | { readonly kind: "appended"; readonly offset: number }
  | { readonly kind: "not-owner" }
  | { readonly kind: "stale-epoch" }
  | { readonly kind: "coordinator-fenced" };

/** `PartitionLog` is one. Synchronous, as every append; `reservation` covers MARKER_BATCH_BYTES. */
export interface MarkerLog {
  appendMarker(marker: TransactionMarker, reservation: Reservation, nowMs: number): MarkerOutcome;
}

/** A control batch with one end-transaction record: 61 + 1 + (1 + 1 + 1 + 1 + 4 + 1 + 6 + 1), rounded up. */
export const MARKER_BATCH_BYTES = 96;

export interface TransactionPartition {
  readonly topicName: string;
  readonly topicId: string;
  readonly partition: number;
}

export interface VerificationRequest {
  readonly transactionalId: string;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly partitions: readonly TransactionPartition[];
  /** "add": the partitions become part of the ongoing transaction (transaction.version 2); "verify": they must be part already. */
  readonly mode: "verify" | "add";
}

/** Is a producer's transaction open, and does it (now) contain these partitions? Asked by the produce handler, and for offsets by the group coordinator. */
export interface TransactionGate {
  /** Kafka's error code for each partition, in the order of the request; 0 when the append may go on. Never rejects. */
  verify(request: VerificationRequest): Promise<readonly number[]>;
  /** Resolves when the change of the id that is under way is over; undefined when none is, or when nobody here knows. Never rejects. */
  tryAwaitChange(transactionalId: string): Promise<void> | undefined;
}
