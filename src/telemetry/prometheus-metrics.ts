/** The body of Metrics on prom-client: one registry per broker, read by the /metrics endpoint. Declaring the same series again gives the same one. */
import * as client from "prom-client";
import { assert } from "../base/assert.ts";
import type { Counter, Gauge, Histogram, Metrics, Series } from "./telemetry.ts";

type Labels = Readonly<Record<string, string>>;
type Family = client.Counter | client.Gauge | client.Histogram;

/** Series of one metric at most: labels come from fixed sets, so more is a bug. */
const SERIES_MAX = 2000;

export class PrometheusMetrics implements Metrics {
  private readonly registry = new client.Registry();
  private readonly families = new Map<string, { readonly family: Family; readonly labelNames: string; readonly series: Set<string> }>();
  private readonly readers = new Map<string, { readonly labels: Labels; readonly read: () => number }[]>();

  readonly contentType = this.registry.contentType;

  /** The exposition text (Prometheus 0.0.4). */
  render(): Promise<string> {
    return this.registry.metrics();
  }

  counter(name: string, help: string, labels: Labels = {}): Counter {
    const family = this.family(name, labels, (labelNames) => new client.Counter({ name, help, labelNames, registers: [this.registry] }));
    const series = (family as client.Counter).labels(labels);
    series.inc(0);
    return { add: (value) => series.inc(value) };
  }

  gauge(name: string, help: string, labels: Labels = {}): Gauge {
    const family = this.family(name, labels, (labelNames) => new client.Gauge({ name, help, labelNames, registers: [this.registry] }));
    const series = (family as client.Gauge).labels(labels);
    return { set: (value) => series.set(value) };
  }

  observedGauge(name: string, help: string, read: () => number, labels: Labels = {}): void {
    const readers = this.readers.get(name) ?? [];
    this.readers.set(name, readers);
    readers.push({ labels, read });
    this.family(
      name,
      labels,
      (labelNames) =>
        new client.Gauge({
          name,
          help,
          labelNames,
          registers: [this.registry],
          collect() {
            for (const reader of readers) this.labels(reader.labels).set(reader.read());
          },
        }),
    );
  }

  observedSeries(name: string, help: string, labelNames: readonly string[], read: () => Iterable<Series>): void {
    assert(!this.families.has(name), `metric ${name} is declared twice`);
    const family = new client.Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      collect() {
        // What is gone must not stay with its last value.
        this.reset();
        for (const { labels, value } of read()) this.labels(labels).set(value);
      },
    });
    this.families.set(name, { family, labelNames: [...labelNames].sort().join(), series: new Set() });
  }

  histogram(name: string, help: string, buckets: readonly number[], labels: Labels = {}): Histogram {
    const family = this.family(
      name,
      labels,
      (labelNames) => new client.Histogram({ name, help, labelNames, buckets: [...buckets], registers: [this.registry] }),
    );
    const series = (family as client.Histogram).labels(labels);
    return { observe: (value) => series.observe(value) };
  }

  private family(name: string, labels: Labels, make: (labelNames: string[]) => Family): Family {
    const labelNames = Object.keys(labels).sort();
    let known = this.families.get(name);
    if (known === undefined) {
      known = { family: make(labelNames), labelNames: labelNames.join(), series: new Set() };
      this.families.set(name, known);
    }
    assert(known.labelNames === labelNames.join(), `metric ${name} is declared with labels ${known.labelNames} and ${labelNames.join()}`);
    known.series.add(JSON.stringify(labels));
    assert(known.series.size <= SERIES_MAX, `metric ${name} has more than ${SERIES_MAX} series`);
    return known.family;
  }
}
