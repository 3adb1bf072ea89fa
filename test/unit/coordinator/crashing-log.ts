/** A coordinator's log in memory: what becomes durable, and what segment objects hold, the test says; a crash leaves what was durable, from where the log begins. */
import { LogRewrites } from "../../../src/coordinator/log-rewrite.ts";
import { ShardLog } from "../../../src/coordinator/shard-log.ts";
import { viewOf } from "../../../src/partition/batch-layout.ts";
import { forEachBatch, PartitionLog } from "../../../src/partition/partition-log.ts";
import { type FakeBatch, FakeStorage } from "../support/fake-storage.ts";
import { type ManualClock, settle } from "../support/manual-clock.ts";
import { NO_METRICS, RecordingLogger } from "../support/recording-telemetry.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

export const LOG_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAZA";
const ID = { topicId: LOG_TOPIC_ID, partition: 0 };

/** What a crash leaves of a log. */
export interface Remains {
  readonly logStartOffset: number;
  readonly batches: readonly FakeBatch[];
}

export const NOTHING: Remains = { logStartOffset: 0, batches: [] };

export class CrashingLog {
  readonly clock: ManualClock;
  readonly logger = new RecordingLogger();
  readonly storage = new FakeStorage();
  readonly log: PartitionLog;
  readonly shardLog: ShardLog;
  readonly rewrites: LogRewrites;
  /** Log starts that the metadata log took, in order. */
  readonly starts: number[] = [];
  onLost: () => void = () => {};

  constructor(rewriteAboveBytes: number, clock: ManualClock, { logStartOffset, batches }: Remains) {
    this.clock = clock;
    const { storage, logger } = this;
    storage.stored.set(`${ID.topicId}-${ID.partition}`, [...batches]);
    storage.isDurableAtOnce = false;
    this.log = new PartitionLog({ ...ID, term: 0, logStartOffset, crc32c: tableCrc32c, isVerificationEnabled: () => false });
    const committedEndOffset = Math.max(logStartOffset, ...batches.map(({ lastOffset }) => lastOffset + 1));
    this.log.attachStream(storage.openStream(ID, { term: 0, committedEndOffset, logStartOffset, checkpointSource: this.log }));
    for (const { bytes } of batches) {
      forEachBatch(bytes, viewOf(bytes), (batch) => this.log.replayBatch(batch, bytes, clock.wallMs()));
    }
    this.log.startServing();
    storage.onReleased(() => this.log.onReleased());
    const sizeStepBytes = rewriteAboveBytes / 16;
    const { log } = this;
    this.shardLog = new ShardLog({ log, storage, sizeStepBytes, wallMs: () => clock.wallMs(), onLost: () => this.onLost() });
    const metadata = {
      advanceLogStarts: async (starts: readonly { offset: number }[]) => starts.map(({ offset }) => this.#advance(offset)),
    };
    this.rewrites = new LogRewrites({ topicName: "__test", clock, logger, metrics: NO_METRICS, rewriteAboveBytes, metadata });
  }

  #advance(offset: number): boolean {
    this.starts.push(offset);
    this.log.advanceLogStart(offset);
    return true;
  }

  get stream() {
    return this.storage.stream(LOG_TOPIC_ID, 0);
  }

  /** Segment objects hold all that is durable. */
  upload(): void {
    this.stream.committedEndOffset = this.stream.durableEndOffset;
  }

  /** Everything appended is durable, and who waits for it has gone on. */
  async release(): Promise<void> {
    this.storage.release();
    await settle();
  }

  /** Nobody asks for anything: a rewrite that is under way comes to its end. */
  async quiet(): Promise<void> {
    for (let round = 0; round < 20; round++) {
      await this.release();
      this.upload();
      await this.clock.advance(round < 18 ? 2 : 1_000);
    }
  }

  get remains(): Remains {
    const batches = this.stream.batches.filter(({ lastOffset }) => lastOffset < this.stream.durableEndOffset);
    return { logStartOffset: this.log.logStartOffset, batches };
  }
}

export async function loadFully(shard: { readonly state: string; load(): Promise<void> }, clock: ManualClock): Promise<void> {
  const loading = shard.load();
  for (let round = 0; round < 50 && shard.state === "loading"; round++) await clock.advance(0);
  await loading;
}

/** Anything as text: maps by key, bytes and bigints too. */
export function show(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => {
    if (typeof each === "bigint") return `${each}n`;
    if (each instanceof Uint8Array) return Buffer.from(each).toString("hex");
    return each instanceof Map ? [...each].sort() : each;
  });
}
