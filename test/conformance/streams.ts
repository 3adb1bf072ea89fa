/**
 * Kafka Streams with exactly_once_v2 against the executable: inputs are regrouped through a repartition topic and counted in a store with a changelog, while the
 * broker is killed and the application's instances are killed or closed and started again. Every input must count exactly once (streams-check.ts), for a reader that
 * lived through it and for one that comes afterwards.
 *
 *   bun test/conformance/streams.ts [--records 1000000] [--strikes 12] [--instances 2] [--groups 1000] [--seed 1]
 *
 * Needs a JDK and test/support/kafka-peer/setup.sh once. Strikes come with progress, not with time: the inputs are written in slices, one more than strikes,
 * and in the middle of each slice something dies.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { seededRandom } from "../support/corpus.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { LineProgram } from "../support/line-program.ts";
import { createTopicRaw } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { mustRunTool, repositoryRoot } from "../support/tools.ts";
import { startRestartable, type WeirProcess } from "../support/weir-process.ts";
import { hasKafkaTools, kafkaPeerHome, noKafkaTools } from "./clients.ts";
import { StreamsCountChecker } from "./streams-check.ts";

export interface StreamsOptions {
  readonly records: number;
  /** Each kills the broker; every second one also ends an instance, by turns killed and closed. */
  readonly strikes: number;
  readonly instances: number;
  readonly groups: number;
  readonly seed: number;
  readonly log?: (line: string) => void;
}

export interface StreamsResult {
  readonly findings: readonly string[];
  readonly summary: string;
}

const streamsLibrary = join(kafkaPeerHome, "streams-lib");
const classes = join(repositoryRoot, "build", "conformance", "streams");
const inputPartitions = 6;
const groupPartitions = 4;
const threads = 2;
const progressMs = 5000;
/** Without an output for this long the application is stuck. Restoring a store after a restart takes seconds. */
const stuckMs = 120_000;
const closeMs = 30_000;
const pollMs = 20;

const brokerSettings = {
  "group.initial.rebalance.delay.ms": "0",
  "group.min.session.timeout.ms": "2000",
  "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
};

export const hasStreams = hasKafkaTools && existsSync(streamsLibrary);
export const noStreams = noKafkaTools;

async function buildStreams(): Promise<void> {
  mkdirSync(classes, { recursive: true });
  const source = join(import.meta.dir, "streams", "StreamsCount.java");
  await mustRunTool(["javac", "-d", classes, "-cp", join(streamsLibrary, "*"), source]);
}

function startProgram(args: readonly string[], sink: (line: string) => void): LineProgram {
  const logging = `-Dlog4j2.configurationFile=${join(kafkaPeerHome, "log4j2-tools.yaml")}`;
  const options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", logging, "-cp", `${classes}:${join(streamsLibrary, "*")}`];
  return new LineProgram(["java", ...options, "StreamsCount", ...args], sink);
}

class StreamsRun {
  private readonly options: StreamsOptions;
  private readonly random: () => number;
  private readonly folder: string;
  private readonly startBroker: () => Promise<WeirProcess>;
  private readonly checker = new StreamsCountChecker();
  private readonly instances: LineProgram[] = [];
  private readonly replaced = new Map<string, number>();
  private readonly started = performance.now();
  private weir: WeirProcess;
  private producedTo = 0;
  private kills = 0;
  private instanceKills = 0;
  private instanceCloses = 0;
  private findings: string[] = [];

  constructor(options: StreamsOptions, folder: string, weir: WeirProcess, startBroker: () => Promise<WeirProcess>) {
    this.options = options;
    this.random = seededRandom(options.seed);
    this.folder = folder;
    this.weir = weir;
    this.startBroker = startBroker;
  }

  async run(): Promise<StreamsResult> {
    const { bootstrap } = this.weir;
    const follower = startProgram(["read", bootstrap, String(groupPartitions), "follow"], this.checker.take);
    const producer = startProgram(["produce", bootstrap, String(inputPartitions)], (line) => {
      this.producedTo = Number(line.split(" ")[1]);
    });
    const progress = setInterval(() => this.options.log?.(this.describe()), progressMs);
    try {
      for (let index = 0; index < this.options.instances; index++) this.startInstance(index);
      await this.writeAndStrike(producer);
      for (const instance of this.instances) {
        const code = await instance.stop(closeMs);
        if (code !== 143) this.findings.push(`an instance that was closed ended with ${code}: ${instance.errors}`);
      }
      const afterwards = await this.readAfterwards();
      for (const [name, checker] of [
        ["read along", this.checker],
        ["read afterwards", afterwards],
      ] as const) {
        const found = checker.finish(this.options.records, this.options.groups);
        this.findings.push(...found.map((finding) => `${name}: ${finding}`));
      }
      if (this.findings.length > 0) this.findings.push(...this.instances.map(({ errors }) => errors), this.weir.logTail());
      return {
        findings: this.findings,
        summary: `streams: ${this.describe()}: ${this.findings.length === 0 ? "each counted once" : "FAILED"}`,
      };
    } finally {
      clearInterval(progress);
      await Promise.all([...this.instances, producer, follower].map((program) => program.kill()));
      await this.weir.kill();
    }
  }

