/**
 * The configuration of a running broker: what it started with, below what clients have set since (IncrementalAlterConfigs of a broker, KIP-226). Rooms that ask
 * for a setting when they need it see a change with their next question; `revision` tells those that keep what they parsed.
 *
 * Order, the strongest first: set for this broker, set for all brokers, what the broker started with. What a broker starts with and binds at once
 * (listeners, places, memory sizes) cannot be set so: `findBrokerConfigError` refuses it.
 */
import type { Config, ListenerConfig, ObjectStoreConfig, WalConfig } from "./config.ts";
import { splitList } from "./values.ts";

const NOTHING: ReadonlyMap<string, string> = new Map();

export class LiveConfig implements Config {
  readonly #fixed: Config;
  #forAll = NOTHING;
  #own = NOTHING;
  #revision = 0;

  constructor(fixed: Config) {
    this.#fixed = fixed;
  }

  /** What is set at run time now, for all brokers and for this one. The same maps again change nothing. */
  follow(forAll: ReadonlyMap<string, string>, own: ReadonlyMap<string, string>): void {
    if (forAll === this.#forAll && own === this.#own) return;
    this.#forAll = forAll;
    this.#own = own;
    this.#revision++;
  }

  get revision(): number {
    return this.#revision;
  }

  getDynamic(name: string): { readonly own: string | undefined; readonly forAll: string | undefined } {
    return { own: this.#own.get(name), forAll: this.#forAll.get(name) };
  }

  getStatic(name: string): string | undefined {
    return this.#fixed.getStatic(name);
  }

  get(name: string): string {
    return this.#own.get(name) ?? this.#forAll.get(name) ?? this.#fixed.get(name);
  }

  getNumber(name: string): number {
    const set = this.#own.get(name) ?? this.#forAll.get(name);
    return set === undefined ? this.#fixed.getNumber(name) : Number(set);
  }

  getBoolean(name: string): boolean {
    const set = this.#own.get(name) ?? this.#forAll.get(name);
    return set === undefined ? this.#fixed.getBoolean(name) : set.trim().toLowerCase() === "true";
  }

  getList(name: string): readonly string[] {
    return splitList(this.get(name));
  }

  isSet(name: string): boolean {
    return this.#own.has(name) || this.#forAll.has(name) || this.#fixed.isSet(name);
  }

  get nodeId(): number {
    return this.#fixed.nodeId;
  }

  get rack(): string | undefined {
    return this.#fixed.rack;
  }

  get listeners(): readonly ListenerConfig[] {
    return this.#fixed.listeners;
  }

  get advertisedListeners(): readonly ListenerConfig[] {
    return this.#fixed.advertisedListeners;
  }

  get httpListener(): { readonly host: string; readonly port: number } | undefined {
    return this.#fixed.httpListener;
  }

  get wal(): WalConfig {
    return this.#fixed.wal;
  }

  get objectStore(): ObjectStoreConfig {
    return this.#fixed.objectStore;
  }

  get ringCapacityBytes(): number {
    return this.#fixed.ringCapacityBytes;
  }

  get requestMemoryBytes(): number {
    return this.#fixed.requestMemoryBytes;
  }

  get blockCacheBytes(): number {
    return this.#fixed.blockCacheBytes;
  }

  get catchUpMemoryBytes(): number {
    return this.#fixed.catchUpMemoryBytes;
  }

  get uploadSizeBytes(): number {
    return this.#fixed.uploadSizeBytes;
  }

  get uploadIntervalMs(): number {
    return this.#fixed.uploadIntervalMs;
  }

  get segmentZstdLevel(): number {
    return this.#fixed.segmentZstdLevel;
  }
}
