/** One folder of a store as a store: every key gets `folder/` in front, and listings never leave it. */
import { assertKey } from "./keys.ts";
import type { GetOptions, ListPage, ObjectInfo, ObjectStore, PutResult, StoreCallOptions } from "./object-store.ts";

export class ScopedStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #prefix: string;

  constructor(inner: ObjectStore, folder: string) {
    assertKey(folder);
    this.#inner = inner;
    this.#prefix = `${folder}/`;
  }

  get description(): string {
    return this.#inner.description;
  }

  get keepsNoBytes(): boolean {
    return this.#inner.keepsNoBytes === true;
  }

  get clockSkewMs(): number | undefined {
    return this.#inner.clockSkewMs;
  }

  createOnce(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<PutResult> {
    return this.#inner.createOnce(this.#prefix + key, bytes, options);
  }

  put(key: string, bytes: Uint8Array, options?: StoreCallOptions): Promise<void> {
    return this.#inner.put(this.#prefix + key, bytes, options);
  }

  get(key: string, range?: { start: number; end: number }, options?: GetOptions): Promise<Uint8Array | undefined> {
    return this.#inner.get(this.#prefix + key, range, options);
  }

  getTail(key: string, lengthBytes: number, options?: StoreCallOptions): Promise<{ bytes: Uint8Array; sizeBytes: number } | undefined> {
    return this.#inner.getTail(this.#prefix + key, lengthBytes, options);
  }

  async head(key: string, options?: StoreCallOptions): Promise<ObjectInfo | undefined> {
    const info = await this.#inner.head(this.#prefix + key, options);
    return info === undefined ? undefined : { ...info, key };
  }

  async list(prefix: string, after?: string, options?: StoreCallOptions): Promise<ListPage> {
    const page = await this.#inner.list(this.#prefix + prefix, after === undefined ? undefined : this.#prefix + after, options);
    const objects = page.objects.map((object) => ({ ...object, key: this.#unscope(object.key) }));
    return { objects, next: page.next === undefined ? undefined : this.#unscope(page.next) };
  }

  delete(keys: readonly string[], options?: StoreCallOptions): Promise<void> {
    return this.#inner.delete(
      keys.map((key) => this.#prefix + key),
      options,
    );
  }

  /** The store below stays open: it is not ours. */
  async close(): Promise<void> {}

  #unscope(key: string): string {
    return key.slice(this.#prefix.length);
  }
}
