/**
 * The programs of the exactly-once run: loops in Java and with librdkafka, each with a transactional id that successors take over, and readers. Loops are killed,
 * paused, and replaced while they still run or sleep; a replaced one must find out that it is fenced. Counts what loops print (see ExactlyOnceLoop.java).
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { kafkaPeerHome } from "../conformance/clients.ts";
import { LineProgram } from "../support/line-program.ts";
import { mustRunTool, repositoryRoot } from "../support/tools.ts";
import type { CopiedRecord } from "./exactly-once-check.ts";

const classes = join(repositoryRoot, "build", "conformance", "exactly-once");
const sources = ["ExactlyOnceLoop.java", "CopyReader.java"].map((name) => join(import.meta.dir, "java", name));
const jars = join(kafkaPeerHome, "tools-lib", "*");
const python = join(repositoryRoot, "build", "venv", "bin", "python");
const pythonLoop = join(import.meta.dir, "python", "exactly_once_loop.py");

/** Longer than any delay that a fenced client can meet: its retries while the broker is away and its own stall. */
const fencingTimeoutMs = 120_000;
const pollMs = 20;

export const hasLibrdkafka = existsSync(python);

export async function buildJavaLoops(): Promise<void> {
  mkdirSync(classes, { recursive: true });
  await mustRunTool(["javac", "-d", classes, "-cp", jars, ...sources]);
}

function javaCommand(name: string): string[] {
  const logging = `-Dlog4j2.configurationFile=${join(kafkaPeerHome, "log4j2-tools.yaml")}`;
  return ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", logging, "-cp", `${classes}:${jars}`, name];
}

/** What a reader saw of each partition, in order. */
export class Copy {
  readonly records: CopiedRecord[][];

  constructor(partitions: number) {
    this.records = Array.from({ length: partitions }, () => []);
  }

  readonly take = (line: string): void => {
    const [kind, partition, offset, inputOffset, attempt = "", plan = ""] = line.split(" ");
    if (kind === "R") this.records[Number(partition)]?.push({ offset: Number(offset), inputOffset: Number(inputOffset), attempt, plan });
  };

  get count(): number {
    return this.records.reduce((sum, records) => sum + records.length, 0);
  }
}

export type Isolation = "read_committed" | "read_uncommitted";

/** Reads `topic` from its beginning: "follow" until it is killed, "once" to its end. */
export function startReader(bootstrap: string, topic: string, copy: Copy, until: "follow" | "once", isolation: Isolation): LineProgram {
  const args = [bootstrap, topic, String(copy.records.length), until, isolation];
  return new LineProgram([...javaCommand("CopyReader"), ...args], copy.take);
}

interface Worker {
  readonly name: string;
  readonly program: LineProgram;
  isReady: boolean;
  /** A successor has its transactional id. */
  isRetired: boolean;
  wasFenced: boolean;
}

export interface WorkersOptions {
  readonly bootstrap: string;
  readonly javaLoops: number;
  readonly transactionTimeoutMs: number;
  /** How long a stalled transaction is left open; longer than its time-out. */
  readonly stallMs: number;
}

/** What a loop printed, by kind, and the classes of errors under it. */
export class Tallies {
  private readonly kinds = new Map<string, number>();
  private readonly classes = new Map<string, Map<string, number>>();

  add(kind: string, errorClass?: string): void {
    this.kinds.set(kind, this.of(kind) + 1);
    if (errorClass === undefined) return;
    const counts = this.classes.get(kind) ?? new Map<string, number>();
    this.classes.set(kind, counts.set(errorClass, (counts.get(errorClass) ?? 0) + 1));
  }

  of(kind: string): number {
    return this.kinds.get(kind) ?? 0;
  }

  /** "3 (ProducerFencedException 2, InvalidProducerEpochException 1)" */
  describe(kind: string): string {
    const classes = [...(this.classes.get(kind) ?? [])].sort((left, right) => right[1] - left[1]);
    return `${this.of(kind)}${classes.length === 0 ? "" : ` (${classes.map(([name, count]) => `${name} ${count}`).join(", ")})`}`;
  }
}

