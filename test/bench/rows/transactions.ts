/**
 * Rows of transactions: a producer that commits every 100 ms of sending, as fast as it goes, and small transactions one after another. Kafka's "rate of
 * 100 ms transactions" is read as what such a producer gets through, its commits included.
 */
import { type Fields, numberIn } from "../load-program.ts";
import { measureUsage } from "../measure.ts";
import { alternate, type BenchContext, loadOf, type Row, type Run, serversNamed } from "../row.ts";
import type { BenchServer } from "../servers.ts";

/** One run keeps at most so much, whatever its length. */
const MAX_RUN_BYTES = 3e9;
/**
 * As Kafka's producer is configured by default, but for a buffer of 2 MiB: into one of 32 MiB everything that 100 ms of sending makes would go at once, and the
 * commit would be the time of producing it.
 */
const CLIENT = { batch: 16_384, linger: 5, buffer: 2 << 20 } as const;

async function transactOnce(context: BenchContext, server: BenchServer, fields: Fields): Promise<Pick<Run, "figures" | "raw">> {
  const load = loadOf(context);
  const { bootstrap } = server;
  const { seconds, data } = context.options;
  const topic = context.newTopic();
  await load.command("create", { bootstrap, topic, partitions: 1 });
  const { answer, usage } = await measureUsage(server, load, () =>
    load.command("transactions", { bootstrap, topic, seconds, maxBytes: MAX_RUN_BYTES, data, ...CLIENT, ...fields }),
  );
  await load.command("delete", { bootstrap, topic });
  const figures = {
    megabytesPerSecond: numberIn(answer, "megabytesPerSecond"),
    transactionsPerSecond: numberIn(answer, "transactionsPerSecond"),
    commitP50Ms: numberIn(answer, "commitMs", "p50"),
    commitP99Ms: numberIn(answer, "commitMs", "p99"),
    cpuSecondsPerGigabyte: usage.serverCpuSeconds / (numberIn(answer, "bytes") / 1e9),
    cpuMillisecondsPerTransaction: (usage.serverCpuSeconds * 1000) / numberIn(answer, "transactions"),
    otherCores: usage.otherCores,
  };
  return { figures, raw: { ...answer, ...usage } };
}

function measureWith(fields: Fields): Row["measure"] {
  return async (context, record) => {
    await alternate(context.options.pairs, serversNamed(context, ["weir", "kafka", "kafka-as-shipped"]), async (server, pair) => {
      record({ participant: server.name, pair, ...(await transactOnce(context, server, fields)) });
    });
  };
}

const SMALL_FIGURES = ["transactionsPerSecond", "commitP50Ms", "commitP99Ms", "cpuMillisecondsPerTransaction", "otherCores"];

function smallRow(id: string, title: string, ids: number): Row {
  return {
    id,
    title,
    needsLoadProgram: true,
    figures: SMALL_FIGURES,
    comparisons: [
      { figure: "transactionsPerSecond", kind: "ratio", to: "kafka" },
      { figure: "commitP99Ms", kind: "ratio", to: "kafka" },
      { figure: "cpuMillisecondsPerTransaction", kind: "ratio", to: "kafka" },
      { figure: "transactionsPerSecond", kind: "ratio", to: "kafka-as-shipped" },
    ],
    measure: measureWith({ records: 10, ids }),
  };
}

export const transactionRows: readonly Row[] = [
  {
    id: "transactions-100ms",
    title: "one producer, a commit after every 100 ms of sending, 1,000 B, the client's default batches (16 KiB, linger 5)",
    needsLoadProgram: true,
    figures: ["megabytesPerSecond", "transactionsPerSecond", "commitP50Ms", "commitP99Ms", "cpuSecondsPerGigabyte", "otherCores"],
    comparisons: [
      { figure: "megabytesPerSecond", kind: "ratio", to: "kafka", target: { atLeast: 3 } },
      { figure: "cpuSecondsPerGigabyte", kind: "ratio", to: "kafka", target: { atMost: 0.5 } },
      { figure: "commitP99Ms", kind: "ratio", to: "kafka" },
      { figure: "megabytesPerSecond", kind: "ratio", to: "kafka-as-shipped" },
      { figure: "cpuSecondsPerGigabyte", kind: "ratio", to: "kafka-as-shipped" },
    ],
    measure: measureWith({ workMs: 100 }),
  },
  smallRow("transactions-small", "one transactional id, transactions of 10 records one after another", 1),
  smallRow("transactions-8-ids", "eight transactional ids, each as in the row before", 8),
];
