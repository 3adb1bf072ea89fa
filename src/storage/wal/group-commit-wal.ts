/**
 * The body of `Wal`: appends gather in an open commit at the ring's head, commits go to the device, release follows strictly in LSN order.
 *
 * When a commit is sealed (no timers):
 * - nothing in flight: at the end of the event-loop turn that appended, so an idle broker acks after one device write;
 * - writes in flight, but fewer than the depth: once GATHER_BYTES have gathered;
 * - otherwise when a write completes; or at once when the next entry does not fit.
 *
 * Life of a commit: open -> closed (padded, its end LSN fixed) -> submitted (header with predecessor, durable LSN and checksum, in LSN order)
 * -> durable -> released. `#commits` holds those that are not released, in LSN order; the last one may be open.
 *
 * Neighbours: `wal.ts` (the face), `reservations.ts` (room), `durable-writer.ts` (repeats), `../ring/` (memory), `wal-format.ts` (bytes).
 */
import { assert } from "../../base/assert.ts";
import type { Clock } from "../../base/clock.ts";
import { Trouble } from "../../base/trouble.ts";
import type { Logger, Metrics } from "../../telemetry/telemetry.ts";
import type { MemoryRing } from "../ring/memory-ring.ts";
import type { Lsn, Reservation, WalPosition } from "../types.ts";
import { DurableWriter } from "./durable-writer.ts";
import { HeaderNotes } from "./header-notes.ts";
import { PayloadReader } from "./payload-reader.ts";
import { ReadWatch } from "./read-watch.ts";
import { Reservations } from "./reservations.ts";
import type { Crc32c, PayloadPlace, TakePayload, Wal, WalCut, WalEntryInput, WalLocation, WalState } from "./wal.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "./wal-device.ts";
import {
  blocksFor,
  COMMIT_HEADER_BYTES,
  type CommitKind,
  deviceOffsetOf,
  ENTRY_HEADER_BYTES,
  encodeEntryHeader,
  sealCommit,
  type WalHeader,
  writtenBytesOf,
} from "./wal-format.ts";
import { WalMetrics } from "./wal-metrics.ts";

/** With a write in flight, another is begun only for at least this much. */
const GATHER_BYTES = 64 * 1024;

export interface GroupCommitOptions {
  readonly device: WalDevice;
  readonly ring: MemoryRing;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** As durable on the device: claimed, with the epoch of this opening. */
  readonly header: WalHeader;
  /** Everything below is in objects. */
  readonly trimmed: WalPosition;
  /** Where the chain goes on. */
  readonly head: WalPosition;
  readonly writeDepth: number;
  readonly maxCommitBlocks: number;
  readonly failAfterMs: number;
}

interface Commit {
  readonly kind: CommitKind;
  readonly lsn: Lsn;
  readonly ringBlock: number;
  /** Blocks it may grow to without wrapping ring or device. */
  readonly maxBlocks: number;
  blockCount: number;
  usedBytes: number;
  entryCount: number;
  /** Ring position after it. */
  ringEnd: number;
  isOpen: boolean;
  isSubmitted: boolean;
  isDurable: boolean;
  checksum: number;
  waiting: PromiseWithResolvers<WalPosition> | undefined;
  released: Promise<void> | undefined;
}

const RESOLVED: Promise<void> = Promise.resolve();

export class GroupCommitWal implements Wal {
  readonly #options: GroupCommitOptions;
  readonly #ring: MemoryRing;
  readonly #writer: DurableWriter;
  readonly #reservations: Reservations;
  readonly #payloads: PayloadReader;
  readonly #reads: ReadWatch;
  readonly #notes: HeaderNotes;
  readonly #meters: WalMetrics;
  readonly #releaseListeners: ((releasedThrough: Lsn) => void)[] = [];
  readonly #stateListeners: ((state: WalState) => void)[] = [];
  readonly maxCommitBytes: number;
  readonly maxPayloadBytes: number;

