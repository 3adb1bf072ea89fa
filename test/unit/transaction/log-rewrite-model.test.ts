/**
 * Two shards of transactional ids live through the same random history: one writes its log anew all the time, the other never. Whatever was durable when they die,
 * both logs say the same: read from where they begin, and from their first record.
 */
import { expect, test } from "bun:test";
import { TimerQueue } from "../../../src/coordinator/timer-queue.ts";
import { declareTransactionMetrics } from "../../../src/transaction/transaction-metrics.ts";
import { encodeTransaction } from "../../../src/transaction/transaction-records.ts";
import { TransactionShard } from "../../../src/transaction/transaction-shard.ts";
import type { ProducerIdentity } from "../../../src/transaction/transaction-types.ts";
import { CrashingLog, loadFully, NOTHING, type Remains, show } from "../coordinator/crashing-log.ts";
import { ManualClock, settle } from "../support/manual-clock.ts";
import { decompressForTest } from "../support/record-batches.ts";
import { NO_METRICS } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

/** More: WEIR_REWRITE_SEEDS. */
const SEEDS = Number(process.env.WEIR_REWRITE_SEEDS ?? 12);
const REWRITE_ABOVE_BYTES = 1_000;
const IDS = ["x0", "x1", "x2", "x3", "x4", "x5"];
const HOUR_MS = 3_600_000;

class World {
  readonly clock = new ManualClock();
  readonly rewriteAboveBytes: number;
  readonly producers = new Map<string, ProducerIdentity>();
  log: CrashingLog;
  shard: TransactionShard;
  /** Which partitions of users' topics take ends of transactions now. */
  takesMarkers: "all" | "first" | "none" = "all";
  /** Ends of transactions that partitions have taken. */
  readonly marked = new Set<string>();
  #nextProducerId = 1;

  constructor(rewriteAboveBytes: number) {
    this.rewriteAboveBytes = rewriteAboveBytes;
    this.log = new CrashingLog(rewriteAboveBytes, this.clock, NOTHING);
    this.shard = this.#makeShard(this.log);
  }

  #makeShard(log: CrashingLog): TransactionShard {
    const { clock } = this;
    const shard = new TransactionShard(
      {
        partition: 0,
        settings: { loadBufferBytes: 1 << 20, idExpirationMs: HOUR_MS, answerTimeoutMs: 1_000_000 },
        clock,
        timers: new TimerQueue(clock),
        logger: log.logger,
        metrics: declareTransactionMetrics(NO_METRICS, { countTransactions: () => 0, countLoading: () => 0 }),
        markers: {
          write: async ({ producerId, producerEpoch }, partitions) =>
            partitions.map((at, index) => {
              if (this.takesMarkers === "none" || (this.takesMarkers === "first" && index > 0)) return "not-now";
              this.marked.add(`${producerId}/${producerEpoch}/${at.topic}/${at.partition}`);
              return "written";
            }),
        },
        crc32c: tableCrc32c,
        decompress: decompressForTest,
        rewrites: log.rewrites,
        maxBatchBytes: () => 1 << 20,
        serverVersion: () => 2,
        allocateProducerId: async () => this.#nextProducerId++,
      },
      log.shardLog,
    );
    log.onLost = () => shard.close();
    return shard;
  }

  async crash(remains: Remains = this.log.remains): Promise<void> {
    this.shard.close();
    this.log = new CrashingLog(this.rewriteAboveBytes, this.clock, remains);
    this.shard = this.#makeShard(this.log);
    this.producers.clear();
    await loadFully(this.shard, this.clock);
  }

  init(transactionalId: string): void {
    const request = { transactionalId, timeoutMs: 5_000, expected: undefined, enableTwoPhaseCommit: false, keepPreparedTransaction: false };
    void this.shard.init(request).then((answer) => {
      if (typeof answer !== "string") this.producers.set(transactionalId, answer);
    });
  }

  add(transactionalId: string, partition: number): void {
    const who = this.producers.get(transactionalId);
    if (who === undefined) return;
    const partitions = [0, 1, 2].map((offset) => ({ topic: "t", partition: partition + offset }));
    void this.shard.addPartitions({ transactionalId, ...who, partitions, transactionVersion: 2 });
  }

  end(transactionalId: string, isCommit: boolean): void {
    const who = this.producers.get(transactionalId);
    if (who === undefined) return;
    void this.shard.end({ transactionalId, ...who, isCommit, transactionVersion: 2 }).then((answer) => {
      if (typeof answer !== "string") this.producers.set(transactionalId, answer);
    });
  }

  /** All that the shard knows and the log can say, but for partitions that have taken the end of their transaction. */
  dump(): unknown {
    const entries = [...this.shard.entries()].sort((a, b) => (a.transactionalId < b.transactionalId ? -1 : 1));
    return entries.map(({ transactionalId, fields }) => {
      const isEnding = fields.state === "PrepareCommit" || fields.state === "PrepareAbort";
      const { producerId, producerEpoch } = fields;
      const left = [...fields.partitions].filter(([key]) => !isEnding || !this.marked.has(`${producerId}/${producerEpoch}/${key}`));
      return [transactionalId, fields.state, show(encodeTransaction(transactionalId, { ...fields, partitions: new Map(left) }, 2))];
    });
  }
}

