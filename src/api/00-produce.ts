/**
 * Produce (key 0), versions 3-13. Advertised from 0 (KAFKA-18659: librdkafka), 0-2 close the connection as in Kafka.
 *
 * Internal topics take records from the admin client only (INVALID_TOPIC_EXCEPTION).
 * Behaviour: acks -1 and 1 both answer when the batch is on the WAL's medium; acks 0 answers nothing, and an error closes the connection; any other
 * acks value is INVALID_REQUIRED_ACKS. The next request of the connection begins as soon as this one is appended. Topic ids in v13.
 * When nothing is in the way (partitions open, room in the ring) the append happens before `begin` returns.
 *
 * Codes: what was certainly not appended because of us is NOT_LEADER_OR_FOLLOWER (every client refreshes and sends again); what may have been appended
 * is REQUEST_TIMED_OUT (retriable, "possibly persisted" to librdkafka). UNKNOWN_SERVER_ERROR is never the answer (case R7).
 *
 * A new producer's batches keep their order: what was sent behind one that was refused so is refused likewise until that one comes again.
 *
 * Transactional batches: the coordinator is asked before a transaction's first batch in a partition (`produce-verification.ts`); without a transactional id
 * TRANSACTIONAL_ID_AUTHORIZATION_FAILED, as Kafka. A batch whose content is at fault is refused after the coordinator was asked, one that is no batch before.
 * As in Kafka a partition whose bytes are no batch refuses the whole request with it.
 *
 * Not done: quotas, authorisation.
 */
import { Trouble } from "../base/trouble.ts";
import type { ImageView, TopicView } from "../metadata/cluster-metadata.ts";
import {
  type BatchProducer,
  type BatchRefusal,
  type CheckedBatch,
  findFramingRefusal,
  lookAtFirstBatch,
  type RefusalReason,
  readBatchProducer,
  type ValidationContext,
  validateFramedBatch,
} from "../partition/batch-validation.ts";
import { type AppendOutcome, PartitionLog } from "../partition/partition-log.ts";
import type { Unavailable } from "../partition/partition-registry.ts";
import { RefusedSequences, type SequencePlace } from "../partition/refused-sequences.ts";
import { NO_GUARD } from "../partition/verification.ts";
import type { Records } from "../protocol/api-definition.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  newPartitionProduceResponse,
  newProduceResponse,
  newTopicProduceResponse,
  type PartitionProduceResponse,
  type ProduceRequest,
  type ProduceResponse,
  produceApi,
  type TopicProduceResponse,
} from "../protocol/messages/produce.ts";
import type { Reservation } from "../storage/types.ts";
import type { Counter } from "../telemetry/telemetry.ts";
import { clampDeadline, listNodeEndpoints, troubleCode } from "./answers.ts";
import { makeContentCodecs } from "./content-codecs.ts";
import type { PipelinedHandler, RequestContext } from "./handler.ts";
import { hasSeveralProducers, needsVerification, type VerifiedAppend, verifyAppends } from "./produce-verification.ts";
import type { ApiServices } from "./services.ts";

const REFUSAL_CODES: Readonly<Record<RefusalReason, number>> = {
  "invalid-record": ErrorCodes.INVALID_RECORD,
  corrupt: ErrorCodes.CORRUPT_MESSAGE,
  "too-large": ErrorCodes.MESSAGE_TOO_LARGE,
  "unsupported-compression": ErrorCodes.UNSUPPORTED_COMPRESSION_TYPE,
  "invalid-timestamp": ErrorCodes.INVALID_TIMESTAMP,
};

const NOT_OWNER: AppendOutcome = { kind: "not-owner" };
/** Answers to batches that were not appended and that clients send again. */
const COMES_AGAIN: ReadonlySet<number> = new Set([ErrorCodes.NOT_LEADER_OR_FOLLOWER, ErrorCodes.REQUEST_TIMED_OUT]);

/** The one client that Kafka lets write to internal topics: what lies there is the coordinators' state. */
const ADMIN_CLIENT_ID = "__admin_client";

/** `log` is undefined until the partition is open. What is refused meanwhile has an error code in its answer. */
type PendingAppend = VerifiedAppend & { readonly batch: CheckedBatch; log: PartitionLog | undefined };

