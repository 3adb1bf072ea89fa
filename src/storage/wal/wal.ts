/**
 * The WAL as the rest of storage sees it: reserve, append, wait for durability, read back, trim. Made by `openWal` in `open-wal.ts`;
 * the body is `group-commit-wal.ts`; what lies on the device is drawn in `wal-format.ts`.
 *
 * Invariants that callers may rely on:
 * - Release is strictly in LSN order; nothing is released while an earlier byte is not durable.
 * - What was appended is never un-appended: the same bytes are written again at the same LSN, or the WAL fails for good.
 * - A ring range may be reused once it is durable, uploaded or not; a device range only after `trimTo` passed it.
 */
import type { Clock } from "../../base/clock.ts";
import type { Random } from "../../base/random.ts";
import type { Logger, Metrics } from "../../telemetry/telemetry.ts";
import type { Lsn, Reservation, StreamId, WalPosition } from "../types.ts";
import type { WalDevice } from "./wal-device.ts";

/** Kind of an entry that holds a batch of a stream. Other kinds (0..255) are the caller's; the WAL gives them no meaning. */
export const BATCH_ENTRY_KIND = 0;

/** CRC32C of bytes[start, end), continuing from `seed` (a former result; 0 to begin); unsigned. */
export type Crc32c = (bytes: Uint8Array, start: number, end: number, seed?: number) => number;

export interface WalEntryInput {
  readonly stream: StreamId;
  readonly kind: number;
  readonly term: number;
  /** Offsets that the payload covers, both ends included. */
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly maxTimestampMs: number;
  /** The payload is source[start, end), never empty; copied before `append` returns. */
  readonly source: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** Where an entry's payload lies. */
export interface WalLocation {
  /** First block of its commit; fixed when the commit opens. */
  readonly lsn: Lsn;
  /** Monotone ring position of the commit, in blocks; -1: only on the device (recovered). */
  readonly ringBlock: number;
  /** The payload's byte offset within the commit (its entry header lies right before it). */
  readonly offset: number;
  /** Payload bytes. */
  readonly length: number;
}

/** A payload on the device, and whose it must be. */
export interface PayloadPlace {
  readonly location: WalLocation;
  readonly stream: StreamId;
  readonly term: number;
  readonly baseOffset: number;
}

/** `index`: of the place that was asked for. */
export type TakePayload = (index: number, bytes: Uint8Array) => void;

/** What the recovery scan found, without its payload (read it with `Wal.read`). */
export interface RecoveredEntry {
  readonly stream: StreamId;
  readonly kind: number;
  readonly term: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly maxTimestampMs: number;
  readonly location: WalLocation;
  /** End (exclusive) of the commit that holds it. */
  readonly commitEndLsn: Lsn;
}

/** A break in the chain below what a later commit states to have been durable: lost or flipped blocks, never the end of the log. */
export interface DamageReport {
  /** Stretches [fromLsn, toLsn) that could not be read as commits. The scan went on behind each. */
  readonly gaps: readonly { readonly fromLsn: Lsn; readonly toLsn: Lsn; readonly reason: string }[];
  /**
   * Streams whose offsets do not go on across a gap, hence known to have lost entries. A stream that is not named is unharmed only if an entry of it
   * behind the gap goes on where it stopped: one whose last entries lay in the gap cannot be told.
   */
  readonly streams: readonly { readonly stream: StreamId; readonly expectedOffset: number; readonly foundOffset: number }[];
}

export interface WalCut {
  /** First block after everything appended so far (end of the commit that the cut sealed). */
  readonly lsn: Lsn;
  /** The exact position, once everything below is durable and released. Rejects with Trouble "wal-failed". */
  readonly durable: Promise<WalPosition>;
}

export interface WalState {
  /** "full": reservations wait for `trimTo`. "device-failing": writes are being repeated, or nothing can be read. "failed": fenced, nothing is released any more. */
  readonly kind: "serving" | "full" | "device-failing" | "failed";
  readonly reason?: string;
}

export interface Wal {
  /** 22-character base64url of the 16 bytes in the header. */
  readonly walId: string;
  /** Epoch of this opening; durable in the header since before `openWal` resolved. */
  readonly walEpoch: number;
  /** Largest commit; a reservation for more payload than fits in it is refused. */
  readonly maxCommitBytes: number;
  /** Largest payload one entry may have. */
  readonly maxPayloadBytes: number;
  readonly state: WalState;
  /** Capacity of the data area, and what of it is neither trimmed nor free. For back-pressure decisions and metrics. */
  readonly capacityBlocks: number;
  readonly usedBlocks: number;
  /** First block of the next commit (after everything appended so far). */
  readonly headLsn: Lsn;

