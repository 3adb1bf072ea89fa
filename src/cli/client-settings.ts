/** `--bootstrap-server` and `--command-config`: what a verb needs to reach a cluster, from text. Reads nothing itself. */
import { Trouble } from "../base/trouble.ts";
import type { Place } from "../client/client-connection.ts";
import { parseProperties } from "../config/properties.ts";

export const DEFAULT_BOOTSTRAP = "127.0.0.1:9092";
const DEFAULT_PORT = 9092;

export interface ClientSettings {
  readonly bootstrap: readonly Place[];
  readonly clientId: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly retries: number;
  readonly retryBackoffMs: number;
  /** One line for all keys that have no meaning here. */
  readonly warning: string | undefined;
}

export interface ClientSettingsInput {
  /** As given on the command line; undefined: the file's, else 127.0.0.1:9092. */
  readonly bootstrapServer: string | undefined;
  readonly file: { readonly path: string; readonly text: string } | undefined;
}

function usage(message: string, remedy: string): Trouble {
  return new Trouble({ code: "usage", message, remedy, retryable: false, exitCode: 2 });
}

/** "HOST[:PORT][,...]", "[::1]:9092". Throws Trouble "usage". */
export function parseBootstrap(text: string, name = "--bootstrap-server"): readonly Place[] {
  return text.split(",").map((each) => {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+))(?::(\d{1,5}))?$/.exec(each.trim());
    const port = Number(match?.[3] ?? DEFAULT_PORT);
    const host = match?.[1] ?? match?.[2];
    if (host === undefined || port < 1 || port > 65_535)
      throw usage(`${name} ${text}: "${each}" is no address`, "write HOST:PORT[,HOST:PORT]");
    return { host, port };
  });
}

const NUMBERS = {
  "socket.connection.setup.timeout.ms": 10_000,
  "request.timeout.ms": 30_000,
  retries: 5,
  "retry.backoff.ms": 100,
} as const;

/** Throws Trouble "usage" (exit code 2) for a value that is wrong, or that asks for security this client does not speak. */
export function readClientSettings({ bootstrapServer, file }: ClientSettingsInput): ClientSettings {
  const values = new Map<string, string>();
  for (const { key, value } of file === undefined ? [] : parseProperties(file.text, file.path)) values.set(key, value.trim());
  const take = (key: string): string | undefined => {
    const value = values.get(key);
    values.delete(key);
    return value;
  };
  const takeNumber = (key: keyof typeof NUMBERS): number => {
    const text = take(key) ?? String(NUMBERS[key]);
    if (/^\d{1,10}$/.test(text)) return Math.min(Number(text), 2 ** 31 - 1);
    throw usage(`${key}=${text} in ${file?.path} is not a number`, "write an integer of at least 0");
  };
  const inFile = take("bootstrap.servers");
  const protocol = take("security.protocol") ?? "PLAINTEXT";
  if (protocol.toUpperCase() !== "PLAINTEXT") {
    throw usage(`security.protocol=${protocol} in ${file?.path} is not supported by these verbs yet`, "use a PLAINTEXT listener");
  }
  const settings = {
    bootstrap:
      bootstrapServer === undefined && inFile !== undefined
        ? parseBootstrap(inFile, "bootstrap.servers")
        : parseBootstrap(bootstrapServer ?? DEFAULT_BOOTSTRAP),
    clientId: take("client.id") ?? "weir-cli",
    connectTimeoutMs: takeNumber("socket.connection.setup.timeout.ms"),
    requestTimeoutMs: takeNumber("request.timeout.ms"),
    retries: takeNumber("retries"),
    retryBackoffMs: takeNumber("retry.backoff.ms"),
  };
  const unused = [...values.keys()].sort();
  const warning = unused.length === 0 ? undefined : `${file?.path}: no meaning here: ${unused.join(", ")}`;
  return { ...settings, warning };
}
