/**
 * The transaction coordinator of this broker: which transactional ids are its own (by their partition of __transaction_state), a shard for each
 * partition in use, and the two clocks: transactions whose time is up are aborted, ids that nobody uses are forgotten.
 *
 * It is also the gate that a partition asks before a transaction's first batch (KIP-890). In this version the coordinator asked is always the one of this
 * broker; a cluster asks over the network (AddPartitionsToTxn v4 and above).
 *
 * Neighbours: `transaction-shard.ts` (the transactions), `coordinator/marker-writer.ts`, the api room (Kafka's requests), the group room (offsets in transactions).
 */
import type { Clock, TimerHandle } from "../base/clock.ts";
import { compilePattern } from "../base/linear-pattern.ts";
import type { Config } from "../config/config.ts";
import { LogRewrites } from "../coordinator/log-rewrite.ts";
import type { MarkerWriter } from "../coordinator/marker-writer.ts";
import type { ShardLog } from "../coordinator/shard-log.ts";
import { ShardSet } from "../coordinator/shard-set.ts";
import { TimerQueue } from "../coordinator/timer-queue.ts";
import type { ClusterMetadata, TopicView } from "../metadata/cluster-metadata.ts";
import type { Decompress } from "../partition/batch-validation.ts";
import type { PartitionRegistry } from "../partition/partition-registry.ts";
import type { TopicRulesCache } from "../partition/topic-rules.ts";
import type { TransactionGate, VerificationRequest } from "../partition/transaction-ports.ts";
import type { Crc32c } from "../protocol/record-batch.ts";
import type { Storage } from "../storage/storage.ts";
import type { Logger, Metrics } from "../telemetry/telemetry.ts";
import { TRANSACTION_STATES, type TransactionEntry, type TransactionState } from "./transaction-entry.ts";
import { transactionErrorCode } from "./transaction-errors.ts";
import { declareTransactionMetrics, type TransactionMetrics } from "./transaction-metrics.ts";
import { type ProducerAnswer, TransactionShard, type TransactionShardSettings } from "./transaction-shard.ts";
import type {
  AddPartitionsRequest,
  EndRequest,
  InitRequest,
  ListedTransaction,
  ListFilter,
  TransactionDescription,
  TransactionError,
  TransactionListing,
  TransactionVersion,
} from "./transaction-types.ts";

export const TRANSACTIONS_TOPIC = "__transaction_state";
const VERSION_FEATURE = "transaction.version";

export interface TransactionCoordinatorOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly metadata: ClusterMetadata;
  readonly storage: Storage;
  readonly partitions: PartitionRegistry;
  readonly topicRules: TopicRulesCache;
  readonly markers: MarkerWriter;
  readonly crc32c: Crc32c;
  readonly decompress: Decompress;
  /** Logs above it are written anew when their state is much smaller; default REWRITE_ABOVE_BYTES. */
  readonly rewriteAboveBytes?: number | undefined;
}

export class TransactionCoordinator implements TransactionGate {
  readonly #options: TransactionCoordinatorOptions;
  readonly #settings: TransactionShardSettings;
  readonly #metrics: TransactionMetrics;
  readonly #timers: TimerQueue;
  readonly #rewrites: LogRewrites;
  readonly #shards: ShardSet<TransactionShard>;
  #abortTimer: TimerHandle | undefined;
  #expiryTimer: TimerHandle | undefined;

