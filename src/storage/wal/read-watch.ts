/**
 * Tells a device that has a bad place from one that is lost: when reads fail and none has succeeded for a while, the header is read. Who reads the header of this
 * opening has a device, and goes on repeating what fails. Who cannot for `failAfterMs`, or finds another header, has none: what is acknowledged onto it could never be
 * uploaded, so the owner must stop, also when it writes nothing (a write would tell as much).
 *
 * Nothing is read while reads succeed, or while there are none: what lies on the device alone is read for its upload within `upload.interval.ms`.
 */
import type { Clock, TimerHandle } from "../../base/clock.ts";
import { Trouble } from "../../base/trouble.ts";
import { readHeader } from "./header-store.ts";
import type { Crc32c } from "./wal.ts";
import type { WalDevice } from "./wal-device.ts";
import type { WalHeader } from "./wal-format.ts";

/** Reads fail for so long before the header is looked at, and between two looks. */
const LOOK_EVERY_MS = 5_000;

export interface ReadWatchOptions {
  readonly device: WalDevice;
  /** As durable on the device: of this opening. */
  readonly header: WalHeader;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly failAfterMs: number;
  /** The header cannot be read either: said once, until `onReadable`. */
  readonly onUnreadable: (reason: string) => void;
  /** A read succeeds again, the header's or another one. */
  readonly onReadable: () => void;
  /** Once; nothing is watched any more. */
  readonly onLost: (trouble: Trouble) => void;
}

export class ReadWatch {
  readonly #options: ReadWatchOptions;
  /** When reads began to fail; undefined: the last one succeeded. */
  #failingSinceMs: number | undefined;
  /** A read has failed since the header was looked at. */
  #hasFailedAgain = false;
  #isHeaderUnreadable = false;
  #timer: TimerHandle | undefined;
  #isStopped = false;

  constructor(options: ReadWatchOptions) {
    this.#options = options;
  }

  get description(): string {
    return this.#options.device.description;
  }

  /** The device's read; how it ends is noted. */
  async read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array> {
    try {
      const bytes = await this.#options.device.read(deviceOffset, lengthBytes);
      this.#succeeded();
      return bytes;
    } catch (error) {
      this.#failed();
      throw error;
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #succeeded(): void {
    this.#failingSinceMs = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#noteReadable();
  }

  #failed(): void {
    if (this.#isStopped) return;
    this.#hasFailedAgain = true;
    if (this.#failingSinceMs !== undefined) return;
    this.#failingSinceMs = this.#options.clock.monotonicMs();
    this.#lookLater();
  }

  #lookLater(): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.schedule(LOOK_EVERY_MS, () => {
      this.#look().catch((error: unknown) => this.#noteUnreadable(error));
    });
  }

  async #look(): Promise<void> {
    const { device, crc32c, header, clock } = this.#options;
    this.#hasFailedAgain = false;
    const read = await readHeader(device, crc32c);
    if (this.#isStopped || this.#failingSinceMs === undefined) return;
    const isOurs = read.kind === "valid" && read.header.walId === header.walId && read.header.walEpoch === header.walEpoch;
    if (!isOurs) {
      const found = read.kind === "valid" ? `WAL ${read.header.walId} of epoch ${read.header.walEpoch}` : "no header of ours";
      this.#lose(`its reads fail, and it bears ${found} where WAL ${header.walId} of epoch ${header.walEpoch} was`);
      return;
    }
    // A bad place: whoever reads it says so, and tries again. The device is looked at anew for as long as that fails and nothing else is read.
    this.#noteReadable();
    this.#failingSinceMs = this.#hasFailedAgain ? clock.monotonicMs() : undefined;
    if (this.#hasFailedAgain) this.#lookLater();
  }

  #noteUnreadable(error: unknown): void {
    if (this.#isStopped || this.#failingSinceMs === undefined) return;
    const { clock, failAfterMs, onUnreadable } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    const failingMs = clock.monotonicMs() - this.#failingSinceMs;
    if (failingMs >= failAfterMs) {
      this.#lose(`no read has succeeded for ${Math.round(failingMs)} ms, not even of its header: ${reason}`, error);
      return;
    }
    if (!this.#isHeaderUnreadable) {
      this.#isHeaderUnreadable = true;
      onUnreadable(reason);
    }
    this.#lookLater();
  }

  #noteReadable(): void {
    if (!this.#isHeaderUnreadable) return;
    this.#isHeaderUnreadable = false;
    this.#options.onReadable();
  }

  #lose(why: string, cause?: unknown): void {
    this.stop();
    this.#options.onLost(
      new Trouble({
        code: "wal-failed",
        message: `WAL ${this.#options.device.description}: ${why}`,
        remedy:
          "check that the volume is attached and healthy; the broker starts again under a new WAL epoch and recovers what was acknowledged",
        retryable: false,
        exitCode: 70,
        cause,
      }),
    );
  }
}
