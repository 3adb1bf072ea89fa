/**
 * Constructs a broker's big parts in the order that safety asks for, and nothing else does. Each step fails with a Trouble and then gives back what
 * the steps before it took. An object store that is away is no mistake: steps 2 and 4 wait for it (`store-patience.ts`), the later ones by themselves:
 *
 *   1. listeners can be opened (checked), HTTP listener open
 *   2. object store open, the cluster's id read (or thought of), conditional writes proven in the cluster's folder; nothing was created until here
 *   3. WAL device locked, its header read (a blank file or memory WAL is formatted)
 *   4. metadata log read to its end; no other process is alive under our node id
 *   5. Kafka listeners open (connections wait), broker registered: a former process is fenced
 *   6. WAL scanned from its committed position and claimed, the scan's end recorded
 *   7. storage, partitions, handlers; connections are served
 */
import { createApiHandlers } from "../api/registry.ts";
import type { ApiServices } from "../api/services.ts";
import { Trouble } from "../base/trouble.ts";
import { readAcceptLimits } from "../config/accept-limits.ts";
import type { Config, ListenerConfig } from "../config/config.ts";
import { LiveConfig } from "../config/live-config.ts";
import type { HttpServer } from "../console/http-server.ts";
import type { BrokerMetadata } from "../controller/broker-metadata.ts";
import { type OpenClusterOptions, type OpenedCluster, openClusterMetadata } from "../controller/open-cluster-metadata.ts";
import { GROUPS_TOPIC, GroupCoordinator } from "../group/group-coordinator.ts";
import { type FoundClusterId, findClusterId } from "../metadata/cluster-id.ts";
import type { ImageView } from "../metadata/cluster-metadata.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";
import { probeConditionalWrites } from "../objectstore/probe-store.ts";
import { ScopedStore } from "../objectstore/scoped-store.ts";
import { ATTRIBUTES_AT, CODEC_MASK, CODEC_NONE } from "../partition/batch-layout.ts";
import type { Decompress } from "../partition/batch-validation.ts";
import { FetchWaiters } from "../partition/fetch-waiters.ts";
import { PartitionRegistry } from "../partition/partition-registry.ts";
import { RecoveredOpening } from "../partition/recovered-opening.ts";
import { Retention } from "../partition/retention.ts";
import { TopicRulesCache } from "../partition/topic-rules.ts";
import type { TransactionGate, TransactionMarker } from "../partition/transaction-ports.ts";
import { decompress } from "../protocol/compression.ts";
import { ConfigResourceType } from "../protocol/config-resource.ts";
import { KafkaServer } from "../server/kafka-server.ts";
import { LocalStorage } from "../storage/local-storage.ts";
import type { Lsn, StreamId, WalPosition } from "../storage/types.ts";
import { makeObjectKeys } from "../storage/upload/object-keys.ts";
import { readHeader } from "../storage/wal/header-store.ts";
import { formatWal, openWal } from "../storage/wal/open-wal.ts";
import type { OpenedWal } from "../storage/wal/wal.ts";
import type { WalDevice } from "../storage/wal/wal-device.ts";
import type { WalHeader } from "../storage/wal/wal-format.ts";
import { LocalMarkerWriter } from "../transaction/local-marker-writer.ts";
import { TransactionCoordinator } from "../transaction/transaction-coordinator.ts";
import { Broker, type BrokerParts } from "./broker.ts";
import { refuseLivingPeer } from "./peer-check.ts";
import { StorePatience } from "./store-patience.ts";
import { Undo } from "./undo.ts";
import type { World } from "./world.ts";

export { Broker } from "./broker.ts";

/** A commit holds the largest batch; bounded again by ring and device. */
const MAX_COMMIT_BYTES = 4 * 1024 * 1024;
const BATCH_MARGIN_BYTES = 64 * 1024;

