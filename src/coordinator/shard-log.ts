/**
 * A coordinator's partition of __consumer_offsets as it uses it: batches go in, in order, and each append tells when it is durable; everything is read
 * once, at the load. The only file of the room that knows storage.
 *
 * Invariants
 * - Batches are appended in the order given, also when some had to wait for room.
 * - `done` of an append runs when it and all before it are durable. After `close`, or after `onLost`, none runs any more.
 *
 * The queue of what waits for room is bounded by what it waits for: each entry belongs to a request whose frame is still charged to the memory
 * budget, or to one change of a group's state.
 */
import { Trouble } from "../base/trouble.ts";
import type { CheckedBatch } from "../partition/batch-validation.ts";
import { copySlice, type PartitionLog } from "../partition/partition-log.ts";
import type { Storage } from "../storage/storage.ts";
import type { Reservation } from "../storage/types.ts";
import { LogSizes } from "./log-sizes.ts";

interface WaitingBatch {
  readonly batch: CheckedBatch;
  readonly done: (() => void) | undefined;
}

export interface ShardLogOptions {
  readonly log: PartitionLog;
  readonly storage: Storage;
  wallMs(): number;
  /** How exactly the log's sizes are known. Default: 64 KiB. */
  readonly sizeStepBytes?: number | undefined;
  /** Appends are no longer possible, or their outcome is not known: the coordinator has to give up the partition. Called once. */
  readonly onLost: (reason: string) => void;
}

const SIZE_STEP_BYTES = 64 * 1024;

export class ShardLog {
  readonly log: PartitionLog;
  /** Of what was read at the load and appended since. */
  readonly sizes: LogSizes;
  readonly #options: ShardLogOptions;
  readonly #waiting: WaitingBatch[] = [];
  readonly #closing = new AbortController();
  /** Who waits until a number of batches is durable, in order. */
  readonly #durableWaiters: { readonly count: number; readonly callback: () => void }[] = [];
  #isReserving = false;
  #onGrown: () => void = () => {};
  #givenCount = 0;
  #durableCount = 0;

