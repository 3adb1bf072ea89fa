/**
 * What is wrong with settings of a broker that are right one by one, as Kafka says it when it tries them on: KafkaConfig.validateValues, then ListenerConnectionQuota,
 * DynamicThreadPool, DynamicLogConfig and SocketServer of 4.4. Each is asked only when one of its settings changes.
 */
import { LISTENER_LIMITS, listenerLimitOf, parseAddressOverrides } from "./accept-limits.ts";
import type { Config } from "./config.ts";
import { SETTINGS } from "./settings.ts";
import { splitList } from "./values.ts";

const THREADS = [
  "num.io.threads",
  "num.replica.fetchers",
  "num.recovery.threads.per.data.dir",
  "background.threads",
  "num.network.threads",
];
const CLEANER_THREADS = "log.cleaner.threads";
const CORDONED = "cordoned.log.dirs";
const DEDUPE_BUFFER = "log.cleaner.dedupe.buffer.size";
const MEBIBYTE = 1_048_576;
const RETENTION = ["log.retention.ms", "log.retention.bytes", "log.local.retention.ms", "log.local.retention.bytes"];
/** Stands for the limits of log.retention. */
const AS_THE_LOG = -2n;
const NO_LIMIT = -1n;

/** A broker's settings as they would be, with those that would change. */
export interface ProposedConfig {
  readonly now: Config;
  /** The value that would be in force; undefined where there is none. */
  readonly get: (name: string) => string | undefined;
  readonly changed: ReadonlySet<string>;
}

/** `configs`: all that would be set for one broker (`isForOne`) or for all. */
export function proposeConfig(now: Config, configs: ReadonlyMap<string, string>, isForOne: boolean): ProposedConfig {
  const dynamic = (name: string): string | undefined => {
    const { own, forAll } = now.getDynamic(name);
    return isForOne ? (configs.get(name) ?? forAll) : (own ?? configs.get(name));
  };
  const get = (name: string): string | undefined => dynamic(name) ?? now.getStatic(name) ?? SETTINGS.get(name)?.default ?? undefined;
  const before = (name: string): string | undefined => (isForOne ? now.getDynamic(name).own : now.getDynamic(name).forAll);
  const names = [...configs.keys(), ...THREADS, CLEANER_THREADS, DEDUPE_BUFFER, ...RETENTION, ...SETTINGS_OF_CONNECTIONS];
  return { now, get, changed: new Set(names.filter((name) => configs.get(name) !== before(name))) };
}

const SETTINGS_OF_CONNECTIONS = [
  "max.connections",
  "max.connections.per.ip",
  "max.connections.per.ip.overrides",
  "max.connection.creation.rate",
];

export function findProposalError(proposed: ProposedConfig): string | undefined {
  const whole = findLogError(proposed) ?? findAddressError(proposed);
  if (whole !== undefined) return whole;
  const tried = findListenerLimitError(proposed) ?? findThreadError(proposed) ?? findRetentionError(proposed) ?? findLimitError(proposed);
  if (tried === undefined) return undefined;
  return `Invalid value org.apache.kafka.common.config.ConfigException: ${tried} for configuration Invalid dynamic configuration`;
}

function findLogError({ get, changed }: ProposedConfig): string | undefined {
  const failed = "requirement failed:";
  if (changed.has("log.roll.ms") && Number(get("log.roll.ms") ?? 1) < 1) return `${failed} log.roll.ms must be greater than or equal to 1`;
  if (changed.has("log.roll.jitter.ms") && Number(get("log.roll.jitter.ms") ?? 0) < 0)
    return `${failed} log.roll.jitter.ms must be greater than or equal to 0`;
  if (changed.has("log.retention.ms") && readRetentionMs(get) === 0n)
    return `${failed} log.retention.ms must be unlimited (-1) or, greater than or equal to 1`;
  const cordoned = changed.has(CORDONED) ? splitList(get(CORDONED) ?? "") : [];
  if (cordoned.includes("*")) {
    if (cordoned.length > 1) return `${failed} When ${CORDONED} is set to *, it must not contain other values`;
  } else {
    const folders = splitList(get("log.dirs") ?? get("log.dir") ?? "");
    const missing = cordoned.filter((folder) => !folders.includes(folder));
    if (missing.length > 0) {
      return `${failed} All entries in ${CORDONED} must be present in log.dirs or log.dir. Missing entries : ${missing.join(", ")}`;
    }
  }
  if (!changed.has(DEDUPE_BUFFER) && !changed.has(CLEANER_THREADS)) return undefined;
  const [bytes, threads] = [Number(get(DEDUPE_BUFFER)), Number(get(CLEANER_THREADS))];
  if (bytes >= threads * (MEBIBYTE + 1)) return undefined;
  return `${failed} ${DEDUPE_BUFFER} must be at least 1MB per cleaner thread.`;
}