/** Rejects with a Trouble; then nothing stays open. `startedMs`: when the start began, by the monotonic clock; what `broker.started` counts from. */
export async function buildBroker(startConfig: Config, world: World, startedMs = world.clock.monotonicMs()): Promise<Broker> {
  const config = new LiveConfig(startConfig);
  const undo = new Undo();
  const patience = new StorePatience(world.clock, world.random, world.logger);
  let started: Broker | undefined;
  let asked: ObjectStore | undefined;
  const getStartProblems = (): readonly string[] => {
    const trouble = asked?.outage ?? patience.trouble;
    return trouble === undefined ? ["the broker is starting"] : [`the broker is starting and waits: ${trouble.message}`];
  };
  try {
    const server = makeServer(config, world);
    server.check(config.listeners);
    const http = startHttp(config, world, () => started?.getReadinessProblems() ?? getStartProblems());
    if (http !== undefined) undo.push(() => http.close());

    const store = await world.openObjectStore();
    asked = store;
    undo.push(() => store.close());
    const found = await patience.run("reading the cluster's id", () => findClusterId({ ...world, store }));
    await patience.run("probing conditional writes", () => probeConditionalWrites(new ScopedStore(store, found.clusterId), world.random));

    const device = world.openWalDevice();
    const deviceUndo = undo.push(() => device.close());
    const header = await readOrFormatHeader(config, world, device);
    const cluster = await patience.run("opening the metadata log", () => openCluster({ config, world, store, header, found }));

    const listeners = server.open(config.listeners);
    undo.push(async () => server.abort());
    const advertised = withRealPorts(config, listeners);
    const wasKnown = cluster.image.getWal(header.walId) !== undefined;
    const metadata = await cluster.register({ walId: header.walId, rack: config.rack, listeners: advertised });
    undo.push(() => metadata.close());
    followConfigs(config, metadata, server);
    const opened = await openBrokerWal({ config, world, device, metadata, wasKnown });
    deviceUndo.forget();
    undo.push(() => opened.wal.close());

    const broker = new Broker(
      assemble({ config, world, store, clusterStore: cluster.clusterStore, metadata, opened, server, http, wasKnown }),
    );
    started = broker;
    const { version } = world;
    const missingWalIds = cluster.getOrphanedWals(header.walId).map((wal) => wal.walId);
    const { walId } = header;
    await broker.start({ version, startedMs, listeners, advertised, walDescription: device.description, walId, missingWalIds });
    return broker;
  } catch (error) {
    await undo.run();
    throw error;
  }
}

function makeServer(config: Config, world: World): KafkaServer {
  const { clock, transport, logger, metrics, onBug } = world;
  return new KafkaServer({
    clock,
    transport,
    logger,
    metrics,
    onBug,
    limits: {
      maxFrameBytes: config.getNumber("socket.request.max.bytes"),
      maxPendingRequests: config.getNumber("max.pending.requests.per.connection"),
      idleMs: config.getNumber("connections.max.idle.ms"),
      progressTimeoutMs: config.getNumber("request.progress.timeout.ms"),
    },
    requestMemoryBytes: config.requestMemoryBytes,
    backlog: config.getNumber("socket.listen.backlog.size"),
    acceptLimits: readAcceptLimits(config),
  });
}

function startHttp(config: Config, world: World, getReadinessProblems: () => readonly string[]): HttpServer | undefined {
  if (config.httpListener === undefined) return undefined;
  return world.startHttpServer?.(config.httpListener, {
    getHealthProblems: () => [],
    getReadinessProblems,
    renderMetrics: () => world.renderMetrics(),
    metricsContentType: world.metricsContentType,
  });
}

async function readOrFormatHeader(config: Config, world: World, device: WalDevice): Promise<WalHeader> {
  const read = await readHeader(device, world.crc32c);
  if (read.kind === "valid") return read.header;
  if (config.wal.kind !== "block") return formatWal(device, world.crc32c, world.random);
  throw new Trouble({
    code: "wal-not-formatted",
    message: `wal=block:${config.wal.path} has no header of Weir`,
    remedy: `run \`weir wal format ${config.wal.path}\` once for a new volume; if it should hold data, this is the wrong device`,
    retryable: false,
    exitCode: 2,
  });
}

/** Image hashes are written as hexadecimal in the WAL's header. */
const hashText = (hash: bigint): string => hash.toString(16);

interface ClusterStep {
  readonly config: Config;
  readonly world: World;
  readonly store: ObjectStore;
  readonly header: WalHeader;
  readonly found: FoundClusterId;
}

