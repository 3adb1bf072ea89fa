/**
 * One process of the simulated world: a broker's incarnation, or a client. It runs, is paused (SIGSTOP, a stalled machine), or is dead; whatever is due to a dead
 * one is lost. Each call that reaches the outside is an *effect*, and a crash can be armed for the n-th effect from now, before or after it: since
 * only effects can be seen from outside, that is a crash at any await.
 */
import type { Clock, TimerHandle } from "../../src/base/clock.ts";
import { SeededRandom } from "../unit/support/seeded-random.ts";
import { EFFECTS, RARE_EFFECTS } from "./faults.ts";
import type { Scheduler, SimEvent } from "./scheduler.ts";

/** Of 100 crashes at any effect, so many are at one of a kind that is chosen first. */
const CHOSEN_EFFECT_PERCENT = 60;
/** Of 100 of those, so many are of a kind that seldom happens. */
const RARE_EFFECT_PERCENT = 60;
const MAX_OF_CHOSEN_EFFECT = 4;
const MAX_OF_RARE_EFFECT = 2;

/** 2023-11-14; wall clocks begin here. */
export const WALL_BASE_MS = 1_700_000_000_000;

export class SimProcess {
  readonly number: number;
  readonly name: string;
  /** Its address in the simulated network. */
  readonly host: string;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly clock: Clock;
  state: "running" | "paused" | "dead" = "running";
  backlog: SimEvent[] = [];
  /** How far its wall clock is off. */
  wallOffsetMs = 0;
  /** Called at its death: devices tear what is in flight, the network resets connections. */
  readonly deathListeners = new Set<() => void>();
  /** The crash point that killed it. */
  crashPoint: string | undefined;
  private effectsLeft = Number.POSITIVE_INFINITY;
  /** Only effects of this kind count; "": all. */
  private crashKind = "";
  private crashAfter = false;
  private readonly onBug: (error: unknown, process: SimProcess) => void;

  constructor(options: {
    readonly number: number;
    readonly name: string;
    readonly host: string;
    readonly scheduler: Scheduler;
    readonly seed: number;
    readonly onBug: (error: unknown, process: SimProcess) => void;
  }) {
    this.number = options.number;
    this.name = options.name;
    this.host = options.host;
    this.scheduler = options.scheduler;
    this.random = new SeededRandom(options.seed);
    this.onBug = options.onBug;
    this.clock = new ProcessClock(this);
  }

  get isDead(): boolean {
    return this.state === "dead";
  }

  post(delayMs: number, label: string, run: () => void): SimEvent {
    return this.scheduler.post(this, delayMs, label, run);
  }

  /** A bug was found in this process: it ends, as production does. */
  bug(error: unknown): void {
    if (!this.isDead) this.onBug(error, this);
  }

  /** Kills the process at its `effects`-th effect from now; `kind`: of those of one kind. */
  armCrash(effects: number, after: boolean, kind = ""): void {
    this.crashKind = kind;
    this.effectsLeft = effects;
    this.crashAfter = after;
    // Left to chance alone, most crashes would be at the effects that most often happen.
    if (kind !== "" || !this.random.chance(CHOSEN_EFFECT_PERCENT)) return;
    const isRare = this.random.chance(RARE_EFFECT_PERCENT);
    this.crashKind = this.random.pick(isRare ? RARE_EFFECTS : EFFECTS);
    this.effectsLeft = 1 + (effects % (isRare ? MAX_OF_RARE_EFFECT : MAX_OF_CHOSEN_EFFECT));
  }

  /** Asked by the world before each effect. False: the process is dead, the effect does not happen and nothing is ever answered. */
  effect(kind: string): boolean {
    if (this.isDead) return false;
    if (this.crashKind !== "" && this.crashKind !== kind) return true;
    this.effectsLeft -= 1;
    if (this.effectsLeft > 0) return true;
    if (this.effectsLeft === 0 && this.crashAfter) {
      this.scheduler.post(undefined, 0, "process.crash-after", () => this.kill(`after ${kind}`));
      this.crashPoint = `after ${kind}`;
      return true;
    }
    this.kill(this.crashPoint ?? `before ${kind}`);
    return false;
  }

  kill(crashPoint: string): void {
    if (this.isDead) return;
    this.state = "dead";
    this.crashPoint ??= crashPoint;
    this.backlog = [];
    this.scheduler.remember(`${this.name} dies (${this.crashPoint})`);
    this.scheduler.note("process.killed", this.number, 0);
    const listeners = [...this.deathListeners];
    this.deathListeners.clear();
    for (const listener of listeners) listener();
  }

  pause(): void {
    if (this.state !== "running") return;
    this.state = "paused";
    this.scheduler.remember(`${this.name} is paused`);
  }

  wake(): void {
    if (this.state !== "paused") return;
    this.state = "running";
    this.scheduler.remember(`${this.name} wakes with ${this.backlog.length} events behind`);
    this.scheduler.wake(this.backlog);
    this.backlog = [];
  }
}

const IDLE: TimerHandle = { cancel: () => {} };

class ProcessClock implements Clock {
  private readonly process: SimProcess;

  constructor(process: SimProcess) {
    this.process = process;
  }

  wallMs(): number {
    return WALL_BASE_MS + Math.floor(this.process.scheduler.nowMs + this.process.wallOffsetMs);
  }

  monotonicMs(): number {
    return this.process.scheduler.nowMs;
  }

  schedule(delayMs: number, callback: () => void): TimerHandle {
    if (this.process.isDead) return IDLE;
    let isCancelled = false;
    const event = this.process.post(delayMs, "timer", () => {
      if (!isCancelled) callback();
    });
    return {
      cancel: () => {
        isCancelled = true;
        event.run = undefined;
      },
    };
  }

  defer(callback: () => void): void {
    if (!this.process.isDead) this.process.post(0, "deferred", callback);
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const timer = this.schedule(delayMs, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      const onAbort = (): void => {
        timer.cancel();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}
