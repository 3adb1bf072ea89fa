/**
 * The brokers of a run and who keeps them alive: one node id, one volume, one bucket. A supervisor starts the process again after each death, now on the same
 * machine, now on an empty one; a takeover starts a second one while the first is paused, which then wakes as a zombie.
 */
import { Trouble } from "../../src/base/trouble.ts";
import { type Broker, buildBroker } from "../../src/cli/wire-up.ts";
import { MemoryStore } from "../../src/objectstore/memory-store.ts";
import { WAL_BLOCK_BYTES } from "../../src/storage/wal/wal-device.ts";
import type { LogFields } from "../../src/telemetry/telemetry.ts";
import { SeededRandom } from "../unit/support/seeded-random.ts";
import type { Faults } from "./faults.ts";
import type { History } from "./history.ts";
import { SimProcess } from "./process.ts";
import type { Scheduler } from "./scheduler.ts";
import { SimDisk } from "./sim-disk.ts";
import type { SimNetwork } from "./sim-network.ts";
import { makeSimConfig, makeSimWorld, type SimWorld, type Sizes } from "./sim-world.ts";

const KAFKA_PORT = 9092;
const NODE_ID = 1;
/** Of 100 processes, so many have a wall clock of their own. With the largest jump of a broker's it stays within the hour that a timestamp may lie ahead. */
const SKEWED_PERCENT = 50;
const LARGEST_SKEW_MS = 120_000;

/** Ends of a start that faults explain; after them the supervisor tries again. */
const EXCUSED: ReadonlySet<string> = new Set([
  "store-unavailable",
  "store-timeout",
  "store-outcome-unknown",
  "store-conflict",
  "store-checksum-mismatch",
  "wal-device-busy",
  "wal-device-io",
  "wal-failed",
  "wal-closed",
  "broker-alive",
  "broker-fenced",
  "closing",
  "segment-damaged",
]);

/** Ends of a start that a flipped bit on the volume explains. */
const DAMAGE: ReadonlySet<string> = new Set(["wal-behind", "wal-header-damaged", "wal-damaged"]);

export interface Incarnation {
  readonly process: SimProcess;
  readonly world: SimWorld;
  broker: Broker | undefined;
}

export class SimCluster {
  readonly bucket: MemoryStore;
  readonly disk: SimDisk;
  current: Incarnation | undefined;
  /** Paused ones that were replaced, and those that have not died yet. */
  readonly zombies: Incarnation[] = [];
  starts = 0;
  isSupervised = true;
  private readonly scheduler: Scheduler;
  private readonly random: SeededRandom;
  private readonly faults: Faults;
  private readonly network: SimNetwork;
  private readonly history: History;
  private readonly sizes: Sizes;
  private readonly crashesAreFindings: boolean;
  private processCount = 100;
  private machine = 1;
  wallOffsetMs = 0;
  /** A bit was flipped on purpose where it can be told from a torn write: now damage must be reported, and is no finding. */
  expectsDamage = false;
  /** How often a broker has reported it. */
  damageReports = 0;

  constructor(options: {
    readonly scheduler: Scheduler;
    readonly seed: number;
    readonly faults: Faults;
    readonly network: SimNetwork;
    readonly history: History;
    readonly sizes: Sizes;
    readonly crashesAreFindings: boolean;
  }) {
    this.scheduler = options.scheduler;
    this.random = new SeededRandom(options.seed);
    this.faults = options.faults;
    this.network = options.network;
    this.history = options.history;
    this.sizes = options.sizes;
    this.crashesAreFindings = options.crashesAreFindings;
    const server = this.makeProcess("bucket", "bucket");
    this.bucket = new MemoryStore(server.clock);
    this.disk = new SimDisk(options.sizes.diskBytes);
  }

  makeProcess(name: string, host: string): SimProcess {
    const number = this.processCount++;
    const process = new SimProcess({
      number,
      name,
      host,
      scheduler: this.scheduler,
      seed: this.random.nextInt(2 ** 31),
      onBug: (error, process) => this.bugFound(error, process),
    });
    if (this.random.chance(SKEWED_PERCENT)) {
      process.wallOffsetMs = (this.random.nextFloat() * 2 - 1) * LARGEST_SKEW_MS;
      this.faults.strikes.hit("clock.skew");
    }
    return process;
  }

  /** Where clients go: to who serves, now and then to who did. */
  pickHost(random: SeededRandom): { readonly host: string; readonly port: number } {
    const zombie = this.zombies.at(-1);
    if (zombie !== undefined && random.chance(30)) return { host: zombie.process.host, port: KAFKA_PORT };
    return { host: this.current?.process.host ?? `machine-${this.machine}`, port: KAFKA_PORT };
  }

  isCurrent(host: string): boolean {
    return this.current?.process.host === host;
  }

  get isServing(): boolean {
    return this.current?.broker !== undefined && this.current.process.state === "running";
  }

