/**
 * Opens a WAL: header, claim, recovery scan, new epoch, in this order:
 *
 * 1. the newest valid header copy; refuse what is foreign, newer, damaged, or at odds with the metadata log;
 * 2. the scan from the committed position;
 * 3. flush: what the scan saw may so far have been only in the device's cache;
 * 4. claim and WAL epoch + 1, both header copies, durable; only then may anything be appended.
 */
import type { Random } from "../../base/random.ts";
import { randomUuidBytes } from "../../base/random.ts";
import { Trouble } from "../../base/trouble.ts";
import { MemoryRing } from "../ring/memory-ring.ts";
import type { Lsn, WalPosition } from "../types.ts";
import { GroupCommitWal } from "./group-commit-wal.ts";
import { readHeader, writeBothHeaders } from "./header-store.ts";
import { type ScanResult, WalScanner } from "./scan.ts";
import type { Crc32c, OpenedWal, OpenWalOptions } from "./wal.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "./wal-device.ts";
import { capacityBlocksOf, DATA_START_BLOCK, MAX_COMMIT_FRACTION, MIN_CAPACITY_BLOCKS, type WalHeader } from "./wal-format.ts";

const DEFAULT_WRITE_DEPTH = 4;
const DEFAULT_MAX_COMMIT_BYTES = 4 * 1024 * 1024;
const DEFAULT_FAIL_AFTER_MS = 30_000;

/** A WAL that holds nothing yet begins here. */
export const BLANK_POSITION: WalPosition = { lsn: 0 as Lsn, predecessorChecksum: 0, walEpoch: 0 };

/** Writes an unclaimed header over whatever is there. Rejects with Trouble "wal-device-too-small". */
export async function formatWal(device: WalDevice, crc32c: Crc32c, random: Random): Promise<WalHeader> {
  const capacityBlocks = capacityBlocksOf(device.capacityBytes);
  if (capacityBlocks === 0) {
    const neededBytes = (MIN_CAPACITY_BLOCKS + DATA_START_BLOCK) * WAL_BLOCK_BYTES;
    throw new Trouble({
      code: "wal-device-too-small",
      message: `WAL ${device.description} has ${device.capacityBytes} bytes; at least ${neededBytes} are needed`,
      retryable: false,
      exitCode: 2,
    });
  }
  // Fence and scratch blocks too, so that nothing of an earlier use is taken for a fence.
  await device.write(new Uint8Array((DATA_START_BLOCK - 2) * WAL_BLOCK_BYTES), 2 * WAL_BLOCK_BYTES);
  return writeBothHeaders(device, crc32c, {
    walId: Buffer.from(randomUuidBytes(random)).toString("base64url"),
    generation: 0,
    claimedBy: undefined,
    walEpoch: 0,
    capacityBlocks,
    dataStartBlock: DATA_START_BLOCK,
    maxInFlightBytes: 0,
    maxCommitBlocks: 0,
    metadataSlot: undefined,
  });
}

/** See the file's header. Rejects with Troubles that name what is wrong and the remedy; the device is then as it was. */
export async function openWal(options: OpenWalOptions): Promise<OpenedWal> {
  const { device, crc32c, clock, logger } = options;
  const header = await readOrFormat(options);
  assertOwn(options, header);
  assertSlotNotBehind(options, header);
  const known = options.getCommittedPosition(header.walId);
  const from = known ?? BLANK_POSITION;
  const scanner = new WalScanner({ device, header, crc32c, clock, logger });
  const startedMs = clock.monotonicMs();
  const result = await scanner.scan(from);
  await assertHistoriesAgree(options, header, known, result, scanner);
  scanner.close();
  await device.flush();
  const limits = deriveLimits(options, header);
  const claimed = await writeBothHeaders(device, crc32c, {
    ...header,
    claimedBy: { clusterId: options.clusterId, nodeId: options.nodeId },
    walEpoch: header.walEpoch + 1,
    maxInFlightBytes: Math.max(header.maxInFlightBytes, (limits.writeDepth + 2) * limits.maxCommitBlocks * WAL_BLOCK_BYTES),
    maxCommitBlocks: Math.max(header.maxCommitBlocks, limits.maxCommitBlocks),
  });
  logRecovery(options, claimed, from, result, clock.monotonicMs() - startedMs);
  const wal = new GroupCommitWal({
    ...options,
    ...limits,
    ring: new MemoryRing(options.ring, options.poisonReused ?? false),
    header: claimed,
    trimmed: from,
    head: result.end,
    failAfterMs: options.failAfterMs ?? DEFAULT_FAIL_AFTER_MS,
  });
  return { wal, recovered: result.entries, damage: result.damage };
}

