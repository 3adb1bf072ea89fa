/**
 * What a transactional produce asks before its first batch of a transaction goes into a partition (KIP-890): with Produce 12 and above the partitions
 * become part of the transaction, below they must be part of it. Kafka's ReplicaManager.handleProduceAppend and AddPartitionsToTxnManager.
 *
 * Batches of transactions that are open in their partition need no question, so a transaction asks once a partition. Without a
 * transactional id every question is answered INVALID_TXN_STATE.
 *
 * Neighbours: `00-produce.ts` calls it before it appends; `partition/verification.ts` hands out the guards; the gate is the transaction coordinator.
 */
import type { Clock } from "../base/clock.ts";
import type { Config } from "../config/config.ts";
import type { TopicView } from "../metadata/cluster-metadata.ts";
import type { BatchProducer } from "../partition/batch-validation.ts";
import type { PartitionLog } from "../partition/partition-log.ts";
import type { TransactionGate } from "../partition/transaction-ports.ts";
import { NO_GUARD } from "../partition/verification.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import type { PartitionProduceResponse } from "../protocol/messages/produce.ts";

/** One batch on its way into a partition. */
export interface VerifiedAppend {
  readonly topic: TopicView;
  readonly answer: PartitionProduceResponse;
  readonly batch: BatchProducer;
  readonly log: PartitionLog | undefined;
  /** For the append: what the verification gave. */
  guard: number;
}

export interface ProduceTransaction {
  readonly transactionalId: string | null;
  readonly apiVersion: number;
}

export interface VerificationServices {
  readonly gate: TransactionGate;
  readonly clock: Clock;
  readonly config: Config;
}

/** Produce from here on adds its partitions to the transaction: the producer's epoch rises with each transaction. */
const ADDS_PARTITIONS_FROM = 12;
/** Produce from here on knows TRANSACTION_ABORTABLE. */
const KNOWS_ABORTABLE_FROM = 11;

/** What clients may take wrongly is told them as an error that makes all of them send again, without looking for another leader. */
const RETRIED_AS_NOT_ENOUGH_REPLICAS: ReadonlyMap<number, string> = new Map([
  [ErrorCodes.NETWORK_EXCEPTION, "NETWORK_EXCEPTION"],
  [ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS, "COORDINATOR_LOAD_IN_PROGRESS"],
  [ErrorCodes.COORDINATOR_NOT_AVAILABLE, "COORDINATOR_NOT_AVAILABLE"],
  [ErrorCodes.NOT_COORDINATOR, "NOT_COORDINATOR"],
]);

function isTransactional(append: VerifiedAppend): boolean {
  return append.batch.isTransactional && append.batch.producerId >= 0;
}

/** Batches of more than one producer in one request (INVALID_PRODUCER_ID_MAPPING for all of it). */
export function hasSeveralProducers(appends: readonly VerifiedAppend[]): boolean {
  const first = appends.find(isTransactional)?.batch;
  return appends.some(
    ({ batch }) =>
      first !== undefined &&
      batch.isTransactional &&
      batch.producerId >= 0 &&
      (batch.producerId !== first.producerId || batch.producerEpoch !== first.producerEpoch),
  );
}

/** False: nothing has to be asked, because no batch begins a transaction in its partition. */
export function needsVerification(appends: readonly VerifiedAppend[]): boolean {
  return appends.some(
    (append) => isTransactional(append) && append.log?.hasOpenTransaction(append.batch.producerId, append.batch.producerEpoch) !== true,
  );
}

/** Gives each append its guard, or its answer an error. Never rejects. All logs that could be opened are open. */
export async function verifyAppends(
  services: VerificationServices,
  transaction: ProduceTransaction,
  appends: readonly VerifiedAppend[],
): Promise<void> {
  const { clock, config } = services;
  const adds = transaction.apiVersion >= ADDS_PARTITIONS_FROM;
  if (!adds && !config.getBoolean("transaction.partition.verification.enable")) return;
  const concerned = appends.filter((append) => append.log !== undefined && isTransactional(append));
  const retryMs = Math.min(config.getNumber("add.partitions.to.txn.retry.backoff.max.ms"), config.getNumber("request.timeout.ms"));
  const deadlineMs = clock.monotonicMs() + retryMs;
  for (;;) {
    const codes = await askOnce(services, transaction, concerned, adds);
    if (adds && codes.includes(ErrorCodes.CONCURRENT_TRANSACTIONS) && clock.monotonicMs() < deadlineMs) {
      // Its last transaction is just being ended: waiting here is cheaper than the client's sending all of it again.
      await waitForEnd(services, transaction.transactionalId ?? "", config.getNumber("add.partitions.to.txn.retry.backoff.ms"));
      continue;
    }
    concerned.forEach(({ answer }, index) => {
      refuse(answer, codes[index] ?? ErrorCodes.NONE, transaction.apiVersion);
    });
    return;
  }
}