  /** Starts a process that takes the volume from whoever has it. */
  start(): void {
    const process = this.makeProcess(`broker-${++this.starts}`, `machine-${this.machine}`);
    process.wallOffsetMs = this.wallOffsetMs + process.wallOffsetMs;
    const { bucket, disk, network, faults, sizes } = this;
    const onEvent = (level: string, event: string, message: string, fields: LogFields): void =>
      this.logged(process, level, event, message, fields);
    const world = makeSimWorld({ process, bucket, disk, network, faults, sizes, onEvent });
    const incarnation: Incarnation = { process, world, broker: undefined };
    this.current = incarnation;
    process.deathListeners.add(() => this.died(incarnation));
    this.scheduler.remember(`${process.name} starts on ${process.host}`);
    process.post(0, "process.start", () => {
      buildBroker(makeSimConfig(process.host, KAFKA_PORT, NODE_ID, sizes), world).then(
        (broker) => {
          incarnation.broker = broker;
          this.history.disturbedMs = this.scheduler.nowMs;
          const device = world.getDevice();
          if (device !== undefined) device.flipsReads = true;
          this.scheduler.remember(`${process.name} serves`);
          broker.whenFenced.then((reason) => {
            this.scheduler.remember(`${process.name} is fenced: ${reason.message}`);
            process.post(0, "process.exit-70", () => process.kill(`fenced: ${reason.code}`));
          });
        },
        (error: unknown) => this.startFailed(process, error),
      );
    });
  }

  /** SIGTERM: the process ends when it has drained. */
  drain(): void {
    const { current } = this;
    if (current?.broker === undefined || current.process.state !== "running") return;
    this.scheduler.remember(`${current.process.name} drains`);
    const { broker, process } = current;
    process.post(0, "process.sigterm", () => {
      broker.drain("SIGTERM", 25_000).then(
        () => process.kill("drained"),
        (error: unknown) => process.bug(error),
      );
    });
  }

  /**
   * Bits flip on the volume below the position up to which the bucket has everything: nobody may miss what lay there. The volume is a cache of it for readers, who
   * must see the damage; no start may come upon it. False when the broker does not serve or nothing lies there.
   */
  rotBelowCommitted(): boolean {
    const { current } = this;
    const usedBlocks = current?.world.getUsedWalBlocks();
    if (current?.broker === undefined || usedBlocks === undefined) return false;
    return this.disk.rotBelow(usedBlocks * WAL_BLOCK_BYTES, this.random);
  }

  /** The next start is on another machine, with nothing but volume and bucket. */
  moveToEmptyMachine(): void {
    this.machine++;
  }

  /** Replaces the current process, which is paused now and wakes after `wakeInMs`. */
  takeOver(wakeInMs: number): void {
    const { current } = this;
    if (current === undefined || current.process.state !== "running") return;
    current.process.pause();
    this.zombies.push(current);
    this.moveToEmptyMachine();
    this.start();
    this.scheduler.post(undefined, wakeInMs, "nemesis.wake", () => current.process.wake());
  }

  private died(incarnation: Incarnation): void {
    const at = this.zombies.indexOf(incarnation);
    if (at >= 0) this.zombies.splice(at, 1);
    this.faults.crashPoints.hit((incarnation.process.crashPoint ?? "unknown").replace(/^fenced: .*/, "fenced"));
    if (this.current !== incarnation) return;
    this.current = undefined;
    const delayMs = 20 + this.random.nextFloat() * (this.random.chance(10) ? 3000 : 300);
    if (this.random.chance(40)) {
      this.moveToEmptyMachine();
      this.faults.strikes.hit("restart.empty-machine");
    } else this.faults.strikes.hit("restart.same-machine");
    this.scheduler.post(undefined, delayMs, "supervisor.start", () => {
      if (this.isSupervised && this.current === undefined) this.start();
    });
  }

  private startFailed(process: SimProcess, error: unknown): void {
    if (!(error instanceof Trouble)) {
      process.bug(error);
      return;
    }
    this.scheduler.remember(`${process.name} could not start: ${error.code}: ${error.message}`);
    if (this.expectsDamage && DAMAGE.has(error.code)) this.damageReports++;
    else if (!EXCUSED.has(error.code) && this.crashesAreFindings) this.history.find("start-refused", `${error.code}: ${error.message}`);
    // The fence is a proven death: whoever has lost the volume and still answers is killed by whoever keeps processes.
    if (error.code === "broker-alive") for (const zombie of [...this.zombies]) zombie.process.kill("replaced and still alive");
    process.post(0, "process.exit", () => process.kill(`start failed: ${error.code}`));
  }

  private bugFound(error: unknown, process: SimProcess): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    if (this.crashesAreFindings) this.history.find("crash", `${process.name}: ${text}`);
    else this.scheduler.remember(`${process.name}: bug: ${text}`);
    process.kill("bug");
  }

  private logged(process: SimProcess, level: string, event: string, message: string, fields: LogFields): void {
    this.scheduler.note(event, process.number, 0);
    if (level !== "info" || event.startsWith("broker.")) this.scheduler.remember(`${process.name} ${level} ${event}: ${message}`);
    if (event === "coordinator.rewritten") this.faults.strikes.hit(event);
    if (event === "wal.damaged") this.damageReports++;
    if (event === "wal.damaged" && this.crashesAreFindings && !this.expectsDamage)
      this.history.find("wal-damaged", `${message} ${JSON.stringify(fields)}`);
    if (event === "request.failed") this.history.find("unexpected-error", `${message} ${JSON.stringify(fields)}`);
  }
}