type Step = (world: World) => unknown;

function pickStep(random: SeededRandom): Step {
  const roll = random.nextInt(100);
  const id = random.pick(IDS);
  const partition = random.nextInt(20);
  if (roll < 12) return (world) => world.init(id);
  if (roll < 40) return (world) => world.add(id, partition);
  if (roll < 58) return (world) => world.end(id, partition % 2 === 0);
  if (roll < 60) return (world) => void world.shard.abortTimedOut();
  if (roll < 61) {
    return async (world) => {
      await world.clock.advance(HOUR_MS);
      world.shard.expire();
    };
  }
  if (roll < 66) {
    return (world) => {
      world.takesMarkers = partition < 12 ? "all" : "first";
    };
  }
  if (roll < 69) return (world) => world.log.upload();
  if (roll < 77) return (world) => world.log.quiet();
  const advanceMs = random.pick([0, 1, 3, 50, 400]);
  return async (world) => {
    await world.log.release();
    await world.clock.advance(advanceMs);
  };
}

/** Answers how many rewrites came to their end. */
async function run(seed: number): Promise<number> {
  const random = new SeededRandom(seed);
  const rewriting = new World(REWRITE_ABOVE_BYTES);
  const plain = new World(Number.MAX_SAFE_INTEGER);
  for (const { shard } of [rewriting, plain]) await shard.load();
  let rewrites = 0;
  for (let life = 0; life < 3; life++) {
    const steps = 100 + random.nextInt(200);
    for (let number = 0; number < steps; number++) {
      const step = pickStep(random);
      for (const world of [rewriting, plain]) {
        await step(world);
        await settle();
      }
    }
    rewrites += rewriting.log.starts.length;
    const { remains } = rewriting.log;
    for (const world of [rewriting, plain]) world.takesMarkers = "none";
    await plain.crash();
    const expected = plain.dump();
    await rewriting.crash();
    expect(rewriting.dump()).toEqual(expected);
    await plain.crash({ ...remains, logStartOffset: 0 });
    expect(plain.dump()).toEqual(expected);
    await plain.crash(remains);
    for (const world of [rewriting, plain]) world.takesMarkers = "all";
  }
  return rewrites;
}

let rewrites = 0;

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`a log that is written anew says what it said, wherever it is cut off: seed ${seed}`, async () => {
    rewrites += await run(seed);
  }, 60_000);
}

test("logs were written anew many times", () => expect(rewrites).toBeGreaterThan(3 * SEEDS));
