/** Brokers' metadata over one store, for tests: real controller, real log; clock, randomness and store are given. */
import type { Clock } from "../../../src/base/clock.ts";
import type { BrokerMetadata } from "../../../src/controller/broker-metadata.ts";
import { type OpenedCluster, openClusterMetadata } from "../../../src/controller/open-cluster-metadata.ts";
import type { ObjectStore } from "../../../src/objectstore/object-store.ts";
import type { CommitRange, ObjectCommit } from "../../../src/storage/ports.ts";
import type { Lsn } from "../../../src/storage/types.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { NO_METRICS, RecordingLogger } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

export const LISTENERS = [{ name: "PLAINTEXT", host: "127.0.0.1", port: 9092, securityProtocol: "PLAINTEXT" }];
export const DEADLINE_MS = 1e9;

export interface HarnessOptions {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly nodeId?: number;
  readonly seed?: number;
  readonly walId?: string;
  readonly snapshotEverySlots?: number;
  readonly garbageGraceMs?: number;
  readonly logger?: RecordingLogger;
}

export function openCluster(options: HarnessOptions): Promise<OpenedCluster> {
  const { store, clock, nodeId = 1, seed = 1, snapshotEverySlots, garbageGraceMs } = options;
  return openClusterMetadata({
    store,
    clock,
    random: new SeededRandom(seed),
    logger: options.logger ?? new RecordingLogger(),
    metrics: NO_METRICS,
    crc32c: tableCrc32c,
    nodeId,
    ...(snapshotEverySlots === undefined ? {} : { snapshotEverySlots }),
    ...(garbageGraceMs === undefined ? {} : { garbageGraceMs }),
  });
}

export async function startBroker(options: HarnessOptions): Promise<BrokerMetadata> {
  const opened = await openCluster(options);
  const broker = await opened.register({ walId: options.walId ?? `wal-${options.nodeId ?? 1}`, rack: undefined, listeners: LISTENERS });
  await broker.recordWalOpened(broker.wal.walEpoch + 1, broker.wal.committed.lsn);
  return broker;
}

export async function createTopic(broker: BrokerMetadata, name: string, partitionCount = 1): Promise<string> {
  const [outcome] = await broker.createTopics([{ name, partitionCount, replicationFactor: 1, configs: new Map() }], DEADLINE_MS);
  if (outcome?.kind !== "done") throw new Error(`topic ${name}: ${outcome?.kind}`);
  return outcome.topic.topicId;
}

export function commitRange(
  topicId: string,
  partition: number,
  baseOffset: number,
  endOffset: number,
  more: Partial<CommitRange> = {},
): CommitRange {
  const sizes = { maxTimestampMs: 1_700_000_000_000 + endOffset, sizeBytes: 100 * (endOffset - baseOffset) };
  return { stream: { topicId, partition }, term: 0, baseOffset, endOffset, hasCheckpoint: false, ...sizes, ...more };
}

export function objectCommit(objectKey: string, lsn: number, ranges: readonly CommitRange[], walId = "wal-1"): ObjectCommit {
  return { objectKey, objectSizeBytes: 1_000, walId, walCommitted: { lsn: lsn as Lsn, predecessorChecksum: 7, walEpoch: 1 }, ranges };
}

/** Moves a manual clock until `work` settles. */
export async function drive<T>(clock: ManualClock, work: Promise<T>, stepMs = 5, maxSteps = 200_000): Promise<T> {
  let isSettled = false;
  const settled = work.finally(() => {
    isSettled = true;
  });
  settled.catch(() => {});
  for (let step = 0; !isSettled && step < maxSteps; step++) {
    await clock.endTurn();
    if (!isSettled) await clock.advance(stepMs);
  }
  if (!isSettled) throw new Error(`nothing settled in ${maxSteps * stepMs} ms of simulated time`);
  return settled;
}
