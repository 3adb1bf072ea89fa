/**
 * Seeds that once failed, each with the bug it found. A seed is replayed on every test run; as the code changes its path changes with it, so the bug itself has a
 * unit test where it was fixed.
 */
export interface Regression {
  readonly seed: number;
  readonly scenario: string;
  readonly minutes: number;
  /** What it found, and the fix. */
  readonly found: string;
}

export const REGRESSIONS: readonly Regression[] = [
  {
    seed: 4,
    scenario: "zombies",
    minutes: 1,
    found:
      "a bug of the simulator: a write that was sent after the volume was lost landed at its sender's death, and looked like a damaged WAL",
  },
  {
    seed: 1_571_004,
    scenario: "mixed",
    minutes: 2,
    found:
      "a bug of the simulator: a paused broker was told that a write had landed which the next power cut took, so that records it then acknowledged were gone (20 minutes)",
  },
  {
    seed: 30_001,
    scenario: "restarts",
    minutes: 1,
    found: "a new producer's second batch overtook its first, which was refused while the partition could not be opened",
  },
  {
    seed: 112,
    scenario: "crowded",
    minutes: 0.5,
    found: "a bug of the simulator: the reader at the end of a run took a replaced broker's word for where a log ends",
  },
  {
    seed: 1_299_994,
    scenario: "transactions",
    minutes: 1,
    found:
      "a bug of the simulator: a broker that was replaced while it started opened the volume after its successor, which then could neither read nor find that out (20 minutes)",
  },
];

/** A bug of the server that a seed found, and how it was fixed. */
export interface SimulatorBug {
  readonly seed: number;
  readonly scenario: string;
  readonly bug: string;
  readonly fix: string;
}

export const SIMULATOR_BUGS: readonly SimulatorBug[] = [
  {
    seed: 1_570_004,
    scenario: "restarts",
    bug: "A new producer's first batch was refused since its partition could not be opened, and the one sent behind it was then appended: the first was out of order for good",
    fix: "What a new producer sent behind a refused batch is refused until that one comes again (`src/partition/refused-sequences.ts`)",
  },
  {
    seed: 5_004,
    scenario: "consumers",
    bug: "After a clock that was ahead, another broker's or one set back since, a consumer group made no new target for as long as it had been ahead: partitions were nobody's",
    fix: "A target, or a look at patterns, from a time to come is old enough (`src/group/consumer/consumer-heartbeat.ts`, `pattern-topics.ts`)",
  },
  {
    seed: 5_001,
    scenario: "consumers",
    bug: "A reader came upon a batch that was damaged on the WAL device again and again, although the bucket had it, until its place on the device was written anew",
    fix: "What the bucket has is read from there when the device's copy is damaged (`src/storage/stream/catch-up-reader.ts`)",
  },
  {
    seed: 2,
    scenario: "rebalances",
    bug: "A consumer group that turned classic and at once back gave away what a classic member still had; and a coordinator that took over in between did not know that the group had to rebalance",
    fix: "The classic group keeps what each member has, and names no leader until somebody has given out the partitions (`src/group/consumer/group-conversion.ts`)",
  },
  {
    seed: 900_013,
    scenario: "consumers",
    bug: "What a cooperative member of a classic group was told to give up, and had not yet, was free when the group became a consumer group: its last commit was taken after another had it",
    fix: "Until it has joined once more it is to be revoked from that member (`src/group/consumer/group-conversion.ts`)",
  },
  {
    seed: 7_010_009,
    scenario: "crowded",
    bug: "A broker that was replaced under the same term, and did not know it yet, read that a partition begins above its own end, and ended with a failed assertion",
    fix: "It gives the partition up: another has written there and cut it off (`src/partition/partition-registry.ts`)",
  },
];
