/**
 * The group coordinator of this broker: which groups are its own (by their partition of __consumer_offsets), a shard for each partition in use, opened on
 * first need and at the start where there is data. Partitions nobody uses are never opened.
 *
 * Neighbours: `coordinator-shard.ts` (the groups), the api room (Kafka's requests), the metadata room (who owns a partition; the topic is created there).
 */
import type { Clock, TimerHandle } from "../base/clock.ts";
import { type Random, randomUuidBytes } from "../base/random.ts";
import type { Config } from "../config/config.ts";
import { LogRewrites } from "../coordinator/log-rewrite.ts";
import type { MarkerResult } from "../coordinator/marker-writer.ts";
import type { ShardLog } from "../coordinator/shard-log.ts";
import { ShardSet } from "../coordinator/shard-set.ts";
import { TimerQueue } from "../coordinator/timer-queue.ts";
import type { TopicPartition } from "../coordinator/topic-partition.ts";
import type { ClusterMetadata, NewTopic, TopicView } from "../metadata/cluster-metadata.ts";
import type { Decompress } from "../partition/batch-validation.ts";
import type { PartitionRegistry } from "../partition/partition-registry.ts";
import type { TopicRulesCache } from "../partition/topic-rules.ts";
import type { TransactionGate, TransactionMarker } from "../partition/transaction-ports.ts";
import { ZERO_UUID } from "../protocol/reader.ts";
import type { Crc32c } from "../protocol/record-batch.ts";
import type { Storage } from "../storage/storage.ts";
import type { Logger, Metrics } from "../telemetry/telemetry.ts";
import type { AnyGroup } from "./any-group.ts";
import type { ConsumerGroupDescription, ConsumerHeartbeat, HeartbeatAnswer, Refusal } from "./consumer/consumer-group-types.ts";
import { PatternMatches } from "./consumer/pattern-matches.ts";
import { TopicWatch } from "./consumer/topic-watch.ts";
import { CoordinatorShard } from "./coordinator-shard.ts";
import { describeGroup } from "./describe-group.ts";
import { declareGroupMetrics, type GroupMetrics } from "./group-metrics.ts";
import {
  type CommitRequest,
  type CommittedOffset,
  type GroupDescription,
  type GroupError,
  type GroupType,
  type JoinAnswer,
  type JoinRequest,
  type LeaveResult,
  type ListedGroup,
  type MemberIdentity,
  type OffsetFetcher,
  refuseJoin,
  refuseSync,
  type SyncAnswer,
  type SyncRequest,
  type TransactionalCommitRequest,
} from "./group-types.ts";
import { readLags } from "./offsets/group-lag.ts";
import type { TransactionalCommitResult } from "./offsets/transactional-commits.ts";
import type { ShardSettings } from "./shard-options.ts";

export const GROUPS_TOPIC = "__consumer_offsets";

export interface GroupCoordinatorOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly metadata: ClusterMetadata;
  readonly storage: Storage;
  readonly partitions: PartitionRegistry;
  readonly topicRules: TopicRulesCache;
  readonly crc32c: Crc32c;
  readonly decompress: Decompress;
  /** Asked before offsets of a transaction are taken. */
  readonly gate: TransactionGate;
  /** Logs above it are written anew when their state is much smaller; default REWRITE_ABOVE_BYTES. */
  readonly rewriteAboveBytes?: number | undefined;
}

const MINUTE_MS = 60_000;

export interface TopicOffsetsWanted {
  readonly topic: string;
  /** The topic's id now, Kafka's zero UUID when it is not known. */
  readonly topicId: string;
  readonly partitions: readonly number[];
}

export interface TopicOffsets {
  readonly topic: string;
  readonly partitions: readonly FetchedOffset[];
}

export interface FetchedOffset {
  readonly partition: number;
  readonly committed: CommittedOffset | undefined;
  /** A transaction is about to change it, and only stable offsets were asked for (KIP-447). */
  readonly isUnstable: boolean;
}

export class GroupCoordinator {
  readonly #options: GroupCoordinatorOptions;
  readonly #settings: ShardSettings;
  readonly #metrics: GroupMetrics;
  readonly #timers: TimerQueue;
  readonly #rewrites: LogRewrites;
  readonly #shards: ShardSet<CoordinatorShard>;
  readonly #topicWatch: TopicWatch;
  readonly #patterns: PatternMatches;
  #expiryTimer: TimerHandle | undefined;

