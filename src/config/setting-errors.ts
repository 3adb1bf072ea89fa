/**
 * What is wrong with settings that a client sends for a broker or a group, in Kafka's words: DynamicBrokerConfig.validateConfigs and
 * GroupConfig.validate of 4.4. Topics have their own in `topic-settings.ts`.
 */
import { LISTENER_LIMITS, listenerKeyOf } from "./accept-limits.ts";
import type { Config } from "./config.ts";
import { findProposalError, proposeConfig } from "./dynamic-checks.ts";
import { GROUP_BOUNDS, GROUP_TYPES } from "./group-checks.ts";
import { KAFKA_GROUP_SETTINGS } from "./kafka-group-settings.ts";
import type { GroupSetting, Setting } from "./setting.ts";
import { atLeast, between, betweenOr, findValueError, listOf, oneOf, type SettingCheck, type SettingValueType } from "./setting-checks.ts";
import { SETTINGS } from "./settings.ts";
import { splitList } from "./values.ts";

const GROUP_SETTINGS: ReadonlyMap<string, GroupSetting> = new Map(KAFKA_GROUP_SETTINGS.map((setting) => [setting.name, setting]));
/** `listener.name.*` of these may be set for all brokers. */
const CLUSTER_WIDE_LISTENER_SETTINGS: ReadonlySet<string> = new Set([...LISTENER_LIMITS, "num.network.threads"]);
/** Settings of brokers that exist at run time only (DynamicConfig.Broker, KIP-73); replicas are not copied here, so none has a meaning. */
const RUN_TIME_ONLY: ReadonlySet<string> = new Set([
  "leader.replication.throttled.rate",
  "follower.replication.throttled.rate",
  "replica.alter.log.dirs.io.max.bytes.per.second",
]);
/** Kafka changes these at run time for one listener at a time (SslConfigs.RECONFIGURABLE_CONFIGS). */
const PER_LISTENER_ONLY = /^ssl\.(key\.password|(key|trust)store\..*)$/;
/** Weir binds these when it starts; Kafka can change them at run time. */
const BOUND_AT_START = /^(listeners|listener\..*|principal\.builder\.class|sasl\..*|ssl\..*)$/;

export function getGroupSetting(name: string): GroupSetting | undefined {
  return GROUP_SETTINGS.get(name);
}

export function groupSettings(): Iterable<GroupSetting> {
  return GROUP_SETTINGS.values();
}

/** Whether a broker's setting cannot be changed at run time; a name that nobody knows is kept for whoever reads it, as in Kafka. */
export function isFixedAtStart(name: string): boolean {
  const setting = SETTINGS.get(name);
  const key = listenerKeyOf(name);
  if (key !== undefined && CLUSTER_WIDE_LISTENER_SETTINGS.has(key)) return false;
  return BOUND_AT_START.test(name) || (setting !== undefined && (setting.origin === "weir" || setting.updateMode === "read-only"));
}

/** A rate of copying, in bytes per second. */
export function isRunTimeOnly(name: string): boolean {
  return RUN_TIME_ONLY.has(name);
}

function checkOf({ type, limits }: Pick<Setting, "type" | "limits">): SettingCheck | undefined {
  const { min, max, except, values } = limits;
  if (values !== undefined && type === "list") return listOf(values);
  if (values !== undefined) return oneOf(values);
  if (min !== undefined && max !== undefined && except?.[0] !== undefined) return betweenOr(min, max, except[0]);
  if (min !== undefined && max !== undefined) return between(min, max);
  return min === undefined ? undefined : atLeast(min);
}

/** Types that are texts to whoever only checks them. */
export const valueType = (type: Setting["type"]): SettingValueType =>
  type === "class" || type === "password" || type === "size" ? "string" : type;

const showSet = (names: readonly string[]): string => `[${[...names].sort().join(", ")}]`;

/** Of all that would be set for one broker (`isForOne`) or for all. */
export function findBrokerConfigError(config: Config, configs: ReadonlyMap<string, string>, isForOne: boolean): string | undefined {
  const names = [...configs.keys()];
  const fixed = names.filter((name) => SETTINGS.get(name)?.updateMode === "read-only" || SETTINGS.get(name)?.origin === "weir");
  if (fixed.length > 0) return `Cannot update these configs dynamically: ${showSet(fixed)}`;
  const unprefixed = names.filter((name) => PER_LISTENER_ONLY.test(name) && SETTINGS.has(name));
  if (unprefixed.length > 0) {
    return `These security configs can be dynamically updated only per-listener using the listener prefix: ${showSet(unprefixed)}`;
  }
  for (const [name, text] of configs) {
    const setting = SETTINGS.get(name);
    const known = setting ?? (isRunTimeOnly(name) ? ({ type: "long", limits: { min: 0 } } as const) : undefined);
    const error = known === undefined ? undefined : findValueError(valueType(known.type), name, text, checkOf(known));
    if (error !== undefined) return error;
  }
  const perBroker = names.filter((name) => {
    const key = listenerKeyOf(name);
    return key === undefined ? SETTINGS.get(name)?.updateMode === "per-broker" : !CLUSTER_WIDE_LISTENER_SETTINGS.has(key);
  });
  if (!isForOne && perBroker.length > 0) {
    return `Cannot update these configs at default cluster level, broker id must be specified: ${showSet(perBroker)}`;
  }
  const bound = names.filter(isFixedAtStart);
  if (bound.length > 0) return `This server binds these configs when it starts, they cannot be updated dynamically: ${showSet(bound)}`;
  return findIntervalError(config, configs) ?? findProposalError(proposeConfig(config, configs, isForOne));
}