  readonly #commits: Commit[] = [];
  #headLsn: Lsn;
  #trimLsn: Lsn;
  /** End of the last released commit. */
  #released: WalPosition;
  /** Checksum of the last submitted commit. */
  #chainChecksum: number;
  #isPumpDeferred = false;
  #state: WalState = { kind: "serving" };
  #failure: Trouble | undefined;
  #failingReason: string | undefined;
  #unreadableReason: string | undefined;
  #isFull = false;
  #isClosing = false;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
    this.#ring = options.ring;
    this.#headLsn = options.head.lsn;
    this.#trimLsn = options.trimmed.lsn;
    this.#released = options.head;
    this.#chainChecksum = options.head.predecessorChecksum;
    this.maxCommitBytes = options.maxCommitBlocks * WAL_BLOCK_BYTES;
    this.maxPayloadBytes = this.maxCommitBytes - COMMIT_HEADER_BYTES - ENTRY_HEADER_BYTES;
    this.#reads = new ReadWatch({
      ...options,
      onUnreadable: (reason) => this.#onUnreadable(reason),
      onReadable: () => this.#onReadable(),
      onLost: (trouble) => this.#fail(trouble),
    });
    this.#payloads = new PayloadReader({
      device: this.#reads,
      header: options.header,
      crc32c: options.crc32c,
      assertNotReused: ({ location }) => this.#assertNotReused(location),
    });
    this.#notes = new HeaderNotes(options.device, options.crc32c, options.header);
    this.#writer = new DurableWriter(options.device, options.clock, options.failAfterMs, {
      onFailing: (reason, failingWrites) => this.#onWriteFailing(reason, failingWrites),
      onWorking: (repeats) => this.#onWritesWorking(repeats),
      onGivenUp: (trouble) => this.#fail(trouble),
    });
    this.#reservations = new Reservations({
      // Lost where a commit would wrap: less than one commit; and the block of a skip.
      ringBlocks: options.ring.capacityBlocks - options.maxCommitBlocks - 2,
      // The same, and the commit before the trimmed position is never overwritten: the next recovery looks for it.
      deviceBlocks: options.header.capacityBlocks - 2 * options.header.maxCommitBlocks,
      maxPayloadBytes: this.maxPayloadBytes,
      heldRingBlocks: () => this.#ring.heldBlocks,
      heldDeviceBlocks: () => this.usedBlocks,
    });
    this.#meters = new WalMetrics(options.metrics, {
      usedBlocks: () => this.usedBlocks,
      capacityBlocks: () => this.capacityBlocks,
      inFlightWrites: () => this.#writer.inFlight,
      waitingReservations: () => this.#reservations.waiting,
    });
  }

  get walId(): string {
    return this.#options.header.walId;
  }

  get walEpoch(): number {
    return this.#options.header.walEpoch;
  }

  get state(): WalState {
    return this.#state;
  }

  get capacityBlocks(): number {
    return this.#options.header.capacityBlocks;
  }

  get usedBlocks(): number {
    return this.#headLsn - this.#trimLsn;
  }

  get headLsn(): Lsn {
    return this.#headLsn;
  }

  tryReserve(bytes: number, entries: number): Reservation | undefined {
    return this.#isFull ? undefined : this.#reservations.tryReserve(bytes, entries);
  }

  reserve(bytes: number, entries: number, signal?: AbortSignal): Promise<Reservation> {
    const reserved = this.#reservations.reserve(bytes, entries, signal);
    this.#updateFull();
    if (signal !== undefined) reserved.catch(() => this.#updateFull());
    return reserved;
  }

  append(entry: WalEntryInput, reservation: Reservation): WalLocation {
    if (this.#failure !== undefined) throw this.#failure;
    const payloadBytes = entry.end - entry.start;
    assert(payloadBytes > 0 && payloadBytes <= this.maxPayloadBytes, `payload size out of range: ${payloadBytes}`);
    this.#reservations.spend(reservation, payloadBytes);
    const commit = this.#openCommitFor(ENTRY_HEADER_BYTES + payloadBytes);
    const offset = commit.usedBytes + ENTRY_HEADER_BYTES;
    this.#growTo(commit, offset + payloadBytes);
    const place = this.#ring.placeOf(commit.ringBlock) + offset;
    this.#ring.bytes.set(entry.source.subarray(entry.start, entry.end), place);
    encodeEntryHeader(this.#ring.bytes, place - ENTRY_HEADER_BYTES, entry, payloadBytes, this.#options.crc32c);
    commit.entryCount += 1;
    this.#meters.appendedBytes.add(payloadBytes);
    this.#deferPump();
    return { lsn: commit.lsn, ringBlock: commit.ringBlock, offset, length: payloadBytes };
  }

  cut(): WalCut {
    const last = this.#commits.at(-1);
    if (this.#failure !== undefined) return { lsn: this.#headLsn, durable: rejected(this.#failure) };
    if (last === undefined) return { lsn: this.#released.lsn, durable: Promise.resolve(this.#released) };
    if (last.isOpen) {
      this.#close(last);
      this.#deferPump();
    }
    return { lsn: endOf(last), durable: waitFor(last).promise };
  }

  whenDurable(): Promise<void> {
    if (this.#failure !== undefined) return rejected(this.#failure);
    const last = this.#commits.at(-1);
    if (last === undefined) return RESOLVED;
    if (last.released === undefined) {
      last.released = waitFor(last).promise.then(() => undefined);
      last.released.catch(() => undefined);
    }
    return last.released;
  }

  onReleased(listener: (releasedThrough: Lsn) => void): void {
    this.#releaseListeners.push(listener);
  }

  onStateChange(listener: (state: WalState) => void): void {
    this.#stateListeners.push(listener);
  }

  tryView(location: WalLocation): Uint8Array | undefined {
    return location.ringBlock < 0 ? undefined : this.#ring.tryView(location.ringBlock, location.offset, location.length);
  }

  readAll(places: readonly PayloadPlace[], take: TakePayload): Promise<void> {
    return this.#payloads.readAll(places, take);
  }

  isOnDevice(lsn: Lsn): boolean {
    return lsn >= this.#headLsn - this.capacityBlocks;
  }

  trimTo(position: WalPosition): void {
    assert(position.lsn <= this.#released.lsn, `trim of what is not released: ${position.lsn} above ${this.#released.lsn}`);
    if (position.lsn <= this.#trimLsn) return;
    this.#trimLsn = position.lsn;
    this.#admit();
  }

  noteMetadataSlot(slot: number, slotHash: string): Promise<void> {
    return this.#notes.note(slot, slotHash);
  }

  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#reservations.close(new Trouble({ code: "wal-closed", message: "the WAL is closing", retryable: true }));
    await this.cut().durable.catch(() => undefined);
    this.#writer.stop();
    this.#reads.stop();
    await this.#notes.idle();
    await this.#options.device.close();
  }

  /** The open commit if it has room for `bytes` more, else a new one. */
  #openCommitFor(bytes: number): Commit {
    const last = this.#commits.at(-1);
    if (last?.isOpen) {
      if (blocksFor(last.usedBytes + bytes) <= last.maxBlocks) return last;
      this.#close(last);
    }
    const needed = blocksFor(COMMIT_HEADER_BYTES + bytes);
    const deviceLeft = this.#deviceLeft();
    if (deviceLeft < needed) {
      this.#ring.claim(1);
      const skip = this.#addCommit("skip", this.#ring.head - 1, deviceLeft);
      skip.blockCount = deviceLeft;
      skip.ringEnd = this.#ring.head;
      this.#headLsn = (this.#headLsn + deviceLeft) as Lsn;
      this.#close(skip);
    }
    if (this.#ring.contiguousBlocks < needed) this.#ring.skipToStart();
    const maxBlocks = Math.min(this.#options.maxCommitBlocks, this.#deviceLeft(), this.#ring.contiguousBlocks);
    return this.#addCommit("entries", this.#ring.head, maxBlocks);
  }

  #addCommit(kind: CommitKind, ringBlock: number, maxBlocks: number): Commit {
    const commit: Commit = {
      kind,
      lsn: this.#headLsn,
      ringBlock,
      maxBlocks,
      blockCount: 0,
      usedBytes: COMMIT_HEADER_BYTES,
      entryCount: 0,
      ringEnd: ringBlock,
      isOpen: true,
      isSubmitted: false,
      isDurable: false,
      checksum: 0,
      waiting: undefined,
      released: undefined,
    };
    this.#commits.push(commit);
    return commit;
  }

  /** Blocks from the head to the end of the data area. */
  #deviceLeft(): number {
    return this.capacityBlocks - (this.#headLsn % this.capacityBlocks);
  }

  #growTo(commit: Commit, usedBytes: number): void {
    const blocks = blocksFor(usedBytes) - commit.blockCount;
    this.#ring.claim(blocks);
    commit.ringEnd = this.#ring.head;
    commit.blockCount += blocks;
    commit.usedBytes = usedBytes;
    this.#headLsn = (this.#headLsn + blocks) as Lsn;
    assert(commit.blockCount <= commit.maxBlocks, "a commit grew beyond its room");
    assert(this.usedBlocks + this.#options.header.maxCommitBlocks <= this.capacityBlocks, "the WAL's head ran into its tail");
  }

  #close(commit: Commit): void {
    const place = this.#ring.placeOf(commit.ringBlock);
    this.#ring.bytes.fill(0, place + commit.usedBytes, place + writtenBytesOf(commit));
    commit.isOpen = false;
  }

  #deferPump(): void {
    if (this.#isPumpDeferred) return;
    this.#isPumpDeferred = true;
    this.#options.clock.defer(() => {
      this.#isPumpDeferred = false;
      this.#pump();
    });
  }

  /** Submits what the seal rule allows. */
  #pump(): void {
    for (const commit of this.#commits) {
      if (this.#failure !== undefined || this.#writer.inFlight >= this.#options.writeDepth) return;
      if (commit.isSubmitted) continue;
      if (commit.isOpen) {
        if (this.#writer.inFlight > 0 && commit.usedBytes < GATHER_BYTES) return;
        this.#close(commit);
      }
      this.#submit(commit);
    }
  }

  #submit(commit: Commit): void {
    const place = this.#ring.placeOf(commit.ringBlock);
    const writtenBytes = writtenBytesOf(commit);
    const header = {
      kind: commit.kind,
      walId: this.walId,
      walEpoch: this.walEpoch,
      lsn: commit.lsn,
      blockCount: commit.blockCount,
      usedBytes: commit.usedBytes,
      entryCount: commit.entryCount,
      predecessorChecksum: this.#chainChecksum,
      durableLsn: this.#released.lsn,
    };
    commit.checksum = sealCommit(this.#ring.bytes, place, writtenBytes, header, this.#options.crc32c);
    this.#chainChecksum = commit.checksum;
    commit.isSubmitted = true;
    const submittedMs = this.#options.clock.monotonicMs();
    this.#meters.commitBytes.observe(writtenBytes);
    this.#writer.write(this.#ring.bytes.subarray(place, place + writtenBytes), deviceOffsetOf(commit.lsn, this.#options.header), () => {
      this.#meters.writeSeconds.observe((this.#options.clock.monotonicMs() - submittedMs) / 1000);
      commit.isDurable = true;
      this.#releaseInOrder();
      this.#pump();
    });
  }

  /** Releases the contiguous durable prefix, commit by commit. */
  #releaseInOrder(): void {
    for (let first = this.#commits[0]; first?.isDurable === true; first = this.#commits[0]) {
      this.#commits.shift();
      assert(first.lsn === this.#released.lsn, `release out of order: ${first.lsn} after ${this.#released.lsn}`);
      this.#released = { lsn: endOf(first), predecessorChecksum: first.checksum, walEpoch: this.walEpoch };
      this.#ring.release(first.ringEnd);
      for (const listener of this.#releaseListeners) listener(this.#released.lsn);
      first.waiting?.resolve(this.#released);
    }
    this.#admit();
  }

  #assertNotReused({ lsn, offset }: WalLocation): void {
    if (lsn + Math.floor((offset - ENTRY_HEADER_BYTES) / WAL_BLOCK_BYTES) >= this.#headLsn - this.capacityBlocks) return;
    throw new Trouble({ code: "wal-range-gone", message: `LSN ${lsn} of WAL ${this.walId} has been reused`, retryable: false });
  }

  #admit(): void {
    this.#reservations.admitWaiting();
    this.#updateFull();
  }

  #updateFull(): void {
    const isFull = this.#reservations.isWaitingForDevice;
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    const fields = { walId: this.walId, usedBlocks: this.usedBlocks, capacityBlocks: this.capacityBlocks };
    if (isFull) this.#options.logger.warn("wal.full", "the WAL is full: appends wait for uploads", fields);
    else this.#options.logger.info("wal.resumed", "the WAL has room again", fields);
    this.#updateState();
  }

  #onWriteFailing(reason: string, failingWrites: number): void {
    this.#meters.failedWrites.add(1);
    if (this.#failingReason === undefined) {
      this.#options.logger.error("wal.write-failed", "a WAL write failed and is being repeated", { reason, failingWrites });
    }
    this.#failingReason = reason;
    this.#updateState();
  }

  #onWritesWorking(repeats: number): void {
    this.#failingReason = undefined;
    this.#options.logger.info("wal.write-recovered", "WAL writes succeed again", { repeats });
    this.#updateState();
  }

  #onUnreadable(reason: string): void {
    this.#unreadableReason = reason;
    this.#options.logger.error("wal.header-unreadable", `reads of the WAL fail, also of its header: ${reason}`, { walId: this.walId });
    this.#updateState();
  }

  #onReadable(): void {
    this.#unreadableReason = undefined;
    this.#options.logger.info("wal.header-readable", "the WAL's device can be read again", { walId: this.walId });
    this.#updateState();
  }

  #fail(trouble: Trouble): void {
    if (this.#failure !== undefined) return;
    this.#failure = trouble;
    this.#writer.stop();
    this.#reads.stop();
    this.#options.logger.error("wal.failed", trouble.message, { walId: this.walId, releasedLsn: this.#released.lsn });
    this.#reservations.close(trouble);
    this.#updateState();
    for (const commit of this.#commits) commit.waiting?.reject(trouble);
  }

  #updateState(): void {
    const next = this.#computeState();
    const hasChanged = next.kind !== this.#state.kind;
    this.#state = next;
    if (hasChanged) for (const listener of this.#stateListeners) listener(next);
  }

  #computeState(): WalState {
    if (this.#failure !== undefined) return { kind: "failed", reason: this.#failure.message };
    const failing = this.#failingReason ?? this.#unreadableReason;
    if (failing !== undefined) return { kind: "device-failing", reason: failing };
    return this.#isFull ? { kind: "full" } : { kind: "serving" };
  }
}

function endOf(commit: Commit): Lsn {
  return (commit.lsn + commit.blockCount) as Lsn;
}

function waitFor(commit: Commit): PromiseWithResolvers<WalPosition> {
  if (commit.waiting === undefined) {
    commit.waiting = Promise.withResolvers<WalPosition>();
    commit.waiting.promise.catch(() => undefined);
  }
  return commit.waiting;
}

/** A rejection that does not end the process when nobody looks at it. */
function rejected<T>(reason: unknown): Promise<T> {
  const promise = Promise.reject<T>(reason);
  promise.catch(() => undefined);
  return promise;
}
