/** Structured log and metrics as the rooms see them. A metric is declared beside the code it measures. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Logger {
  /** `event` is a fixed dotted name that docs list: "broker.started", "wal.recovered". No payloads, no secrets. */
  info(event: string, message: string, fields?: LogFields): void;
  warn(event: string, message: string, fields?: LogFields): void;
  error(event: string, message: string, fields?: LogFields): void;
  debug(event: string, message: string, fields?: LogFields): void;
}

export interface Counter {
  add(value: number): void;
}
export interface Gauge {
  set(value: number): void;
}
export interface Histogram {
  /** In the unit that the metric's name ends with (seconds, bytes). */
  observe(value: number): void;
}

/** One sample of a metric whose labels are known only when it is scraped. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Names follow Prometheus conventions ("weir_wal_write_seconds"). Labels come from fixed sets, except those of `observedSeries`. */
export interface Metrics {
  counter(name: string, help: string, labels?: Readonly<Record<string, string>>): Counter;
  gauge(name: string, help: string, labels?: Readonly<Record<string, string>>): Gauge;
  /** Read when scraped. */
  observedGauge(name: string, help: string, read: () => number, labels?: Readonly<Record<string, string>>): void;
  /** Gauges that come and go with what they are about, read when scraped. `read` bounds their number. */
  observedSeries(name: string, help: string, labelNames: readonly string[], read: () => Iterable<Series>): void;
  histogram(name: string, help: string, buckets: readonly number[], labels?: Readonly<Record<string, string>>): Histogram;
}
