/**
 * What a request does to a transactional id: pure decisions, error for error those of Kafka 4.4's TransactionCoordinator. A decision that needs a fresh
 * producer id says so; it is made again when there is one.
 *
 *     version 2, end of what is not Ongoing      Abort              Commit
 *     epoch of the request is                  one below  same    one below  same
 *       Empty                                   fenced    bump     fenced    invalid
 *       CompleteAbort                           done      bump     invalid   invalid
 *       CompleteCommit                          invalid   bump     done      invalid
 *     Versions 0 and 1 take only the same epoch: CompleteX of the same result is done, all else invalid.
 */
import {
  isEpochExhausted,
  MAX_EPOCH,
  NO_EPOCH,
  NO_PRODUCER_ID,
  partitionKey,
  type TransactionEntry,
  type TransactionFields,
} from "./transaction-entry.ts";
import type { AddPartitionsRequest, EndRequest, ProducerIdentity, TransactionError, TransactionVersion } from "./transaction-types.ts";

export interface RuleContext {
  readonly nowMs: number;
  /** A fresh producer id, when one was asked for. */
  readonly freshProducerId: number | undefined;
}

export type Decision =
  | { readonly kind: "refused"; readonly error: TransactionError }
  | { readonly kind: "needs-producer-id" }
  /** Nothing to do: it is so already. */
  | { readonly kind: "done" }
  | { readonly kind: "append"; readonly next: TransactionFields }
  /** InitProducerId: the open transaction is aborted first, and the client asks again. */
  | { readonly kind: "abort-first"; readonly next: TransactionFields };

const DONE: Decision = { kind: "done" };
const NEEDS_PRODUCER_ID: Decision = { kind: "needs-producer-id" };
const refuse = (error: TransactionError): Decision => ({ kind: "refused", error });

export interface InitRule {
  readonly timeoutMs: number;
  readonly expected: ProducerIdentity | undefined;
  /** Of the cluster: what the coordinator itself speaks when it aborts. */
  readonly serverVersion: TransactionVersion;
}

export function decideInit(entry: TransactionEntry, { timeoutMs, expected, serverVersion }: InitRule, context: RuleContext): Decision {
  const { state, producerEpoch } = entry.fields;
  if (entry.isPending) return refuse("concurrent-transactions");
  if (expected !== undefined && !isKnownProducer(entry.fields, expected)) return refuse("producer-fenced");
  if (state === "PrepareAbort" || state === "PrepareCommit") return refuse("concurrent-transactions");
  if (state === "Ongoing") return decideFence(entry, serverVersion, context);
  const expectedEpoch = expected?.producerEpoch;
  if (entry.isEpochExhausted && (expectedEpoch === undefined || expectedEpoch === producerEpoch)) {
    if (context.freshProducerId === undefined) return NEEDS_PRODUCER_ID;
    const remembersEpoch = expected !== undefined;
    return { kind: "append", next: entry.prepareRotation(context.freshProducerId, timeoutMs, remembersEpoch, context.nowMs) };
  }
  if (entry.isEpochExhausted) return refuse("epochs-exhausted");
  const repeats = expectedEpoch !== undefined && producerEpoch !== NO_EPOCH && expectedEpoch !== producerEpoch;
  if (repeats && expectedEpoch !== entry.fields.lastProducerEpoch) return refuse("producer-fenced");
  return { kind: "append", next: entry.prepareInit(timeoutMs, expectedEpoch, repeats, context.nowMs) };
}

/** KIP-360: the id's own, one that was just created, or the one before when its epochs were used up: a repeated request. */
function isKnownProducer({ producerId, producerEpoch, previousProducerId }: TransactionFields, expected: ProducerIdentity): boolean {
  if (producerEpoch === NO_EPOCH || expected.producerId === producerId) return true;
  return expected.producerId === previousProducerId && isEpochExhausted(expected.producerEpoch);
}

/** The coordinator aborts an ongoing transaction, and whoever has it is fenced: another producer came, or its time is up. */
export function decideFence(entry: TransactionEntry, serverVersion: TransactionVersion, { nowMs, freshProducerId }: RuleContext): Decision {
  let nextProducerId = NO_PRODUCER_ID;
  if (serverVersion === 2 && entry.isEpochExhausted) {
    if (freshProducerId === undefined) return NEEDS_PRODUCER_ID;
    nextProducerId = freshProducerId;
  }
  const clientVersion = serverVersion === 2 ? 2 : 0;
  const next = entry.prepareEnd({ isCommit: false, clientVersion, nextProducerId, nowMs, hasNoPartitions: false, isFence: true });
  return { kind: "abort-first", next };
}

