/** What is declared appears in the exposition text, once, with one set of labels. */
import { expect, test } from "bun:test";
import { PrometheusMetrics } from "../../../src/telemetry/prometheus-metrics.ts";

test("counters, gauges and histograms in the exposition text", async () => {
  const metrics = new PrometheusMetrics();
  metrics.counter("weir_requests_total", "Requests.", { api: "Fetch" }).add(2);
  metrics.counter("weir_requests_total", "Requests.", { api: "Produce" });
  metrics.counter("weir_requests_total", "Requests.", { api: "Fetch" }).add(1);
  metrics.gauge("weir_depth", "Depth.").set(7);
  let level = 1;
  metrics.observedGauge("weir_level", "Level.", () => level, { kind: "a" });
  metrics.observedGauge("weir_level", "Level.", () => 10 * level, { kind: "b" });
  metrics.histogram("weir_wait_seconds", "Wait.", [0.1, 1]).observe(0.5);
  level = 3;
  const text = await metrics.render();
  for (const line of [
    'weir_requests_total{api="Fetch"} 3',
    'weir_requests_total{api="Produce"} 0',
    "weir_depth 7",
    'weir_level{kind="a"} 3',
    'weir_level{kind="b"} 30',
    'weir_wait_seconds_bucket{le="0.1"} 0',
    'weir_wait_seconds_bucket{le="1"} 1',
    "weir_wait_seconds_count 1",
    "# HELP weir_wait_seconds Wait.",
  ]) {
    expect(text).toContain(`${line}\n`);
  }
});

test("one metric has one set of label names", () => {
  const metrics = new PrometheusMetrics();
  metrics.counter("a_total", "A.", { x: "1" });
  expect(() => metrics.counter("a_total", "A.", { y: "1" })).toThrow("labels");
});
