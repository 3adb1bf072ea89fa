/**
 * One broker whose bucket is in trouble, and the clients that must not mind: idempotent producers and readers of our own, a producer and a reader of
 * librdkafka (kcat), an eye on memory, readiness and what reaches the bucket. At the end everything acknowledged is read back twice: from the running
 * broker, and after a restart from the bucket.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { seededRandom } from "../support/corpus.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import type { LoopDevice } from "../support/loop-device.ts";
import { getFreePorts } from "../support/ports.ts";
import { createTopicRaw, fetchAll, fetchRecords } from "../support/raw-client.ts";
import type { FaultProxy } from "../support/s3-servers.ts";
import { hasTool } from "../support/tools.ts";
import { WeirProcess } from "../support/weir-process.ts";
import { IdempotentProducer } from "./idempotent-producer.ts";
import { checkLog, fingerprint } from "./log-checker.ts";

const TOPIC = "trouble";
const KCAT_TOPIC = "trouble-librdkafka";
/** Partition 0 has two producers, the others one each. */
const PRODUCER_PARTITIONS = [0, 0, 1, 2];
const PARTITIONS = 3;
const SAMPLE_EVERY_MS = 100;
const SOON_MS = 30_000;

export interface RigOptions {
  readonly folder: string;
  readonly device: LoopDevice | undefined;
  readonly walSize: string;
  /** Value of `object.store`. */
  readonly store: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly settings?: Readonly<Record<string, string>>;
  /** Counts what the broker sends. */
  readonly proxy: FaultProxy;
  readonly seed: number;
  /** Between two batches of a producer. */
  readonly pauseMs: number;
  readonly fillerBytes?: number;
}

interface Phase {
  readonly name: string;
  readonly startedMs: number;
  readonly requests: number;
  rssMax: number;
  rssLast: number;
}

export class Rig {
  readonly findings: string[] = [];
  /** What /readyz said, in short words, in order of first appearance. */
  readonly states = new Set<string>();
  readonly phases: Phase[] = [];
  weir: WeirProcess | undefined;
  private logs = "";
  private readonly options: RigOptions;
  private readonly ports: readonly [number, number];
  private readonly producers: IdempotentProducer[];
  private readonly seen = Array.from({ length: PARTITIONS }, () => new Map<number, string>());
  private readonly stopped = new AbortController();
  private serving = Promise.withResolvers<number>();
  private runs: Promise<unknown>[] = [];
  private followers: Promise<void>[] = [];
  private sampling: Promise<void> = Promise.resolve();
  private kcat: KcatPair | undefined;
  private isRestarting = false;

  constructor(options: RigOptions) {
    this.options = options;
    const [kafkaPort = 0, httpPort = 0] = getFreePorts(2);
    this.ports = [kafkaPort, httpPort];
    this.producers = PRODUCER_PARTITIONS.map((partition, index) => {
      const random = seededRandom(options.seed * 1000 + index);
      const whenServing = (): Promise<number> => this.serving.promise;
      const { pauseMs, fillerBytes = 1000 } = options;
      return new IdempotentProducer({ name: `p${index}`, topic: TOPIC, partition, random, whenServing, pauseMs, fillerBytes });
    });
  }

  get acknowledged(): number {
    return this.producers.reduce((sum, producer) => sum + producer.acknowledgedRecords, 0);
  }

  get slowestAckMs(): number {
    return Math.max(...this.producers.map((producer) => producer.slowestAckMs));
  }

  /** Everything that brokers of this rig have logged. */
  get log(): string {
    return this.logs + (this.weir?.log() ?? "");
  }

  /** Occurrences of an event in the log. */
  count(event: string): number {
    return this.log.split(` ${event} `).length - 1;
  }

  /** Waits for what may come a little later than its cause (a line in the log, a sample of /readyz); a finding when it does not come. */
  async until(holds: () => boolean, finding: string): Promise<void> {
    const startedMs = performance.now();
    while (!holds() && this.weir?.hasExited === false) {
      if (performance.now() - startedMs > SOON_MS) break;
      await Bun.sleep(20);
    }
    if (!holds()) this.findings.push(finding);
  }

