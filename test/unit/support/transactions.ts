/** Transactions against handlers over fakes: produce into one, end it, read committed. */
import type { PartitionLog } from "../../../src/partition/partition-log.ts";
import type { TransactionGate, TransactionMarker, VerificationRequest } from "../../../src/partition/transaction-ports.ts";
import { type FetchResponse, newFetchPartition, newFetchRequest, newFetchTopic } from "../../../src/protocol/messages/fetch.ts";
import {
  newPartitionProduceData,
  newProduceRequest,
  newTopicProduceData,
  type PartitionProduceResponse,
  type ProduceResponse,
} from "../../../src/protocol/messages/produce.ts";
import type { ApiHarness } from "./api-harness.ts";
import { makeBatch } from "./record-batches.ts";

export const TRANSACTIONAL = 0x10;

/** Answers what the test says, one answer a question; yes when it says nothing more. */
export class ScriptedGate implements TransactionGate {
  readonly questions: VerificationRequest[] = [];
  readonly answers: number[] = [];
  /** Called when a question has come, before it is answered. */
  onQuestion: (() => void) | undefined;

  async verify(request: VerificationRequest): Promise<readonly number[]> {
    this.questions.push(request);
    await Promise.resolve();
    this.onQuestion?.();
    const answer = this.answers.shift() ?? 0;
    return request.partitions.map(() => answer);
  }

  tryAwaitChange(): undefined {}
}

export interface Sent {
  readonly producerId: number;
  readonly epoch?: number;
  readonly sequence: number;
  readonly records?: number;
  readonly partition?: number;
  readonly isTransactional?: boolean;
  readonly apiVersion?: number;
  /** Default: one of the producer's own. */
  readonly transactionalId?: string;
}

export async function produce(api: ApiHarness, sent: Sent): Promise<PartitionProduceResponse> {
  const isTransactional = sent.isTransactional ?? true;
  const records = makeBatch({
    records: Array.from({ length: sent.records ?? 1 }, () => ({ value: "v" })),
    producerId: BigInt(sent.producerId),
    producerEpoch: sent.producerId < 0 ? -1 : (sent.epoch ?? 0),
    baseSequence: sent.sequence,
    attributes: isTransactional ? TRANSACTIONAL : 0,
  });
  const topic = newTopicProduceData({ name: "t", partitionData: [newPartitionProduceData({ index: sent.partition ?? 0, records })] });
  const request = newProduceRequest({
    acks: -1,
    timeoutMs: 1000,
    topicData: [topic],
    transactionalId: isTransactional ? (sent.transactionalId ?? `id-${sent.producerId}`) : null,
  });
  const response = await api.callOverWire<ProduceResponse>(0, request, sent.apiVersion ?? 12);
  const answer = response.responses[0]?.partitionResponses[0];
  if (answer === undefined) throw new Error("no partition in the answer");
  return answer;
}

export function endTransaction(
  api: ApiHarness,
  log: PartitionLog,
  marker: Partial<TransactionMarker> & Pick<TransactionMarker, "producerId" | "producerEpoch" | "isCommit">,
): string {
  const reservation = api.storage.tryReserve(96, 1);
  if (reservation === undefined) throw new Error("no room");
  const outcome = log.appendMarker({ coordinatorEpoch: 0, transactionVersion: 2, ...marker }, reservation, api.clock.wallMs());
  reservation.release();
  if (api.storage.isDurableAtOnce) api.storage.release();
  return outcome.kind === "appended" ? `appended at ${outcome.offset}` : outcome.kind;
}

/** What a read_committed consumer is given from `offset` on. */
export async function fetchCommitted(api: ApiHarness, offset: number, maxWaitMs = 0) {
  const partition = newFetchPartition({ partition: 0, fetchOffset: BigInt(offset), partitionMaxBytes: 1 << 20 });
  const request = newFetchRequest({
    isolationLevel: 1,
    maxBytes: 1 << 20,
    minBytes: 1,
    maxWaitMs,
    topics: [newFetchTopic({ topic: "t", partitions: [partition] })],
  });
  const response = await api.call<FetchResponse>(1, request, 12);
  const data = response?.responses[0]?.partitions[0];
  if (data === undefined) throw new Error("no partition in the answer");
  const slice = data.records as { nextOffset?: number; sizeBytes?: number; release?: () => void };
  const answer = {
    errorCode: data.errorCode,
    highWatermark: Number(data.highWatermark),
    lastStableOffset: Number(data.lastStableOffset),
    nextOffset: slice.nextOffset ?? offset,
    aborted: (data.abortedTransactions ?? []).map((one) => [Number(one.producerId), Number(one.firstOffset)]),
  };
  slice.release?.();
  return answer;
}
