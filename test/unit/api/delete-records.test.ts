import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import {
  type DeleteRecordsPartitionResult,
  type DeleteRecordsResponse,
  newDeleteRecordsPartition,
  newDeleteRecordsRequest,
  newDeleteRecordsTopic,
} from "../../../src/protocol/messages/delete-records.ts";
import { newPartitionProduceData, newProduceRequest, newTopicProduceData } from "../../../src/protocol/messages/produce.ts";
import { ApiHarness } from "../support/api-harness.ts";
import { makeBatch } from "../support/record-batches.ts";

async function fill(api: ApiHarness, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent++) {
    const records = makeBatch({ records: [{ value: "v" }] });
    const topic = newTopicProduceData({ name: "t", partitionData: [newPartitionProduceData({ records })] });
    await api.call(0, newProduceRequest({ acks: -1, timeoutMs: 1000, topicData: [topic] }), 9);
  }
}

async function deleteRecords(api: ApiHarness, offset: bigint, name = "t", partitionIndex = 0): Promise<DeleteRecordsPartitionResult> {
  const partitions = [newDeleteRecordsPartition({ partitionIndex, offset })];
  const request = newDeleteRecordsRequest({ topics: [newDeleteRecordsTopic({ name, partitions })], timeoutMs: 1000 });
  const response = await api.callOverWire<DeleteRecordsResponse>(21, request, 2);
  const answer = response.topics[0]?.partitions[0];
  if (answer === undefined) throw new Error("no answer");
  return answer;
}

describe("DeleteRecords", () => {
  test("the log begins later once the metadata log says so; offsets out of range and below the start", async () => {
    const api = new ApiHarness();
    const { topicId } = api.metadata.addTopic("t");
    await fill(api, 5);
    expect(await deleteRecords(api, 3n)).toMatchObject({ errorCode: 0, lowWatermark: 3n });
    expect(api.metadata.image.getPartition(topicId, 0)?.logStartOffset).toBe(3);
    expect(await deleteRecords(api, 1n)).toMatchObject({ errorCode: 0, lowWatermark: 3n });
    expect(await deleteRecords(api, 6n)).toMatchObject({ errorCode: ErrorCodes.OFFSET_OUT_OF_RANGE, lowWatermark: -1n });
    expect(await deleteRecords(api, -2n)).toMatchObject({ errorCode: ErrorCodes.OFFSET_OUT_OF_RANGE, lowWatermark: -1n });
    expect(await deleteRecords(api, 2n ** 60n)).toMatchObject({ errorCode: ErrorCodes.OFFSET_OUT_OF_RANGE });
    expect(await deleteRecords(api, -1n)).toMatchObject({ errorCode: 0, lowWatermark: 5n });
  });

  test("is refused for unknown and internal topics, unknown partitions, foreign and compacted ones", async () => {
    const api = new ApiHarness();
    const topic = api.metadata.addTopic("t", 2);
    api.metadata.addTopic("c", 1, { "cleanup.policy": "compact" });
    api.metadata.addTopic("__consumer_offsets", 1);
    api.metadata.setPartition(topic.topicId, 1, { ownerNodeId: 2 });
    expect((await deleteRecords(api, 0n, "nowhere")).errorCode).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    expect((await deleteRecords(api, 0n, "t", 9)).errorCode).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    expect((await deleteRecords(api, 0n, "t", 1)).errorCode).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
    expect((await deleteRecords(api, 0n, "c")).errorCode).toBe(ErrorCodes.POLICY_VIOLATION);
    expect((await deleteRecords(api, 0n, "__consumer_offsets")).errorCode).toBe(ErrorCodes.INVALID_TOPIC_EXCEPTION);
  });

  test("that the metadata log does not take is a timeout, and changes nothing", async () => {
    const api = new ApiHarness();
    const { topicId } = api.metadata.addTopic("t");
    await fill(api, 2);
    api.metadata.failure = new Trouble({ code: "metadata-timeout", message: "not now", retryable: true });
    expect(await deleteRecords(api, 1n)).toMatchObject({ errorCode: ErrorCodes.REQUEST_TIMED_OUT, lowWatermark: -1n });
    expect(api.metadata.image.getPartition(topicId, 0)?.logStartOffset).toBe(0);
  });
});
