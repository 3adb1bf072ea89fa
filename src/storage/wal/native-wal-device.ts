/**
 * The WAL device that is real: a file, a loop device or a raw block device, through the native addon. Turns the addon's error codes into
 * Troubles that name the path and what the operator can do. Neighbours: `wal-device.ts` (the face), `native/addon.ts` (what is below).
 */
import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { assert } from "../../base/assert.ts";
import { Trouble, type TroubleOptions } from "../../base/trouble.ts";
import type { Addon, AddonError, DeviceInspection, NativeDevice } from "../../native/addon.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "./wal-device.ts";

export interface OpenNativeWalOptions {
  readonly path: string;
  /** `block` refuses a regular file and the other way round, so that a mistyped path is not taken for a device. Undefined takes either. */
  readonly kind?: "file" | "block";
  /** Make a missing file, with its folder, of this size (a multiple of WAL_BLOCK_BYTES). Never for `block`. */
  readonly createSizeBytes?: number;
  /** Writes in flight at most; 1..64. */
  readonly writeDepth: number;
  /** Look, do not touch: no lock, no write. For `weir wal inspect` and `verify`. */
  readonly readOnly?: boolean;
}

/**
 * Opens and, unless read-only, locks. Throws Trouble: wal-device-busy, wal-device-mounted, wal-device-missing, wal-device-denied,
 * wal-device-unsuitable, wal-device-full, wal-device-io.
 */
export function openNativeWalDevice(addon: Addon, options: OpenNativeWalOptions): NativeWalDevice {
  const { path, kind, createSizeBytes, writeDepth, readOnly = false } = options;
  try {
    refuseOtherKind(path, kind);
    const create = createSizeBytes !== undefined && kind !== "block" && !readOnly;
    if (create) mkdirSync(dirname(path), { recursive: true });
    const size = create ? { createSizeBytes } : {};
    return new NativeWalDevice(path, addon.openDevice({ path, ...size, writeDepth, exclusive: !readOnly, readOnly }));
  } catch (error) {
    throw toTrouble(error, `${kind === undefined ? `WAL ${path}` : `wal=${kind}:${path}`} cannot be opened`);
  }
}

function refuseOtherKind(path: string, kind: "file" | "block" | undefined): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (kind === undefined || found === undefined) return;
  if (kind === "block" ? found.isBlockDevice() : found.isFile()) return;
  const expected = kind === "block" ? "a block device" : "a regular file";
  throw new Trouble({ ...unsuitable, message: `wal=${kind}:${path} cannot be opened: it is not ${expected}` });
}

/** What lies on `path` and who uses it, without opening it for writing. Throws the same Troubles; a missing path is an answer. */
export function inspectWalDevice(addon: Addon, path: string): DeviceInspection {
  try {
    return addon.inspectDevice(path);
  } catch (error) {
    throw toTrouble(error, `WAL ${path} cannot be inspected`);
  }
}

export class NativeWalDevice implements WalDevice {
  readonly description: string;
  readonly capacityBytes: number;
  readonly #device: NativeDevice;
  readonly #path: string;

  constructor(path: string, device: NativeDevice) {
    this.#path = path;
    this.#device = device;
    this.capacityBytes = device.capacityBytes - (device.capacityBytes % WAL_BLOCK_BYTES);
    this.description = `${device.kind}:${path} (${this.capacityBytes} bytes, ${device.strategy})`;
  }

  async write(bytes: Uint8Array, deviceOffset: number): Promise<void> {
    assert(deviceOffset % WAL_BLOCK_BYTES === 0 && bytes.length % WAL_BLOCK_BYTES === 0, "unaligned write");
    assert(deviceOffset >= 0 && deviceOffset + bytes.length <= this.capacityBytes, "write beyond the device's end");
    try {
      await this.#device.write(bytes, deviceOffset);
    } catch (error) {
      throw toTrouble(error, `WAL ${this.#path}: a write of ${bytes.length} bytes at ${deviceOffset} failed`);
    }
  }

  async read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array> {
    assert(deviceOffset >= 0 && deviceOffset + lengthBytes <= this.capacityBytes, "read beyond the device's end");
    if (lengthBytes === 0) return new Uint8Array(0);
    try {
      return await this.#device.read(deviceOffset, lengthBytes);
    } catch (error) {
      throw toTrouble(error, `WAL ${this.#path}: a read of ${lengthBytes} bytes at ${deviceOffset} failed`);
    }
  }

  async flush(): Promise<void> {
    try {
      await this.#device.flush();
    } catch (error) {
      throw toTrouble(error, `WAL ${this.#path}: a flush failed`);
    }
  }

  close(): Promise<void> {
    return this.#device.close();
  }
}

type Verdict = Pick<TroubleOptions, "code" | "retryable" | "exitCode"> & { readonly remedy: string };

const missing: Verdict = {
  code: "wal-device-missing",
  retryable: false,
  exitCode: 2,
  remedy: "check the path in `wal`, and that the volume is attached",
};
const unsuitable: Verdict = {
  code: "wal-device-unsuitable",
  retryable: false,
  exitCode: 2,
  remedy: "name a block device (wal=block:DEVICE) or a regular file (wal=file:PATH?size=SIZE)",
};
const busy: Verdict = {
  code: "wal-device-busy",
  retryable: true,
  exitCode: 1,
  remedy: "stop the other broker that has it, or give this one a WAL of its own",
};
const mounted: Verdict = {
  code: "wal-device-mounted",
  retryable: false,
  exitCode: 2,
  remedy: "unmount it and make sure that nobody needs what is on it, or name another device",
};
const denied: Verdict = {
  code: "wal-device-denied",
  retryable: false,
  exitCode: 1,
  remedy: "let this user read and write it (for a device: the group of its node, usually disk)",
};
const full: Verdict = {
  code: "wal-device-full",
  retryable: true,
  exitCode: 1,
  remedy: "free space on its file system, or name a smaller size in `wal`",
};
const failed: Verdict = { code: "wal-device-io", retryable: true, exitCode: 1, remedy: "look at the kernel log and the volume's health" };

const verdicts: Readonly<Record<string, Verdict>> = {
  LOCKED: busy,
  EBUSY: busy,
  MOUNTED: mounted,
  ENOENT: missing,
  ENOTDIR: missing,
  ENXIO: missing,
  ENODEV: missing,
  NOT_A_DEVICE: unsuitable,
  TOO_SMALL: unsuitable,
  EISDIR: unsuitable,
  EACCES: denied,
  EPERM: denied,
  EROFS: denied,
  ENOSPC: full,
  EDQUOT: full,
  EFBIG: full,
};

/** Errors of the addon and of node:fs carry a `code`; anything else is a bug and passes as it is. */
function toTrouble(error: unknown, what: string): unknown {
  if (error instanceof Trouble || !isCoded(error)) return error;
  const verdict = verdicts[error.code] ?? failed;
  return new Trouble({ ...verdict, message: `${what}: ${error.message}`, cause: error });
}

function isCoded(error: unknown): error is AddonError {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}
