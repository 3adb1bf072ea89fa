/** All that a broker takes from outside, so that the simulator can give another world. `system-world.ts` is the real one. */
import type { Clock } from "../base/clock.ts";
import type { Jobs } from "../base/jobs.ts";
import type { Random } from "../base/random.ts";
import type { HttpServer, HttpSources } from "../console/http-server.ts";
import type { ObjectStore } from "../objectstore/object-store.ts";
import type { BlockCodecs } from "../protocol/compression.ts";
import type { Transport } from "../server/transport.ts";
import type { WalDevice } from "../storage/wal/wal-device.ts";
import type { Logger, Metrics } from "../telemetry/telemetry.ts";

export interface World {
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly jobs: Jobs;
  readonly transport: Transport;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** CRC32C of bytes[start, end), continuing from `seed`. */
  readonly crc32c: (bytes: Uint8Array, start: number, end: number, seed?: number) => number;
  readonly blockCodecs: BlockCodecs;
  /** Page-aligned, its untouched pages not resident. */
  allocateRing(capacityBytes: number): Uint8Array;
  /** Rejects with a Trouble that names the setting. */
  openObjectStore(): Promise<ObjectStore>;
  /** Locked for this process. Throws a Trouble. */
  openWalDevice(): WalDevice;
  /** Throws a Trouble. undefined in a world without HTTP. */
  startHttpServer: ((place: { readonly host: string; readonly port: number }, sources: HttpSources) => HttpServer) | undefined;
  renderMetrics(): Promise<string>;
  readonly metricsContentType: string;
  /** A bug was found where nobody can be told: ends the process. */
  readonly onBug: (error: unknown) => void;
}
