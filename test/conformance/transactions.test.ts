/**
 * Transactions on the executable: other people's transactional producers, Kafka's own tools for them, both generations by raw requests, and the two clocks
 * of the coordinator; case R8 with a broker that is killed. What consumers are given is read by raw requests with read_committed.
 */
import { describe, expect } from "bun:test";
import { newOffsetFetchRequest, newOffsetFetchRequestTopic, offsetFetchApi } from "../../src/protocol/messages/offset-fetch.ts";
import type { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, produceValues } from "../support/raw-client.ts";
import { hasServer, ServerUnderTest, serverMissing, uniqueName } from "../support/server-under-test.ts";
import { mustRunTool, testIf } from "../support/tools.ts";
import { clientsWithTransactions, hasKafkaTools, noKafkaTools, runKafkaTool } from "./clients.ts";
import { describeTransaction, type Generation, insist, RawTransactionalProducer, readCommitted, waitSettled } from "./transactions-raw.ts";

const INVALID_PRODUCER_EPOCH = 47;
const INVALID_TXN_STATE = 48;
const PRODUCER_FENCED = 90;
const TRANSACTIONAL_ID_NOT_FOUND = 105;
const INPUTS = Array.from({ length: 10 }, (_, index) => `in-${index}`);

const runIf = testIf(hasServer, serverMissing);
const runTools = testIf(hasServer && hasKafkaTools, hasServer ? noKafkaTools : serverMissing);

async function committedOffset(connection: KafkaConnection, groupId: string, topic: string): Promise<number> {
  const topics = [newOffsetFetchRequestTopic({ name: topic, partitionIndexes: [0] })];
  const found = await insist(
    () => connection.request(offsetFetchApi, 7, newOffsetFetchRequest({ groupId, topics, requireStable: true })),
    ({ errorCode, topics: [first] }) => (errorCode === 0 ? (first?.partitions[0]?.errorCode ?? -1) : errorCode),
  );
  return Number(found.topics[0]?.partitions[0]?.committedOffset);
}

describe("transactional producers", () => {
  const server = ServerUnderTest.forThisFile({ settings: { "group.initial.rebalance.delay.ms": "0" } });

  for (const client of clientsWithTransactions) {
    testIf(hasServer && client.missing === undefined, client.missing ?? serverMissing)(
      `${client.name}: commits, aborts, and copies with offsets in one transaction`,
      async () => {
        await client.prepare();
        using connection = await server.connect();
        const name = uniqueName(client.name);
        const [input, output] = [`${name}-in`, `${name}-out`];
        for (const topic of [input, output]) await createTopicRaw(connection, topic);
        expect((await produceValues(connection, input, 0, INPUTS)).errorCode).toBe(0);
        const said = await mustRunTool([...client.command, server.bootstrap, input, output, name], { timeoutMs: 60_000 });
        expect(said).toContain("done");
        expect(await waitSettled(connection, name)).toBe("CompleteCommit");
        const written = [0, 1, 2].flatMap((transaction) => [0, 1, 2, 3, 4].map((index) => `c${transaction}-${index}`));
        const { values } = await readCommitted(connection, output);
        expect(values).toEqual([...written, ...INPUTS.map((value) => `copy-${value}`)]);
        expect(await committedOffset(connection, name, input)).toBe(INPUTS.length);
      },
      300_000,
    );
  }

  for (const generation of [1, 2] as const) {
    runIf(
      `R8, generation ${generation}: the reply to EndTxn is lost and the broker killed: the offset is the new one, never the old`,
      async () => {
        const name = uniqueName("lost-reply");
        for (let round = 1; round <= 3; round++) {
          const first = await server.connect();
          if (round === 1) await createTopicRaw(first, name);
          const producer = new RawTransactionalProducer(first, name, generation);
          expect(await producer.init()).toBe(0);
          expect(await producer.produce(name, [`value ${round}`])).toBe(0);
          expect(await producer.commitOffset(name, name, round)).toBe(0);
          producer.endUnseen(true);
          // In one round the broker is killed at once, in the others with the end under way or behind it.
          using other = await server.connect();
          for (let look = 1; look < round; look++) await describeTransaction(other, name);
          await server.restart("kill");
          using connection = await server.connect();
          expect(await producer.over(connection).end(true)).toBe(0);
          expect(await waitSettled(connection, name)).toBe("CompleteCommit");
          expect(await committedOffset(connection, name, name)).toBe(round);
          expect((await readCommitted(connection, name)).values).toHaveLength(round);
        }
      },
    );
  }

  runTools(
    "Java: kafka-producer-perf-test in transactions of 20 ms, and the copier with aborts of its own",
    async () => {
      using connection = await server.connect();
      const [written, input, output] = [uniqueName("perf"), uniqueName("plain"), uniqueName("copied")];
      for (const topic of [written, input, output]) await createTopicRaw(connection, topic);
      const load = ["--topic", written, "--num-records", "500", "--record-size", "10", "--throughput", "1000"];
      const perf = await runKafkaTool("producer-perf-test", [
        ...[...load, "--transaction-duration-ms", "20", "--transactional-id", "perf", "--bootstrap-server", server.bootstrap],
      ]);
      expect(perf).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("500 records sent") });
      const { values, lastStableOffset } = await readCommitted(connection, written);
      expect(values).toHaveLength(500);
      // Half a second of records: several transactions, each with its marker.
      expect(lastStableOffset).toBeGreaterThan(501);

      // The copier counts offsets: without markers in between.
      const plain = Array.from({ length: 200 }, (_, index) => `plain-${index}`);
      expect((await produceValues(connection, input, 0, plain)).errorCode).toBe(0);
      const copier = ["--broker-list", server.bootstrap, "--input-topic", input, "--input-partition", "0", "--output-topic", output];
      const copy = ["--consumer-group", "copier", "--transactional-id", "copier", "--transaction-size", "20", "--enable-random-aborts"];
      const copied = await runKafkaTool("transactional-message-copier", [...copier, ...copy, "--use-group-metadata"]);
      expect(copied).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('"ShutdownComplete"') });
      await waitSettled(connection, "copier");
      expect((await readCommitted(connection, output)).values).toEqual(plain);
      expect(await committedOffset(connection, "copier", input)).toBe(plain.length);
    },
    240_000,
  );
});

