/** Effective configurations as CreateTopics and DescribeConfigs answer them: value, where it comes from, and the values it hides (ConfigHelper of Kafka). */
import { getListenerSetting } from "../config/accept-limits.ts";
import type { Config } from "../config/config.ts";
import type { GroupSetting } from "../config/setting.ts";
import { rewriteSetting } from "../config/setting-checks.ts";
import { getEffectiveGroupSetting, groupSettings, isFixedAtStart, isRunTimeOnly, valueType } from "../config/setting-errors.ts";
import { SETTINGS } from "../config/settings.ts";
import { getEffectiveTopicSetting, getSynonymName, TOPIC_SETTINGS, type TopicSetting } from "../config/topic-settings.ts";

/** DescribeConfigsResponse.ConfigSource. */
export const ConfigSource = {
  DYNAMIC_TOPIC: 1,
  DYNAMIC_BROKER: 2,
  DYNAMIC_DEFAULT_BROKER: 3,
  STATIC_BROKER: 4,
  DEFAULT: 5,
  GROUP: 8,
} as const;

/** DescribeConfigsResponse.ConfigType. "size" is ours: bytes with a unit. */
export const CONFIG_TYPES = {
  boolean: 1,
  string: 2,
  int: 3,
  short: 4,
  long: 5,
  double: 6,
  list: 7,
  class: 8,
  password: 9,
  size: 2,
} as const;

export interface SynonymFields {
  readonly name: string;
  readonly value: string | null;
  readonly source: number;
}

export interface ConfigFields {
  readonly name: string;
  readonly value: string | null;
  readonly source: number;
  readonly synonyms: readonly SynonymFields[];
  readonly type: number;
  readonly isReadOnly: boolean;
  readonly isSensitive: boolean;
  readonly doc: string | null;
}

