/**
 * Deletes segment objects that nothing refers to. That an object is garbage is derived from the applied log (references fell to zero, or its writer wrote it
 * off), and such an object can never gain a reference again, so the grace period protects only readers that resolved it a moment ago: no
 * clock is needed for safety. The objects go first, then the log forgets them; a repeated delete is harmless. Once after the start, also what
 * ended writers left uncommitted (orphan-sweep.ts).
 */
import type { Clock, TimerHandle } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import type { MetadataLog } from "../metadata/metadata-log.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import type { BrokerChannel } from "./broker-channel.ts";
import { sweepOrphans } from "./orphan-sweep.ts";

export interface GarbageCollectorDependencies {
  readonly log: MetadataLog;
  readonly store: ObjectStore;
  readonly channel: BrokerChannel;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Only the controller collects; another broker's run would be harmless but double. */
  readonly isReigning: () => boolean;
  readonly graceMs: number;
}

const MAX_KEYS_PER_RUN = 1_000;

export class GarbageCollector {
  readonly #deps: GarbageCollectorDependencies;
  #timer: TimerHandle | undefined;
  readonly #sweepTimer: TimerHandle;
  #isClosed = false;

  constructor(dependencies: GarbageCollectorDependencies) {
    this.#deps = dependencies;
    dependencies.log.onImage(() => this.#arm());
    this.#arm();
    this.#sweepTimer = dependencies.clock.schedule(dependencies.graceMs, () => void this.#sweep());
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#sweepTimer.cancel();
  }

  /** One timer per set of garbage: what is there when it starts is old enough when it rings. */
  #arm(): void {
    const { log, clock, graceMs } = this.#deps;
    if (this.#isClosed || this.#timer !== undefined || log.image.parts.garbage.size === 0) return;
    const keys: string[] = [];
    for (const key of log.image.parts.garbage.keys()) {
      keys.push(key);
      if (keys.length === MAX_KEYS_PER_RUN) break;
    }
    this.#timer = clock.schedule(graceMs, () => {
      void this.#collect(keys).finally(() => {
        this.#timer = undefined;
        this.#arm();
      });
    });
  }

  async #collect(keys: readonly string[]): Promise<void> {
    const { log, store, channel, logger, isReigning } = this.#deps;
    if (!isReigning()) return;
    const garbage = keys.filter((key) => log.image.parts.garbage.get(key) !== undefined);
    if (garbage.length === 0) return;
    try {
      await store.delete(garbage);
      await channel.submit({ kind: "remove-objects", objectKeys: garbage });
      logger.debug("objects.deleted", "unreferenced segment objects were deleted", { count: garbage.length });
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      // Tried again after the next grace period.
      logger.warn("objects.delete-failed", error.message, { code: error.code, count: garbage.length });
    }
  }

  async #sweep(): Promise<void> {
    const { log, store, logger, isReigning } = this.#deps;
    if (!isReigning()) return;
    try {
      const count = await sweepOrphans(store, () => log.image);
      if (count > 0) logger.info("objects.orphans-deleted", "segment objects of ended writers were deleted", { count });
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      logger.warn("objects.delete-failed", error.message, { code: error.code });
    }
  }
}
