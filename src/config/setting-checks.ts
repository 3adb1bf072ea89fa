/**
 * How one setting that a client sends is parsed and checked, in the words of Kafka's ConfigDef: used by `topic-settings.ts` and `setting-errors.ts`.
 * A check answers the second half of Kafka's message ("Value must be at least 1") or undefined when the value is fine.
 */
export type TopicSettingType = "boolean" | "string" | "int" | "long" | "double" | "list";
export type SettingValueType = TopicSettingType | "short";

/** `value` is parsed: a boolean, a string, a number, a bigint (type long) or a list of strings. */
export type ParsedSetting = boolean | string | number | bigint | readonly string[];
/** `shown`: the value that Kafka's message names, where it is not the whole. */
export type SettingCheck = (
  value: ParsedSetting,
  name: string,
) => string | { readonly shown: string; readonly complaint: string } | undefined;

export type ParseOutcome = { readonly ok: true; readonly value: ParsedSetting } | { readonly ok: false; readonly message: string };

const INT_PATTERN = /^[+-]?\d+$/;
const DOUBLE_PATTERN = /^[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?)[dDfF]?$/;

function parseInteger(text: string, min: bigint, max: bigint): bigint | undefined {
  if (!INT_PATTERN.test(text)) return undefined;
  const value = BigInt(text.startsWith("+") ? text.slice(1) : text);
  return value < min || value > max ? undefined : value;
}

/** As ConfigDef.parseType: surrounding blanks do not count; numbers are those of Java's parsers. */
export function parseSetting(type: SettingValueType, text: string): ParseOutcome {
  const trimmed = text.trim();
  switch (type) {
    case "boolean": {
      const lower = trimmed.toLowerCase();
      if (lower === "true" || lower === "false") return { ok: true, value: lower === "true" };
      return { ok: false, message: "Expected value to be either true or false" };
    }
    case "string":
      return { ok: true, value: trimmed };
    case "short": {
      const value = parseInteger(trimmed, -(2n ** 15n), 2n ** 15n - 1n);
      return value === undefined ? { ok: false, message: "Not a number of type SHORT" } : { ok: true, value: Number(value) };
    }
    case "int": {
      const value = parseInteger(trimmed, -(2n ** 31n), 2n ** 31n - 1n);
      return value === undefined ? { ok: false, message: "Not a number of type INT" } : { ok: true, value: Number(value) };
    }
    case "long": {
      const value = parseInteger(trimmed, -(2n ** 63n), 2n ** 63n - 1n);
      return value === undefined ? { ok: false, message: "Not a number of type LONG" } : { ok: true, value };
    }
    case "double":
      return DOUBLE_PATTERN.test(trimmed)
        ? { ok: true, value: Number.parseFloat(trimmed) }
        : { ok: false, message: "Not a number of type DOUBLE" };
    case "list":
      return { ok: true, value: trimmed === "" ? [] : trimmed.split(/\s*,\s*/) };
  }
}

/** Kafka's message when the text is no value of this type, or not one that `check` takes. */
export function findValueError(type: SettingValueType, name: string, text: string, check: SettingCheck | undefined): string | undefined {
  const parsed = parseSetting(type, text);
  if (!parsed.ok) return `Invalid value ${text} for configuration ${name}: ${parsed.message}`;
  const found = check?.(parsed.value, name);
  if (found === undefined) return undefined;
  const { shown, complaint } = typeof found === "string" ? { shown: showParsed(type, parsed.value), complaint: found } : found;
  return `Invalid value ${shown} for configuration ${name}: ${complaint}`;
}

function showParsed(type: SettingValueType, value: ParsedSetting): string {
  return Array.isArray(value) ? `[${value.join(", ")}]` : showScalar(type, value);
}

function showScalar(type: SettingValueType, value: ParsedSetting): string {
  return type === "double" ? showDouble(Number(value)) : String(value);
}

/** As Java's Double.toString writes it: with a point always, with an exponent beyond 10^-3 and 10^7. */
function showDouble(value: number): string {
  const withPoint = (digits: string): string => (digits.includes(".") ? digits : `${digits}.0`);
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-3 && size < 1e7)) return withPoint(String(value));
  const [digits = "", exponent = ""] = value.toExponential().split("e");
  return `${withPoint(digits)}E${Number(exponent)}`;
}

/** The value as DescribeConfigs answers it: parsed and written anew (ConfigDef.convertToString). What cannot be parsed stays as it is. */
export function rewriteSetting(type: SettingValueType, text: string): string {
  const parsed = parseSetting(type, text);
  if (!parsed.ok) return text;
  return Array.isArray(parsed.value) ? parsed.value.join(",") : showScalar(type, parsed.value);
}

export function atLeast(min: number): SettingCheck {
  return (value) => (Number(value) < min ? `Value must be at least ${min}` : undefined);
}

export function between(min: number, max: number): SettingCheck {
  return (value) => {
    if (Number(value) < min) return `Value must be at least ${min}`;
    return Number(value) > max ? `Value must be no more than ${max}` : undefined;
  };
}

/** A range and one value outside of it. */
export function betweenOr(min: number, max: number, extra: number): SettingCheck {
  return (value) => {
    const number = Number(value);
    return number === extra || (number >= min && number <= max)
      ? undefined
      : `Value must be between ${min} and ${max} or equal to ${extra}`;
  };
}

export function oneOf(allowed: readonly string[]): SettingCheck {
  return (value) => (allowed.includes(String(value)) ? undefined : `String must be one of: ${allowed.join(", ")}`);
}

export function listOf(allowed: readonly string[]): SettingCheck {
  return (value) => {
    const items = value as readonly string[];
    const stranger = items.find((item) => !allowed.includes(item));
    return stranger === undefined ? undefined : { shown: stranger, complaint: `String must be one of: ${allowed.join(", ")}` };
  };
}

/** "*", empty, or a list of partition:broker (ThrottledReplicaListValidator). */
export const throttledReplicas: SettingCheck = (value, name) => {
  const items = value as readonly string[];
  if (items.length === 0 || (items.length === 1 && items[0] === "*")) return undefined;
  if (items.every((item) => /^\d+:\d+$/.test(item))) return undefined;
  return `${name} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...`;
};
