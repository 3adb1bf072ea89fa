/**
 * The shards of a coordinator: one per partition of its internal topic that this broker owns and that anybody uses, opened on first need and at
 * the start where there is data. Partitions nobody uses are never opened. Groups and transactions both live this way.
 *
 * Invariants
 * - At most one shard per partition; one that has ended, or whose partition log was closed, is never answered from again.
 * - A key's partition is Kafka's: abs(hashCode) modulo the topic's partitions.
 *
 * Neighbours: `shard-log.ts` (the log of a shard), `group/group-coordinator.ts` and `transaction/transaction-coordinator.ts` (whose shards they are).
 */
import type { Clock } from "../base/clock.ts";
import type { Config } from "../config/config.ts";
import type { ClusterMetadata, NewTopic, TopicView } from "../metadata/cluster-metadata.ts";
import { PartitionLog } from "../partition/partition-log.ts";
import type { PartitionRegistry } from "../partition/partition-registry.ts";
import type { Storage } from "../storage/storage.ts";
import { ShardLog } from "./shard-log.ts";
import { shardOfKey } from "./shard-of-key.ts";

export type ShardState = "loading" | "active" | "closed";

export type ShardError =
  /** This broker does not own the key's partition (or no longer, or the topic is not there). */
  | "not-coordinator"
  /** The partition is being read. */
  | "loading"
  /** The broker is stopping, or the topic cannot be created now. */
  | "not-available";

export interface LogShard {
  readonly partition: number;
  readonly state: ShardState;
  /** False when the partition log was closed under it. */
  readonly isServing: boolean;
  /** Ends when the shard is active or closed; does not reject. */
  load(): Promise<void>;
  /** Whoever waits is told "not-coordinator". */
  close(): void;
}

export interface ShardSetOptions<Shard extends LogShard> {
  readonly topicName: string;
  readonly config: Config;
  readonly clock: Clock;
  readonly metadata: ClusterMetadata;
  readonly partitions: PartitionRegistry;
  readonly storage: Storage;
  /** The topic as it is created when somebody needs it first. */
  describeTopic(): NewTopic;
  createShard(log: ShardLog, topic: TopicView): Shard;
  onLoaded(shard: Shard): void;
  onUnloaded(shard: Shard, reason: string): void;
  onOpenFailed(partition: number, message: string): void;
  onTopicNotCreated(message: string): void;
  /** Logs above it may be written anew; default REWRITE_ABOVE_BYTES. */
  readonly rewriteAboveBytes?: number | undefined;
}

/** Partitions that are read at the same time: each holds a load buffer. */
const MAX_PARALLEL_LOADS = 4;
/** Of a log that is just long enough to be written anew. */
const SIZE_STEPS = 16;

export class ShardSet<Shard extends LogShard> {
  readonly #options: ShardSetOptions<Shard>;
  readonly #shards = new Map<number, Shard>();
  readonly #opening = new Map<number, Promise<Shard | ShardError>>();
  readonly #loadQueue: (() => void)[] = [];
  #runningLoads = 0;
  #creation: Promise<TopicView | undefined> | undefined;
  /** The broker serves: partitions that come to it later are read as they come. */
  #isServing = false;
  #isClosed = false;

  constructor(options: ShardSetOptions<Shard>) {
    this.#options = options;
    options.metadata.onChange((topicIds) => this.#onMetadataChange(topicIds));
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Partitions being opened: their shards are not among `all` yet. */
  get openingCount(): number {
    return this.#opening.size;
  }

  all(): Iterable<Shard> {
    return this.#shards.values();
  }

  /** Node id of the key's coordinator. Creates the topic when it is not there yet. */
  async findOwner(key: string): Promise<number | "not-available"> {
    const { metadata, topicName } = this.#options;
    const topic = metadata.image.getTopic(topicName) ?? (await this.#createTopic());
    if (topic === undefined) return "not-available";
    const owner = metadata.image.getPartition(topic.topicId, shardOfKey(key, topic.partitionCount))?.ownerNodeId ?? -1;
    return owner < 0 ? "not-available" : owner;
  }

  /** Which partition of the topic a key lives in; undefined while there is no topic. */
  partitionOf(key: string): number | undefined {
    const topic = this.#options.metadata.image.getTopic(this.#options.topicName);
    return topic === undefined ? undefined : shardOfKey(key, topic.partitionCount);
  }

  #createTopic(): Promise<TopicView | undefined> {
    this.#creation ??= this.#askForTopic().finally(() => {
      this.#creation = undefined;
    });
    return this.#creation;
  }

