/**
 * What the Rust addon offers to TypeScript. The addon holds no Kafka logic. `load-addon.ts` brings it into the process from
 * inside the executable (memfd, no file extracted). Hot, tiny calls (crc32c) go through bun:ffi on addresses that the
 * same addon exports; all else through N-API.
 *
 * Memory: buffers handed to asynchronous calls must not change, move or be freed until the call settles. Ring memory is mapped once
 * and lives as long as the process.
 */
export interface Addon {
  readonly version: string;

  /** Anonymous private mapping (MAP_NORESERVE, page-aligned, untouched pages not resident). Throws when it cannot be mapped. */
  mapRing(capacityBytes: number): Uint8Array;

  /**
   * CRC32C (Castagnoli) of bytes[start, end), continuing from `seed` (a former result; 0 to begin).
   * Returns an unsigned 32-bit number.
   */
  crc32c(bytes: Uint8Array, start: number, end: number, seed?: number): number;

  /** Opens, probes and locks a WAL device. See NativeDevice. Throws AddonError. */
  openDevice(options: OpenDeviceOptions): NativeDevice;

  /** What is on a path, without opening it for writing: for `weir wal format` and start-up errors. */
  inspectDevice(path: string): DeviceInspection;

  /** lz4 frame format (Kafka codec 3; block-independent, content checksum off) and snappy raw blocks (xerial framing is done in TypeScript). */
  lz4FrameCompress(bytes: Uint8Array): Uint8Array;
  lz4FrameDecompress(bytes: Uint8Array, maxBytes: number): Uint8Array;
  snappyCompress(bytes: Uint8Array): Uint8Array;
  snappyDecompress(bytes: Uint8Array, maxBytes: number): Uint8Array;
  /** lz4's high-compression levels, in the same frames; `level` is 1 to 17, above 12 as 12. */
  lz4HighCompress(bytes: Uint8Array, level: number): Uint8Array;

  /**
   * Content of zstd frames, decompressed on a thread of the runtime's pool into the start of `target`; resolves to its length. Rejects when it is damaged
   * or does not fit. Until it settles `bytes` must not change, and nobody else reads, writes, transfers or frees `target`.
   */
  zstdDecompressInto(bytes: Uint8Array, target: Uint8Array): Promise<number>;

  /**
   * Walks a batch's records (message format 2; `codec` 0 to 4), decompressing in passing. Null: not `count` whole records with offsets 0, 1, 2, ..., more
   * content than `maxContentBytes`, or a timestamp beyond 2^53. Else greatest timestamp (-1: none is set), least one that is set (Infinity:
   * none is), records without a key, length of the longest record, length of the content.
   */
  scanRecords(codec: number, bytes: Uint8Array, count: number, baseTimestampMs: number, maxContentBytes: number): number[] | null;
}

export interface OpenDeviceOptions {
  readonly path: string;
  /**
   * A missing regular file is created at this size, a multiple of 4096, allocated in full but not written
   * (docs/decisions/0003-file-wal-allocated-not-prewritten.md). An existing one keeps its size. Never for a block device.
   */
  readonly createSizeBytes?: number;
  /** Writers kept in flight at most; 1..64. */
  readonly writeDepth: number;
  /** Take the exclusive lock (flock on the file; O_EXCL and flock on a block device). False only for inspect and verify. */
  readonly exclusive: boolean;
  readonly readOnly?: boolean;
}

/** Thrown by the addon; `code` is an errno name ("ENOENT", "ENOSPC", "EIO") or one of ours: "LOCKED", "MOUNTED", "NOT_A_DEVICE", "TOO_SMALL", "CLOSED" for devices, "CORRUPT", "TOO_LARGE" for codecs. */
export interface AddonError extends Error {
  readonly code: string;
}

export interface DeviceInspection {
  readonly exists: boolean;
  readonly kind: "file" | "block" | "other";
  readonly capacityBytes: number;
  /** Mount points that use it or one of its partitions; also swap, RAID or LVM holders (from /proc/mounts, /sys/class/block/.../holders). */
  readonly usedBy: readonly string[];
  /** What the first MiB looks like: "" when blank (all zero), "weir" for our header, else a best guess ("ext4", "xfs", "partition table", "data"). */
  readonly content: string;
}

export interface NativeDevice {
  readonly kind: "file" | "block";
  readonly capacityBytes: number;
  /** How durable writes are made here, by a probe that only reads: "pwritev2 O_DIRECT|RWF_DSYNC x4". For the start-up line. */
  readonly strategy: string;
  readonly logicalBlockBytes: number;

  /**
   * Durable write of `bytes` at `deviceOffset` (both multiples of 4096). Resolves only when the device has it for good
   * (O_DIRECT with RWF_DSYNC). Writes may complete in any order. Rejects with AddonError; what then lies in the range is unknown.
   */
  write(bytes: Uint8Array, deviceOffset: number): Promise<void>;
  /** Private copy of the range (O_DIRECT; any alignment is taken and widened inside; not transferable to a worker). Rejects with AddonError. */
  read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array>;
  /** Makes everything that was ever read or written on it durable (fdatasync). */
  flush(): Promise<void>;
  /** Waits for what is in flight, unlocks and closes. */
  close(): Promise<void>;
}
