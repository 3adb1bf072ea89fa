/** DeleteRecords and retention on the executable: a log that begins later does so for every reader at once, and after kill -9 as well. */
import { expect } from "bun:test";
import {
  deleteRecordsApi,
  newDeleteRecordsPartition,
  newDeleteRecordsRequest,
  newDeleteRecordsTopic,
} from "../../src/protocol/messages/delete-records.ts";
import type { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchRecords, listOffset, produceBatch } from "../support/raw-client.ts";
import { encodeBatch } from "../support/record-batch.ts";
import { isExternal, ServerUnderTest, serverMissing } from "../support/server-under-test.ts";
import { testIf } from "../support/tools.ts";
import { hasWeir } from "../support/weir-process.ts";

const DAY_MS = 86_400_000;
const EARLIEST = -2n;
const server = ServerUnderTest.forThisFile({ settings: { "upload.interval.ms": "100", "log.retention.check.interval.ms": "200" } });

async function fill(connection: KafkaConnection, topic: string, count: number, ageMs: number): Promise<void> {
  for (let sent = 0; sent < count; sent++) {
    const batch = encodeBatch({ values: [`${ageMs}-${sent}`], timestampMs: Date.now() - ageMs });
    expect((await produceBatch(connection, topic, 0, batch)).errorCode).toBe(0);
  }
}

async function readStart(connection: KafkaConnection, topic: string): Promise<number> {
  return Number((await listOffset(connection, topic, 0, EARLIEST)).offset);
}

const run = testIf(hasWeir && !isExternal, serverMissing);

run("records past retention.ms go once they lie in objects; the log start is the same after kill -9", async () => {
  {
    using connection = await server.connect();
    await createTopicRaw(connection, "aged", { configs: { "retention.ms": String(DAY_MS) } });
    await fill(connection, "aged", 5, 3 * DAY_MS);
    while ((await readStart(connection, "aged")) < 5) await server.weir?.waitForLog("retention.applied");
    await fill(connection, "aged", 2, 0);
    expect((await fetchRecords(connection, "aged", 0, 0)).errorCode).toBe(1);
    expect((await fetchRecords(connection, "aged", 0, 5)).records.map((record) => String(record.value))).toEqual(["0-0", "0-1"]);
  }
  await server.restart("kill");
  using connection = await server.connect();
  expect(await readStart(connection, "aged")).toBe(5);
  expect((await fetchRecords(connection, "aged", 0, 5)).records).toHaveLength(2);
});

run("DeleteRecords is answered when it is for ever, also where the records were never uploaded", async () => {
  const remove = async (connection: KafkaConnection, offset: bigint) => {
    const topics = [newDeleteRecordsTopic({ name: "cut", partitions: [newDeleteRecordsPartition({ partitionIndex: 0, offset })] })];
    const answer = await connection.request(deleteRecordsApi, 2, newDeleteRecordsRequest({ topics, timeoutMs: 30_000 }));
    return answer.topics[0]?.partitions[0];
  };
  {
    using connection = await server.connect();
    await createTopicRaw(connection, "cut");
    await fill(connection, "cut", 10, 0);
    expect(await remove(connection, 7n)).toMatchObject({ errorCode: 0, lowWatermark: 7n });
    expect(await readStart(connection, "cut")).toBe(7);
  }
  await server.restart("kill");
  {
    using connection = await server.connect();
    expect(await readStart(connection, "cut")).toBe(7);
    expect((await fetchRecords(connection, "cut", 0, 6)).errorCode).toBe(1);
    expect((await fetchRecords(connection, "cut", 0, 7)).records).toHaveLength(3);
    expect(await remove(connection, -1n)).toMatchObject({ errorCode: 0, lowWatermark: 10n });
  }
  await server.restart("kill");
  using connection = await server.connect();
  expect(await readStart(connection, "cut")).toBe(10);
  await fill(connection, "cut", 1, 0);
  expect((await fetchRecords(connection, "cut", 0, 10)).records).toHaveLength(1);
});
