/** Breaks things on purpose, now and then, as the scenario weighs it. All its choices come from the seed. */
import type { SeededRandom } from "../unit/support/seeded-random.ts";
import { type Faults, START_EFFECTS } from "./faults.ts";
import type { History } from "./history.ts";
import type { SimProcess } from "./process.ts";
import type { Actions, Scenario } from "./scenarios.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SimCluster } from "./sim-cluster.ts";
import type { SimNetwork } from "./sim-network.ts";

const LARGEST_OFFSET_MS = 55 * 60_000;
const MAX_EFFECTS_TO_CRASH = 400;
const MAX_WRITES_TO_CRASH = 30;
/** A start takes about a hundred effects. */
const MAX_EFFECTS_TO_CRASH_IN_START = 300;
/** Writes of the header come before. */
const FIRST_APPEND = 3;

export class Nemesis {
  isOver = false;
  private readonly scheduler: Scheduler;
  private readonly random: SeededRandom;
  private readonly faults: Faults;
  private readonly network: SimNetwork;
  private readonly cluster: SimCluster;
  private readonly scenario: Scenario;
  private readonly history: History;

  constructor(options: {
    readonly scheduler: Scheduler;
    readonly random: SeededRandom;
    readonly faults: Faults;
    readonly network: SimNetwork;
    readonly cluster: SimCluster;
    readonly scenario: Scenario;
    readonly history: History;
  }) {
    this.scheduler = options.scheduler;
    this.random = options.random;
    this.faults = options.faults;
    this.network = options.network;
    this.cluster = options.cluster;
    this.scenario = options.scenario;
    this.history = options.history;
  }

  start(): void {
    if (this.isOver) return;
    const delayMs = this.random.nextFloat() * 2 * this.scenario.everyMs;
    this.scheduler.post(undefined, delayMs, "nemesis", () => {
      if (this.isOver) return;
      this.act(this.pick());
      this.start();
    });
  }

  stop(): void {
    this.isOver = true;
  }

  private pick(): keyof Actions | undefined {
    const weights = Object.entries(this.scenario.actions) as [keyof Actions, number][];
    let left = this.random.nextFloat() * weights.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [action, weight] of weights) {
      left -= weight;
      if (left < 0) return action;
    }
    return undefined;
  }

  private act(action: keyof Actions | undefined): void {
    const { cluster, random, faults } = this;
    const process = cluster.current?.process;
    if (action === undefined || process === undefined) return;
    this.scheduler.remember(`nemesis: ${action}`);
    this.history.disturbedMs = this.scheduler.nowMs;
    switch (action) {
      case "crashAtEffect":
        process.armCrash(1 + random.nextInt(MAX_EFFECTS_TO_CRASH), random.chance(50));
        break;
      case "crashAtWrite":
        process.armCrash(1 + random.nextInt(MAX_WRITES_TO_CRASH), random.chance(70), "wal.write");
        // Dead again while what was torn still lies behind the new end.
        if (random.chance(50)) this.crashNext(process, 1, true);
        break;
      case "crashInStart":
        this.hit("process.crash-in-start");
        process.kill("at rest");
        this.crashNext(process, 1 + random.nextInt(3), random.chance(30));
        break;
      case "kill":
        process.kill("at rest");
        break;
      case "drain":
        this.hit("process.drain");
        cluster.drain();
        break;
      case "pause":
        this.hit("process.pause");
        process.pause();
        this.later(random.chance(10) ? this.seconds(5, 20) : this.seconds(0.02, 2), () => process.wake());
        break;
      case "takeOver":
        this.hit("process.takeover-of-paused");
        cluster.takeOver(this.seconds(0.5, 12));
        break;
      case "storeOutage":
        this.hit("store.outage");
        faults.isStoreDown = true;
        this.later(random.chance(3) ? this.seconds(60, 300) : random.chance(20) ? this.seconds(15, 50) : this.seconds(1, 12), () => {
          faults.isStoreDown = false;
        });
        break;
      case "deviceErrors":
        this.hit("wal.error-burst");
        faults.isDeviceFailing = true;
        this.later(random.chance(4) ? this.seconds(30, 50) : this.seconds(0.05, 2), () => {
          faults.isDeviceFailing = false;
        });
        break;
      case "rotBelowCommitted":
        if (cluster.rotBelowCommitted()) this.hit("wal.rot-below-committed");
        break;
      case "partition":
        this.hit("net.partition");
        this.network.cutOff(process.host, this.scheduler.nowMs + (random.chance(10) ? this.seconds(4, 20) : this.seconds(0.2, 2)));
        break;
      case "resets":
        this.hit("net.resets");
        this.network.resetSome(1 + random.nextInt(4), (bound) => random.nextInt(bound));
        break;
      case "partitionThenEnd": {
        this.hit("net.partition-then-end");
        const lengthMs = this.seconds(1, 8);
        this.network.cutOff(process.host, this.scheduler.nowMs + lengthMs + 1000);
        const isKilled = random.chance(60);
        this.later(lengthMs, () => {
          if (isKilled) process.kill("cut off");
          else if (cluster.current?.process === process) cluster.drain();
        });
        break;
      }
      case "clockJump":
        this.hit("clock.jump");
        // Within the hour that a record's timestamp may lie ahead of the broker's clock; from one end to the other it is nearly two.
        cluster.wallOffsetMs = (random.nextFloat() * 2 - 1) * LARGEST_OFFSET_MS;
        process.wallOffsetMs = cluster.wallOffsetMs;
        break;
    }
  }

  /** Arms a crash in the process that comes after `process`, and so on. */
  private crashNext(process: SimProcess, times: number, atWrite: boolean): void {
    if (times === 0) return;
    this.later(5, () => {
      const next = this.cluster.current?.process;
      if (next === undefined || next === process) return this.crashNext(process, times, atWrite);
      if (atWrite) next.armCrash(FIRST_APPEND + this.random.nextInt(8), this.random.chance(70), "wal.write");
      else if (this.random.chance(50)) next.armCrash(1, this.random.chance(50), this.random.pick(START_EFFECTS));
      else next.armCrash(1 + this.random.nextInt(MAX_EFFECTS_TO_CRASH_IN_START), this.random.chance(50));
      this.crashNext(next, times - 1, atWrite);
    });
  }

  private hit(kind: string): void {
    this.faults.strikes.hit(kind);
  }

  private later(delayMs: number, run: () => void): void {
    this.history.disturbances++;
    this.scheduler.post(undefined, delayMs, "nemesis.end", () => {
      this.history.disturbances--;
      this.history.disturbedMs = this.scheduler.nowMs;
      if (!this.isOver) run();
    });
  }

  private seconds(from: number, to: number): number {
    return 1000 * (from + this.random.nextFloat() * (to - from));
  }
}