/** A transactional batch that will not be appended, but whose transaction is asked about all the same. */
type RefusedAppend = VerifiedAppend & { readonly refusal: BatchRefusal; log: PartitionLog | undefined };

/** One request on its way. */
interface Produce {
  readonly context: RequestContext;
  readonly acks: number;
  readonly transactionalId: string | null;
  readonly response: ProduceResponse;
  readonly appends: PendingAppend[];
  readonly refused: RefusedAppend[];
  bytes: number;
  /** Something was appended, or was before and may not be durable yet. */
  needsDurability: boolean;
}

export class ProduceHandler implements PipelinedHandler<ProduceRequest, ProduceResponse> {
  readonly kind = "pipelined";
  /** Batches are copied into the ring before the answer; strings and ids are copies. */
  readonly isFrameFreeAfterAnswer = true;
  readonly api = produceApi;
  readonly minVersion = 3;
  readonly maxVersion = 13;
  readonly #services: ApiServices;
  readonly #content: Pick<ValidationContext, "scanRecords" | "compress">;
  readonly #refused = new RefusedSequences();
  readonly #bytesIn: Counter;
  readonly #batchesIn: Counter;

  constructor(services: ApiServices) {
    this.#services = services;
    this.#content = services.blockCodecs === undefined ? {} : makeContentCodecs(services.blockCodecs);
    this.#bytesIn = services.metrics.counter("weir_produced_bytes_total", "Bytes of record batches appended for clients.");
    this.#batchesIn = services.metrics.counter("weir_produced_batches_total", "Record batches appended for clients.");
  }

