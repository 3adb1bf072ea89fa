/**
 * What the log last said of each classic group, byte for byte: a group in memory runs ahead of it while members join, and a rewrite of the log has to say what
 * the log said.
 */
import { copyBytes } from "../../base/copy-bytes.ts";

export class StoredGroups {
  readonly #values = new Map<string, Uint8Array>();
  #totalBytes = 0;

  get totalBytes(): number {
    return this.#totalBytes;
  }

  get(groupId: string): Uint8Array | undefined {
    return this.#values.get(groupId);
  }

  /** null: its tombstone. The value is copied. */
  note(groupId: string, value: Uint8Array | null): void {
    this.#totalBytes += (value?.length ?? 0) - (this.#values.get(groupId)?.length ?? 0);
    if (value === null) this.#values.delete(groupId);
    else this.#values.set(groupId, copyBytes(value));
  }
}
