/**
 * Repeats a call for as long as it fails with a Trouble: with S3 away a broker goes on and waits.
 * One log line when it begins to fail, one when it works again; the state between is readable.
 */
import type { Clock } from "../../base/clock.ts";
import type { Random } from "../../base/random.ts";
import { Trouble } from "../../base/trouble.ts";
import type { Logger } from "../../telemetry/telemetry.ts";

const FIRST_DELAY_MS = 50;
const MAX_DELAY_MS = 5_000;

/** Names of the log events: "upload.waiting" and "upload.resumed", ... */
export interface RetryEvents {
  readonly failing: string;
  readonly working: string;
  /** The attempt from which a failing call is said to fail; default the first. */
  readonly fromAttempt?: number;
}

export class EndlessRetry {
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly logger: Logger;
  private readonly events: RetryEvents;
  /** Calls that fail at present, with their newest trouble. */
  private readonly failing = new Map<object, Trouble>();

  constructor(clock: Clock, random: Random, logger: Logger, events: RetryEvents) {
    this.clock = clock;
    this.random = random;
    this.logger = logger;
    this.events = events;
  }

  /** The trouble of a call that is being repeated now; undefined when all is well. */
  get trouble(): Trouble | undefined {
    return this.failing.values().next().value;
  }

  /**
   * `canRepeat` tells a trouble to wait out from one that ends the call; bugs (not Troubles) always end it.
   * Rejects with `signal.reason` once aborted.
   */
  async run<Value>(
    what: string,
    signal: AbortSignal,
    canRepeat: (trouble: Trouble) => boolean,
    call: () => Promise<Value>,
  ): Promise<Value> {
    const caller = {};
    try {
      for (let attempt = 0; ; attempt += 1) {
        signal.throwIfAborted();
        try {
          const value = await call();
          this.succeeded(caller, what);
          return value;
        } catch (error) {
          signal.throwIfAborted();
          if (!(error instanceof Trouble) || !canRepeat(error)) throw error;
          if (attempt + 1 >= (this.events.fromAttempt ?? 1)) this.failed(caller, what, error);
        }
        const delayMs = Math.min(FIRST_DELAY_MS * 2 ** Math.min(attempt, 10), MAX_DELAY_MS);
        await this.clock.sleep(delayMs * (0.5 + this.random.nextFloat() / 2), signal);
      }
    } finally {
      this.failing.delete(caller);
    }
  }

  private failed(caller: object, what: string, trouble: Trouble): void {
    const isFirst = this.failing.size === 0;
    this.failing.set(caller, trouble);
    if (isFirst) this.logger.warn(this.events.failing, `${what} fails and is repeated: ${trouble.message}`, { code: trouble.code });
  }

  private succeeded(caller: object, what: string): void {
    if (this.failing.delete(caller) && this.failing.size === 0) this.logger.info(this.events.working, `${what} works again`);
  }
}
