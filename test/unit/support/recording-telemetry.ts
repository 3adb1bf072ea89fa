/** A logger that keeps what it was told, and metrics that go nowhere. */
import type { Counter, Gauge, Histogram, LogFields, Logger, Metrics } from "../../../src/telemetry/telemetry.ts";

export interface LoggedEvent {
  readonly level: "info" | "warn" | "error" | "debug";
  readonly event: string;
  readonly message: string;
  readonly fields: LogFields;
}

export class RecordingLogger implements Logger {
  readonly events: LoggedEvent[] = [];

  info(event: string, message: string, fields: LogFields = {}): void {
    this.events.push({ level: "info", event, message, fields });
  }
  warn(event: string, message: string, fields: LogFields = {}): void {
    this.events.push({ level: "warn", event, message, fields });
  }
  error(event: string, message: string, fields: LogFields = {}): void {
    this.events.push({ level: "error", event, message, fields });
  }
  debug(event: string, message: string, fields: LogFields = {}): void {
    this.events.push({ level: "debug", event, message, fields });
  }

  names(): string[] {
    return this.events.map((each) => each.event);
  }
}

export const NO_METRICS: Metrics = {
  counter: (): Counter => ({ add: () => undefined }),
  gauge: (): Gauge => ({ set: () => undefined }),
  observedGauge: () => undefined,
  observedSeries: () => undefined,
  histogram: (): Histogram => ({ observe: () => undefined }),
};
