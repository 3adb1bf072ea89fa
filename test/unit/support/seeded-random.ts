/** A seeded `Random` (mulberry32): the same seed gives the same numbers. */
import type { Random } from "../../../src/base/random.ts";

export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 0x9e3779b1) >>> 0;
  }

  nextFloat(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  nextInt(bound: number): number {
    return Math.floor(this.nextFloat() * bound);
  }

  /** True in `percent` of 100. */
  chance(percent: number): boolean {
    return this.nextFloat() * 100 < percent;
  }

  pick<T>(from: readonly T[]): T {
    const chosen = from[this.nextInt(from.length)];
    if (chosen === undefined) throw new Error("pick from an empty list");
    return chosen;
  }

  fillBytes(target: Uint8Array): Uint8Array {
    for (let at = 0; at < target.length; at++) target[at] = this.nextInt(256);
    return target;
  }
}
