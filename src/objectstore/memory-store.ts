/**
 * Objects in memory: for `--memory` and for tests. Takes and gives private copies, so that nobody's later change reaches a stored object. As strict
 * as the strictest server: a key may not be another key's folder.
 */
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { assertKey, assertListPrefix, compareKeys, MAX_LIST_PAGE } from "./keys.ts";
import type { GetOptions, ListPage, ObjectInfo, ObjectStore, PutResult } from "./object-store.ts";
import { storeTrouble } from "./troubles.ts";

interface StoredObject {
  readonly bytes: Uint8Array;
  readonly lastModifiedMs: number;
}

export class MemoryStore implements ObjectStore {
  readonly description = "memory:";
  readonly keepsNoBytes: boolean = true;
  readonly clockSkewMs = undefined;
  readonly #clock: Clock;
  readonly #objects = new Map<string, StoredObject>();
  /** How many keys lie below each folder. */
  readonly #folders = new Map<string, number>();
  #sortedKeys: string[] | undefined = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async createOnce(key: string, bytes: Uint8Array): Promise<PutResult> {
    assertKey(key);
    if (this.#objects.has(key)) return { outcome: "exists" };
    this.#store(key, bytes);
    return { outcome: "created" };
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    assertKey(key);
    this.#store(key, bytes);
  }

  async get(key: string, range?: { start: number; end: number }, options?: GetOptions): Promise<Uint8Array | undefined> {
    assertKey(key);
    const object = this.#objects.get(key);
    if (object === undefined) return undefined;
    if (range === undefined) return object.bytes.slice();
    assert(range.start >= 0 && range.start < range.end, `empty range of ${key}`);
    if (range.end > object.bytes.length) {
      const detail = `asked for bytes [${range.start}, ${range.end}) of ${object.bytes.length}`;
      throw storeTrouble("store-object-short", { store: this.description, operation: "get", key, detail });
    }
    const { into } = options ?? {};
    if (into === undefined) return object.bytes.slice(range.start, range.end);
    assert(into.length === range.end - range.start, `memory of the range's length for ${key}`);
    into.set(object.bytes.subarray(range.start, range.end));
    return into;
  }

  async getTail(key: string, lengthBytes: number): Promise<{ bytes: Uint8Array; sizeBytes: number } | undefined> {
    assertKey(key);
    const object = this.#objects.get(key);
    if (object === undefined) return undefined;
    return { bytes: object.bytes.slice(Math.max(0, object.bytes.length - lengthBytes)), sizeBytes: object.bytes.length };
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    assertKey(key);
    const object = this.#objects.get(key);
    return object === undefined ? undefined : { key, sizeBytes: object.bytes.length, lastModifiedMs: object.lastModifiedMs };
  }

  async list(prefix: string, after?: string): Promise<ListPage> {
    assertListPrefix(prefix);
    this.#sortedKeys ??= [...this.#objects.keys()].sort(compareKeys);
    const keys = this.#sortedKeys;
    const objects: ObjectInfo[] = [];
    let next: string | undefined;
    for (let index = firstCandidate(keys, prefix, after); index < keys.length; index++) {
      const key = keys[index]!;
      if (!key.startsWith(prefix)) break;
      if (objects.length === MAX_LIST_PAGE) {
        next = objects.at(-1)!.key;
        break;
      }
      const object = this.#objects.get(key)!;
      objects.push({ key, sizeBytes: object.bytes.length, lastModifiedMs: object.lastModifiedMs });
    }
    return { objects, next };
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      assertKey(key);
      if (!this.#objects.delete(key)) continue;
      this.#sortedKeys = undefined;
      for (const folder of foldersOf(key)) this.#folders.set(folder, this.#folders.get(folder)! - 1);
    }
  }

  async close(): Promise<void> {}

  #store(key: string, bytes: Uint8Array): void {
    if (!this.#objects.has(key)) {
      assert((this.#folders.get(key) ?? 0) === 0, `key ${key} is another key's folder`);
      for (const folder of foldersOf(key)) {
        assert(!this.#objects.has(folder), `key ${folder} is the folder of ${key}`);
        this.#folders.set(folder, (this.#folders.get(folder) ?? 0) + 1);
      }
      this.#sortedKeys = undefined;
    }
    this.#objects.set(key, { bytes: bytes.slice(), lastModifiedMs: this.#clock.wallMs() });
  }
}

function foldersOf(key: string): string[] {
  const folders: string[] = [];
  for (let slash = key.indexOf("/"); slash !== -1; slash = key.indexOf("/", slash + 1)) folders.push(key.slice(0, slash));
  return folders;
}

/** Index of the first key that is >= `prefix` and > `after`. */
function firstCandidate(keys: readonly string[], prefix: string, after: string | undefined): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const key = keys[middle]!;
    if (key < prefix || (after !== undefined && key <= after)) low = middle + 1;
    else high = middle;
  }
  return low;
}
