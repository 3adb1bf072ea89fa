/** Kafka's codes for what the transaction room refuses. The gate of `partition/transaction-ports.ts` answers in codes, so the table is here and not in api/. */
import { ErrorCodes } from "../protocol/error-codes.ts";
import type { TransactionError } from "./transaction-types.ts";

const CODES: Readonly<Record<TransactionError, number>> = {
  "not-coordinator": ErrorCodes.NOT_COORDINATOR,
  loading: ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS,
  "not-available": ErrorCodes.COORDINATOR_NOT_AVAILABLE,
  "invalid-request": ErrorCodes.INVALID_REQUEST,
  "invalid-timeout": ErrorCodes.INVALID_TRANSACTION_TIMEOUT,
  "invalid-producer-id-mapping": ErrorCodes.INVALID_PRODUCER_ID_MAPPING,
  "producer-fenced": ErrorCodes.PRODUCER_FENCED,
  "concurrent-transactions": ErrorCodes.CONCURRENT_TRANSACTIONS,
  "invalid-transaction-state": ErrorCodes.INVALID_TXN_STATE,
  "transaction-abortable": ErrorCodes.TRANSACTION_ABORTABLE,
  "unknown-transactional-id": ErrorCodes.TRANSACTIONAL_ID_NOT_FOUND,
  "invalid-pattern": ErrorCodes.INVALID_REGULAR_EXPRESSION,
  "two-phase-commit-refused": ErrorCodes.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
  "keep-prepared-unsupported": ErrorCodes.UNSUPPORTED_VERSION,
  "no-producer-id": ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS,
  "epochs-exhausted": ErrorCodes.UNKNOWN_SERVER_ERROR,
  "record-too-large": ErrorCodes.UNKNOWN_SERVER_ERROR,
};

export function transactionErrorCode(error: TransactionError | undefined): number {
  return error === undefined ? ErrorCodes.NONE : CODES[error];
}
