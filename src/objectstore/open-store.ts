/** From the configuration to a store with its decorators: retry over meter over body. */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { ObjectStoreConfig } from "../config/config.ts";
import type { Metrics } from "../telemetry/telemetry.ts";
import { DirectoryStore } from "./directory-store.ts";
import { MemoryStore } from "./memory-store.ts";
import { MeteredStore } from "./metered-store.ts";
import type { ObjectStore } from "./object-store.ts";
import { RetryingStore } from "./retrying-store.ts";

export interface OpenStoreDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly crc32c: (bytes: Uint8Array, start: number, end: number) => number;
}

/** Rejects with a Trouble that names the setting. Makes no request to S3 (the AWS SDK is loaded only for an s3 store). */
export async function openObjectStore(config: ObjectStoreConfig, dependencies: OpenStoreDependencies): Promise<ObjectStore> {
  const { clock, random, metrics } = dependencies;
  return new RetryingStore(new MeteredStore(await openBody(config, dependencies), clock, metrics), clock, random);
}

async function openBody(config: ObjectStoreConfig, { clock, random, crc32c }: OpenStoreDependencies): Promise<ObjectStore> {
  switch (config.kind) {
    case "memory":
      return new MemoryStore(clock);
    case "file":
      return DirectoryStore.open(config.directory, random);
    case "s3": {
      const { S3Store } = await import("./s3-store.ts");
      return new S3Store({ ...config, clock, crc32c });
    }
  }
}
