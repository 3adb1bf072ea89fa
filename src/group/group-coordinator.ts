/**
 * The group coordinator of this broker: which groups are its own (by their partition of __consumer_offsets), a shard for each partition in use, opened on
 * first need and at the start where there is data. Partitions nobody uses are never opened.
 *
 * Neighbours: `coordinator-shard.ts` (the groups), the api room (Kafka's requests), the metadata room (who owns a partition; the topic is created there).
 */
import type { Clock, TimerHandle } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { Config } from "../config/config.ts";
import type { ClusterMetadata, TopicView } from "../metadata/cluster-metadata.ts";
import type { Decompress } from "../partition/batch-validation.ts";
import { PartitionLog } from "../partition/partition-log.ts";
import type { PartitionRegistry } from "../partition/partition-registry.ts";
import type { TopicRulesCache } from "../partition/topic-rules.ts";
import { ZERO_UUID } from "../protocol/reader.ts";
import type { Crc32c } from "../protocol/record-batch.ts";
import type { Storage } from "../storage/storage.ts";
import type { Logger, Metrics } from "../telemetry/telemetry.ts";
import { CoordinatorShard, type ShardSettings } from "./coordinator-shard.ts";
import { describeGroup } from "./describe-group.ts";
import { readLags } from "./group-lag.ts";
import { declareGroupMetrics, type GroupMetrics } from "./group-metrics.ts";
import { partitionOfGroup } from "./group-partition.ts";
import {
  type CommitRequest,
  type CommittedOffset,
  type GroupDescription,
  type GroupError,
  type GroupState,
  type JoinAnswer,
  type JoinRequest,
  type LeaveResult,
  type ListedGroup,
  type MemberIdentity,
  refuseJoin,
  refuseSync,
  type SyncAnswer,
  type SyncRequest,
  type TopicPartition,
} from "./group-types.ts";
import { ShardLog } from "./shard-log.ts";
import { TimerQueue } from "./timer-queue.ts";

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
}

/** Partitions whose groups are read at the same time: each holds a buffer of `offsets.load.buffer.size`. */
const MAX_PARALLEL_LOADS = 4;
const MINUTE_MS = 60_000;

export interface TopicOffsetsWanted {
  readonly topic: string;
  /** The topic's id now, Kafka's zero UUID when it is not known. */
  readonly topicId: string;
  readonly partitions: readonly number[];
}

export interface TopicOffsets {
  readonly topic: string;
  readonly partitions: readonly { readonly partition: number; readonly committed: CommittedOffset | undefined }[];
}

export class GroupCoordinator {
  readonly #options: GroupCoordinatorOptions;
  readonly #settings: ShardSettings;
  readonly #metrics: GroupMetrics;
  readonly #timers: TimerQueue;
  readonly #shards = new Map<number, CoordinatorShard>();
  readonly #opening = new Map<number, Promise<CoordinatorShard | GroupError>>();
  readonly #loadQueue: (() => void)[] = [];
  #runningLoads = 0;
  #creation: Promise<TopicView | undefined> | undefined;
  #expiryTimer: TimerHandle | undefined;
  /** The broker serves: partitions that come to it later are read as they come. */
  #isServing = false;
  #isClosed = false;

