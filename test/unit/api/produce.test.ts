import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import {
  newPartitionProduceData,
  newProduceRequest,
  newTopicProduceData,
  type ProduceResponse,
} from "../../../src/protocol/messages/produce.ts";
import { ApiHarness } from "../support/api-harness.ts";
import { settle } from "../support/manual-clock.ts";
import { BASE_TIME, makeBatch } from "../support/record-batches.ts";

function request(
  records: Uint8Array | null,
  fields: { acks?: number; topic?: string; topicId?: string; partition?: number; transactionalId?: string } = {},
) {
  const partitionData = [newPartitionProduceData({ index: fields.partition ?? 0, records })];
  const topic = newTopicProduceData({ name: fields.topic ?? "t", partitionData });
  if (fields.topicId !== undefined) topic.topicId = fields.topicId;
  return newProduceRequest({
    acks: fields.acks ?? -1,
    timeoutMs: 1000,
    topicData: [topic],
    transactionalId: fields.transactionalId ?? null,
  });
}

function first(response: ProduceResponse | undefined) {
  const partition = response?.responses[0]?.partitionResponses[0];
  if (partition === undefined) throw new Error("no partition in the answer");
  return partition;
}

function harness(settings: Record<string, string> = {}, configs: Record<string, string> = {}): ApiHarness {
  const made = new ApiHarness(settings);
  made.metadata.addTopic("t", 2, configs);
  return made;
}

