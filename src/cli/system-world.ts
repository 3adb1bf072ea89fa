/** The real world: system clock, kernel sockets, native devices, the configured object store. */
import { statSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import { SystemClock } from "../base/system-clock.ts";
import { SystemJobs } from "../base/system-jobs.ts";
import { SystemRandom } from "../base/system-random.ts";
import type { Config } from "../config/config.ts";
import { startHttpServer } from "../console/http-server.ts";
import { loadAddon } from "../native/load-addon.ts";
import { openObjectStore } from "../objectstore/open-store.ts";
import { BunTransport } from "../server/bun-transport.ts";
import { MemoryWalDevice } from "../storage/wal/memory-wal-device.ts";
import { inspectWalDevice, openNativeWalDevice } from "../storage/wal/native-wal-device.ts";
import type { WalDevice } from "../storage/wal/wal-device.ts";
import { StructuredLogger } from "../telemetry/logger.ts";
import { declareProcessMetrics } from "../telemetry/process-metrics.ts";
import { PrometheusMetrics } from "../telemetry/prometheus-metrics.ts";
import type { Logger } from "../telemetry/telemetry.ts";
import { writeLine } from "./terminal.ts";
import { KAFKA_VERSION, VERSION } from "./version.ts";
import type { WalBenchWorld } from "./wal-bench.ts";
import type { WalCommandWorld } from "./wal-command.ts";
import type { World } from "./world.ts";

/** Device writes in flight; the probe of the device decides how they are made. */
const WAL_WRITE_DEPTH = 4;
const MEBIBYTE = 1024 ** 2;

export function makeSystemWorld(config: Config, logger: Logger, onBug: (error: unknown) => void): World {
  const clock = new SystemClock();
  const random = new SystemRandom();
  const metrics = new PrometheusMetrics();
  declareProcessMetrics(metrics, clock, { version: VERSION, kafka: KAFKA_VERSION });
  const addon = loadAddon();
  return {
    version: VERSION,
    clock,
    random,
    metrics,
    logger,
    jobs: new SystemJobs(addon.zstdDecompressInto),
    transport: new BunTransport(onBug),
    crc32c: addon.crc32c,
    blockCodecs: addon,
    allocateRing: (capacityBytes) => addon.mapRing(capacityBytes),
    openObjectStore: () => openObjectStore(config.objectStore, { clock, random, logger, metrics, crc32c: addon.crc32c }),
    openWalDevice: () => openConfiguredWalDevice(config),
    startHttpServer,
    renderMetrics: () => metrics.render(),
    metricsContentType: metrics.contentType,
    onBug,
  };
}

function openConfiguredWalDevice(config: Config): WalDevice {
  const { wal } = config;
  switch (wal.kind) {
    case "memory":
      return new MemoryWalDevice(Math.min(Math.max(2 * config.ringCapacityBytes, 64 * MEBIBYTE), 512 * MEBIBYTE));
    case "file":
      return openNativeWalDevice(loadAddon(), {
        path: wal.path,
        kind: "file",
        createSizeBytes: wal.sizeBytes,
        writeDepth: WAL_WRITE_DEPTH,
      });
    case "block":
      return openNativeWalDevice(loadAddon(), { path: wal.path, kind: "block", writeDepth: WAL_WRITE_DEPTH });
  }
}

export function makeWalCommandWorld(): WalCommandWorld {
  const addon = loadAddon();
  const clock = new SystemClock();
  return {
    inspectDevice: (path) => inspectWalDevice(addon, path),
    openDevice: (path, { readOnly }) => openNativeWalDevice(addon, { path, readOnly, writeDepth: WAL_WRITE_DEPTH }),
    crc32c: addon.crc32c,
    clock,
    logger: new StructuredLogger({ clock, level: "warn", format: "text", write: (line) => writeLine(2, line) }),
    random: new SystemRandom(),
  };
}

export function makeWalBenchWorld(): WalBenchWorld {
  const addon = loadAddon();
  return {
    ...makeWalCommandWorld(),
    openDevice: (path, options) => openNativeWalDevice(addon, { path, writeDepth: WAL_WRITE_DEPTH, ...options }),
    allocateRing: (bytes) => addon.mapRing(bytes),
    unlink: unlinkSync,
    hasFolder: (path) => statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory() === true,
  };
}
