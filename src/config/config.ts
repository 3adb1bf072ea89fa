/** The frozen configuration as the rooms see it. Settings are declared once in `settings.ts`; this is their typed view. */
export interface ListenerConfig {
  /** "PLAINTEXT", "EXTERNAL", ... */
  readonly name: string;
  readonly securityProtocol: "PLAINTEXT" | "SSL" | "SASL_PLAINTEXT" | "SASL_SSL";
  /** As written; "" means all interfaces. */
  readonly host: string;
  readonly port: number;
}

export type WalConfig =
  | { readonly kind: "block"; readonly path: string }
  | { readonly kind: "file"; readonly path: string; readonly sizeBytes: number }
  | { readonly kind: "memory" };

export type ObjectStoreConfig =
  | {
      readonly kind: "s3";
      readonly bucket: string;
      readonly prefix: string;
      readonly region: string | undefined;
      readonly endpoint: string | undefined;
      readonly pathStyle: boolean;
    }
  | { readonly kind: "file"; readonly directory: string }
  | { readonly kind: "memory" };

export interface Config {
  /** Any Kafka setting by its name, after defaults: what DescribeConfigs answers. */
  get(name: string): string;
  getNumber(name: string): number;
  getBoolean(name: string): boolean;
  getList(name: string): readonly string[];
  /** True when file, environment, override or a client set it. */
  isSet(name: string): boolean;
  /** Rises with every change at run time: what was parsed from an older one is stale. */
  readonly revision: number;
  /** What clients have set at run time, for this broker and for all. */
  getDynamic(name: string): { readonly own: string | undefined; readonly forAll: string | undefined };
  /** What file, environment or override set. */
  getStatic(name: string): string | undefined;

  readonly nodeId: number;
  readonly rack: string | undefined;
  readonly listeners: readonly ListenerConfig[];
  readonly advertisedListeners: readonly ListenerConfig[];
  readonly httpListener: { readonly host: string; readonly port: number } | undefined;
  readonly wal: WalConfig;
  readonly objectStore: ObjectStoreConfig;
  /** Memory ring; default from the cgroup's limit. */
  readonly ringCapacityBytes: number;
  /** Request bytes admitted before sockets are no longer read. */
  readonly requestMemoryBytes: number;
  /** Private memory of catch-up reads and the block cache. */
  readonly blockCacheBytes: number;
  readonly catchUpMemoryBytes: number;
  /** Uploader: an object is cut at this payload or age. */
  readonly uploadSizeBytes: number;
  readonly uploadIntervalMs: number;
  readonly segmentZstdLevel: number;
}
