import { describe, expect, test } from "bun:test";
import { PartitionLog } from "../../../src/partition/partition-log.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import {
  type DescribeProducersResponse,
  newDescribeProducersRequest,
  newTopicRequest,
} from "../../../src/protocol/messages/describe-producers.ts";
import {
  newPartitionProduceData,
  newProduceRequest,
  newTopicProduceData,
  type ProduceResponse,
} from "../../../src/protocol/messages/produce.ts";
import { ApiHarness } from "../support/api-harness.ts";
import { settle } from "../support/manual-clock.ts";
import { BASE_TIME, makeBatch } from "../support/record-batches.ts";
import { endTransaction, produce, ScriptedGate, TRANSACTIONAL } from "../support/transactions.ts";

async function harness(settings: Record<string, string> = {}) {
  const gate = new ScriptedGate();
  const api = new ApiHarness(settings, undefined, undefined, gate);
  const { topicId } = api.metadata.addTopic("t", 2);
  const log = await api.partitions.open(topicId, 0);
  if (!(log instanceof PartitionLog)) throw new Error("not open");
  return { api, gate, log, topicId };
}

/** 20 ms at a time. */
async function passTime(api: ApiHarness, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await settle();
    await api.clock.advance(20);
  }
}

describe("verification before a transaction's first batch", () => {
  test("asks once a partition and transaction: adding from version 12 on, verifying below", async () => {
    const { api, gate, log, topicId } = await harness();
    const partitions = [{ topicName: "t", topicId, partition: 0 }];
    for (let sequence = 0; sequence < 3; sequence++) expect((await produce(api, { producerId: 7, sequence })).errorCode).toBe(0);
    endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: true });
    expect((await produce(api, { producerId: 7, epoch: 1, sequence: 0, apiVersion: 11 })).errorCode).toBe(0);
    expect(gate.questions).toEqual([
      { transactionalId: "id-7", producerId: 7, producerEpoch: 0, partitions, mode: "add" },
      { transactionalId: "id-7", producerId: 7, producerEpoch: 1, partitions, mode: "verify" },
    ]);
  });

  test("a batch that will be refused is asked about first, and told of only when its transaction is well", async () => {
    const { api, gate } = await harness();
    const records = makeBatch({
      attributes: TRANSACTIONAL,
      producerId: 7n,
      producerEpoch: 0,
      baseSequence: 0,
      baseTimestamp: BigInt(BASE_TIME + 7_200_000),
    });
    const send = async () => {
      const topic = newTopicProduceData({ name: "t", partitionData: [newPartitionProduceData({ index: 0, records: records.slice() })] });
      const sent = newProduceRequest({ acks: -1, timeoutMs: 1000, topicData: [topic], transactionalId: "id-7" });
      return (await api.call<ProduceResponse>(0, sent, 9))?.responses[0]?.partitionResponses[0];
    };
    gate.answers.push(ErrorCodes.INVALID_TXN_STATE);
    expect(await send()).toMatchObject({ errorCode: ErrorCodes.INVALID_TXN_STATE, recordErrors: [], logStartOffset: -1n });
    expect(await send()).toMatchObject({ errorCode: ErrorCodes.INVALID_TIMESTAMP, logStartOffset: 0n });
    expect(gate.questions).toHaveLength(2);
  });

  test("the coordinator's codes reach producers as those that they know", async () => {
    const { api, gate } = await harness({ "add.partitions.to.txn.retry.backoff.max.ms": "0" });
    const cases: [given: number, apiVersion: number, told: number][] = [
      [ErrorCodes.PRODUCER_FENCED, 12, ErrorCodes.INVALID_PRODUCER_EPOCH],
      [ErrorCodes.INVALID_PRODUCER_ID_MAPPING, 12, ErrorCodes.INVALID_PRODUCER_ID_MAPPING],
      [ErrorCodes.TRANSACTION_ABORTABLE, 12, ErrorCodes.TRANSACTION_ABORTABLE],
      [ErrorCodes.TRANSACTION_ABORTABLE, 11, ErrorCodes.TRANSACTION_ABORTABLE],
      [ErrorCodes.TRANSACTION_ABORTABLE, 10, ErrorCodes.INVALID_TXN_STATE],
      [ErrorCodes.INVALID_TXN_STATE, 12, ErrorCodes.INVALID_TXN_STATE],
      [ErrorCodes.CLUSTER_AUTHORIZATION_FAILED, 12, ErrorCodes.INVALID_TXN_STATE],
      [ErrorCodes.NOT_COORDINATOR, 12, ErrorCodes.NOT_ENOUGH_REPLICAS],
      [ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS, 9, ErrorCodes.NOT_ENOUGH_REPLICAS],
      [ErrorCodes.COORDINATOR_NOT_AVAILABLE, 12, ErrorCodes.NOT_ENOUGH_REPLICAS],
      [ErrorCodes.CONCURRENT_TRANSACTIONS, 11, ErrorCodes.NOT_ENOUGH_REPLICAS],
      [ErrorCodes.CONCURRENT_TRANSACTIONS, 12, ErrorCodes.CONCURRENT_TRANSACTIONS],
    ];
    for (const [given, apiVersion, told] of cases) {
      gate.answers.push(given);
      const answer = await produce(api, { producerId: 7, sequence: 0, apiVersion });
      expect([given, apiVersion, answer.errorCode, answer.baseOffset, answer.logStartOffset]).toEqual([given, apiVersion, told, -1n, -1n]);
    }
    gate.answers.push(ErrorCodes.NOT_COORDINATOR, ErrorCodes.INVALID_TXN_STATE);
    expect((await produce(api, { producerId: 7, sequence: 0 })).errorMessage).toBe(
      "Unable to verify the partition has been added to the transaction. Underlying error: NOT_COORDINATOR",
    );
    expect((await produce(api, { producerId: 7, sequence: 0 })).errorMessage).toBe("Partition was not added to the transaction");
    expect((await produce(api, { producerId: 7, sequence: 0 })).errorCode).toBe(0);
  });

  test("the end of the last transaction is waited for a little, then the producer is told", async () => {
    const { api, gate } = await harness();
    gate.answers.push(ErrorCodes.CONCURRENT_TRANSACTIONS, ErrorCodes.CONCURRENT_TRANSACTIONS);
    const sending = produce(api, { producerId: 7, sequence: 0 });
    await passTime(api, 4);
    expect((await sending).errorCode).toBe(0);
    expect(gate.questions.length).toBe(3);
    for (let round = 0; round < 20; round++) gate.answers.push(ErrorCodes.CONCURRENT_TRANSACTIONS);
    const refused = produce(api, { producerId: 8, sequence: 0 });
    await passTime(api, 10);
    expect((await refused).errorCode).toBe(ErrorCodes.CONCURRENT_TRANSACTIONS);
  });

  test("a marker between question and append takes the guard back: the late batch begins no transaction that nobody ends", async () => {
    const { api, gate, log } = await harness();
    gate.onQuestion = () => {
      gate.onQuestion = undefined;
      endTransaction(api, log, { producerId: 7, producerEpoch: 0, isCommit: false, transactionVersion: 1 });
    };
    const late = await produce(api, { producerId: 7, sequence: 0, apiVersion: 11 });
    expect(late).toMatchObject({ errorCode: ErrorCodes.INVALID_TXN_STATE, logStartOffset: 0n });
    expect(log.lastStableOffset).toBe(log.highWatermark);
  });

  test("a higher sequence does not overtake a lower one that was refused and comes again", async () => {
    const { api, gate } = await harness();
    gate.answers.push(ErrorCodes.NOT_COORDINATOR);
    expect((await produce(api, { producerId: 7, sequence: 0, apiVersion: 11 })).errorCode).toBe(ErrorCodes.NOT_ENOUGH_REPLICAS);
    expect((await produce(api, { producerId: 7, sequence: 1, apiVersion: 11 })).errorCode).toBe(ErrorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect((await produce(api, { producerId: 7, sequence: 0, apiVersion: 11 })).errorCode).toBe(0);
    expect((await produce(api, { producerId: 7, sequence: 1, apiVersion: 11 })).errorCode).toBe(0);
  });

  test("with an epoch per transaction an unknown producer begins at 0", async () => {
    const { api } = await harness();
    expect((await produce(api, { producerId: 7, sequence: 5 })).errorCode).toBe(ErrorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect((await produce(api, { producerId: 8, sequence: 5, apiVersion: 11 })).errorCode).toBe(0);
  });

  test("an epoch below the last one is told before anybody is asked", async () => {
    const { api, gate, log } = await harness();
    endTransaction(api, log, { producerId: 7, producerEpoch: 5, isCommit: true });
    expect((await produce(api, { producerId: 7, epoch: 4, sequence: 0 })).errorCode).toBe(ErrorCodes.INVALID_PRODUCER_EPOCH);
    expect(gate.questions).toEqual([]);
  });

  test("transaction.partition.verification.enable=false asks only to add", async () => {
    const { api, gate } = await harness({ "transaction.partition.verification.enable": "false" });
    expect((await produce(api, { producerId: 7, sequence: 0, apiVersion: 11 })).errorCode).toBe(0);
    expect(gate.questions).toEqual([]);
    expect((await produce(api, { producerId: 8, sequence: 0 })).errorCode).toBe(0);
    expect(gate.questions.length).toBe(1);
  });

  test("two producers in one request: all of it is refused", async () => {
    const { api } = await harness();
    const batch = (producerId: bigint) => makeBatch({ producerId, producerEpoch: 0, baseSequence: 0, attributes: TRANSACTIONAL });
    const partitionData = [1n, 2n].map((id, index) => newPartitionProduceData({ index, records: batch(id) }));
    const request = newProduceRequest({ acks: -1, transactionalId: "x", topicData: [newTopicProduceData({ name: "t", partitionData })] });
    const response = await api.callOverWire<ProduceResponse>(0, request, 12);
    const codes = response.responses[0]?.partitionResponses.map((one) => one.errorCode);
    expect(codes).toEqual([ErrorCodes.INVALID_PRODUCER_ID_MAPPING, ErrorCodes.INVALID_PRODUCER_ID_MAPPING]);
  });
});