async function openCluster({ config, world, store, header, found }: ClusterStep): Promise<OpenedCluster> {
  const { claimedBy } = header;
  const options: OpenClusterOptions = {
    ...world,
    store,
    found,
    nodeId: config.nodeId,
    ...(claimedBy === undefined ? {} : { walClusterId: claimedBy.clusterId }),
  };
  const cluster = await openClusterMetadata(options);
  refuseOtherNode(config, header);
  refuseBucketBehind(cluster, header, store);
  const { clusterId } = cluster.image;
  if (cluster.previous !== undefined) {
    await refuseLivingPeer({ clusterId, nodeId: config.nodeId, listeners: cluster.previous.listeners }, world.transport, world.clock);
  }
  for (const wal of cluster.getOrphanedWals(header.walId)) {
    world.logger.error("wal.missing", "partitions stay offline until the WAL that holds their tail is back", {
      walId: wal.walId,
      nodeId: wal.nodeId,
    });
  }
  return cluster;
}

/** Before the registration, which would fence nobody and help nobody. `openWal` checks again. */
function refuseOtherNode({ nodeId, wal }: Config, { walId, claimedBy }: WalHeader): void {
  if (claimedBy === undefined || claimedBy.nodeId === nodeId) return;
  const place = wal.kind === "memory" ? "memory:" : `${wal.kind}:${wal.path}`;
  throw new Trouble({
    code: "wal-foreign",
    message: `wal=${place} (${walId}) belongs to node.id=${claimedBy.nodeId} of cluster ${claimedBy.clusterId}, and this broker has node.id=${nodeId}`,
    remedy: "give this broker a WAL of its own, or the node.id of this one",
    retryable: false,
    exitCode: 2,
  });
}

/** Before anything is written: the WAL remembers a slot that this bucket has not, or has otherwise. `openWal` checks again. */
function refuseBucketBehind({ image }: OpenedCluster, { walId, metadataSlot: seen }: WalHeader, store: ObjectStore): void {
  if (seen === undefined || seen.slot < image.slot) return;
  if (seen.slot === image.slot && seen.hash === hashText(image.hash)) return;
  throw new Trouble({
    code: "bucket-behind",
    message: `${store.description} ends at metadata slot ${image.slot}, and the WAL ${walId} has seen ${seen.slot === image.slot ? "another" : "slot"} ${seen.slot}`,
    remedy: "the bucket is an older copy or another one: point object.store at the one that this WAL was used with",
    retryable: false,
    exitCode: 2,
  });
}

/** A listener on port 0 is advertised with the port it got. */
function withRealPorts(config: Config, opened: readonly ListenerConfig[]): readonly ListenerConfig[] {
  return config.advertisedListeners.map((listener) => {
    const real = opened.find((candidate) => candidate.name === listener.name);
    return listener.port === 0 && real !== undefined ? { ...listener, port: real.port } : listener;
  });
}

/** What clients set at run time for brokers is in force from here on. */
function followConfigs(config: LiveConfig, metadata: BrokerMetadata, server: KafkaServer): void {
  const { BROKER } = ConfigResourceType;
  const follow = (): void => {
    const before = config.revision;
    config.follow(metadata.image.getConfigs(BROKER, ""), metadata.image.getConfigs(BROKER, String(config.nodeId)));
    if (config.revision !== before) server.limitAccepting(readAcceptLimits(config));
  };
  follow();
  metadata.onChange(follow);
}

interface WalStep {
  readonly config: Config;
  readonly world: World;
  readonly device: WalDevice;
  readonly metadata: BrokerMetadata;
  /** The metadata log knew this WAL before this process registered. */
  readonly wasKnown: boolean;
}

/** A WAL that the log did not know before this registration begins blank. */
function committedPosition(metadata: BrokerMetadata, wasKnown: boolean): WalPosition | undefined {
  if (!wasKnown) return undefined;
  const { lsn, predecessorChecksum, walEpoch } = metadata.wal.committed;
  return { lsn: lsn as Lsn, predecessorChecksum, walEpoch };
}

async function openBrokerWal({ config, world, device, metadata, wasKnown }: WalStep): Promise<OpenedWal> {
  const { image } = metadata;
  const opened = await openWal({
    ...world,
    device,
    ring: world.allocateRing(config.ringCapacityBytes),
    clusterId: image.clusterId,
    nodeId: config.nodeId,
    getCommittedPosition: () => committedPosition(metadata, wasKnown),
    metadataSlot: image.slot,
    metadataSlotHash: hashText(image.hash),
    maxCommitBytes: Math.max(MAX_COMMIT_BYTES, config.getNumber("message.max.bytes") + BATCH_MARGIN_BYTES),
  });
  try {
    await metadata.recordWalOpened(opened.wal.walEpoch, opened.wal.headLsn);
    return opened;
  } catch (error) {
    await opened.wal.close();
    throw error;
  }
}

