/**
 * Joins the properties file, the environment and the overrides (later wins) into a frozen Config, with warnings for what is known
 * and has no meaning here. Reads nothing itself: all input is given, so that tests and the simulator can give theirs.
 */
import { Trouble } from "../base/trouble.ts";
import { findListenerLimit } from "./accept-limits.ts";
import { BrokerConfig } from "./broker-config.ts";
import type { Config } from "./config.ts";
import { readEnvironment } from "./environment.ts";
import { findNearestKey } from "./nearest-key.ts";
import { parseProperties } from "./properties.ts";
import { hasKnownPrefix, REMOVED_FROM_KAFKA, SETTINGS } from "./settings.ts";
import { badValue, normaliseValue } from "./values.ts";

export interface ConfigInput {
  readonly file?: { readonly path: string; readonly text: string };
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** "KEY=VALUE" each, in order. */
  readonly overrides: readonly string[];
  /** `--memory`: WAL and object store in memory, above every other source. */
  readonly inMemory: boolean;
  readonly memoryLimitBytes: number;
  readonly hostName: string;
}

export interface ConfigWarning {
  readonly key: string;
  readonly message: string;
}

export interface LoadedConfig {
  readonly config: Config;
  readonly warnings: readonly ConfigWarning[];
}

/** A value and where it came from. */
export interface SetValue {
  readonly value: string;
  readonly source: string;
}

/** Throws Trouble "config-unknown-key", "config-bad-value" or "config-bad-syntax", all with exit code 2. */
export function loadConfig(input: ConfigInput): LoadedConfig {
  const values = new Map<string, SetValue>();
  const warnings = new Map<string, ConfigWarning>();
  const set = (key: string, raw: string, source: string): void => {
    const setting = SETTINGS.get(key) ?? findListenerLimit(key);
    if (setting === undefined) {
      noteUnusedKey(key, source, warnings);
      return;
    }
    // An empty value of a setting without a default (KAFKA_X= in a compose file) is the same as none.
    if (raw.trim() === "" && setting.default === null && setting.type !== "string") values.delete(key);
    else values.set(key, { value: normaliseValue(setting, raw, source), source });
  };

  if (input.file !== undefined) {
    for (const { key, value, line } of parseProperties(input.file.text, input.file.path))
      set(key, value, `${input.file.path} line ${line}`);
  }
  const environment = readEnvironment(input.environment);
  for (const { key, value, variable } of environment.settings) set(key, value, `environment variable ${variable}`);
  for (const override of input.overrides) {
    const equals = override.indexOf("=");
    if (equals <= 0) throw badValue("--override", override, "KEY=VALUE", "command line");
    set(override.slice(0, equals).trim(), override.slice(equals + 1), "--override");
  }
  if (input.inMemory) {
    set("wal", "memory:", "--memory");
    set("object.store", "memory:", "--memory");
  }

  for (const variable of environment.clusterIdVariables) {
    warnings.set(variable, {
      key: variable,
      message: `${variable} has no meaning here: the cluster id is created with the object store's prefix and read from it`,
    });
  }
  for (const key of values.keys()) warnAbout(key, warnings);
  const config = new BrokerConfig(values, input.memoryLimitBytes, input.hostName);
  for (const name of config.skippedListeners) {
    warnings.set(`listeners ${name}`, {
      key: "listeners",
      message: `listener ${name} is not opened: controller.listener.names gives it to Kafka's quorum`,
    });
  }
  return { config, warnings: [...warnings.values()] };
}

function warnAbout(key: string, warnings: Map<string, ConfigWarning>): void {
  const setting = SETTINGS.get(key);
  if (setting === undefined) return;
  if (setting.meaning === "none") warnings.set(key, { key, message: `${key} is known to Kafka and has no meaning here` });
  else if (setting.meaning === "kraft") warnings.set(key, { key, message: `${key} has no meaning here: there is no KRaft quorum` });
  else if (setting.meaning === "reported")
    warnings.set(key, { key, message: `${key} is reported as the default of topics and does not act yet` });
  else if (key === "controller.listener.names")
    warnings.set(key, { key, message: `${key}: the listeners it names are not opened, there is no KRaft quorum` });
}

/** A key that is no setting: a warning where Kafka would take it, an error elsewhere. */
function noteUnusedKey(key: string, source: string, warnings: Map<string, ConfigWarning>): void {
  if (hasKnownPrefix(key)) {
    warnings.set(key, { key, message: `${key} is known to Kafka and has no meaning here` });
    return;
  }
  const removed = REMOVED_FROM_KAFKA.has(key);
  throw new Trouble({
    code: "config-unknown-key",
    message: removed ? `${key} (${source}) was removed in Kafka 4` : `${key} (${source}) is not a known configuration key`,
    remedy: removed ? "remove it" : `the nearest known key is ${findNearestKey(key, SETTINGS.keys())}`,
    retryable: false,
    exitCode: 2,
  });
}
