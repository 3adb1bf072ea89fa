/**
 * Rows that read. The charge of a fetch is what the server uses while it only answers fetches: everything was produced, uploaded and committed before.
 * "Tail" is data so fresh that it lies in Weir's ring and in Kafka's page cache; "catch-up" is data that Weir's ring no longer has.
 */
import { type Answer, numberIn } from "../load-program.ts";
import { measureUsage } from "../measure.ts";
import { setSessionNice } from "../process-usage.ts";
import { alternate, type BenchContext, type Comparison, loadOf, type Row, type Run, serversNamed } from "../row.ts";
import type { BenchServer } from "../servers.ts";

/** Below the ring's capacity (WEIR_SETTINGS), also with the headers of small batches. */
const TAIL_BYTES = 128e6;
/** Above the ring's capacity, so that what was produced before it has left the ring. */
const BEYOND_RING_BYTES = 320e6;
const CATCH_UP_BYTES_PER_SECOND = 120e6;
/** With what is produced behind it, still on the WAL (WEIR_WAL_SIZE). */
const CATCH_UP_MAX_BYTES = 600e6;
const FIGURES = ["megabytesPerSecond", "cpuSecondsPerGigabyte", "peakResidentMebibytes", "diskReadShare", "otherCores"] as const;

async function fill(context: BenchContext, server: BenchServer, bytes: number, batchBytes: number): Promise<string> {
  const load = loadOf(context);
  const topic = context.newTopic();
  const { bootstrap } = server;
  await load.command("create", { bootstrap, topic, partitions: 1 });
  const linger = batchBytes > 100_000 ? 5 : 0;
  const { data } = context.options;
  await load.command("produce", { bootstrap, topic, seconds: 600, maxBytes: bytes, data, batch: batchBytes, linger });
  await server.settle();
  return topic;
}

async function fetchOnce(
  context: BenchContext,
  server: BenchServer,
  fields: { readonly topic: string; readonly passes?: number; readonly maxBytes?: number },
): Promise<Pick<Run, "figures" | "raw">> {
  const load = loadOf(context);
  const readReceived = async (): Promise<number> =>
    server.name === "weir" ? await context.weir.readMetric("weir_store_received_bytes_total") : 0;
  const receivedBefore = await readReceived();
  const { answer, usage } = await measureUsage(server, load, () => load.command("consume", { bootstrap: server.bootstrap, ...fields }));
  const storeReceivedBytes = (await readReceived()) - receivedBefore;
  return { figures: fetchFigures(answer, usage), raw: { ...answer, ...usage, storeReceivedBytes } };
}

function fetchFigures(answer: Answer, usage: Awaited<ReturnType<typeof measureUsage>>["usage"]): Record<string, number> {
  const bytes = numberIn(answer, "bytes");
  return {
    megabytesPerSecond: numberIn(answer, "megabytesPerSecond"),
    cpuSecondsPerGigabyte: usage.serverCpuSeconds / (bytes / 1e9),
    peakResidentMebibytes: usage.peakResidentBytes / 2 ** 20,
    diskReadShare: usage.diskReadBytes / bytes,
    otherCores: usage.otherCores,
  };
}

const comparisons = (times: number): readonly Comparison[] => [
  { figure: "cpuSecondsPerGigabyte", kind: "ratio", to: "kafka", target: { atMost: times } },
  { figure: "megabytesPerSecond", kind: "ratio", to: "kafka" },
];

function tailRow(id: string, title: string, batchBytes: number): Row {
  return {
    id,
    title,
    needsLoadProgram: true,
    figures: FIGURES,
    comparisons: comparisons(1),
    async measure(context, record) {
      const servers = serversNamed(context, ["weir", "kafka"]);
      const topics = new Map<BenchServer, string>();
      for (const server of servers)
        topics.set(server, await fill(context, server, Math.min(1, context.options.seconds) * TAIL_BYTES, batchBytes));
      const passes = Math.max(1, Math.round(context.options.seconds * 2));
      await alternate(context.options.pairs, servers, async (server, pair) => {
        record({ participant: server.name, pair, ...(await fetchOnce(context, server, { topic: topics.get(server)!, passes })) });
      });
      await deleteTopics(context, topics);
    },
  };
}

async function deleteTopics(context: BenchContext, topics: ReadonlyMap<BenchServer, string>): Promise<void> {
  for (const [{ bootstrap }, topic] of topics) await loadOf(context).command("delete", { bootstrap, topic });
}

/** `isCold`: Weir is started again before each of its runs, and warmed with another topic's objects. */
function catchUpRow(id: string, title: string, isCold: boolean): Row {
  return {
    id,
    title,
    needsLoadProgram: true,
    figures: FIGURES,
    comparisons: comparisons(2),
    async measure(context, record) {
      const servers = serversNamed(context, ["weir", "kafka"]);
      const maxBytes = Math.min(CATCH_UP_MAX_BYTES, context.options.seconds * CATCH_UP_BYTES_PER_SECOND);
      const topics = new Map<BenchServer, string>();
      const others = new Map<BenchServer, string>();
      for (const server of servers) {
        context.progress(`${id}: ${server.name} is given what will be read`);
        topics.set(server, await fill(context, server, maxBytes, 1_048_576));
        others.set(server, await fill(context, server, BEYOND_RING_BYTES, 1_048_576));
      }
      await alternate(context.options.pairs, servers, async (server, pair) => {
        if (isCold && server.name === "weir") {
          await context.weir.restart();
          setSessionNice(server.pid, context.options.nice);
          await fetchOnce(context, server, { topic: others.get(server)! });
        }
        record({ participant: server.name, pair, ...(await fetchOnce(context, server, { topic: topics.get(server)!, maxBytes })) });
      });
      await deleteTopics(context, topics);
      await deleteTopics(context, others);
    },
  };
}

export const fetchRows: readonly Row[] = [
  tailRow("fetch-tail", "tail fetch, 1 MiB batches", 1_048_576),
  tailRow("fetch-tail-small", "tail fetch, 16 KiB batches", 16_384),
  catchUpRow("catch-up-wal", "catch-up fetch, Weir from its WAL device", false),
  catchUpRow("catch-up-objects", "catch-up fetch, Weir from objects, cold caches", true),
];
