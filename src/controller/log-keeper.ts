/**
 * Keeps the log in view: polls while nothing else moves it, takes snapshots while this broker reigns, and notices when it has been replaced.
 *
 * A reigning controller asks once a minute (in turn for the next slot and for the floor), so that a replaced one notices; a broker that does not
 * reign asks every half second. An idle cluster of one therefore sends one small request a minute.
 */
import type { Clock, TimerHandle } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import type { MetadataLog } from "../metadata/metadata-log.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import { fencedTrouble, mayPass } from "./broker-channel.ts";

export interface LogKeeperDependencies {
  readonly log: MetadataLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly isReigning: () => boolean;
  readonly nodeId: number;
  readonly brokerEpoch: number;
  /** Once: this broker was replaced, or the log cannot be followed. */
  readonly onFenced: (reason: Trouble) => void;
  readonly snapshotEverySlots: number;
}

const REIGNING_POLL_MS = 60_000;
const FOLLOWING_POLL_MS = 500;
const SNAPSHOT_EVERY_BYTES = 33_554_432;
/** Fewer slots than this are cheaper to read at the next start than a snapshot is to write at close. */
const MIN_SLOTS_FOR_LAST_SNAPSHOT = 100;

export class LogKeeper {
  readonly #deps: LogKeeperDependencies;
  #timer: TimerHandle | undefined;
  #pollsFloorNext = false;
  #snapshot: Promise<void> | undefined;
  /** After a failed snapshot, the slot from which the next is tried. */
  #nextTrySlot = 0;
  #isOver = false;

  constructor(dependencies: LogKeeperDependencies) {
    this.#deps = dependencies;
    dependencies.log.onImage(() => this.#onImage());
    this.#schedule();
  }

  async close(): Promise<void> {
    this.#isOver = true;
    this.#timer?.cancel();
    await this.#snapshot;
    const { log, isReigning } = this.#deps;
    if (isReigning() && log.image.slot - log.snapshots.newestSlot >= MIN_SLOTS_FOR_LAST_SNAPSHOT) await this.#takeSnapshot();
  }

  #schedule(): void {
    this.#timer?.cancel();
    if (this.#isOver) return;
    const delayMs = this.#deps.isReigning() ? REIGNING_POLL_MS : FOLLOWING_POLL_MS;
    this.#timer = this.#deps.clock.schedule(delayMs, () => void this.#poll());
  }

  async #poll(): Promise<void> {
    const { log, logger } = this.#deps;
    try {
      if (this.#pollsFloorNext) await log.pollFloor();
      else await log.pollSlot();
      this.#pollsFloorNext = !this.#pollsFloorNext;
    } catch (error) {
      if (!(error instanceof Trouble) || !mayPass(error)) return this.#end(error);
      logger.warn("metadata.waiting", "the metadata log could not be polled", { code: error.code, reason: error.message });
    }
    this.#schedule();
  }

  #onImage(): void {
    if (this.#isOver) return;
    const { log, nodeId, brokerEpoch, isReigning, snapshotEverySlots } = this.#deps;
    const current = log.image.getBroker(nodeId)?.brokerEpoch;
    if (current !== brokerEpoch) {
      this.#end(fencedTrouble(`another process registered as broker ${nodeId} in slot ${current}`));
      return;
    }
    const slots = log.image.slot - log.snapshots.newestSlot;
    const isDue = slots >= snapshotEverySlots || log.bytesSinceSnapshot >= SNAPSHOT_EVERY_BYTES;
    if (!isDue || this.#snapshot !== undefined || log.image.slot < this.#nextTrySlot || !isReigning()) return;
    this.#snapshot = this.#takeSnapshot().finally(() => {
      this.#snapshot = undefined;
    });
  }

  /** A failed snapshot costs nothing but a longer log. */
  async #takeSnapshot(): Promise<void> {
    const { log, logger, snapshotEverySlots } = this.#deps;
    const { slot } = log.image;
    try {
      await log.takeSnapshot();
      logger.debug("metadata.snapshot", "a snapshot was written", { slot });
    } catch (error) {
      if (!(error instanceof Trouble)) return this.#end(error);
      this.#nextTrySlot = slot + Math.ceil(snapshotEverySlots / 10);
      logger.warn("metadata.snapshot-failed", error.message, { slot, code: error.code });
    }
  }

  #end(reason: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer?.cancel();
    if (!(reason instanceof Trouble)) throw reason;
    this.#deps.logger.error("broker.fenced", reason.message, { code: reason.code });
    this.#deps.onFenced(reason);
  }
}
