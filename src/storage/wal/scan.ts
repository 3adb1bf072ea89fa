/**
 * The recovery scan: follows the chain of commits from a position and stops at the first break, so that neither a stale lap nor a write beyond
 * a hole can return. Then it looks behind the break, as far as writes can have been in flight: a later commit of this WAL that states the break's place
 * to have been durable proves damage, and the scan goes on behind the damaged stretch.
 *
 * A commit continues the chain when: its place says its own LSN (no stale lap), WAL id matches, it names the checksum of its predecessor, its epoch is
 * not below the chain's and not above the header's, it keeps inside the data area, and its own checksum holds over every written byte.
 *
 * Known limit: a flip in one of the last commits (those submitted before the next one became durable) cannot be told from a torn write.
 */
import { assert } from "../../base/assert.ts";
import { freeNow } from "../../base/buffer-pool.ts";
import type { Clock } from "../../base/clock.ts";
import type { Logger } from "../../telemetry/telemetry.ts";
import { type Lsn, streamKey, type WalPosition } from "../types.ts";
import type { Crc32c, DamageReport, RecoveredEntry } from "./wal.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "./wal-device.ts";
import {
  asBuffer,
  COMMIT_HEADER_BYTES,
  type CommitHeader,
  commitChecksumMatches,
  decodeCommitHeader,
  decodeEntryHeader,
  deviceOffsetOf,
  ENTRY_HEADER_BYTES,
  MAX_COMMIT_FRACTION,
  type WalHeader,
  writtenBytesOf,
} from "./wal-format.ts";

const READ_BYTES = 8 * 1024 * 1024;
const PROGRESS_EVERY_MS = 2_000;

export interface ScanOptions {
  readonly device: WalDevice;
  readonly header: WalHeader;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ScanResult {
  readonly entries: readonly RecoveredEntry[];
  /** Where the chain goes on. */
  readonly end: WalPosition;
  readonly commitCount: number;
  readonly damage: DamageReport | undefined;
}

/** A commit at its place, or why there is none. */
type CommitAt = { readonly header: CommitHeader; readonly bytes: Buffer } | { readonly reason: string };

export class WalScanner {
  readonly #options: ScanOptions;
  /** The window in memory: blocks from LSN #windowLsn; freed when the next is read, so nobody keeps a view of it across a read. */
  #window: Buffer = Buffer.alloc(0);
  #windowLsn = 0;
  #startedMs = 0;
  #reportedMs = 0;

  constructor(options: ScanOptions) {
    this.#options = options;
  }