  constructor(options: ShardLogOptions) {
    this.log = options.log;
    this.sizes = new LogSizes(options.sizeStepBytes ?? SIZE_STEP_BYTES);
    this.#options = options;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Batches that are not durable yet. */
  get pendingCount(): number {
    return this.#givenCount - this.#durableCount;
  }

  append(batches: readonly CheckedBatch[], done: () => void): void {
    if (this.isClosed) return;
    batches.forEach((batch, index) => {
      this.#givenCount += 1;
      this.#waiting.push({ batch, done: index === batches.length - 1 ? done : undefined });
    });
    this.#appendWaiting();
  }

  /**
   * For an append that may be refused, whose outcome must be known in the same moment: `write` runs when nothing that was given before waits for room any more
   * and there is room for it. Undefined when the log is closed first. Rejects with a Trouble when there is no room for ever, or storage has failed.
   */
  async appendInTurn<Outcome>(sizeBytes: number, write: (reservation: Reservation) => Outcome): Promise<Outcome | undefined> {
    const { storage } = this.#options;
    for (;;) {
      if (this.isClosed) return undefined;
      const isFree = this.#waiting.length === 0 && !this.#isReserving;
      const reservation = isFree ? storage.tryReserve(sizeBytes, 1) : undefined;
      if (reservation !== undefined) {
        try {
          const outcome = write(reservation);
          this.#noteGrowth(sizeBytes);
          return outcome;
        } finally {
          reservation.release();
        }
      }
      // Whoever waits for room waits first come first served: when this turn comes, the others have had theirs.
      (await storage.reserve(sizeBytes, 1, this.#closing.signal)).release();
    }
  }

  /** Counts what `appendInTurn` has just written: `done` runs when it is durable. */
  noteAppended(done: () => void): void {
    this.#givenCount += 1;
    this.#settleWhenDurable(done);
  }

  /** `listener` runs in the step in which something was appended: it must append nothing itself. */
  watchGrowth(listener: () => void): void {
    this.#onGrown = listener;
  }

  /** Resolves with true when everything given so far is durable, with false when the log is closed first. */
  allDurable(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const onClosed = (): void => resolve(false);
    if (this.isClosed) onClosed();
    this.#closing.signal.addEventListener("abort", onClosed, { once: true });
    this.whenDurable(() => {
      this.#closing.signal.removeEventListener("abort", onClosed);
      resolve(true);
    });
    return promise;
  }

  /** Calls `callback` when everything appended so far is durable: at once when nothing is pending, never after `close`. */
  whenDurable(callback: () => void): void {
    if (this.isClosed) return;
    if (this.pendingCount === 0) callback();
    else this.#durableWaiters.push({ count: this.#givenCount, callback });
  }

  close(): void {
    this.#closing.abort(new Trouble({ code: "coordinator-closed", message: "the coordinator was closed", retryable: true }));
    this.#waiting.length = 0;
    this.#durableWaiters.length = 0;
  }

  #appendWaiting(): void {
    while (!this.#isReserving && !this.isClosed) {
      const next = this.#waiting[0];
      if (next === undefined) return;
      const reservation = this.#options.storage.tryReserve(next.batch.bytes.length, 1);
      if (reservation === undefined) {
        void this.#reserve(next);
        return;
      }
      this.#appendNext(next, reservation);
    }
  }

  async #reserve(next: WaitingBatch): Promise<void> {
    this.#isReserving = true;
    try {
      const reservation = await this.#options.storage.reserve(next.batch.bytes.length, 1, this.#closing.signal);
      this.#isReserving = false;
      if (this.isClosed) reservation.release();
      else this.#appendNext(next, reservation);
    } catch (error) {
      this.#isReserving = false;
      this.#lose((error as Error).message);
      return;
    }
    this.#appendWaiting();
  }

  #appendNext(next: WaitingBatch, reservation: Reservation): void {
    this.#waiting.shift();
    const outcome = this.log.append(next.batch, reservation, this.#options.wallMs());
    reservation.release();
    if (outcome.kind !== "appended") {
      this.#lose(`the partition log answers ${outcome.kind}`);
      return;
    }
    this.#noteGrowth(next.batch.bytes.length);
    this.#settleWhenDurable(next.done);
  }

  /** A batch of at most so many bytes was appended, or nothing. */
  #noteGrowth(sizeBytes: number): void {
    const { logEndOffset } = this.log;
    if (logEndOffset <= this.sizes.endOffset) return;
    this.sizes.note(logEndOffset, sizeBytes);
    this.#onGrown();
  }

  #settleWhenDurable(done: (() => void) | undefined): void {
    this.#options.storage.whenDurable().then(
      () => this.#settle(done),
      (error: Error) => this.#lose(error.message),
    );
  }

  #settle(done: (() => void) | undefined): void {
    if (this.isClosed) return;
    this.#durableCount += 1;
    done?.();
    for (let first = this.#durableWaiters[0]; first !== undefined && first.count <= this.#durableCount; first = this.#durableWaiters[0]) {
      this.#durableWaiters.shift();
      first.callback();
    }
  }

  #lose(reason: string): void {
    if (this.isClosed) return;
    this.close();
    this.#options.onLost(reason);
  }

  // --- load ---

  /** Whole batches from `fromOffset`, below `endOffset`. Empty when what is readable has not come so far. Rejects with a Trouble. */
  async read(fromOffset: number, maxBytes: number): Promise<{ readonly bytes: Uint8Array; readonly nextOffset: number }> {
    const slice = this.log.tryRead(fromOffset, maxBytes, true) ?? (await this.log.read(fromOffset, maxBytes, true, this.#closing.signal));
    try {
      return { bytes: await copySlice(slice), nextOffset: slice.nextOffset };
    } finally {
      slice.release();
    }
  }
}
