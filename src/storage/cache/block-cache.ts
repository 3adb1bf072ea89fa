/**
 * Blocks at hand, in two lists. *Kept*: what somebody may still want. *Passed*: what a sequential reader has read to its end and nobody asked for
 * since; it is small, so that the memory of a scan goes round among few buffers instead of filling the whole cache with what is read once. A passed
 * block that is asked for again was worth keeping: it stays until it is the least recently used one.
 *
 * Invariant: the cache holds each block in it once (`held-block.ts`), and releases it when it falls out.
 */
import type { HeldBlock } from "./held-block.ts";
import { LruCache } from "./lru-cache.ts";

/** Of blocks that were passed: what readers that follow each other closely share. */
const PASSED_MAX_BYTES = 8 * 1024 * 1024;

interface CachedBlock {
  readonly held: HeldBlock;
  wasPassed: boolean;
}

export class BlockCache {
  private readonly kept: LruCache<CachedBlock>;
  private readonly passed: LruCache<CachedBlock>;

  constructor(capacityBytes: number) {
    const passedBytes = Math.min(Math.floor(capacityBytes / 4), PASSED_MAX_BYTES);
    const drop = ({ held }: CachedBlock): void => held.release();
    this.passed = new LruCache(passedBytes, drop);
    this.kept = new LruCache(capacityBytes - passedBytes, drop);
  }

  get usedBytes(): number {
    return this.kept.usedBytes + this.passed.usedBytes;
  }

  has(key: string): boolean {
    return this.kept.has(key) || this.passed.has(key);
  }

  /** Still the cache's: whoever goes on with it after this turn retains it first. */
  get(key: string): HeldBlock | undefined {
    const kept = this.kept.get(key);
    if (kept !== undefined) return kept.held;
    const passed = this.passed.take(key);
    if (passed === undefined) return undefined;
    // Handed to the caller before it can fall out again.
    const { held } = passed;
    this.kept.set(key, passed, held.sizeBytes);
    return this.kept.has(key) ? held : undefined;
  }

  /** Takes over one hold of `held`. */
  set(key: string, held: HeldBlock): void {
    this.passed.delete(key);
    this.kept.set(key, { held, wasPassed: false }, held.sizeBytes);
  }

  /** A sequential reader has gone on behind the block. */
  notePassed(key: string): void {
    const cached = this.kept.peek(key);
    if (cached === undefined || cached.wasPassed) return;
    cached.wasPassed = true;
    this.kept.take(key);
    this.passed.set(key, cached, cached.held.sizeBytes);
  }
}
