/**
 * Writes one slot of the metadata log and finds out for certain who won it.
 *
 * Only an existing slot decides a PUT of unknown outcome. So the same bytes are sent until the store answers "created" or "exists"; "exists" is
 * decided by reading the slot and comparing the nonce. A slot won below the floor is lost: it had been deleted before.
 * Troubles of the store are waited out: an uncertain slot can neither be answered nor skipped.
 */
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import type { Floor } from "./floor.ts";
import { slotKey } from "./keys.ts";
import { type Crc32c, decodeLogBatch } from "./log-batch.ts";

export interface SlotWriterDependencies {
  readonly store: ObjectStore;
  readonly floor: Floor;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly crc32c: Crc32c;
}

/**
 * "won": the batch is in the log for certain. "lost": somebody else's batch has the slot, or the slot lies below the floor. In the second case an
 * earlier attempt, whose reply was lost, may have been applied before the floor rose; the image that is read next tells (`lastSequence`).
 */
export type SlotOutcome = "won" | "lost";

const ATTEMPT_DEADLINE_MS = 10_000;
const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 2_000;
/** Attempts before the trouble is logged, and the interval after. */
const LOG_EVERY_ATTEMPTS = 8;

export class SlotWriter {
  readonly #deps: SlotWriterDependencies;
  #inFlight = false;

  constructor(dependencies: SlotWriterDependencies) {
    this.#deps = dependencies;
  }

  /** Rejects only when `signal` aborts (the outcome is then unknown) or on a bug. One call at a time. */
  async write(slot: number, nonce: string, bytes: Uint8Array, signal: AbortSignal): Promise<SlotOutcome> {
    assert(!this.#inFlight, `slot ${slot} while another is in flight`);
    this.#inFlight = true;
    try {
      return await this.#write(slot, nonce, bytes, signal);
    } finally {
      this.#inFlight = false;
    }
  }

  async #write(slot: number, nonce: string, bytes: Uint8Array, signal: AbortSignal): Promise<SlotOutcome> {
    const { store, floor } = this.#deps;
    const key = slotKey(slot);
    const options = { signal, deadlineMs: ATTEMPT_DEADLINE_MS };
    const created = await this.#insist(key, signal, async () => (await store.createOnce(key, bytes, options)).outcome === "created");
    if (!created) {
      const found = await this.#insist(key, signal, () => store.get(key, undefined, options));
      // Gone between the two answers: whoever deleted it raised the floor above it first.
      if (found === undefined) return "lost";
      if (decodeLogBatch(found, key, this.#deps.crc32c).nonce !== nonce) return "lost";
    }
    const lowest = await this.#insist(key, signal, () => floor.read(options));
    return slot >= lowest ? "won" : "lost";
  }

  /** Repeats a call until it answers. */
  async #insist<T>(key: string, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    const { clock, random, logger } = this.#deps;
    for (let attempt = 1; ; attempt++) {
      try {
        return await call();
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (!(error instanceof Trouble) || error.code.startsWith("metadata-")) throw error;
        if (attempt % LOG_EVERY_ATTEMPTS === 0) {
          logger.warn("metadata.waiting", "the metadata log waits for the object store", {
            key,
            attempt,
            code: error.code,
            reason: error.message,
          });
        }
        await clock.sleep(random.nextFloat() * Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 16)), signal);
      }
    }
  }
}
