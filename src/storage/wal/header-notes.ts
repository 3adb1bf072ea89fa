/** Notes the newest metadata slot in the WAL's header: one header write in flight at a time, notes in between are coalesced. */
import { writeNextHeader } from "./header-store.ts";
import type { Crc32c } from "./wal.ts";
import type { WalDevice } from "./wal-device.ts";
import type { WalHeader } from "./wal-format.ts";

export class HeaderNotes {
  readonly #device: WalDevice;
  readonly #crc32c: Crc32c;
  #header: WalHeader;
  #next: { readonly slot: number; readonly hash: string } | undefined;
  #writing: Promise<void> | undefined;

  constructor(device: WalDevice, crc32c: Crc32c, header: WalHeader) {
    this.#device = device;
    this.#crc32c = crc32c;
    this.#header = header;
  }

  /** Resolves when a note of this slot or a higher one is durable. Rejects with the device's Trouble; the note is then forgotten. */
  note(slot: number, hash: string): Promise<void> {
    const newest = this.#next ?? this.#header.metadataSlot;
    if (newest === undefined || slot > newest.slot) this.#next = { slot, hash };
    if (this.#next === undefined) return this.#writing ?? Promise.resolve();
    this.#writing ??= this.#writeAll();
    return this.#writing;
  }

  async idle(): Promise<void> {
    await this.#writing?.catch(() => undefined);
  }

  async #writeAll(): Promise<void> {
    try {
      for (let next = this.#next; next !== undefined; next = this.#next) {
        this.#next = undefined;
        this.#header = await writeNextHeader(this.#device, this.#crc32c, { ...this.#header, metadataSlot: next });
      }
    } finally {
      this.#writing = undefined;
    }
  }
}
