/**
 * What every verb that talks to a broker gets: a client made from `--bootstrap-server` and `--command-config`, the form of its output, and a way to write
 * that neither loses bytes when the reader is slow nor goes on when the reader has gone.
 */
import { readFileSync } from "node:fs";
import { SystemClock } from "../base/system-clock.ts";
import { SystemRandom } from "../base/system-random.ts";
import { Trouble } from "../base/trouble.ts";
import { KafkaClient } from "../client/kafka-client.ts";
import { BunTransport } from "../server/bun-transport.ts";
import { readClientSettings } from "./client-settings.ts";
import { type OutputForm, parseOutput } from "./output.ts";
import { renderEnd, writeLine } from "./terminal.ts";
import { VERSION } from "./version.ts";

export interface BrokerFlags {
  readonly bootstrapServer?: string;
  readonly commandConfig?: string;
  readonly output: string;
}

export interface BrokerSession {
  readonly client: KafkaClient;
  readonly output: OutputForm;
  /** Resolves when stdout has taken it; false when nobody reads any more. */
  print(text: string): Promise<boolean>;
  warn(text: string): void;
}

/** Runs a verb's body and gives its exit code. Rejects with a Trouble. */
export async function withBroker(flags: BrokerFlags, body: (session: BrokerSession) => Promise<number>): Promise<number> {
  const output = parseOutput(flags.output);
  const settings = readClientSettings({
    bootstrapServer: flags.bootstrapServer,
    file: flags.commandConfig === undefined ? undefined : readCommandConfig(flags.commandConfig),
  });
  if (settings.warning !== undefined) warn(settings.warning);
  const client = new KafkaClient({
    ...settings,
    transport: new BunTransport(endWithBug),
    // A pause between two tries must not be taken for the end of the program.
    clock: new SystemClock({ holdsProcess: true }),
    random: new SystemRandom(),
    softwareVersion: VERSION,
  });
  try {
    return await body({ client, output, print: printAll, warn });
  } finally {
    client.close();
  }
}

function readCommandConfig(path: string): { readonly path: string; readonly text: string } {
  try {
    return { path, text: readFileSync(path, "utf8") };
  } catch (cause) {
    throw new Trouble({
      code: "config-file-unreadable",
      message: `--command-config ${path} cannot be read`,
      remedy: "name a properties file that this user may read",
      retryable: false,
      exitCode: 2,
      cause,
    });
  }
}

const warn = (text: string): void => writeLine(2, `weir: warning: ${text}`);

function endWithBug(error: unknown): never {
  writeLine(2, renderEnd(error).line);
  process.exit(1);
}

let isReaderGone = false;

export function printAll(text: string): Promise<boolean> {
  if (isReaderGone || text === "") return Promise.resolve(!isReaderGone);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  process.stdout.once("error", onReaderGone);
  process.stdout.write(text, (error) => {
    process.stdout.off("error", onReaderGone);
    if (error !== undefined && error !== null) onReaderGone();
    resolve(!isReaderGone);
  });
  return promise;
}

function onReaderGone(): void {
  isReaderGone = true;
}
