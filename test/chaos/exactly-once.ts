/**
 * Exactly once under kill -9, with real clients: Java loops consume `in`, produce to `out` and commit both in transactions (some are aborted on purpose)
 * while the executable is killed and started again, and now and then a loop is. A read_committed reader that lived through it and one that comes
 * afterwards must both see each input once, in order, and nothing aborted; no transaction may be left hanging.
 *
 *   bun test/chaos/exactly-once.ts [--seconds 60] [--kill-every-seconds 5] [--loops 3] [--seed 1]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { kafkaPeerHome } from "../conformance/clients.ts";
import { seededRandom } from "../support/corpus.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { getFreePorts } from "../support/ports.ts";
import { createTopicRaw, listOffset, produceValues } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { mustRunTool, repositoryRoot } from "../support/tools.ts";
import { WeirProcess } from "../support/weir-process.ts";
import { type CopiedRecord, checkCopy } from "./exactly-once-check.ts";

export interface ExactlyOnceOptions {
  /** How long inputs are written and processes killed; the loops then finish what is left. */
  readonly seconds: number;
  readonly killEverySeconds: number;
  readonly loops: number;
  /** Every n-th kill also kills a loop; 0 for never (its partitions wait for the session of the dead member, 6 s). */
  readonly loopKillEvery: number;
  readonly seed: number;
  readonly log?: (line: string) => void;
}

export interface ExactlyOnceResult {
  readonly findings: readonly string[];
  readonly summary: string;
}

const partitions = 4;
const latestOffset = -1n;
const finishTimeoutMs = 90_000;
const classes = join(repositoryRoot, "build", "conformance", "exactly-once");
const javaSources = join(import.meta.dir, "java");
const jars = join(kafkaPeerHome, "tools-lib", "*");

async function buildJava(): Promise<void> {
  mkdirSync(classes, { recursive: true });
  const sources = ["ExactlyOnceLoop.java", "CommittedReader.java"].map((name) => join(javaSources, name));
  await mustRunTool(["javac", "-d", classes, "-cp", jars, ...sources]);
}

/** A Java program whose lines go to `sink`. */
class JavaProgram {
  private readonly child: ChildProcess;
  readonly exited: Promise<number>;
  errors = "";
  private rest = "";

  constructor(name: string, args: readonly string[], sink: (line: string) => void) {
    const logging = `-Dlog4j2.configurationFile=${join(kafkaPeerHome, "log4j2-tools.yaml")}`;
    const command = ["-Xmx128m", "-XX:TieredStopAtLevel=1", logging, "-cp", `${classes}:${jars}`, name, ...args];
    this.child = spawn("java", command, { stdio: ["ignore", "pipe", "pipe"] });
    this.child.stdout?.on("data", (chunk: Buffer) => {
      const lines = (this.rest + chunk.toString()).split("\n");
      this.rest = lines.pop() ?? "";
      for (const line of lines) sink(line);
    });
    this.child.stderr?.on("data", (chunk: Buffer) => {
      this.errors = (this.errors + chunk.toString()).slice(-4000);
    });
    this.exited = new Promise((resolve) => this.child.on("close", (code) => resolve(code ?? -1)));
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exited;
  }
}

/** What a reader saw of each partition, in order. */
class Copy {
  readonly records: CopiedRecord[][] = Array.from({ length: partitions }, () => []);
  readonly lastStable = new Map<number, number>();

  readonly take = (line: string): void => {
    const [kind, partition, value, , verdict] = line.split(" ");
    if (kind === "R") this.records[Number(partition)]?.push({ inputOffset: Number(value), verdict: verdict ?? "" });
    if (kind === "E") this.lastStable.set(Number(partition), Number(value));
  };

  get count(): number {
    return this.records.reduce((sum, records) => sum + records.length, 0);
  }

  check(inputs: readonly number[]): string[] {
    return inputs.flatMap((count, partition) => checkCopy(partition, count, this.records[partition] ?? []));
  }
}

/** Writes inputs until told to stop. Batches whose answer is lost may be there or not: what counts is the log of `in` as it is at the end. */
async function feed(port: number, stopped: AbortSignal): Promise<void> {
  while (!stopped.aborted) {
    const connection = await KafkaConnection.open(port).catch(() => undefined);
    if (connection === undefined) {
      await Bun.sleep(20);
      continue;
    }
    try {
      while (!stopped.aborted) {
        for (let partition = 0; partition < partitions; partition++) {
          await produceValues(
            connection,
            "in",
            partition,
            Array.from({ length: 20 }, () => "input"),
          );
        }
        await Bun.sleep(40);
      }
    } catch (error) {
      if (!(error instanceof Error) || error.message !== "closed") throw error;
    } finally {
      connection.close();
    }
  }
}

async function readEnds(port: number, topic: string): Promise<number[]> {
  using connection = await KafkaConnection.open(port);
  const ends: number[] = [];
  for (let partition = 0; partition < partitions; partition++) {
    const end = await listOffset(connection, topic, partition, latestOffset);
    if (end.errorCode !== 0) throw new Error(`ListOffsets of ${topic}-${partition} answered ${end.errorCode}`);
    ends.push(Number(end.offset));
  }
  return ends;
}

/** The loops, each with a transactional id that its successor takes over. */
class Loops {
  readonly tallies = new Map<string, number>();
  private readonly bootstrap: string;
  private readonly running: JavaProgram[] = [];

  constructor(bootstrap: string, count: number) {
    this.bootstrap = bootstrap;
    for (let index = 0; index < count; index++) this.start(index);
  }