  async scan(from: WalPosition): Promise<ScanResult> {
    const { clock } = this.#options;
    this.#startedMs = clock.monotonicMs();
    this.#reportedMs = this.#startedMs;
    const entries: RecoveredEntry[] = [];
    const gaps: { fromLsn: Lsn; toLsn: Lsn; reason: string }[] = [];
    let position = from;
    let commitCount = 0;
    // One lap and no further: the place of the scan's start is never overwritten by what follows it.
    const lastLsn = from.lsn + this.#options.header.capacityBlocks;
    for (;;) {
      const found = await this.#readCommit(position, lastLsn);
      if ("reason" in found) {
        const resumed = await this.#findBehind(position, lastLsn);
        if (resumed === undefined) break;
        gaps.push({ fromLsn: position.lsn, toLsn: resumed.lsn, reason: found.reason });
        position = resumed;
        continue;
      }
      collectEntries(found.header, found.bytes, entries, this.#options.crc32c);
      position = positionAfter(found.header);
      commitCount += 1;
      this.#reportProgress(from.lsn, position.lsn);
    }
    const damage = gaps.length === 0 ? undefined : { gaps, streams: findDiscontinuities(entries, gaps) };
    return { entries, end: position, commitCount, damage };
  }

  /**
   * The device holds the commit that ends at `position`, by its header. Looks back as far as a commit was ever allowed to be long. What lies there is
   * never overwritten while `position` is the committed one, so its absence means another history than the metadata log's.
   */
  async holdsCommitBefore(position: WalPosition): Promise<boolean> {
    const { header } = this.#options;
    const lapStart = position.lsn - 1 - ((position.lsn - 1) % header.capacityBlocks);
    const first = Math.max(lapStart, position.lsn - header.maxCommitBlocks);
    for (let lsn = position.lsn - 1; lsn >= first; lsn--) {
      const commit = decodeCommitHeader(await this.#blocks(lsn, 1, first));
      if (commit?.walId !== header.walId || commit.lsn !== lsn || lsn + commit.blockCount !== position.lsn) continue;
      return commit.checksum === position.predecessorChecksum && commit.walEpoch === position.walEpoch;
    }
    return false;
  }

  /** A commit of this WAL, of whatever lap, begins the data area: each lap begins with one. False: nothing was ever appended. */
  async wasEverWritten(): Promise<boolean> {
    return decodeCommitHeader(await this.#blocks(0, 1))?.walId === this.#options.header.walId;
  }

  /** A whole commit of this WAL that belongs at block `place` of the data area, of whatever lap: for `weir wal verify`. */
  async readCommitAtPlace(place: number): Promise<CommitHeader | undefined> {
    const { header: wal, crc32c } = this.#options;
    const header = decodeCommitHeader(await this.#blocks(place, 1));
    if (header?.walId !== wal.walId || header.lsn % wal.capacityBlocks !== place || !fitsAt(header, place, wal)) return undefined;
    const bytes = await this.#blocks(place, writtenBytesOf(header) / WAL_BLOCK_BYTES);
    return commitChecksumMatches(bytes, header, crc32c) ? header : undefined;
  }

  /** The commit that continues the chain at `position`, verified in full. */
  async #readCommit(position: WalPosition, lastLsn: number): Promise<CommitAt> {
    const found = await this.#readCommitAt(position.lsn, lastLsn);
    if ("reason" in found) return found;
    if (found.header.predecessorChecksum !== position.predecessorChecksum) return { reason: "the commit names another predecessor" };
    if (found.header.walEpoch < position.walEpoch) return { reason: "the commit is of an earlier epoch" };
    return found;
  }

  /** A whole commit of this WAL at `lsn`, whatever it follows. */
  async #readCommitAt(lsn: number, lastLsn: number): Promise<CommitAt> {
    const { header: wal, crc32c } = this.#options;
    if (lsn >= lastLsn) return { reason: "one lap was scanned" };
    const header = decodeCommitHeader(await this.#blocks(lsn, 1));
    if (header === undefined) return { reason: "no commit header" };
    if (header.walId !== wal.walId) return { reason: "the commit is of another WAL" };
    if (header.lsn !== lsn) return { reason: "the commit is of another lap" };
    if (header.walEpoch > wal.walEpoch) return { reason: "the commit is of an epoch that this WAL has not reached" };
    const end = lsn + header.blockCount;
    if (!fitsAt(header, lsn % wal.capacityBlocks, wal) || end > lastLsn || header.durableLsn > lsn) {
      return { reason: "the commit's header makes no sense" };
    }
    const bytes = await this.#blocks(lsn, writtenBytesOf(header) / WAL_BLOCK_BYTES);
    if (!commitChecksumMatches(bytes, header, crc32c)) return { reason: "the commit's checksum does not match" };
    return { header, bytes };
  }

  /**
   * Where the chain goes on behind a damaged stretch that begins at `broken`; undefined when nothing proves that there was anything. The proof is a whole
   * commit of no earlier epoch that states a durable LSN above the break. From it back, the earliest commit whose chain leads to it is taken.
   */
  async #findBehind(broken: WalPosition, lastLsn: number): Promise<WalPosition | undefined> {
    const { header: wal } = this.#options;
    const windowEnd = Math.min(lastLsn, broken.lsn + Math.ceil(wal.maxInFlightBytes / WAL_BLOCK_BYTES));
    const candidates = new Map<number, CommitHeader>();
    let proof: CommitHeader | undefined;
    for (let lsn = broken.lsn + 1; lsn < windowEnd && proof === undefined; lsn++) {
      const found = await this.#readCommitAt(lsn, lastLsn);
      if ("reason" in found || found.header.walEpoch < broken.walEpoch) continue;
      candidates.set(lsn, found.header);
      if (found.header.durableLsn > broken.lsn) proof = found.header;
    }
    if (proof === undefined) return undefined;
    for (const first of candidates.values()) {
      let commit: CommitHeader = first;
      while (commit.lsn < proof.lsn) {
        const next = candidates.get(commit.lsn + commit.blockCount);
        if (next === undefined || next.predecessorChecksum !== commit.checksum) break;
        commit = next;
      }
      if (commit === proof) return { lsn: first.lsn as Lsn, predecessorChecksum: first.predecessorChecksum, walEpoch: first.walEpoch };
    }
    return undefined;
  }

  /** Blocks [lsn, lsn + count) from the window; else the window is read anew, in one large piece from `readFrom` on. None of it crosses the end of the data area. */
  async #blocks(lsn: number, count: number, readFrom = lsn): Promise<Buffer> {
    const { device, header } = this.#options;
    const windowBlocks = this.#window.length / WAL_BLOCK_BYTES;
    if (lsn < this.#windowLsn || lsn + count > this.#windowLsn + windowBlocks) {
      const toEnd = header.capacityBlocks - (readFrom % header.capacityBlocks);
      const length = Math.min(toEnd, Math.max(lsn + count - readFrom, READ_BYTES / WAL_BLOCK_BYTES));
      this.close();
      this.#window = asBuffer(await device.read(deviceOffsetOf(readFrom, header), length * WAL_BLOCK_BYTES));
      this.#windowLsn = readFrom;
    }
    const at = (lsn - this.#windowLsn) * WAL_BLOCK_BYTES;
    return this.#window.subarray(at, at + count * WAL_BLOCK_BYTES);
  }

  /** Frees the window: what came from it is not looked at any more. It is read anew where that is wanted. */
  close(): void {
    freeNow(this.#window);
    this.#window = Buffer.alloc(0);
  }

  #reportProgress(fromLsn: number, lsn: number): void {
    const now = this.#options.clock.monotonicMs();
    if (now - this.#reportedMs < PROGRESS_EVERY_MS) return;
    this.#reportedMs = now;
    const fields = { fromLsn, lsn, bytes: (lsn - fromLsn) * WAL_BLOCK_BYTES, elapsedMs: Math.round(now - this.#startedMs) };
    this.#options.logger.info("wal.recovering", "scanning the WAL", fields);
  }
}

/** It keeps inside the data area and is no longer than any commit of ours. */
function fitsAt(commit: CommitHeader, place: number, wal: WalHeader): boolean {
  return commit.blockCount <= wal.capacityBlocks / MAX_COMMIT_FRACTION && place + commit.blockCount <= wal.capacityBlocks;
}

function positionAfter(commit: CommitHeader): WalPosition {
  return { lsn: (commit.lsn + commit.blockCount) as Lsn, predecessorChecksum: commit.checksum, walEpoch: commit.walEpoch };
}

/** The commit's checksum holds, so an entry that makes no sense is a bug of the writer. */
function collectEntries(commit: CommitHeader, bytes: Buffer, into: RecoveredEntry[], crc32c: Crc32c): void {
  let at = COMMIT_HEADER_BYTES;
  for (let index = 0; index < commit.entryCount; index++) {
    const entry = decodeEntryHeader(bytes, at, crc32c);
    const payloadAt = at + ENTRY_HEADER_BYTES;
    const isWhole = entry !== undefined && payloadAt + entry.payloadBytes <= commit.usedBytes;
    assert(isWhole, `the WAL commit at LSN ${commit.lsn} has a good checksum and a bad entry ${index}`);
    into.push({
      stream: entry.stream,
      kind: entry.kind,
      term: entry.term,
      baseOffset: entry.baseOffset,
      lastOffset: entry.lastOffset,
      maxTimestampMs: entry.maxTimestampMs,
      location: { lsn: commit.lsn as Lsn, ringBlock: -1, offset: payloadAt, length: entry.payloadBytes },
      commitEndLsn: (commit.lsn + commit.blockCount) as Lsn,
    });
    at = payloadAt + entry.payloadBytes;
  }
}

/** Streams of which an entry behind a gap does not go on where the one before the gap stopped. */
function findDiscontinuities(entries: readonly RecoveredEntry[], gaps: DamageReport["gaps"]): DamageReport["streams"] {
  const found: { stream: RecoveredEntry["stream"]; expectedOffset: number; foundOffset: number }[] = [];
  const lastBefore = new Map<string, RecoveredEntry>();
  for (const entry of entries) {
    const key = streamKey(entry.stream);
    const before = lastBefore.get(key);
    lastBefore.set(key, entry);
    if (before === undefined || before.lastOffset + 1 === entry.baseOffset) continue;
    const crossesGap = gaps.some((gap) => before.location.lsn < gap.fromLsn && entry.location.lsn >= gap.toLsn);
    if (crossesGap) found.push({ stream: entry.stream, expectedOffset: before.lastOffset + 1, foundOffset: entry.baseOffset });
  }
  return found;
}
