/** The addon's exports as they are (native/src/bindings.rs). Only this room sees them; everybody else has `addon.ts`. */
import type { DeviceInspection, OpenDeviceOptions } from "./addon.ts";

export interface RawAddon {
  version(): string;
  /** In order: crc32c_at (native/src/checksum.rs). */
  functionAddresses(): number[];
  mapRing(capacityBytes: number): Uint8Array;
  openDevice(options: OpenDeviceOptions, ring: () => void): RawDevice;
  inspectDevice(path: string): DeviceInspection;
  lz4FrameCompress(bytes: Uint8Array): Uint8Array;
  lz4FrameDecompress(bytes: Uint8Array, maxBytes: number): Uint8Array;
  snappyCompress(bytes: Uint8Array): Uint8Array;
  snappyDecompress(bytes: Uint8Array, maxBytes: number): Uint8Array;
  lz4HighCompress(bytes: Uint8Array, level: number): Uint8Array;
  zstdDecompressInto(bytes: Uint8Array, target: Uint8Array): Promise<number>;
  scanRecords(codec: number, bytes: Uint8Array, count: number, baseTimestampMs: number, maxContentBytes: number): number[] | null;
}

export interface RawDevice {
  readonly kind: "file" | "block";
  readonly capacityBytes: number;
  readonly strategy: string;
  readonly logicalBlockBytes: number;
  /** Queues. `bytes` stays alive and unchanged until the completion of `token` is taken. Throws when it queued nothing. */
  submitWrite(token: number, bytes: Uint8Array, deviceOffset: number): void;
  submitRead(token: number, deviceOffset: number, lengthBytes: number): void;
  submitFlush(token: number): void;
  /** All that has settled since the last call. */
  takeCompletions(): RawCompletion[];
  /** Blocks until what is in flight is done. */
  close(): void;
}

export interface RawCompletion {
  readonly token: number;
  /** Absent on success. */
  readonly code?: string | null;
  readonly message?: string | null;
  /** What a read brought. */
  readonly bytes?: Uint8Array | null;
}
