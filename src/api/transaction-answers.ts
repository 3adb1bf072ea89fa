/** Small pieces that the handlers of transactions share. */
import { ErrorCodes } from "../protocol/error-codes.ts";
import { transactionErrorCode } from "../transaction/transaction-errors.ts";
import type { TransactionError } from "../transaction/transaction-types.ts";

/** A producer id that nobody has; -1 says "none" to Kafka. */
const UNKNOWN_PRODUCER_ID = -2;

/** A client's producer id (any int64): what was never given out stays what nobody has. */
export function toProducerId(value: bigint): number {
  return value === -1n || (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) ? Number(value) : UNKNOWN_PRODUCER_ID;
}

/** Before version `knowsFencedFrom` of its API a client does not know PRODUCER_FENCED (KIP-588). */
export function codeForVersion(error: TransactionError | undefined, apiVersion: number, knowsFencedFrom: number): number {
  return error === "producer-fenced" && apiVersion < knowsFencedFrom ? ErrorCodes.INVALID_PRODUCER_EPOCH : transactionErrorCode(error);
}
