/** Least recently used values within a number of bytes. Synchronous; knows nothing of what it holds. */
import { assert } from "../../base/assert.ts";

interface Entry<Value> {
  readonly value: Value;
  readonly sizeBytes: number;
}

export class LruCache<Value> {
  readonly capacityBytes: number;
  private readonly entries = new Map<string, Entry<Value>>();
  private readonly onDropped: ((value: Value) => void) | undefined;
  private used = 0;

  /** `onDropped` is told of each value that falls out, is replaced, deleted or not kept at all; not of one that is taken. */
  constructor(capacityBytes: number, onDropped?: (value: Value) => void) {
    this.capacityBytes = capacityBytes;
    this.onDropped = onDropped;
  }

  get usedBytes(): number {
    return this.used;
  }
  get size(): number {
    return this.entries.size;
  }

  has(key: string): boolean {
    return this.entries.has(key);
  }

  /** Without counting as a use. */
  peek(key: string): Value | undefined {
    return this.entries.get(key)?.value;
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
    if (sizeBytes > this.capacityBytes) {
      this.onDropped?.(value);
      return;
    }
    this.entries.set(key, { value, sizeBytes });
    this.used += sizeBytes;
    for (const [oldest] of this.entries) {
      if (this.used <= this.capacityBytes) break;
      this.delete(oldest);
    }
  }

  /** Out of the cache and to the caller. */
  take(key: string): Value | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    this.entries.delete(key);
    this.used -= entry.sizeBytes;
    return entry.value;
  }

  delete(key: string): void {
    const value = this.take(key);
    if (value !== undefined) this.onDropped?.(value);
  }

  clear(): void {
    for (const key of [...this.entries.keys()]) this.delete(key);
  }
}
