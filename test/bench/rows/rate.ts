/**
 * Rows of open-loop load at a fixed rate: latency from the time a record was due. The device's own durable 4 KiB write is measured between the servers'
 * runs, on the same file system, by `weir wal bench`.
 */
import { join } from "node:path";
import { mustRunTool } from "../../support/tools.ts";
import { weirExecutable } from "../../support/weir-process.ts";
import { type Fields, numberIn } from "../load-program.ts";
import { measureUsage } from "../measure.ts";
import { alternate, type BenchContext, loadOf, type Row, type Run, serversNamed } from "../row.ts";
import type { BenchServer } from "../servers.ts";

const WARM_UP_SECONDS = 1;

async function rateOnce(context: BenchContext, server: BenchServer, fields: Fields): Promise<Pick<Run, "figures" | "raw">> {
  const load = loadOf(context);
  const topic = context.newTopic();
  const { bootstrap } = server;
  const keepsTopics = server.name !== "discard";
  if (keepsTopics) await load.command("create", { bootstrap, topic, partitions: 1 });
  const { seconds, data } = context.options;
  const { answer, usage } = await measureUsage(server, load, () =>
    load.command("rate", { bootstrap, topic, seconds, warmUp: Math.min(WARM_UP_SECONDS, seconds), data, ...fields }),
  );
  if (keepsTopics) await load.command("delete", { bootstrap, topic });
  const figures = {
    ackP50Ms: numberIn(answer, "ackMs", "p50"),
    ackP99Ms: numberIn(answer, "ackMs", "p99"),
    ackP999Ms: numberIn(answer, "ackMs", "p999"),
    ...(fields.consume === true ? { arrivalP99Ms: numberIn(answer, "arrivalMs", "p99") } : {}),
    cpuSecondsPerGigabyte: usage.serverCpuSeconds / (numberIn(answer, "bytes") / 1e9),
    latestSendMs: numberIn(answer, "latestSendMs"),
    achievedRate: numberIn(answer, "achievedRate"),
    otherCores: usage.otherCores,
  };
  return { figures, raw: { ...answer, ...usage } };
}

async function deviceOnce(context: BenchContext): Promise<Pick<Run, "figures" | "raw">> {
  const file = join(context.folder, "device-probe");
  const seconds = Math.max(0.2, context.options.seconds / 4);
  const fixed = ["--sizes", "4KiB", "--depths", "1", "--file-size", "64MiB", "--output", "json"];
  const command = [weirExecutable, "wal", "bench", file, ...fixed, "--seconds", String(seconds)];
  const report = JSON.parse(await mustRunTool(command)) as { readonly rows: readonly Record<string, number>[] };
  const [row = {}] = report.rows;
  const figures = { ackP50Ms: numberIn(row, "p50Ms"), ackP99Ms: numberIn(row, "p99Ms"), ackP999Ms: numberIn(row, "p999Ms") };
  return { figures, raw: row };
}

const latencyRow: Row = {
  id: "rate-5k",
  title: "open loop, 5,000 records/s of 1,000 B, linger 0",
  needsLoadProgram: true,
  figures: ["ackP50Ms", "ackP99Ms", "ackP999Ms", "cpuSecondsPerGigabyte", "latestSendMs", "achievedRate", "otherCores"],
  comparisons: [
    { figure: "ackP99Ms", kind: "difference", to: "device", target: { atMost: 2 }, note: "ms above the device's own 4 KiB write" },
    { figure: "ackP99Ms", kind: "ratio", to: "kafka", target: { atMost: 1 / 3 } },
    { figure: "ackP50Ms", kind: "ratio", to: "kafka" },
    {
      figure: "ackP99Ms",
      kind: "difference",
      to: "discard",
      note: "ms above a server that stores nothing: what is left is load program and scheduling",
    },
    { figure: "ackP99Ms", kind: "ratio", to: "kafka-as-shipped" },
  ],
  async measure(context, record) {
    const servers = serversNamed(context, ["weir", "kafka", "kafka-as-shipped", "discard"]);
    await alternate(context.options.pairs, ["device" as const, ...servers], async (participant, pair) => {
      if (participant === "device") record({ participant, pair, ...(await deviceOnce(context)) });
      else
        record({
          participant: participant.name,
          pair,
          ...(await rateOnce(context, participant, { rate: 5000, linger: 0, batch: 16_384 })),
        });
    });
  },
};

/** 20 MB/s with a consumer that follows, and without: the difference is what a live tail costs. */
function bandwidthRow(id: string, title: string, consume: boolean): Row {
  return {
    id,
    title,
    needsLoadProgram: true,
    figures: [
      "ackP50Ms",
      "ackP99Ms",
      "ackP999Ms",
      ...(consume ? ["arrivalP99Ms"] : []),
      "cpuSecondsPerGigabyte",
      "achievedRate",
      "otherCores",
    ],
    comparisons: [
      { figure: "ackP99Ms", kind: "ratio", to: "kafka" },
      { figure: "cpuSecondsPerGigabyte", kind: "ratio", to: "kafka" },
      { figure: "cpuSecondsPerGigabyte", kind: "ratio", to: "kafka-as-shipped" },
    ],
    async measure(context, record) {
      const fields = { rate: 20_000, linger: 5, batch: 1_048_576, consume };
      await alternate(context.options.pairs, serversNamed(context, ["weir", "kafka", "kafka-as-shipped"]), async (server, pair) => {
        record({ participant: server.name, pair, ...(await rateOnce(context, server, fields)) });
      });
    },
  };
}

export const rateRows: readonly Row[] = [
  latencyRow,
  bandwidthRow("rate-20mb", "open loop, 20 MB/s, linger 5, nobody reads", false),
  bandwidthRow("rate-20mb-tail", "open loop, 20 MB/s, linger 5, a consumer follows", true),
];
