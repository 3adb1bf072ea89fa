/**
 * An immutable map whose next version shares what did not change: buckets by hash, copied when first written in an edit. That is what lets
 * an image be a value (readers keep theirs while the log moves on) without copying a cluster per slot.
 */
const BUCKETS = 256;

export class CowMap<V> {
  static empty<V>(): CowMap<V> {
    return new CowMap<V>(new Array<ReadonlyMap<string, V>>(BUCKETS).fill(new Map()), 0);
  }

  readonly size: number;
  readonly #buckets: readonly ReadonlyMap<string, V>[];

  constructor(buckets: readonly ReadonlyMap<string, V>[], size: number) {
    this.#buckets = buckets;
    this.size = size;
  }

  get(key: string): V | undefined {
    return this.#buckets[bucketOf(key)]!.get(key);
  }

  *values(): Generator<V> {
    for (const bucket of this.#buckets) yield* bucket.values();
  }

  *keys(): Generator<string> {
    for (const bucket of this.#buckets) yield* bucket.keys();
  }

  /** The values of the buckets of one of `groups` (a power of two up to 256) equal groups; which group a key is in never changes. */
  valuesOfGroup(group: number, groups: number): V[] {
    const values: V[] = [];
    const size = BUCKETS / groups;
    for (const bucket of this.#buckets.slice(group * size, (group + 1) * size)) values.push(...bucket.values());
    return values;
  }

  edit(): CowMapEdit<V> {
    return new CowMapEdit(this.#buckets, this.size);
  }
}

export class CowMapEdit<V> {
  readonly #buckets: readonly ReadonlyMap<string, V>[];
  #size: number;
  readonly #owned = new Map<number, Map<string, V>>();

  constructor(buckets: readonly ReadonlyMap<string, V>[], size: number) {
    this.#buckets = buckets;
    this.#size = size;
  }

  get size(): number {
    return this.#size;
  }

  get(key: string): V | undefined {
    const bucket = bucketOf(key);
    return (this.#owned.get(bucket) ?? this.#buckets[bucket]!).get(key);
  }

  set(key: string, value: V): void {
    const bucket = this.#own(bucketOf(key));
    const before = bucket.size;
    bucket.set(key, value);
    this.#size += bucket.size - before;
  }

  delete(key: string): boolean {
    if (this.get(key) === undefined) return false;
    this.#own(bucketOf(key)).delete(key);
    this.#size--;
    return true;
  }

  /** The next version. The edit must not be used afterwards. */
  done(): CowMap<V> {
    const buckets = this.#buckets.slice();
    for (const [index, bucket] of this.#owned) buckets[index] = bucket;
    return new CowMap(buckets, this.#size);
  }

  #own(index: number): Map<string, V> {
    let bucket = this.#owned.get(index);
    if (bucket === undefined) {
      bucket = new Map(this.#buckets[index]!);
      this.#owned.set(index, bucket);
    }
    return bucket;
  }
}

/** FNV-1a, folded to a bucket. */
function bucketOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return ((hash >>> 24) ^ (hash >>> 12) ^ hash) & (BUCKETS - 1);
}
