/**
 * Fetch (key 1), versions 4-18.
 *
 * Behaviour: long poll on events (no polling, no timer per fetch); incremental sessions (KIP-227); topic ids from v13; leader epochs (KIP-320);
 * min and max bytes with the first batch whole (KIP-74); a partition that cannot be read answers KAFKA_STORAGE_ERROR alone. Only durable records are
 * visible; read_committed sees up to the last stable offset, with the aborted transactions among what it gets (KIP-98).
 *
 * A client that names a replica id is served like a consumer: Weir has no followers.
 *
 * Not done: quotas, authorisation, followers' fields (log start offset, directory id, high watermark), preferred read replicas.
 */
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type FetchRequest,
  type FetchResponse,
  fetchApi,
  newAbortedTransaction,
  newFetchableTopicResponse,
  newFetchResponse,
  newPartitionData,
  type PartitionData,
} from "../protocol/messages/fetch.ts";
import type { Counter } from "../telemetry/telemetry.ts";
import { listNodeEndpoints, toOffset } from "./answers.ts";
import { type FetchRead, isOutdated, readTargets, releaseRead, type TargetRead } from "./fetch-read.ts";
import { type FetchContext, FetchSessions, type FetchTarget, NO_SESSION, type PartitionResult } from "./fetch-sessions.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

const NO_RECORDS = new Uint8Array(0);

const UNKNOWN_PARTITION_CODES: readonly number[] = [ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION, ErrorCodes.UNKNOWN_TOPIC_ID];

export class FetchHandler implements SerialHandler<FetchRequest, FetchResponse> {
  readonly kind = "serial";
  readonly api = fetchApi;
  readonly minVersion = 4;
  readonly maxVersion = 18;
  readonly #services: ApiServices;
  readonly #sessions: FetchSessions;
  readonly #maxBytes: number;
  readonly #bytesOut: Counter;

  constructor(services: ApiServices) {
    const { config, clock, random, metrics, waiters } = services;
    this.#services = services;
    this.#sessions = new FetchSessions(clock, random, config.getNumber("max.incremental.fetch.session.cache.slots"));
    this.#maxBytes = config.getNumber("fetch.max.bytes");
    this.#bytesOut = metrics.counter("weir_fetched_bytes_total", "Bytes of record batches answered to fetches.");
    metrics.observedGauge("weir_fetch_sessions", "Incremental fetch sessions held.", () => this.#sessions.size);
    metrics.observedGauge("weir_waiting_fetches", "Fetches that wait for records.", () => waiters.size);
  }

  async handle(request: FetchRequest, context: RequestContext): Promise<FetchResponse | undefined> {
    const usesTopicIds = context.apiVersion >= 13;
    const fetch = this.#sessions.open({
      sessionId: request.sessionId,
      sessionEpoch: context.apiVersion >= 7 ? request.sessionEpoch : -1,
      usesTopicIds,
      targets: listTargets(request),
      forgotten: listForgotten(request),
    });
    if (!("targets" in fetch)) return newFetchResponse({ errorCode: sessionErrorCode(fetch.kind) });
    const read = await this.#readUntilEnough(request, context, fetch.targets, usesTopicIds);
    if (context.connection.closed.aborted) {
      releaseRead(read);
      return undefined;
    }
    return this.#answer(fetch, read, context, request.isolationLevel === 1);
  }

  /** Reads, and while that is not enough waits for more and reads again. */
  async #readUntilEnough(
    request: FetchRequest,
    context: RequestContext,
    targets: readonly FetchTarget[],
    usesTopicIds: boolean,
  ): Promise<FetchRead> {
    const { clock, waiters } = this.#services;
    const { closed } = context.connection;
    const maxBytes = Math.min(request.maxBytes, this.#maxBytes);
    const minBytes = Math.min(request.minBytes, maxBytes);
    const deadlineMs = clock.monotonicMs() + request.maxWaitMs;
    const isReadCommitted = request.isolationLevel === 1;
    const options = { apiVersion: context.apiVersion, usesTopicIds, isReadCommitted, maxBytes, signal: closed };
    for (;;) {
      const read = await readTargets(this.#services, targets, options);
      const leftMs = deadlineMs - clock.monotonicMs();
      if (read.bytes >= minBytes || read.isUrgent || leftMs <= 0 || closed.aborted || waiters.isDraining) return read;
      const logs = read.reads.flatMap((one) => one.log ?? []);
      if (logs.length === 0) return read;
      const missingBytes = minBytes - read.bytes;
      const hasMoved = isOutdated(read, isReadCommitted);
      releaseRead(read);
      if (!hasMoved) await waiters.wait(logs, missingBytes, leftMs, closed, isReadCommitted);
    }
  }

  #answer(
    fetch: Extract<FetchContext, { targets: readonly FetchTarget[] }>,
    read: FetchRead,
    context: RequestContext,
    isReadCommitted: boolean,
  ): FetchResponse {
    const partitions = read.reads.map((one) => describePartition(one, context.apiVersion, isReadCommitted));
    const results = read.reads.map((one, index) => toResult(one, partitions[index] as PartitionData));
    const response = newFetchResponse();
    let selected: boolean[] | undefined;
    if (fetch.kind === "full") response.sessionId = this.#sessions.create(fetch.targets, results, context.apiVersion >= 13);
    else if (fetch.kind === "incremental") {
      selected = this.#sessions.select(fetch.session, fetch.epoch, fetch.targets, results);
      response.sessionId = fetch.session.id;
      if (selected === undefined) {
        releaseRead(read);
        response.errorCode = ErrorCodes.INVALID_FETCH_SESSION_EPOCH;
        return response;
      }
    } else response.sessionId = NO_SESSION;
    this.#fill(response, read, partitions, selected);
    if (context.apiVersion >= 16) this.#addLeaders(response, read, partitions, context.connection.listenerName);
    this.#bytesOut.add(read.bytes);
    return response;
  }

  /** Neighbours of one topic share an entry, in the order asked for. A partition that is left out has no records. */
  #fill(response: FetchResponse, read: FetchRead, partitions: readonly PartitionData[], selected: readonly boolean[] | undefined): void {
    let last: FetchTarget | undefined;
    read.reads.forEach(({ target }, index) => {
      if (selected !== undefined && selected[index] !== true) return;
      const isSameTopic = last !== undefined && last.topicName === target.topicName && last.topicId === target.topicId;
      if (!isSameTopic) response.responses.push(newFetchableTopicResponse({ topic: target.topicName, topicId: target.topicId }));
      response.responses.at(-1)?.partitions.push(partitions[index] as PartitionData);
      last = target;
    });
  }

  /** KIP-951: who leads now, for partitions that this broker does not serve or not under that epoch. */
  #addLeaders(response: FetchResponse, read: FetchRead, partitions: readonly PartitionData[], listenerName: string): void {
    const { image } = this.#services.metadata;
    const leaders: number[] = [];
    read.reads.forEach((one, index) => {
      const { errorCode, topic, target } = one;
      if (errorCode !== ErrorCodes.NOT_LEADER_OR_FOLLOWER && errorCode !== ErrorCodes.FENCED_LEADER_EPOCH) return;
      const view = topic === undefined ? undefined : image.getPartition(topic.topicId, target.partition);
      if (view === undefined) return;
      (partitions[index] as PartitionData).currentLeader = { leaderId: view.ownerNodeId, leaderEpoch: view.term };
      leaders.push(view.ownerNodeId);
    });
    if (leaders.length > 0) response.nodeEndpoints = listNodeEndpoints(image, leaders, listenerName);
  }
}