/** All topic settings in order of name. */
export function describeTopicConfigs(config: Config, configs: ReadonlyMap<string, string>): ConfigFields[] {
  return TOPIC_SETTINGS.map((setting) => describeTopicSetting(config, configs, setting)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function describeTopicSetting(config: Config, configs: ReadonlyMap<string, string>, setting: TopicSetting): ConfigFields {
  const { name } = setting;
  const synonyms: SynonymFields[] = [];
  const explicit = configs.get(name);
  if (explicit !== undefined) synonyms.push({ name, value: rewriteSetting(setting.type, explicit), source: ConfigSource.DYNAMIC_TOPIC });
  synonyms.push(...describeBrokerSynonyms(config, setting.synonyms.map(getSynonymName)));
  return describeOpen(setting, rewriteSetting(setting.type, getEffectiveTopicSetting(config, configs, name)), synonyms);
}

/**
 * The same as CreateTopics answers it, which Kafka reads otherwise (KafkaConfigSchema): what the topic says as it was said, and the source of a default is
 * wherever the first of its broker settings is set.
 */
export function describeCreatedConfigs(
  config: Config,
  configs: ReadonlyMap<string, string>,
): Pick<ConfigFields, "name" | "value" | "source">[] {
  const described = TOPIC_SETTINGS.map(({ name, synonyms }) => {
    const explicit = configs.get(name);
    if (explicit !== undefined) return { name, value: explicit, source: ConfigSource.DYNAMIC_TOPIC };
    const value = getEffectiveTopicSetting(config, configs, name);
    return { name, value, source: findBrokerSource(config, synonyms.map(getSynonymName)) };
  });
  return described.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function findBrokerSource(config: Config, names: readonly string[]): number {
  if (names.some((name) => config.getDynamic(name).own !== undefined)) return ConfigSource.DYNAMIC_BROKER;
  if (names.some((name) => config.getDynamic(name).forAll !== undefined)) return ConfigSource.DYNAMIC_DEFAULT_BROKER;
  return names.some((name) => (config.getStatic(name) ?? null) !== null) ? ConfigSource.STATIC_BROKER : ConfigSource.DEFAULT;
}

/** A setting that anybody may read and change. */
function describeOpen({ name, type, doc }: TopicSetting | GroupSetting, value: string, synonyms: readonly SynonymFields[]): ConfigFields {
  const source = synonyms[0]?.source ?? ConfigSource.DEFAULT;
  return { name, value, source, synonyms, type: CONFIG_TYPES[type], isReadOnly: false, isSensitive: false, doc };
}

/**
 * What broker settings are set to, in the order of their names: for this broker, for all, at its start, and by default. As in Kafka, what stands before the first
 * of these names is left out, and with that one unset everything.
 */
function describeBrokerSynonyms(config: Config, names: readonly string[]): SynonymFields[] {
  const synonyms: SynonymFields[] = [];
  const add = (source: number, read: (name: string) => string | null | undefined): void => {
    for (const name of names) {
      const value = read(name) ?? null;
      if (value !== null) synonyms.push({ name, value, source });
    }
  };
  add(ConfigSource.DYNAMIC_BROKER, (name) => config.getDynamic(name).own);
  add(ConfigSource.DYNAMIC_DEFAULT_BROKER, (name) => config.getDynamic(name).forAll);
  add(ConfigSource.STATIC_BROKER, (name) => config.getStatic(name));
  add(ConfigSource.DEFAULT, (name) => SETTINGS.get(name)?.default);
  const first = synonyms.findIndex((synonym) => synonym.name === names[0]);
  return first < 0 ? [] : synonyms.slice(first);
}

/** Settings that one value may be given by, in Kafka's order (DynamicBrokerConfig.brokerConfigSynonyms). */
const BROKER_SYNONYMS: readonly (readonly string[])[] = [
  ["log.roll.ms", "log.roll.hours"],
  ["log.roll.jitter.ms", "log.roll.jitter.hours"],
  ["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
  ["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
];

function listSynonyms(name: string): readonly string[] {
  const found = BROKER_SYNONYMS.find((names) => names.includes(name));
  return found === undefined ? [name] : [name, ...found.filter((other) => found.indexOf(other) > found.indexOf(name))];
}

/** This broker's settings in order of name, internal ones only where they are set; `dynamic` are those set for it at run time, which may be of unknown names. */
export function describeBrokerConfigs(config: Config, dynamic: ReadonlyMap<string, string>): ConfigFields[] {
  const shown = [...SETTINGS.values()].filter(({ isInternal, name }) => !isInternal || dynamic.has(name) || config.isSet(name));
  const names = shown.map(({ name }) => name);
  const all = new Set([...names, ...dynamic.keys()]);
  return [...all].sort().map((name) => describeBrokerSetting(config, name));
}

/** What is set at run time for all brokers. */
export function describeClusterConfigs(config: Config, forAll: ReadonlyMap<string, string>): ConfigFields[] {
  return [...forAll.keys()].sort().map((name) => {
    const fields = describeBrokerSetting(config, name);
    const synonyms = fields.synonyms.filter(({ source }) => source === ConfigSource.DYNAMIC_DEFAULT_BROKER);
    return {
      ...fields,
      value: fields.isSensitive ? null : (forAll.get(name) ?? null),
      source: ConfigSource.DYNAMIC_DEFAULT_BROKER,
      synonyms,
    };
  });
}

/** What is set for one listener is read-only as Kafka has it, whether it can be set or not. Of an unknown name nobody can tell whether it is a secret: it is taken for one. */
function describeBrokerSetting(config: Config, name: string): ConfigFields {
  const ofListener = getListenerSetting(name);
  const setting = SETTINGS.get(name) ?? ofListener;
  const isKnown = setting !== undefined || isRunTimeOnly(name);
  const isSensitive = !isKnown || setting?.type === "password";
  const names = ofListener === undefined ? listSynonyms(name) : [name, ofListener.name];
  const synonyms = describeBrokerSynonyms(config, names).map((one) => (isSensitive ? { ...one, value: null } : one));
  const hasValue =
    !isSensitive && (config.isSet(name) || (setting !== undefined && (setting.default !== null || setting.origin === "weir")));
  return {
    name,
    value: hasValue ? config.get(name) : null,
    source: synonyms[0]?.source ?? ConfigSource.DEFAULT,
    synonyms,
    type: setting !== undefined ? CONFIG_TYPES[setting.type] : isKnown ? CONFIG_TYPES.long : 0,
    isReadOnly: !isKnown || ofListener !== undefined || isFixedAtStart(name),
    isSensitive,
    doc: setting?.doc ?? null,
  };
}

/** A group's settings in order of name; internal ones only where they, or the broker's that give their defaults, are set. */
export function describeGroupConfigs(config: Config, configs: ReadonlyMap<string, string>): ConfigFields[] {
  const isSet = ({ name, synonym }: GroupSetting) => configs.has(name) || (synonym !== null && config.isSet(synonym));
  const shown = [...groupSettings()].filter((setting) => !setting.isInternal || isSet(setting));
  return shown.map((setting) => {
    const { name, synonym } = setting;
    const said = configs.get(name);
    // Kafka tells internal ones as they were said.
    const own = said === undefined || setting.isInternal ? said : rewriteSetting(valueType(setting.type), said);
    const synonyms: SynonymFields[] = own === undefined ? [] : [{ name, value: own, source: ConfigSource.GROUP }];
    if (synonym !== null) synonyms.push(...describeBrokerSynonyms(config, [synonym]));
    else synonyms.push({ name, value: setting.default, source: ConfigSource.DEFAULT });
    return describeOpen(setting, own ?? getEffectiveGroupSetting(config, configs, name), synonyms);
  });
}