  constructor(options: GroupCoordinatorOptions) {
    const { config, clock, logger, metadata, metrics } = options;
    this.#options = options;
    this.#timers = new TimerQueue(clock);
    this.#topicWatch = new TopicWatch(metadata.image);
    this.#patterns = new PatternMatches(options.clock, this.#topicWatch);
    this.#settings = {
      initialRebalanceDelayMs: config.getNumber("group.initial.rebalance.delay.ms"),
      maxSize: config.getNumber("group.max.size"),
      offsetMetadataMaxBytes: config.getNumber("offset.metadata.max.bytes"),
      loadBufferBytes: config.getNumber("offsets.load.buffer.size"),
      offsetsRetentionMs: config.getNumber("offsets.retention.minutes") * MINUTE_MS,
      commitTimeoutMs: config.getNumber("offsets.commit.timeout.ms"),
    };
    this.#rewrites = new LogRewrites({ ...options, topicName: GROUPS_TOPIC });
    this.#shards = new ShardSet<CoordinatorShard>({
      ...options,
      topicName: GROUPS_TOPIC,
      describeTopic: () => this.#describeTopic(),
      createShard: (log, topic) => this.#createShard(log, topic),
      onLoaded: (shard) => this.#removeOffsetsOfGoneTopics(shard),
      onUnloaded: ({ partition, groupCount }, reason) =>
        logger.warn("group.unloaded", `the groups of a partition are given up: ${reason}`, { partition, groups: groupCount }),
      onOpenFailed: (partition, message) => logger.warn("group.open-failed", message, { partition }),
      onTopicNotCreated: (message) => logger.warn("group.topic-not-created", message, { topic: GROUPS_TOPIC }),
    });
    this.#metrics = declareGroupMetrics(metrics, {
      countGroups: (type, state) => this.#sum((shard) => countGroups(shard, type, state)),
      countMembers: () => this.#sum(countMembers),
      countOffsets: () => this.#sum((shard) => shard.offsets.count),
      countPending: () => this.#sum((shard) => shard.pending.count),
      countLoading: () => this.#shards.openingCount + this.#sum((shard) => (shard.state === "loading" ? 1 : 0)),
      readLags: () => readLags(this.#shards.all(), options.metadata, options.partitions),
    });
    metadata.onChange((topicIds) => this.#onMetadataChange(topicIds));
    this.#scheduleExpiry();
  }

  // --- whose group ---

  /** Node id of the group's coordinator. Creates the topic when it is not there yet. */
  findCoordinator(groupId: string): Promise<number | GroupError> {
    return this.#shards.findOwner(groupId);
  }

  /** The partition of __consumer_offsets that a group's offsets lie in; undefined while there is no such topic. */
  partitionOf(groupId: string): number | undefined {
    return this.#shards.partitionOf(groupId);
  }

  #shardOf(groupId: string): Promise<CoordinatorShard | GroupError> {
    return this.#shards.shardOf(groupId);
  }

  #describeTopic(): NewTopic {
    const { config } = this.#options;
    return {
      name: GROUPS_TOPIC,
      partitionCount: config.getNumber("offsets.topic.num.partitions"),
      replicationFactor: config.getNumber("offsets.topic.replication.factor"),
      configs: new Map([
        ["cleanup.policy", "compact"],
        ["compression.type", "producer"],
        ["segment.bytes", config.get("offsets.topic.segment.bytes")],
      ]),
    };
  }

  #createShard(log: ShardLog, topic: TopicView): CoordinatorShard {
    const { topicRules, metadata } = this.#options;
    return new CoordinatorShard(
      {
        ...this.#options,
        partition: log.log.partition,
        topicName: topic.name,
        topicId: topic.topicId,
        settings: this.#settings,
        timers: this.#timers,
        metrics: this.#metrics,
        rewrites: this.#rewrites,
        maxBatchBytes: () => topicRules.get(topic).maxMessageBytes,
        image: () => metadata.image,
        topicsVersion: () => this.#topicWatch.version,
        patterns: this.#patterns,
      },
      log,
    );
  }

  /** Reads the groups of all partitions that are this broker's and hold anything; requests are told to wait meanwhile. */
  loadOwned(): void {
    this.#shards.loadOwned();
  }

  #onMetadataChange(topicIds: ReadonlySet<string>): void {
    if (this.#shards.isClosed) return;
    const { image } = this.#options.metadata;
    if (this.#topicWatch.note(image, topicIds)) for (const shard of this.#shards.all()) shard.noteTopicsChanged();
    const isAnyGone = topicIds.has("*") || [...topicIds].some((topicId) => image.getTopicById(topicId) === undefined);
    if (!isAnyGone) return;
    for (const shard of this.#shards.all()) if (shard.state === "active") this.#removeOffsetsOfGoneTopics(shard);
  }

  /** Topics that are deleted, also those of the same name that came after. */
  #removeOffsetsOfGoneTopics(shard: CoordinatorShard): void {
    const { metadata } = this.#options;
    void shard.removeOffsetsOf((name, topicId) => {
      const topic = metadata.image.getTopic(name);
      return topic === undefined || (topicId !== ZERO_UUID && topic.topicId !== topicId);
    });
  }

  #scheduleExpiry(): void {
    const { clock, config } = this.#options;
    this.#expiryTimer = clock.schedule(config.getNumber("offsets.retention.check.interval.ms"), () => {
      for (const shard of this.#shards.all()) if (shard.state === "active") void shard.expire();
      this.#scheduleExpiry();
    });
  }

  /** Who waits is told to look for another coordinator; later requests are refused. */
  close(): void {
    if (this.#shards.isClosed) return;
    this.#expiryTimer?.cancel();
    this.#shards.close();
    this.#timers.close();
  }

  // --- membership ---

  async join(request: JoinRequest): Promise<JoinAnswer> {
    const shard = await this.#shardOf(request.groupId);
    return shard instanceof CoordinatorShard ? shard.join(request) : refuseJoin(request.memberId, shard);
  }

  /** For a member of the consumer protocol that brings none (ConsumerGroupHeartbeat v0): a UUID as Kafka writes it. */
  newMemberId(): string {
    return Buffer.from(randomUuidBytes(this.#options.random)).toString("base64url");
  }

  /** A heartbeat of the consumer protocol (KIP-848). */
  async heartbeatConsumer(request: ConsumerHeartbeat): Promise<HeartbeatAnswer | Refusal> {
    const shard = await this.#shardOf(request.groupId);
    return shard instanceof CoordinatorShard ? shard.heartbeatConsumer(request) : { error: shard, message: "" };
  }

  async sync(request: SyncRequest): Promise<SyncAnswer> {
    const shard = await this.#shardOf(request.groupId);
    return shard instanceof CoordinatorShard ? shard.sync(request) : refuseSync(shard);
  }

  async heartbeat(groupId: string, identity: MemberIdentity, generation: number): Promise<GroupError | undefined> {
    const shard = await this.#shardOf(groupId);
    return shard instanceof CoordinatorShard ? shard.heartbeat(groupId, identity, generation) : shard;
  }

  async leave(groupId: string, identities: readonly MemberIdentity[]): Promise<GroupError | readonly LeaveResult[]> {
    const shard = await this.#shardOf(groupId);
    return shard instanceof CoordinatorShard ? shard.leave(groupId, identities) : shard;
  }

  // --- offsets ---

  /** Per offset: undefined when it is durable. `isNewClient`: knows "group-not-found" (OffsetCommit v9). */
  async commit(request: CommitRequest, isNewClient: boolean): Promise<GroupError | readonly (GroupError | undefined)[]> {
    const shard = await this.#shardOf(request.groupId);
    return shard instanceof CoordinatorShard ? shard.commit(request, isNewClient) : shard;
  }

  /**
   * Durable offsets of the partitions wanted, or of all that the group has committed. `requireStable`: KIP-447. `fetcher`: undefined when the client does not
   * say who it is.
   */
  async fetch(
    groupId: string,
    wanted: readonly TopicOffsetsWanted[] | undefined,
    requireStable: boolean,
    fetcher?: OffsetFetcher,
  ): Promise<GroupError | readonly TopicOffsets[]> {
    const shard = await this.#shardOf(groupId);
    if (!(shard instanceof CoordinatorShard)) return shard;
    const refusal = shard.findFetchError(groupId, fetcher);
    if (refusal !== undefined) return refusal;
    const found =
      wanted === undefined
        ? allOffsets(shard, groupId, requireStable)
        : wanted.map((topic) => pickOffsets(shard, groupId, topic, requireStable));
    return (await shard.whenDurable()) ?? found;
  }

  /** Offsets that count when the producer's transaction commits; answered when durable. */
  async commitTransactional(request: TransactionalCommitRequest): Promise<TransactionalCommitResult> {
    const shard = await this.#shardOf(request.groupId);
    return shard instanceof CoordinatorShard ? shard.commitTransactional(request) : shard;
  }

  /** The end of a transaction in a partition of __consumer_offsets. Rejects with a Trouble. */
  async writeMarker(partition: number, marker: TransactionMarker): Promise<MarkerResult> {
    const shard = await this.#shards.shardAt(partition);
    return shard instanceof CoordinatorShard ? shard.writeMarker(marker) : "not-owner";
  }

  async deleteOffsets(groupId: string, partitions: readonly TopicPartition[]): Promise<GroupError | readonly (GroupError | undefined)[]> {
    const shard = await this.#shardOf(groupId);
    return shard instanceof CoordinatorShard ? shard.deleteOffsets(groupId, partitions) : shard;
  }

  // --- administration ---

  async deleteGroup(groupId: string): Promise<GroupError | undefined> {
    const shard = await this.#shardOf(groupId);
    return shard instanceof CoordinatorShard ? shard.deleteGroup(groupId) : shard;
  }

  /** A classic group. */
  async describe(groupId: string): Promise<GroupDescription | GroupError | "other-type"> {
    const shard = await this.#shardOf(groupId);
    if (!(shard instanceof CoordinatorShard)) return shard;
    const group = shard.getGroup(groupId);
    if (group === undefined) return "group-not-found";
    return group.kind === "classic" ? describeGroup(group) : "other-type";
  }

  /** A group of the consumer protocol; the answer leaves when all that it tells is durable. */
  async describeConsumer(groupId: string): Promise<ConsumerGroupDescription | GroupError | "other-type"> {
    const shard = await this.#shardOf(groupId);
    if (!(shard instanceof CoordinatorShard)) return shard;
    const group = shard.getGroup(groupId);
    if (group === undefined) return "group-not-found";
    if (group.kind !== "consumer") return "other-type";
    const described = group.describe(shard.defaultAssignor);
    return (await shard.whenDurable()) ?? described;
  }

  /** All groups of this broker. */
  list(): readonly ListedGroup[] | GroupError {
    if (this.#shards.isClosed) return "not-available";
    if (this.#shards.openingCount > 0) return "loading";
    const listed: ListedGroup[] = [];
    for (const shard of this.#shards.all()) {
      if (shard.state === "loading") return "loading";
      for (const group of shard.groups()) listed.push(listGroup(group));
    }
    return listed;
  }

  #sum(count: (shard: CoordinatorShard) => number): number {
    let sum = 0;
    for (const shard of this.#shards.all()) sum += count(shard);
    return sum;
  }
}

function listGroup(group: AnyGroup): ListedGroup {
  const { groupId, kind, state } = group;
  return { groupId, type: kind, protocolType: group.kind === "consumer" ? "consumer" : (group.protocolType ?? ""), state };
}

function countGroups(shard: CoordinatorShard, type: GroupType, state: string): number {
  let count = 0;
  for (const group of shard.groups()) if (group.kind === type && group.state === state) count += 1;
  return count;
}

function countMembers(shard: CoordinatorShard): number {
  let count = 0;
  for (const group of shard.groups()) count += group.kind === "consumer" ? group.size : group.roster.size;
  return count;
}

function allOffsets(shard: CoordinatorShard, groupId: string, requireStable: boolean): TopicOffsets[] {
  return Array.from(shard.offsets.ofGroup(groupId), ([topic, partitions]) => ({
    topic,
    partitions: Array.from(partitions, ([partition, committed]) => {
      const isUnstable = requireStable && shard.pending.has(groupId, { topic, partition });
      return { partition, committed: isUnstable ? undefined : committed, isUnstable };
    }),
  }));
}

function pickOffsets(
  shard: CoordinatorShard,
  groupId: string,
  { topic, topicId, partitions }: TopicOffsetsWanted,
  requireStable: boolean,
): TopicOffsets {
  return {
    topic,
    partitions: partitions.map((partition) => {
      const isUnstable = requireStable && shard.pending.has(groupId, { topic, partition });
      const committed = shard.offsets.get(groupId, { topic, partition });
      const isOfAnother =
        committed !== undefined && topicId !== ZERO_UUID && committed.topicId !== ZERO_UUID && committed.topicId !== topicId;
      return { partition, committed: isOfAnother || isUnstable ? undefined : committed, isUnstable };
    }),
  };
}