interface AssembleStep {
  readonly config: Config;
  readonly world: World;
  readonly store: ObjectStore;
  /** The part of the store that is this cluster's. */
  readonly clusterStore: ObjectStore;
  readonly metadata: BrokerMetadata;
  readonly opened: OpenedWal;
  readonly server: KafkaServer;
  readonly http: HttpServer | undefined;
  readonly wasKnown: boolean;
}

function* listOwnStreams(image: ImageView, nodeId: number): Generator<StreamId> {
  for (const { topicId, partitionCount } of image.topics()) {
    for (let partition = 0; partition < partitionCount; partition++) {
      if (image.getPartition(topicId, partition)?.ownerNodeId === nodeId) yield { topicId, partition };
    }
  }
}

function assemble({ config, world, store, clusterStore, metadata, opened, server, http, wasKnown }: AssembleStep): BrokerParts {
  const { wal, recovered, damage } = opened;
  const { image } = metadata;
  const storage = new LocalStorage({
    ...world,
    wal,
    recovered,
    damage,
    listStreams: () => listOwnStreams(image, config.nodeId),
    store: clusterStore,
    committedPosition: committedPosition(metadata, wasKnown),
    commits: metadata,
    ranges: metadata.committedRanges,
    makeObjectKey: makeObjectKeys(metadata.brokerEpoch, wal.walId, world.random),
    isBatchCompressed: (bytes, start) => ((bytes[start + ATTRIBUTES_AT + 1] ?? 0) & CODEC_MASK) !== CODEC_NONE,
    blockCacheBytes: config.blockCacheBytes,
    catchUpMemoryBytes: config.catchUpMemoryBytes,
    uploadSizeBytes: config.uploadSizeBytes,
    uploadIntervalMs: config.uploadIntervalMs,
    segmentZstdLevel: config.segmentZstdLevel,
  });
  const topicRules = new TopicRulesCache(config);
  const partitions = new PartitionRegistry({ ...world, storage, metadata, config, topicRules, ranges: metadata.committedRanges });
  const shared = {
    ...world,
    config,
    metadata,
    storage,
    partitions,
    topicRules,
    decompress: ((codec, bytes, start, end, maxBytes) =>
      decompress(codec, bytes.subarray(start, end), maxBytes, world.blockCodecs)) satisfies Decompress,
  };
  // The coordinators need each other: offsets in transactions ask the one, ends of transactions go to the other.
  const gate: TransactionGate = {
    verify: (request) => transactions.verify(request),
    tryAwaitChange: (transactionalId) => transactions.tryAwaitChange(transactionalId),
  };
  const groups = new GroupCoordinator({ ...shared, gate });
  const offsetMarkers = {
    topicName: GROUPS_TOPIC,
    writeMarker: (partition: number, marker: TransactionMarker) => groups.writeMarker(partition, marker),
  };
  const markers = new LocalMarkerWriter({ ...shared, groups: offsetMarkers });
  const transactions: TransactionCoordinator = new TransactionCoordinator({ ...shared, markers });
  const recoveredOpening = new RecoveredOpening({
    ...world,
    metadata,
    open: (topicId, partition) => partitions.open(topicId, partition),
    drop: (id) => storage.dropRecovered(id),
  });
  const waiters = new FetchWaiters(world.clock);
  const retention = new Retention({ ...shared, ranges: metadata.committedRanges });
  const services: ApiServices = { ...shared, groups, transactions, gate, markers, waiters };
  metadata.onChange(() => {
    // A header write that fails shows in the WAL's own state; the next change notes a newer slot.
    wal.noteMetadataSlot(metadata.image.slot, hashText(metadata.image.hash)).catch(() => {});
  });
  return {
    config,
    world,
    store,
    metadata,
    wal,
    storage,
    partitions,
    recovered: recoveredOpening,
    groups,
    transactions,
    waiters,
    retention,
    server,
    http,
    handlers: createApiHandlers(services),
  };
}