describe("Kafka's tools", () => {
  /** Without verification a producer can write what no coordinator knows of: how hanging transactions came about. */
  const server = ServerUnderTest.forThisFile({ settings: { "transaction.partition.verification.enable": "false" } });
  const tool = async (...args: string[]): Promise<string> => {
    const { stdout, stderr, exitCode } = await runKafkaTool("transactions", ["--bootstrap-server", server.bootstrap, ...args]);
    if (exitCode !== 0) throw new Error(`${args.join(" ")} exited with ${exitCode}:\n${stdout}\n${stderr}`);
    return stdout;
  };
  /** Cells of a table that a tool prints, by its columns' names. */
  const rowsOf = (table: string): Record<string, string>[] => {
    const [head = [], ...rows] = table
      .trim()
      .split("\n")
      .map((line) => line.trim().split(/\s+/));
    return rows.map((cells) => Object.fromEntries(head.map((column, index) => [column, cells[index] ?? ""])));
  };

  runTools(
    "kafka-transactions lists, describes, finds what hangs and aborts it; TransactionLogMessageFormatter reads the topic",
    async () => {
      using connection = await server.connect();
      for (const topic of ["described", "hanging"]) await createTopicRaw(connection, topic);
      const ongoing = new RawTransactionalProducer(connection, "ongoing", 2);
      const complete = new RawTransactionalProducer(connection, "complete", 1);
      expect([await ongoing.init(), await complete.init()]).toEqual([0, 0]);
      const { producerId, producerEpoch } = ongoing.identity;
      expect(await complete.produce("described", ["a", "b"])).toBe(0);
      expect(await complete.end(true)).toBe(0);
      await waitSettled(connection, "complete");
      expect(await ongoing.produce("described", ["c"])).toBe(0);

      const hanging = new RawTransactionalProducer(connection, "hanging", 1);
      expect(await hanging.init()).toBe(0);
      const anHourAgo = { isHanging: true, timestampMs: Date.now() - 3_600_000 };
      expect(await hanging.produce("hanging", ["never committed"], anHourAgo)).toBe(0);
      expect((await produceValues(connection, "hanging", 0, ["behind it"])).errorCode).toBe(0);
      expect(await readCommitted(connection, "hanging")).toEqual({ values: [], lastStableOffset: 0 });

      const place = ["--topic", "hanging", "--partition", "0"];
      const [listed, filtered, described, producers, found] = await Promise.all([
        tool("list"),
        tool("list", "--transactional-id-pattern", "(com|on)[a-z]+"),
        tool("describe", "--transactional-id", "ongoing"),
        tool("describe-producers", "--topic", "described", "--partition", "0"),
        tool("find-hanging", ...place),
      ]);
      const states = { complete: "CompleteCommit", hanging: "Empty", ongoing: "Ongoing" };
      const statesIn = (table: string) => Object.fromEntries(rowsOf(table).map((row) => [row.TransactionalId, row.TransactionState]));
      expect(statesIn(listed)).toEqual(states);
      expect(statesIn(filtered)).toEqual({ complete: "CompleteCommit", ongoing: "Ongoing" });
      expect(rowsOf(described)).toMatchObject([
        {
          CoordinatorId: "1",
          TransactionalId: "ongoing",
          ProducerId: String(producerId),
          ProducerEpoch: String(producerEpoch),
          TransactionState: "Ongoing",
          TransactionTimeoutMs: "60000",
          TopicPartitions: "described-0",
        },
      ]);
      const open = { ProducerId: String(producerId), CurrentTransactionStartOffset: "3", LatestCoordinatorEpoch: "-1", LastSequence: "0" };
      const ended = { ProducerId: String(complete.identity.producerId), CurrentTransactionStartOffset: "None", LastSequence: "1" };
      expect(rowsOf(producers)).toEqual(expect.arrayContaining([expect.objectContaining(open), expect.objectContaining(ended)]));
      const hangs = { Topic: "hanging", Partition: "0", ProducerId: String(hanging.identity.producerId), StartOffset: "0" };
      expect(rowsOf(found)).toMatchObject([hangs]);

      await tool("abort", ...place, "--start-offset", "0");
      expect(await readCommitted(connection, "hanging")).toEqual({ values: ["behind it"], lastStableOffset: 3 });

      const read = ["--bootstrap-server", server.bootstrap, "--topic", "__transaction_state", "--from-beginning", "--timeout-ms", "60000"];
      const formatter = ["--formatter", "org.apache.kafka.tools.consumer.TransactionLogMessageFormatter"];
      // Empty and Ongoing; Empty, Ongoing, PrepareCommit and CompleteCommit; Empty.
      const changes = ["--max-messages", "7"];
      const records = (await runKafkaTool("console-consumer", [...read, ...formatter, ...changes])).stdout;
      const key = (id: string): string => `{"key":{"type":0,"data":{"transactionalId":"${id}"}},"value":{"version":1,"data":{"producerId":`;
      for (const id of ["ongoing", "complete", "hanging"]) expect(records).toContain(key(id));
      const inTransaction = '"transactionPartitions":[{"topic":"described","partitionIds":[0]}]';
      expect(records).toMatch(new RegExp(`"transactionalId":"ongoing".*"transactionStatus":1,.*${RegExp.escape(inTransaction)}`));
      expect(records).toMatch(/"transactionalId":"complete".*"transactionStatus":4,/);
    },
    240_000,
  );
});

