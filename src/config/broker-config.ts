/** What a broker starts with: all settings with defaults, and the typed view of those that the rooms act on. Immutable; `live-config.ts` lies above it. */
import { assert } from "../base/assert.ts";
import { parseAddressOverrides } from "./accept-limits.ts";
import type { Config, ListenerConfig, ObjectStoreConfig, WalConfig } from "./config.ts";
import { findGroupMistake } from "./group-checks.ts";
import { parseHttpListener, parseListeners } from "./listeners.ts";
import type { SetValue } from "./load-config.ts";
import { parseObjectStore, parseWal } from "./places.ts";
import { SETTINGS } from "./settings.ts";
import { badValue, splitList } from "./values.ts";

const MEBIBYTE = 1024 ** 2;
const GIBIBYTE = 1024 ** 3;
const PAGE_BYTES = 4096;

const clampToPages = (bytes: number, least: number, most: number): number =>
  Math.floor(Math.min(Math.max(bytes, least), most) / PAGE_BYTES) * PAGE_BYTES;

/** Defaults of the memory settings, for a process that may use `limitBytes`. Their sum stays well below it. */
export function deriveMemoryDefaults(limitBytes: number): Readonly<Record<string, number>> {
  // A larger ring costs page faults and resident memory; what it no longer holds, the device and the block cache serve.
  const ringBytes = clampToPages(limitBytes / 8, 32 * MEBIBYTE, 512 * MEBIBYTE);
  return {
    "ring.capacity.bytes": ringBytes,
    "request.memory.bytes": clampToPages(limitBytes / 16, 16 * MEBIBYTE, GIBIBYTE),
    "block.cache.bytes": clampToPages(limitBytes / 16, 16 * MEBIBYTE, 2 * GIBIBYTE),
    "catch.up.memory.bytes": clampToPages(limitBytes / 16, 16 * MEBIBYTE, GIBIBYTE),
    "upload.size.bytes": Math.min(64 * MEBIBYTE, ringBytes / 4),
  };
}

const NOTHING_DYNAMIC = { own: undefined, forAll: undefined } as const;

export class BrokerConfig implements Config {
  readonly revision = 0;
  readonly nodeId: number;
  readonly rack: string | undefined;
  readonly listeners: readonly ListenerConfig[];
  readonly advertisedListeners: readonly ListenerConfig[];
  /** Listeners of Kafka's quorum, which are not opened. */
  readonly skippedListeners: readonly string[];
  readonly httpListener: { readonly host: string; readonly port: number } | undefined;
  readonly wal: WalConfig;
  readonly objectStore: ObjectStoreConfig;
  readonly ringCapacityBytes: number;
  readonly requestMemoryBytes: number;
  readonly blockCacheBytes: number;
  readonly catchUpMemoryBytes: number;
  readonly uploadSizeBytes: number;
  readonly uploadIntervalMs: number;
  readonly segmentZstdLevel: number;

  private readonly values: ReadonlyMap<string, SetValue>;
  private readonly derived: Readonly<Record<string, number>>;

