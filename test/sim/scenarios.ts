/** What a run is made of: how many clients, how brokers are sized, what breaks and how often. */
import type { SeededRandom } from "../unit/support/seeded-random.ts";
import type { FaultRates } from "./faults.ts";
import type { Sizes } from "./sim-world.ts";

/** What the nemesis does, besides the background rates. Weights. */
export interface Actions {
  readonly crashAtEffect: number;
  readonly kill: number;
  readonly drain: number;
  readonly pause: number;
  readonly takeOver: number;
  readonly storeOutage: number;
  readonly deviceErrors: number;
  readonly partition: number;
  readonly resets: number;
  readonly clockJump: number;
  /** Answers cannot get out; then the process dies or drains: what clients were not told is sent again. */
  readonly partitionThenEnd: number;
  /** The process dies at a write to its WAL: the write is torn, lost or done. */
  readonly crashAtWrite: number;
  /** The process dies, and so do its next ones while they start or soon after. */
  readonly crashInStart: number;
  /** Bits flip on the volume where the bucket has everything. */
  readonly rotBelowCommitted: number;
}

export interface Scenario {
  readonly name: string;
  readonly producers: number;
  readonly consumers: number;
  /** Of one classic group. */
  readonly members: number;
  /** Clients that create and delete topics; see sim-admin.ts. */
  readonly admins: number;
  /** Idempotent producers that come, write to the same logs as the others, and go. */
  readonly visitors: number;
  /** Transactional ids, each with producers that consume and produce in transactions (`sim-transactions.ts`). */
  readonly transactionWorkers: number;
  /** Of one group of the consumer protocol (`sim-consumer-group.ts`). */
  readonly subscribers: number;
  /** Of one group whose members come by either protocol. */
  readonly mixedSubscribers: number;
  /** How much more often than usual something happens to a member of these groups. */
  readonly haste: number;
  /** Of each topic. */
  readonly partitions: number;
  /** From one operation of a client to its next, on average; what a stall holds up is made up for (`pace.ts`). */
  readonly pauseMs: number;
  /** How many of 100 batches are tens of kilobytes large. */
  readonly largePercent: number;
  /** Each batch has about this size; 0: sizes vary. */
  readonly evenBatchBytes: number;
  readonly churnsTopics: boolean;
  /** The n-th producer and the n-th consumer (or member) are one client, which writes and reads at one pace; otherwise each has a pace of its own. */
  readonly pairsClients: boolean;
  readonly rates: Partial<FaultRates>;
  readonly actions: Actions;
  /** Of a round of soak.ts, so many seeds run this. 0: too much breaks for clients to keep their pace; for planted bugs and the tests. */
  readonly soakShare: number;
  /** Between two actions, on average. */
  readonly everyMs: number;
  pickSizes(random: SeededRandom): Sizes;
}

const KIBIBYTE = 1024;
/** Of members of the consumer protocol. */
export const CONSUMER_SESSION_MS = 6_500;

function pickSizes(random: SeededRandom): Sizes {
  return {
    ringBytes: random.pick([512, 768, 1024]) * KIBIBYTE,
    diskBytes: random.pick([1536, 2048, 4096]) * KIBIBYTE,
    uploadIntervalMs: random.pick([1500, 4000, 8000]),
    uploadSizeBytes: random.pick([64, 128]) * KIBIBYTE,
    snapshotEverySlots: random.pick([8, 20, 50]),
    garbageGraceMs: random.pick([2_000, 10_000]),
    checkpointBatches: random.pick([20, 200, 1_000]),
  };
}

/** The smallest that takes the clients' batches: ring and volume lap every few seconds. */
function pickTightSizes(random: SeededRandom): Sizes {
  return {
    ...pickSizes(random),
    ringBytes: 256 * KIBIBYTE,
    diskBytes: random.pick([768, 1024]) * KIBIBYTE,
    uploadIntervalMs: random.pick([200, 1000]),
    uploadSizeBytes: 64 * KIBIBYTE,
  };
}

/** Metadata turns over fast: snapshots every few slots, objects swept soon, checkpoints with nearly every upload. */
function pickRestlessSizes(random: SeededRandom): Sizes {
  return {
    ...pickSizes(random),
    uploadIntervalMs: random.pick([100, 300]),
    snapshotEverySlots: random.pick([3, 5]),
    garbageGraceMs: random.pick([200, 500, 1_000]),
    checkpointBatches: random.pick([1, 5]),
  };
}

