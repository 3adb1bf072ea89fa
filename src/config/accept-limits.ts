/**
 * How many connections a broker takes, from whom and how fast: `max.connections`, `max.connections.per.ip` with its overrides, `max.connection.creation.rate`, and the first
 * and the last of them for one listener (`listener.name.NAME.`). Read anew whenever one of them changes.
 */
import type { Config } from "./config.ts";
import type { Setting } from "./setting.ts";
import { SETTINGS } from "./settings.ts";

/** Of a listener, or of all together. */
export interface ListenerAcceptLimits {
  readonly maxConnections: number;
  /** New connections a second. */
  readonly creationRate: number;
}

export interface AcceptLimits extends ListenerAcceptLimits {
  readonly maxPerAddress: number;
  /** By address as `canonicalAddress` writes it. */
  readonly addressOverrides: ReadonlyMap<string, number>;
  /** Seconds over which the rates are averaged: so long may more come at once what had not come before. */
  readonly rateWindowS: number;
  getListener(name: string): ListenerAcceptLimits;
}

/** The settings that a listener may have for itself, and acts on. */
export const LISTENER_LIMITS = ["max.connections", "max.connection.creation.rate"] as const;
type ListenerLimit = (typeof LISTENER_LIMITS)[number];

export function readAcceptLimits(config: Config): AcceptLimits {
  const read = (name: string): ListenerAcceptLimits => {
    const [maxConnections, creationRate] = LISTENER_LIMITS.map((limit) => {
      const key = `listener.name.${name.toLowerCase()}.${limit}`;
      const { own, forAll } = config.getDynamic(key);
      return Number(own ?? forAll ?? config.getStatic(key) ?? config.get(limit));
    });
    return { maxConnections: maxConnections ?? 0, creationRate: creationRate ?? 0 };
  };
  const parsed = parseAddressOverrides(config.get("max.connections.per.ip.overrides"));
  return {
    maxConnections: config.getNumber("max.connections"),
    maxPerAddress: config.getNumber("max.connections.per.ip"),
    addressOverrides: "overrides" in parsed ? parsed.overrides : new Map(),
    creationRate: config.getNumber("max.connection.creation.rate"),
    // As Kafka's Rate: the samples that are over, not the one that has begun.
    rateWindowS: Math.max(1, config.getNumber("quota.window.num") - 1) * config.getNumber("quota.window.size.seconds"),
    getListener: read,
  };
}

/** `max.connections.per.ip.overrides`: "ADDRESS:COUNT,...". The error is in the words of Kafka, which also takes names; here those would have to be resolved. */
export function parseAddressOverrides(text: string): { readonly overrides: ReadonlyMap<string, number> } | { readonly error: string } {
  const name = "max.connections.per.ip.overrides";
  const overrides = new Map<string, number>();
  const invalid: string[] = [];
  for (const item of text.trim() === "" ? [] : text.trim().split(/\s*,\s*/)) {
    const colon = item.lastIndexOf(":");
    if (colon < 0) return { error: `Error parsing configuration property '${name}': begin 0, end -1, length ${item.length}` };
    const count = item.slice(colon + 1).trim();
    if (!/^[+-]?\d{1,10}$/.test(count)) return { error: `For input string: "${count}"` };
    const host = item.slice(0, colon).trim();
    const address = canonicalAddress(host === "localhost" ? "127.0.0.1" : host);
    if (address === undefined) invalid.push(host);
    else overrides.set(address, Number(count));
  }
  return invalid.length === 0 ? { overrides } : { error: `${name} contains invalid addresses : ${invalid.join(",")}` };
}

/** One text for each address, whatever way it is written in; IPv4 within IPv6 is IPv4. Undefined: this is no address. */
export function canonicalAddress(text: string): string | undefined {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text)?.[1] ?? text;
  const isIpv4 = /^(\d{1,3})(\.\d{1,3}){3}$/.test(mapped);
  if (isIpv4) return mapped.split(".").every((part) => Number(part) < 256) ? mapped.split(".").map(Number).join(".") : undefined;
  if (!/^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(mapped) || !URL.canParse(`http://[${mapped}]/`)) return undefined;
  return new URL(`http://[${mapped}]/`).hostname.slice(1, -1);
}

/** KEY of `listener.name.NAME.KEY`, a setting of one listener alone; undefined for any other name. */
export function listenerKeyOf(name: string): string | undefined {
  return /^listener\.name\.[^.]*\.(.*)$/.exec(name)?.[1];
}

/** The limit that `listener.name.NAME.LIMIT` sets; undefined for anything else. */
export function listenerLimitOf(name: string): ListenerLimit | undefined {
  const key = listenerKeyOf(name);
  return LISTENER_LIMITS.find((limit) => limit === key);
}

/** As a setting of its own, with the limits of the one behind it; undefined for anything else than `listener.name.NAME.` and one of the limits. */
export function findListenerLimit(name: string): Setting | undefined {
  const limit = listenerLimitOf(name);
  const setting = limit === undefined ? undefined : SETTINGS.get(limit);
  return setting === undefined ? undefined : { ...setting, name };
}

/** The setting behind `listener.name.NAME.KEY`, by KEY; undefined where there is none. */
export function getListenerSetting(name: string): Setting | undefined {
  const key = listenerKeyOf(name);
  return key === undefined ? undefined : SETTINGS.get(key);
}
