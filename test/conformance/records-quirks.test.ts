/** What clients are known to depend on in Produce, Fetch and ListOffsets, one test each, over raw connections. */
import { describe, expect } from "bun:test";
import { ErrorCodes } from "../../src/protocol/error-codes.ts";
import { fetchApi } from "../../src/protocol/messages/fetch.ts";
import { produceApi } from "../../src/protocol/messages/produce.ts";
import {
  createTopicRaw,
  fetchAll,
  fetchRecords,
  fetchRequest,
  initProducerId,
  listOffset,
  produceBatch,
  produceRequest,
  produceValues,
  produceVersion,
} from "../support/raw-client.ts";
import { encodeBatch } from "../support/record-batch.ts";
import { hasServer, isExternal, ServerUnderTest, serverMissing, uniqueName } from "../support/server-under-test.ts";
import { testIf } from "../support/tools.ts";

const server = ServerUnderTest.forThisFile();
const check = testIf(hasServer, serverMissing);
const checkOurs = testIf(hasServer && !isExternal, isExternal ? "about Weir alone" : serverMissing);

const zstd = 4;
const zstdBatch = () => encodeBatch({ values: ["compressed"], attributes: zstd, compress: (records) => Bun.zstdCompressSync(records) });

/** A connection and a topic of its own with one partition that serves. */
async function withTopic(configs: Readonly<Record<string, string>> = {}) {
  const connection = await server.connect();
  const topic = uniqueName("records");
  const { errorCode } = await createTopicRaw(connection, topic, { configs });
  expect(errorCode).toBe(0);
  if (isExternal) await Bun.sleep(300);
  return { connection, topic, [Symbol.dispose]: () => connection.close() };
}

describe("compression by version", () => {
  check("zstd below Produce 7 is refused", async () => {
    using made = await withTopic();
    const { connection, topic } = made;
    for (let version = 3; version <= 6; version++) {
      expect((await produceBatch(connection, topic, 0, zstdBatch(), version)).errorCode).toBe(ErrorCodes.UNSUPPORTED_COMPRESSION_TYPE);
    }
    expect((await produceBatch(connection, topic, 0, zstdBatch(), 7)).errorCode).toBe(0);
  });

  // Apache Kafka 4.4 hands zstd to any version; the clients that speak the old ones cannot read it (KIP-110).
  checkOurs("zstd records are refused below Fetch 10", async () => {
    using made = await withTopic();
    const { connection, topic } = made;
    expect((await produceBatch(connection, topic, 0, zstdBatch())).errorCode).toBe(0);
    for (const version of [4, 9]) {
      const answer = await connection.request(fetchApi, version, fetchRequest(topic, 0, 0));
      expect(answer.responses[0]?.partitions[0]?.errorCode).toBe(ErrorCodes.UNSUPPORTED_COMPRESSION_TYPE);
    }
    const answer = await connection.request(fetchApi, 10, fetchRequest(topic, 0, 0));
    expect(answer.responses[0]?.partitions[0]?.errorCode).toBe(0);
  });
});

