/**
 * The servers that are measured, each a process of its own on 127.0.0.1 with its data under one folder, so that all share a file system. `settle` says
 * when a server has done all the work that it owes for what it acknowledged: Weir when everything is uploaded and committed, the others at once.
 * Neighbours: `process-usage.ts` charges their processes; `rows/` drive them.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { getFreePorts } from "../support/ports.ts";
import { type S3Server, startS3Server } from "../support/s3-servers.ts";
import { mustRunTool, repositoryRoot } from "../support/tools.ts";
import { WeirProcess } from "../support/weir-process.ts";

export type ServerName = "weir" | "kafka" | "kafka-as-shipped" | "discard";

export interface BenchServer {
  readonly name: ServerName;
  readonly bootstrap: string;
  readonly pid: number;
  /** Resolves when nothing acknowledged is still owed to the disk or the object store. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Each server and the load program get a session of their own: Linux shares processors between sessions first (sched_autogroup_enabled), so two
 * that share one would have less than two that do not.
 */
export const OWN_SESSION = ["setsid"] as const;

const SETTLE_POLL_MS = 400;
const SETTLE_LIMIT_MS = 120_000;

/** Beyond these all is as shipped; docs/performance.md names them. */
export const WEIR_SETTINGS = { "ring.capacity.bytes": "256MiB", "upload.interval.ms": "2000" } as const;
export const WEIR_WAL_SIZE = "1GiB";
/** More than one lap of it: a file system is slower at the first write into each block, which a running broker's WAL has long behind it. */
export const WEIR_WAL_LAP_BYTES = 1.2e9;
/** What a benchmark's topics leave behind goes soon; not part of what is measured. */
const KAFKA_SETTINGS = ["log.segment.delete.delay.ms=1000"] as const;
export const KAFKA_DURABLE_SETTING = "log.flush.interval.messages=1";

export type StoreKind = "file" | "minio";

export class WeirServer implements BenchServer {
  readonly name = "weir";
  readonly #folder: string;
  readonly #s3: S3Server | undefined;
  #weir: WeirProcess;

  private constructor(folder: string, s3: S3Server | undefined, weir: WeirProcess) {
    this.#folder = folder;
    this.#s3 = s3;
    this.#weir = weir;
  }

  static async start(folder: string, store: StoreKind): Promise<WeirServer> {
    mkdirSync(folder, { recursive: true });
    const s3 = store === "minio" ? await startS3Server("minio") : undefined;
    return new WeirServer(folder, s3, await WeirProcess.start(weirOptions(folder, s3)));
  }

  get bootstrap(): string {
    return this.#weir.bootstrap;
  }

  get pid(): number {
    return this.#weir.pid;
  }

  get startMs(): number {
    return this.#weir.startMs;
  }

  log(): string {
    return this.#weir.log();
  }

  /** Sum over a metric's labels; 0 where it has no sample yet. */
  async readMetric(name: string): Promise<number> {
    return (await this.#weir.readMetric(name)) ?? 0;
  }

  async settle(): Promise<void> {
    const begun = performance.now();
    for (;;) {
      const metrics = await this.#weir.metrics();
      const waiting = sampleOf(metrics, "weir_upload_waiting_bytes") + sampleOf(metrics, "weir_upload_parts");
      if (waiting === 0) return;
      if (performance.now() - begun > SETTLE_LIMIT_MS) throw new Error(`weir still has uploads to do after ${SETTLE_LIMIT_MS} ms`);
      await Bun.sleep(SETTLE_POLL_MS);
    }
  }

  /** A clean stop and a start on the same data: every cache is empty then. */
  async restart(): Promise<void> {
    await this.#weir.stop();
    this.#weir = await WeirProcess.start(weirOptions(this.#folder, this.#s3));
  }

  async stop(): Promise<void> {
    await this.#weir.kill();
    await this.#s3?.[Symbol.asyncDispose]();
  }
}

/** An unlabelled metric's value. Throws when it is absent: without it nobody knows what is owed. */
function sampleOf(metrics: string, name: string): number {
  const value = new RegExp(`^${name} (\\S+)$`, "m").exec(metrics)?.[1];
  if (value === undefined) throw new Error(`weir has no metric ${name}`);
  return Number(value);
}

export function weirOptions(folder: string, s3?: S3Server) {
  const settings: Record<string, string> = { ...WEIR_SETTINGS, wal: `file:${join(folder, "wal")}?size=${WEIR_WAL_SIZE}` };
  const wrapper = OWN_SESSION;
  if (s3 === undefined) return { folder, settings, wrapper };
  settings["object.store"] = `s3://${s3.bucket}/bench?region=${s3.region}&endpoint=${s3.endpoint}&pathStyle=true`;
  const { accessKeyId, secretAccessKey } = s3.credentials;
  return { folder, settings, wrapper, environment: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } };
}

const kafkaScripts = join(repositoryRoot, "test", "support", "kafka-peer");

export class KafkaServer implements BenchServer {
  readonly name: "kafka" | "kafka-as-shipped";
  readonly bootstrap: string;
  readonly pid: number;
  readonly startMs: number;
  readonly #folder: string;

  private constructor(name: "kafka" | "kafka-as-shipped", folder: string, started: Readonly<Record<string, unknown>>) {
    this.name = name;
    this.#folder = folder;
    this.bootstrap = String(started.bootstrap);
    this.pid = Number(started.pid);
    this.startMs = Number(started.startup_ms);
  }

  /** "kafka" flushes each batch before it acknowledges it, which is the durability that Weir has; the other is Kafka's default, the page cache. */
  static async start(name: "kafka" | "kafka-as-shipped", folder: string): Promise<KafkaServer> {
    const [port = 0, controllerPort = 0] = getFreePorts(2);
    const settings = name === "kafka" ? [...KAFKA_SETTINGS, KAFKA_DURABLE_SETTING] : KAFKA_SETTINGS;
    const output = await mustRunTool([join(kafkaScripts, "start-kafka.sh"), folder, String(port), ...settings], {
      environment: { KAFKA_CONTROLLER_PORT: String(controllerPort) },
    });
    return new KafkaServer(name, folder, JSON.parse(output) as Record<string, unknown>);
  }

  async settle(): Promise<void> {}

  async stop(): Promise<void> {
    await mustRunTool([join(kafkaScripts, "stop-kafka.sh"), this.#folder, "--kill", "--wipe"]);
  }
}

/** `discard-server.ts` in a process of its own. */
export class DiscardProcess implements BenchServer {
  readonly name = "discard";
  readonly bootstrap: string;
  readonly pid: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: string) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.bootstrap = `127.0.0.1:${port}`;
  }

  static async start(): Promise<DiscardProcess> {
    const [program, ...args] = [...OWN_SESSION, process.execPath, join(import.meta.dir, "discard-server.ts")];
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    for await (const line of createInterface({ input: child.stdout! })) {
      const port = /^listening (\d+)$/.exec(line)?.[1];
      if (port !== undefined) return new DiscardProcess(child, port);
    }
    throw new Error("the discard server ended before it listened");
  }

  async settle(): Promise<void> {}

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.kill();
    await ended;
  }
}