function sessionErrorCode(kind: "unknown-session" | "wrong-epoch" | "topic-id-mismatch"): number {
  if (kind === "unknown-session") return ErrorCodes.FETCH_SESSION_ID_NOT_FOUND;
  return kind === "wrong-epoch" ? ErrorCodes.INVALID_FETCH_SESSION_EPOCH : ErrorCodes.FETCH_SESSION_TOPIC_ID_ERROR;
}

function listTargets(request: FetchRequest): FetchTarget[] {
  const targets: FetchTarget[] = [];
  for (const topic of request.topics) {
    for (const partition of topic.partitions) {
      targets.push({
        topicName: topic.topic,
        topicId: topic.topicId,
        partition: partition.partition,
        fetchOffset: toOffset(partition.fetchOffset),
        maxBytes: partition.partitionMaxBytes,
        // As Kafka: in a Fetch every negative epoch is none.
        currentLeaderEpoch: Math.max(-1, partition.currentLeaderEpoch),
        lastFetchedEpoch: partition.lastFetchedEpoch,
      });
    }
  }
  return targets;
}

function listForgotten(request: FetchRequest): { topicName: string; topicId: string; partition: number }[] {
  return request.forgottenTopicsData.flatMap((topic) =>
    topic.partitions.map((partition) => ({ topicName: topic.topic, topicId: topic.topicId, partition })),
  );
}

function describePartition(one: TargetRead, apiVersion: number, isReadCommitted: boolean): PartitionData {
  const { log, errorCode, slice, divergingEpoch } = one;
  const data = newPartitionData({
    partitionIndex: one.target.partition,
    highWatermark: -1n,
    abortedTransactions: null,
    records: NO_RECORDS,
  });
  if (errorCode !== ErrorCodes.NONE || log === undefined) {
    // Clients of v5 and below do not know KAFKA_STORAGE_ERROR and would not retry.
    const isUnknownToClient = errorCode === ErrorCodes.KAFKA_STORAGE_ERROR && apiVersion <= 5;
    data.errorCode = isUnknownToClient ? ErrorCodes.NOT_LEADER_OR_FOLLOWER : errorCode;
    // As Kafka, which refuses these before it looks into a log.
    if (UNKNOWN_PARTITION_CODES.includes(errorCode)) data.abortedTransactions = [];
    return data;
  }
  data.highWatermark = BigInt(log.highWatermark);
  data.lastStableOffset = BigInt(log.lastStableOffset);
  data.logStartOffset = BigInt(log.logStartOffset);
  // As Kafka, which reads no record of a log that diverges.
  if (isReadCommitted && divergingEpoch === undefined) {
    data.abortedTransactions = one.aborted.map(({ producerId, firstOffset }) =>
      newAbortedTransaction({ producerId: BigInt(producerId), firstOffset: BigInt(firstOffset) }),
    );
  }
  if (slice !== undefined) data.records = slice;
  if (divergingEpoch !== undefined) data.divergingEpoch = { epoch: divergingEpoch.epoch, endOffset: BigInt(divergingEpoch.endOffset) };
  return data;
}

function toResult(one: TargetRead, data: PartitionData): PartitionResult {
  return {
    errorCode: data.errorCode,
    highWatermark: data.highWatermark,
    logStartOffset: data.logStartOffset,
    recordsBytes: one.slice?.sizeBytes ?? 0,
    isDiverging: one.divergingEpoch !== undefined,
  };
}
