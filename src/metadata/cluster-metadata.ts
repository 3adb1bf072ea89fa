/**
 * The cluster's truth as the rooms above see it. `image` is a consistent, immutable-by-contract view that is replaced as a whole when the log
 * moves; a reader that awaits takes it anew. Every change goes through the controller into the metadata log, and is answered only when
 * its slot is certain.
 */
export interface TopicView {
  readonly name: string;
  /** 22-character base64url UUID. */
  readonly topicId: string;
  readonly partitionCount: number;
  /** As asked for at creation; metadata lists exactly one replica all the same. */
  readonly replicationFactor: number;
  /** Explicitly set topic configurations only. */
  readonly configs: ReadonlyMap<string, string>;
  readonly isInternal: boolean;
}

export interface PartitionView {
  /** Node id of the owner, -1 when it has none. */
  readonly ownerNodeId: number;
  /** The leader epoch. Never falls. */
  readonly term: number;
  readonly logStartOffset: number;
  readonly committedEndOffset: number;
}

export interface BrokerView {
  readonly nodeId: number;
  readonly brokerEpoch: number;
  readonly rack: string | undefined;
  /** Advertised listeners by name. */
  readonly listeners: readonly { readonly name: string; readonly host: string; readonly port: number; readonly securityProtocol: string }[];
  readonly isFenced: boolean;
}

export interface ImageView {
  readonly clusterId: string;
  /** Number of the last applied slot. */
  readonly slot: number;
  readonly controllerNodeId: number;
  readonly controllerEpoch: number;
  getTopic(name: string): TopicView | undefined;
  getTopicById(topicId: string): TopicView | undefined;
  getPartition(topicId: string, partition: number): PartitionView | undefined;
  topics(): Iterable<TopicView>;
  brokers(): readonly BrokerView[];
  /** By name; a feature that is not named is at level 0, and one may be named with 0. */
  getFinalizedFeatures(): ReadonlyMap<string, number>;
  /**
   * Settings of a resource that is no topic, by its ConfigResource.Type: brokers (4; "" is the cluster-wide default), client metrics (16), groups (32). Empty
   * when there are none; the same map as long as nothing changed.
   */
  getConfigs(resourceType: number, resourceName: string): ReadonlyMap<string, string>;
  /** Names of the resources of a type that have settings. */
  configuredResources(resourceType: number): Iterable<string>;
}

export interface NewTopic {
  readonly name: string;
  readonly partitionCount: number;
  readonly replicationFactor: number;
  readonly configs: ReadonlyMap<string, string>;
}

/** What the controller decided, per item: values, not exceptions. Kafka codes are chosen in api/. */
export type TopicOutcome =
  | { readonly kind: "done"; readonly topic: TopicView }
  | { readonly kind: "exists" }
  | { readonly kind: "unknown-topic" }
  | { readonly kind: "invalid-partitions"; readonly message: string }
  | { readonly kind: "limit-exceeded"; readonly message: string };

/** Sets or removes settings of one resource, all or none. */
export interface ConfigChange {
  readonly resource:
    | { readonly kind: "topic"; readonly topicId: string }
    | { readonly kind: "other"; readonly type: number; readonly name: string };
  /** `expected`: the value now, undefined when not set. When another change came first nothing happens: "conflict". `value` undefined: back to the default. */
  readonly sets: readonly { readonly name: string; readonly expected: string | undefined; readonly value: string | undefined }[];
}

export type ConfigOutcome = "done" | "unknown-topic" | "conflict";

/** The finalised level of a feature, as it was seen (0: none) and as it is to be. */
export interface FeatureUpdate {
  readonly name: string;
  readonly expected: number;
  readonly level: number;
}

export type FeatureOutcome = "done" | "conflict";

/** The log of a partition is to begin at `offset`; asked by its owner. */
export interface LogStart {
  readonly topicId: string;
  readonly partition: number;
  readonly term: number;
  readonly offset: number;
  /** Ranges below it are dropped even when no checkpoint covers them: what they say of producers has expired. At most `offset`. */
  readonly releaseBelow: number;
}

export interface ClusterMetadata {
  readonly image: ImageView;
  /** Called after each change of `image`, with the topic ids that changed ("*" on a reload). */
  onChange(listener: (topicIds: ReadonlySet<string>) => void): void;

  /** Resolve when certain; reject with a Trouble (retryable) when the controller cannot be reached within the deadline: the outcome may then be either. */
  createTopics(topics: readonly NewTopic[], deadlineMs: number): Promise<readonly TopicOutcome[]>;
  deleteTopics(topicIds: readonly string[], deadlineMs: number): Promise<readonly TopicOutcome[]>;
  createPartitions(changes: readonly { topicId: string; totalCount: number }[], deadlineMs: number): Promise<readonly TopicOutcome[]>;
  alterConfigs(changes: readonly ConfigChange[], deadlineMs: number): Promise<readonly ConfigOutcome[]>;
  /** All or none: "conflict", and nothing is changed, when a level is not the expected one any more. */
  updateFeatures(updates: readonly FeatureUpdate[], deadlineMs: number): Promise<FeatureOutcome>;
  /** Per item: false when the partition is gone or owned under another term. A start below the present one changes nothing and is true. */
  advanceLogStarts(starts: readonly LogStart[], deadlineMs: number): Promise<readonly boolean[]>;
  /** A fresh producer id, never given twice; ids come from blocks recorded in the log. */
  allocateProducerId(deadlineMs: number): Promise<number>;
}
