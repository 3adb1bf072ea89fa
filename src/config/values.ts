/** One value of one setting: checked against its type and limits as Kafka's ConfigDef does, or refused with what would be right. */
import { Trouble } from "../base/trouble.ts";
import type { Setting } from "./setting.ts";

const INTEGER_RANGES: Readonly<Record<string, readonly [bigint, bigint]>> = {
  short: [-32768n, 32767n],
  int: [-(2n ** 31n), 2n ** 31n - 1n],
  long: [-(2n ** 63n), 2n ** 63n - 1n],
};
const SIZE_UNITS: Readonly<Record<string, number>> = { "": 1, KIB: 1024, MIB: 1024 ** 2, GIB: 1024 ** 3, TIB: 1024 ** 4 };

export function badValue(key: string, value: string, expected: string, source: string): Trouble {
  return new Trouble({
    code: "config-bad-value",
    message: `${key}=${value} (${source}) is not right`,
    remedy: `${key} must be ${expected}`,
    retryable: false,
    exitCode: 2,
  });
}

/** Bytes of "4GiB", "64 MiB" or "1048576"; undefined when it is none of these. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+)\s*([KMGT]iB)?$/i.exec(text.trim());
  if (match === null) return undefined;
  const bytes = Number(match[1]) * (SIZE_UNITS[(match[2] ?? "").toUpperCase()] ?? 1);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Elements of a list value, as Kafka splits it: at commas, trimmed, empty ones dropped at an empty value only. */
export function splitList(value: string): readonly string[] {
  const trimmed = value.trim();
  return trimmed === "" ? [] : trimmed.split(/\s*,\s*/);
}

/** The value as DescribeConfigs answers it (trimmed; a size in bytes; booleans in lower case). Throws Trouble "config-bad-value". */
export function normaliseValue(setting: Setting, raw: string, source: string): string {
  const value = setting.type === "password" ? raw : raw.trim();
  const fail = (): Trouble => badValue(setting.name, setting.type === "password" ? "[hidden]" : raw, describeExpected(setting), source);
  switch (setting.type) {
    case "boolean": {
      const lower = value.toLowerCase();
      if (lower !== "true" && lower !== "false") throw fail();
      return lower;
    }
    case "short":
    case "int":
    case "long": {
      if (!/^[+-]?\d+$/.test(value)) throw fail();
      const [min, max] = INTEGER_RANGES[setting.type] ?? [0n, 0n];
      const number = BigInt(value);
      if (number < min || number > max || !isWithin(setting, Number(value))) throw fail();
      return number.toString();
    }
    case "double": {
      if (value === "" || !Number.isFinite(Number(value)) || !isWithin(setting, Number(value))) throw fail();
      return value;
    }
    case "size": {
      const bytes = parseSize(value);
      if (bytes === undefined || !isWithin(setting, bytes)) throw fail();
      return String(bytes);
    }
    case "list": {
      for (const element of splitList(value)) if (!isListed(setting, element)) throw fail();
      return splitList(value).join(",");
    }
    default:
      if (!isListed(setting, value)) throw fail();
      return value;
  }
}

function isWithin(setting: Setting, value: number): boolean {
  const { min, max, except } = setting.limits;
  if (except?.includes(value)) return true;
  return (min === undefined || value >= min) && (max === undefined || value <= max);
}

function isListed(setting: Setting, value: string): boolean {
  const { values, ignoreCase } = setting.limits;
  if (values === undefined) return true;
  return values.some((allowed) => allowed === value || (ignoreCase === true && allowed.toLowerCase() === value.toLowerCase()));
}

/** "an integer from 0 to 7", for error lines and the documentation. */
export function describeExpected(setting: Setting): string {
  const { min, max, values, except } = setting.limits;
  if (values !== undefined) return `${setting.type === "list" ? "a list of" : "one of"} ${values.join(", ")}`;
  const noun = {
    boolean: "true or false",
    short: "a 16-bit integer",
    int: "an integer",
    long: "a 64-bit integer",
    double: "a number",
    size: "a number of bytes, or such as 64MiB or 4GiB",
    list: "a comma-separated list",
    class: "a class name",
    string: "a string",
    password: "a string",
  }[setting.type];
  const range = min !== undefined && max !== undefined ? ` from ${min} to ${max}` : min !== undefined ? ` of at least ${min}` : "";
  return `${noun}${range}${except === undefined ? "" : `, or ${except.join(", ")}`}`;
}
