/**
 * Room in ring and device, given first come first served. Counted in blocks at the worst case (each entry alone in a commit), so that
 * whatever was reserved can be appended without waiting; what an entry did not need comes back when it is appended.
 *
 * Invariant: held + reserved + slack <= capacity, for ring and device both. The slack covers what is lost where a commit would wrap.
 */
import { assert } from "../../base/assert.ts";
import { Trouble } from "../../base/trouble.ts";
import type { Reservation } from "../types.ts";
import { WAL_BLOCK_BYTES } from "./wal-device.ts";
import { COMMIT_HEADER_BYTES, ENTRY_HEADER_BYTES } from "./wal-format.ts";

export interface RoomLimits {
  /** Blocks that reservations may take of the ring and of the device at most, slack left out. */
  readonly ringBlocks: number;
  readonly deviceBlocks: number;
  readonly maxPayloadBytes: number;
  /** Blocks in use now, without reservations. */
  heldRingBlocks(): number;
  heldDeviceBlocks(): number;
}

interface Waiter {
  readonly bytes: number;
  readonly entries: number;
  readonly blocks: number;
  resolve(reservation: Reservation): void;
  reject(reason: unknown): void;
}

/** Blocks that `entries` entries with `bytes` of payload together take at most. */
export function worstCaseBlocks(bytes: number, entries: number): number {
  return entries === 0 ? 0 : entries + Math.ceil((bytes + entries * (COMMIT_HEADER_BYTES + ENTRY_HEADER_BYTES)) / WAL_BLOCK_BYTES);
}

class RoomReservation implements Reservation {
  readonly bytes: number;
  #bytesLeft: number;
  #entriesLeft: number;
  #released = false;
  readonly #owner: Reservations;

  constructor(owner: Reservations, bytes: number, entries: number) {
    this.#owner = owner;
    this.bytes = bytes;
    this.#bytesLeft = bytes;
    this.#entriesLeft = entries;
  }

  /** Turns the room for one entry back to the pool right before the entry takes its blocks. */
  spend(payloadBytes: number): void {
    assert(!this.#released, "append under a released reservation");
    assert(this.#entriesLeft > 0 && payloadBytes <= this.#bytesLeft, `reservation exceeded: ${payloadBytes} of ${this.#bytesLeft} bytes`);
    const before = worstCaseBlocks(this.#bytesLeft, this.#entriesLeft);
    this.#bytesLeft -= payloadBytes;
    this.#entriesLeft -= 1;
    this.#owner.giveBack(before - worstCaseBlocks(this.#bytesLeft, this.#entriesLeft));
  }

  release(): void {
    assert(!this.#released, "a reservation is released once");
    this.#released = true;
    this.#owner.giveBack(worstCaseBlocks(this.#bytesLeft, this.#entriesLeft));
    this.#owner.admitWaiting();
  }
}

export class Reservations {
  readonly #limits: RoomLimits;
  #waiters: Waiter[] = [];
  #reservedBlocks = 0;
  #closed: Trouble | undefined;

  constructor(limits: RoomLimits) {
    this.#limits = limits;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  get reservedBlocks(): number {
    return this.#reservedBlocks;
  }

  /** The first waiter waits for device room (uploads), not only for ring memory (writes). */
  get isWaitingForDevice(): boolean {
    const first = this.#waiters[0];
    return first !== undefined && !this.#deviceFits(first.blocks);
  }

  tryReserve(bytes: number, entries: number): Reservation | undefined {
    if (this.#closed !== undefined || this.#waiters.length > 0) return undefined;
    const blocks = worstCaseBlocks(bytes, entries);
    if (!this.#couldEverFit(bytes, entries, blocks) || !this.#fits(blocks)) return undefined;
    return this.#grant(bytes, entries, blocks);
  }

  reserve(bytes: number, entries: number, signal?: AbortSignal): Promise<Reservation> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (signal?.aborted) return Promise.reject(signal.reason);
    const blocks = worstCaseBlocks(bytes, entries);
    if (!this.#couldEverFit(bytes, entries, blocks)) return Promise.reject(this.#tooLarge(bytes, entries));
    if (this.#waiters.length === 0 && this.#fits(blocks)) return Promise.resolve(this.#grant(bytes, entries, blocks));
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(signal?.reason);
        this.admitWaiting();
      };
      const settled = (): void => signal?.removeEventListener("abort", onAbort);
      const waiter: Waiter = {
        bytes,
        entries,
        blocks,
        resolve: (reservation) => {
          settled();
          resolve(reservation);
        },
        reject: (reason) => {
          settled();
          reject(reason);
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  spend(reservation: Reservation, payloadBytes: number): void {
    assert(reservation instanceof RoomReservation, "a reservation of another WAL");
    reservation.spend(payloadBytes);
  }

  giveBack(blocks: number): void {
    this.#reservedBlocks -= blocks;
    assert(this.#reservedBlocks >= 0, "more room given back than taken");
  }

  /** To be called whenever room appears. */
  admitWaiting(): void {
    for (let first = this.#waiters[0]; first !== undefined && this.#fits(first.blocks); first = this.#waiters[0]) {
      this.#waiters.shift();
      first.resolve(this.#grant(first.bytes, first.entries, first.blocks));
    }
  }

  /** All waiters and later callers get `trouble`. */
  close(trouble: Trouble): void {
    this.#closed ??= trouble;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(this.#closed);
  }

  #grant(bytes: number, entries: number, blocks: number): Reservation {
    this.#reservedBlocks += blocks;
    return new RoomReservation(this, bytes, entries);
  }

  #couldEverFit(bytes: number, entries: number, blocks: number): boolean {
    if (entries === 1 && bytes > this.#limits.maxPayloadBytes) return false;
    return blocks <= this.#limits.ringBlocks && blocks <= this.#limits.deviceBlocks;
  }

  #fits(blocks: number): boolean {
    const needed = this.#reservedBlocks + blocks;
    return this.#limits.heldRingBlocks() + needed <= this.#limits.ringBlocks && this.#deviceFits(blocks);
  }

  #deviceFits(blocks: number): boolean {
    return this.#limits.heldDeviceBlocks() + this.#reservedBlocks + blocks <= this.#limits.deviceBlocks;
  }

  #tooLarge(bytes: number, entries: number): Trouble {
    const { maxPayloadBytes, ringBlocks, deviceBlocks } = this.#limits;
    return new Trouble({
      code: "batch-too-large",
      message: `${bytes} bytes in ${entries} batches do not fit: a batch has at most ${maxPayloadBytes} bytes, ring and WAL take ${Math.min(ringBlocks, deviceBlocks) * WAL_BLOCK_BYTES} together`,
      remedy: "send smaller batches, or give the broker a larger ring or WAL",
      retryable: false,
    });
  }
}
