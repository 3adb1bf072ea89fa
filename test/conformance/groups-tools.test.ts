/** Kafka's own tools on our groups: kafka-consumer-groups, a console consumer, and the formatters that read __consumer_offsets; kcat as a member. */
import { expect } from "bun:test";
import { createTopicRaw, produceValues } from "../support/raw-client.ts";
import { ServerUnderTest, serverMissing } from "../support/server-under-test.ts";
import { hasTool, mustRunTool, testIf } from "../support/tools.ts";
import { hasWeir } from "../support/weir-process.ts";
import { hasKafkaTools, noKafkaTools, runKafkaTool } from "./clients.ts";

const server = ServerUnderTest.forThisFile({ settings: { "group.initial.rebalance.delay.ms": "0" } });
const RECORDS = 300;

async function fillTopic(topic: string): Promise<void> {
  using connection = await server.connect();
  await createTopicRaw(connection, topic, { partitions: 3 });
  for (let partition = 0; partition < 3; partition++) {
    const values = Array.from({ length: RECORDS / 3 }, (_, index) => `${partition}-${index}`);
    expect((await produceValues(connection, topic, partition, values)).errorCode).toBe(0);
  }
}

async function tool(name: string, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await runKafkaTool(name, ["--bootstrap-server", server.bootstrap, ...args]);
  return `${stdout}\n${stderr}`;
}

/** Rows of kafka-consumer-groups --describe: partition, current offset, lag. */
function rowsOf(described: string, group: string): string[][] {
  const lines = described.split("\n").filter((line) => line.startsWith(group));
  return lines.map((line) => line.trim().split(/\s+/)).map((cells) => [cells[2] ?? "", cells[3] ?? "", cells[5] ?? ""]);
}

const run = testIf(hasWeir && hasKafkaTools, hasWeir ? noKafkaTools : serverMissing);

run(
  "kafka-consumer-groups lists, describes, resets and deletes; OffsetsMessageFormatter reads the topic",
  async () => {
    await fillTopic("tools");
    const consumed = await tool(
      "console-consumer",
      ...["--topic", "tools", "--group", "tg", "--from-beginning", "--max-messages", String(RECORDS)],
    );
    expect(consumed).toContain(`Processed a total of ${RECORDS} messages`);
    const described = await tool("consumer-groups", "--describe", "--group", "tg");
    expect(rowsOf(described, "tg").sort()).toEqual(["0", "1", "2"].map((partition) => [partition, "100", "0"]));
    expect(await tool("consumer-groups", "--list", "--state")).toMatch(/tg\s+Empty/);
    await tool("consumer-groups", "--group", "tg", "--topic", "tools:1", "--reset-offsets", "--to-offset", "40", "--execute");
    expect(await tool("consumer-groups", "--group", "tg", "--delete-offsets", "--topic", "tools:2")).toContain("Successful");
    const reset = rowsOf(await tool("consumer-groups", "--describe", "--group", "tg"), "tg");
    expect(reset.sort()).toEqual([
      ["0", "100", "0"],
      ["1", "40", "60"],
    ]);

    const read = ["--topic", "__consumer_offsets", "--from-beginning", "--timeout-ms", "5000"];
    const offsets = await tool("console-consumer", ...[...read, "--formatter", "org.apache.kafka.tools.consumer.OffsetsMessageFormatter"]);
    expect(offsets).toContain('{"group":"tg","topic":"tools","partition":1}},"value":{"version":4,"data":{"offset":40,');
    expect(offsets).toContain('{"group":"tg","topic":"tools","partition":2}},"value":null}');
    const groups = await tool(
      "console-consumer",
      ...[...read, "--formatter", "org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter"],
    );
    expect(groups).toMatch(/"group":"tg"\}\},"value":\{"version":3,"data":\{"protocolType":"consumer","generation":1,"protocol":"range"/);

    expect(await tool("consumer-groups", "--delete", "--group", "tg")).toContain("was successful");
    expect(await tool("consumer-groups", "--list")).not.toMatch(/^tg$/m);
  },
  240_000,
);

testIf(hasWeir && hasTool("kcat"), hasWeir ? "needs the Debian package kcat" : serverMissing)(
  "kcat consumes as a group and goes on where it stopped",
  async () => {
    await fillTopic("kcat");
    const consume = (count: number, ...more: string[]) =>
      mustRunTool([
        "kcat",
        "-b",
        server.bootstrap,
        "-G",
        "kg",
        "-q",
        "-X",
        "auto.offset.reset=earliest",
        "-c",
        String(count),
        ...more,
        "kcat",
      ]);
    const first = (await consume(RECORDS / 2)).trim().split("\n");
    const rest = (await consume(RECORDS / 2)).trim().split("\n");
    expect(new Set([...first, ...rest]).size).toBe(RECORDS);
  },
  60_000,
);
