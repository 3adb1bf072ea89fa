/** A cluster of one in memory: changes apply at once, and listeners are told. */
import type {
  BrokerView,
  ClusterMetadata,
  ConfigChange,
  ConfigOutcome,
  FeatureOutcome,
  FeatureUpdate,
  ImageView,
  LogStart,
  NewTopic,
  PartitionView,
  TopicOutcome,
  TopicView,
} from "../../../src/metadata/cluster-metadata.ts";

export class FakeMetadata implements ClusterMetadata {
  readonly nodeId: number;
  readonly clusterId = "TestClusterIdTestClust";
  readonly topics = new Map<string, TopicView>();
  readonly partitions = new Map<string, PartitionView[]>();
  /** By "TYPE:NAME". */
  readonly configs = new Map<string, Map<string, string>>();
  readonly features = new Map<string, number>([
    ["metadata.version", 33],
    ["group.version", 1],
  ]);
  brokers: BrokerView[];
  /** When set, changes reject with it. */
  failure: Error | undefined;
  #nextTopic = 1;
  #nextProducerId = 1000;
  #slot = 1;
  #listeners: ((topicIds: ReadonlySet<string>) => void)[] = [];

  constructor(nodeId = 1) {
    this.nodeId = nodeId;
    const listeners = [{ name: "PLAINTEXT", host: "127.0.0.1", port: 9092, securityProtocol: "PLAINTEXT" }];
    this.brokers = [{ nodeId, brokerEpoch: 1, rack: undefined, listeners, isFenced: false }];
  }

  get image(): ImageView {
    const { topics, partitions } = this;
    return {
      clusterId: this.clusterId,
      slot: this.#slot,
      controllerNodeId: this.nodeId,
      controllerEpoch: 1,
      getTopic: (name) => topics.get(name),
      getTopicById: (id) => [...topics.values()].find((topic) => topic.topicId === id),
      getPartition: (topicId, partition) => partitions.get(topicId)?.[partition],
      topics: () => topics.values(),
      brokers: () => this.brokers,
      getFinalizedFeatures: () => this.features,
      getConfigs: (type, name) => this.configs.get(`${type}:${name}`) ?? new Map(),
      configuredResources: (type) =>
        [...this.configs.keys()].filter((key) => key.startsWith(`${type}:`)).map((key) => key.slice(key.indexOf(":") + 1)),
    };
  }

  onChange(listener: (topicIds: ReadonlySet<string>) => void): void {
    this.#listeners.push(listener);
  }

  notify(topicId: string): void {
    this.#slot += 1;
    for (const listener of this.#listeners) listener(new Set([topicId]));
  }

  addTopic(name: string, partitionCount = 1, configs: Record<string, string> = {}, replicationFactor = 1): TopicView {
    const id = Buffer.alloc(16);
    id.writeUInt32BE(0x57000000 + this.#nextTopic++, 12);
    const topicId = id.toString("base64url");
    const isInternal = name === "__consumer_offsets";
    const topic = { name, topicId, partitionCount, replicationFactor, configs: new Map(Object.entries(configs)), isInternal };
    this.topics.set(name, topic);
    const view = { ownerNodeId: this.nodeId, term: 0, logStartOffset: 0, committedEndOffset: 0 };
    this.partitions.set(
      topicId,
      Array.from({ length: partitionCount }, () => view),
    );
    this.notify(topicId);
    return topic;
  }

  setPartition(topicId: string, partition: number, change: Partial<PartitionView>): void {
    const views = this.partitions.get(topicId);
    const view = views?.[partition];
    if (views === undefined || view === undefined) throw new Error("no such partition");
    views[partition] = { ...view, ...change };
    this.notify(topicId);
  }

  createTopics(topics: readonly NewTopic[]): Promise<readonly TopicOutcome[]> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    return Promise.resolve(
      topics.map((topic): TopicOutcome => {
        if (this.topics.has(topic.name)) return { kind: "exists" };
        const configs = Object.fromEntries(topic.configs);
        return { kind: "done", topic: this.addTopic(topic.name, topic.partitionCount, configs, topic.replicationFactor) };
      }),
    );
  }

  deleteTopics(topicIds: readonly string[]): Promise<readonly TopicOutcome[]> {
    return Promise.resolve(
      topicIds.map((topicId): TopicOutcome => {
        const topic = this.image.getTopicById(topicId);
        if (topic === undefined) return { kind: "unknown-topic" };
        this.topics.delete(topic.name);
        this.partitions.delete(topicId);
        this.notify(topicId);
        return { kind: "done", topic };
      }),
    );
  }

  createPartitions(changes: readonly { topicId: string; totalCount: number }[]): Promise<readonly TopicOutcome[]> {
    return Promise.resolve(
      changes.map(({ topicId, totalCount }): TopicOutcome => {
        const topic = this.image.getTopicById(topicId);
        const views = this.partitions.get(topicId);
        if (topic === undefined || views === undefined) return { kind: "unknown-topic" };
        while (views.length < totalCount) views.push({ ownerNodeId: this.nodeId, term: 0, logStartOffset: 0, committedEndOffset: 0 });
        const grown = { ...topic, partitionCount: totalCount };
        this.topics.set(topic.name, grown);
        this.notify(topicId);
        return { kind: "done", topic: grown };
      }),
    );
  }

  alterConfigs(changes: readonly ConfigChange[]): Promise<readonly ConfigOutcome[]> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    return Promise.resolve(changes.map((change) => this.#alterConfig(change)));
  }

  #alterConfig({ resource, sets }: ConfigChange): ConfigOutcome {
    const topic = resource.kind === "topic" ? this.image.getTopicById(resource.topicId) : undefined;
    if (resource.kind === "topic" && topic === undefined) return "unknown-topic";
    const key = resource.kind === "topic" ? "" : `${resource.type}:${resource.name}`;
    const configs = new Map(topic?.configs ?? this.configs.get(key));
    for (const { name, value, expected } of sets) {
      if (configs.get(name) !== expected) return "conflict";
      if (value === undefined) configs.delete(name);
      else configs.set(name, value);
    }
    if (topic !== undefined) this.topics.set(topic.name, { ...topic, configs });
    else this.configs.set(key, configs);
    this.notify(topic?.topicId ?? "");
    return "done";
  }

  updateFeatures(updates: readonly FeatureUpdate[]): Promise<FeatureOutcome> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    if (updates.some(({ name, expected }) => (this.features.get(name) ?? 0) !== expected)) return Promise.resolve("conflict");
    for (const { name, level } of updates) this.features.set(name, level);
    this.notify("");
    return Promise.resolve("done");
  }

  advanceLogStarts(starts: readonly LogStart[]): Promise<readonly boolean[]> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    return Promise.resolve(
      starts.map(({ topicId, partition, term, offset }) => {
        const view = this.partitions.get(topicId)?.[partition];
        if (view === undefined || view.term !== term) return false;
        if (offset > view.logStartOffset) this.setPartition(topicId, partition, { logStartOffset: offset });
        return true;
      }),
    );
  }

  allocateProducerId(): Promise<number> {
    return this.failure === undefined ? Promise.resolve(this.#nextProducerId++) : Promise.reject(this.failure);
  }
}