  private start(index: number): void {
    const args = [this.bootstrap, "in", "out", "copiers", `copier-${index}`, String(7 + index)];
    this.running[index] = new JavaProgram("ExactlyOnceLoop", args, (line) => {
      const kind = line.split(" ")[0] ?? "";
      this.tallies.set(kind, this.tally(kind) + 1);
    });
  }

  tally(kind: string): number {
    return this.tallies.get(kind) ?? 0;
  }

  async killAndRestart(index: number): Promise<void> {
    await this.running[index]?.kill();
    this.start(index);
  }

  get errors(): string {
    return this.running.map((loop, index) => `loop ${index}:\n${loop.errors}`).join("\n");
  }

  async end(): Promise<void> {
    await Promise.all(this.running.map((loop) => loop.kill()));
  }
}

/** A fresh reader's view, and whether the last stable offset reached the log's end: nothing undecided is left. */
async function checkAfterwards(port: number, bootstrap: string, inputs: readonly number[]): Promise<string[]> {
  const copy = new Copy();
  const reader = new JavaProgram("CommittedReader", [bootstrap, "out", String(partitions), "once"], copy.take);
  const timer = setTimeout(() => void reader.kill(), finishTimeoutMs);
  const code = await reader.exited;
  clearTimeout(timer);
  if (code !== 0) return [`the reader that came afterwards ended with ${code}: ${reader.errors}`];
  const ends = await readEnds(port, "out");
  const hanging = ends.flatMap((end, partition) =>
    copy.lastStable.get(partition) === end ? [] : [`out-${partition} is stable to ${copy.lastStable.get(partition)} of ${end}`],
  );
  return [...copy.check(inputs).map((finding) => `read afterwards: ${finding}`), ...hanging];
}

async function createTopics(port: number): Promise<void> {
  using connection = await KafkaConnection.open(port);
  for (const topic of ["in", "out"]) {
    const created = await createTopicRaw(connection, topic, { partitions });
    if (created.errorCode !== 0) throw new Error(`CreateTopics answered ${created.errorCode}`);
  }
}

export async function runExactlyOnce(options: ExactlyOnceOptions): Promise<ExactlyOnceResult> {
  const log = options.log ?? (() => {});
  const random = seededRandom(options.seed);
  await buildJava();
  using folder = new TemporaryFolder("exactly-once");
  const [kafkaPort = 0, httpPort = 0] = getFreePorts(2);
  const settings = { "upload.interval.ms": "300", "group.initial.rebalance.delay.ms": "0" };
  const start = () => WeirProcess.start({ folder: folder.path, settings, kafkaPort, httpPort, readyTimeoutMs: 60_000 });
  let weir = await start();
  const stop = new AbortController();
  const started = performance.now();
  const elapsedSeconds = (): number => (performance.now() - started) / 1000;
  await createTopics(kafkaPort);
  const copy = new Copy();
  const follower = new JavaProgram("CommittedReader", [weir.bootstrap, "out", String(partitions), "follow"], copy.take);
  const loops = new Loops(weir.bootstrap, options.loops);
  const feeding = feed(kafkaPort, stop.signal);
  feeding.catch(() => stop.abort());
  let kills = 0;
  let loopKills = 0;
  try {
    while (!stop.signal.aborted && elapsedSeconds() < options.seconds) {
      await Bun.sleep(options.killEverySeconds * (0.5 + random()) * 1000);
      await weir.kill();
      kills += 1;
      if (options.loopKillEvery > 0 && kills % options.loopKillEvery === 0) {
        await loops.killAndRestart(Math.floor(random() * options.loops));
        loopKills += 1;
      }
      weir = await start();
      log(`kill ${kills} at ${elapsedSeconds().toFixed(0)} s: ${loops.tally("commit")} commits, ${copy.count} records copied`);
    }
    stop.abort();
    await feeding;
    const inputs = await readEnds(kafkaPort, "in");
    const total = inputs.reduce((sum, end) => sum + end, 0);
    const deadline = performance.now() + finishTimeoutMs;
    while (copy.count < total && performance.now() < deadline) await Bun.sleep(50);
    await loops.end();
    const findings = [...copy.check(inputs), ...(await checkAfterwards(kafkaPort, weir.bootstrap, inputs))];
    if (loops.tally("commit") === 0 || loops.tally("abort") === 0)
      findings.push("no loop committed and aborted anything: the run shows nothing");
    if (findings.length > 0) findings.push(loops.errors, weir.logTail());
    const summary =
      `exactly-once: ${total} inputs, ${loops.tally("commit")} commits, ${loops.tally("abort")} aborts on purpose, ${loops.tally("undo")} after errors, ` +
      `${loops.tally("anew")} clients started anew, ${kills} kills of the broker and ${loopKills} of loops, seed ${options.seed}, ` +
      `${elapsedSeconds().toFixed(0)} s: ${findings.length === 0 ? "each input exactly once" : "NOT exactly once"}`;
    return { findings, summary };
  } finally {
    stop.abort();
    await loops.end();
    await follower.kill();
    await weir.kill();
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "60" },
      "kill-every-seconds": { type: "string", default: "5" },
      loops: { type: "string", default: "3" },
      seed: { type: "string", default: "1" },
    },
  });
  const result = await runExactlyOnce({
    seconds: Number(values.seconds),
    killEverySeconds: Number(values["kill-every-seconds"]),
    loops: Number(values.loops),
    loopKillEvery: 3,
    seed: Number(values.seed),
    log: (line) => console.log(line),
  });
  for (const finding of result.findings) console.log(finding);
  console.log(result.summary);
  process.exit(result.findings.length === 0 ? 0 : 1);
}