  private startInstance(index: number): void {
    const { bootstrap } = this.weir;
    const args = [
      "run",
      bootstrap,
      String(threads),
      join(this.folder, `state-${index}`),
      String(this.options.groups),
      String(groupPartitions),
    ];
    this.instances[index] = startProgram(args, (line) => {
      const [kind, name = ""] = line.split(" ");
      if (kind === "replaced") this.replaced.set(name, (this.replaced.get(name) ?? 0) + 1);
    });
  }

  private async writeAndStrike(producer: LineProgram): Promise<void> {
    const { records, strikes } = this.options;
    const slice = Math.floor(records / (strikes + 1));
    for (let strike = 0; strike < strikes; strike++) {
      producer.writeLine(String((strike + 1) * slice));
      await this.untilOutputs(strike * slice + Math.floor((slice * (1 + this.random())) / 4));
      await this.killBroker();
      if (strike % 2 === 1) await this.restartInstance(Math.floor(strike / 2));
      if (this.random() < 0.3) await this.killBroker();
    }
    producer.writeLine(String(records));
    await this.untilOutputs(records);
    if (this.producedTo !== records && !(await this.until(() => this.producedTo === records, closeMs))) throw new Error(producer.errors);
  }

  private async killBroker(): Promise<void> {
    await this.weir.kill();
    this.weir = await this.startBroker();
    this.kills += 1;
  }

  private async restartInstance(turn: number): Promise<void> {
    const index = Math.floor(turn / 2) % this.options.instances;
    if (turn % 2 === 0) {
      await this.instances[index]?.kill();
      this.instanceKills += 1;
    } else {
      await this.instances[index]?.stop(closeMs);
      this.instanceCloses += 1;
    }
    this.startInstance(index);
  }

  private async untilOutputs(count: number): Promise<void> {
    for (let before = -1; this.checker.count < count; ) {
      if (before === this.checker.count) {
        const errors = this.instances.map((instance) => instance.errors).join("\n");
        throw new Error(`stuck at ${this.describe()}\n${errors}\n${this.weir.logTail()}`);
      }
      before = this.checker.count;
      await this.until(() => this.checker.count > before, stuckMs);
    }
  }

  private async until(condition: () => boolean, timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (!condition()) {
      if (performance.now() > deadline) return false;
      await Bun.sleep(pollMs);
    }
    return true;
  }

  private async readAfterwards(): Promise<StreamsCountChecker> {
    const checker = new StreamsCountChecker();
    const reader = startProgram(["read", this.weir.bootstrap, String(groupPartitions), "once"], checker.take);
    const timer = setTimeout(() => void reader.kill(), stuckMs);
    const code = await reader.exited;
    clearTimeout(timer);
    if (code !== 0) throw new Error(`the reader ended with ${code}: ${reader.errors}`);
    return checker;
  }

  private describe(): string {
    const replaced = [...this.replaced].map(([name, count]) => `${name} ${count}`).join(", ");
    return (
      `${((performance.now() - this.started) / 1000).toFixed(0)} s, seed ${this.options.seed}: ${this.checker.count} of ${this.options.records} inputs counted ` +
      `in ${this.options.groups} groups; broker killed ${this.kills} times, instances killed ${this.instanceKills} and closed ${this.instanceCloses}` +
      (replaced === "" ? "" : `, threads replaced after ${replaced}`)
    );
  }
}

async function createTopics(port: number): Promise<void> {
  using connection = await KafkaConnection.open(port);
  for (const [topic, partitions] of [
    ["in", inputPartitions],
    ["out", groupPartitions],
  ] as const) {
    const created = await createTopicRaw(connection, topic, { partitions });
    if (created.errorCode !== 0) throw new Error(`CreateTopics answered ${created.errorCode}`);
  }
}

export async function runStreams(options: StreamsOptions): Promise<StreamsResult> {
  await buildStreams();
  using folder = new TemporaryFolder("streams");
  const { weir, start } = await startRestartable({ folder: folder.path, settings: brokerSettings, readyTimeoutMs: 60_000 }, createTopics);
  return await new StreamsRun(options, folder.path, weir, start).run();
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      records: { type: "string", default: "1000000" },
      strikes: { type: "string", default: "12" },
      instances: { type: "string", default: "2" },
      groups: { type: "string", default: "1000" },
      seed: { type: "string", default: "1" },
    },
  });
  if (!hasStreams) throw new Error(noStreams);
  const { findings, summary } = await runStreams({
    records: Number(values.records),
    strikes: Number(values.strikes),
    instances: Number(values.instances),
    groups: Number(values.groups),
    seed: Number(values.seed),
    log: (line) => console.log(line),
  });
  for (const finding of findings) console.log(finding);
  console.log(summary);
  process.exit(findings.length === 0 ? 0 : 1);
}
