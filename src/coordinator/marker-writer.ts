/**
 * Writes the ends of transactions into the partitions that they touched. The coordinator asks through this interface, so that a cluster can implement
 * it over the network (WriteTxnMarkers) where the partition has another owner; `transaction/local-marker-writer.ts` is for partitions of this broker.
 */
import type { TransactionMarker } from "../partition/transaction-ports.ts";
import type { TopicPartition } from "./topic-partition.ts";

export type MarkerResult =
  /** In the log, and durable. */
  | "written"
  /** The topic or partition is no more: nothing is left to end. */
  | "gone"
  /** Its owner is not here, or it is being opened or loaded. */
  | "not-owner"
  /** A later producer has the id: this transaction's end was written by somebody else. */
  | "stale-epoch"
  /** A later coordinator has written. */
  | "coordinator-fenced"
  /** No room, or storage is in trouble: later. */
  | "not-now";

export interface MarkerWriter {
  /** In the order of `partitions`. Never rejects. */
  write(marker: TransactionMarker, partitions: readonly TopicPartition[], signal: AbortSignal): Promise<readonly MarkerResult[]>;
}
