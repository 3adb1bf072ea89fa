import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { readStoredBatch, viewOf } from "../../../src/partition/batch-layout.ts";
import { decodeCheckpoint } from "../../../src/partition/checkpoint-format.ts";
import { CHECKPOINT_BATCHES, CHECKPOINT_NEW_PRODUCERS, PartitionLog } from "../../../src/partition/partition-log.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import {
  newPartitionProduceData,
  newProduceRequest,
  newTopicProduceData,
  type ProduceResponse,
} from "../../../src/protocol/messages/produce.ts";
import { ApiHarness } from "../support/api-harness.ts";
import { FakeStorage, type FakeStream } from "../support/fake-storage.ts";
import { makeBatch } from "../support/record-batches.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

async function send(api: ApiHarness, producerId: number, sequence: number, records = 1, epoch = 0) {
  const batch = makeBatch({
    records: Array.from({ length: records }, () => ({ value: "v" })),
    producerId: BigInt(producerId),
    producerEpoch: producerId < 0 ? -1 : epoch,
    baseSequence: producerId < 0 ? -1 : sequence,
  });
  const topic = newTopicProduceData({ name: "t", partitionData: [newPartitionProduceData({ records: batch })] });
  const response = await api.call<ProduceResponse>(0, newProduceRequest({ acks: -1, timeoutMs: 1000, topicData: [topic] }), 9);
  const partition = response?.responses[0]?.partitionResponses[0];
  return partition === undefined ? undefined : { code: partition.errorCode, offset: Number(partition.baseOffset) };
}

/** The same storage and metadata under a new process. */
function restart(api: ApiHarness): ApiHarness {
  api.partitions.close();
  return new ApiHarness({}, api.storage, api.metadata);
}

function harness(): { api: ApiHarness; topicId: string } {
  const api = new ApiHarness();
  return { api, topicId: api.metadata.addTopic("t", 3).topicId };
}

