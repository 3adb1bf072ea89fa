/** Rows that produce as fast as one producer goes. Beside the servers runs one that discards: the bound of the load program itself. */
import { numberIn } from "../load-program.ts";
import { measureUsage } from "../measure.ts";
import { alternate, type BenchContext, loadOf, type Row, type Run, serversNamed } from "../row.ts";
import type { BenchServer } from "../servers.ts";

interface ProduceShape {
  readonly id: string;
  readonly title: string;
  readonly batchBytes: number;
  readonly lingerMs: number;
  /** Times Kafka's throughput at the same durability. */
  readonly timesKafka: number;
}

/** One run reads back nothing and keeps at most so much, whatever its length. */
const MAX_RUN_BYTES = 3e9;

export async function produceOnce(
  context: BenchContext,
  server: BenchServer,
  shape: Pick<ProduceShape, "batchBytes" | "lingerMs">,
): Promise<Pick<Run, "figures" | "raw">> {
  const load = loadOf(context);
  const { bootstrap, name } = server;
  const { options } = context;
  const topic = context.newTopic();
  if (name !== "discard") await load.command("create", { bootstrap, topic, partitions: 1 });
  const { answer, usage } = await measureUsage(server, load, () =>
    load.command("produce", {
      bootstrap,
      topic,
      seconds: options.seconds,
      maxBytes: MAX_RUN_BYTES,
      data: options.data,
      batch: shape.batchBytes,
      linger: shape.lingerMs,
    }),
  );
  if (name !== "discard") await load.command("delete", { bootstrap, topic });
  const gigabytes = numberIn(answer, "bytes") / 1e9;
  const figures = {
    megabytesPerSecond: numberIn(answer, "megabytesPerSecond"),
    cpuSecondsPerGigabyte: usage.serverCpuSeconds / gigabytes,
    loadCpuSecondsPerGigabyte: usage.loadCpuSeconds / gigabytes,
    peakResidentMebibytes: usage.peakResidentBytes / 2 ** 20,
    otherCores: usage.otherCores,
  };
  return { figures, raw: { ...answer, ...usage } };
}

function produceRow(shape: ProduceShape): Row {
  return {
    id: shape.id,
    title: shape.title,
    needsLoadProgram: true,
    figures: [
      "megabytesPerSecond",
      "cpuSecondsPerGigabyte",
      "loadCpuSecondsPerGigabyte",
      "peakResidentMebibytes",

      "otherCores",
    ],
    comparisons: [
      { figure: "megabytesPerSecond", kind: "ratio", to: "kafka", target: { atLeast: shape.timesKafka } },
      { figure: "cpuSecondsPerGigabyte", kind: "ratio", to: "kafka", target: { atMost: 0.5 } },
      { figure: "megabytesPerSecond", kind: "ratio", to: "discard", note: "1: the load program is the bound" },
      { figure: "megabytesPerSecond", kind: "ratio", to: "kafka-as-shipped" },
      { figure: "cpuSecondsPerGigabyte", kind: "ratio", to: "kafka-as-shipped" },
    ],
    async measure(context, record) {
      const servers = serversNamed(context, ["weir", "kafka", "kafka-as-shipped", "discard"]);
      await alternate(context.options.pairs, servers, async (server, pair) => {
        record({ participant: server.name, pair, ...(await produceOnce(context, server, shape)) });
      });
    },
  };
}

export const produceRows: readonly Row[] = [
  produceRow({ id: "produce-small", title: "produce, 1,000 B, 16 KiB batches, linger 0", batchBytes: 16_384, lingerMs: 0, timesKafka: 5 }),
  produceRow({
    id: "produce-big",
    title: "produce, 1,000 B, 1 MiB batches, linger 5",
    batchBytes: 1_048_576,
    lingerMs: 5,
    timesKafka: 1.5,
  }),
];