/** The loops. Slots are numbered; each is one transactional id and has one worker that is not retired. */
export class Workers {
  readonly tallies = new Tallies();
  readonly committed = new Set<string>();
  readonly aborted = new Set<string>();
  /** What should not have happened. */
  readonly findings: string[] = [];
  readonly slots: number;
  private readonly options: WorkersOptions;
  private readonly current: Worker[] = [];
  private readonly all: Worker[] = [];
  private hasEnded = false;

  constructor(options: WorkersOptions) {
    this.options = options;
    this.slots = options.javaLoops + (hasLibrdkafka ? 1 : 0);
    for (let slot = 0; slot < this.slots; slot++) this.start(slot);
  }

  private start(slot: number): Worker {
    const { bootstrap, javaLoops, transactionTimeoutMs, stallMs } = this.options;
    const name = `copier-${slot}/${this.all.length}`;
    const loop = slot < javaLoops ? javaCommand("ExactlyOnceLoop") : [python, pythonLoop];
    const args = [bootstrap, "in", "out", "copiers", `copier-${slot}`, name, String(transactionTimeoutMs), String(stallMs)];
    const program = new LineProgram([...loop, ...args], (line) => this.take(worker, line));
    const worker: Worker = { name, program, isReady: false, isRetired: false, wasFenced: false };
    this.current[slot] = worker;
    this.all.push(worker);
    void program.exited.then((code) => this.noteExit(worker, code));
    return worker;
  }

  private take(worker: Worker, line: string): void {
    const [kind = "", first = "", second] = line.split(" ");
    if (kind === "ready") worker.isReady = true;
    if (kind === "commit" || kind === "overrun") this.committed.add(first);
    if (kind === "abort" || kind === "undo" || kind === "timeout") this.aborted.add(first);
    if (kind === "fenced") {
      worker.wasFenced = true;
      this.tallies.add(worker.isRetired ? "fenced" : "expired", first);
    } else this.tallies.add(kind, kind === "anew" ? first : second);
  }

  /** Loops end by being killed, or by being fenced once they are retired. */
  private noteExit(worker: Worker, code: number): void {
    if (this.hasEnded || code === -1 || (code === 0 && worker.isRetired && worker.wasFenced)) return;
    this.findings.push(`${worker.name} ended with ${code}: ${worker.program.errors}`);
  }

  async kill(slot: number): Promise<void> {
    await this.current[slot]?.program.kill();
    this.start(slot);
    this.tallies.add("killed");
  }

  /** Asleep for a while, as in a long collection of garbage; nobody takes its place. */
  async pause(slot: number, ms: number): Promise<void> {
    const worker = this.current[slot];
    worker?.program.signal("SIGSTOP");
    await Bun.sleep(ms);
    worker?.program.signal("SIGCONT");
    this.tallies.add("paused");
  }

  /** A successor with the same transactional id starts while the old worker runs, or sleeps and wakes only when the successor is at work. */
  async replace(slot: number, isAsleep: boolean, awakeAfterMs: number): Promise<void> {
    const old = this.current[slot];
    if (old === undefined) throw new Error(`no slot ${slot}`);
    if (isAsleep) old.program.signal("SIGSTOP");
    old.isRetired = true;
    old.program.writeLine("retire");
    const successor = this.start(slot);
    if (isAsleep) {
      await this.until(() => successor.isReady, fencingTimeoutMs);
      await Bun.sleep(awakeAfterMs);
      old.program.signal("SIGCONT");
    }
    const found = await this.until(() => old.program.hasExited, fencingTimeoutMs);
    if (this.hasEnded) return;
    if (!found) this.findings.push(`${old.name} was replaced and did not notice: ${old.program.errors}`);
    if (!found) await old.program.kill();
    this.tallies.add(isAsleep ? "replaced asleep" : "replaced awake");
  }

  /** False when the time passes first. */
  private async until(condition: () => boolean, timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (!condition()) {
      if (this.hasEnded || performance.now() > deadline) return false;
      await Bun.sleep(pollMs);
    }
    return true;
  }

  get errors(): string {
    return this.current.map(({ name, program }) => `${name}:\n${program.errors}`).join("\n");
  }

  async end(): Promise<void> {
    this.hasEnded = true;
    await Promise.all(this.all.map(({ program }) => program.kill()));
  }
}
