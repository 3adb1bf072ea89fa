/**
 * `weir start`: configuration, one broker, and its life until a signal. Exit code 0 after a drain, 70 when fenced; start-up mistakes are thrown as
 * Troubles with their own codes.
 */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { SystemClock } from "../base/system-clock.ts";
import { Trouble } from "../base/trouble.ts";
import { readProcessEnvironment } from "../config/environment.ts";
import { type LoadedConfig, loadConfig } from "../config/load-config.ts";
import { readMemoryLimitBytes } from "../config/memory-limit.ts";
import { LOG_LEVELS, StructuredLogger } from "../telemetry/logger.ts";
import { makeSystemWorld } from "./system-world.ts";
import { renderEnd, renderTrouble, writeLine } from "./terminal.ts";
import { type Broker, buildBroker } from "./wire-up.ts";

/** The system's monotonic clock counts from the start of the process. */
const PROCESS_STARTED_MS = 0;

export interface StartOptions {
  readonly configFile: string | undefined;
  readonly overrides: readonly string[];
  readonly inMemory: boolean;
}

function tryReadText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function readConfigFile(path: string): { readonly path: string; readonly text: string } {
  const text = tryReadText(path);
  if (text !== undefined) return { path, text };
  throw new Trouble({
    code: "config-file-unreadable",
    message: `--config ${path} cannot be read`,
    remedy: "name a properties file that this user may read",
    retryable: false,
    exitCode: 2,
  });
}

/** Throws a Trouble with exit code 2. */
export function readConfig(options: StartOptions): LoadedConfig {
  return loadConfig({
    ...(options.configFile === undefined ? {} : { file: readConfigFile(options.configFile) }),
    environment: readProcessEnvironment(),
    overrides: options.overrides,
    inMemory: options.inMemory,
    memoryLimitBytes: readMemoryLimitBytes(tryReadText),
    hostName: hostname(),
  });
}

/** Resolves with the exit code; rejects with a Trouble when the broker cannot start. */
export async function runStart(options: StartOptions): Promise<number> {
  const { config, warnings } = readConfig(options);
  const logger = new StructuredLogger({
    clock: new SystemClock(),
    level: LOG_LEVELS.find((level) => level === config.get("logger.level")) ?? "info",
    format: config.get("logger.format") === "json" ? "json" : "text",
    write: (line) => writeLine(1, line),
  });
  const endWithBug = (error: unknown): never => {
    logger.flush();
    logger.error("broker.crashed", "a bug ends this process", {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    writeLine(2, renderEnd(error).line);
    process.exit(1);
  };
  process.on("uncaughtException", endWithBug);
  process.on("unhandledRejection", endWithBug);
  for (const { key, message } of warnings) logger.warn("config.warning", message, { key });

  const stopped = Promise.withResolvers<number>();
  const signals = new SignalWatch((exitCode) => {
    logger.info(
      "broker.stopped",
      exitCode === 0 ? "a signal came before anything was served" : "a second signal: the drain is not waited for",
    );
    logger.flush();
    process.exit(exitCode);
  });
  const world = makeSystemWorld(config, logger, endWithBug);
  const broker = await buildBroker(config, world, PROCESS_STARTED_MS);
  broker.whenFenced.then((trouble) => {
    writeLine(2, renderTrouble(trouble));
    stopped.resolve(70);
  });
  signals.onFirst((signal) => {
    drain(broker, signal, config.getNumber("drain.timeout.ms")).then(stopped.resolve, endWithBug);
  });
  const exitCode = await stopped.promise;
  logger.flush();
  return exitCode;
}

async function drain(broker: Broker, signal: string, deadlineMs: number): Promise<number> {
  return (await broker.drain(signal, deadlineMs)) ? 0 : 1;
}

/**
 * SIGTERM and SIGINT: before anything is served the process just ends; then the first one drains, and the second ends the process at once,
 * as a power cut would: nothing acknowledged depends on a drain.
 */
class SignalWatch {
  private isDraining = false;
  private listener: ((signal: string) => void) | undefined;

  constructor(exit: (exitCode: number) => never) {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        if (this.listener === undefined) exit(0);
        if (this.isDraining) exit(1);
        this.isDraining = true;
        this.listener(signal);
      });
    }
  }

  onFirst(listener: (signal: string) => void): void {
    this.listener = listener;
  }
}