/** Coordinators write their logs anew every few seconds, or now and then. */
function pickRewriteBytes(random: SeededRandom): number {
  return random.pick([2, 8, 32]) * KIBIBYTE;
}

/** Time-outs are looked for often, and there are few coordinators' partitions. */
function pickTransactionSizes(random: SeededRandom): Sizes {
  return {
    ...pickSizes(random),
    checkpointBatches: random.pick([5, 50, 500]),
    rewriteAboveBytes: pickRewriteBytes(random),
    settings: ["transaction.state.log.num.partitions=2", "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000"],
  };
}

/** Sessions are short, so that members are expelled within seconds, and there are few coordinators' partitions. */
function pickGroupSizes(random: SeededRandom): Sizes {
  const sessionMs = String(CONSUMER_SESSION_MS);
  return {
    ...pickSizes(random),
    rewriteAboveBytes: pickRewriteBytes(random),
    settings: [
      "group.consumer.min.session.timeout.ms=1000",
      `group.consumer.session.timeout.ms=${sessionMs}`,
      "group.consumer.min.heartbeat.interval.ms=100",
      "group.consumer.heartbeat.interval.ms=1000",
      `group.consumer.assignment.interval.ms=${random.pick([0, 300, 1000])}`,
    ],
  };
}

const MIXED: Actions = {
  crashAtEffect: 10,
  kill: 3,
  drain: 3,
  pause: 3,
  takeOver: 4,
  storeOutage: 3,
  deviceErrors: 2,
  partition: 3,
  resets: 3,
  clockJump: 2,
  partitionThenEnd: 2,
  crashAtWrite: 2,
  crashInStart: 1,
  rotBelowCommitted: 3,
};
const NONE: Actions = {
  crashAtEffect: 0,
  kill: 0,
  drain: 0,
  pause: 0,
  takeOver: 0,
  storeOutage: 0,
  deviceErrors: 0,
  partition: 0,
  resets: 0,
  clockJump: 0,
  partitionThenEnd: 0,
  crashAtWrite: 0,
  crashInStart: 0,
  rotBelowCommitted: 0,
};

const mixed: Scenario = {
  name: "mixed",
  producers: 1,
  consumers: 1,
  members: 0,
  admins: 0,
  visitors: 0,
  transactionWorkers: 0,
  subscribers: 0,
  mixedSubscribers: 0,
  haste: 1,
  partitions: 2,
  pauseMs: 47,
  largePercent: 3,
  evenBatchBytes: 0,
  churnsTopics: true,
  pairsClients: true,
  rates: {},
  actions: MIXED,
  soakShare: 6,
  everyMs: 14_000,
  pickSizes,
};

