/**
 * Start-up of a broker's metadata, in two steps, because the WAL is opened in between:
 *
 *   1. `openClusterMetadata` reads: the cluster's id (founding the cluster if there is none and the WAL is blank), the newest snapshot, the slots after it.
 *      It changes nothing else. The caller then checks whether a former process with this node id is still alive (`previous`).
 *   2. `OpenedCluster.register` writes one slot: "controller = me" and this broker's registration. Only after it is the WAL position in the image final:
 *      a late PUT of the former process has either lost to this slot or lies before it. The caller scans the WAL from there and calls `recordWalOpened`.
 *
 * Requests on an empty bucket: 9 in all, 5 of them one after another in step 1 and 2 in step 2. README.md has the sequence.
 */
import type { Clock } from "../base/clock.ts";
import { type Random, randomUuidBytes } from "../base/random.ts";
import { type FoundClusterId, readOrCreateClusterId } from "../metadata/cluster-id.ts";
import type { BrokerState, WalState } from "../metadata/entities.ts";
import type { ClusterImage } from "../metadata/image.ts";
import type { Crc32c } from "../metadata/log-batch.ts";
import { MetadataLog } from "../metadata/metadata-log.ts";
import type { Listener } from "../metadata/records.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";
import { ScopedStore } from "../objectstore/scoped-store.ts";
import type { Logger, Metrics } from "../telemetry/telemetry.ts";
import { BrokerChannel } from "./broker-channel.ts";
import { BrokerMetadata } from "./broker-metadata.ts";
import { Controller } from "./controller.ts";
import { GarbageCollector } from "./garbage-collector.ts";

export interface OpenClusterOptions {
  /** With retries and metering below it. */
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly crc32c: Crc32c;
  readonly nodeId: number;
  /** From `findClusterId`, which saves asking again. */
  readonly found?: FoundClusterId;
  /** A new cluster gets it, an existing one must have it. */
  readonly wantedClusterId?: string;
  /** The cluster that the WAL's header names; absent when the WAL is blank. */
  readonly walClusterId?: string;
  /** How long unreferenced objects stay; default 60 s. */
  readonly garbageGraceMs?: number;
  /** Default 1,000. */
  readonly snapshotEverySlots?: number;
}

export interface RegisterOptions {
  readonly walId: string;
  readonly rack: string | undefined;
  /** Advertised. */
  readonly listeners: readonly Listener[];
}

const DEFAULT_GARBAGE_GRACE_MS = 60_000;
const DEFAULT_SNAPSHOT_EVERY_SLOTS = 1_000;

/** Rejects with a Trouble: the store's, "cluster-missing", "cluster-id-mismatch", "wal-foreign-cluster", "metadata-...". */
export async function openClusterMetadata(options: OpenClusterOptions): Promise<OpenedCluster> {
  const { store, random, crc32c, found, wantedClusterId, walClusterId } = options;
  const { clusterId, isNew } = await readOrCreateClusterId({ store, random, crc32c, found, wantedClusterId, walClusterId });
  const clusterStore = new ScopedStore(store, clusterId);
  const log = await MetadataLog.open(clusterId, isNew, { ...options, store: clusterStore });
  return new OpenedCluster(log, clusterStore, options);
}

export class OpenedCluster {
  /** Scoped to the cluster's folder: what storage reads and writes segment objects with. */
  readonly clusterStore: ObjectStore;
  readonly #log: MetadataLog;
  readonly #options: OpenClusterOptions;

  constructor(log: MetadataLog, clusterStore: ObjectStore, options: OpenClusterOptions) {
    this.#log = log;
    this.clusterStore = clusterStore;
    this.#options = options;
  }

  get image(): ClusterImage {
    return this.#log.image;
  }

  /** The last registration under our node id: its listeners tell where to look for a process that is still alive. */
  get previous(): BrokerState | undefined {
    return this.#log.image.getBroker(this.#options.nodeId);
  }

  /** WALs of our node id that partitions still depend on, other than `walId`: those partitions stay offline. */
  getOrphanedWals(walId: string): readonly WalState[] {
    const { parts } = this.#log.image;
    const needed = new Set<string>();
    for (const topic of parts.topicsById.values()) {
      for (const partition of topic.partitions) needed.add(partition.ownerWalId);
    }
    return [...parts.wals.values()].filter((wal) => wal.nodeId === this.#options.nodeId && wal.walId !== walId && needed.has(wal.walId));
  }

  /** Registers this process, replacing any former one with its node id. Rejects with Trouble "broker-fenced" when the WAL is another broker's. */
  async register({ walId, rack, listeners }: RegisterOptions): Promise<BrokerMetadata> {
    const { clock, random, logger, metrics, nodeId } = this.#options;
    const log = this.#log;
    const store = this.clusterStore;
    const controller = new Controller({ log, nodeId, clock, random, logger, metrics });
    const incarnation = Buffer.from(randomUuidBytes(random)).toString("base64url");
    const channel = new BrokerChannel((request) => controller.submit(request), { nodeId, incarnation, walId, rack, listeners });
    try {
      await channel.register();
    } catch (error) {
      await controller.close();
      throw error;
    }
    const graceMs = this.#options.garbageGraceMs ?? DEFAULT_GARBAGE_GRACE_MS;
    const snapshotEverySlots = this.#options.snapshotEverySlots ?? DEFAULT_SNAPSHOT_EVERY_SLOTS;
    const collector = new GarbageCollector({ log, store, channel, clock, logger, isReigning: () => controller.isReigning, graceMs });
    return new BrokerMetadata({ log, channel, controller, collector, clock, random, logger, nodeId, walId, snapshotEverySlots });
  }
}
