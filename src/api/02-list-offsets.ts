/**
 * ListOffsets (key 2), versions 1-11.
 *
 * Behaviour: by timestamp to the exact record, inside compressed batches too; -1 latest (high watermark; last stable offset for read_committed),
 * -2 earliest, -3 greatest timestamp. Weir's segment objects are Kafka's remote tier: -4 is the first offset that ring or WAL device still hold, -5 the
 * last in a segment object that the metadata log names, -6 the one after it. What lies at or above what the reader may see is "not found": offset
 * -1 without an error, never 0 (case B2).
 */

import { PartitionLog } from "../partition/partition-log.ts";
import { type FoundRecord, findByTimestamp, findMaxTimestamp } from "../partition/record-search.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type ListOffsetsPartition,
  type ListOffsetsPartitionResponse,
  type ListOffsetsRequest,
  type ListOffsetsResponse,
  listOffsetsApi,
  newListOffsetsPartitionResponse,
  newListOffsetsResponse,
  newListOffsetsTopicResponse,
} from "../protocol/messages/list-offsets.ts";
import { checkLeaderEpoch } from "./fetch-read.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import { findServedLog } from "./served-log.ts";
import type { ApiServices } from "./services.ts";

const LATEST = -1n;
const EARLIEST = -2n;
const MAX_TIMESTAMP = -3n;
const EARLIEST_LOCAL = -4n;
const LATEST_TIERED = -5n;
const EARLIEST_PENDING_UPLOAD = -6n;

/** First version that knows a special timestamp; below it, it is UNSUPPORTED_VERSION. */
const KNOWN_FROM: ReadonlyMap<bigint, number> = new Map([
  [MAX_TIMESTAMP, 7],
  [EARLIEST_LOCAL, 8],
  [LATEST_TIERED, 9],
  [EARLIEST_PENDING_UPLOAD, 11],
]);

/** The answer has no leader epoch below it. */
const LEADER_EPOCH_FROM = 4;