  begin(
    request: ProduceRequest,
    context: RequestContext,
  ): { readonly admitted: Promise<void> | undefined; readonly answer: Promise<ProduceResponse | undefined> } {
    const produce = this.#prepare(request, context);
    const asked = listAsked(produce);
    if (asked.length === 0) return { admitted: undefined, answer: this.#finish(produce) };
    if (hasSeveralProducers(asked)) return { admitted: undefined, answer: this.#finish(refuseSeveralProducers(produce)) };
    const isOpen = produce.refused.length === 0 && produce.appends.every((append) => append.log !== undefined);
    const reservation =
      isOpen && !needsVerification(produce.appends) ? this.#services.storage.tryReserve(produce.bytes, produce.appends.length) : undefined;
    if (reservation !== undefined) {
      this.#appendAll(produce, reservation);
      return { admitted: undefined, answer: this.#finish(produce) };
    }
    const admitted = this.#appendWhenPossible(produce, request.timeoutMs);
    return { admitted, answer: admitted.then(() => this.#finish(produce)) };
  }

  // --- checks ---

  #prepare(request: ProduceRequest, context: RequestContext): Produce {
    const { image } = this.#services.metadata;
    const topics: TopicProduceResponse[] = [];
    const response = newProduceResponse({ responses: topics });
    const { acks, transactionalId } = request;
    const produce: Produce = { context, acks, transactionalId, response, appends: [], refused: [], bytes: 0, needsDurability: false };
    const firstLook = lookAtBatches(request);
    const refusedTransaction = request.transactionalId === null && firstLook === "transactional";
    for (const topicData of request.topicData) {
      const topic = context.apiVersion >= 13 ? image.getTopicById(topicData.topicId) : image.getTopic(topicData.name);
      const partitions: PartitionProduceResponse[] = [];
      topics.push(newTopicProduceResponse({ name: topicData.name, topicId: topicData.topicId, partitionResponses: partitions }));
      for (const { index, records } of topicData.partitionData) {
        const answer = newPartitionProduceResponse({ index, baseOffset: -1n });
        partitions.push(answer);
        if (typeof firstLook === "object") describeRefusal(answer, firstLook, -1);
        else if (refusedTransaction) answer.errorCode = ErrorCodes.TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
        else if (topic === undefined) answer.errorCode = unknownTopicCode(context.apiVersion);
        else if (topic.isInternal && context.clientId !== ADMIN_CLIENT_ID) answer.errorCode = ErrorCodes.INVALID_TOPIC_EXCEPTION;
        else this.#preparePartition(produce, topic, answer, records, image);
      }
    }
    return produce;
  }

  #preparePartition(produce: Produce, topic: TopicView, answer: PartitionProduceResponse, records: Records | null, image: ImageView): void {
    const { partitions, topicRules, crc32c, decompress, clock } = this.#services;
    const { scanRecords, compress } = this.#content;
    const found = partitions.find(topic.topicId, answer.index);
    if (found === "unknown-partition" || found === "not-owner") {
      this.#refuseUnavailable(produce, topic, answer, found, image);
      return;
    }
    const place = { topicName: topic.name, partition: answer.index, isZstdAllowed: produce.context.apiVersion >= 7 };
    const framing = findFramingRefusal(records as Uint8Array | null, place);
    if (framing !== undefined) {
      describeRefusal(answer, framing, -1);
      return;
    }
    if (produce.acks !== -1 && produce.acks !== 1 && produce.acks !== 0) {
      answer.errorCode = ErrorCodes.INVALID_REQUIRED_ACKS;
      return;
    }
    const context = { ...place, crc32c, decompress, scanRecords, compress, nowMs: clock.wallMs() };
    const checked = validateFramedBatch(records as Uint8Array, topicRules.get(topic), context);
    if (checked.kind === "refused") {
      const batch = readBatchProducer(records as Uint8Array);
      if (isOfTransaction(batch)) produce.refused.push({ topic, answer, batch, refusal: checked, log: found, guard: NO_GUARD });
      else describeRefusal(answer, checked, found?.logStartOffset ?? image.getPartition(topic.topicId, answer.index)?.logStartOffset ?? -1);
      return;
    }
    produce.appends.push({ topic, answer, batch: checked, log: found, guard: NO_GUARD });
    produce.bytes += checked.bytes.length;
  }

  #refuseUnavailable(produce: Produce, topic: TopicView, answer: PartitionProduceResponse, why: Unavailable, image: ImageView): void {
    answer.errorCode = why === "unknown-partition" ? ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION : ErrorCodes.NOT_LEADER_OR_FOLLOWER;
    const view = image.getPartition(topic.topicId, answer.index);
    if (view === undefined || produce.context.apiVersion < 10) return;
    answer.currentLeader = { leaderId: view.ownerNodeId, leaderEpoch: view.term };
  }

  // --- append ---

  /** The synchronous section: no await between the first append and the last. Releases the reservation. */
  #appendAll(produce: Produce, reservation: Reservation): void {
    const nowMs = this.#services.clock.wallMs();
    for (const append of produce.appends) {
      const { log, batch, answer, guard } = append;
      if (log === undefined || answer.errorCode !== ErrorCodes.NONE) continue;
      const outcome = this.#isBehindRefused(append, log) ? NOT_OWNER : log.append(batch, reservation, nowMs, guard);
      if (outcome.kind === "appended") {
        produce.needsDurability = true;
        if (this.#refused.size > 0) this.#refused.clear(placeOf(append));
        answer.baseOffset = BigInt(outcome.baseOffset);
        answer.logAppendTimeMs = BigInt(batch.logAppendTimeMs);
        answer.logStartOffset = BigInt(log.logStartOffset);
        this.#bytesIn.add(batch.bytes.length);
        this.#batchesIn.add(1);
      } else this.#answerNotAppended(produce, append, log, outcome);
    }
    reservation.release();
  }

  #answerNotAppended(produce: Produce, append: PendingAppend, log: PartitionLog, outcome: AppendOutcome): void {
    const { answer } = append;
    switch (outcome.kind) {
      case "duplicate":
        produce.needsDurability = true;
        answer.baseOffset = BigInt(outcome.baseOffset);
        answer.logAppendTimeMs = BigInt(outcome.maxTimestampMs);
        answer.logStartOffset = BigInt(log.logStartOffset);
        return;
      case "out-of-order":
        answer.errorCode = ErrorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER;
        answer.logStartOffset = BigInt(log.logStartOffset);
        return;
      case "invalid-transaction-state":
        answer.errorCode = ErrorCodes.INVALID_TXN_STATE;
        answer.logStartOffset = BigInt(log.logStartOffset);
        return;
      case "stale-epoch":
        answer.errorCode = ErrorCodes.INVALID_PRODUCER_EPOCH;
        answer.logStartOffset = BigInt(log.logStartOffset);
        return;
      default:
        this.#refuseUnavailable(produce, append.topic, answer, "not-owner", this.#services.metadata.image);
    }
  }

  /** A batch of a new producer that would overtake an earlier one. */
  #isBehindRefused(append: PendingAppend, log: PartitionLog): boolean {
    if (this.#refused.size === 0 || log.knowsProducer(append.batch.producerId)) return false;
    return this.#refused.isBehind(placeOf(append), this.#services.clock.monotonicMs());
  }

  /** Before the next request of the connection begins: what was refused for a while must come first when it comes again. */
  #noteRefused({ appends }: Produce): void {
    const nowMs = this.#services.clock.monotonicMs();
    for (const append of appends) {
      const { producerId, isTransactional } = append.batch;
      if (producerId < 0 || isTransactional || !COMES_AGAIN.has(append.answer.errorCode)) continue;
      if (append.log?.knowsProducer(producerId) !== true) this.#refused.note(placeOf(append), nowMs);
    }
  }