  /** The event is in the log, now or soon. */
  logged(event: string): Promise<void> {
    return this.until(() => this.count(event) > 0, `no ${event} in the log`);
  }

  /** /readyz has said so, now or soon. */
  showed(state: string): Promise<void> {
    return this.until(() => this.states.has(state), `/readyz never said "${state}"`);
  }

  /** Does not wait for it to serve. */
  spawn(environment: Readonly<Record<string, string>> = this.options.environment): WeirProcess {
    const { folder, device, walSize, store, settings } = this.options;
    this.weir = WeirProcess.spawn({
      folder,
      environment,
      kafkaPort: this.ports[0],
      httpPort: this.ports[1],
      settings: {
        "upload.interval.ms": "200",
        "upload.size.bytes": "1MiB",
        "ring.capacity.bytes": "16MiB",
        "block.cache.bytes": "4MiB",
        wal: device === undefined ? `file:${join(folder, "wal")}?size=${walSize}` : `block:${device.path}`,
        "object.store": store,
        ...settings,
      },
    });
    return this.weir;
  }

  /** Throws when it ends first or is not ready after `timeoutMs`. */
  async whenReady(timeoutMs = 60_000): Promise<void> {
    const { weir } = this;
    if (weir === undefined) throw new Error("no broker was started");
    const startedMs = performance.now();
    while (!(await weir.isReady())) {
      if (weir.hasExited) throw new Error(`weir ended with ${await weir.waitExit()}:\n${weir.logTail()}`);
      if (performance.now() - startedMs > timeoutMs) throw new Error(`not ready after ${timeoutMs} ms:\n${weir.logTail()}`);
      await Bun.sleep(20);
    }
    this.serving.resolve(this.ports[0]);
  }

  async startLoad(): Promise<void> {
    using connection = await KafkaConnection.open(this.ports[0]);
    for (const [name, partitions] of [
      [TOPIC, PARTITIONS],
      [KCAT_TOPIC, 1],
    ] as const) {
      const { errorCode } = await createTopicRaw(connection, name, { partitions });
      if (errorCode !== 0) throw new Error(`CreateTopics of ${name} answered ${errorCode}`);
    }
    this.runs = this.producers.map((producer) => producer.run());
    this.followers = this.seen.map((map, partition) => this.follow(partition, map));
    for (const client of [...this.runs, ...this.followers])
      client.catch((error: unknown) => this.findings.push(`a client failed: ${error}`));
    if (hasTool("kcat")) this.kcat = new KcatPair(`127.0.0.1:${this.ports[0]}`, this.options.pauseMs);
    this.sampling = this.sample();
    // A producer gets its id from the metadata log: one that has none when the trouble begins would measure something else.
    await this.until(() => this.producers.every((producer) => producer.acknowledged.length > 0), "a producer never began");
  }

  /** What happens from now on is put to `name`. */
  async phase(name: string): Promise<void> {
    const requests = Number((await this.options.proxy.stats()).requests ?? 0);
    this.phases.push({ name, startedMs: performance.now(), requests, rssMax: 0, rssLast: 0 });
  }

  /** Requests a second that reached the proxy in the phase of that name. */
  rate(name: string): number {
    const index = this.phases.findIndex((phase) => phase.name === name);
    const [phase, next] = [this.phases[index], this.phases[index + 1]];
    if (phase === undefined || next === undefined) throw new Error(`phase ${name} has not ended`);
    return ((next.requests - phase.requests) * 1000) / (next.startedMs - phase.startedMs);
  }

  async kill(): Promise<void> {
    this.isRestarting = true;
    this.serving = Promise.withResolvers<number>();
    await this.weir?.kill();
    this.keepLog();
  }

  restarted(): void {
    this.isRestarting = false;
  }

  private keepLog(): void {
    this.logs += this.weir?.log() ?? "";
    this.weir = undefined;
  }

