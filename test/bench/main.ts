/**
 * npm run bench: Weir beside Apache Kafka on this machine. Starts all servers, warms them up, runs rows of alternating pairs, and keeps every run as JSON
 * beside the table. It measures and says what it saw; no figure makes it fail. `options.ts` has the help, `row.ts` says what a row is.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { hasKafkaTools, noKafkaTools } from "../conformance/clients.ts";
import { mustRunTool, repositoryRoot } from "../support/tools.ts";
import { hasWeir, weirExecutable, weirMissing } from "../support/weir-process.ts";
import { LoadProgram } from "./load-program.ts";
import { type BenchOptions, HELP, parseOptions, UsageError } from "./options.ts";
import { setSessionNice } from "./process-usage.ts";
import { renderReport, renderRow, summarizeRow } from "./report.ts";
import type { BenchContext, Row, Run } from "./row.ts";
import { fetchRows } from "./rows/fetch.ts";
import { produceRows } from "./rows/produce.ts";
import { rateRows } from "./rows/rate.ts";
import { standingRows } from "./rows/standing.ts";
import { transactionRows } from "./rows/transactions.ts";
import { type BenchServer, DiscardProcess, KafkaServer, WEIR_SETTINGS, WEIR_WAL_SIZE, WeirServer } from "./servers.ts";
import { formatNumber } from "./statistics.ts";
import { warmUp } from "./warm-up.ts";

const ROWS: readonly Row[] = [...produceRows, ...fetchRows, ...rateRows, ...transactionRows, ...standingRows];
const begun = performance.now();

function progress(text: string): void {
  console.error(`[${((performance.now() - begun) / 1000).toFixed(0).padStart(5)} s] ${text}`);
}

function chooseRows(options: BenchOptions): readonly Row[] {
  if (options.rows.length === 0) return ROWS;
  return options.rows.map((id) => {
    const row = ROWS.find((each) => each.id === id);
    if (row === undefined) throw new UsageError(`--rows: there is no "${id}"; there is ${ROWS.map((each) => each.id).join(", ")}`);
    return row;
  });
}

/** Ext4, xfs, ... as the kernel numbers them; the number where the name is not known here. */
function fileSystemOf(folder: string): string {
  const names: Readonly<Record<number, string>> = {
    61267: "ext4",
    1481003842: "xfs",
    16914836: "tmpfs",
    2435016766: "btrfs",
    2035054128: "overlay",
  };
  const { type } = statfsSync(folder);
  return names[type] ?? `type ${type}`;
}

async function describeEnvironment(context: Pick<BenchContext, "options" | "folder" | "load">): Promise<Record<string, string>> {
  const { options, folder, load } = context;
  const about = await load?.command("about");
  const processors = cpus();
  const peer = existsSync("/proc/loadavg") ? readFileSync("/proc/loadavg", "utf8").split(" ").slice(0, 3).join(" ") : "";
  return {
    date: new Date().toISOString(),
    machine: `${processors.length} x ${processors[0]?.model ?? "?"}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${fileSystemOf(folder)}, Linux ${release()}`,
    "load average at the start": peer,
    weir: (await mustRunTool([weirExecutable, "version"])).trim().replaceAll("\n", "; "),
    "weir settings": `wal=file, ${WEIR_WAL_SIZE}; object.store=${options.store}; ${Object.entries(WEIR_SETTINGS)
      .map(([key, value]) => `${key}=${value}`)
      .join("; ")}`,
    "load program": about === undefined ? "none" : `Kafka's client ${String(about.client)}, ${String(about.java)}`,
    runs: `${options.pairs} pairs of ${options.seconds} s, data ${options.data}, warmed up for ${options.warmUpSeconds} s${options.nice === 0 ? "" : `, sessions at nice ${options.nice}`}`,
  };
}

