/**
 * One durable write at a time per call, repeated until the device takes it: the same bytes at the same place, because what was appended is
 * never un-appended. When a write has failed for `failAfterMs` the writer gives up for good and reports nothing as done any more.
 */
import type { Clock } from "../../base/clock.ts";
import { Trouble } from "../../base/trouble.ts";
import type { WalDevice } from "./wal-device.ts";

const FIRST_BACKOFF_MS = 10;
const MAX_BACKOFF_MS = 1_000;

export interface WriteEvents {
  /** A write failed and will be repeated. `failingWrites` >= 1. */
  onFailing(reason: string, failingWrites: number): void;
  /** No write is failing any more. */
  onWorking(repeats: number): void;
  onGivenUp(trouble: Trouble): void;
}

export class DurableWriter {
  readonly #device: WalDevice;
  readonly #clock: Clock;
  readonly #failAfterMs: number;
  readonly #events: WriteEvents;
  #inFlight = 0;
  #failing = 0;
  #repeats = 0;
  #stopped = false;

  constructor(device: WalDevice, clock: Clock, failAfterMs: number, events: WriteEvents) {
    this.#device = device;
    this.#clock = clock;
    this.#failAfterMs = failAfterMs;
    this.#events = events;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Calls `onDurable` once when `bytes` are durable at `deviceOffset`; never after the writer stopped. `bytes` must not change until then. */
  write(bytes: Uint8Array, deviceOffset: number, onDurable: () => void): void {
    this.#inFlight += 1;
    this.#attempt(bytes, deviceOffset, onDurable, undefined, FIRST_BACKOFF_MS);
  }

  /** Nothing is reported any more. */
  stop(): void {
    this.#stopped = true;
  }

  #attempt(bytes: Uint8Array, deviceOffset: number, onDurable: () => void, failingSinceMs: number | undefined, backoffMs: number): void {
    const settled = (error?: unknown, failed = false): void => {
      if (this.#stopped) return;
      if (failed) this.#repeat(bytes, deviceOffset, onDurable, failingSinceMs, backoffMs, error);
      else this.#succeeded(onDurable, failingSinceMs !== undefined);
    };
    this.#device.write(bytes, deviceOffset).then(
      () => settled(),
      (error: unknown) => settled(error, true),
    );
  }

  #succeeded(onDurable: () => void, wasFailing: boolean): void {
    this.#inFlight -= 1;
    if (wasFailing) {
      this.#failing -= 1;
      if (this.#failing === 0) {
        this.#events.onWorking(this.#repeats);
        this.#repeats = 0;
      }
    }
    onDurable();
  }

  #repeat(
    bytes: Uint8Array,
    deviceOffset: number,
    onDurable: () => void,
    failingSinceMs: number | undefined,
    backoffMs: number,
    error: unknown,
  ): void {
    const now = this.#clock.monotonicMs();
    const since = failingSinceMs ?? now;
    if (failingSinceMs === undefined) this.#failing += 1;
    this.#repeats += 1;
    const reason = error instanceof Error ? error.message : String(error);
    if (now - since >= this.#failAfterMs) {
      this.#stopped = true;
      this.#events.onGivenUp(
        new Trouble({
          code: "wal-failed",
          message: `WAL ${this.#device.description}: a write at byte ${deviceOffset} has failed for ${Math.round(now - since)} ms: ${reason}`,
          remedy: "check the volume; the broker starts again under a new WAL epoch and recovers what was acknowledged",
          retryable: false,
          exitCode: 70,
          cause: error,
        }),
      );
      return;
    }
    this.#events.onFailing(reason, this.#failing);
    this.#clock.schedule(backoffMs, () => {
      if (!this.#stopped) this.#attempt(bytes, deviceOffset, onDurable, since, Math.min(backoffMs * 2, MAX_BACKOFF_MS));
    });
  }
}
