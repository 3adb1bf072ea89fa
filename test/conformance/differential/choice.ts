/** What a seed decides: every choice of a sequence comes from here, so that a seed gives the same requests for ever. */
import { seededRandom } from "../../support/corpus.ts";

export class Choice {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = seededRandom(Math.imul(seed + 1, 0x9e3779b1));
  }

  /** Uniform in [0, bound). */
  int(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  /** Uniform in [low, high], both included. */
  between(low: number, high: number): number {
    return low + this.int(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.#random() < probability;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.int(items.length)];
    if (item === undefined && items.length === 0) throw new Error("nothing to pick from");
    return item as T;
  }

  /** Mostly the first, sometimes one of the rest. */
  mostly<T>(usual: T, rest: readonly T[], probability = 0.8): T {
    return this.chance(probability) ? usual : this.pick(rest);
  }

  weighted<T>(items: readonly (readonly [weight: number, item: T])[]): T {
    let left = this.#random() * items.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, item] of items) {
      left -= weight;
      if (left < 0) return item;
    }
    const last = items.at(-1);
    if (last === undefined) throw new Error("nothing to weigh");
    return last[1];
  }
}
