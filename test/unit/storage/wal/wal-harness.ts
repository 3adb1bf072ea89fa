/** What the WAL tests share: a small WAL over a given device, made-up batches, and a planted history far out in the address space. */
import type { Lsn, Reservation, StreamId, WalPosition } from "../../../../src/storage/types.ts";
import { writeBothHeaders } from "../../../../src/storage/wal/header-store.ts";
import { BLANK_POSITION, openWal } from "../../../../src/storage/wal/open-wal.ts";
import type { Crc32c, OpenedWal, OpenWalOptions, PayloadPlace, Wal, WalEntryInput, WalLocation } from "../../../../src/storage/wal/wal.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "../../../../src/storage/wal/wal-device.ts";
import { COMMIT_HEADER_BYTES, DATA_START_BLOCK, deviceOffsetOf, sealCommit } from "../../../../src/storage/wal/wal-format.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { NO_METRICS, RecordingLogger } from "../../support/recording-telemetry.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { tableCrc32c } from "../../support/table-crc32c.ts";

export const crc32c: Crc32c = tableCrc32c;
export const CLUSTER_ID = "pU1i8vTJQ5ykqj2n4m3w1g";
export const TOPIC_A = "AAAAAAAAAAAAAAAAAAAAAQ";
export const TOPIC_B = "_____________________w";

/** Bytes of a device with `blocks` blocks of data area. */
export function deviceBytes(blocks: number): number {
  return (DATA_START_BLOCK + blocks) * WAL_BLOCK_BYTES;
}

export interface TestWal extends OpenedWal {
  readonly clock: ManualClock;
  readonly logger: RecordingLogger;
}

export async function openTestWal(device: WalDevice, options: Partial<OpenWalOptions> = {}): Promise<TestWal> {
  const clock = new ManualClock();
  const logger = new RecordingLogger();
  const opened = await openWal({
    device,
    ring: new Uint8Array(64 * WAL_BLOCK_BYTES),
    crc32c,
    clock,
    logger,
    metrics: NO_METRICS,
    clusterId: CLUSTER_ID,
    nodeId: 1,
    getCommittedPosition: () => BLANK_POSITION,
    metadataSlot: 0,
    metadataSlotHash: "h0",
    formatBlankWith: new SeededRandom(7),
    poisonReused: true,
    ...options,
  });
  return { ...opened, clock, logger };
}

export function makePayload(seed: number, length: number): Uint8Array {
  return new SeededRandom(seed).fillBytes(new Uint8Array(length));
}

export function entryOf(stream: StreamId, baseOffset: number, payload: Uint8Array, term = 3): WalEntryInput {
  return {
    stream,
    kind: 0,
    term,
    baseOffset,
    lastOffset: baseOffset,
    maxTimestampMs: baseOffset - 5,
    source: payload,
    start: 0,
    end: payload.length,
  };
}

/** Appends one entry under its own reservation; undefined when there is no room now. */
export function tryAppend(wal: Wal, entry: WalEntryInput): WalLocation | undefined {
  const reservation: Reservation | undefined = wal.tryReserve(entry.end - entry.start, 1);
  if (reservation === undefined) return undefined;
  const location = wal.append(entry, reservation);
  reservation.release();
  return location;
}

export function appendOne(wal: Wal, entry: WalEntryInput): WalLocation {
  const location = tryAppend(wal, entry);
  if (location === undefined) throw new Error("no room");
  return location;
}

/** A copy of the one payload. */
export async function readRecovered(wal: Wal, place: PayloadPlace): Promise<Uint8Array> {
  let payload: Uint8Array | undefined;
  await wal.readAll([place], (_, bytes) => {
    payload = bytes.slice();
  });
  if (payload === undefined) throw new Error("a read that succeeded has given its payload");
  return payload;
}

/** A device whose WAL has already come to `lsn`, with the commit before it in place: for laps and LSNs beyond 2^32. */
export async function plantHistory(device: WalDevice, lsn: number, capacityBlocks: number): Promise<WalPosition> {
  const walId = Buffer.from(makePayload(9, 16)).toString("base64url");
  await writeBothHeaders(device, crc32c, {
    walId,
    generation: 0,
    claimedBy: { clusterId: CLUSTER_ID, nodeId: 1 },
    walEpoch: 41,
    capacityBlocks,
    dataStartBlock: DATA_START_BLOCK,
    maxInFlightBytes: 16 * WAL_BLOCK_BYTES,
    maxCommitBlocks: 4,
    metadataSlot: undefined,
  });
  const block = Buffer.alloc(WAL_BLOCK_BYTES);
  const header = {
    kind: "entries",
    walId,
    walEpoch: 40,
    lsn: lsn - 1,
    blockCount: 1,
    usedBytes: COMMIT_HEADER_BYTES,
    entryCount: 0,
  } as const;
  const checksum = sealCommit(block, 0, block.length, { ...header, predecessorChecksum: 77, durableLsn: lsn - 1 }, crc32c);
  await device.write(block, deviceOffsetOf(lsn - 1, { capacityBlocks, dataStartBlock: DATA_START_BLOCK }));
  return { lsn: lsn as Lsn, predecessorChecksum: checksum, walEpoch: 40 };
}
