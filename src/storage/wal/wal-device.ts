/**
 * The device under a WAL as storage sees it: aligned blocks, durable writes. Bodies: `native-wal-device.ts` (the addon: file, loop
 * device, raw block device), `memory-wal-device.ts` (--memory and tests), `journaling-wal-device.ts` (tests: records
 * (offset, bytes, flush) in order and holds completions at will).
 */
export const WAL_BLOCK_BYTES = 4096;

export interface WalDevice {
  /** One line for logs: path, kind, write strategy. */
  readonly description: string;
  /** Usable bytes, a multiple of WAL_BLOCK_BYTES. */
  readonly capacityBytes: number;
  /**
   * Durable write. `bytes.length` and `deviceOffset` are multiples of WAL_BLOCK_BYTES. `bytes` must not change until it settles. Resolves only
   * when durable; writes in flight may complete in any order. Rejects with a Trouble; what then lies in the range is unknown, and the
   * caller writes the same bytes again at the same place or fences itself.
   */
  write(bytes: Uint8Array, deviceOffset: number): Promise<void>;
  /** Private copy of the range. Any alignment. Rejects with a Trouble. */
  read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array>;
  /** Makes everything read so far durable too (a scan may have seen bytes that only the device's cache held). */
  flush(): Promise<void>;
  close(): Promise<void>;
}
