/** Makes error-codes.ts and api-ranges.ts from what KafkaTables.java prints of Kafka's own enums. */
import { join } from "node:path";

interface ErrorRow {
  readonly table: "error";
  readonly name: string;
  readonly code: number;
  readonly retriable: boolean;
  readonly message: string;
}

interface RangeRow {
  readonly table: "range";
  readonly name: string;
  readonly key: number;
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly maxUnstableVersion: number;
  readonly clusterAction: boolean;
}

/** Content of the files by name; none without a JDK. */
export function kafkaTables(jarFolder: string, header: string): Map<string, string> {
  if (Bun.which("java") === null) {
    console.warn("no JDK: error-codes.ts and api-ranges.ts are left as they are");
    return new Map();
  }
  const { exitCode, stdout } = Bun.spawnSync(["java", "-cp", join(jarFolder, "*"), join(import.meta.dir, "KafkaTables.java")], {
    stderr: "inherit",
  });
  if (exitCode !== 0) throw new Error(`KafkaTables.java ended with ${exitCode}`);
  const rows = stdout
    .toString()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as ErrorRow | RangeRow);
  const errors = rows.filter((row) => row.table === "error").sort((a, b) => a.code - b.code);
  const ranges = rows.filter((row) => row.table === "range").sort((a, b) => a.key - b.key);
  return new Map([
    ["error-codes.ts", header + errorCodes(errors)],
    ["api-ranges.ts", header + apiRanges(ranges)],
  ]);
}

function errorCodes(rows: readonly ErrorRow[]): string {
  const codes = rows.map((row) => `  ${row.name}: ${row.code},`).join("\n");
  const table = rows
    .map((row) => {
      const message = JSON.stringify(row.message);
      return `  { code: ${row.code}, name: "${row.name}", retriable: ${row.retriable}, message: ${message} },`;
    })
    .join("\n");
  return `
/** Kafka's error codes by name. */
export const ErrorCodes = {
${codes}
} as const;

export type ErrorCodeName = keyof typeof ErrorCodes;
export type ErrorCode = (typeof ErrorCodes)[ErrorCodeName];

export interface ErrorInfo {
  readonly code: ErrorCode;
  readonly name: ErrorCodeName;
  /** Kafka's clients may try again by themselves. */
  readonly retriable: boolean;
  /** Kafka's default message; "NONE" for NONE. */
  readonly message: string;
}

// biome-ignore format: a table
export const errorTable: readonly ErrorInfo[] = [
${table}
];

const byCode = new Map<number, ErrorInfo>(errorTable.map((info) => [info.code, info]));

/** Undefined for a code that Kafka does not define. */
export function errorInfo(code: number): ErrorInfo | undefined {
  return byCode.get(code);
}
`;
}

function apiRanges(rows: readonly RangeRow[]): string {
  const table = rows
    .map((row) => {
      const { key, name, minVersion, maxVersion, maxUnstableVersion, clusterAction } = row;
      const unstable = maxUnstableVersion > maxVersion;
      return `  { key: ${key}, name: "${name}", minVersion: ${minVersion}, maxVersion: ${maxVersion}, unstableMaxVersion: ${unstable ? maxUnstableVersion : null}, clusterAction: ${clusterAction} },`;
    })
    .join("\n");
  return `
export interface ApiRange {
  readonly key: number;
  readonly name: string;
  /** As advertised, which for Produce is below what is served (KAFKA-18659). */
  readonly minVersion: number;
  /** -1 when the API has no stable version. */
  readonly maxVersion: number;
  /** Advertised instead of \`maxVersion\` when unstable versions are enabled; null when there is none. */
  readonly unstableMaxVersion: number | null;
  /** Only brokers and controllers call it. */
  readonly clusterAction: boolean;
}

/**
 * What Kafka advertises on a broker listener, in order of key; GetTelemetrySubscriptions and PushTelemetry only when a plugin that receives
 * client metrics is configured.
 */
// biome-ignore format: a table
export const apiRanges: readonly ApiRange[] = [
${table}
];
`;
}
