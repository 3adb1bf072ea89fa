import { describe, expect, test } from "bun:test";
import { PartitionLog } from "../../../src/partition/partition-log.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import {
  type ListOffsetsPartitionResponse,
  type ListOffsetsResponse,
  newListOffsetsPartition,
  newListOffsetsRequest,
  newListOffsetsTopic,
} from "../../../src/protocol/messages/list-offsets.ts";
import {
  newOffsetForLeaderEpochRequest,
  newOffsetForLeaderPartition,
  newOffsetForLeaderTopic,
  type OffsetForLeaderEpochResponse,
} from "../../../src/protocol/messages/offset-for-leader-epoch.ts";
import { newPartitionProduceData, newProduceRequest, newTopicProduceData } from "../../../src/protocol/messages/produce.ts";
import { ApiHarness } from "../support/api-harness.ts";
import { settle } from "../support/manual-clock.ts";
import { BASE_TIME, makeBatch } from "../support/record-batches.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { endTransaction, produce as produceInTransaction, ScriptedGate } from "../support/transactions.ts";

async function produce(api: ApiHarness, times: readonly number[], codec = 0): Promise<void> {
  const [first = 0] = times;
  const records = makeBatch({
    records: times.map((time) => ({ value: "v", timestampDelta: time - first })),
    baseTimestamp: BigInt(first),
    maxTimestamp: BigInt(Math.max(...times)),
    codec,
  });
  const topic = newTopicProduceData({ name: "t", partitionData: [newPartitionProduceData({ records })] });
  await api.call(0, newProduceRequest({ acks: -1, timeoutMs: 1000, topicData: [topic] }), 9);
}

async function list(
  api: ApiHarness,
  timestamp: bigint,
  fields: { epoch?: number; partition?: number; version?: number; topic?: string; isolationLevel?: number } = {},
): Promise<ListOffsetsPartitionResponse> {
  const { version = 11 } = fields;
  const partition = newListOffsetsPartition({ timestamp, partitionIndex: fields.partition ?? 0, currentLeaderEpoch: fields.epoch ?? -1 });
  const topics = [newListOffsetsTopic({ name: fields.topic ?? "t", partitions: [partition] })];
  const response = await api.callOverWire<ListOffsetsResponse>(
    2,
    newListOffsetsRequest({ replicaId: -1, isolationLevel: fields.isolationLevel ?? 0, topics }),
    version,
  );
  const answer = response.topics[0]?.partitions[0];
  if (answer === undefined) throw new Error("no answer");
  return answer;
}

function harness(configs: Record<string, string> = {}): ApiHarness {
  const api = new ApiHarness();
  api.metadata.addTopic("t", 2, configs);
  return api;
}

