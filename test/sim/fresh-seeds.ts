/** Seeds that nobody has run yet: each day has its own, so that what CI runs today it did not run yesterday, and a failing seed can be named and replayed. */

const DAY_MS = 86_400_000;
const SEEDS_A_DAY = 2_000;
/** Seeds stay below 2^21: their product with a 32-bit factor must be exact (`SeededRandom`). */
const DAYS = 1_000;
/** Below are the seeds of fixed tests. */
const FIRST_SEED = 10_000;

/** The first of today's (UTC). */
export function freshSeed(): number {
  return FIRST_SEED + (Math.floor(Date.now() / DAY_MS) % DAYS) * SEEDS_A_DAY;
}

/** The first of a commit's (its hash in hexadecimal): what its run has tried can be tried again. */
export function seedOfCommit(hash: string): number {
  return FIRST_SEED + (Number.parseInt(hash.slice(0, 8), 16) % (DAYS * SEEDS_A_DAY));
}
