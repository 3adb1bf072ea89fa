/**
 * The cluster's state after one slot, immutable: each slot makes the next image through an `ImageDraft`, sharing what did not change.
 *
 * `hash` is the sum (mod 2^64) of the hashes of all entities (entities.ts). Every log batch states the hash after it and every snapshot the hash
 * of what it holds; a difference is fatal, so "image = snapshot + log" is checked all the time.
 */
import type { BrokerView, ImageView, PartitionView, TopicView } from "./cluster-metadata.ts";
import { CowMap } from "./cow-map.ts";
import {
  type BrokerState,
  type ControllerState,
  type CounterState,
  type ObjectState,
  type PartitionState,
  type ResourceConfig,
  resourceKey,
  type TopicState,
  type WalState,
} from "./entities.ts";

export interface ImageParts {
  readonly clusterId: string;
  readonly slot: number;
  readonly hash: bigint;
  readonly controller: ControllerState;
  readonly counters: CounterState;
  readonly features: ReadonlyMap<string, number>;
  readonly brokersById: ReadonlyMap<number, BrokerState>;
  readonly wals: ReadonlyMap<string, WalState>;
  /** By resource key. */
  readonly configs: ReadonlyMap<string, ResourceConfig>;
  /** By topic id. */
  readonly topicsById: CowMap<TopicState>;
  readonly topicIdsByName: CowMap<string>;
  /** By object key. */
  readonly objects: CowMap<ObjectState>;
  /** Those of `objects` that nothing refers to. Derived, not hashed. */
  readonly garbage: CowMap<ObjectState>;
}

/** The image before slot 1. */
export function emptyParts(clusterId: string): ImageParts {
  return {
    clusterId,
    slot: 0,
    hash: 0n,
    controller: { nodeId: -1, epoch: 0 },
    counters: { nextProducerId: 0, nextObjectNumber: 0 },
    features: new Map(),
    brokersById: new Map(),
    wals: new Map(),
    configs: new Map(),
    topicsById: CowMap.empty(),
    topicIdsByName: CowMap.empty(),
    objects: CowMap.empty(),
    garbage: CowMap.empty(),
  };
}

const NO_CONFIGS: ReadonlyMap<string, string> = new Map();

export class ClusterImage implements ImageView {
  readonly parts: ImageParts;

  constructor(parts: ImageParts) {
    this.parts = parts;
  }

  get clusterId(): string {
    return this.parts.clusterId;
  }

  get slot(): number {
    return this.parts.slot;
  }

  get hash(): bigint {
    return this.parts.hash;
  }

  /** 16 hex digits: what a WAL header keeps of the newest slot it has seen. */
  get hashText(): string {
    return this.parts.hash.toString(16).padStart(16, "0");
  }

  get controllerNodeId(): number {
    return this.parts.controller.nodeId;
  }

  get controllerEpoch(): number {
    return this.parts.controller.epoch;
  }

  getTopic(name: string): TopicView | undefined {
    const topicId = this.parts.topicIdsByName.get(name);
    return topicId === undefined ? undefined : this.parts.topicsById.get(topicId);
  }

  getTopicById(topicId: string): TopicView | undefined {
    return this.parts.topicsById.get(topicId);
  }

  /** `ownerNodeId` is -1 while the partition is offline (see getOfflineReason). */
  getPartition(topicId: string, partition: number): PartitionView | undefined {
    const state = this.getPartitionState(topicId, partition);
    if (state === undefined) return undefined;
    const isOffline = this.#whyOffline(state) !== undefined;
    return {
      ownerNodeId: isOffline ? -1 : state.ownerNodeId,
      term: state.term,
      logStartOffset: state.logStartOffset,
      committedEndOffset: state.committedEndOffset,
    };
  }

  getPartitionState(topicId: string, partition: number): PartitionState | undefined {
    return this.parts.topicsById.get(topicId)?.partitions[partition];
  }

  /** Why nobody serves the partition, for operators; undefined when its owner does. */
  getOfflineReason(topicId: string, partition: number): string | undefined {
    const state = this.getPartitionState(topicId, partition);
    return state === undefined ? undefined : this.#whyOffline(state);
  }

  topics(): Iterable<TopicView> {
    return this.parts.topicsById.values();
  }

  brokers(): readonly BrokerView[] {
    return [...this.parts.brokersById.values()];
  }

  getBroker(nodeId: number): BrokerState | undefined {
    return this.parts.brokersById.get(nodeId);
  }

  getWal(walId: string): WalState | undefined {
    return this.parts.wals.get(walId);
  }

  getConfigs(resourceType: number, resourceName: string): ReadonlyMap<string, string> {
    return this.parts.configs.get(resourceKey(resourceType, resourceName))?.configs ?? NO_CONFIGS;
  }

  *configuredResources(resourceType: number): Generator<string> {
    for (const config of this.parts.configs.values()) if (config.resourceType === resourceType) yield config.resourceName;
  }

  getFinalizedFeatures(): ReadonlyMap<string, number> {
    return this.parts.features;
  }

  #whyOffline(partition: PartitionState): string | undefined {
    const owner = this.parts.brokersById.get(partition.ownerNodeId);
    if (owner === undefined) return `its owner, broker ${partition.ownerNodeId}, is not registered`;
    if (owner.isFenced) return `its owner, broker ${owner.nodeId}, is fenced`;
    if (owner.walId === partition.ownerWalId) return undefined;
    return `its tail lies in WAL ${partition.ownerWalId}, and broker ${owner.nodeId} now has WAL ${owner.walId}`;
  }
}