  /** Ends the load, waits until all of it is acknowledged, and checks. `pairName`: for findings. */
  async finish(): Promise<FinishedRun> {
    for (const producer of this.producers) producer.stop();
    await Promise.all(this.runs);
    await this.phase("end");
    await this.kcat?.stop(this.findings);
    await this.whenReady();
    const requests = this.phases.at(-1)?.requests ?? 0;
    const retries = (await this.weir?.readMetric("weir_store_retries_total")) ?? 0;
    this.stopped.abort();
    await Promise.all([...this.followers, this.sampling]);
    const { readBack, duplicates } = await this.check("");
    const weir = this.weir;
    if (weir === undefined) throw new Error("no broker");
    const exitCode = await weir.stop();
    if (exitCode !== 0) this.findings.push(`SIGTERM ended with ${exitCode}:\n${weir.logTail()}`);
    this.keepLog();
    this.spawn();
    await this.whenReady();
    await this.check("after a restart: ");
    await this.weir?.stop();
    this.keepLog();
    for (const producer of this.producers) this.findings.push(...producer.violations);
    return { readBack, duplicates, requests, retries };
  }

  private async check(when: string): Promise<{ readBack: number; duplicates: number }> {
    using connection = await KafkaConnection.open(this.ports[0]);
    let readBack = 0;
    let duplicates = 0;
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const records = await fetchAll(connection, TOPIC, partition);
      const own = this.producers.filter((producer) => producer.partition === partition);
      const found = checkLog(partition, records, own, this.seen[partition] ?? new Map());
      this.findings.push(...found.map((finding) => when + finding));
      const names = new Set(records.map(({ value }) => value.toString("latin1").split(":", 2).join(":")));
      readBack += records.length;
      duplicates += records.length - names.size;
    }
    this.findings.push(...((await this.kcat?.check(connection)) ?? []).map((finding) => when + finding));
    return { readBack, duplicates };
  }

  get kcatSummary(): string {
    return this.kcat === undefined ? "librdkafka not here" : `librdkafka ${this.kcat.sent} sent, ${this.kcat.received} received`;
  }

  /** Reads a partition from 0 on, over and over as connections break; an answer with an error is tried again. */
  private async follow(partition: number, seen: Map<number, string>): Promise<void> {
    let next = 0;
    while (!this.stopped.signal.aborted) {
      const connection = await Promise.race([this.serving.promise, Bun.sleep(200).then(() => 0)])
        .then((port) => (port === 0 ? undefined : KafkaConnection.open(port)))
        .catch(() => undefined);
      if (connection === undefined) {
        await Bun.sleep(10);
        continue;
      }
      try {
        while (!this.stopped.signal.aborted) {
          const fetched = await fetchRecords(connection, TOPIC, partition, next, { maxWaitMs: 100 });
          if (fetched.errorCode !== 0) await Bun.sleep(100);
          for (const record of fetched.records) {
            seen.set(record.offset, fingerprint(record));
            next = record.offset + 1;
          }
        }
      } catch (error) {
        if (!(error instanceof Error) || error.message !== "closed") throw error;
      } finally {
        connection.close();
      }
    }
  }

  private async sample(): Promise<void> {
    while (!this.stopped.signal.aborted) {
      await Bun.sleep(SAMPLE_EVERY_MS);
      const { weir } = this;
      const phase = this.phases.at(-1);
      if (weir === undefined || weir.hasExited || phase === undefined) {
        if (weir?.hasExited === true && !this.isRestarting) this.findings.push(`the broker ended:\n${weir.logTail()}`);
        if (weir?.hasExited === true) await Bun.sleep(1000);
        continue;
      }
      try {
        phase.rssLast = weir.residentBytes();
        phase.rssMax = Math.max(phase.rssMax, phase.rssLast);
        const text = await (await fetch(`http://127.0.0.1:${this.ports[1]}/readyz`)).text();
        for (const state of describeReadiness(text)) this.states.add(state);
      } catch {
        // It is starting, or was killed just now.
      }
    }
  }

  /** For findings: the end of the newest broker's log. */
  logTail(): string {
    return this.log.slice(-3000);
  }

  async dispose(): Promise<void> {
    this.stopped.abort();
    await this.weir?.kill();
    this.kcat?.kill();
  }
}

