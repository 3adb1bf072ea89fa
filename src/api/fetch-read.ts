/**
 * One look at the partitions of a fetch: checks, offsets, and the records that are there. Slices are references; whoever gets a FetchRead releases it
 * or hands its slices to an answer, exactly once.
 *
 * Partitions are read in the order asked for, within `maxBytes` for all; the first batch found is whole even above the limits (KIP-74). What is
 * in memory is read at once; of the rest up to MAX_COLD_READS partitions are read side by side, each within its share of what is left.
 */
import type { ImageView, TopicView } from "../metadata/cluster-metadata.ts";
import { CODEC_MASK, CODEC_ZSTD, viewOf } from "../partition/batch-layout.ts";
import { copySlice, forEachBatch, PartitionLog } from "../partition/partition-log.ts";
import type { AbortedTransaction } from "../partition/transaction-state.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { ZERO_UUID } from "../protocol/reader.ts";
import type { RecordsSlice } from "../storage/types.ts";
import type { FetchTarget } from "./fetch-sessions.ts";
import type { ApiServices } from "./services.ts";

const MAX_COLD_READS = 16;

export interface TargetRead {
  readonly target: FetchTarget;
  errorCode: number;
  /** The request is answered at once because of it (an unknown topic alone makes a fetch wait like an empty one, as in Kafka). */
  isUrgent: boolean;
  log: PartitionLog | undefined;
  slice: RecordsSlice | undefined;
  /** Aborted transactions that the slice may hold records of; for read_committed. */
  aborted: readonly AbortedTransaction[];
  divergingEpoch: { readonly epoch: number; readonly endOffset: number } | undefined;
  topic: TopicView | undefined;
  /** Where this reader's log ended at this look (high watermark or last stable offset): a waiter that begins when it has risen would miss the release. */
  seenEnd: number;
}

export interface FetchRead {
  readonly reads: readonly TargetRead[];
  bytes: number;
  /** Some partition has an answer that does not wait for bytes. */
  isUrgent: boolean;
}

