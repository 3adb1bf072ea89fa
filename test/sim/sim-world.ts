/**
 * A broker's world in the simulation: main's wire-up with only clock, random, object store, WAL device, transport and jobs exchanged (and what has no effect
 * on what is served: logger, metrics). The extra properties are options that the wire-up passes through to the parts it builds, as any world may set them.
 */
import type { Jobs } from "../../src/base/jobs.ts";
import type { World } from "../../src/cli/world.ts";
import type { Config } from "../../src/config/config.ts";
import { loadConfig } from "../../src/config/load-config.ts";
import { loadAddon } from "../../src/native/load-addon.ts";
import type { MemoryStore } from "../../src/objectstore/memory-store.ts";
import { RetryingStore } from "../../src/objectstore/retrying-store.ts";
import type { BlockCodecs } from "../../src/protocol/compression.ts";
import { POISON_BYTE } from "../../src/storage/ring/memory-ring.ts";
import type { LogFields, Logger } from "../../src/telemetry/telemetry.ts";
import { blockCodecs } from "../unit/protocol/block-codecs.ts";
import { NO_METRICS } from "../unit/support/recording-telemetry.ts";
import { tableCrc32c } from "../unit/support/table-crc32c.ts";
import type { Faults } from "./faults.ts";
import type { SimProcess } from "./process.ts";
import { useCrc } from "./sim-batch.ts";
import type { SimDisk, SimWalDevice } from "./sim-disk.ts";
import type { SimNetwork } from "./sim-network.ts";
import { SimStore } from "./sim-store.ts";

const POISON = Buffer.alloc(64, POISON_BYTE);

/** How this run's brokers are sized: small, so that rings and volumes lap and snapshots are taken within minutes. */
export interface Sizes {
  readonly ringBytes: number;
  readonly diskBytes: number;
  readonly uploadIntervalMs: number;
  readonly uploadSizeBytes: number;
  readonly snapshotEverySlots: number;
  readonly garbageGraceMs: number;
  /** Batches between a partition's checkpoints. */
  readonly checkpointBatches: number;
  /** Logs of coordinators above it are written anew. Default: the server's, which no run comes near. */
  readonly rewriteAboveBytes?: number;
  /** More of the broker's configuration, `key=value`. */
  readonly settings?: readonly string[];
}

export interface WorldParts {
  readonly process: SimProcess;
  readonly bucket: MemoryStore;
  readonly disk: SimDisk;
  readonly network: SimNetwork;
  readonly faults: Faults;
  readonly sizes: Sizes;
  readonly onEvent: (level: string, event: string, message: string, fields: LogFields) => void;
}

export interface SimWorld extends World {
  readonly poisonReused: true;
  readonly snapshotEverySlots: number;
  readonly garbageGraceMs: number;
  readonly checkpointBatches: number;
  readonly rewriteAboveBytes: number | undefined;
  /** What of the WAL is neither committed nor free, as the broker's metrics say; undefined before it has opened one. */
  getUsedWalBlocks(): number | undefined;
  /** The device that the broker opened. */
  getDevice(): SimWalDevice | undefined;
}

const native = tryLoadNative();

function tryLoadNative(): { readonly crc32c: World["crc32c"]; readonly blockCodecs: BlockCodecs } {
  try {
    const addon = loadAddon();
    useCrc(addon.crc32c);
    return { crc32c: addon.crc32c, blockCodecs: addon };
  } catch {
    return { crc32c: tableCrc32c, blockCodecs };
  }
}