function findAddressError({ get }: ProposedConfig): string | undefined {
  const parsed = parseAddressOverrides(get("max.connections.per.ip.overrides") ?? "");
  if ("error" in parsed) return parsed.error;
  if (Number(get("max.connections.per.ip")) !== 0 || parsed.overrides.size > 0) return undefined;
  return "requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.";
}

function findListenerLimitError({ get, changed }: ProposedConfig): string | undefined {
  for (const name of changed) {
    const limit = listenerLimitOf(name);
    const text = limit === undefined ? undefined : get(name);
    if (text === undefined) continue;
    if (!/^[+-]?\d{1,10}$/.test(text.trim())) return `Invalid value ${text} for configuration ${limit}: Not a number of type INT`;
    if (Number(text) < 0) return `Invalid value ${text} for configuration ${limit}: Value must be at least 0`;
    if (Number(text) === 0) return `Invalid ${limit} 0`;
  }
  return undefined;
}

function findThreadError({ now, get, changed }: ProposedConfig): string | undefined {
  for (const name of THREADS) {
    const [value, current] = [Number(get(name)), now.getNumber(name)];
    if (!changed.has(name) || value === current) continue;
    const failure = `Dynamic thread count update validation failed for ${name}=${value}`;
    if (value < Math.trunc(current / 2)) return `${failure}, value should be at least half the current value ${current}`;
    if (value > current * 2) return `${failure}, value should not be greater than double the current value ${current}`;
  }
  const [value, current] = [Number(get(CLEANER_THREADS)), now.getNumber(CLEANER_THREADS)];
  if (!changed.has(CLEANER_THREADS)) return undefined;
  if (value < Math.trunc(current / 2)) return `Log cleaner threads cannot be reduced to less than half the current value ${current}`;
  return value > current * 2 ? `Log cleaner threads cannot be increased to more than double the current value ${current}` : undefined;
}

function findRetentionError({ get, changed }: ProposedConfig): string | undefined {
  if (!RETENTION.some((name) => changed.has(name))) return undefined;
  const findError = (name: string, whole: bigint): string | undefined => {
    const local = BigInt(get(`log.local.${name}`) ?? AS_THE_LOG);
    if (whole < 0n || local === AS_THE_LOG) return undefined;
    const invalid = `Invalid value ${local} for configuration log.local.${name}: `;
    if (local === NO_LIMIT) return `${invalid}Value must not be -1 as log.${name} value is set as ${whole}.`;
    return local > whole ? `${invalid}Value must not be more than log.${name} property value: ${whole}` : undefined;
  };
  return findError("retention.ms", readRetentionMs(get)) ?? findError("retention.bytes", BigInt(get("log.retention.bytes") ?? NO_LIMIT));
}

/** The finest unit that is set counts. */
function readRetentionMs(get: ProposedConfig["get"]): bigint {
  const [ms, minutes, hours] = ["ms", "minutes", "hours"].map((unit) => get(`log.retention.${unit}`));
  if (ms !== undefined) return BigInt(ms);
  return minutes !== undefined ? BigInt(minutes) * 60_000n : BigInt(hours ?? NO_LIMIT) * 3_600_000n;
}

function findLimitError({ get, changed }: ProposedConfig): string | undefined {
  const zero = LISTENER_LIMITS.find((name) => changed.has(name) && Number(get(name)) === 0);
  return zero === undefined ? undefined : `Invalid ${zero} 0`;
}
