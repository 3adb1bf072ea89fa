/**
 * A transactional producer by raw requests, in both generations: 1 names its partitions first (AddPartitionsToTxn 3, Produce 11, EndTxn 4), 2 lets Produce 12 add
 * them and takes the next epoch from EndTxn 5 (KIP-890). Error codes are values.
 */
import { ErrorCodes } from "../../src/protocol/error-codes.ts";
import { addOffsetsToTxnApi, newAddOffsetsToTxnRequest } from "../../src/protocol/messages/add-offsets-to-txn.ts";
import {
  addPartitionsToTxnApi,
  newAddPartitionsToTxnRequest,
  newAddPartitionsToTxnTopic,
} from "../../src/protocol/messages/add-partitions-to-txn.ts";
import { describeTransactionsApi, newDescribeTransactionsRequest } from "../../src/protocol/messages/describe-transactions.ts";
import { endTxnApi, newEndTxnRequest } from "../../src/protocol/messages/end-txn.ts";
import { fetchApi, newFetchPartition, newFetchRequest, newFetchTopic } from "../../src/protocol/messages/fetch.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { initProducerIdApi, newInitProducerIdRequest } from "../../src/protocol/messages/init-producer-id.ts";
import { newPartitionProduceData, newProduceRequest, newTopicProduceData, produceApi } from "../../src/protocol/messages/produce.ts";
import {
  newTxnOffsetCommitRequest,
  newTxnOffsetCommitRequestPartition,
  newTxnOffsetCommitRequestTopic,
  txnOffsetCommitApi,
} from "../../src/protocol/messages/txn-offset-commit.ts";
import type { KafkaConnection } from "../support/kafka-connection.ts";
import type { ProducerIdentity } from "../support/raw-client.ts";
import { decodeBatches, encodeBatch } from "../support/record-batch.ts";

export type Generation = 1 | 2;

const TRANSACTION_KEY = 1;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const CONCURRENT_TRANSACTIONS = ErrorCodes.CONCURRENT_TRANSACTIONS;
/** Transient answers: a leader or a coordinator is being opened, or the last transaction is just ending. */
const TO_BE_TRIED_AGAIN: ReadonlySet<number> = new Set([
  ErrorCodes.NOT_LEADER_OR_FOLLOWER,
  ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCodes.COORDINATOR_NOT_AVAILABLE,
  ErrorCodes.NOT_COORDINATOR,
  CONCURRENT_TRANSACTIONS,
]);
const PATIENCE_MS = 20_000;

/** Asks until the answer is none that says "again". */
export async function insist<Answer>(ask: () => Promise<Answer>, codeOf: (answer: Answer) => number): Promise<Answer> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (!TO_BE_TRIED_AGAIN.has(codeOf(answer))) return answer;
    if (performance.now() > deadline) throw new Error(`still error ${codeOf(answer)} after ${PATIENCE_MS} ms`);
    await Bun.sleep(5);
  }
}

export class RawTransactionalProducer {
  readonly #connection: KafkaConnection;
  readonly transactionalId: string;
  readonly #generation: Generation;
  #identity: ProducerIdentity = { producerId: -1, producerEpoch: -1 };
  #nextSequence = 0;

  constructor(connection: KafkaConnection, transactionalId: string, generation: Generation) {
    this.#connection = connection;
    this.transactionalId = transactionalId;
    this.#generation = generation;
  }

  get identity(): ProducerIdentity {
    return this.#identity;
  }

  /** Finds the coordinator, which creates its topic, and takes the id over. */
  async init(transactionTimeoutMs = 60_000): Promise<number> {
    const find = newFindCoordinatorRequest({ key: this.transactionalId, keyType: TRANSACTION_KEY });
    await insist(
      () => this.#connection.request(findCoordinatorApi, 3, find),
      ({ errorCode }) => errorCode,
    );
    const request = newInitProducerIdRequest({ transactionalId: this.transactionalId, transactionTimeoutMs });
    const answer = await insist(
      () => this.#connection.request(initProducerIdApi, 4, request),
      ({ errorCode }) => errorCode,
    );
    if (answer.errorCode === 0) this.#identity = { producerId: Number(answer.producerId), producerEpoch: answer.producerEpoch };
    this.#nextSequence = 0;
    return answer.errorCode;
  }

