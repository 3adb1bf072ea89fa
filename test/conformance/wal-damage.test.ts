/**
 * The executable on a WAL with a flipped bit in the middle: it serves what is unharmed, holds what may have lost acknowledged records with a retriable
 * error, says so, and moves on when the held topics are deleted.
 */
import { expect } from "bun:test";
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { ErrorCodes } from "../../src/protocol/error-codes.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, deleteTopicRaw, fetchAll, fetchRecords, produceValues } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { runTool, testIf } from "../support/tools.ts";
import { hasWeir, type WeirOptions, WeirProcess, weirExecutable, weirMissing } from "../support/weir-process.ts";

const values = (topic: string, count: number): string[] => Array.from({ length: count }, (_, index) => `record ${index} of ${topic}`);

/** Flips one bit of the only place that holds `text`. */
function flipWhere(file: string, text: string): void {
  const content = readFileSync(file);
  const at = content.indexOf(text);
  expect(at).toBeGreaterThan(0);
  expect(content.indexOf(text, at + 1)).toBe(-1);
  const descriptor = openSync(file, "r+");
  writeSync(descriptor, Uint8Array.of((content[at] ?? 0) ^ 1), 0, 1, at);
  closeSync(descriptor);
}

testIf(hasWeir, weirMissing)("a flipped bit in the middle of the WAL", async () => {
  using folder = new TemporaryFolder("damage");
  const file = join(folder.path, "wal");
  const options: WeirOptions = { folder: folder.path, settings: { wal: `file:${file}?size=32MiB`, "upload.interval.ms": "600000" } };
  {
    await using weir = await WeirProcess.start(options);
    using connection = await KafkaConnection.open(weir.kafkaPort);
    for (const topic of ["whole", "hurt"]) expect((await createTopicRaw(connection, topic)).errorCode).toBe(0);
    for (let index = 0; index < 6; index++) {
      for (const topic of ["whole", "hurt"]) {
        if (topic === "hurt" && index > 2) continue;
        expect((await produceValues(connection, topic, 0, [`record ${index} of ${topic}`])).errorCode).toBe(0);
      }
    }
    await weir.kill();
  }
  flipWhere(file, "record 2 of hurt");
  const verified = await runTool([weirExecutable, "wal", "verify", file]);
  expect([verified.exitCode, verified.stdout]).toEqual([1, expect.stringContaining("damaged")]);

  await using weir = WeirProcess.spawn(options);
  await weir.waitForLog("broker.started");
  expect(weir.log()).toContain("wal.damaged");
  await weir.waitForLog("stream-damaged");
  const readiness = await (await fetch(`http://127.0.0.1:${weir.httpPort}/readyz`)).text();
  expect(readiness).toContain("the WAL is damaged, and 1 partitions are held");
  expect(await weir.readMetric("weir_held_partitions")).toBe(1);
  using connection = await KafkaConnection.open(weir.kafkaPort);
  expect((await fetchAll(connection, "whole", 0)).map((record) => record.value.toString())).toEqual(values("whole", 6));
  expect((await produceValues(connection, "whole", 0, ["record 6 of whole"])).errorCode).toBe(0);
  expect((await produceValues(connection, "hurt", 0, ["never taken"])).errorCode).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
  expect((await fetchRecords(connection, "hurt", 0, 0)).errorCode).toBe(ErrorCodes.KAFKA_STORAGE_ERROR);
  expect((await createTopicRaw(connection, "later")).errorCode).toBe(0);
  expect((await produceValues(connection, "later", 0, ["taken"])).errorCode).toBe(0);

  expect(await deleteTopicRaw(connection, "hurt")).toBe(0);
  while (!(await weir.isReady())) await Bun.sleep(20);
  expect(await weir.stop()).toBe(0);

  await using again = await WeirProcess.start(options);
  expect(again.log()).not.toContain("wal.damaged");
  using reader = await KafkaConnection.open(again.kafkaPort);
  expect((await fetchAll(reader, "whole", 0)).map((record) => record.value.toString())).toEqual(values("whole", 7));
  expect((await fetchAll(reader, "later", 0)).map((record) => record.value.toString())).toEqual(["taken"]);
});
