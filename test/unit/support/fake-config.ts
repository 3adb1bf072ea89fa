/** Kafka's defaults, and what a test sets. */
import type { Config } from "../../../src/config/config.ts";
import { SETTINGS } from "../../../src/config/settings.ts";

export function fakeConfig(set: Readonly<Record<string, string>> = {}): Config {
  const get = (name: string): string => set[name] ?? SETTINGS.get(name)?.default ?? "";
  return {
    get,
    getNumber: (name) => Number(get(name)),
    getBoolean: (name) => get(name) === "true",
    getList: (name) => get(name).split(","),
    isSet: (name) => set[name] !== undefined,
    revision: 0,
    getDynamic: () => ({ own: undefined, forAll: undefined }),
    getStatic: (name) => set[name],
    nodeId: 1,
    rack: undefined,
    listeners: [],
    advertisedListeners: [],
    httpListener: undefined,
    wal: { kind: "memory" },
    objectStore: { kind: "memory" },
    ringCapacityBytes: 1 << 20,
    requestMemoryBytes: 1 << 20,
    blockCacheBytes: 1 << 20,
    catchUpMemoryBytes: 1 << 20,
    uploadSizeBytes: 1 << 20,
    uploadIntervalMs: 1000,
    segmentZstdLevel: 1,
  };
}