export function makeSimWorld(parts: WorldParts): SimWorld {
  const { process, bucket, disk, network, faults, sizes } = parts;
  let device: SimWalDevice | undefined;
  let readUsedBlocks: (() => number) | undefined;
  return {
    version: "0.1.0-sim",
    clock: process.clock,
    random: process.random,
    jobs: new SimJobs(process),
    transport: network.transportOf(process),
    logger: new SimLogger(parts.onEvent),
    metrics: {
      ...NO_METRICS,
      observedGauge: (name, _help, read) => {
        if (name === "weir_wal_used_blocks") readUsedBlocks = read;
      },
    },
    crc32c: native.crc32c,
    blockCodecs: native.blockCodecs,
    // Smaller than configured: the configuration allows no ring that laps within minutes.
    allocateRing: () => makeRing(process, faults, sizes.ringBytes),
    openObjectStore: async () => new RetryingStore(new SimStore(bucket, process, faults), process.clock, process.random),
    openWalDevice: () => {
      device = disk.open(process, faults);
      return device;
    },
    getUsedWalBlocks: () => readUsedBlocks?.(),
    getDevice: () => device,
    startHttpServer: undefined,
    renderMetrics: async () => "",
    metricsContentType: "text/plain",
    onBug: (error) => process.bug(error),
    poisonReused: true,
    snapshotEverySlots: sizes.snapshotEverySlots,
    garbageGraceMs: sizes.garbageGraceMs,
    checkpointBatches: sizes.checkpointBatches,
    rewriteAboveBytes: sizes.rewriteAboveBytes,
  };
}

export function makeSimConfig(host: string, port: number, nodeId: number, sizes: Sizes): Config {
  const overrides = [
    `node.id=${nodeId}`,
    `listeners=PLAINTEXT://${host}:${port}`,
    "http.listener=",
    "wal=memory:",
    "object.store=memory:",
    "message.max.bytes=65536",
    "ring.capacity.bytes=16MiB",
    "request.memory.bytes=1MiB",
    "block.cache.bytes=2097152",
    "catch.up.memory.bytes=4MiB",
    `upload.size.bytes=${sizes.uploadSizeBytes}`,
    `upload.interval.ms=${sizes.uploadIntervalMs}`,
    "group.initial.rebalance.delay.ms=200",
    "offsets.topic.num.partitions=2",
    ...(sizes.settings ?? []),
  ];
  const memoryLimitBytes = 1024 ** 3;
  return loadConfig({ environment: {}, overrides, inMemory: false, memoryLimitBytes, hostName: host }).config;
}

/** The ring overwrites what it gives out again (`poisonReused`); whether it did is seen when its process dies. */
function makeRing(process: SimProcess, faults: Faults, lengthBytes: number): Uint8Array {
  const ring = Buffer.alloc(lengthBytes);
  process.deathListeners.add(() => {
    if (ring.includes(POISON)) faults.strikes.hit("memory.poisoned");
  });
  return ring;
}

/** zstd at once, its completion when the scheduler says. */
class SimJobs implements Jobs {
  private readonly process: SimProcess;

  constructor(process: SimProcess) {
    this.process = process;
  }

  zstdCompress(bytes: Uint8Array, level: number): Promise<Uint8Array> {
    return this.complete(() => Bun.zstdCompressSync(bytes, { level }));
  }

  zstdDecompressInto(bytes: Uint8Array, target: Uint8Array): Promise<number> {
    return this.complete(() => {
      const content = Bun.zstdDecompressSync(bytes);
      if (content.length > target.length) throw new Error(`zstd frame of ${content.length} bytes, ${target.length} allowed`);
      target.set(content);
      return content.length;
    });
  }

  private complete<Result>(work: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      // The work is done when it completes: what it reads must have stayed as it was.
      this.process.post(this.process.random.nextFloat() * 3, "job", () => {
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      });
    });
  }
}

class SimLogger implements Logger {
  private readonly onEvent: WorldParts["onEvent"];

  constructor(onEvent: WorldParts["onEvent"]) {
    this.onEvent = onEvent;
  }

  info(event: string, message: string, fields: LogFields = {}): void {
    this.onEvent("info", event, message, fields);
  }
  warn(event: string, message: string, fields: LogFields = {}): void {
    this.onEvent("warn", event, message, fields);
  }
  error(event: string, message: string, fields: LogFields = {}): void {
    this.onEvent("error", event, message, fields);
  }
  debug(): void {}
}