  constructor(options: GroupCoordinatorOptions) {
    const { config, clock, metadata, metrics } = options;
    this.#options = options;
    this.#timers = new TimerQueue(clock);
    this.#settings = {
      initialRebalanceDelayMs: config.getNumber("group.initial.rebalance.delay.ms"),
      maxSize: config.getNumber("group.max.size"),
      offsetMetadataMaxBytes: config.getNumber("offset.metadata.max.bytes"),
      loadBufferBytes: config.getNumber("offsets.load.buffer.size"),
      offsetsRetentionMs: config.getNumber("offsets.retention.minutes") * MINUTE_MS,
      commitTimeoutMs: config.getNumber("offsets.commit.timeout.ms"),
    };
    this.#metrics = declareGroupMetrics(metrics, {
      countGroups: (state) => this.#sum((shard) => countGroups(shard, state)),
      countMembers: () => this.#sum(countMembers),
      countOffsets: () => this.#sum((shard) => shard.offsets.count),
      countLoading: () => this.#opening.size + this.#sum((shard) => (shard.state === "loading" ? 1 : 0)),
      readLags: () => readLags(this.#shards.values(), options.metadata, options.partitions),
    });
    metadata.onChange((topicIds) => this.#onMetadataChange(topicIds));
    this.#scheduleExpiry();
  }

  // --- whose group ---

  /** Node id of the group's coordinator. Creates the topic when it is not there yet. */
  async findCoordinator(groupId: string): Promise<number | GroupError> {
    const { metadata } = this.#options;
    const topic = metadata.image.getTopic(GROUPS_TOPIC) ?? (await this.#createTopic());
    if (topic === undefined) return "not-available";
    const owner = metadata.image.getPartition(topic.topicId, partitionOfGroup(groupId, topic.partitionCount))?.ownerNodeId ?? -1;
    return owner < 0 ? "not-available" : owner;
  }

  #createTopic(): Promise<TopicView | undefined> {
    this.#creation ??= this.#askForTopic().finally(() => {
      this.#creation = undefined;
    });
    return this.#creation;
  }

  async #askForTopic(): Promise<TopicView | undefined> {
    const { config, metadata, logger } = this.#options;
    const topic = {
      name: GROUPS_TOPIC,
      partitionCount: config.getNumber("offsets.topic.num.partitions"),
      replicationFactor: config.getNumber("offsets.topic.replication.factor"),
      configs: new Map([
        ["cleanup.policy", "compact"],
        ["compression.type", "producer"],
        ["segment.bytes", config.get("offsets.topic.segment.bytes")],
      ]),
    };
    try {
      await metadata.createTopics([topic], config.getNumber("request.timeout.ms"));
    } catch (error) {
      logger.warn("group.topic-not-created", (error as Error).message, { topic: GROUPS_TOPIC });
    }
    return metadata.image.getTopic(GROUPS_TOPIC);
  }

  /** The active shard of the group, or why there is none. */
  async #shardOf(groupId: string): Promise<CoordinatorShard | GroupError> {
    const { metadata, config } = this.#options;
    if (this.#isClosed) return "not-available";
    const topic = metadata.image.getTopic(GROUPS_TOPIC);
    if (topic === undefined) return "not-coordinator";
    const partition = partitionOfGroup(groupId, topic.partitionCount);
    if (metadata.image.getPartition(topic.topicId, partition)?.ownerNodeId !== config.nodeId) return "not-coordinator";
    const known = this.#shards.get(partition);
    if (known !== undefined && !known.isServing) this.#unload(known, "its partition log was closed");
    const shard = this.#shards.get(partition) ?? (await this.#open(topic, partition));
    if (!(shard instanceof CoordinatorShard)) return shard;
    if (shard.state === "active") return shard;
    return shard.state === "loading" ? "loading" : "not-coordinator";
  }

  #open(topic: TopicView, partition: number): Promise<CoordinatorShard | GroupError> {
    const running = this.#opening.get(partition);
    if (running !== undefined) return running;
    const opening = this.#openLog(topic, partition).finally(() => this.#opening.delete(partition));
    this.#opening.set(partition, opening);
    return opening;
  }

  /** Resolves when the log is open; an empty one is active then, another one is being read. */
  async #openLog(topic: TopicView, partition: number): Promise<CoordinatorShard | GroupError> {
    const { partitions, storage, clock, random, logger, crc32c, decompress, topicRules } = this.#options;
    try {
      const log = await partitions.open(topic.topicId, partition);
      if (!(log instanceof PartitionLog) || this.#isClosed) return "not-coordinator";
      const shardLog = new ShardLog({ log, storage, wallMs: () => clock.wallMs(), onLost: (reason) => this.#unload(shard, reason) });
      const shard: CoordinatorShard = new CoordinatorShard(
        {
          partition,
          topicId: topic.topicId,
          settings: this.#settings,
          clock,
          random,
          timers: this.#timers,
          logger,
          metrics: this.#metrics,
          crc32c,
          decompress,
          maxBatchBytes: () => topicRules.get(topic).maxMessageBytes,
        },
        shardLog,
      );
      this.#shards.set(partition, shard);
      if (log.logEndOffset === log.logStartOffset) await shard.load();
      else void this.#loadInTurn(shard);
      return shard;
    } catch (error) {
      logger.warn("group.open-failed", (error as Error).message, { partition });
      return "loading";
    }
  }

  async #loadInTurn(shard: CoordinatorShard): Promise<void> {
    if (this.#runningLoads >= MAX_PARALLEL_LOADS) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#loadQueue.push(resolve);
      await promise;
    } else this.#runningLoads += 1;
    try {
      await shard.load();
      if (shard.state === "active") this.#removeOffsetsOfGoneTopics(shard);
    } finally {
      const next = this.#loadQueue.shift();
      if (next === undefined) this.#runningLoads -= 1;
      else next();
    }
  }

  /** Reads the groups of all partitions that are this broker's and hold anything; requests are told to wait meanwhile. */
  loadOwned(): void {
    const { metadata, config, partitions } = this.#options;
    const topic = metadata.image.getTopic(GROUPS_TOPIC);
    this.#isServing = true;
    if (topic === undefined || this.#isClosed) return;
    for (let partition = 0; partition < topic.partitionCount; partition++) {
      if (this.#shards.has(partition) || this.#opening.has(partition)) continue;
      const view = metadata.image.getPartition(topic.topicId, partition);
      if (view?.ownerNodeId !== config.nodeId) continue;
      const open = partitions.find(topic.topicId, partition);
      const hasData = view.committedEndOffset > 0 || (open instanceof PartitionLog && open.logEndOffset > 0);
      if (hasData) void this.#open(topic, partition);
    }
  }

  #unload(shard: CoordinatorShard, reason: string): void {
    if (this.#shards.get(shard.partition) !== shard) return;
    this.#shards.delete(shard.partition);
    this.#options.logger.warn("group.unloaded", `the groups of a partition are given up: ${reason}`, {
      partition: shard.partition,
      groups: shard.groupCount,
    });
    shard.close("not-coordinator");
  }

  #onMetadataChange(topicIds: ReadonlySet<string>): void {
    if (this.#isClosed) return;
    for (const shard of [...this.#shards.values()]) if (!shard.isServing) this.#unload(shard, "its partition is no longer here");
    const { image } = this.#options.metadata;
    const topic = image.getTopic(GROUPS_TOPIC);
    if (this.#isServing && topic !== undefined && (topicIds.has("*") || topicIds.has(topic.topicId))) this.loadOwned();
    const isAnyGone = topicIds.has("*") || [...topicIds].some((topicId) => image.getTopicById(topicId) === undefined);
    if (!isAnyGone) return;
    for (const shard of this.#shards.values()) if (shard.state === "active") this.#removeOffsetsOfGoneTopics(shard);
  }

  /** Topics that are deleted, also those of the same name that came after. */
  #removeOffsetsOfGoneTopics(shard: CoordinatorShard): void {
    const { image } = this.#options.metadata;
    shard.removeOffsetsOf((name, topicId) => {
      const topic = image.getTopic(name);
      return topic === undefined || (topicId !== ZERO_UUID && topic.topicId !== topicId);
    });
  }

  #scheduleExpiry(): void {
    const { clock, config } = this.#options;
    this.#expiryTimer = clock.schedule(config.getNumber("offsets.retention.check.interval.ms"), () => {
      for (const shard of this.#shards.values()) if (shard.state === "active") shard.expire();
      this.#scheduleExpiry();
    });
  }

  /** Who waits is told to look for another coordinator; later requests are refused. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#expiryTimer?.cancel();
    for (const shard of this.#shards.values()) shard.close("not-coordinator");
    this.#shards.clear();
    this.#timers.close();
  }

  // --- membership ---

  async join(request: JoinRequest): Promise<JoinAnswer> {
    const shard = await this.#shardOf(request.groupId);
    return shard instanceof CoordinatorShard ? shard.join(request) : refuseJoin(request.memberId, shard);
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

  /** Durable offsets of the partitions wanted, or of all that the group has committed. */
  async fetch(groupId: string, wanted: readonly TopicOffsetsWanted[] | undefined): Promise<GroupError | readonly TopicOffsets[]> {
    const shard = await this.#shardOf(groupId);
    if (!(shard instanceof CoordinatorShard)) return shard;
    const found = wanted === undefined ? allOffsets(shard, groupId) : wanted.map((topic) => pickOffsets(shard, groupId, topic));
    return (await shard.whenDurable()) ?? found;
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

  async describe(groupId: string): Promise<GroupDescription | GroupError> {
    const shard = await this.#shardOf(groupId);
    if (!(shard instanceof CoordinatorShard)) return shard;
    const group = shard.getGroup(groupId);
    return group === undefined ? "group-not-found" : describeGroup(group);
  }

  /** All groups of this broker. */
  list(): readonly ListedGroup[] | GroupError {
    if (this.#isClosed) return "not-available";
    if (this.#opening.size > 0) return "loading";
    const listed: ListedGroup[] = [];
    for (const shard of this.#shards.values()) {
      if (shard.state === "loading") return "loading";
      for (const { groupId, protocolType = "", state } of shard.groups()) listed.push({ groupId, protocolType, state });
    }
    return listed;
  }

  #sum(count: (shard: CoordinatorShard) => number): number {
    let sum = 0;
    for (const shard of this.#shards.values()) sum += count(shard);
    return sum;
  }
}

function countGroups(shard: CoordinatorShard, state: GroupState): number {
  let count = 0;
  for (const group of shard.groups()) if (group.state === state) count += 1;
  return count;
}

function countMembers(shard: CoordinatorShard): number {
  let count = 0;
  for (const group of shard.groups()) count += group.roster.size;
  return count;
}

function allOffsets(shard: CoordinatorShard, groupId: string): TopicOffsets[] {
  return Array.from(shard.offsets.ofGroup(groupId), ([topic, partitions]) => ({
    topic,
    partitions: Array.from(partitions, ([partition, committed]) => ({ partition, committed })),
  }));
}

function pickOffsets(shard: CoordinatorShard, groupId: string, { topic, topicId, partitions }: TopicOffsetsWanted): TopicOffsets {
  return {
    topic,
    partitions: partitions.map((partition) => {
      const committed = shard.offsets.get(groupId, { topic, partition });
      const isOfAnother =
        committed !== undefined && topicId !== ZERO_UUID && committed.topicId !== ZERO_UUID && committed.topicId !== topicId;
      return { partition, committed: isOfAnother ? undefined : committed };
    }),
  };
}
