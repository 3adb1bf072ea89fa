/**
 * The coordinator of the transactional ids in one partition of __transaction_state: their state in memory, rebuilt from the log at the load, and every
 * change of it on the log before it counts.
 *
 * The end of a transaction: PrepareX is durable (the decision: from here on it is never taken back) -> the client is answered -> every partition has
 * its marker, durably -> CompleteX is durable. After a crash in between, the load finds PrepareX and writes the markers again; a partition that
 * had its marker takes another one as the end of nothing.
 *
 * Invariants
 * - State = what the records in the log say. A change is made in memory when it is durable, and until then nothing else changes the id.
 * - A load ends at the log end as it was when it began (case M18).
 * - When an append fails, or the partition goes away, the whole shard ends: who waits is told "not-coordinator", and the next load reads the log.
 *
 * Neighbours: `coordinator/shard-log.ts` (the log), `transaction-rules.ts` (the decisions), `coordinator/marker-writer.ts`, `transaction-coordinator.ts`.
 */
import type { Clock } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import { loadToEnd } from "../coordinator/load-to-end.ts";
import { LogRewrite, type LogRewrites } from "../coordinator/log-rewrite.ts";
import type { MarkerWriter } from "../coordinator/marker-writer.ts";
import type { ShardLog } from "../coordinator/shard-log.ts";
import type { LogShard, ShardState } from "../coordinator/shard-set.ts";
import type { TimerQueue } from "../coordinator/timer-queue.ts";
import type { TopicPartition } from "../coordinator/topic-partition.ts";
import type { Decompress } from "../partition/batch-validation.ts";
import type { Crc32c } from "../protocol/record-batch.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import {
  NO_EPOCH,
  NO_PRODUCER_ID,
  NO_TIMEOUT_MS,
  newTransactionFields,
  TransactionEntry,
  type TransactionFields,
} from "./transaction-entry.ts";
import type { TransactionMetrics } from "./transaction-metrics.ts";
import {
  buildTransactionBatch,
  encodeTombstone,
  encodeTransaction,
  recordBytes,
  replayTransactions,
  type TransactionRecord,
} from "./transaction-records.ts";
import { type Decision, decideAdd, decideEnd, decideFence, decideInit, type RuleContext, verifyPartitions } from "./transaction-rules.ts";
import { TransactionStateRecords } from "./transaction-state-records.ts";
import type {
  AddPartitionsRequest,
  EndRequest,
  InitRequest,
  ProducerIdentity,
  TransactionError,
  TransactionVersion,
} from "./transaction-types.ts";

export interface TransactionShardSettings {
  readonly loadBufferBytes: number;
  readonly idExpirationMs: number;
  /** How long an answer waits for what it needs to be durable. */
  readonly answerTimeoutMs: number;
}

export interface TransactionShardOptions {
  readonly partition: number;
  readonly settings: TransactionShardSettings;
  readonly clock: Clock;
  readonly timers: TimerQueue;
  readonly logger: Logger;
  readonly metrics: TransactionMetrics;
  readonly markers: MarkerWriter;
  readonly crc32c: Crc32c;
  readonly decompress: Decompress;
  readonly rewrites: LogRewrites;
  /** Largest batch that the topic takes now. */
  maxBatchBytes(): number;
  /** transaction.version of the cluster now. */
  serverVersion(): TransactionVersion;
  /** A fresh producer id; rejects with a Trouble. */
  allocateProducerId(): Promise<number>;
}

export type ProducerAnswer = ProducerIdentity | TransactionError;

/** Between two tries to write the markers that could not be written. */
const MARKER_RETRY_MS = 100;

export class TransactionShard implements LogShard {
  readonly partition: number;
  readonly #entries = new Map<string, TransactionEntry>();
  readonly #options: TransactionShardOptions;
  readonly #log: ShardLog;
  readonly #rewrite: LogRewrite<TransactionRecord>;
  /** Ids of which a record was given to the log that is not durable yet. */
  readonly #onTheirWay = new Set<string>();
  #state: ShardState = "loading";
  /** Requests that wait for something durable: told "not-coordinator" when the shard ends. */
  readonly #waiting = new Set<(error: TransactionError) => void>();
  /** Of ids whose change or end somebody waits for. */
  readonly #awaited = new Map<string, PromiseWithResolvers<void>>();
  /** Markers that are being written stop with the shard. */
  readonly #closing = new AbortController();