describe("DescribeProducers", () => {
  test("tells who wrote, and whose transaction is open since when", async () => {
    const { api, log } = await harness();
    await produce(api, { producerId: 6, sequence: 3, isTransactional: false });
    await produce(api, { producerId: 7, sequence: 0, records: 2 });
    endTransaction(api, log, { producerId: 8, producerEpoch: 4, isCommit: true, coordinatorEpoch: 9 });
    const topics = [newTopicRequest({ name: "t", partitionIndexes: [0, 7] }), newTopicRequest({ name: "a b", partitionIndexes: [0] })];
    const response = await api.callOverWire<DescribeProducersResponse>(61, newDescribeProducersRequest({ topics }), 0);
    const [known, unknown] = response.topics[0]?.partitions ?? [];
    expect(known).toMatchObject({
      errorCode: 0,
      activeProducers: [
        {
          producerId: 6n,
          producerEpoch: 0,
          lastSequence: 3,
          lastTimestamp: BigInt(BASE_TIME),
          coordinatorEpoch: -1,
          currentTxnStartOffset: -1n,
        },
        { producerId: 7n, lastSequence: 1, currentTxnStartOffset: 1n },
        { producerId: 8n, producerEpoch: 4, lastSequence: -1, coordinatorEpoch: 9, currentTxnStartOffset: -1n },
      ],
    });
    expect(unknown?.errorCode).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    expect(response.topics[1]?.partitions[0]?.errorCode).toBe(ErrorCodes.INVALID_TOPIC_EXCEPTION);
  });
});