  /** The way with waits. Never rejects: what fails becomes the partitions' answers. */
  async #appendWhenPossible(produce: Produce, timeoutMs: number): Promise<void> {
    await this.#openAndAppend(produce, timeoutMs);
    this.#noteRefused(produce);
  }

  /** Opens the partitions, waits for room. */
  async #openAndAppend(produce: Produce, timeoutMs: number): Promise<void> {
    const ready: PendingAppend[] = [];
    const asked = listAsked(produce);
    await Promise.all(asked.map((append) => this.#openFor(produce, append)));
    if (needsVerification(asked)) {
      const { transactionalId, context } = produce;
      await verifyAppends(this.#services, { transactionalId, apiVersion: context.apiVersion }, asked);
    }
    for (const { answer, refusal, log } of produce.refused) {
      if (answer.errorCode === ErrorCodes.NONE) describeRefusal(answer, refusal, log?.logStartOffset ?? -1);
    }
    let bytes = 0;
    for (const append of produce.appends) {
      if (append.log === undefined || append.answer.errorCode !== ErrorCodes.NONE) continue;
      ready.push(append);
      bytes += append.batch.bytes.length;
    }
    if (ready.length === 0) return;
    const reservation = await this.#reserve(produce, ready, bytes, timeoutMs);
    if (reservation !== undefined) this.#appendAll(produce, reservation);
  }

  async #openFor(produce: Produce, append: PendingAppend | RefusedAppend): Promise<void> {
    const { partitions, metadata, logger } = this.#services;
    const { topic, answer } = append;
    try {
      const found = append.log ?? (await partitions.open(topic.topicId, answer.index));
      if (found instanceof PartitionLog) append.log = found;
      else this.#refuseUnavailable(produce, topic, answer, found, metadata.image);
    } catch (error) {
      answer.errorCode = ErrorCodes.NOT_LEADER_OR_FOLLOWER;
      logger.warn("partition.open-failed", (error as Error).message, { topic: topic.name, partition: answer.index });
    }
  }

  /** Waits for room as long as the client waits for its answer. */
  async #reserve(produce: Produce, ready: readonly PendingAppend[], bytes: number, timeoutMs: number): Promise<Reservation | undefined> {
    const { storage, clock } = this.#services;
    const { closed } = produce.context.connection;
    const abort = new AbortController();
    const onClosed = () => abort.abort(closed.reason);
    closed.addEventListener("abort", onClosed, { once: true });
    if (closed.aborted) onClosed();
    const timer = clock.schedule(clampDeadline(timeoutMs), () => abort.abort());
    try {
      return await storage.reserve(bytes, ready.length, abort.signal);
    } catch (error) {
      const code = codeOfReserveFailure(error, abort.signal.aborted);
      for (const { answer } of ready) answer.errorCode = code;
      return undefined;
    } finally {
      timer.cancel();
      closed.removeEventListener("abort", onClosed);
    }
  }

  // --- answer ---

  #finish(produce: Produce): Promise<ProduceResponse | undefined> {
    if (produce.acks === 0) return this.#finishUnacknowledged(produce);
    this.#addEndpoints(produce);
    if (!produce.needsDurability) return Promise.resolve(produce.response);
    return this.#services.storage.whenDurable().then(
      () => produce.response,
      () => this.#answerMaybeLost(produce),
    );
  }

  #finishUnacknowledged(produce: Produce): Promise<undefined> {
    for (const topic of produce.response.responses) {
      for (const { index, errorCode } of topic.partitionResponses) {
        if (errorCode === ErrorCodes.NONE) continue;
        const message = `Closing the connection: error ${errorCode} for ${topic.name || topic.topicId}-${index} in a produce request with acks=0.`;
        return Promise.reject(new Trouble({ code: "produce-unacknowledged-error", message, retryable: true }));
      }
    }
    return Promise.resolve(undefined);
  }

  #addEndpoints(produce: Produce): void {
    if (produce.context.apiVersion < 10) return;
    const leaders: number[] = [];
    for (const topic of produce.response.responses) {
      for (const { currentLeader } of topic.partitionResponses) if (currentLeader.leaderId >= 0) leaders.push(currentLeader.leaderId);
    }
    if (leaders.length === 0) return;
    produce.response.nodeEndpoints = listNodeEndpoints(this.#services.metadata.image, leaders, produce.context.connection.listenerName);
  }

  /** Storage failed before the commit was durable: the batches may or may not be there after recovery. */
  #answerMaybeLost(produce: Produce): ProduceResponse {
    for (const { answer } of produce.appends) {
      if (answer.errorCode !== ErrorCodes.NONE) continue;
      answer.errorCode = ErrorCodes.REQUEST_TIMED_OUT;
      answer.baseOffset = -1n;
      answer.logAppendTimeMs = -1n;
      answer.logStartOffset = -1n;
    }
    return produce.response;
  }
}

