/** From the configuration to a store with its decorators: retry over watch over meter over body. */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { ObjectStoreConfig } from "../config/config.ts";
import type { Logger, Metrics } from "../telemetry/telemetry.ts";
import { DirectoryStore } from "./directory-store.ts";
import { MemoryStore } from "./memory-store.ts";
import { MeteredStore } from "./metered-store.ts";
import type { ObjectStore } from "./object-store.ts";
import { RetryBudget } from "./retry-budget.ts";
import { DEFAULT_RETRY_POLICY, RetryingStore } from "./retrying-store.ts";
import { WatchedStore } from "./store-watch.ts";

export interface OpenStoreDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly crc32c: (bytes: Uint8Array, start: number, end: number) => number;
}

/** Rejects with a Trouble that names the setting. Makes no request to S3 (the AWS SDK is loaded only for an s3 store). */
export async function openObjectStore(config: ObjectStoreConfig, dependencies: OpenStoreDependencies): Promise<ObjectStore> {
  const { clock, random, logger, metrics } = dependencies;
  const metered = new MeteredStore(await openBody(config, dependencies), clock, metrics);
  const watched = new WatchedStore(metered, clock, logger, metrics);
  return new RetryingStore(watched, clock, random, DEFAULT_RETRY_POLICY, { budget: new RetryBudget(), metrics });
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