  constructor(options: TransactionShardOptions, log: ShardLog) {
    this.partition = options.partition;
    this.#options = options;
    this.#log = log;
    const state = { entries: this.#entries, onTheirWay: this.#onTheirWay };
    this.#rewrite = new LogRewrite(options.rewrites, log, new TransactionStateRecords(state, options));
  }

  get state(): ShardState {
    return this.#state;
  }

  get isServing(): boolean {
    return this.#log.log.isServing;
  }

  get count(): number {
    return this.#entries.size;
  }

  entries(): Iterable<TransactionEntry> {
    return this.#entries.values();
  }

  get(transactionalId: string): TransactionEntry | undefined {
    return this.#entries.get(transactionalId);
  }

  // --- load ---

  async load(): Promise<void> {
    const { clock, logger, settings, decompress, partition } = this.#options;
    const startedMs = clock.monotonicMs();
    const endOffset = await loadToEnd({
      log: this.#log,
      clock,
      bufferBytes: settings.loadBufferBytes,
      isClosed: () => this.#isClosed(),
      replay: (bytes, fromOffset) =>
        replayTransactions(bytes, fromOffset, decompress, {
          onTransaction: (id, fields) => this.#replay(id, fields),
          onUnknown: (recordType) =>
            logger.warn("transaction.record-ignored", "a record of a kind that this version does not know", { partition, recordType }),
        }),
      onProblem: ({ isMalformed, message, offset }) =>
        logger.warn(isMalformed ? "transaction.load-failed" : "transaction.load-waits", message, {
          partition,
          offset,
          endOffset: this.#log.log.logEndOffset,
        }),
    });
    if (this.#isClosed()) return;
    this.#state = "active";
    let unfinished = 0;
    for (const entry of this.#entries.values()) {
      if (entry.fields.state !== "PrepareCommit" && entry.fields.state !== "PrepareAbort") continue;
      unfinished += 1;
      void this.#finish(entry, entry.prepareComplete(clock.wallMs()));
    }
    this.#rewrite.onLoaded();
    if (endOffset === 0) return;
    const tookMs = Math.round(clock.monotonicMs() - startedMs);
    logger.info("transaction.loaded", "the transactions of a partition are loaded", {
      partition,
      transactionalIds: this.#entries.size,
      unfinished,
      endOffset,
      tookMs,
    });
  }

  #isClosed(): boolean {
    return this.#state === "closed";
  }

  #replay(transactionalId: string, fields: TransactionFields | undefined): void {
    if (fields === undefined) this.#entries.delete(transactionalId);
    else this.#entries.set(transactionalId, new TransactionEntry(transactionalId, fields));
  }

  // --- requests ---