/** As Kafka: the whole request. */
function refuseSeveralProducers(produce: Produce): Produce {
  for (const topic of produce.response.responses) {
    for (const answer of topic.partitionResponses) {
      answer.errorCode = ErrorCodes.INVALID_PRODUCER_ID_MAPPING;
      answer.errorMessage = "Transactional records contained more than one producer ID";
    }
  }
  return produce;
}

function placeOf({ topic, answer, batch }: PendingAppend): SequencePlace {
  const { producerId, producerEpoch, baseSequence } = batch;
  return { topicId: topic.topicId, partition: answer.index, producerId, producerEpoch, baseSequence };
}

function unknownTopicCode(apiVersion: number): number {
  return apiVersion >= 13 ? ErrorCodes.UNKNOWN_TOPIC_ID : ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION;
}

function codeOfReserveFailure(error: unknown, wasAborted: boolean): number {
  if (wasAborted) return ErrorCodes.REQUEST_TIMED_OUT;
  return troubleCode(error) === "batch-too-large" ? ErrorCodes.MESSAGE_TOO_LARGE : ErrorCodes.NOT_LEADER_OR_FOLLOWER;
}

function describeRefusal(answer: PartitionProduceResponse, refusal: BatchRefusal, logStartOffset: number): void {
  const { stage } = refusal;
  answer.errorCode = REFUSAL_CODES[refusal.reason];
  if (stage === "framing" || stage === "records") answer.errorMessage = refusal.message;
  if (stage === "log" || stage === "records") answer.logStartOffset = BigInt(logStartOffset);
  answer.recordErrors = refusal.recordErrors.map(({ batchIndex, message }) => ({ batchIndex, batchIndexErrorMessage: message }));
}

/** As Kafka, whose first look at a request ends at a transactional batch, or at bytes that are no batch. */
function lookAtBatches(request: ProduceRequest): "transactional" | "plain" | BatchRefusal {
  for (const topic of request.topicData) {
    for (const { records } of topic.partitionData) {
      const look = lookAtFirstBatch(records as Uint8Array | null);
      if (look !== "plain") return look;
    }
  }
  return "plain";
}

/** All whose transactions are asked about. */
function listAsked({ appends, refused }: Produce): readonly (PendingAppend | RefusedAppend)[] {
  return refused.length === 0 ? appends : [...appends, ...refused];
}

function isOfTransaction({ producerId, isTransactional }: BatchProducer): boolean {
  return isTransactional && producerId >= 0 && Number.isSafeInteger(producerId);
}