  constructor(options: TransactionCoordinatorOptions) {
    const { config, clock, metrics, logger } = options;
    this.#options = options;
    this.#timers = new TimerQueue(clock);
    this.#settings = {
      loadBufferBytes: config.getNumber("transaction.state.log.load.buffer.size"),
      idExpirationMs: config.getNumber("transactional.id.expiration.ms"),
      answerTimeoutMs: config.getNumber("request.timeout.ms"),
    };
    this.#rewrites = new LogRewrites({ ...options, topicName: TRANSACTIONS_TOPIC });
    this.#shards = new ShardSet<TransactionShard>({
      ...options,
      topicName: TRANSACTIONS_TOPIC,
      describeTopic: () => this.#describeTopic(),
      createShard: (log, topic) => this.#createShard(log, topic),
      onLoaded: () => {},
      onUnloaded: ({ partition, count }, reason) =>
        logger.warn("transaction.unloaded", `the transactions of a partition are given up: ${reason}`, {
          partition,
          transactionalIds: count,
        }),
      onOpenFailed: (partition, message) => logger.warn("transaction.open-failed", message, { partition }),
      onTopicNotCreated: (message) => logger.warn("transaction.topic-not-created", message, { topic: TRANSACTIONS_TOPIC }),
    });
    this.#metrics = declareTransactionMetrics(metrics, {
      countTransactions: (state) => this.#countTransactions(state),
      countLoading: () => this.#countLoading(),
    });
    this.#scheduleAborts();
    this.#scheduleExpiry();
  }

  /** As Kafka creates it; what Weir gives no meaning is answered all the same. */
  #describeTopic() {
    const { config } = this.#options;
    return {
      name: TRANSACTIONS_TOPIC,
      partitionCount: config.getNumber("transaction.state.log.num.partitions"),
      replicationFactor: config.getNumber("transaction.state.log.replication.factor"),
      configs: new Map([
        ["unclean.leader.election.enable", "false"],
        ["compression.type", "uncompressed"],
        ["cleanup.policy", "compact"],
        ["min.insync.replicas", config.get("transaction.state.log.min.isr")],
        ["segment.bytes", config.get("transaction.state.log.segment.bytes")],
      ]),
    };
  }

  #createShard(log: ShardLog, topic: TopicView): TransactionShard {
    const { topicRules, metadata, config } = this.#options;
    return new TransactionShard(
      {
        ...this.#options,
        partition: log.log.partition,
        settings: this.#settings,
        timers: this.#timers,
        metrics: this.#metrics,
        rewrites: this.#rewrites,
        maxBatchBytes: () => topicRules.get(topic).maxMessageBytes,
        serverVersion: () => this.#serverVersion(),
        allocateProducerId: () => metadata.allocateProducerId(config.getNumber("request.timeout.ms")),
      },
      log,
    );
  }

  #serverVersion(): TransactionVersion {
    const level = this.#options.metadata.image.getFinalizedFeatures().get(VERSION_FEATURE) ?? 0;
    return level >= 2 ? 2 : level === 1 ? 1 : 0;
  }

  // --- life ---

  /** Node id of the transactional id's coordinator. Creates the topic when it is not there yet. */
  findCoordinator(transactionalId: string): Promise<number | "not-available"> {
    return this.#shards.findOwner(transactionalId);
  }

  loadOwned(): void {
    this.#shards.loadOwned();
  }

  #scheduleAborts(): void {
    const { clock, config } = this.#options;
    this.#abortTimer = clock.schedule(config.getNumber("transaction.abort.timed.out.transaction.cleanup.interval.ms"), () => {
      for (const shard of this.#shards.all()) if (shard.state === "active") void shard.abortTimedOut();
      this.#scheduleAborts();
    });
  }

  #scheduleExpiry(): void {
    const { clock, config } = this.#options;
    this.#expiryTimer = clock.schedule(config.getNumber("transaction.remove.expired.transaction.cleanup.interval.ms"), () => {
      for (const shard of this.#shards.all()) if (shard.state === "active") shard.expire();
      this.#scheduleExpiry();
    });
  }

  /** Who waits is told to look for another coordinator; later requests are refused. */
  close(): void {
    if (this.#shards.isClosed) return;
    this.#abortTimer?.cancel();
    this.#expiryTimer?.cancel();
    this.#shards.close();
    this.#timers.close();
  }

  // --- requests ---

  async initProducerId(request: InitRequest): Promise<ProducerAnswer> {
    const { config } = this.#options;
    const { transactionalId, timeoutMs, enableTwoPhaseCommit } = request;
    if (transactionalId === "") return "invalid-request";
    if (enableTwoPhaseCommit && !config.getBoolean("transaction.two.phase.commit.enable")) return "two-phase-commit-refused";
    if (request.keepPreparedTransaction) return "keep-prepared-unsupported";
    const isInRange = timeoutMs > 0 && timeoutMs <= config.getNumber("transaction.max.timeout.ms");
    if (!enableTwoPhaseCommit && !isInRange) return "invalid-timeout";
    const shard = await this.#shards.shardOf(transactionalId);
    return typeof shard === "string" ? shard : shard.init(request);
  }

  async addPartitions(request: AddPartitionsRequest): Promise<TransactionError | undefined> {
    if (request.transactionalId === "") return "invalid-request";
    const shard = await this.#shards.shardOf(request.transactionalId);
    return typeof shard === "string" ? shard : shard.addPartitions(request);
  }

  /** Per partition, or for all of them: undefined when it is in the producer's transaction. */
  async verifyPartitions(request: AddPartitionsRequest): Promise<TransactionError | readonly (TransactionError | undefined)[]> {
    if (request.transactionalId === "") return "invalid-request";
    const shard = await this.#shards.shardOf(request.transactionalId);
    return typeof shard === "string" ? shard : shard.verify(request);
  }

  /** What the producer goes on under; -1 twice before version 2. */
  async end(request: EndRequest): Promise<ProducerAnswer> {
    if (request.transactionalId === "") return "invalid-request";
    const shard = await this.#shards.shardOf(request.transactionalId);
    return typeof shard === "string" ? shard : shard.end(request);
  }

  tryAwaitChange(transactionalId: string): Promise<void> | undefined {
    for (const shard of this.#shards.all()) if (shard.get(transactionalId) !== undefined) return shard.tryAwaitChange(transactionalId);
    return undefined;
  }

  async verify({ mode, partitions, ...producer }: VerificationRequest): Promise<readonly number[]> {
    const request: AddPartitionsRequest = {
      ...producer,
      partitions: partitions.map(({ topicName, partition }) => ({ topic: topicName, partition })),
      transactionVersion: 2,
    };
    const result = mode === "add" ? await this.addPartitions(request) : await this.verifyPartitions(request);
    return partitions.map((_, index) => transactionErrorCode(Array.isArray(result) ? result[index] : result));
  }

  // --- administration ---

  async describe(transactionalId: string): Promise<TransactionDescription | TransactionError> {
    if (this.#shards.isClosed) return "not-available";
    if (transactionalId === "") return "invalid-request";
    const shard = await this.#shards.shardOf(transactionalId);
    if (typeof shard === "string") return shard;
    const entry = shard.get(transactionalId);
    if (entry === undefined) return "unknown-transactional-id";
    const { producerId, producerEpoch, state, timeoutMs, startTimestampMs, partitions } = entry.fields;
    return { transactionalId, producerId, producerEpoch, state, timeoutMs, startTimestampMs, partitions: [...partitions.values()] };
  }

  /** All transactional ids of this broker that pass the filter. */
  list(filter: ListFilter): TransactionListing | TransactionError {
    if (this.#shards.isClosed) return "not-available";
    if (this.#countLoading() > 0) return "loading";
    const includes = makeFilter(filter, this.#options.clock.wallMs());
    if (includes === undefined) return "invalid-pattern";
    const transactions: ListedTransaction[] = [];
    for (const shard of this.#shards.all()) {
      for (const entry of shard.entries()) {
        const { transactionalId } = entry;
        const { producerId, state } = entry.fields;
        if (includes(entry)) transactions.push({ transactionalId, producerId, state });
      }
    }
    return { unknownStateNames: filter.stateNames.filter((name) => !isState(name)), transactions };
  }

  #countTransactions(state: TransactionState): number {
    let count = 0;
    for (const shard of this.#shards.all()) for (const { fields } of shard.entries()) if (fields.state === state) count += 1;
    return count;
  }

  #countLoading(): number {
    let count = this.#shards.openingCount;
    for (const shard of this.#shards.all()) if (shard.state === "loading") count += 1;
    return count;
  }
}

function isState(name: string): boolean {
  return TRANSACTION_STATES.some((state) => state === name);
}

/** Undefined: the pattern is no regular expression of RE2's, or too large a one. */
function makeFilter(filter: ListFilter, nowMs: number): ((entry: TransactionEntry) => boolean) | undefined {
  const { producerIds, stateNames, durationMs, pattern } = filter;
  const compiled = pattern === undefined || pattern === "" ? undefined : compilePattern(pattern);
  if (compiled?.kind === "invalid-pattern") return undefined;
  return ({ transactionalId, fields }) => {
    if (producerIds.size > 0 && !producerIds.has(fields.producerId)) return false;
    if (stateNames.length > 0 && !stateNames.includes(fields.state)) return false;
    if (durationMs >= 0 && nowMs - fields.startTimestampMs <= durationMs) return false;
    return compiled === undefined || compiled.matches(transactionalId);
  };
}