describe("Produce", () => {
  test("appends, patches offset and epoch, and answers the base offset in every version", async () => {
    const api = harness();
    for (let version = 3; version <= 12; version++) {
      const response = await api.callOverWire<ProduceResponse>(
        0,
        request(makeBatch({ records: [{ value: "a" }, { value: "b" }] })),
        version,
      );
      expect(first(response)).toMatchObject({ errorCode: 0, baseOffset: BigInt((version - 3) * 2) });
    }
    const topicId = api.metadata.topics.get("t")?.topicId ?? "";
    const response = await api.callOverWire<ProduceResponse>(0, request(makeBatch(), { topicId }), 13);
    expect(first(response)).toMatchObject({ errorCode: 0, baseOffset: 20n });
    const stored = api.storage.stream(topicId, 0).batches[1]?.bytes ?? new Uint8Array(20);
    const view = new DataView(stored.buffer, stored.byteOffset);
    expect(view.getBigInt64(0)).toBe(2n);
    expect(view.getInt32(12)).toBe(0);
    expect(api.storage.openReservations).toBe(0);
  });

  test("only the admin client may write to the coordinators' topics", async () => {
    const api = harness();
    api.metadata.addTopic("__consumer_offsets", 1);
    const produce = async (clientId: string) => {
      const handler = api.handler(0);
      if (handler.kind !== "pipelined") throw new Error("Produce is pipelined");
      const made = request(makeBatch(), { topic: "__consumer_offsets" });
      return first(await handler.begin(made, { ...api.context(9), clientId }).answer).errorCode;
    };
    expect(await produce("rdkafka")).toBe(ErrorCodes.INVALID_TOPIC_EXCEPTION);
    expect(await produce("__admin_client")).toBe(ErrorCodes.NONE);
  });

  test("the answer waits for the device, acks=1 too, and the next request does not wait for it", async () => {
    const api = harness();
    await api.partitions.open(api.metadata.topics.get("t")?.topicId ?? "", 0);
    api.storage.isDurableAtOnce = false;
    for (const acks of [-1, 1]) {
      const handler = api.handler(0);
      if (handler.kind !== "pipelined") throw new Error("Produce is pipelined");
      let answered = 0;
      const begun = [1, 2, 3].map(() => handler.begin(request(makeBatch(), { acks }), api.context(9)));
      for (const { admitted, answer } of begun) {
        expect(admitted).toBeUndefined();
        answer.then(() => {
          answered += 1;
        });
      }
      await settle();
      expect(answered).toBe(0);
      api.storage.release();
      const offsets = await Promise.all(begun.map(async ({ answer }) => first(await answer).baseOffset));
      expect(offsets).toEqual(acks === -1 ? [0n, 1n, 2n] : [3n, 4n, 5n]);
    }
  });

  test("R1, R2: five in flight, any suffix replayed, the same offsets, each only once durable", async () => {
    const api = harness();
    await api.partitions.open(api.metadata.topics.get("t")?.topicId ?? "", 0);
    api.storage.isDurableAtOnce = false;
    const send = (sequence: number) =>
      api.call<ProduceResponse>(0, request(makeBatch({ producerId: 7n, producerEpoch: 0, baseSequence: sequence })), 9);
    const sent = [0, 1, 2, 3, 4].map(send);
    let answered = 0;
    const again = [1, 2, 3, 4].map((sequence) =>
      send(sequence).then((response) => {
        answered += 1;
        return first(response);
      }),
    );
    await settle();
    expect(answered).toBe(0);
    api.storage.release();
    expect((await Promise.all(sent)).map((response) => first(response).baseOffset)).toEqual([0n, 1n, 2n, 3n, 4n]);
    expect((await Promise.all(again)).map((partition) => [partition.errorCode, partition.baseOffset])).toEqual([
      [0, 1n],
      [0, 2n],
      [0, 3n],
      [0, 4n],
    ]);
    api.storage.isDurableAtOnce = true;
    expect(first(await send(6)).errorCode).toBe(ErrorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect(first(await send(5)).baseOffset).toBe(5n);
  });

  test("bytes that are no batch refuse the whole request, unless a transactional batch stands before them", async () => {
    const api = harness();
    const transactional = makeBatch({ attributes: 0x10, producerId: 1n, producerEpoch: 0, baseSequence: 0 });
    const send = async (batches: readonly Uint8Array[], transactionalId: string | null) => {
      const partitionData = batches.map((records, index) => newPartitionProduceData({ index, records }));
      const topicData = [newTopicProduceData({ name: "t", partitionData }), newTopicProduceData({ name: "none", partitionData })];
      const sent = newProduceRequest({ acks: -1, timeoutMs: 1000, topicData, transactionalId });
      const response = await api.call<ProduceResponse>(0, sent, 9);
      return response?.responses.map((topic) =>
        topic.partitionResponses.map((one) => [one.errorCode, one.errorMessage, one.logStartOffset]),
      );
    };
    const corrupt = [ErrorCodes.CORRUPT_MESSAGE, "Invalid magic found in record: 3", -1n];
    const bad = makeBatch({ magic: 3 });
    expect(await send([makeBatch(), bad], null)).toEqual([
      [corrupt, corrupt],
      [corrupt, corrupt],
    ]);
    const codes = (await send([transactional, bad], "id"))?.map((topic) => topic.map(([code]) => code));
    // There is no coordinator in these tests.
    expect(codes).toEqual([
      [ErrorCodes.NOT_ENOUGH_REPLICAS, ErrorCodes.CORRUPT_MESSAGE],
      [ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION, ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION],
    ]);
  });

  const cases: readonly [string, Uint8Array | null, number, number][] = [
    ["no records", null, 9, ErrorCodes.INVALID_RECORD],
    ["empty records", new Uint8Array(0), 9, ErrorCodes.INVALID_RECORD],
    ["a cut off batch", makeBatch().subarray(0, 60), 9, ErrorCodes.INVALID_RECORD],
    ["a piece of another batch behind it", Buffer.concat([makeBatch(), makeBatch().subarray(0, 40)]), 9, ErrorCodes.NONE],
    ["bytes behind it", Buffer.concat([makeBatch(), Buffer.alloc(11, 3)]), 9, ErrorCodes.NONE],
    [
      "bytes left over and a timestamp 2 h ahead",
      makeBatch({ baseTimestamp: BigInt(BASE_TIME + 7_200_000), trailer: Uint8Array.of(1, 2) }),
      9,
      ErrorCodes.INVALID_RECORD,
    ],
    ["two batches", Buffer.concat([makeBatch(), makeBatch()]), 9, ErrorCodes.INVALID_RECORD],
    ["magic 1", makeBatch({ magic: 1 }), 9, ErrorCodes.INVALID_RECORD],
    ["magic 3", makeBatch({ magic: 3 }), 9, ErrorCodes.CORRUPT_MESSAGE],
    ["a flipped bit", flipLast(makeBatch()), 9, ErrorCodes.CORRUPT_MESSAGE],
    ["a base offset", makeBatch({ baseOffset: 5n }), 9, ErrorCodes.INVALID_RECORD],
    ["a base offset of -2^63", makeBatch({ baseOffset: -(2n ** 63n) }), 9, ErrorCodes.INVALID_RECORD],
    ["a control batch", makeBatch({ attributes: 0x20 }), 9, ErrorCodes.INVALID_RECORD],
    ["a count that does not fit", makeBatch({ count: 2 }), 9, ErrorCodes.INVALID_RECORD],
    ["a count of 2^31 - 1", makeBatch({ count: 0x7fffffff, lastOffsetDelta: 0x7ffffffe }), 9, ErrorCodes.INVALID_RECORD],
    ["count 0", makeBatch({ count: 0, lastOffsetDelta: -1 }), 9, ErrorCodes.INVALID_RECORD],
    ["fewer records than counted", makeBatch({ count: 2, lastOffsetDelta: 1 }), 9, ErrorCodes.INVALID_RECORD],
    ["bytes after the records", makeBatch({ trailer: Uint8Array.of(1, 2) }), 9, ErrorCodes.INVALID_RECORD],
    ["a wrong offset delta", makeBatch({ records: [{ value: "a", offsetDelta: 3 }] }), 9, ErrorCodes.INVALID_RECORD],
    ["an offset delta of -2^31", makeBatch({ records: [{ value: "a", offsetDelta: -(2 ** 31) }] }), 9, ErrorCodes.INVALID_RECORD],
    ["a producer without sequence", makeBatch({ producerId: 1n, producerEpoch: 0 }), 9, ErrorCodes.INVALID_RECORD],
    [
      "a producer id of 2^63 - 1",
      makeBatch({ producerId: 2n ** 63n - 1n, producerEpoch: 0, baseSequence: 0 }),
      9,
      ErrorCodes.INVALID_RECORD,
    ],
    ["an unknown producer with epoch -1, as Kafka", makeBatch({ producerId: 1n, producerEpoch: -1, baseSequence: 0 }), 9, ErrorCodes.NONE],
    ["a producer with epoch -2", makeBatch({ producerId: 1n, producerEpoch: -2, baseSequence: 0 }), 9, ErrorCodes.INVALID_PRODUCER_EPOCH],
    [
      "a timestamp of 2^63 - 1",
      makeBatch({ baseTimestamp: 2n ** 63n - 1n, maxTimestamp: 2n ** 63n - 1n }),
      9,
      ErrorCodes.INVALID_TIMESTAMP,
    ],
    ["a timestamp of -2^63", makeBatch({ baseTimestamp: -(2n ** 63n), maxTimestamp: 0n }), 9, ErrorCodes.INVALID_TIMESTAMP],
    ["a timestamp 2 h ahead", makeBatch({ baseTimestamp: BigInt(BASE_TIME + 7_200_000) }), 9, ErrorCodes.INVALID_TIMESTAMP],
    [
      "a transactional batch",
      makeBatch({ attributes: 0x10, producerId: 1n, producerEpoch: 0, baseSequence: 0 }),
      9,
      ErrorCodes.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    ],
    ["zstd in v6", makeBatch({ codec: 4 }), 6, ErrorCodes.UNSUPPORTED_COMPRESSION_TYPE],
    ["zstd in v7", makeBatch({ codec: 4 }), 7, ErrorCodes.NONE],
    ["codec 6", makeBatch({ attributes: 6 }), 9, ErrorCodes.UNSUPPORTED_COMPRESSION_TYPE],
    ["gzip of nonsense", makeBatch({ attributes: 1 }), 9, ErrorCodes.INVALID_RECORD],
    ["an empty key, value and header", makeBatch({ records: [{ key: "", value: "", headers: [["h", ""]] }] }), 9, ErrorCodes.NONE],
    ["a timestamp of -1", makeBatch({ baseTimestamp: -1n, maxTimestamp: -1n }), 9, ErrorCodes.NONE],
  ];
  for (const [name, records, version, code] of cases) {
    test(`${name}: ${code}`, async () => {
      const api = harness();
      expect(first(await api.call<ProduceResponse>(0, request(records), version)).errorCode).toBe(code);
      expect(first(await api.call<ProduceResponse>(0, request(makeBatch()), 9)).baseOffset).toBe(code === 0 ? 1n : 0n);
    });
  }

  test("too large, unknown topic and partition, invalid acks", async () => {
    const api = harness({}, { "max.message.bytes": "100" });
    const large = makeBatch({ records: [{ value: "x".repeat(200) }] });
    const largeInNoCodec = makeBatch({ records: [{ value: "x".repeat(200) }], attributes: 6 });
    for (const batch of [large, largeInNoCodec]) {
      expect(first(await api.call<ProduceResponse>(0, request(batch), 9)).errorCode).toBe(ErrorCodes.MESSAGE_TOO_LARGE);
    }
    expect(first(await api.call<ProduceResponse>(0, request(makeBatch(), { topic: "u" }), 9)).errorCode).toBe(
      ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION,
    );
    for (const partition of [2, -1, 0x7fffffff]) {
      expect(first(await api.call<ProduceResponse>(0, request(makeBatch(), { partition }), 9)).errorCode).toBe(
        ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION,
      );
    }
    const stranger = "CQkJCQkJCQkJCQkJCQkJCQ";
    expect(first(await api.call<ProduceResponse>(0, request(makeBatch(), { topicId: stranger }), 13)).errorCode).toBe(
      ErrorCodes.UNKNOWN_TOPIC_ID,
    );
    for (const acks of [2, -2, 32767]) {
      expect(first(await api.call<ProduceResponse>(0, request(makeBatch(), { acks }), 9)).errorCode).toBe(ErrorCodes.INVALID_REQUIRED_ACKS);
    }
    // As Kafka: what is no batch at all is said before.
    const noBatch = request(makeBatch({ magic: 1 }), { acks: 2 });
    expect(first(await api.call<ProduceResponse>(0, noBatch, 9)).errorCode).toBe(ErrorCodes.INVALID_RECORD);
    const noCodec = request(makeBatch({ attributes: 6 }), { acks: 2 });
    expect(first(await api.call<ProduceResponse>(0, noCodec, 9)).errorCode).toBe(ErrorCodes.INVALID_REQUIRED_ACKS);
  });

  test("single records at fault are named; the time out of range is told in Kafka's words", async () => {
    const api = harness({}, { "cleanup.policy": "compact" });
    const response = first(await api.call<ProduceResponse>(0, request(makeBatch({ records: [{ key: "k" }, { value: "no key" }] })), 9));
    expect(response.errorCode).toBe(ErrorCodes.INVALID_RECORD);
    expect(response.recordErrors).toEqual([
      { batchIndex: 1, batchIndexErrorMessage: "Compacted topic cannot accept message without key in topic partition t-0" },
    ]);
    expect(response.errorMessage).toBe(
      "One or more records have been rejected due to 1 record errors in total, and only showing the first three errors at most: [RecordError(batchIndex=1, message='Compacted topic cannot accept message without key in topic partition t-0')]",
    );
    const early = makeBatch({ records: [{ key: "k" }], baseTimestamp: BigInt(BASE_TIME) + 4_000_000n });
    const late = first(await api.call<ProduceResponse>(0, request(early), 9));
    expect(late.errorMessage).toBe("One or more records have been rejected due to invalid timestamp");
    const now = BigInt(api.clock.wallMs());
    const from = BigInt.asIntN(64, now - (2n ** 63n - 1n));
    expect(late.recordErrors[0]?.batchIndexErrorMessage).toBe(
      `Timestamp ${BASE_TIME + 4_000_000} of message with offset 0 is out of range. The timestamp should be within [${from}, ${now + 3_600_000n}]`,
    );
  });

  test("LogAppendTime stamps the batch and computes its CRC anew; a wrong max timestamp is put right", async () => {
    const stamped = harness({}, { "message.timestamp.type": "LogAppendTime" });
    const now = stamped.clock.wallMs();
    const answer = first(await stamped.call<ProduceResponse>(0, request(makeBatch({ baseTimestamp: 5n })), 9));
    expect(answer.logAppendTimeMs).toBe(BigInt(now));
    const corrected = harness();
    await corrected.call(0, request(makeBatch({ maxTimestamp: 3n })), 9);
    for (const [api, expected] of [
      [stamped, now],
      [corrected, BASE_TIME],
    ] as const) {
      const bytes = api.storage.stream(api.metadata.topics.get("t")?.topicId ?? "", 0).batches[0]?.bytes ?? new Uint8Array();
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      expect(view.getBigInt64(35)).toBe(BigInt(expected));
      expect(view.getInt16(21) & 8).toBe(api === stamped ? 8 : 0);
      expect(api.services.crc32c(bytes, 21, bytes.length)).toBe(view.getUint32(17));
    }
  });

  test("acks=0 answers nothing, and an error closes the connection", async () => {
    const api = harness();
    expect(await api.call(0, request(makeBatch(), { acks: 0 }), 9)).toBeUndefined();
    expect(api.call(0, request(makeBatch(), { acks: 0, topic: "u" }), 9)).rejects.toThrow("acks=0");
  });

  test("a full ring holds the request and those behind it; room that never comes is a retriable timeout", async () => {
    const api = harness();
    const topicId = api.metadata.topics.get("t")?.topicId ?? "";
    await api.partitions.open(topicId, 0);
    api.storage.hasRoom = false;
    const handler = api.handler(0);
    if (handler.kind !== "pipelined") throw new Error("Produce is pipelined");
    const held = handler.begin(request(makeBatch()), api.context(9));
    expect(held.admitted).toBeDefined();
    api.storage.grant();
    await held.admitted;
    expect(first(await held.answer).baseOffset).toBe(0n);
    api.storage.hasRoom = false;
    const late = handler.begin(request(makeBatch()), api.context(9));
    await settle();
    await api.clock.advance(1001);
    expect(first(await late.answer).errorCode).toBe(ErrorCodes.REQUEST_TIMED_OUT);
    expect(api.storage.stream(topicId, 0).nextOffset).toBe(1);
  });

  test("what was sent behind a new producer's refused batch does not overtake it", async () => {
    const api = harness();
    const topicId = api.metadata.topics.get("t")?.topicId ?? "";
    const readCheckpoint = api.storage.readCheckpoint.bind(api.storage);
    let isReadable = false;
    api.storage.readCheckpoint = (id) =>
      isReadable ? readCheckpoint(id) : Promise.reject(new Trouble({ code: "store-unavailable", message: "no bucket", retryable: true }));
    const handler = api.handler(0);
    if (handler.kind !== "pipelined") throw new Error("Produce is pipelined");
    const begin = (producerId: bigint, baseSequence: number, producerEpoch = 0) =>
      handler.begin(request(makeBatch({ producerId, producerEpoch, baseSequence })), api.context(9));
    const send = async (producerId: bigint, baseSequence: number, producerEpoch = 0) =>
      first(await begin(producerId, baseSequence, producerEpoch).answer).errorCode;

    const refused = begin(7n, 0);
    await refused.admitted;
    isReadable = true;
    expect(await send(7n, 1)).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
    expect(first(await refused.answer).errorCode).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
    expect(await send(7n, 2)).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
    expect(await send(8n, 5)).toBe(ErrorCodes.NONE);
    expect([await send(7n, 0), await send(7n, 1), await send(7n, 2)]).toEqual([0, 0, 0]);
    expect(await send(7n, 4)).toBe(ErrorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect(api.storage.stream(topicId, 0).nextOffset).toBe(4);
    expect(api.storage.openReservations).toBe(0);
  });

  test("a new producer whose batch waited in vain for room keeps its order; a new epoch begins anew", async () => {
    const api = harness();
    const topicId = api.metadata.topics.get("t")?.topicId ?? "";
    await api.partitions.open(topicId, 0);
    const send = async (baseSequence: number, producerEpoch: number) => {
      const batch = makeBatch({ producerId: 7n, producerEpoch, baseSequence });
      return first(await api.call<ProduceResponse>(0, request(batch), 9)).errorCode;
    };
    api.storage.hasRoom = false;
    const late = send(3, 0);
    await settle();
    await api.clock.advance(1001);
    expect(await late).toBe(ErrorCodes.REQUEST_TIMED_OUT);
    api.storage.grant();
    expect(await send(4, 0)).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
    expect(await send(0, 1)).toBe(ErrorCodes.NONE);
    expect(await send(1, 1)).toBe(ErrorCodes.NONE);
  });

  test("a partition that moves while its batch waits for room is not appended to", async () => {
    const api = harness();
    const topicId = api.metadata.topics.get("t")?.topicId ?? "";
    await api.partitions.open(topicId, 0);
    const stream = api.storage.stream(topicId, 0);
    api.storage.hasRoom = false;
    const held = api.call<ProduceResponse>(0, request(makeBatch()), 9);
    await settle();
    api.metadata.setPartition(topicId, 0, { ownerNodeId: 2, term: 1 });
    api.storage.grant();
    expect(first(await held).errorCode).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
    expect(stream.nextOffset).toBe(0);
    expect(api.storage.openReservations).toBe(0);
  });

  test("R7: a failed device is a retriable answer, never UNKNOWN_SERVER_ERROR; a partition that moved names its leader", async () => {
    const api = harness();
    const topicId = api.metadata.topics.get("t")?.topicId ?? "";
    await api.partitions.open(topicId, 0);
    api.storage.isDurableAtOnce = false;
    const answer = api.call<ProduceResponse>(0, request(makeBatch()), 9);
    await settle();
    api.storage.fail();
    expect(first(await answer)).toMatchObject({ errorCode: ErrorCodes.REQUEST_TIMED_OUT, baseOffset: -1n });
    api.metadata.setPartition(topicId, 0, { ownerNodeId: 2, term: 4 });
    const moved = first(await api.call<ProduceResponse>(0, request(makeBatch()), 10));
    expect(moved).toMatchObject({ errorCode: ErrorCodes.NOT_LEADER_OR_FOLLOWER, currentLeader: { leaderId: 2, leaderEpoch: 4 } });
  });
});

function flipLast(bytes: Uint8Array): Uint8Array {
  const at = bytes.length - 1;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
}