  async addPartition(topic: string, partition: number): Promise<number> {
    const { producerId, producerEpoch } = this.#identity;
    const request = newAddPartitionsToTxnRequest({
      v3AndBelowTransactionalId: this.transactionalId,
      v3AndBelowProducerId: BigInt(producerId),
      v3AndBelowProducerEpoch: producerEpoch,
      v3AndBelowTopics: [newAddPartitionsToTxnTopic({ name: topic, partitions: [partition] })],
    });
    const codeOf = (answer: Awaited<ReturnType<typeof ask>>): number =>
      answer.resultsByTopicV3AndBelow[0]?.resultsByPartition[0]?.partitionErrorCode ?? -1;
    const ask = () => this.#connection.request(addPartitionsToTxnApi, 3, request);
    return codeOf(await insist(ask, codeOf));
  }

  /** In a transaction, of partition 0; the first generation names it before, unless `isHanging`: a batch that no coordinator knows of. */
  async produce(topic: string, values: readonly string[], options: { readonly timestampMs?: number; readonly isHanging?: boolean } = {}) {
    if (this.#generation === 1 && options.isHanging !== true) {
      const code = await this.addPartition(topic, 0);
      if (code !== 0) return code;
    }
    const records = encodeBatch({
      values,
      ...this.#identity,
      baseSequence: this.#nextSequence,
      attributes: TRANSACTIONAL,
      timestampMs: options.timestampMs ?? Date.now(),
    });
    const request = newProduceRequest({
      acks: -1,
      timeoutMs: 30_000,
      transactionalId: this.transactionalId,
      topicData: [newTopicProduceData({ name: topic, partitionData: [newPartitionProduceData({ index: 0, records })] })],
    });
    const version = this.#generation === 1 ? 11 : 12;
    const codeOf = (answer: Awaited<ReturnType<typeof send>>): number => answer.responses[0]?.partitionResponses[0]?.errorCode ?? -1;
    const send = () => this.#connection.request(produceApi, version, request);
    const code = codeOf(await insist(send, codeOf));
    if (code === 0) this.#nextSequence += values.length;
    return code;
  }

