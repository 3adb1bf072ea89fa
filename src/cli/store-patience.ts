/**
 * A start waits out an object store that is away, for as long as it takes, and says so: a broker that gave up would turn an outage into a crash loop. An
 * operator's mistakes end the start at once. In between lies an address where nothing answers: a store that has answered this process before is
 * away, one that never has is taken for a wrong endpoint after a short while.
 */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { Trouble } from "../base/trouble.ts";
import { EndlessRetry } from "../storage/upload/endless-retry.ts";
import type { Logger } from "../telemetry/telemetry.ts";

/** How long a store that has never answered may be unreachable before its endpoint is taken for a mistake. */
const UNREACHABLE_PATIENCE_MS = 5_000;

const UNREACHABLE = "store-unreachable";
const OUTAGES: ReadonlySet<string> = new Set([
  UNREACHABLE,
  "store-unavailable",
  "store-timeout",
  "store-outcome-unknown",
  "store-conflict",
  "store-credentials-expired",
]);

export class StorePatience {
  private readonly clock: Clock;
  private readonly retry: EndlessRetry;
  private readonly startedMs: number;
  private hasAnswered = false;

  constructor(clock: Clock, random: Random, logger: Logger) {
    this.clock = clock;
    this.retry = new EndlessRetry(clock, random, logger, { failing: "start.waiting", working: "start.resumed" });
    this.startedMs = clock.monotonicMs();
  }

  /** What is being waited out now. */
  get trouble(): Trouble | undefined {
    return this.retry.trouble;
  }

  /** Repeats `call` while the store is away. Rejects with what waiting cannot mend. `call` can be made again after a failure. */
  async run<Value>(what: string, call: () => Promise<Value>): Promise<Value> {
    const value = await this.retry.run(what, new AbortController().signal, (trouble) => this.isOutage(trouble), call);
    this.hasAnswered = true;
    return value;
  }

  private isOutage({ code }: Trouble): boolean {
    if (!OUTAGES.has(code)) return false;
    if (code !== UNREACHABLE) this.hasAnswered = true;
    return this.hasAnswered || this.clock.monotonicMs() - this.startedMs < UNREACHABLE_PATIENCE_MS;
  }
}
