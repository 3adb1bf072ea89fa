/** Rows of what a server costs before anybody uses it: idling, starting, and a topic of a thousand partitions. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { WeirProcess } from "../../support/weir-process.ts";
import { numberIn } from "../load-program.ts";
import { readCpuSeconds, readResidentBytes } from "../process-usage.ts";
import { alternate, type BenchContext, loadOf, type Row, serversNamed } from "../row.ts";
import { KafkaServer, weirOptions } from "../servers.ts";

const PARTITIONS = 1000;

/** A fresh Weir that nobody talks to; Kafka is the one that runs already. */
const idleRow: Row = {
  id: "idle",
  title: "idle",
  needsLoadProgram: false,
  figures: ["cpuPercentOfCore", "residentMebibytes", "storeRequestsPerMinute"],
  comparisons: [],
  bounds: [
    { figure: "cpuPercentOfCore", atMost: 0.5 },
    { figure: "residentMebibytes", atMost: 100 },
    { figure: "storeRequestsPerMinute", atMost: 1 },
  ],
  async measure(context, record) {
    const folder = join(context.folder, "idle");
    const weir = await WeirProcess.start({ ...freshOptions(context, folder), readyTimeoutMs: 30_000 });
    try {
      const kafka = serversNamed(context, ["kafka"])[0];
      const read = async () => ({
        // Before and after, not meanwhile: a scrape is work too.
        requests: (await weir.readMetric("weir_store_requests_total")) ?? 0,
        weir: readCpuSeconds(weir.pid),
        kafka: kafka === undefined ? 0 : readCpuSeconds(kafka.pid),
        at: performance.now(),
      });
      // The start's own work, garbage collection and all, is over after some seconds.
      await Bun.sleep(Math.min(5000, context.options.idleSeconds * 1000));
      const before = await read();
      await Bun.sleep(context.options.idleSeconds * 1000);
      const after = await read();
      const seconds = (after.at - before.at) / 1000;
      const figures = {
        cpuPercentOfCore: ((after.weir - before.weir) / seconds) * 100,
        residentMebibytes: readResidentBytes(weir.pid) / 2 ** 20,
        storeRequestsPerMinute: ((after.requests - before.requests) / seconds) * 60,
      };
      record({ participant: "weir", pair: 0, figures, raw: { seconds, before, after } });
      if (kafka === undefined) return;
      const kafkaFigures = {
        cpuPercentOfCore: ((after.kafka - before.kafka) / seconds) * 100,
        residentMebibytes: readResidentBytes(kafka.pid) / 2 ** 20,
      };
      record({ participant: "kafka", pair: 0, figures: kafkaFigures, raw: { seconds } });
    } finally {
      await weir.kill();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

function freshOptions(context: BenchContext, folder: string) {
  context.progress("starting a fresh weir");
  Bun.spawnSync(["mkdir", "-p", folder]);
  return weirOptions(folder);
}

const startRow: Row = {
  id: "start",
  title: "start to serving, empty folder",
  needsLoadProgram: false,
  figures: ["readyMs", "spawnToReadyzMs", "cpuSeconds"],
  comparisons: [{ figure: "readyMs", kind: "ratio", to: "kafka" }],
  bounds: [{ figure: "readyMs", atMost: 300 }],
  async measure(context, record) {
    const wantsKafka = serversNamed(context, ["kafka"]).length > 0;
    await alternate(context.options.pairs, wantsKafka ? (["weir", "kafka"] as const) : (["weir"] as const), async (participant, pair) => {
      const folder = join(context.folder, `start-${participant}-${pair}`);
      if (participant === "weir") {
        const weir = await WeirProcess.start(freshOptions(context, folder));
        const readyMs = Number(/ broker\.started .*\breadyMs=(\d+(?:\.\d+)?)/.exec(weir.log())?.[1] ?? Number.NaN);
        const figures = { readyMs, spawnToReadyzMs: weir.startMs, cpuSeconds: readCpuSeconds(weir.pid) };
        record({ participant, pair, figures, raw: figures });
        await weir.kill();
      } else {
        // Formatting its folder is not counted; what it logs as started is.
        const kafka = await KafkaServer.start("kafka", folder);
        const figures = { readyMs: kafka.startMs, cpuSeconds: readCpuSeconds(kafka.pid) };
        record({ participant, pair, figures, raw: figures });
        await kafka.stop();
      }
      rmSync(folder, { recursive: true, force: true });
    });
  },
};

const partitionsRow: Row = {
  id: "partitions",
  title: "create a topic of 1,000 partitions",
  needsLoadProgram: true,
  figures: ["createMs", "allLedMs", "cpuSeconds"],
  comparisons: [
    { figure: "createMs", kind: "ratio", to: "kafka", target: { atMost: 1 } },
    { figure: "allLedMs", kind: "ratio", to: "kafka", target: { atMost: 1 } },
  ],
  async measure(context, record) {
    const load = loadOf(context);
    await alternate(context.options.pairs, serversNamed(context, ["weir", "kafka", "kafka-as-shipped"]), async (server, pair) => {
      const topic = context.newTopic();
      const { bootstrap } = server;
      const before = readCpuSeconds(server.pid);
      const answer = await load.command("create", { bootstrap, topic, partitions: PARTITIONS });
      const figures = {
        createMs: numberIn(answer, "createMs"),
        allLedMs: numberIn(answer, "allLedMs"),
        cpuSeconds: readCpuSeconds(server.pid) - before,
      };
      // Not deleted: a server that removes the files of one would be slow to make the next.
      record({ participant: server.name, pair, figures, raw: answer });
    });
  },
};

export const standingRows: readonly Row[] = [idleRow, startRow, partitionsRow];