  /** `values` are normalised already. Throws Trouble "config-bad-value" for values that do not go together. */
  constructor(values: ReadonlyMap<string, SetValue>, memoryLimitBytes: number, hostName: string) {
    this.values = new Map(values);
    this.derived = deriveMemoryDefaults(memoryLimitBytes);
    this.nodeId = this.resolveNodeId();
    this.rack = this.find("broker.rack") ?? undefined;
    const parsed = parseListeners({
      listeners: this.get("listeners"),
      advertised: this.find("advertised.listeners"),
      protocolMap: this.get("listener.security.protocol.map"),
      controllerNames: this.getList("controller.listener.names"),
      hostName,
      sourceOf: (key) => this.sourceOf(key),
    });
    this.listeners = parsed.listeners;
    this.advertisedListeners = parsed.advertisedListeners;
    this.skippedListeners = parsed.skipped;
    this.httpListener = parseHttpListener(this.get("http.listener"), this.sourceOf("http.listener"));
    this.wal = parseWal(this.get("wal"), this.sourceOf("wal"));
    this.objectStore = parseObjectStore(this.get("object.store"), this.sourceOf("object.store"));
    this.ringCapacityBytes = this.getNumber("ring.capacity.bytes");
    this.requestMemoryBytes = this.getNumber("request.memory.bytes");
    this.blockCacheBytes = this.getNumber("block.cache.bytes");
    this.catchUpMemoryBytes = this.getNumber("catch.up.memory.bytes");
    this.uploadSizeBytes = this.getNumber("upload.size.bytes");
    this.uploadIntervalMs = this.getNumber("upload.interval.ms");
    this.segmentZstdLevel = this.getNumber("segment.zstd.level");
    if (this.ringCapacityBytes % PAGE_BYTES !== 0) {
      throw badValue(
        "ring.capacity.bytes",
        this.get("ring.capacity.bytes"),
        `a multiple of ${PAGE_BYTES}`,
        this.sourceOf("ring.capacity.bytes"),
      );
    }
    this.checkRetention();
    this.checkAddressLimits();
    const mistake = findGroupMistake((name) => this.get(name));
    if (mistake !== undefined) throw badValue(mistake.key, this.get(mistake.key), mistake.expected, this.sourceOf(mistake.key));
    Object.freeze(this);
  }

  /** The finest unit that is set counts; 0 would keep nothing, and Kafka does not start with it either. */
  private checkRetention(): void {
    const finest = ["ms", "minutes", "hours"].map((unit) => `log.retention.${unit}`).find((name) => this.isSet(name));
    if (finest === undefined || this.getNumber(finest) !== 0) return;
    throw badValue(finest, this.get(finest), "-1, for no limit, or at least 1", this.sourceOf(finest));
  }

  private checkAddressLimits(): void {
    const [limit, overrides] = ["max.connections.per.ip", "max.connections.per.ip.overrides"] as const;
    const parsed = parseAddressOverrides(this.get(overrides));
    if ("error" in parsed) throw badValue(overrides, this.get(overrides), "a list of ADDRESS:COUNT", this.sourceOf(overrides));
    if (this.getNumber(limit) > 0 || parsed.overrides.size > 0) return;
    throw badValue(limit, this.get(limit), `at least 1 where ${overrides} is not set`, this.sourceOf(limit));
  }

  private resolveNodeId(): number {
    const brokerId = this.isSet("broker.id") ? this.getNumber("broker.id") : -1;
    if (brokerId < 0) return this.getNumber("node.id");
    if (this.isSet("node.id") && this.getNumber("node.id") !== brokerId) {
      throw badValue("broker.id", String(brokerId), `the same as node.id (${this.get("node.id")})`, this.sourceOf("broker.id"));
    }
    return brokerId;
  }

  /** The value after defaults; null when there is none. Asserts that the setting is known. */
  find(name: string): string | null {
    const setting = SETTINGS.get(name);
    assert(setting !== undefined, `no setting is named ${name}`);
    const value = this.values.get(name)?.value ?? setting.default;
    if (value !== null) return value;
    const derived = this.derived[name];
    return derived === undefined ? null : String(derived);
  }

  get(name: string): string {
    return this.find(name) ?? "";
  }

  getNumber(name: string): number {
    const value = this.find(name);
    assert(value !== null, `${name} has no value`);
    const number = Number(value);
    assert(!Number.isNaN(number), `${name}=${value} is not a number`);
    return number;
  }

  getBoolean(name: string): boolean {
    return this.get(name) === "true";
  }

  getList(name: string): readonly string[] {
    return splitList(this.get(name));
  }

  isSet(name: string): boolean {
    return this.values.has(name);
  }

  getDynamic(): typeof NOTHING_DYNAMIC {
    return NOTHING_DYNAMIC;
  }

  getStatic(name: string): string | undefined {
    return this.values.get(name)?.value;
  }

  /** "default", or the file's line, the environment variable or the option that set it. */
  sourceOf(name: string): string {
    return this.values.get(name)?.source ?? "default";
  }
}
