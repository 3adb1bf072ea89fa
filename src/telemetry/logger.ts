/**
 * The body of Logger: one line per event to a sink, as text for people or JSON for programs. Lines of one event and message that
 * repeat within the repeat window are counted instead of written, and the count is written when the window ends.
 *
 * Text: `2026-11-23T06:10:00.123Z INFO broker.started Weir 0.1.0 serves nodeId=1 clusterId=...`
 */
import type { Clock } from "../base/clock.ts";
import type { LogFields, Logger } from "./telemetry.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LoggerOptions {
  readonly clock: Clock;
  readonly level: LogLevel;
  readonly format: "text" | "json";
  /** Gets whole lines with their newline. */
  readonly write: (line: string) => void;
  /** Lines with the same event and message that are written in one window before they are counted instead. */
  readonly repeatsWritten?: number;
  readonly repeatWindowMs?: number;
}

interface Repetition {
  written: number;
  suppressed: number;
  readonly level: LogLevel;
  readonly event: string;
}

/** Distinct (event, message) pairs tracked at once; more are written without counting. */
const TRACKED_MAX = 1000;

export class StructuredLogger implements Logger {
  private readonly options: LoggerOptions;
  private readonly leastSevere: number;
  private readonly repeatsWritten: number;
  private readonly repeatWindowMs: number;
  private readonly repetitions = new Map<string, Repetition>();

  constructor(options: LoggerOptions) {
    this.options = options;
    this.leastSevere = LOG_LEVELS.indexOf(options.level);
    this.repeatsWritten = options.repeatsWritten ?? 5;
    this.repeatWindowMs = options.repeatWindowMs ?? 10_000;
  }

  debug(event: string, message: string, fields?: LogFields): void {
    this.log("debug", event, message, fields);
  }

  info(event: string, message: string, fields?: LogFields): void {
    this.log("info", event, message, fields);
  }

  warn(event: string, message: string, fields?: LogFields): void {
    this.log("warn", event, message, fields);
  }

  error(event: string, message: string, fields?: LogFields): void {
    this.log("error", event, message, fields);
  }

  /** Writes the counts that are held back; called when the process ends. */
  flush(): void {
    for (const key of [...this.repetitions.keys()]) this.endWindow(key);
  }

  private log(level: LogLevel, event: string, message: string, fields: LogFields | undefined): void {
    if (LOG_LEVELS.indexOf(level) < this.leastSevere) return;
    const key = `${event} ${message}`;
    let repetition = this.repetitions.get(key);
    if (repetition === undefined && this.repetitions.size < TRACKED_MAX) {
      repetition = { written: 0, suppressed: 0, level, event };
      this.repetitions.set(key, repetition);
      this.options.clock.schedule(this.repeatWindowMs, () => this.endWindow(key));
    }
    if (repetition !== undefined && repetition.written >= this.repeatsWritten) {
      repetition.suppressed++;
      return;
    }
    if (repetition !== undefined) repetition.written++;
    this.emit(level, event, message, fields);
  }

  private endWindow(key: string): void {
    const repetition = this.repetitions.get(key);
    this.repetitions.delete(key);
    if (repetition === undefined || repetition.suppressed === 0) return;
    const message = key.slice(repetition.event.length + 1);
    this.emit(repetition.level, "log.repeated", message, { event: repetition.event, times: repetition.suppressed });
  }

  private emit(level: LogLevel, event: string, message: string, fields: LogFields | undefined): void {
    const time = new Date(this.options.clock.wallMs()).toISOString();
    this.options.write(
      this.options.format === "json" ? renderJson(time, level, event, message, fields) : renderText(time, level, event, message, fields),
    );
  }
}

function renderJson(time: string, level: LogLevel, event: string, message: string, fields: LogFields | undefined): string {
  return `${JSON.stringify({ time, level, event, message, ...fields })}\n`;
}

function renderText(time: string, level: LogLevel, event: string, message: string, fields: LogFields | undefined): string {
  let line = `${time} ${level.toUpperCase()} ${event} ${escapeControls(message)}`;
  for (const [name, value] of Object.entries(fields ?? {})) {
    if (value !== undefined) line += ` ${name}=${renderValue(value)}`;
  }
  return `${line}\n`;
}

function renderValue(value: string | number | boolean | null): string {
  if (typeof value !== "string") return String(value);
  return /^[^\s"=\\]+$/.test(value) && escapeControls(value) === value ? value : JSON.stringify(value);
}

/** Clients choose parts of messages (client ids): no control character of theirs reaches a terminal or splits a line. */
function escapeControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not get through.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