  /** The producer id and epoch to work under, when they are durable. */
  async init(request: InitRequest): Promise<ProducerAnswer> {
    const { transactionalId, expected, enableTwoPhaseCommit } = request;
    const timeoutMs = enableTwoPhaseCommit ? NO_TIMEOUT_MS : request.timeoutMs;
    const serverVersion = this.#options.serverVersion();
    let created: TransactionEntry | undefined;
    const decided = await this.#decide((context) => {
      created = this.#entries.get(transactionalId);
      if (created === undefined) {
        if (context.freshProducerId === undefined) return { kind: "needs-producer-id" };
        created = new TransactionEntry(transactionalId, newTransactionFields(context.freshProducerId, timeoutMs, context.nowMs));
        this.#entries.set(transactionalId, created);
      }
      return decideInit(created, { timeoutMs, expected, serverVersion }, context);
    });
    if (typeof decided === "string") return decided;
    if (decided.kind === "refused") return decided.error;
    const entry = created as TransactionEntry;
    if (decided.kind === "abort-first") {
      const failure = await this.#end(entry, decided.next);
      return typeof failure === "string" ? failure : "concurrent-transactions";
    }
    if (decided.kind !== "append") return "invalid-transaction-state";
    const failure = await this.#store(entry, decided.next);
    return failure ?? { producerId: decided.next.producerId, producerEpoch: decided.next.producerEpoch };
  }

  /** Resolves with undefined when the partitions are in the transaction, durably. */
  async addPartitions(request: AddPartitionsRequest): Promise<TransactionError | undefined> {
    const entry = this.#entries.get(request.transactionalId);
    if (entry === undefined) return "invalid-producer-id-mapping";
    const decided = decideAdd(entry, request, { nowMs: this.#options.clock.wallMs(), freshProducerId: undefined });
    if (decided.kind === "refused") return decided.error;
    return decided.kind === "append" ? this.#store(entry, decided.next) : undefined;
  }

  /** Per partition, or for all: are they in the producer's transaction? */
  verify(request: AddPartitionsRequest): TransactionError | readonly (TransactionError | undefined)[] {
    const entry = this.#entries.get(request.transactionalId);
    return entry === undefined ? "invalid-producer-id-mapping" : verifyPartitions(entry, request);
  }

  /** Resolves when the decision is durable, with what the producer goes on under; ids are -1 before version 2. */
  async end(request: EndRequest): Promise<ProducerAnswer> {
    const isNew = request.transactionVersion === 2;
    const entry = this.#entries.get(request.transactionalId);
    if (entry === undefined) return "invalid-producer-id-mapping";
    const decided = await this.#decide((context) => decideEnd(entry, request, context));
    if (typeof decided === "string") return decided;
    if (decided.kind === "refused") return decided.error;
    if (decided.kind === "done") return isNew ? identityOf(entry.fields) : NOBODY;
    if (decided.kind !== "append") return "invalid-transaction-state";
    const ended = await this.#end(entry, decided.next);
    return isNew || typeof ended === "string" ? ended : NOBODY;
  }

  /** Decides, again when there is a fresh producer id that the first decision wanted. */
  async #decide(decide: (context: RuleContext) => Decision): Promise<Exclude<Decision, { kind: "needs-producer-id" }> | TransactionError> {
    const { clock, logger } = this.#options;
    let freshProducerId: number | undefined;
    for (;;) {
      const decided = decide({ nowMs: clock.wallMs(), freshProducerId });
      if (decided.kind !== "needs-producer-id") return decided;
      try {
        freshProducerId = await this.#options.allocateProducerId();
      } catch (error) {
        logger.warn("producer.id-unavailable", (error as Error).message);
        return "no-producer-id";
      }
      if (this.#isClosed()) return "not-coordinator";
    }
  }

  /** Resolves when the id's change is over, markers and all, or the shard ends; undefined when it has none. */
  tryAwaitChange(transactionalId: string): Promise<void> | undefined {
    if (this.#isClosed() || this.#entries.get(transactionalId)?.isPending !== true) return undefined;
    const awaited = this.#awaited.get(transactionalId) ?? Promise.withResolvers<void>();
    this.#awaited.set(transactionalId, awaited);
    return awaited.promise;
  }

  #tellIfIdle(entry: TransactionEntry): void {
    if (entry.isPending && this.#entries.get(entry.transactionalId) === entry) return;
    this.#awaited.get(entry.transactionalId)?.resolve();
    this.#awaited.delete(entry.transactionalId);
  }

  // --- the end of a transaction ---

  /** Stores PrepareX; resolves when it is durable. The markers are on their way then. */
  async #end(entry: TransactionEntry, next: TransactionFields): Promise<ProducerAnswer> {
    const { promise, resolve } = this.#wait<ProducerIdentity>();
    const failure = this.#append(entry, next, () => {
      const complete = entry.prepareComplete(this.#options.clock.wallMs());
      resolve(identityOf(complete));
      void this.#finish(entry, complete);
    });
    if (failure !== undefined) resolve(failure);
    return promise;
  }

  /** Writes the markers of what is decided, however long it takes, then CompleteX. Does not reject. */
  async #finish(entry: TransactionEntry, complete: TransactionFields): Promise<void> {
    const { clock, markers, metrics } = this.#options;
    const { producerId, producerEpoch, clientVersion, state } = entry.fields;
    const isCommit = state === "PrepareCommit";
    const coordinatorEpoch = this.#log.log.term;
    const marker = { producerId, producerEpoch, isCommit, coordinatorEpoch, transactionVersion: clientVersion };
    let left: readonly TopicPartition[] = [...entry.fields.partitions.values()];
    while (left.length > 0) {
      const results = await markers.write(marker, left, this.#closing.signal);
      if (this.#isClosed()) return;
      const refused = left.findIndex((_, index) => results[index] === "stale-epoch" || results[index] === "coordinator-fenced");
      if (refused >= 0) {
        this.#reportRefusal(entry, left[refused] as TopicPartition, results[refused] as string);
        return;
      }
      const done = left.filter((_, index) => results[index] === "written" || results[index] === "gone");
      metrics.markers.add(done.length);
      entry.removePartitions(done);
      left = left.filter((_, index) => results[index] !== "written" && results[index] !== "gone");
      if (left.length === 0) break;
      await clock.sleep(MARKER_RETRY_MS);
      if (this.#isClosed()) return;
    }
    const failure = this.#append(entry, complete, () => {
      (isCommit ? metrics.commits : metrics.aborts).add(1);
    });
    if (failure !== undefined)
      this.#options.logger.error("transaction.not-stored", "a transaction's end does not fit into one batch", {
        transactionalId: entry.transactionalId,
      });
  }

  /** As Kafka: somebody else ends this id's transactions now; the next load finds out who. Until then it stays as it is. */
  #reportRefusal(entry: TransactionEntry, { topic, partition }: TopicPartition, why: string): void {
    const { transactionalId, fields } = entry;
    const message = `the end of a transaction is refused (${why}): its producer or its coordinator has been replaced`;
    this.#options.logger.error("transaction.marker-refused", message, { transactionalId, producerId: fields.producerId, topic, partition });
  }

  // --- housekeeping ---

  /** Aborts what has been open for longer than its producer said. */
  async abortTimedOut(): Promise<void> {
    const { clock, logger, metrics } = this.#options;
    const nowMs = clock.wallMs();
    for (const entry of [...this.#entries.values()]) {
      if (!isTimedOut(entry, nowMs)) continue;
      const decided = await this.#decide((context) =>
        isTimedOut(entry, nowMs) ? decideFence(entry, this.#options.serverVersion(), context) : { kind: "done" },
      );
      if (this.#isClosed()) return;
      if (typeof decided === "string" || decided.kind !== "abort-first") continue;
      const { transactionalId, fields } = entry;
      const { producerId, producerEpoch, timeoutMs } = fields;
      metrics.timeouts.add(1);
      logger.info("transaction.timed-out", "a transaction is aborted: its time is up", {
        transactionalId,
        producerId,
        producerEpoch,
        timeoutMs,
      });
      void this.#end(entry, decided.next);
    }
  }

  /** Forgets ids that nobody has used for `transactional.id.expiration.ms`. */
  expire(): void {
    const { clock, settings, metrics, logger, partition } = this.#options;
    const latestMs = clock.wallMs() - settings.idExpirationMs;
    const expired = [...this.#entries.values()].filter((entry) => {
      const { state, lastUpdateTimestampMs } = entry.fields;
      const isIdle = state === "Empty" || state === "CompleteCommit" || state === "CompleteAbort";
      return isIdle && !entry.isPending && lastUpdateTimestampMs <= latestMs;
    });
    for (const entries of this.#inBatches(expired)) {
      for (const entry of entries) entry.prepareDead();
      const records = entries.map((entry) => encodeTombstone(entry.transactionalId));
      const done = (): void => {
        for (const entry of entries) {
          this.#onTheirWay.delete(entry.transactionalId);
          if (this.#entries.get(entry.transactionalId) === entry) this.#entries.delete(entry.transactionalId);
          this.#tellIfIdle(entry);
        }
        metrics.expired.add(entries.length);
      };
      if (this.#appendRecords(records, done) !== undefined) for (const entry of entries) entry.giveUp();
      else for (const { transactionalId } of entries) this.#onTheirWay.add(transactionalId);
    }
    if (expired.length > 0) {
      logger.info("transaction.ids-expired", "transactional ids that nobody uses are forgotten", {
        partition,
        transactionalIds: expired.length,
      });
    }
  }

  *#inBatches(entries: readonly TransactionEntry[]): Generator<TransactionEntry[]> {
    const maxBytes = this.#options.maxBatchBytes() / 2;
    let batch: TransactionEntry[] = [];
    let sizeBytes = 0;
    for (const entry of entries) {
      const bytes = recordBytes(encodeTombstone(entry.transactionalId));
      if (batch.length > 0 && sizeBytes + bytes > maxBytes) {
        yield batch;
        batch = [];
        sizeBytes = 0;
      }
      batch.push(entry);
      sizeBytes += bytes;
    }
    if (batch.length > 0) yield batch;
  }

  /** Nothing is answered after it but "not-coordinator". */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#log.close();
    this.#closing.abort(new Trouble({ code: "coordinator-closed", message: "the transaction coordinator was closed", retryable: true }));
    for (const fail of [...this.#waiting]) fail("not-coordinator");
    this.#waiting.clear();
    for (const { resolve } of this.#awaited.values()) resolve();
    this.#awaited.clear();
  }

  // --- appends ---

  /** Resolves with undefined when `next` is durable and so, or with why it is not. */
  #store(entry: TransactionEntry, next: TransactionFields): Promise<TransactionError | undefined> {
    const { promise, resolve } = this.#wait<undefined>();
    const failure = this.#append(entry, next, () => resolve(undefined));
    if (failure !== undefined) resolve(failure);
    return promise;
  }

  /** `done` runs when `next` is durable, and after the entry has become it. */
  #append(entry: TransactionEntry, next: TransactionFields, done: () => void): TransactionError | undefined {
    const record = encodeTransaction(entry.transactionalId, next, this.#options.serverVersion());
    const failure = this.#appendRecords([record], () => {
      this.#onTheirWay.delete(entry.transactionalId);
      entry.complete(next);
      done();
      this.#tellIfIdle(entry);
    });
    if (failure === undefined) this.#onTheirWay.add(entry.transactionalId);
    else {
      entry.giveUp();
      this.#tellIfIdle(entry);
    }
    return failure;
  }

  #appendRecords(records: readonly TransactionRecord[], done: () => void): TransactionError | undefined {
    const { clock, crc32c, maxBatchBytes } = this.#options;
    const batch = buildTransactionBatch(records, clock.wallMs(), maxBatchBytes(), crc32c);
    if (batch === undefined) return "record-too-large";
    this.#log.append([batch], done);
    return undefined;
  }

  /** A promise that the end of the shard, or `request.timeout.ms`, resolves with its error. */
  #wait<T>(): { readonly promise: Promise<T | TransactionError>; readonly resolve: (value: T | TransactionError) => void } {
    const { promise, resolve } = Promise.withResolvers<T | TransactionError>();
    if (this.#isClosed()) {
      resolve("not-coordinator");
      return { promise, resolve };
    }
    // The WAL may be full for long: the client asks again, and is told "concurrent-transactions" until the log has it.
    const deadline = this.#options.timers.create(() => settle("not-available"));
    const settle = (value: T | TransactionError): void => {
      deadline.cancel();
      this.#waiting.delete(settle);
      resolve(value);
    };
    deadline.start(this.#options.settings.answerTimeoutMs);
    this.#waiting.add(settle);
    return { promise, resolve: settle };
  }
}

const NOBODY: ProducerIdentity = { producerId: NO_PRODUCER_ID, producerEpoch: NO_EPOCH };

function identityOf({ producerId, producerEpoch }: TransactionFields): ProducerIdentity {
  return { producerId, producerEpoch };
}

function isTimedOut({ isPending, fields }: TransactionEntry, nowMs: number): boolean {
  const { state, timeoutMs, startTimestampMs } = fields;
  return !isPending && state === "Ongoing" && timeoutMs !== NO_TIMEOUT_MS && startTimestampMs + timeoutMs < nowMs;
}