describe("ListOffsets", () => {
  test("special timestamps, each from its version on (compared with Apache Kafka 4.4.0)", async () => {
    const api = harness();
    await produce(api, [BASE_TIME, BASE_TIME + 5, BASE_TIME + 5, BASE_TIME + 1]);
    await produce(api, [BASE_TIME + 2]);
    expect(await list(api, -1n)).toMatchObject({ errorCode: 0, offset: 5n, timestamp: -1n, leaderEpoch: 0 });
    expect(await list(api, -2n)).toMatchObject({ errorCode: 0, offset: 0n, timestamp: -1n, leaderEpoch: 0 });
    expect(await list(api, -3n)).toMatchObject({ errorCode: 0, offset: 1n, timestamp: BigInt(BASE_TIME + 5) });
    expect(await list(api, -4n)).toMatchObject({ errorCode: 0, offset: 0n, timestamp: -1n });
    expect(await list(api, -5n)).toMatchObject({ errorCode: 0, offset: -1n, timestamp: -1n, leaderEpoch: -1 });
    expect(await list(api, -6n)).toMatchObject({ errorCode: 0, offset: 0n, timestamp: -1n, leaderEpoch: 0 });
    for (const timestamp of [-7n, -(2n ** 63n)]) expect((await list(api, timestamp)).errorCode).toBe(ErrorCodes.UNSUPPORTED_VERSION);
    for (const [timestamp, version] of [
      [-3n, 6],
      [-4n, 7],
      [-5n, 8],
      [-6n, 10],
    ] as const) {
      expect((await list(api, timestamp, { version })).errorCode).toBe(ErrorCodes.UNSUPPORTED_VERSION);
    }
  });

  test("B2: what is not there is -1, never 0: an empty partition, a time after the last record, 2^63 - 1", async () => {
    const api = harness();
    expect(await list(api, -3n)).toMatchObject({ errorCode: 0, offset: -1n, timestamp: -1n, leaderEpoch: -1 });
    expect(await list(api, 0n)).toMatchObject({ errorCode: 0, offset: -1n });
    await produce(api, [BASE_TIME]);
    for (const timestamp of [BigInt(BASE_TIME + 1), 2n ** 53n, 2n ** 63n - 1n])
      expect(await list(api, timestamp)).toMatchObject({ errorCode: 0, offset: -1n });
  });

  test("errors: unknown partitions, epochs, a partition named twice, a failing read", async () => {
    const api = harness();
    await produce(api, [BASE_TIME]);
    expect((await list(api, -1n, { topic: "nope" })).errorCode).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    expect((await list(api, -1n, { partition: -1 })).errorCode).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    expect((await list(api, -1n, { epoch: 1 })).errorCode).toBe(ErrorCodes.UNKNOWN_LEADER_EPOCH);
    expect((await list(api, -1n, { epoch: -9 })).errorCode).toBe(ErrorCodes.FENCED_LEADER_EPOCH);
    const twice = [newListOffsetsPartition({ timestamp: -1n }), newListOffsetsPartition({ timestamp: -2n })];
    const request = newListOffsetsRequest({ topics: [newListOffsetsTopic({ name: "t", partitions: twice })] });
    const repeated = (await api.callOverWire<ListOffsetsResponse>(2, request, 11)).topics[0]?.partitions ?? [];
    expect(repeated.map((one) => one.errorCode)).toEqual([ErrorCodes.INVALID_REQUEST]);
    const stream = api.storage.stream(api.metadata.topics.get("t")?.topicId ?? "", 0);
    stream.coldBelow = 9;
    stream.readFailure = new Error("unreadable");
    expect((await list(api, 0n)).errorCode).toBe(ErrorCodes.KAFKA_STORAGE_ERROR);
  });

  test("only durable records are found, and records below the log's start are not", async () => {
    const api = harness();
    await produce(api, [BASE_TIME, BASE_TIME + 1, BASE_TIME + 2]);
    const { topicId } = api.metadata.topics.get("t") ?? { topicId: "" };
    api.metadata.setPartition(topicId, 0, { logStartOffset: 1 });
    expect((await list(api, 0n)).offset).toBe(1n);
    expect(await list(api, -2n)).toMatchObject({ offset: 1n, leaderEpoch: 0 });
    api.storage.isDurableAtOnce = false;
    void produce(api, [BASE_TIME + 50]);
    await settle();
    expect((await list(api, -1n)).offset).toBe(3n);
    expect((await list(api, BigInt(BASE_TIME + 50))).offset).toBe(-1n);
    api.storage.release();
    expect((await list(api, BigInt(BASE_TIME + 50))).offset).toBe(3n);
  });

  test("segment objects are the remote tier: earliest local, latest tiered, earliest pending upload; never below the log start", async () => {
    const api = harness();
    for (let count = 0; count < 6; count++) await produce(api, [BASE_TIME]);
    const { topicId } = api.metadata.topics.get("t") ?? { topicId: "" };
    const stream = api.storage.stream(topicId, 0);
    const tiers = async () => [(await list(api, -4n)).offset, (await list(api, -5n)).offset, (await list(api, -6n)).offset];
    stream.committedEndOffset = 4;
    stream.localStartOffset = 3;
    expect(await tiers()).toEqual([3n, 3n, 4n]);
    expect((await list(api, -5n)).leaderEpoch).toBe(0);
    stream.committedEndOffset = 6;
    stream.localStartOffset = 6;
    expect(await tiers()).toEqual([6n, 5n, 6n]);
    api.metadata.setPartition(topicId, 0, { logStartOffset: 6 });
    stream.localStartOffset = 2;
    expect(await tiers()).toEqual([6n, -1n, 6n]);
  });

  test("read_committed: nothing at or above the last stable offset, not even the greatest timestamp; B2: -1, not 0", async () => {
    const gate = new ScriptedGate();
    const api = new ApiHarness({}, undefined, undefined, gate);
    const { topicId } = api.metadata.addTopic("t");
    const log = await api.partitions.open(topicId, 0);
    if (!(log instanceof PartitionLog)) throw new Error("not open");
    await produce(api, [BASE_TIME - 10]);
    await produceInTransaction(api, { producerId: 7, sequence: 0 });
    const committed = { isolationLevel: 1 };
    expect((await list(api, -1n, committed)).offset).toBe(1n);
    expect((await list(api, -1n)).offset).toBe(2n);
    expect((await list(api, BigInt(BASE_TIME - 5), committed)).offset).toBe(-1n);
    expect((await list(api, BigInt(BASE_TIME - 5))).offset).toBe(1n);
    expect((await list(api, -3n, committed)).offset).toBe(-1n);
    endTransaction(api, log, { producerId: 7, producerEpoch: 1, isCommit: true });
    expect((await list(api, -1n, committed)).offset).toBe(3n);
    expect((await list(api, BigInt(BASE_TIME - 5), committed)).offset).toBe(1n);
  });

  test("LogAppendTime: the batch's first offset", async () => {
    const api = harness({ "message.timestamp.type": "LogAppendTime" });
    await produce(api, [1, 2, 3]);
    expect(await list(api, 5n)).toMatchObject({ offset: 0n, timestamp: BigInt(api.clock.wallMs()) });
    expect(await list(api, -3n)).toMatchObject({ offset: 0n, timestamp: BigInt(api.clock.wallMs()) });
  });

  for (let seed = 1; seed <= 10; seed++) {
    test(`the exact record for any time, with any codec, seed ${seed}`, async () => {
      const random = new SeededRandom(seed);
      const api = harness();
      const all: number[] = [];
      for (let batch = 0; batch < 8; batch++) {
        const times = Array.from({ length: 1 + random.nextInt(6) }, () => BASE_TIME + random.nextInt(60));
        await produce(api, times, random.pick([0, 1, 4]));
        all.push(...times);
      }
      for (let time = BASE_TIME - 1; time <= BASE_TIME + 60; time++) {
        // As Kafka: the first batch that reaches the time, and in it the first record that does.
        const expected = all.findIndex((one) => one >= time);
        expect(await list(api, BigInt(time))).toMatchObject({ offset: BigInt(expected), timestamp: BigInt(all[expected] ?? -1) });
      }
      expect((await list(api, -3n)).offset).toBe(BigInt(all.indexOf(Math.max(...all))));
    });
  }
});

describe("OffsetForLeaderEpoch", () => {
  test("ends of epochs; unknown ones without an error", async () => {
    const api = harness();
    await produce(api, [BASE_TIME, BASE_TIME]);
    const ask = async (leaderEpoch: number, currentLeaderEpoch = -1, topic = "t") => {
      const partitions = [newOffsetForLeaderPartition({ leaderEpoch, currentLeaderEpoch })];
      const request = newOffsetForLeaderEpochRequest({ topics: [newOffsetForLeaderTopic({ topic, partitions })] });
      const answer = (await api.callOverWire<OffsetForLeaderEpochResponse>(23, request, 4)).topics[0]?.partitions[0];
      return [answer?.errorCode, answer?.leaderEpoch, answer?.endOffset];
    };
    expect(await ask(0)).toEqual([0, 0, 2n]);
    for (const epoch of [1, -1, 2 ** 31 - 1]) expect(await ask(epoch)).toEqual([0, -1, -1n]);
    expect(await ask(0, 5)).toEqual([ErrorCodes.UNKNOWN_LEADER_EPOCH, -1, -1n]);
    expect(await ask(0, -1, "nope")).toEqual([ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION, -1, -1n]);
  });
});
