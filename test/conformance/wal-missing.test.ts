/**
 * A broker started with another WAL than its partitions were written with: they stay offline, visibly, and are back when the WAL is. No offset is given
 * twice meanwhile.
 */
import { expect } from "bun:test";
import { join } from "node:path";
import { ErrorCodes } from "../../src/protocol/error-codes.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchAll, produceValues } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { testIf } from "../support/tools.ts";
import { hasWeir, type WeirOptions, WeirProcess, weirMissing } from "../support/weir-process.ts";

testIf(hasWeir, weirMissing)("partitions whose WAL is missing", async () => {
  using folder = new TemporaryFolder("missing");
  const withWal = (name: string): WeirOptions => ({
    folder: folder.path,
    settings: { wal: `file:${join(folder.path, name)}?size=32MiB`, "object.store": `file:${join(folder.path, "objects")}` },
  });
  {
    await using weir = await WeirProcess.start(withWal("first"));
    using connection = await KafkaConnection.open(weir.kafkaPort);
    expect((await createTopicRaw(connection, "orders")).errorCode).toBe(0);
    expect((await produceValues(connection, "orders", 0, ["one"])).errorCode).toBe(0);
    await weir.kill();
  }
  {
    await using weir = WeirProcess.spawn(withWal("second"));
    await weir.waitForLog("broker.started");
    expect(weir.log()).toContain("wal.missing");
    const ready = await fetch(`http://127.0.0.1:${weir.httpPort}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.text()).toContain("partitions are offline until WAL ");
    using connection = await KafkaConnection.open(weir.kafkaPort);
    expect((await produceValues(connection, "orders", 0, ["two"])).errorCode).toBe(ErrorCodes.NOT_LEADER_OR_FOLLOWER);
    await weir.kill();
  }
  await using weir = await WeirProcess.start(withWal("first"));
  using connection = await KafkaConnection.open(weir.kafkaPort);
  expect((await fetchAll(connection, "orders", 0)).map((record) => record.value.toString())).toEqual(["one"]);
});