describe("opening", () => {
  test("once, however many ask; those that ask meanwhile wait for the same log", async () => {
    const { api, topicId } = harness();
    expect(api.partitions.find(topicId, 0)).toBeUndefined();
    const logs = await Promise.all(Array.from({ length: 20 }, () => api.partitions.open(topicId, 0)));
    expect(new Set(logs).size).toBe(1);
    expect(api.storage.opens).toBe(1);
    expect(api.partitions.find(topicId, 0)).toBe(logs[0] as PartitionLog);
    expect(await api.partitions.open(topicId, 9)).toBe("unknown-partition");
    api.metadata.setPartition(topicId, 1, { ownerNodeId: 2 });
    expect(await api.partitions.open(topicId, 1)).toBe("not-owner");
  });

  test("a failure is told to all who wait, gives the stream back, and the next one tries again", async () => {
    const { api, topicId } = harness();
    const original = api.storage.readCheckpoint.bind(api.storage);
    api.storage.readCheckpoint = () => Promise.reject(new Trouble({ code: "store-unavailable", message: "no store", retryable: true }));
    const outcomes = await Promise.allSettled([api.partitions.open(topicId, 0), api.partitions.open(topicId, 0)]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(["rejected", "rejected"]);
    expect(api.storage.streams.size).toBe(0);
    expect((await send(api, -1, -1))?.code).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
    api.storage.readCheckpoint = original;
    expect(await send(api, -1, -1)).toEqual({ code: 0, offset: 0 });
  });

  test("batches that cannot be read below the end are not taken for none: it stays closed, and is tried again", async () => {
    const { api, topicId } = harness();
    await send(api, 7, 0);
    const again = restart(api);
    const openStream = api.storage.openStream.bind(api.storage);
    api.storage.openStream = (id, options) => {
      const stream = openStream(id, options) as FakeStream;
      stream.nextOffset += 3;
      return stream;
    };
    await expect(again.partitions.open(topicId, 0)).rejects.toMatchObject({ code: "partition-unreadable", retryable: true });
    expect(api.storage.streams.size).toBe(0);
    api.storage.openStream = openStream;
    expect(await again.partitions.open(topicId, 0)).toBeInstanceOf(PartitionLog);
  });

  test("a topic deleted, or a term that moved on, while it opens", async () => {
    const { api, topicId } = harness();
    const opening = api.partitions.open(topicId, 0);
    await api.metadata.deleteTopics([topicId]);
    expect(await opening).toBe("unknown-partition");
    const second = api.metadata.addTopic("u");
    const moving = api.partitions.open(second.topicId, 0);
    api.metadata.setPartition(second.topicId, 0, { term: 4 });
    expect(await moving).toMatchObject({ term: 4 });
    expect(api.storage.streams.size).toBe(1);
  });

  test("a new log start offset trims; one that moved closes, and what it is sent is refused", async () => {
    const { api, topicId } = harness();
    for (let index = 0; index < 4; index++) await send(api, -1, -1);
    const log = api.partitions.find(topicId, 0);
    if (!(log instanceof PartitionLog)) throw new Error("not open");
    api.metadata.setPartition(topicId, 0, { logStartOffset: 2 });
    expect([log.logStartOffset, api.storage.stream(topicId, 0).trimmedTo]).toEqual([2, 2]);
    api.metadata.setPartition(topicId, 0, { ownerNodeId: 2, term: 1 });
    expect(log.isServing).toBe(false);
    expect(api.storage.streams.size).toBe(0);
    expect((await send(api, -1, -1))?.code).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
  });
});

describe("a broker whose place was taken under the same term, and which does not know it yet", () => {
  test("gives up a log that begins above its own end: another has written there and cut it off", async () => {
    const { api, topicId } = harness();
    await send(api, -1, -1);
    const log = api.partitions.find(topicId, 0);
    if (!(log instanceof PartitionLog)) throw new Error("not open");
    api.metadata.setPartition(topicId, 0, { logStartOffset: 1 });
    expect([log.logStartOffset, log.isServing]).toEqual([1, true]);
    api.metadata.setPartition(topicId, 0, { logStartOffset: 2 });
    expect(log.isServing).toBe(false);
    expect(api.storage.streams.size).toBe(0);
  });

  test("does not open one that has come to begin above its end meanwhile", async () => {
    const { api, topicId } = harness();
    const opening = api.partitions.open(topicId, 0);
    api.metadata.setPartition(topicId, 0, { logStartOffset: 5 });
    expect(await opening).toBe("not-owner");
    expect(api.storage.streams.size).toBe(0);
  });
});

describe("producer state over a restart", () => {
  test("R2: rebuilt from the batches alone: any suffix replayed has its offsets, a gap is seen", async () => {
    const { api } = harness();
    for (let index = 0; index < 8; index++) await send(api, 7, index * 2, 2);
    const again = restart(api);
    for (let index = 3; index < 8; index++) expect(await send(again, 7, index * 2, 2)).toEqual({ code: 0, offset: index * 2 });
    expect((await send(again, 7, 4, 2))?.code).toBe(ErrorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect((await send(again, 7, 18, 2))?.code).toBe(ErrorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect(await send(again, 7, 16, 2)).toEqual({ code: 0, offset: 16 });
  });

  test("rebuilt from a checkpoint and what lies above it, and only that is read", async () => {
    const { api, topicId } = harness();
    for (let index = 0; index < 6; index++) await send(api, 7, index);
    const log = api.partitions.find(topicId, 0);
    if (!(log instanceof PartitionLog)) throw new Error("not open");
    const checkpoint = log.takeCheckpoint(true);
    if (checkpoint === undefined) throw new Error("forced, and something was appended");
    api.storage.checkpoints.set(`${topicId}-0`, checkpoint);
    for (let index = 6; index < 8; index++) await send(api, 7, index);
    await send(api, 8, 0);
    const again = restart(api);
    const reopened = await again.partitions.open(topicId, 0);
    if (!(reopened instanceof PartitionLog)) throw new Error("not open");
    expect(api.storage.stream(topicId, 0).slices.map((slice) => slice.firstOffset)).toEqual([6]);
    expect(reopened.producerCount).toBe(2);
    for (let index = 3; index < 8; index++) expect(await send(again, 7, index)).toEqual({ code: 0, offset: index });
    expect(await send(again, 8, 0)).toEqual({ code: 0, offset: 8 });
  });

  test("a checkpoint is due after enough batches or producers, holds the state after the last batch, and not before it serves", async () => {
    const { api, topicId } = harness();
    await send(api, -1, -1);
    const log = api.partitions.find(topicId, 0);
    if (!(log instanceof PartitionLog)) throw new Error("not open");
    expect(log.takeCheckpoint(false)).toBeUndefined();
    for (let index = 1; index < CHECKPOINT_BATCHES; index++) await send(api, -1, -1);
    const due = log.takeCheckpoint(false);
    if (due === undefined) throw new Error("due");
    expect(decodeCheckpoint(due, tableCrc32c)).toMatchObject({
      endOffset: CHECKPOINT_BATCHES,
      leaderEpochs: [{ epoch: 0, startOffset: 0 }],
    });
    expect(log.takeCheckpoint(true)).toBeUndefined();
    for (let id = 0; id < CHECKPOINT_NEW_PRODUCERS; id++) await send(api, id, 0);
    expect(log.takeCheckpoint(false)).toBeDefined();
    const unopened = new PartitionLog({ topicId, partition: 1, term: 0, logStartOffset: 0, crc32c: tableCrc32c });
    unopened.attachStream(log.stream);
    unopened.replayBatch(readStoredBatch(viewOf(makeBatch()), 0), makeBatch(), 0);
    expect(unopened.takeCheckpoint(true)).toBeUndefined();
    unopened.startServing();
    expect(unopened.takeCheckpoint(true)).toBeDefined();
  });

  test("how many batches make a checkpoint due is an option", async () => {
    const { api, topicId } = harness();
    await send(api, -1, -1);
    const { stream } = api.partitions.find(topicId, 0) as PartitionLog;
    const log = new PartitionLog({ topicId, partition: 1, term: 0, logStartOffset: 0, crc32c: tableCrc32c, checkpointBatches: 2 });
    log.attachStream(stream);
    log.startServing();
    for (const isDue of [false, true]) {
      log.replayBatch(readStoredBatch(viewOf(makeBatch()), 0), makeBatch(), 0);
      expect(log.takeCheckpoint(false) !== undefined).toBe(isDue);
    }
  });

  test("a damaged checkpoint keeps the partition closed; it is not taken for none", async () => {
    const { api, topicId } = harness();
    await send(api, 7, 0);
    api.partitions.close();
    api.storage.checkpoints.set(`${topicId}-0`, new Uint8Array(40));
    const again = restart(api);
    expect(again.partitions.open(topicId, 0)).rejects.toThrow("checkpoint cannot be read");
    expect((await send(again, 7, 1))?.code).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
  });

  test("idle producers are forgotten by the timer", async () => {
    const { api, topicId } = harness();
    await send(api, 7, 0);
    const log = api.partitions.find(topicId, 0);
    if (!(log instanceof PartitionLog)) throw new Error("not open");
    await api.clock.advance(85_000_000);
    expect(log.producerCount).toBe(1);
    await api.clock.advance(3_000_000);
    expect(log.producerCount).toBe(0);
    expect(await send(api, 7, 55)).toEqual({ code: 0, offset: 1 });
  });

  test("offsets beyond 2^32, and epochs that each begin where the one before ended", async () => {
    const storage = new FakeStorage();
    const api = new ApiHarness({}, storage);
    const { topicId } = api.metadata.addTopic("t");
    const base = 2 ** 33;
    api.metadata.setPartition(topicId, 0, { committedEndOffset: base, logStartOffset: base, term: 1 });
    expect(await send(api, 7, 0, 3)).toEqual({ code: 0, offset: base });
    api.metadata.setPartition(topicId, 0, { term: 2 });
    expect(await send(api, 7, 0, 3)).toEqual({ code: 0, offset: base });
    expect(await send(api, 7, 3, 3)).toEqual({ code: 0, offset: base + 3 });
    const log = api.partitions.find(topicId, 0);
    if (!(log instanceof PartitionLog)) throw new Error("not open");
    expect(log.endOfEpoch(1)).toEqual({ epoch: 1, endOffset: base + 3 });
    expect(log.endOfEpoch(2)).toEqual({ epoch: 2, endOffset: base + 6 });
  });
});