/** `group.TYPE.assignment.interval.ms` lies between the broker's own limits. */
function findIntervalError(config: Config, configs: ReadonlyMap<string, string>): string | undefined {
  for (const type of GROUP_TYPES) {
    const name = `group.${type}.assignment.interval.ms`;
    const text = configs.get(name);
    if (text === undefined) continue;
    const [least, most] = [`group.${type}.min.assignment.interval.ms`, `group.${type}.max.assignment.interval.ms`];
    if (Number(text) > config.getNumber(most)) return `${name} must be less than or equal to ${most}`;
    if (Number(text) < config.getNumber(least)) return `${name} must be greater than or equal to ${least}`;
  }
  return undefined;
}

const RACK_TAGS = "streams.rack.aware.assignment.tags";
const TASK_OFFSET_INTERVAL = "streams.task.offset.interval.ms";
const ISO_DURATION = /^by_duration:P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d{1,9})?S)?)?$/i;

/** Of all that would be set for a group. */
export function findGroupConfigError(config: Config, configs: ReadonlyMap<string, string>): string | undefined {
  for (const name of configs.keys()) if (!GROUP_SETTINGS.has(name)) return `Unknown group config name: ${name}`;
  const tags = splitList(configs.get(RACK_TAGS) ?? "");
  if (new Set(tags).size < tags.length) return `${RACK_TAGS} must not contain duplicate tag keys.`;
  for (const [name, text] of configs) {
    const setting = GROUP_SETTINGS.get(name);
    if (setting === undefined) continue;
    const check = name === "share.auto.offset.reset" ? checkOffsetReset : checkOf(setting);
    const error = findValueError(valueType(setting.type), name, text, check);
    if (error !== undefined) return error;
  }
  return findGroupBoundError(config, configs);
}

const checkOffsetReset: SettingCheck = (value, name) => {
  const text = String(value).toLowerCase();
  if (text === "earliest" || text === "latest" || ISO_DURATION.test(text)) return undefined;
  return `Invalid value \`${value}\` for configuration ${name}. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.`;
};

function findGroupBoundError(config: Config, configs: ReadonlyMap<string, string>): string | undefined {
  const numberOf = (name: string): number => Number(getEffectiveGroupSetting(config, configs, name));
  for (const { name, least, most } of GROUP_BOUNDS) {
    if (!configs.has(name)) continue;
    const [min, max, value] = [config.getNumber(least), config.getNumber(most), numberOf(name)];
    if (value < min || value > max) return `${name} must be in the range ${min} to ${max} inclusive.`;
  }
  for (const replicas of ["standby.replicas", "warmup.replicas"]) {
    const [name, most] = [`streams.num.${replicas}`, config.getNumber(`group.streams.max.${replicas}`)];
    if (configs.has(name) && numberOf(name) > most) return `${name} must be less than or equal to ${most}`;
  }
  const least = config.getNumber("group.streams.min.task.offset.interval.ms");
  if (configs.has(TASK_OFFSET_INTERVAL) && numberOf(TASK_OFFSET_INTERVAL) < least) {
    return `${TASK_OFFSET_INTERVAL} must be greater than or equal to ${least}`;
  }
  for (const type of GROUP_TYPES) {
    const [session, heartbeat] = [`${type}.session.timeout.ms`, `${type}.heartbeat.interval.ms`];
    if (numberOf(session) <= numberOf(heartbeat)) return `${session} must be greater than ${heartbeat}`;
  }
  const assignor = configs.get("streams.assignor.name");
  const assignors = config.getList("group.streams.assignors");
  if (assignor !== undefined && !assignors.includes(assignor)) {
    return `streams.assignor.name '${assignor}' is not a registered task assignor. Registered assignors are: [${assignors.join(", ")}].`;
  }
  return configs.get("errors.deadletterqueue.topic.name")?.startsWith("__") === true
    ? "errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'"
    : undefined;
}

/** The value in force for a group with these settings of its own. `name` must be a group's setting. */
export function getEffectiveGroupSetting(config: Config, configs: ReadonlyMap<string, string>, name: string): string {
  const own = configs.get(name);
  if (own !== undefined) return own.trim();
  const setting = GROUP_SETTINGS.get(name);
  if (setting === undefined) throw new Error(`not a group setting: ${name}`);
  if (setting.synonym === null) return setting.default ?? "";
  const value = config.get(setting.synonym);
  return name === "streams.assignor.name" ? (value.split(",")[0]?.trim() ?? "") : value;
}
