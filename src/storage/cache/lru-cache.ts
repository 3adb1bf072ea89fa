/** Least recently used values within a number of bytes. Synchronous; knows nothing of what it holds. */
import { assert } from "../../base/assert.ts";

interface Entry<Value> {
  readonly value: Value;
  readonly sizeBytes: number;
}

export class LruCache<Value> {
  readonly capacityBytes: number;
  private readonly entries = new Map<string, Entry<Value>>();
  private used = 0;

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
  }

  get usedBytes(): number {
    return this.used;
  }
  get size(): number {
    return this.entries.size;
  }

  get(key: string): Value | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    this.entries.delete(key);
    this.entries.set(key, entry);
    return entry.value;
  }

  /** A value larger than the whole cache is not kept. */
  set(key: string, value: Value, sizeBytes: number): void {
    assert(sizeBytes >= 0, "a size is not negative");
    this.delete(key);
    if (sizeBytes > this.capacityBytes) return;
    this.entries.set(key, { value, sizeBytes });
    this.used += sizeBytes;
    for (const [oldest, entry] of this.entries) {
      if (this.used <= this.capacityBytes) break;
      this.entries.delete(oldest);
      this.used -= entry.sizeBytes;
    }
  }

  delete(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    this.entries.delete(key);
    this.used -= entry.sizeBytes;
  }

  clear(): void {
    this.entries.clear();
    this.used = 0;
  }
}
