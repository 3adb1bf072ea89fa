/** Words of the transaction room: what the api room asks and is told. Refusals are values; `transaction-errors.ts` gives them their Kafka codes. */
import type { TopicPartition } from "../coordinator/topic-partition.ts";
import type { TransactionState } from "./transaction-entry.ts";

/** Why a request about a transaction is not done. */
export type TransactionError =
  /** This broker does not own the transactional id's partition of __transaction_state (or no longer, or the topic is not there). */
  | "not-coordinator"
  /** The partition is being read. */
  | "loading"
  /** The broker is stopping, the topic cannot be created now, or the log has no room for too long. */
  | "not-available"
  | "invalid-request"
  | "invalid-timeout"
  | "invalid-producer-id-mapping"
  | "producer-fenced"
  | "concurrent-transactions"
  | "invalid-transaction-state"
  | "transaction-abortable"
  | "unknown-transactional-id"
  | "invalid-pattern"
  /** KIP-939: two-phase commit is not enabled on this cluster. */
  | "two-phase-commit-refused"
  /** KIP-939: 4.4 does not keep prepared transactions either. */
  | "keep-prepared-unsupported"
  /** No producer id can be had now. */
  | "no-producer-id"
  /** An epoch below the last one of a producer id that has no further one: Kafka fails an internal check here, and answers UNKNOWN_SERVER_ERROR. */
  | "epochs-exhausted"
  /** The transaction has more partitions than one batch of __transaction_state can name. */
  | "record-too-large";

/** 0: classic; 1: classic, records in the newer format; 2: the epoch rises with each transaction (KIP-890). Feature "transaction.version". */
export type TransactionVersion = 0 | 1 | 2;

/** A producer as it names itself. */
export interface ProducerIdentity {
  readonly producerId: number;
  readonly producerEpoch: number;
}

export interface InitRequest {
  readonly transactionalId: string;
  /** Any int32. */
  readonly timeoutMs: number;
  /** KIP-360: who the producer was, when it goes on after an error. */
  readonly expected: ProducerIdentity | undefined;
  readonly enableTwoPhaseCommit: boolean;
  readonly keepPreparedTransaction: boolean;
}

export interface AddPartitionsRequest extends ProducerIdentity {
  readonly transactionalId: string;
  readonly partitions: readonly TopicPartition[];
  readonly transactionVersion: TransactionVersion;
}

export interface EndRequest extends ProducerIdentity {
  readonly transactionalId: string;
  readonly isCommit: boolean;
  readonly transactionVersion: TransactionVersion;
}

export interface TransactionDescription extends ProducerIdentity {
  readonly transactionalId: string;
  readonly state: TransactionState;
  readonly timeoutMs: number;
  /** Wall clock, ms; -1 when none has begun since the id was initialised. */
  readonly startTimestampMs: number;
  readonly partitions: readonly TopicPartition[];
}

export interface ListFilter {
  readonly producerIds: ReadonlySet<number>;
  /** By Kafka's names; those that nobody knows are told, and match nothing. */
  readonly stateNames: readonly string[];
  /** Only transactions that began longer ago than this, ms; negative: all. */
  readonly durationMs: number;
  /** A regular expression that the whole transactional id must match; undefined or "": all. */
  readonly pattern: string | undefined;
}

export interface ListedTransaction {
  readonly transactionalId: string;
  readonly producerId: number;
  readonly state: TransactionState;
}

export interface TransactionListing {
  readonly unknownStateNames: readonly string[];
  readonly transactions: readonly ListedTransaction[];
}