/** Until the transactional id has nothing under way, where that can be known, and at most so long. */
async function waitForEnd({ gate, clock }: VerificationServices, transactionalId: string, limitMs: number): Promise<void> {
  const over = gate.tryAwaitChange(transactionalId);
  if (over === undefined) return clock.sleep(limitMs);
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = clock.schedule(limitMs, resolve);
  await Promise.race([over, promise]);
  timer.cancel();
}

/** A code for each append. */
async function askOnce(
  services: VerificationServices,
  transaction: ProduceTransaction,
  appends: readonly VerifiedAppend[],
  adds: boolean,
): Promise<number[]> {
  const codes = appends.map(() => ErrorCodes.NONE as number);
  const asked: number[] = [];
  appends.forEach((append, index) => {
    const { producerId, producerEpoch, baseSequence } = append.batch;
    const start = { producerId, producerEpoch, baseSequence, supportsEpochBump: adds };
    const guard = append.log?.startVerification(start, services.clock.wallMs());
    append.guard = typeof guard === "number" ? guard : NO_GUARD;
    if (guard === "stale-epoch") codes[index] = ErrorCodes.INVALID_PRODUCER_EPOCH;
    if (append.guard !== NO_GUARD) asked.push(index);
  });
  const first = asked[0];
  if (first === undefined) return codes;
  const { producerId, producerEpoch } = (appends[first] as VerifiedAppend).batch;
  const { transactionalId } = transaction;
  const answers =
    transactionalId === null
      ? asked.map(() => ErrorCodes.INVALID_TXN_STATE)
      : await services.gate.verify({
          transactionalId,
          producerId,
          producerEpoch,
          partitions: asked.map((index) => describe(appends[index] as VerifiedAppend)),
          mode: adds ? "add" : "verify",
        });
  asked.forEach((index, position) => {
    codes[index] = answers[position] ?? ErrorCodes.INVALID_TXN_STATE;
  });
  return codes;
}

function describe(append: VerifiedAppend) {
  return { topicName: append.topic.name, topicId: append.topic.topicId, partition: append.answer.index };
}

/** From the coordinator's code to one that producers of this version know. */
function refuse(answer: PartitionProduceResponse, code: number, apiVersion: number): void {
  if (code === ErrorCodes.NONE) return;
  // What the coordinator cannot write down (a transaction of more partitions than a record names) ends the transaction; it is never unknown to a producer (R7).
  let known = code === ErrorCodes.UNKNOWN_SERVER_ERROR ? ErrorCodes.TRANSACTION_ABORTABLE : code;
  if (code === ErrorCodes.PRODUCER_FENCED) known = ErrorCodes.INVALID_PRODUCER_EPOCH;
  else if (code === ErrorCodes.CLUSTER_AUTHORIZATION_FAILED) known = ErrorCodes.INVALID_TXN_STATE;
  else if (known === ErrorCodes.TRANSACTION_ABORTABLE && apiVersion < KNOWS_ABORTABLE_FROM) known = ErrorCodes.INVALID_TXN_STATE;
  const isConcurrent = code === ErrorCodes.CONCURRENT_TRANSACTIONS && apiVersion < ADDS_PARTITIONS_FROM;
  const retried = isConcurrent ? "CONCURRENT_TRANSACTIONS" : RETRIED_AS_NOT_ENOUGH_REPLICAS.get(code);
  if (retried !== undefined) {
    known = ErrorCodes.NOT_ENOUGH_REPLICAS;
    answer.errorMessage = `Unable to verify the partition has been added to the transaction. Underlying error: ${retried}`;
  }
  if (known === ErrorCodes.INVALID_TXN_STATE) answer.errorMessage = "Partition was not added to the transaction";
  answer.errorCode = known;
}
