/**
 * Exactly once under kill -9, with real clients: loops in Java and with librdkafka consume `in`, produce to `out` and commit both in transactions, while the
 * executable is killed and started again. Transactions are aborted on purpose, made impossible to commit, and left open until they time out; loops are killed,
 * paused, and replaced by a second one with the same transactional id while the first runs or sleeps. A read_committed reader that lived through it and one that
 * comes afterwards must both see each input once, in order, and nothing aborted; a read_uncommitted one shows that every attempt is there wholly or not at all. No
 * transaction may be left hanging. The run fails when one of these paths was never taken.
 *
 *   bun test/chaos/exactly-once.ts [--seconds 60] [--kill-every-seconds 5] [--trouble-every-seconds 6] [--loops 3] [--seed 1]
 */
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { seededRandom } from "../support/corpus.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, listOffset, produceValues } from "../support/raw-client.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { repositoryRoot } from "../support/tools.ts";
import { startRestartable, type WeirProcess } from "../support/weir-process.ts";
import { checkAttempts, checkCopy } from "./exactly-once-check.ts";
import { buildJavaLoops, Copy, type Isolation, startReader, Workers } from "./exactly-once-workers.ts";

/** How often each path must have been taken before the run may end. */
export interface ExactlyOnceGoals {
  readonly inputs: number;
  readonly brokerKills: number;
  readonly commits: number;
  readonly aborts: number;
  /** Transactions ended by an error that aborting answers. */
  readonly abortable: number;
  /** Transactions that outlived their time-out and were refused. */
  readonly timeouts: number;
  /** Replaced loops that were fenced. */
  readonly fenced: number;
}

export interface ExactlyOnceOptions {
  /** The least time that inputs are written and processes are killed; it goes on until the goals are met. The loops then finish what is left. */
  readonly seconds: number;
  /** How much longer than that the goals may take. */
  readonly graceSeconds: number;
  readonly goals: ExactlyOnceGoals;
  readonly killEverySeconds: number;
  readonly troubleEverySeconds: number;
  readonly loops: number;
  /** Inputs written beyond those copied; more are not. */
  readonly maxUncopied: number;
  readonly seed: number;
  readonly log?: (line: string) => void;
}

export interface ExactlyOnceResult {
  readonly findings: readonly string[];
  readonly summary: string;
}

const partitions = 6;
const transactionTimeoutMs = 3000;
/** Beyond the time-out and the coordinator's next look for transactions that are over it. */
const stallMs = 4500;
/** The session of a loop is 3 s: asleep for less it keeps its partitions and only its epoch is old. */
const pausesMs = [1500, 5000];
const batchRecords = 20;
const progressMs = 5000;
const stuckMs = 120_000;
const idleMs = 20_000;
/** What all brokers of the last run logged. */
const brokerLog = join(repositoryRoot, "build", "test", "exactly-once-broker.log");
const latestOffset = -1n;

const brokerSettings = {
  "upload.interval.ms": "1000",
  "group.initial.rebalance.delay.ms": "0",
  "group.min.session.timeout.ms": "2000",
  "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
};

async function createTopics(port: number): Promise<void> {
  using connection = await KafkaConnection.open(port);
  // A spoiled transaction holds a record of 60,000 bytes.
  for (const [topic, maxBytes] of [
    ["in", 1_000_000],
    ["out", 40_000],
  ] as const) {
    const created = await createTopicRaw(connection, topic, { partitions, configs: { "max.message.bytes": String(maxBytes) } });
    if (created.errorCode !== 0) throw new Error(`CreateTopics answered ${created.errorCode}`);
  }
}

async function readEnds(port: number, topic: string, isolation: Isolation): Promise<number[]> {
  using connection = await KafkaConnection.open(port);
  const ends: number[] = [];
  for (let partition = 0; partition < partitions; partition++) {
    const end = await listOffset(connection, topic, partition, latestOffset, isolation === "read_committed" ? 1 : 0);
    if (end.errorCode !== 0) throw new Error(`ListOffsets of ${topic}-${partition} answered ${end.errorCode}`);
    ends.push(Number(end.offset));
  }
  return ends;
}

const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);

class ExactlyOnceRun {
  private readonly options: ExactlyOnceOptions;
  private readonly random: () => number;
  private readonly startBroker: () => Promise<WeirProcess>;
  private readonly copy = new Copy(partitions);
  private readonly workers: Workers;
  private readonly started = performance.now();
  private weir: WeirProcess;
  private written = 0;
  private kills = 0;
  private idleKills = 0;
  private isStopping = false;
  private phase = "trouble";

  constructor(options: ExactlyOnceOptions, weir: WeirProcess, startBroker: () => Promise<WeirProcess>) {
    this.options = options;
    this.random = seededRandom(options.seed);
    this.weir = weir;
    this.startBroker = startBroker;
    this.workers = new Workers({ bootstrap: weir.bootstrap, javaLoops: options.loops, transactionTimeoutMs, stallMs });
  }

