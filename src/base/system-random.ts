/** The real body of Random, on the operating system's generator. The only file that touches it. */
import { randomFillSync, randomInt } from "node:crypto";
import { assert } from "./assert.ts";
import type { Random } from "./random.ts";

const FLOAT_STEPS = 2 ** 32;

export class SystemRandom implements Random {
  nextFloat(): number {
    return randomInt(FLOAT_STEPS) / FLOAT_STEPS;
  }

  nextInt(bound: number): number {
    assert(Number.isInteger(bound) && bound >= 1 && bound <= 2 ** 31, `random bound out of range: ${bound}`);
    return randomInt(bound);
  }

  fillBytes(target: Uint8Array): Uint8Array {
    return randomFillSync(target);
  }
}