export function decideAdd(entry: TransactionEntry, request: AddPartitionsRequest, { nowMs }: RuleContext): Decision {
  const { state, producerId, producerEpoch, partitions } = entry.fields;
  if (entry.isPending) return refuse("concurrent-transactions");
  if (producerId !== request.producerId) return refuse("invalid-producer-id-mapping");
  if (producerEpoch !== request.producerEpoch) return refuse("producer-fenced");
  if (state === "PrepareCommit" || state === "PrepareAbort") return refuse("concurrent-transactions");
  const areIn = state === "Ongoing" && request.partitions.every((partition) => partitions.has(partitionKey(partition)));
  return areIn ? DONE : { kind: "append", next: entry.prepareAdd(request.partitions, request.transactionVersion, nowMs) };
}

/** What is pending does not matter: the append in the partition looks again. Per partition, or for all of them. */
export function verifyPartitions(
  { fields }: TransactionEntry,
  request: AddPartitionsRequest,
): TransactionError | readonly (TransactionError | undefined)[] {
  if (fields.producerId !== request.producerId) return "invalid-producer-id-mapping";
  if (fields.producerEpoch !== request.producerEpoch) return "producer-fenced";
  if (fields.state === "PrepareCommit" || fields.state === "PrepareAbort") return "concurrent-transactions";
  return request.partitions.map((partition) => (fields.partitions.has(partitionKey(partition)) ? undefined : "transaction-abortable"));
}

/** EndTxn from a client. */
export function decideEnd(entry: TransactionEntry, request: EndRequest, context: RuleContext): Decision {
  return request.transactionVersion === 2 ? decideEndV2(entry, request, context) : decideEndV1(entry, request, context);
}

function decideEndV1(entry: TransactionEntry, { producerId, producerEpoch, isCommit }: EndRequest, { nowMs }: RuleContext): Decision {
  const { state } = entry.fields;
  if (entry.fields.producerId !== producerId) return refuse("invalid-producer-id-mapping");
  if (entry.fields.producerEpoch !== producerEpoch) return refuse("producer-fenced");
  if (entry.isPending) return refuse("concurrent-transactions");
  switch (state) {
    case "Ongoing": {
      const next = entry.prepareEnd({
        isCommit,
        clientVersion: 0,
        nextProducerId: NO_PRODUCER_ID,
        nowMs,
        hasNoPartitions: false,
        isFence: false,
      });
      return { kind: "append", next };
    }
    case "CompleteCommit":
      return isCommit ? DONE : refuse("invalid-transaction-state");
    case "CompleteAbort":
      return isCommit ? refuse("invalid-transaction-state") : DONE;
    case "PrepareCommit":
      return refuse(isCommit ? "concurrent-transactions" : "invalid-transaction-state");
    case "PrepareAbort":
      return refuse(isCommit ? "invalid-transaction-state" : "concurrent-transactions");
    default:
      return refuse("invalid-transaction-state");
  }
}

function decideEndV2(entry: TransactionEntry, request: EndRequest, context: RuleContext): Decision {
  const { fields } = entry;
  const { producerEpoch, isCommit } = request;
  if (entry.isPending) return refuse("concurrent-transactions");
  const repeatsOverflow = fields.previousProducerId === request.producerId && producerEpoch === MAX_EPOCH - 1 && fields.producerEpoch === 0;
  const repeatsBump = fields.producerEpoch === producerEpoch + 1;
  const isRepeated = repeatsBump || repeatsOverflow;
  if (fields.producerId !== request.producerId && !repeatsOverflow) return refuse("invalid-producer-id-mapping");
  const isSameEpoch = producerEpoch === fields.producerEpoch;
  switch (fields.state) {
    case "Ongoing":
      return isSameEpoch ? endNow(entry, isCommit, false, context) : refuse("producer-fenced");
    case "PrepareCommit":
    case "PrepareAbort":
      if (!repeatsBump) return refuse("producer-fenced");
      return refuse(isCommit === (fields.state === "PrepareCommit") ? "concurrent-transactions" : "invalid-transaction-state");
    case "CompleteCommit":
    case "CompleteAbort":
      if (!isRepeated && !isSameEpoch) return refuse("producer-fenced");
      if (isRepeated) return isCommit === (fields.state === "CompleteCommit") ? DONE : refuse("invalid-transaction-state");
      return isCommit ? refuse("invalid-transaction-state") : endNow(entry, false, true, context);
    default:
      if (!isSameEpoch) return refuse("producer-fenced");
      return isCommit ? refuse("invalid-transaction-state") : endNow(entry, false, true, context);
  }
}

function endNow(entry: TransactionEntry, isCommit: boolean, hasNoPartitions: boolean, { nowMs, freshProducerId }: RuleContext): Decision {
  if (entry.isEpochExhausted && freshProducerId === undefined) return NEEDS_PRODUCER_ID;
  const nextProducerId = entry.isEpochExhausted ? (freshProducerId ?? NO_PRODUCER_ID) : NO_PRODUCER_ID;
  return {
    kind: "append",
    next: entry.prepareEnd({ isCommit, clientVersion: 2, nextProducerId, nowMs, hasNoPartitions, isFence: false }),
  };
}
