/** A topic's effective configurations as CreateTopics and DescribeConfigs answer them: value, where it comes from, and the values it hides. */
import type { Config } from "../config/config.ts";
import { SETTINGS } from "../config/settings.ts";
import { getEffectiveTopicSetting, getSynonymName, TOPIC_SETTINGS, type TopicSetting } from "../config/topic-settings.ts";

/** DescribeConfigsResponse.ConfigSource. */
export const ConfigSource = { DYNAMIC_TOPIC: 1, DYNAMIC_BROKER: 2, DYNAMIC_DEFAULT_BROKER: 3, STATIC_BROKER: 4, DEFAULT: 5 } as const;

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
}

/** All topic settings in order of name. */
export function describeTopicConfigs(config: Config, configs: ReadonlyMap<string, string>): ConfigFields[] {
  return TOPIC_SETTINGS.map((setting) => describeTopicSetting(config, configs, setting)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function describeTopicSetting(config: Config, configs: ReadonlyMap<string, string>, setting: TopicSetting): ConfigFields {
  const { name } = setting;
  const synonyms: SynonymFields[] = [];
  const explicit = configs.get(name);
  if (explicit !== undefined) synonyms.push({ name, value: explicit, source: ConfigSource.DYNAMIC_TOPIC });
  // As Kafka: what stands before the setting in the topic's unit is left out, and with that setting unset everything.
  const brokerNames = setting.synonyms.map(getSynonymName);
  const brokerSynonyms = describeBrokerSynonyms(config, brokerNames);
  const first = brokerSynonyms.findIndex((synonym) => synonym.name === brokerNames[0]);
  if (first >= 0) synonyms.push(...brokerSynonyms.slice(first));
  return {
    name,
    value: getEffectiveTopicSetting(config, configs, name),
    source: synonyms[0]?.source ?? ConfigSource.DEFAULT,
    synonyms,
  };
}

/** What broker settings were set to, in the order of their names; after that their defaults. */
export function describeBrokerSynonyms(config: Config, names: readonly string[]): SynonymFields[] {
  const synonyms: SynonymFields[] = [];
  for (const name of names) if (config.isSet(name)) synonyms.push({ name, value: config.get(name), source: ConfigSource.STATIC_BROKER });
  for (const name of names) {
    const standard = SETTINGS.get(name)?.default ?? null;
    if (standard !== null) synonyms.push({ name, value: standard, source: ConfigSource.DEFAULT });
  }
  return synonyms;
}
