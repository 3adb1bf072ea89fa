/** What one setting is. Kafka's come from `kafka-settings.ts` (generated), ours and the meaning that Weir gives to Kafka's from `settings.ts`. */
export type SettingType = "boolean" | "string" | "int" | "short" | "long" | "double" | "list" | "class" | "password" | "size";

export interface SettingLimits {
  readonly min?: number;
  readonly max?: number;
  /** Single values that are right although they lie outside [min, max]. */
  readonly except?: readonly number[];
  /** The only right values (of each element, for a list). */
  readonly values?: readonly string[];
  readonly ignoreCase?: boolean;
}

/** What every setting of Kafka has, of a broker or of a group. */
interface KafkaDefinition {
  readonly name: string;
  readonly type: SettingType;
  /** As one would write it in a properties file; null: none. */
  readonly default: string | null;
  readonly importance: "high" | "medium" | "low";
  readonly isInternal: boolean;
  readonly limits: SettingLimits;
  /** Kafka's own text, may hold HTML. */
  readonly doc: string;
}

/** How a broker's setting may be changed at run time: not at all, for one broker only, or for one and for all (DynamicBrokerConfig, KIP-226). */
export type UpdateMode = "read-only" | "per-broker" | "cluster-wide";

export interface KafkaSetting extends KafkaDefinition {
  readonly updateMode: UpdateMode;
}

/** A setting of groups: ConfigResource.Type GROUP. */
export interface GroupSetting extends KafkaDefinition {
  /** The broker's setting that gives the default; null: there is none. */
  readonly synonym: string | null;
}

/**
 * "used": Weir acts on it. "reported": it is answered as the default of a topic's configuration and acts on nothing yet.
 * "none": known, and without meaning here; setting it is a warning. "kraft": part of Kafka's quorum, which Weir has not; a warning of its own.
 */
export type SettingMeaning = "used" | "reported" | "none" | "kraft";

export interface Setting extends KafkaSetting {
  readonly origin: "kafka" | "weir";
  readonly meaning: SettingMeaning;
  /** Ours: what it does here, and, where the default is not Kafka's, why. */
  readonly note: string;
  /** Kafka's default where ours differs; undefined where it is the same or the setting is ours. */
  readonly kafkaDefault?: string | null;
}