  async run(): Promise<ExactlyOnceResult> {
    const follower = startReader(this.weir.bootstrap, "out", this.copy, "follow", "read_committed");
    const progress = setInterval(() => this.options.log?.(this.describe()), progressMs);
    try {
      const background = Promise.all([this.feed(), this.killBrokers(), this.troubleWorkers()]);
      background.catch(() => this.stop());
      await this.untilGoals();
      this.stop();
      await background;
      this.phase = "finishing";
      await this.untilCopied();
      await this.workers.end();
      this.phase = "checking";
      const findings = await this.check();
      return { findings, summary: `exactly-once: ${this.describe()}: ${findings.length === 0 ? "each input exactly once" : "FAILED"}` };
    } finally {
      clearInterval(progress);
      this.stop();
      await this.workers.end();
      await follower.kill();
      await this.weir.kill();
      this.keepLog();
    }
  }

  private stop(): void {
    this.isStopping = true;
  }

  private get elapsedSeconds(): number {
    return (performance.now() - this.started) / 1000;
  }

  private describe(): string {
    const { tallies } = this.workers;
    const ends = ["commit", "abort"].map((kind) => `${tallies.of(kind)} ${kind}s`).join(", ");
    const workers = ["replaced asleep", "replaced awake", "paused", "killed"].map((kind) => `${tallies.of(kind)} ${kind}`).join(", ");
    return (
      `${this.phase} ${this.elapsedSeconds.toFixed(0)} s, seed ${this.options.seed}: ${this.copy.count} of ${this.written} inputs copied, ${ends}, ` +
      `abortable ${tallies.describe("undo")}, timeouts ${tallies.describe("timeout")}, fenced ${tallies.describe("fenced")}, ` +
      `expired ${tallies.describe("expired")}, ${tallies.of("overrun")} late commits taken, clients anew ${tallies.describe("anew")}; ` +
      `loops ${workers}; broker killed ${this.kills} times, ${this.idleKills} of them while nothing was copied for ${idleMs / 1000} s`
    );
  }

  /** Paths that were taken less often than they must be. */
  private missingGoals(): string[] {
    const { tallies } = this.workers;
    const { goals } = this.options;
    const taken: Record<keyof ExactlyOnceGoals, number> = {
      inputs: this.copy.count,
      brokerKills: this.kills,
      commits: tallies.of("commit"),
      aborts: tallies.of("abort"),
      abortable: tallies.of("undo"),
      timeouts: tallies.of("timeout"),
      fenced: tallies.of("fenced"),
    };
    const names = Object.keys(taken) as (keyof ExactlyOnceGoals)[];
    return names.filter((name) => taken[name] < goals[name]).map((name) => `${name}: ${taken[name]} of at least ${goals[name]}`);
  }

  private async untilGoals(): Promise<void> {
    const { seconds, graceSeconds } = this.options;
    while (!this.isStopping && this.elapsedSeconds < seconds + graceSeconds) {
      if (this.elapsedSeconds >= seconds && this.missingGoals().length === 0) return;
      await Bun.sleep(50);
    }
  }

  /** Writes inputs until told to stop. A batch whose answer is lost may be there or not: what counts is the log of `in` as it is at the end. */
  private async feed(): Promise<void> {
    while (!this.isStopping) {
      const connection = await KafkaConnection.open(this.weir.kafkaPort).catch(() => undefined);
      if (connection === undefined) {
        await Bun.sleep(20);
        continue;
      }
      try {
        while (!this.isStopping) {
          if (this.written < this.copy.count + this.options.maxUncopied) await this.feedOnce(connection);
          await Bun.sleep(40);
        }
      } catch (error) {
        if (!(error instanceof Error) || error.message !== "closed") throw error;
      } finally {
        connection.close();
      }
    }
  }

  private async feedOnce(connection: KafkaConnection): Promise<void> {
    const values = Array.from({ length: batchRecords }, () => "input");
    for (let partition = 0; partition < partitions; partition++) {
      const { errorCode } = await produceValues(connection, "in", partition, values);
      if (errorCode === 0) this.written += batchRecords;
    }
  }

  private async sleepAbout(seconds: number): Promise<void> {
    const until = performance.now() + seconds * (0.5 + this.random()) * 1000;
    while (!this.isStopping && performance.now() < until) await Bun.sleep(20);
  }

  private async untilFirstCopies(): Promise<void> {
    while (!this.isStopping && this.copy.count === 0) await Bun.sleep(20);
  }

  private async killBrokers(): Promise<void> {
    await this.untilFirstCopies();
    for (;;) {
      await this.sleepAbout(this.options.killEverySeconds);
      if (this.isStopping) return;
      await this.awaitCopies();
      await this.weir.kill();
      this.keepLog();
      this.weir = await this.startBroker();
      this.kills += 1;
    }
  }

