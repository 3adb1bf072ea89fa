/**
 * The floor: slots below it are dead, whether their objects are still there, were deleted, or came back.
 *
 * Create-once does not remember a deleted slot, so a writer that slept could create one anew. Hence every writer checks the floor after its create
 * succeeded, every reader before it applies, and the floor is raised before slots below it are deleted.
 *
 * It lies in a chain of objects `meta/floor/1, 2, ...`, each created once and never deleted, each with a higher floor than the one before. A single
 * object that is overwritten could fall back when a slow PUT of an earlier controller arrives late; a chain cannot. The usual check is one GET of
 * the next step, which answers 404. A step is made once per snapshot, so the chain stays short, and snapshots name the step they knew.
 *
 * | offset | bytes | field                        |
 * |--------|-------|------------------------------|
 * | 0      | 8     | magic "WEIRFLOR"             |
 * | 8      | 4     | format version, 1            |
 * | 12     | 4     | CRC32C of the rest           |
 * | 16     | 8     | step                         |
 * | 24     | 8     | floor: the first live slot   |
 */
import { assert } from "../base/assert.ts";
import type { ObjectStore, StoreCallOptions } from "../objectstore/object-store.ts";
import { DamagedBytes } from "./byte-codec.ts";
import { floorKey } from "./keys.ts";
import { beginChecked, type Crc32c, openChecked, sealChecked, troubleOf } from "./log-batch.ts";

const MAGIC = "WEIRFLOR";
const VERSION = 1;

export class Floor {
  readonly #store: ObjectStore;
  readonly #crc32c: Crc32c;
  #step = 0;
  #value = 0;

  constructor(store: ObjectStore, crc32c: Crc32c) {
    this.#store = store;
    this.#crc32c = crc32c;
  }

  /** The newest step known here; 0 before the first. */
  get step(): number {
    return this.#step;
  }

  /** The floor as last read. */
  get value(): number {
    return this.#value;
  }

  /** Takes what a snapshot knew, so that the chain is followed from there. */
  startFrom(step: number, value: number): void {
    if (step <= this.#step) return;
    assert(value >= this.#value, `floor ${value} of step ${step} after ${this.#value}`);
    this.#step = step;
    this.#value = value;
  }

  /** The floor now. Rejects with a Trouble. */
  async read(options?: StoreCallOptions): Promise<number> {
    for (;;) {
      const step = this.#step + 1;
      const key = floorKey(step);
      const bytes = await this.#store.get(key, undefined, options);
      if (bytes === undefined) return this.#value;
      this.startFrom(step, this.#decode(bytes, key, step));
    }
  }

  /** Resolves when the floor is at least `value`, durably. */
  async raise(value: number, options?: StoreCallOptions): Promise<void> {
    while ((await this.read(options)) < value) {
      const step = this.#step + 1;
      const writer = beginChecked(MAGIC, VERSION);
      writer.i64(step);
      writer.i64(value);
      // Created by us or by somebody else, or nobody knows: the next read tells what the step says.
      await this.#store.createOnce(floorKey(step), sealChecked(writer, this.#crc32c), options);
    }
  }

  #decode(bytes: Uint8Array, key: string, step: number): number {
    try {
      const reader = openChecked(bytes, MAGIC, VERSION, this.#crc32c);
      const found = reader.i64();
      const value = reader.i64();
      reader.expectEnd();
      if (found !== step || value < this.#value) throw new DamagedBytes(`step ${found} with floor ${value} after floor ${this.#value}`);
      return value;
    } catch (error) {
      throw troubleOf(error, key);
    }
  }
}