describe("the coordinator's clocks", () => {
  const server = ServerUnderTest.forThisFile({
    settings: {
      "transaction.abort.timed.out.transaction.cleanup.interval.ms": "100",
      "transaction.remove.expired.transaction.cleanup.interval.ms": "200",
      "transactional.id.expiration.ms": "2000",
    },
  });

  for (const generation of [1, 2] as const satisfies readonly Generation[]) {
    runIf(
      `generation ${generation}: commit, abort, a repeated and a late end, and a second producer of the id that fences the first`,
      async () => {
        using connection = await server.connect();
        const topic = uniqueName("generations");
        await createTopicRaw(connection, topic);
        const first = new RawTransactionalProducer(connection, `${topic}-id`, generation);
        expect(await first.init()).toBe(0);
        const before = first.identity;
        expect(await first.produce(topic, ["a", "b"])).toBe(0);
        expect(await first.end(true)).toBe(0);
        // Sent again, its answer lost: the same end, taken for done.
        expect(await first.end(true, before)).toBe(0);
        expect(await first.produce(topic, ["aborted"])).toBe(0);
        expect(await first.end(false)).toBe(0);
        await waitSettled(connection, first.transactionalId);
        expect(first.identity.producerEpoch).toBe(generation === 2 ? before.producerEpoch + 2 : before.producerEpoch);
        expect(await first.end(true)).toBe(INVALID_TXN_STATE);

        expect(await first.produce(topic, ["of the fenced"])).toBe(0);
        const second = new RawTransactionalProducer(connection, first.transactionalId, generation);
        expect(await second.init()).toBe(0);
        expect(await first.produce(topic, ["too late"])).toBe(generation === 1 ? PRODUCER_FENCED : INVALID_PRODUCER_EPOCH);
        expect(await first.end(true)).toBe(PRODUCER_FENCED);
        expect(await second.produce(topic, ["c"])).toBe(0);
        expect(await second.end(true)).toBe(0);
        await waitSettled(connection, first.transactionalId);
        expect((await readCommitted(connection, topic)).values).toEqual(["a", "b", "c"]);
      },
    );

    runIf(`generation ${generation}: a transaction whose time is up is aborted, its producer fenced, and the id goes on`, async () => {
      using connection = await server.connect();
      const topic = uniqueName("timed-out");
      await createTopicRaw(connection, topic);
      const producer = new RawTransactionalProducer(connection, `${topic}-id`, generation);
      expect(await producer.init(200)).toBe(0);
      expect(await producer.produce(topic, ["too slow"])).toBe(0);
      await server.weir?.waitForLog(`transactionalId=${topic}-id`);
      expect(await waitSettled(connection, producer.transactionalId)).toBe("CompleteAbort");
      // The second generation's producer might have missed the answer to an end of its own: told only that it was no commit.
      expect(await producer.end(true)).toBe(generation === 1 ? PRODUCER_FENCED : INVALID_TXN_STATE);
      expect(await producer.produce(topic, ["too late"])).toBe(generation === 1 ? PRODUCER_FENCED : INVALID_PRODUCER_EPOCH);
      expect(await producer.init()).toBe(0);
      expect(await producer.produce(topic, ["in time"])).toBe(0);
      expect(await producer.end(true)).toBe(0);
      await waitSettled(connection, producer.transactionalId);
      expect((await readCommitted(connection, topic)).values).toEqual(["in time"]);
    });
  }

  runIf("an id that nobody uses is forgotten, over a restart too, and begins anew; one in a transaction is not", async () => {
    const topic = uniqueName("expired");
    const [idle, busy] = [`${topic}-idle`, `${topic}-busy`];
    let producerId = -1;
    {
      using connection = await server.connect();
      await createTopicRaw(connection, topic);
      const [unused, used] = [new RawTransactionalProducer(connection, idle, 2), new RawTransactionalProducer(connection, busy, 2)];
      expect([await unused.init(), await used.init()]).toEqual([0, 0]);
      producerId = unused.identity.producerId;
      expect(await used.produce(topic, ["open"])).toBe(0);
      const codeOf = ({ errorCode }: { errorCode: number }): number => (errorCode === TRANSACTIONAL_ID_NOT_FOUND ? errorCode : 51);
      await insist(() => describeTransaction(connection, idle), codeOf);
      expect(await describeTransaction(connection, busy)).toMatchObject({ errorCode: 0, transactionState: "Ongoing" });
    }
    await server.restart("kill");
    using connection = await server.connect();
    const found = await insist(
      () => describeTransaction(connection, idle),
      ({ errorCode }) => errorCode,
    );
    expect(found.errorCode).toBe(TRANSACTIONAL_ID_NOT_FOUND);
    const again = new RawTransactionalProducer(connection, idle, 2);
    expect(await again.init()).toBe(0);
    expect(again.identity).toMatchObject({ producerEpoch: 0 });
    expect(again.identity.producerId).not.toBe(producerId);
  });
});
