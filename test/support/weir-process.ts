/**
 * The executable under test: dist/weir with a configuration of the test's own, on free ports of 127.0.0.1. Started, waited for by its
 * readiness endpoint, stopped or killed; its log is kept. Nothing here waits by a fixed time: every wait is for an event, with a deadline.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { getFreePorts } from "./ports.ts";
import { repositoryRoot } from "./tools.ts";

export const weirExecutable = process.env.TEST_WEIR_EXECUTABLE ?? join(repositoryRoot, "dist", "weir");

export const hasWeir = existsSync(weirExecutable);

/** Why the tests of the executable are skipped where it is missing. */
export const weirMissing = "dist/weir is not built";

export interface WeirOptions {
  /** Working folder, and where the defaults put data. */
  readonly folder: string;
  /** Settings beyond the ports: `wal`, `object.store`, ... Later ones win over the defaults below. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
  /** Put before the executable: ["strace", "-f", ...]. */
  readonly wrapper?: readonly string[];
  readonly executable?: string;
  readonly kafkaPort?: number;
  readonly httpPort?: number;
  readonly readyTimeoutMs?: number;
}

const pollMs = 10;

/** The environment without what would be configuration to the executable: a test says all of it. */
function cleanEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:WEIR|KAFKA)_|^CLUSTER_ID$/.test(name)));
}

export class WeirProcess {
  readonly kafkaPort: number;
  readonly httpPort: number;
  readonly bootstrap: string;
  readonly child: ChildProcess;
  /** From spawn to the first answer of /readyz, in ms; for tables, never for assertions. */
  startMs = Number.NaN;
  private readonly chunks: Buffer[] = [];
  private readonly errorChunks: Buffer[] = [];
  private readonly exited: Promise<number>;

  private constructor(child: ChildProcess, kafkaPort: number, httpPort: number) {
    this.child = child;
    this.kafkaPort = kafkaPort;
    this.httpPort = httpPort;
    this.bootstrap = `127.0.0.1:${kafkaPort}`;
    child.stdout?.on("data", (chunk: Buffer) => this.chunks.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => {
      this.chunks.push(chunk);
      this.errorChunks.push(chunk);
    });
    this.exited = new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => resolve(code ?? -1));
    });
    this.exited.catch(() => {});
  }

  /** Starts and waits until it serves. Throws with the log when it ends or stays unready. */
  static async start(options: WeirOptions): Promise<WeirProcess> {
    const weir = WeirProcess.spawn(options);
    await weir.waitReady(options.readyTimeoutMs ?? 30_000);
    return weir;
  }

  /** Starts without waiting: for tests of start-up mistakes. */
  static spawn(options: WeirOptions): WeirProcess {
    const [first = 0, second = 0] = getFreePorts(2);
    const kafkaPort = options.kafkaPort ?? first;
    const httpPort = options.httpPort ?? second;
    const settings: Record<string, string> = {
      listeners: `PLAINTEXT://127.0.0.1:${kafkaPort}`,
      "http.listener": `127.0.0.1:${httpPort}`,
      "node.id": "1",
      wal: `file:${join(options.folder, "wal")}?size=256MiB`,
      "object.store": `file:${join(options.folder, "store")}`,
      ...options.settings,
    };
    const overrides = Object.entries(settings).flatMap(([key, value]) => ["--override", `${key}=${value}`]);
    const [program = "", ...args] = [...(options.wrapper ?? []), options.executable ?? weirExecutable, "start", ...overrides];
    const child = spawn(program, args, {
      cwd: options.folder,
      env: { ...cleanEnvironment(), ...options.environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    return new WeirProcess(child, kafkaPort, httpPort);
  }

  private async waitReady(timeoutMs: number): Promise<void> {
    const started = performance.now();
    for (;;) {
      if (await this.isReady()) break;
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        await this.exited;
        throw new Error(`weir ended with ${this.child.exitCode ?? this.child.signalCode} before it was ready:\n${this.logTail()}`);
      }
      if (performance.now() - started > timeoutMs) {
        await this.kill();
        throw new Error(`weir was not ready after ${timeoutMs} ms:\n${this.logTail()}`);
      }
      await Bun.sleep(pollMs);
    }
    this.startMs = performance.now() - started;
  }

  async isReady(): Promise<boolean> {
    try {
      const answer = await fetch(`http://127.0.0.1:${this.httpPort}/readyz`);
      await answer.arrayBuffer();
      return answer.status === 200;
    } catch {
      return false;
    }
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get hasExited(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Exit code, -1 when a signal ended it. */
  waitExit(): Promise<number> {
    return this.exited;
  }

  log(): string {
    return Buffer.concat(this.chunks).toString();
  }

  /** What it wrote to stderr alone. */
  errorOutput(): string {
    return Buffer.concat(this.errorChunks).toString();
  }

  logTail(characters = 4000): string {
    return this.log().slice(-characters);
  }

  /** Resolves when the log holds `text` (an event's name). Throws when the process ends first or the deadline passes. */
  async waitForLog(text: string, timeoutMs = 30_000): Promise<void> {
    const started = performance.now();
    while (!this.log().includes(text)) {
      if (this.hasExited) {
        await this.exited;
        if (this.log().includes(text)) return;
        throw new Error(`weir ended without "${text}" in its log:\n${this.logTail()}`);
      }
      if (performance.now() - started > timeoutMs) throw new Error(`no "${text}" in the log after ${timeoutMs} ms:\n${this.logTail()}`);
      await Bun.sleep(pollMs);
    }
  }

  /** SIGTERM, which drains; answers the exit code. */
  async stop(timeoutMs = 30_000): Promise<number> {
    if (!this.hasExited) this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), timeoutMs);
    const code = await this.exited;
    clearTimeout(timer);
    return code;
  }

  /** kill -9. */
  async kill(): Promise<void> {
    if (!this.hasExited) this.child.kill("SIGKILL");
    await this.exited;
  }

  async metrics(): Promise<string> {
    return await (await fetch(`http://127.0.0.1:${this.httpPort}/metrics`)).text();
  }

  /** Sum over the labels of a metric's samples; undefined when it has none. */
  async readMetric(name: string): Promise<number | undefined> {
    let sum: number | undefined;
    for (const line of (await this.metrics()).split("\n")) {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})? (\S+)/.exec(line);
      if (match?.[1] === name) sum = (sum ?? 0) + Number(match[2]);
    }
    return sum;
  }

  /** Resident memory of the process in bytes. */
  residentBytes(): number {
    const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"))?.[1];
    if (kib === undefined) throw new Error(`no VmRSS for ${this.pid}`);
    return Number(kib) * 1024;
  }

  /** CPU seconds used so far by all threads, user and system. */
  cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/**
 * A broker on ports that whoever comes after it takes over, for runs that kill it. `prepare` makes what the run needs; when it fails, the broker ends and so
 * does this.
 */
export async function startRestartable(
  options: WeirOptions,
  prepare: (kafkaPort: number) => Promise<void>,
): Promise<{ readonly weir: WeirProcess; readonly start: () => Promise<WeirProcess> }> {
  const [kafkaPort = 0, httpPort = 0] = getFreePorts(2);
  const start = () => WeirProcess.start({ ...options, kafkaPort, httpPort });
  const weir = await start();
  try {
    await prepare(kafkaPort);
  } catch (error) {
    await weir.kill();
    throw error;
  }
  return { weir, start };
}
