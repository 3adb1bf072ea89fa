/**
 * A WAL device that records every write and flush in order, completes them when told, and can show what a power cut would leave: all completed
 * writes, and of each unfinished one nothing, everything, a prefix, or any subset of its sectors.
 */
import { Trouble } from "../../../src/base/trouble.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "../../../src/storage/wal/wal-device.ts";
import type { SeededRandom } from "./seeded-random.ts";

const SECTOR_BYTES = 512;
/** A completed write is durable (O_DSYNC). Planted bug "no DSYNC" turns it off: then only a flush makes writes durable. */
const COMPLETION_IS_DURABLE = true;

export interface JournalWrite {
  readonly kind: "write";
  readonly deviceOffset: number;
  /** As submitted. */
  readonly bytes: Uint8Array;
  state: "held" | "completed" | "failed";
}

export interface JournalFlush {
  readonly kind: "flush";
}

interface HeldWrite {
  readonly entry: JournalWrite;
  /** The caller's memory; it must still hold the same bytes at completion. */
  readonly source: Uint8Array;
  resolve(): void;
  reject(reason: unknown): void;
}

export class JournalingWalDevice implements WalDevice {
  readonly description = "journaling:";
  readonly capacityBytes: number;
  readonly journal: (JournalWrite | JournalFlush)[] = [];
  /** When true, writes wait for `complete` or `fail`. */
  holds = false;
  readonly #content: Uint8Array;
  readonly #durable: Uint8Array;
  #held: HeldWrite[] = [];
  #failuresLeft = 0;

  constructor(capacityBytes: number, image?: Uint8Array) {
    this.capacityBytes = capacityBytes;
    this.#content = new Uint8Array(capacityBytes);
    if (image !== undefined) this.#content.set(image);
    this.#durable = this.#content.slice();
  }

  get heldWrites(): number {
    return this.#held.length;
  }

  /** The next `count` writes fail at once. */
  failNext(count: number): void {
    this.#failuresLeft = count;
  }

  write(bytes: Uint8Array, deviceOffset: number): Promise<void> {
    if (deviceOffset % WAL_BLOCK_BYTES !== 0 || bytes.length % WAL_BLOCK_BYTES !== 0 || bytes.length === 0)
      throw new Error("unaligned write");
    if (deviceOffset + bytes.length > this.capacityBytes) throw new Error("write beyond the device's end");
    const entry: JournalWrite = { kind: "write", deviceOffset, bytes: bytes.slice(), state: "held" };
    this.journal.push(entry);
    return new Promise((resolve, reject) => {
      const held = { entry, source: bytes, resolve, reject };
      this.#held.push(held);
      if (this.#failuresLeft > 0) {
        this.#failuresLeft -= 1;
        this.fail(this.#held.length - 1);
      } else if (!this.holds) this.complete(this.#held.length - 1);
    });
  }

  /** Completes the held write at `index` (in order of submission). */
  complete(index: number): void {
    const held = this.#take(index);
    if (Buffer.compare(held.source, held.entry.bytes) !== 0)
      throw new Error(`memory of a write in flight changed (device byte ${held.entry.deviceOffset})`);
    held.entry.state = "completed";
    this.#content.set(held.entry.bytes, held.entry.deviceOffset);
    if (COMPLETION_IS_DURABLE) this.#durable.set(held.entry.bytes, held.entry.deviceOffset);
    held.resolve();
  }

  completeAll(): void {
    while (this.#held.length > 0) this.complete(0);
  }

  /** Fails the held write; with `random`, a part of it lands all the same. */
  fail(index: number, random?: SeededRandom): void {
    const held = this.#take(index);
    if (random !== undefined) {
      tear(this.#durable, held.entry, random);
      const end = held.entry.deviceOffset + held.entry.bytes.length;
      this.#content.set(this.#durable.subarray(held.entry.deviceOffset, end), held.entry.deviceOffset);
    }
    held.entry.state = "failed";
    held.reject(new Trouble({ code: "wal-device-error", message: "EIO (planted)", retryable: true }));
  }

  async read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array> {
    if (deviceOffset < 0 || deviceOffset + lengthBytes > this.capacityBytes) throw new Error("read beyond the device's end");
    return this.#content.slice(deviceOffset, deviceOffset + lengthBytes);
  }

  async flush(): Promise<void> {
    this.journal.push({ kind: "flush" });
    this.#durable.set(this.#content);
  }

  async close(): Promise<void> {}

  /** What is durable now, without any unfinished write. */
  durableImage(): Uint8Array {
    return this.#durable.slice();
  }

  /** What a power cut now may leave. */
  crashImage(random: SeededRandom): Uint8Array {
    const image = this.#durable.slice();
    for (const { entry } of this.#held) tear(image, entry, random);
    return image;
  }

  #take(index: number): HeldWrite {
    const held = this.#held[index];
    if (held === undefined) throw new Error(`no held write ${index}`);
    this.#held = this.#held.filter((other) => other !== held);
    return held;
  }
}

/** Lands a part of an unfinished write on the image. */
export function tear(image: Uint8Array, write: { readonly deviceOffset: number; readonly bytes: Uint8Array }, random: SeededRandom): void {
  const sectors = write.bytes.length / SECTOR_BYTES;
  const mode = random.nextInt(5);
  const wholeSectors = random.nextInt(sectors + 1);
  for (let sector = 0; sector < sectors; sector++) {
    const lands =
      mode === 0 ? false : mode === 1 ? true : mode === 2 ? sector < wholeSectors : mode === 3 ? sector >= wholeSectors : random.chance(70);
    if (!lands) continue;
    const at = sector * SECTOR_BYTES;
    image.set(write.bytes.subarray(at, at + SECTOR_BYTES), write.deviceOffset + at);
  }
}