export interface FetchReadOptions {
  readonly apiVersion: number;
  readonly usesTopicIds: boolean;
  readonly isReadCommitted: boolean;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

export function releaseRead(read: FetchRead): void {
  for (const target of read.reads) {
    target.slice?.release();
    target.slice = undefined;
  }
}

/** True when a partition has moved on since it was read. */
export function isOutdated(read: FetchRead, isReadCommitted: boolean): boolean {
  return read.reads.some(({ log, errorCode, seenEnd }) => {
    if (log === undefined || errorCode !== ErrorCodes.NONE) return false;
    return !log.isServing || visibleEnd(log, isReadCommitted) !== seenEnd;
  });
}

function visibleEnd(log: PartitionLog, isReadCommitted: boolean): number {
  return isReadCommitted ? log.lastStableOffset : log.highWatermark;
}

/** Never rejects: a partition that cannot be read has an error code, the others their records. */
export async function readTargets(services: ApiServices, targets: readonly FetchTarget[], options: FetchReadOptions): Promise<FetchRead> {
  const read = startRead(services, targets, options);
  const closed = read.reads.filter((one) => one.log === undefined && one.errorCode === ErrorCodes.NONE);
  if (closed.length > 0) await Promise.all(closed.map((one) => openLog(services, one)));
  const cold: TargetRead[] = [];
  for (const one of read.reads) {
    if (!isReadable(one) || !checkPosition(one, options.isReadCommitted)) continue;
    if (!tryReadOne(read, one, options)) cold.push(one);
  }
  if (cold.length > 0) await readCold(services, read, cold, options);
  if (options.apiVersion < 10) await Promise.all(read.reads.map((one) => refuseZstd(services, read, one, options)));
  for (const one of read.reads) if (one.isUrgent) read.isUrgent = true;
  return read;
}

function startRead(services: ApiServices, targets: readonly FetchTarget[], options: FetchReadOptions): FetchRead {
  const { image } = services.metadata;
  const reads = targets.map((target) => startTarget(services, image, target, options));
  return { reads, bytes: 0, isUrgent: false };
}

function startTarget(services: ApiServices, image: ImageView, target: FetchTarget, options: FetchReadOptions): TargetRead {
  const one: TargetRead = {
    target,
    errorCode: ErrorCodes.NONE,
    isUrgent: false,
    log: undefined,
    slice: undefined,
    aborted: [],
    divergingEpoch: undefined,
    topic: undefined,
    seenEnd: -1,
  };
  const byId = options.usesTopicIds && target.topicId !== ZERO_UUID;
  const topic = byId ? image.getTopicById(target.topicId) : options.usesTopicIds ? undefined : image.getTopic(target.topicName);
  if (topic === undefined) {
    one.errorCode = options.usesTopicIds ? ErrorCodes.UNKNOWN_TOPIC_ID : ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION;
    return one;
  }
  one.topic = topic;
  const found = services.partitions.find(topic.topicId, target.partition);
  if (found instanceof PartitionLog) one.log = found;
  else if (found === "unknown-partition") one.errorCode = ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION;
  else if (found === "not-owner") fail(one, ErrorCodes.NOT_LEADER_OR_FOLLOWER);
  return one;
}

function fail(one: TargetRead, errorCode: number): void {
  one.errorCode = errorCode;
  one.isUrgent = true;
}

async function openLog(services: ApiServices, one: TargetRead): Promise<void> {
  const { topic, target } = one;
  if (topic === undefined) return;
  try {
    const found = await services.partitions.open(topic.topicId, target.partition);
    if (found instanceof PartitionLog) one.log = found;
    else fail(one, found === "unknown-partition" ? ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION : ErrorCodes.NOT_LEADER_OR_FOLLOWER);
  } catch (error) {
    failRead(services, one, error);
  }
}

function failRead(services: ApiServices, one: TargetRead, error: unknown): void {
  const { topicName, topicId, partition, fetchOffset } = one.target;
  services.logger.warn("fetch.read-failed", (error as Error).message, { topic: topicName || topicId, partition, offset: fetchOffset });
  fail(one, ErrorCodes.KAFKA_STORAGE_ERROR);
}

function isReadable(one: TargetRead): one is TargetRead & { log: PartitionLog } {
  return one.log !== undefined && one.errorCode === ErrorCodes.NONE;
}

/** Leader epoch, divergence, offset range. False when there is nothing to read. */
function checkPosition(one: TargetRead & { log: PartitionLog }, isReadCommitted: boolean): boolean {
  const { log, target } = one;
  one.seenEnd = visibleEnd(log, isReadCommitted);
  if (!log.isServing) {
    fail(one, ErrorCodes.NOT_LEADER_OR_FOLLOWER);
    return false;
  }
  const epochError = checkLeaderEpoch(target.currentLeaderEpoch, log.term);
  if (epochError !== ErrorCodes.NONE) {
    fail(one, epochError);
    return false;
  }
  if (target.lastFetchedEpoch >= 0 && !checkDivergence(one)) return false;
  if (target.fetchOffset < log.logStartOffset || target.fetchOffset > log.logEndOffset) {
    fail(one, ErrorCodes.OFFSET_OUT_OF_RANGE);
    return false;
  }
  return target.fetchOffset < one.seenEnd;
}

/** KIP-595's check of what the reader read last; false when it diverges or is unknown. */
function checkDivergence(one: TargetRead & { log: PartitionLog }): boolean {
  const { log, target } = one;
  const end = log.endOfEpoch(target.lastFetchedEpoch);
  if (end === undefined) {
    fail(one, ErrorCodes.OFFSET_OUT_OF_RANGE);
    return false;
  }
  if (end.epoch >= target.lastFetchedEpoch && end.endOffset >= target.fetchOffset) return true;
  one.divergingEpoch = end;
  one.isUrgent = true;
  return false;
}

/** KIP-320: `requested` -1 is not checked. */
export function checkLeaderEpoch(requested: number, current: number): number {
  if (requested === -1 || requested === current) return ErrorCodes.NONE;
  return requested < current ? ErrorCodes.FENCED_LEADER_EPOCH : ErrorCodes.UNKNOWN_LEADER_EPOCH;
}

/** False when the first batch is not in memory. */
function tryReadOne(read: FetchRead, one: TargetRead & { log: PartitionLog }, options: FetchReadOptions): boolean {
  const left = Math.min(one.target.maxBytes, options.maxBytes - read.bytes);
  const atLeastOneBatch = read.bytes === 0;
  if (left <= 0 && !atLeastOneBatch) return true;
  const slice = one.log.tryRead(one.target.fetchOffset, Math.max(left, 0), atLeastOneBatch, one.seenEnd);
  if (slice === undefined) return false;
  take(read, one, one.log, slice, options);
  return true;
}

/**
 * When the log start has passed the fetch offset while it was read, nothing is answered: the aborted transactions below the log start are
 * forgotten, so read_committed could see their records (case R4).
 */
function take(read: FetchRead, one: TargetRead, log: PartitionLog, slice: RecordsSlice, options: FetchReadOptions): void {
  const { fetchOffset } = one.target;
  const isGone = fetchOffset < log.logStartOffset;
  if (isGone) fail(one, ErrorCodes.OFFSET_OUT_OF_RANGE);
  if (isGone || slice.sizeBytes === 0) {
    slice.release();
    return;
  }
  one.slice = slice;
  read.bytes += slice.sizeBytes;
  if (options.isReadCommitted) one.aborted = log.listAborted(fetchOffset, slice.nextOffset);
}

async function readCold(services: ApiServices, read: FetchRead, cold: readonly TargetRead[], options: FetchReadOptions): Promise<void> {
  const now = cold.slice(0, MAX_COLD_READS);
  const left = options.maxBytes - read.bytes;
  const hasNothing = read.bytes === 0;
  if (left <= 0 && !hasNothing) return;
  const share = Math.max(0, Math.floor(left / now.length));
  await Promise.all(now.map((one, index) => readColdOne(services, read, one, share, hasNothing && index === 0, options)));
}

async function readColdOne(
  services: ApiServices,
  read: FetchRead,
  one: TargetRead,
  share: number,
  atLeastOneBatch: boolean,
  options: FetchReadOptions,
): Promise<void> {
  const { log } = one;
  const { signal } = options;
  if (log === undefined) return;
  const maxBytes = Math.max(0, Math.min(one.target.maxBytes, share));
  try {
    take(read, one, log, await log.read(one.target.fetchOffset, maxBytes, atLeastOneBatch, signal, one.seenEnd), options);
  } catch (error) {
    if (!signal.aborted) failRead(services, one, error);
  }
}

/** KIP-110: clients below Fetch 10 cannot read zstd. Records before the first zstd batch are still theirs. */
async function refuseZstd(services: ApiServices, read: FetchRead, one: TargetRead, options: FetchReadOptions): Promise<void> {
  const { slice, log, topic } = one;
  if (topic !== undefined && services.topicRules.get(topic).compressionType === "zstd" && one.errorCode === ErrorCodes.NONE) {
    dropSlice(read, one);
    fail(one, ErrorCodes.UNSUPPORTED_COMPRESSION_TYPE);
    return;
  }
  if (slice === undefined || log === undefined) return;
  try {
    const bytes = await copySlice(slice);
    let firstZstd: number | undefined;
    forEachBatch(bytes, viewOf(bytes), (batch) => {
      if ((batch.attributes & CODEC_MASK) === CODEC_ZSTD) firstZstd ??= batch.start;
    });
    if (firstZstd === undefined) return;
    dropSlice(read, one);
    if (firstZstd === 0) fail(one, ErrorCodes.UNSUPPORTED_COMPRESSION_TYPE);
    else take(read, one, log, await log.read(one.target.fetchOffset, firstZstd, false, undefined, one.seenEnd), options);
  } catch (error) {
    dropSlice(read, one);
    failRead(services, one, error);
  }
}

function dropSlice(read: FetchRead, one: TargetRead): void {
  if (one.slice === undefined) return;
  read.bytes -= one.slice.sizeBytes;
  one.slice.release();
  one.slice = undefined;
  one.aborted = [];
}