  /** A kill that meets no transaction shows nothing: it waits for a copied record, though not for long. */
  private async awaitCopies(): Promise<void> {
    const from = performance.now();
    const { count } = this.copy;
    while (!this.isStopping && this.copy.count === count && performance.now() - from < idleMs) await Bun.sleep(20);
    if (this.copy.count === count) this.idleKills += 1;
  }

  private keepLog(): void {
    appendFileSync(brokerLog, this.weir.log());
  }

  private async troubleWorkers(): Promise<void> {
    await this.untilFirstCopies();
    for (let turn = 0; ; turn++) {
      await this.sleepAbout(this.options.troubleEverySeconds);
      if (this.isStopping) return;
      const slot = Math.floor(this.random() * this.workers.slots);
      const pauseMs = pausesMs[Math.floor(this.random() * pausesMs.length)] ?? 0;
      if (turn % 4 === 0) await this.workers.replace(slot, false, 0);
      else if (turn % 4 === 1) await this.workers.replace(slot, true, pauseMs);
      else if (turn % 4 === 2) await this.workers.pause(slot, pauseMs);
      else await this.workers.kill(slot);
    }
  }

  /** Until every input is copied, or nothing more comes. */
  private async untilCopied(): Promise<void> {
    this.written = sum(await readEnds(this.weir.kafkaPort, "in", "read_uncommitted"));
    let count = -1;
    let changed = performance.now();
    while (this.copy.count < this.written && performance.now() - changed < stuckMs) {
      if (this.copy.count !== count) changed = performance.now();
      count = this.copy.count;
      await Bun.sleep(50);
    }
  }

  private async check(): Promise<string[]> {
    const inputs = await readEnds(this.weir.kafkaPort, "in", "read_uncommitted");
    const findings = [...this.missingGoals(), ...this.workers.findings, ...(await this.awaitStable())];
    const [afterwards, everything] = await Promise.all([this.readOnce("read_committed"), this.readOnce("read_uncommitted")]);
    for (const [name, copy] of [
      ["read along", this.copy],
      ["read afterwards", afterwards],
    ] as const) {
      const each = inputs.flatMap((count, partition) => checkCopy(partition, count, copy.records[partition] ?? []));
      findings.push(...each.map((finding) => `${name}: ${finding}`));
      findings.push(...checkAttempts(copy.records, everything.records, this.workers).map((finding) => `${name}: ${finding}`));
    }
    if (everything.count === afterwards.count) findings.push("nothing aborted is in the log: the run shows nothing");
    if (findings.length > 0) findings.push(this.workers.errors, this.weir.logTail());
    return findings;
  }

  /** What dead loops left open times out; then the last stable offset is the log's end. */
  private async awaitStable(): Promise<string[]> {
    const deadline = performance.now() + 30_000;
    for (;;) {
      const ends = await readEnds(this.weir.kafkaPort, "out", "read_uncommitted");
      const stable = await readEnds(this.weir.kafkaPort, "out", "read_committed");
      const hanging = ends.flatMap((end, partition) =>
        stable[partition] === end ? [] : [`out-${partition} is stable to ${stable[partition]} of ${end}`],
      );
      if (hanging.length === 0 || performance.now() > deadline) return hanging;
      await Bun.sleep(100);
    }
  }

  private async readOnce(isolation: Isolation): Promise<Copy> {
    const copy = new Copy(partitions);
    const reader = startReader(this.weir.bootstrap, "out", copy, "once", isolation);
    const timer = setTimeout(() => void reader.kill(), stuckMs);
    const code = await reader.exited;
    clearTimeout(timer);
    if (code !== 0) throw new Error(`the ${isolation} reader ended with ${code}: ${reader.errors}`);
    return copy;
  }
}

export async function runExactlyOnce(options: ExactlyOnceOptions): Promise<ExactlyOnceResult> {
  await buildJavaLoops();
  mkdirSync(dirname(brokerLog), { recursive: true });
  writeFileSync(brokerLog, "");
  using folder = new TemporaryFolder("exactly-once");
  const { weir, start } = await startRestartable({ folder: folder.path, settings: brokerSettings, readyTimeoutMs: 60_000 }, createTopics);
  return await new ExactlyOnceRun(options, weir, start).run();
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "60" },
      "kill-every-seconds": { type: "string", default: "5" },
      "trouble-every-seconds": { type: "string", default: "6" },
      loops: { type: "string", default: "3" },
      seed: { type: "string", default: "1" },
    },
  });
  const { findings, summary } = await runExactlyOnce({
    seconds: Number(values.seconds),
    graceSeconds: 120,
    goals: { inputs: 10_000, brokerKills: 3, commits: 100, aborts: 20, abortable: 5, timeouts: 2, fenced: 2 },
    killEverySeconds: Number(values["kill-every-seconds"]),
    troubleEverySeconds: Number(values["trouble-every-seconds"]),
    loops: Number(values.loops),
    maxUncopied: 10_000,
    seed: Number(values.seed),
    log: (line) => console.log(line),
  });
  for (const finding of findings) console.log(finding);
  console.log(summary);
  process.exit(findings.length === 0 ? 0 : 1);
}