export class ListOffsetsHandler implements SerialHandler<ListOffsetsRequest, ListOffsetsResponse> {
  readonly kind = "serial";
  readonly api = listOffsetsApi;
  readonly minVersion = 1;
  readonly maxVersion = 11;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: ListOffsetsRequest, context: RequestContext): Promise<ListOffsetsResponse> {
    const response = newListOffsetsResponse();
    const repeated = findRepeatedPartitions(request);
    for (const { name, partitions } of request.topics) {
      const answers = await Promise.all(
        keepFirstOfEach(partitions).map((partition) => {
          const { partitionIndex } = partition;
          if (repeated.has(`${name}:${partitionIndex}`)) return describeError(partitionIndex, ErrorCodes.INVALID_REQUEST);
          return this.#look(name, partition, request.isolationLevel === 1, context);
        }),
      );
      if (context.apiVersion < LEADER_EPOCH_FROM) for (const answer of answers) answer.leaderEpoch = -1;
      response.topics.push(newListOffsetsTopicResponse({ name, partitions: answers }));
    }
    return response;
  }

  async #look(
    topicName: string,
    partition: ListOffsetsPartition,
    isReadCommitted: boolean,
    context: RequestContext,
  ): Promise<ListOffsetsPartitionResponse> {
    const { partitionIndex, timestamp } = partition;
    if (timestamp < EARLIEST_PENDING_UPLOAD || context.apiVersion < (KNOWN_FROM.get(timestamp) ?? 0)) {
      return describeError(partitionIndex, ErrorCodes.UNSUPPORTED_VERSION);
    }
    const found = await findServedLog(this.#services, topicName, partitionIndex);
    if (!(found instanceof PartitionLog)) return describeError(partitionIndex, found.errorCode);
    const epochError = checkLeaderEpoch(partition.currentLeaderEpoch, found.term);
    if (epochError !== ErrorCodes.NONE) return describeError(partitionIndex, epochError);
    try {
      return await this.#find(found, partitionIndex, timestamp, isReadCommitted);
    } catch (error) {
      this.#services.logger.warn("list-offsets.read-failed", (error as Error).message, { topic: topicName, partition: partitionIndex });
      return describeError(partitionIndex, ErrorCodes.KAFKA_STORAGE_ERROR);
    }
  }

  async #find(
    log: PartitionLog,
    partitionIndex: number,
    timestamp: bigint,
    isReadCommitted: boolean,
  ): Promise<ListOffsetsPartitionResponse> {
    const visibleEnd = isReadCommitted ? log.lastStableOffset : log.highWatermark;
    const place = findPlace(log, timestamp);
    if (place !== undefined) return describe(partitionIndex, place, -1, log.epochOf(place) ?? -1);
    switch (timestamp) {
      case LATEST:
        return describe(partitionIndex, visibleEnd, -1, log.term);
      case MAX_TIMESTAMP: {
        // As Kafka: the greatest of all; one that this reader may not see yet is not replaced by a lesser one.
        const found = await findMaxTimestamp(log, this.#services.decompress);
        return describeRecord(partitionIndex, found !== undefined && found.offset < visibleEnd ? found : undefined);
      }
      default: {
        // Beyond 2^53 ms no record can be.
        if (timestamp > BigInt(Number.MAX_SAFE_INTEGER)) return describeRecord(partitionIndex, undefined);
        return describeRecord(partitionIndex, await findByTimestamp(log, Number(timestamp), visibleEnd, this.#services.decompress));
      }
    }
  }
}

/** The special timestamps that mean a place in the log whatever its records say; -1: there is no such place. */
function findPlace(log: PartitionLog, timestamp: bigint): number | undefined {
  const { logStartOffset, stream } = log;
  switch (timestamp) {
    case EARLIEST:
      return logStartOffset;
    case EARLIEST_LOCAL:
      return Math.max(logStartOffset, stream.localStartOffset);
    case LATEST_TIERED:
      return stream.committedEndOffset > logStartOffset ? stream.committedEndOffset - 1 : -1;
    case EARLIEST_PENDING_UPLOAD:
      return Math.max(logStartOffset, stream.committedEndOffset);
    default:
      return undefined;
  }
}

/** As Kafka: a partition that is asked for twice is refused once. */
function keepFirstOfEach(partitions: readonly ListOffsetsPartition[]): readonly ListOffsetsPartition[] {
  const first = new Map<number, ListOffsetsPartition>();
  for (const partition of partitions) if (!first.has(partition.partitionIndex)) first.set(partition.partitionIndex, partition);
  return first.size === partitions.length ? partitions : [...first.values()];
}

function findRepeatedPartitions(request: ListOffsetsRequest): Set<string> {
  const seen = new Set<string>();
  const repeated = new Set<string>();
  for (const { name, partitions } of request.topics) {
    for (const { partitionIndex } of partitions) {
      const key = `${name}:${partitionIndex}`;
      if (seen.has(key)) repeated.add(key);
      seen.add(key);
    }
  }
  return repeated;
}

function describe(partitionIndex: number, offset: number, timestampMs: number, leaderEpoch: number): ListOffsetsPartitionResponse {
  return newListOffsetsPartitionResponse({ partitionIndex, offset: BigInt(offset), timestamp: BigInt(timestampMs), leaderEpoch });
}

function describeRecord(partitionIndex: number, record: FoundRecord | undefined): ListOffsetsPartitionResponse {
  if (record === undefined) return describe(partitionIndex, -1, -1, -1);
  return describe(partitionIndex, record.offset, record.timestampMs, record.leaderEpoch);
}

function describeError(partitionIndex: number, errorCode: number): ListOffsetsPartitionResponse {
  return newListOffsetsPartitionResponse({ partitionIndex, errorCode, offset: -1n, timestamp: -1n, leaderEpoch: -1 });
}