  async #askForTopic(): Promise<TopicView | undefined> {
    const { config, metadata, topicName, describeTopic, onTopicNotCreated } = this.#options;
    try {
      await metadata.createTopics([describeTopic()], config.getNumber("request.timeout.ms"));
    } catch (error) {
      onTopicNotCreated((error as Error).message);
    }
    return metadata.image.getTopic(topicName);
  }

  /** The active shard of a key, or why there is none. */
  shardOf(key: string): Promise<Shard | ShardError> {
    const partition = this.partitionOf(key);
    if (partition === undefined) return Promise.resolve(this.#isClosed ? "not-available" : "not-coordinator");
    return this.shardAt(partition);
  }

  /** The active shard of a partition, or why there is none. */
  async shardAt(partition: number): Promise<Shard | ShardError> {
    const { metadata, config, topicName } = this.#options;
    if (this.#isClosed) return "not-available";
    const topic = metadata.image.getTopic(topicName);
    if (topic === undefined) return "not-coordinator";
    if (metadata.image.getPartition(topic.topicId, partition)?.ownerNodeId !== config.nodeId) return "not-coordinator";
    const known = this.#shards.get(partition);
    if (known !== undefined && !known.isServing) this.#unload(known, "its partition log was closed");
    const shard = this.#shards.get(partition) ?? (await this.#open(topic, partition));
    if (typeof shard === "string") return shard;
    if (shard.state === "active") return shard;
    return shard.state === "loading" ? "loading" : "not-coordinator";
  }

  #open(topic: TopicView, partition: number): Promise<Shard | ShardError> {
    const running = this.#opening.get(partition);
    if (running !== undefined) return running;
    const opening = this.#openLog(topic, partition).finally(() => this.#opening.delete(partition));
    this.#opening.set(partition, opening);
    return opening;
  }

  /** Resolves when the log is open; an empty one is active then, another one is being read. */
  async #openLog(topic: TopicView, partition: number): Promise<Shard | ShardError> {
    const { partitions, storage, clock, createShard, onOpenFailed, rewriteAboveBytes } = this.#options;
    try {
      const log = await partitions.open(topic.topicId, partition);
      if (!(log instanceof PartitionLog) || this.#isClosed) return "not-coordinator";
      const shardLog = new ShardLog({
        log,
        storage,
        sizeStepBytes: rewriteAboveBytes === undefined ? undefined : rewriteAboveBytes / SIZE_STEPS,
        wallMs: () => clock.wallMs(),
        onLost: (reason) => this.#unload(shard, reason),
      });
      const shard: Shard = createShard(shardLog, topic);
      this.#shards.set(partition, shard);
      if (log.logEndOffset === log.logStartOffset) await shard.load();
      else void this.#loadInTurn(shard);
      return shard;
    } catch (error) {
      onOpenFailed(partition, (error as Error).message);
      return "loading";
    }
  }

  async #loadInTurn(shard: Shard): Promise<void> {
    if (this.#runningLoads >= MAX_PARALLEL_LOADS) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#loadQueue.push(resolve);
      await promise;
    } else this.#runningLoads += 1;
    try {
      await shard.load();
      if (shard.state === "active") this.#options.onLoaded(shard);
    } finally {
      const next = this.#loadQueue.shift();
      if (next === undefined) this.#runningLoads -= 1;
      else next();
    }
  }

  /** Reads all partitions that are this broker's and hold anything; requests are told to wait meanwhile. */
  loadOwned(): void {
    const { metadata, config, partitions, topicName } = this.#options;
    const topic = metadata.image.getTopic(topicName);
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

  #unload(shard: Shard, reason: string): void {
    if (this.#shards.get(shard.partition) !== shard) return;
    this.#shards.delete(shard.partition);
    this.#options.onUnloaded(shard, reason);
    shard.close();
  }

  #onMetadataChange(topicIds: ReadonlySet<string>): void {
    if (this.#isClosed) return;
    for (const shard of [...this.#shards.values()]) if (!shard.isServing) this.#unload(shard, "its partition is no longer here");
    const topic = this.#options.metadata.image.getTopic(this.#options.topicName);
    if (this.#isServing && topic !== undefined && (topicIds.has("*") || topicIds.has(topic.topicId))) this.loadOwned();
  }

  /** Later requests are refused. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const shard of this.#shards.values()) shard.close();
    this.#shards.clear();
  }
}