async function readOrFormat(options: OpenWalOptions): Promise<WalHeader> {
  const { device, crc32c, logger } = options;
  const read = await readHeader(device, crc32c);
  if (read.kind === "valid") {
    if (read.oneCopyDamaged)
      logger.warn("wal.header-copy-damaged", "one header copy is damaged; it is written anew", { walId: read.header.walId });
    const neededBytes = (read.header.dataStartBlock + read.header.capacityBlocks) * WAL_BLOCK_BYTES;
    if (device.capacityBytes >= neededBytes) return read.header;
    throw new Trouble({
      code: "wal-device-too-small",
      message: `WAL ${device.description} has ${device.capacityBytes} bytes; its header says ${neededBytes}`,
      remedy: "the volume has shrunk or was copied in part: bring back the whole one",
      retryable: false,
      exitCode: 2,
    });
  }
  if (options.formatBlankWith !== undefined) return formatWal(device, crc32c, options.formatBlankWith);
  throw new Trouble({
    code: "wal-not-formatted",
    message: `WAL ${device.description} has no header of ours`,
    remedy: "run `weir wal format DEVICE` once for a new volume; if it should hold data, this is the wrong device",
    retryable: false,
    exitCode: 2,
  });
}

function assertOwn(options: OpenWalOptions, header: WalHeader): void {
  const owner = header.claimedBy;
  if (owner === undefined || (owner.clusterId === options.clusterId && owner.nodeId === options.nodeId)) return;
  throw new Trouble({
    code: "wal-foreign",
    message: `WAL ${options.device.description} (${header.walId}) belongs to cluster ${owner.clusterId} node ${owner.nodeId}; this broker is cluster ${options.clusterId} node ${options.nodeId}`,
    remedy: "give this broker its own device, or set node.id and the object store of the WAL's owner",
    retryable: false,
    exitCode: 2,
  });
}

/** The WAL remembers how far the metadata log was; a log that is not there yet is an older copy of the bucket, or another one. */
function assertSlotNotBehind(options: OpenWalOptions, header: WalHeader): void {
  const seen = header.metadataSlot;
  if (seen === undefined || seen.slot < options.metadataSlot) return;
  if (seen.slot === options.metadataSlot && seen.hash === options.metadataSlotHash) return;
  throw bucketBehind(
    options,
    seen.slot > options.metadataSlot
      ? `WAL ${header.walId} has seen metadata slot ${seen.slot}; the bucket ends at slot ${options.metadataSlot}`
      : `WAL ${header.walId} has seen another metadata slot ${seen.slot} (hash ${seen.hash}) than the bucket holds (hash ${options.metadataSlotHash})`,
  );
}

async function assertHistoriesAgree(
  options: OpenWalOptions,
  header: WalHeader,
  known: WalPosition | undefined,
  result: ScanResult,
  scanner: WalScanner,
): Promise<void> {
  if (known === undefined) {
    if (!(await scanner.wasEverWritten())) return;
    throw bucketBehind(options, `the bucket does not know WAL ${header.walId}, which has been written to (epoch ${header.walEpoch})`);
  }
  if (known.lsn === 0 || result.commitCount > 0) return;
  if (header.claimedBy !== undefined && known.walEpoch <= header.walEpoch && (await scanner.holdsCommitBefore(known))) return;
  throw new Trouble({
    code: "wal-behind",
    message: `WAL ${options.device.description} (${header.walId}, epoch ${header.walEpoch}) does not hold LSN ${known.lsn} of epoch ${known.walEpoch}, up to which the bucket has its data`,
    remedy: "this is an older copy of the volume or another one: attach the volume that the broker used last",
    retryable: false,
    exitCode: 2,
  });
}

function bucketBehind(options: OpenWalOptions, message: string): Trouble {
  return new Trouble({
    code: "bucket-behind",
    message: `${message} (${options.device.description})`,
    remedy: "the bucket is an older copy or another one: point object.store at the one that this WAL was used with",
    retryable: false,
    exitCode: 2,
  });
}

function deriveLimits(options: OpenWalOptions, header: WalHeader): { readonly writeDepth: number; readonly maxCommitBlocks: number } {
  const ringBlocks = options.ring.length / WAL_BLOCK_BYTES;
  const wantedBlocks = Math.ceil((options.maxCommitBytes ?? DEFAULT_MAX_COMMIT_BYTES) / WAL_BLOCK_BYTES);
  const maxCommitBlocks = Math.floor(Math.min(wantedBlocks, ringBlocks / MAX_COMMIT_FRACTION, header.capacityBlocks / MAX_COMMIT_FRACTION));
  if (maxCommitBlocks < 2) {
    throw new Trouble({
      code: "ring-too-small",
      message: `the memory ring has ${options.ring.length} bytes; at least ${8 * WAL_BLOCK_BYTES} are needed`,
      retryable: false,
      exitCode: 2,
    });
  }
  return { writeDepth: options.writeDepth ?? DEFAULT_WRITE_DEPTH, maxCommitBlocks };
}

function logRecovery(options: OpenWalOptions, header: WalHeader, from: WalPosition, result: ScanResult, elapsedMs: number): void {
  const fields = {
    walId: header.walId,
    walEpoch: header.walEpoch,
    fromLsn: from.lsn,
    endLsn: result.end.lsn,
    commits: result.commitCount,
    entries: result.entries.length,
    elapsedMs: Math.round(elapsedMs),
  };
  options.logger.info("wal.recovered", "the WAL is open", fields);
  for (const gap of result.damage?.gaps ?? []) {
    const lost = result.damage?.streams.map((each) => `${each.stream.topicId}-${each.stream.partition}`).join(",") ?? "";
    options.logger.error("wal.damaged", gap.reason, { walId: header.walId, fromLsn: gap.fromLsn, toLsn: gap.toLsn, streams: lost });
  }
}