async function startServers(
  options: BenchOptions,
  folder: string,
  wantsLoad: boolean,
  stops: (() => Promise<void>)[],
): Promise<[WeirServer, BenchServer[]]> {
  const keep = async <Server extends BenchServer>(starting: Promise<Server>): Promise<Server> => {
    // Known before it serves: one that is still starting when everything is stopped must not stay.
    stops.push(async () => await (await starting).stop());
    const server = await starting;
    setSessionNice(server.pid, options.nice);
    progress(`${server.name} serves on ${server.bootstrap}, process ${server.pid}`);
    return server;
  };
  const weir = await keep(WeirServer.start(join(folder, "weir"), options.store));
  const servers: BenchServer[] = [weir];
  if (!hasKafkaTools) progress(`no Kafka and no load program: ${noKafkaTools}`);
  if (hasKafkaTools && options.kafka !== "none") servers.push(await keep(KafkaServer.start("kafka", join(folder, "kafka"))));
  if (hasKafkaTools && options.kafka === "both")
    servers.push(await keep(KafkaServer.start("kafka-as-shipped", join(folder, "kafka-as-shipped"))));
  if (wantsLoad) servers.push(await keep(DiscardProcess.start()));
  return [weir, servers];
}

async function measureRows(context: BenchContext, rows: readonly Row[], out: string): Promise<void> {
  const environment = await describeEnvironment(context);
  const runs: Run[] = [];
  const done: Row[] = [];
  const save = (): void => {
    const summaries = done.map((row) => [row, summarizeRow(row, runs)] as const);
    writeFileSync(join(out, "runs.json"), `${JSON.stringify({ environment, options: context.options, runs }, null, 1)}\n`);
    writeFileSync(join(out, "summary.json"), `${JSON.stringify({ environment, rows: summaries.map(([, each]) => each) }, null, 1)}\n`);
    writeFileSync(join(out, "table.md"), renderReport(environment, summaries));
  };
  for (const row of rows) {
    if (row.needsLoadProgram && context.load === undefined) {
      progress(`${row.id} is left out: ${noKafkaTools}`);
      continue;
    }
    progress(`${row.id}: ${row.title}`);
    await row.measure(context, (run) => {
      runs.push({ row: row.id, ...run });
      const figures = row.figures.flatMap((name) =>
        run.figures[name] === undefined ? [] : [`${name} ${formatNumber(run.figures[name])}`],
      );
      progress(`${row.id} ${run.participant} #${run.pair}: ${figures.join(", ")}`);
      save();
    });
    done.push(row);
    save();
    if (!context.options.json) console.log(renderRow(row, summarizeRow(row, runs)));
  }
  save();
  if (context.options.json) console.log(readFileSync(join(out, "summary.json"), "utf8").trimEnd());
  progress(`kept in ${out}: runs.json, summary.json, table.md`);
}

async function bench(options: BenchOptions): Promise<void> {
  const rows = chooseRows(options);
  const out = options.out ?? join(repositoryRoot, "build", "bench", new Date().toISOString().slice(0, 19).replaceAll(":", "."));
  mkdirSync(out, { recursive: true });
  const folder = mkdtempSync(join(options.folder ?? tmpdir(), "weir-bench-"));
  let isEnding = false;
  const stops: (() => Promise<void>)[] = [async () => rmSync(folder, { recursive: true, force: true })];
  const stopAll = async (): Promise<void> => {
    for (const stop of stops.splice(0).reverse()) await stop().catch((error) => progress(`while stopping: ${String(error)}`));
  };
  // A shell signals a whole group, and some send twice: only the first counts, and none ends this before everything is stopped.
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)
    process.on(signal, () => {
      if (isEnding) return;
      // What is cut off by this rejects; that is no news.
      process.on("unhandledRejection", () => {});
      progress(`${signal}: stopping; what was measured is in ${out}`);
      isEnding = true;
      void stopAll().finally(() => process.exit(code));
    });
  try {
    const wantsLoad = hasKafkaTools && rows.some(({ needsLoadProgram }) => needsLoadProgram);
    const [weir, servers] = await startServers(options, folder, wantsLoad, stops);
    const load = wantsLoad ? await LoadProgram.start() : undefined;
    if (load !== undefined) {
      stops.push(() => load.stop());
      setSessionNice(load.pid, options.nice);
    }
    setSessionNice("self", options.nice);
    let topics = 0;
    const newTopic = (): string => `bench-${++topics}`;
    const context: BenchContext = { options, folder, weir, servers, load, progress, newTopic };
    await warmUp(context);
    await measureRows(context, rows, out);
  } catch (error) {
    if (!isEnding) throw error;
    await new Promise(() => {});
  } finally {
    await stopAll();
  }
}

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (options === undefined) console.log(HELP);
  else if (options.list) for (const { id, title } of ROWS) console.log(`${id.padEnd(18)}${title}`);
  else if (!hasWeir) throw new UsageError(weirMissing);
  else await bench(options);
  return 0;
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exit(2);
}