export interface FinishedRun {
  readonly readBack: number;
  readonly duplicates: number;
  readonly requests: number;
  readonly retries: number;
}

function describeReadiness(text: string): string[] {
  const known = {
    "store away": /the object store is away/,
    "uploads wait": /uploads wait for the object store/,
    "WAL full": /storage is wal-full/,
    "start waits": /starting and waits/,
  };
  const found = Object.entries(known).flatMap(([name, pattern]) => (pattern.test(text) ? [name] : []));
  return found.length > 0 ? found : [text.startsWith("ready") || text === "ok\n" ? "ready" : "other"];
}

/** librdkafka as people run it: an idempotent producer that reads lines, a consumer from the beginning. */
class KcatPair {
  sent = 0;
  private readonly producer: ChildProcess;
  private readonly consumer: ChildProcess;
  private readonly timer: Timer;
  private output = "";
  private complaints = "";
  private readonly exited: Promise<number>;

  constructor(bootstrap: string, pauseMs: number) {
    const common = ["-E", "-b", bootstrap, "-t", KCAT_TOPIC, "-p", "0", "-X", "reconnect.backoff.max.ms=500", "-X", "log_level=0"];
    const idempotent = ["-X", "enable.idempotence=true", "-X", "message.timeout.ms=900000"];
    this.producer = spawn("kcat", ["-P", ...common, ...idempotent], { stdio: ["pipe", "ignore", "pipe"] });
    this.consumer = spawn("kcat", ["-C", "-q", "-u", "-o", "beginning", "-f", "%o %s\n", ...common], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    this.producer.stderr?.on("data", (chunk: Buffer) => {
      this.complaints += chunk.toString();
    });
    this.consumer.stdout?.on("data", (chunk: Buffer) => {
      this.output += chunk.toString();
    });
    this.exited = new Promise((resolve) => this.producer.on("close", (code) => resolve(code ?? -1)));
    this.timer = setInterval(() => this.producer.stdin?.write(`line ${this.sent++}\n`), Math.max(10, pauseMs));
  }

  get received(): number {
    return this.lines.length;
  }

  private get lines(): readonly string[] {
    return this.output.split("\n").slice(0, -1);
  }

  /** All that was sent is acknowledged to the producer and has reached the consumer. */
  async stop(findings: string[]): Promise<void> {
    clearInterval(this.timer);
    this.producer.stdin?.end();
    const code = await Promise.race([this.exited, Bun.sleep(60_000).then(() => -2)]);
    if (code !== 0 || /Delivery failed/.test(this.complaints)) findings.push(`kcat -P ended with ${code}: ${this.complaints.slice(-500)}`);
    for (let waits = 0; this.received < this.sent && waits < 200; waits++) await Bun.sleep(50);
    this.consumer.kill("SIGKILL");
    const wrong = this.lines.findIndex((line, index) => line !== `${index} line ${index}`);
    if (wrong >= 0) findings.push(`kcat -C read "${this.lines[wrong]}" where "${wrong} line ${wrong}" was due`);
    if (this.received !== this.sent) findings.push(`kcat -C read ${this.received} of ${this.sent} lines`);
  }

  async check(connection: KafkaConnection): Promise<string[]> {
    const records = await fetchAll(connection, KCAT_TOPIC, 0);
    const wrong = records.findIndex(({ value }, index) => value.toString() !== `line ${index}`);
    if (wrong >= 0) return [`librdkafka's line ${wrong} is "${records[wrong]?.value}"`];
    return records.length === this.sent ? [] : [`librdkafka sent ${this.sent} lines, and ${records.length} are there`];
  }

  kill(): void {
    clearInterval(this.timer);
    this.producer.kill("SIGKILL");
    this.consumer.kill("SIGKILL");
  }
}