  /** An offset of partition 0 for a group, in the transaction; the first generation names the group before. */
  async commitOffset(groupId: string, topic: string, offset: number): Promise<number> {
    const who = {
      transactionalId: this.transactionalId,
      groupId,
      producerId: BigInt(this.#identity.producerId),
      producerEpoch: this.#identity.producerEpoch,
    };
    if (this.#generation === 1) {
      const add = () => this.#connection.request(addOffsetsToTxnApi, 3, newAddOffsetsToTxnRequest(who));
      const { errorCode } = await insist(add, (answer) => answer.errorCode);
      if (errorCode !== 0) return errorCode;
    }
    const partitions = [newTxnOffsetCommitRequestPartition({ partitionIndex: 0, committedOffset: BigInt(offset) })];
    const request = newTxnOffsetCommitRequest({ ...who, topics: [newTxnOffsetCommitRequestTopic({ name: topic, partitions })] });
    const send = () => this.#connection.request(txnOffsetCommitApi, this.#generation === 1 ? 3 : 5, request);
    const codeOf = (answer: Awaited<ReturnType<typeof send>>): number => answer.topics[0]?.partitions[0]?.errorCode ?? -1;
    return codeOf(await insist(send, codeOf));
  }

  /** Sends EndTxn and closes the connection: nobody sees the answer. */
  endUnseen(committed: boolean): void {
    const { producerId, producerEpoch } = this.#identity;
    const request = newEndTxnRequest({ transactionalId: this.transactionalId, producerId: BigInt(producerId), producerEpoch, committed });
    this.#connection.sendRequest(endTxnApi, this.#generation === 1 ? 4 : 5, request);
    this.#connection.close();
  }

  /** The same producer over another connection. */
  over(connection: KafkaConnection): RawTransactionalProducer {
    const again = new RawTransactionalProducer(connection, this.transactionalId, this.#generation);
    again.#identity = this.#identity;
    again.#nextSequence = this.#nextSequence;
    return again;
  }

  /** Commits or aborts; the second generation goes on under what it is answered. `identity`: ends as somebody else, or as it once was. */
  async end(committed: boolean, identity = this.#identity): Promise<number> {
    const { producerId, producerEpoch } = identity;
    const request = newEndTxnRequest({ transactionalId: this.transactionalId, producerId: BigInt(producerId), producerEpoch, committed });
    const version = this.#generation === 1 ? 4 : 5;
    const answer = await insist(
      () => this.#connection.request(endTxnApi, version, request),
      ({ errorCode }) => errorCode,
    );
    if (answer.errorCode === 0 && this.#generation === 2) {
      this.#identity = { producerId: Number(answer.producerId), producerEpoch: answer.producerEpoch };
      this.#nextSequence = 0;
    }
    return answer.errorCode;
  }
}

/** What a read_committed consumer of partition 0 is given from the start up to the last stable offset; nothing aborted, no markers. */
export async function readCommitted(connection: KafkaConnection, topic: string): Promise<{ values: string[]; lastStableOffset: number }> {
  const values: string[] = [];
  for (let offset = 0; ; ) {
    const partition = newFetchPartition({ partition: 0, fetchOffset: BigInt(offset), partitionMaxBytes: 1 << 20 });
    const request = newFetchRequest({
      replicaId: -1,
      maxWaitMs: 0,
      isolationLevel: 1,
      maxBytes: 1 << 20,
      topics: [newFetchTopic({ topic, partitions: [partition] })],
    });
    const found = (await connection.request(fetchApi, 12, request)).responses[0]?.partitions[0];
    if (found === undefined || found.errorCode !== 0) throw new Error(`Fetch of ${topic} at ${offset} answered ${found?.errorCode}`);
    const bytes = found.records instanceof Uint8Array ? found.records : new Uint8Array(0);
    const aborted = (found.abortedTransactions ?? []).map((each) => ({
      producerId: each.producerId,
      firstOffset: Number(each.firstOffset),
    }));
    offset = takeCommitted(Buffer.from(bytes), aborted, offset, values);
    if (offset >= Number(found.lastStableOffset)) return { values, lastStableOffset: Number(found.lastStableOffset) };
    if (bytes.length === 0) throw new Error(`Fetch of ${topic} at ${offset} gave nothing below ${found.lastStableOffset}`);
  }
}

/** As Kafka's consumer goes through batches: an aborted transaction begins at its first offset and ends at its marker. Answers the next offset. */
function takeCommitted(
  bytes: Buffer,
  aborted: readonly { readonly producerId: bigint; readonly firstOffset: number }[],
  from: number,
  values: string[],
): number {
  let next = from;
  const waiting = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset);
  const open = new Set<bigint>();
  for (let at = 0; at + 61 <= bytes.length; ) {
    const end = at + 12 + bytes.readInt32BE(at + 8);
    if (end > bytes.length) break;
    const lastOffset = Number(bytes.readBigInt64BE(at)) + bytes.readInt32BE(at + 23);
    const attributes = bytes.readInt16BE(at + 21);
    const producerId = bytes.readBigInt64BE(at + 43);
    while (waiting[0] !== undefined && waiting[0].firstOffset <= lastOffset) open.add(waiting.shift()?.producerId ?? -1n);
    if ((attributes & CONTROL) !== 0) open.delete(producerId);
    else if ((attributes & TRANSACTIONAL) === 0 || !open.has(producerId)) {
      for (const { offset, value } of decodeBatches(bytes.subarray(at, end))) if (offset >= from) values.push(value.toString());
    }
    next = lastOffset + 1;
    at = end;
  }
  return next;
}

/** State of a transactional id; the error code where it has none. */
export async function describeTransaction(connection: KafkaConnection, transactionalId: string) {
  const request = newDescribeTransactionsRequest({ transactionalIds: [transactionalId] });
  const [found] = (await connection.request(describeTransactionsApi, 0, request)).transactionStates;
  if (found === undefined) throw new Error("DescribeTransactions answered nothing");
  return found;
}

/** Until the id's last transaction has ended and every marker of it is written. */
export async function waitSettled(connection: KafkaConnection, transactionalId: string): Promise<string> {
  const isEnding = (state: string): boolean => state === "Ongoing" || state.startsWith("Prepare");
  const found = await insist(
    () => describeTransaction(connection, transactionalId),
    ({ transactionState, errorCode }) => (isEnding(transactionState) ? CONCURRENT_TRANSACTIONS : errorCode),
  );
  return found.transactionState;
}