describe("Produce", () => {
  check("acks 0 has no answer and the record arrives; acks 1 and all are answered with the offset", async () => {
    using made = await withTopic();
    const { connection, topic } = made;
    connection.sendRequest(produceApi, produceVersion, produceRequest(topic, 0, encodeBatch({ values: ["0"] }), 0));
    const one = await connection.request(produceApi, produceVersion, produceRequest(topic, 0, encodeBatch({ values: ["1"] }), 1));
    expect(one.responses[0]?.partitionResponses[0]).toMatchObject({ errorCode: 0, baseOffset: 1n });
    expect(await produceValues(connection, topic, 0, ["all"])).toEqual({ errorCode: 0, baseOffset: 2 });
    expect((await fetchAll(connection, topic, 0)).map((record) => record.value.toString())).toEqual(["0", "1", "all"]);
  });

  check("other acks get INVALID_REQUIRED_ACKS", async () => {
    using made = await withTopic();
    const { connection, topic } = made;
    for (const acks of [2, -2]) {
      const answer = await connection.request(produceApi, produceVersion, produceRequest(topic, 0, encodeBatch({ values: ["x"] }), acks));
      expect(answer.responses[0]?.partitionResponses[0]?.errorCode).toBe(ErrorCodes.INVALID_REQUIRED_ACKS);
    }
  });

  check("an unknown topic or partition gets UNKNOWN_TOPIC_OR_PARTITION", async () => {
    using made = await withTopic();
    const { connection, topic } = made;
    expect((await produceValues(connection, topic, 5, ["x"])).errorCode).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    expect((await produceValues(connection, uniqueName("absent"), 0, ["x"])).errorCode).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
  });

  check("a batch whose checksum is wrong gets CORRUPT_MESSAGE and leaves nothing behind", async () => {
    using made = await withTopic();
    const { connection, topic } = made;
    const batch = encodeBatch({ values: ["damaged"] });
    batch[70] = (batch[70] ?? 0) ^ 0xff;
    expect((await produceBatch(connection, topic, 0, batch)).errorCode).toBe(ErrorCodes.CORRUPT_MESSAGE);
    expect((await listOffset(connection, topic, 0, -1n)).offset).toBe(0n);
  });

  check("a batch above max.message.bytes gets MESSAGE_TOO_LARGE", async () => {
    using made = await withTopic({ "max.message.bytes": "1000" });
    const { connection, topic } = made;
    expect((await produceValues(connection, topic, 0, ["x".repeat(2000)])).errorCode).toBe(ErrorCodes.MESSAGE_TOO_LARGE);
    expect((await produceValues(connection, topic, 0, ["x".repeat(500)])).errorCode).toBe(0);
  });

  check("idempotence: a repeated batch gets its first offset, five deep; a gap gets OUT_OF_ORDER_SEQUENCE_NUMBER", async () => {
    using made = await withTopic();
    const { connection, topic } = made;
    const identity = await initProducerId(connection);
    const batch = (sequence: number) => encodeBatch({ values: [`s${sequence}`, "second"], ...identity, baseSequence: sequence });
    for (let sequence = 0; sequence < 12; sequence += 2) {
      expect(await produceBatch(connection, topic, 0, batch(sequence))).toEqual({ errorCode: 0, baseOffset: sequence });
    }
    for (let sequence = 2; sequence < 12; sequence += 2) {
      expect(await produceBatch(connection, topic, 0, batch(sequence))).toEqual({ errorCode: 0, baseOffset: sequence });
    }
    expect((await produceBatch(connection, topic, 0, batch(20))).errorCode).toBe(ErrorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect((await listOffset(connection, topic, 0, -1n)).offset).toBe(12n);
  });

  checkOurs("the window of repeated batches survives kill -9", async () => {
    const topic = uniqueName("window");
    const before = await server.connect();
    await createTopicRaw(before, topic);
    const identity = await initProducerId(before);
    const batch = (sequence: number) => encodeBatch({ values: [`s${sequence}`], ...identity, baseSequence: sequence });
    for (let sequence = 0; sequence < 7; sequence++)
      expect((await produceBatch(before, topic, 0, batch(sequence))).baseOffset).toBe(sequence);
    await server.restart("kill");
    using after = await server.connect();
    for (let sequence = 2; sequence < 7; sequence++) {
      expect(await produceBatch(after, topic, 0, batch(sequence))).toEqual({ errorCode: 0, baseOffset: sequence });
    }
    expect(await produceBatch(after, topic, 0, batch(7))).toEqual({ errorCode: 0, baseOffset: 7 });
    expect(await initProducerId(after)).not.toEqual(identity);
  });
});

describe("Fetch and ListOffsets", () => {
  check("the first batch comes whole, above max.bytes", async () => {
    using made = await withTopic();
    const { connection, topic } = made;
    await produceValues(connection, topic, 0, ["x".repeat(5000)]);
    await produceValues(connection, topic, 0, ["y".repeat(5000)]);
    const fetched = await fetchRecords(connection, topic, 0, 0, { maxBytes: 100 });
    expect(fetched.records.map((record) => record.value.length)).toEqual([5000]);
  });

  check("an offset outside the log gets OFFSET_OUT_OF_RANGE; at its end the fetch waits and is empty", async () => {
    using made = await withTopic();
    const { connection, topic } = made;
    await produceValues(connection, topic, 0, ["x"]);
    for (const offset of [-1, 2, 2 ** 52]) {
      expect((await fetchRecords(connection, topic, 0, offset)).errorCode).toBe(ErrorCodes.OFFSET_OUT_OF_RANGE);
    }
    expect(await fetchRecords(connection, topic, 0, 1, { maxWaitMs: 1 })).toMatchObject({ errorCode: 0, highWatermark: 1, records: [] });
  });

  check("a waiting fetch is answered by the record it waits for", async () => {
    using made = await withTopic();
    const { connection, topic } = made;
    using waiting = await server.connect();
    const fetched = fetchRecords(waiting, topic, 0, 0, { maxWaitMs: 120_000 });
    await produceValues(connection, topic, 0, ["here"]);
    expect((await fetched).records.map((record) => record.value.toString())).toEqual(["here"]);
  });

  check("ListOffsets: earliest, latest, by time, and -1 for a time after the last record", async () => {
    using made = await withTopic();
    const { connection, topic } = made;
    const now = Date.now();
    for (const [index, timestampMs] of [now - 3000, now - 2000, now - 1000].entries()) {
      expect((await produceBatch(connection, topic, 0, encodeBatch({ values: [`${index}`], timestampMs }))).errorCode).toBe(0);
    }
    expect(await listOffset(connection, topic, 0, -2n)).toMatchObject({ errorCode: 0, offset: 0n });
    expect(await listOffset(connection, topic, 0, -1n)).toMatchObject({ errorCode: 0, offset: 3n });
    expect(await listOffset(connection, topic, 0, BigInt(now - 2500))).toMatchObject({
      errorCode: 0,
      offset: 1n,
      timestamp: BigInt(now - 2000),
    });
    expect(await listOffset(connection, topic, 0, -3n)).toMatchObject({ errorCode: 0, offset: 2n, timestamp: BigInt(now - 1000) });
    expect(await listOffset(connection, topic, 0, BigInt(now + 5000))).toMatchObject({ errorCode: 0, offset: -1n, timestamp: -1n });
  });
});
