/**
 * NativeDevice over the addon's queues: every call becomes a numbered job for native threads; they ring when results wait, and the results
 * are taken all at once, on the event loop.
 *
 * Invariants: a job settles exactly once; the buffer of a write is referenced here until then, so that it cannot be collected while a
 * native thread reads it; the event loop stays alive while something is in flight, and only then.
 */
import { AssertionFailure } from "../base/assert.ts";
import type { AddonError, NativeDevice, OpenDeviceOptions } from "./addon.ts";
import type { RawAddon, RawCompletion, RawDevice } from "./raw-addon.ts";

/** Jobs in flight at most; more is a caller without flow control. */
export const pendingJobsMax = 4096;

interface PendingJob {
  readonly resolve: (bytes: Uint8Array | undefined) => void;
  readonly reject: (error: AddonError) => void;
  /** Held, not used: keeps a write's memory alive. */
  readonly bytes: Uint8Array | undefined;
}

class DeviceFailure extends Error implements AddonError {
  override readonly name = "DeviceFailure";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Throws AddonError. */
export function openNativeDevice(addon: RawAddon, options: OpenDeviceOptions): NativeDevice {
  return new QueuedDevice(addon, options);
}

class QueuedDevice implements NativeDevice {
  readonly kind: "file" | "block";
  readonly capacityBytes: number;
  readonly strategy: string;
  readonly logicalBlockBytes: number;
  readonly #raw: RawDevice;
  readonly #path: string;
  readonly #pending = new Map<number, PendingJob>();
  #lastToken = 0;
  #closed: Promise<void> | undefined;
  #finishClose: (() => void) | undefined;

  constructor(addon: RawAddon, options: OpenDeviceOptions) {
    this.#path = options.path;
    this.#raw = addon.openDevice(options, () => this.#takeCompletions());
    this.kind = this.#raw.kind;
    this.capacityBytes = this.#raw.capacityBytes;
    this.strategy = this.#raw.strategy;
    this.logicalBlockBytes = this.#raw.logicalBlockBytes;
  }

  async write(bytes: Uint8Array, deviceOffset: number): Promise<void> {
    await this.#submit((token) => this.#raw.submitWrite(token, bytes, deviceOffset), bytes);
  }

  async read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array> {
    const bytes = await this.#submit((token) => this.#raw.submitRead(token, deviceOffset, lengthBytes), undefined);
    if (bytes?.length !== lengthBytes) throw new AssertionFailure(`a read of ${lengthBytes} bytes gave ${bytes?.length}`);
    return bytes;
  }

  async flush(): Promise<void> {
    await this.#submit((token) => this.#raw.submitFlush(token), undefined);
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#finishClose = () => {
        this.#raw.close();
        resolve();
      };
      if (this.#pending.size === 0) this.#finishClose();
    });
    return this.#closed;
  }

  #submit(queue: (token: number) => void, bytes: Uint8Array | undefined): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) throw new DeviceFailure("CLOSED", `${this.#path} is closed`);
      if (this.#pending.size >= pendingJobsMax) throw new AssertionFailure(`${pendingJobsMax} jobs are in flight on ${this.#path}`);
      this.#lastToken += 1;
      queue(this.#lastToken);
      this.#pending.set(this.#lastToken, { resolve, reject, bytes });
    });
  }

  #takeCompletions(): void {
    for (const completion of this.#raw.takeCompletions()) this.#settle(completion);
    if (this.#pending.size === 0) this.#finishClose?.();
  }

  #settle(completion: RawCompletion): void {
    const job = this.#pending.get(completion.token);
    if (job === undefined) throw new AssertionFailure(`job ${completion.token} on ${this.#path} completed twice or was never submitted`);
    this.#pending.delete(completion.token);
    const { code, message, bytes } = completion;
    if (typeof code === "string") job.reject(new DeviceFailure(code, message ?? code));
    else job.resolve(bytes ?? undefined);
  }
}