  /** Room for `entries` entries with `bytes` of payload together, in ring memory and on the device; undefined when there is none now or others wait. */
  tryReserve(bytes: number, entries: number): Reservation | undefined;
  /** Waits, first come first served. Rejects with `signal.reason` when aborted, Trouble "wal-failed" when failed, Trouble "batch-too-large" when it could never fit. */
  reserve(bytes: number, entries: number, signal?: AbortSignal): Promise<Reservation>;

  /** Copies the payload into the ring; synchronous. `reservation` has room left for it (asserted). */
  append(entry: WalEntryInput, reservation: Reservation): WalLocation;

  /** Seals the open commit: a position that covers everything appended so far and nothing later. */
  cut(): WalCut;

  /** Resolves when everything appended so far is durable and released. One promise is shared by all callers of one commit. Rejects with Trouble "wal-failed". */
  whenDurable(): Promise<void>;

  /** `releasedThrough` = end LSN (exclusive) of what is released. Called in LSN order, before any `whenDurable` of that commit resolves. */
  onReleased(listener: (releasedThrough: Lsn) => void): void;

  /** Called after each change of `state.kind`. */
  onStateChange(listener: (state: WalState) => void): void;

  /** The payload in the ring, for this synchronous section only; undefined when it is not there (reused, or recovered). */
  tryView(location: WalLocation): Uint8Array | undefined;

  /**
   * Reads payloads from the device, places in LSN order, and checks the entry header at each (stream, term, base offset, payload CRC32C) against what the caller
   * knows. `take` is called once for each, in any order, with bytes that hold during that call only. Rejects, when nothing is under way any more, with Trouble
   * "wal-damaged" on a mismatch, "wal-range-gone" when a range was trimmed and reused. Only for what is released: before that the ring has it.
   */
  readAll(places: readonly PayloadPlace[], take: TakePayload): Promise<void>;

  /** The range that begins at `lsn` has not been reused (trimmed ranges stay readable until overwritten). */
  isOnDevice(lsn: Lsn): boolean;

  /** Everything below is committed to objects: the device range may be reused. Positions at or below the last one are ignored. */
  trimTo(position: WalPosition): void;

  /** Notes the newest metadata slot seen, with its hash, in the header (durable when it resolves); calls in between are coalesced. */
  noteMetadataSlot(slot: number, slotHash: string): Promise<void>;

  /** Writes what was appended, waits for it, closes the device. New reservations reject. */
  close(): Promise<void>;
}

export interface OpenWalOptions {
  readonly device: WalDevice;
  /** Ring memory, page-aligned for the native device; length a multiple of WAL_BLOCK_BYTES. See ring/. */
  readonly ring: Uint8Array;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clusterId: string;
  readonly nodeId: number;
  /**
   * The committed position that the metadata log holds for this WAL id; undefined: the log does not know it (then the WAL must be unclaimed or hold no commit).
   * Asked once, after the header was read and accepted.
   */
  readonly getCommittedPosition: (walId: string) => WalPosition | undefined;
  /** Newest slot of the image, with its hash. A header that has seen a higher one: Trouble "bucket-behind". */
  readonly metadataSlot: number;
  readonly metadataSlotHash: string;
  /** Given for file and memory WALs: a blank device is formatted at once, under an id from it. Block devices need `weir wal format`. */
  readonly formatBlankWith?: Random | undefined;
  /** Device writes in flight at most; default 4. */
  readonly writeDepth?: number;
  /** Default 4 MiB; bounded by a quarter of ring and device. The largest batch must fit. */
  readonly maxCommitBytes?: number;
  /** How long failing writes are repeated before the WAL fails; default 30,000. */
  readonly failAfterMs?: number;
  /** Tests and simulator: reused ring blocks are filled with 0xDB first, so that a view that outlived its section shows. */
  readonly poisonReused?: boolean;
}

export interface OpenedWal {
  readonly wal: Wal;
  /** In LSN order; everything at or above the committed position. Metadata only. */
  readonly recovered: readonly RecoveredEntry[];
  readonly damage: DamageReport | undefined;
}