export const SCENARIOS: readonly Scenario[] = [
  mixed,
  { ...mixed, name: "crashes", soakShare: 5, actions: { ...NONE, crashAtEffect: 8, kill: 1, drain: 1, crashInStart: 1 }, everyMs: 9_000 },
  { ...mixed, name: "zombies", soakShare: 4, actions: { ...NONE, takeOver: 6, pause: 2, crashAtEffect: 2 }, everyMs: 14_000 },
  {
    ...mixed,
    name: "store",
    soakShare: 3,
    largePercent: 15,
    actions: { ...NONE, storeOutage: 5, crashAtEffect: 3, rotBelowCommitted: 1 },
    everyMs: 20_000,
  },
  {
    ...mixed,
    name: "network",
    soakShare: 6,
    actions: { ...NONE, partition: 4, resets: 5, crashAtEffect: 1 },
    rates: { netReset: 0.002, netHalfOpen: 0.0004 },
  },
  {
    ...mixed,
    name: "device",
    soakShare: 1,
    largePercent: 25,
    actions: { ...NONE, deviceErrors: 4, crashAtEffect: 3, rotBelowCommitted: 2 },
    rates: { walError: 0.01, walStall: 0.02 },
  },
  {
    ...mixed,
    name: "laps",
    soakShare: 0,
    pairsClients: false,
    pauseMs: 15,
    producers: 3,
    largePercent: 40,
    actions: { ...NONE, crashAtWrite: 8, crashInStart: 3, deviceErrors: 2 },
    rates: { walError: 0.01, walStall: 0.02 },
    everyMs: 5_000,
    churnsTopics: false,
    pickSizes: pickTightSizes,
  },
  {
    // A commit each: what one life wrote fits to the block behind what the next one does.
    ...mixed,
    name: "chain",
    soakShare: 0,
    pairsClients: false,
    pauseMs: 15,
    producers: 3,
    evenBatchBytes: 40_000,
    actions: { ...NONE, crashAtWrite: 1 },
    rates: { walStall: 0.02 },
    everyMs: 2_500,
    churnsTopics: false,
    pickSizes: pickTightSizes,
  },
  {
    ...mixed,
    name: "restarts",
    soakShare: 0,
    pairsClients: false,
    pauseMs: 15,
    visitors: 1,
    partitions: 6,
    actions: { ...NONE, partitionThenEnd: 6, crashInStart: 6, drain: 1 },
    rates: { storeTail: 0.04 },
    everyMs: 7_000,
    churnsTopics: false,
    pickSizes: pickRestlessSizes,
  },
  {
    ...mixed,
    name: "topics",
    soakShare: 0,
    consumers: 0,
    admins: 3,
    actions: { ...NONE, takeOver: 6, crashAtEffect: 3, storeOutage: 1 },
    rates: { storeLostReply: 0.04, storeLostRequest: 0.02, storeDelayed: 0.03, storeDuplicate: 0.06 },
    everyMs: 8_000,
    churnsTopics: false,
    pickSizes: pickRestlessSizes,
  },
  {
    ...mixed,
    name: "groups",
    soakShare: 1,
    consumers: 0,
    members: 2,
    churnsTopics: false,
    pickSizes: (random) => ({ ...pickSizes(random), rewriteAboveBytes: pickRewriteBytes(random) }),
  },
  {
    // No clock jumps: they end any transaction, so that nothing that ends would be unexpected.
    ...mixed,
    name: "transactions",
    producers: 0,
    consumers: 0,
    transactionWorkers: 1,
    churnsTopics: false,
    actions: { ...MIXED, clockJump: 0 },
    // Many small batches: opening reads each of them from the volume.
    rates: { walBitFlip: 0.001, walError: 0.001 },
    pauseMs: 43,
    soakShare: 2,
    pickSizes: pickTransactionSizes,
  },
  {
    // Many transactions at once, and somebody dies or is cut off every few seconds.
    ...mixed,
    name: "crowded",
    producers: 0,
    consumers: 0,
    transactionWorkers: 3,
    churnsTopics: false,
    actions: { ...NONE, crashAtEffect: 4, partitionThenEnd: 2, takeOver: 2, kill: 1, storeOutage: 1 },
    rates: { walBitFlip: 0.001, walError: 0.001 },
    pauseMs: 25,
    everyMs: 5_000,
    soakShare: 0,
    pickSizes: pickTransactionSizes,
  },
  { ...mixed, name: "calm", soakShare: 5, actions: NONE, rates: {} },
  {
    ...mixed,
    name: "consumers",
    consumers: 0,
    subscribers: 3,
    mixedSubscribers: 2,
    partitions: 3,
    churnsTopics: false,
    pauseMs: 40,
    soakShare: 3,
    pickSizes: pickGroupSizes,
  },
  {
    // Something happens to a member every few seconds, and to the broker too.
    ...mixed,
    name: "rebalances",
    consumers: 0,
    subscribers: 3,
    mixedSubscribers: 3,
    haste: 5,
    partitions: 3,
    churnsTopics: false,
    pauseMs: 60,
    actions: { ...NONE, crashAtEffect: 5, takeOver: 2, kill: 2, partitionThenEnd: 1 },
    everyMs: 6_000,
    soakShare: 0,
    pickSizes: pickGroupSizes,
  },
];

export function getScenario(name: string | undefined): Scenario {
  const found = SCENARIOS.find((scenario) => scenario.name === (name ?? "mixed"));
  if (found === undefined) throw new Error(`no scenario "${name}"; there is ${SCENARIOS.map((scenario) => scenario.name).join(", ")}`);
  return found;
}
