/** docs/metrics.md is what a broker declares, and what the alert rules and the dashboard speak of is in it. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Glob } from "bun";
import { collectMetrics, METRICS_DOCS_PATH, renderMetricsDocs } from "../../../scripts/generate-metrics-docs.ts";
import { KAFKA_BEANS, LABELS } from "../../../scripts/lib/metric-notes.ts";

const root = join(import.meta.dir, "../../..");
const metrics = await collectMetrics();
const names = new Set(metrics.map(({ name }) => name));

describe("docs/metrics.md", () => {
  test("is up to date (bun scripts/generate-metrics-docs.ts)", async () => {
    expect(await Bun.file(METRICS_DOCS_PATH).text()).toBe(renderMetricsDocs(metrics));
  });

  test("has every metric that the sources name", async () => {
    const missing: string[] = [];
    for await (const path of new Glob("**/*.ts").scan(join(root, "src"))) {
      const text = await Bun.file(join(root, "src", path)).text();
      for (const [, name = ""] of text.matchAll(/"((?:weir|kafka|process)_[a-z0-9_]+)"/g)) {
        if (!names.has(name)) missing.push(`${name} (${path})`);
      }
    }
    expect(missing).toEqual([]);
  });

  test("says what bounds every label, and names no MBean for a metric that is gone", () => {
    for (const { name, labelNames } of metrics) {
      for (const label of labelNames) expect([name, label, LABELS[label] !== undefined]).toEqual([name, label, true]);
    }
    for (const name of Object.keys(KAFKA_BEANS)) expect([name, names.has(name)]).toEqual([name, true]);
  });

  test("follows Prometheus's conventions: counters and only they end with _total, everything has help", () => {
    for (const { name, type, help } of metrics) {
      expect(name).toMatch(/^(?:weir|process|kafka)_[a-z][a-z0-9_]*[a-z0-9]$/);
      expect([name, name.endsWith("_total")]).toEqual([name, type === "counter"]);
      expect(help.length).toBeGreaterThan(10);
    }
  });
});

interface AlertRules {
  readonly groups: readonly { readonly rules: readonly AlertRule[] }[];
}
interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: Readonly<Record<string, string>>;
}
interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
}

/** Names of metrics in a PromQL expression, without what Prometheus adds to a histogram's. */
function namesIn(expression: string): readonly string[] {
  const found = expression.replace(/"[^"]*"/g, '""').match(/\b(?:weir|process|kafka)_[a-z0-9_]+/g) ?? [];
  return found.map((name) => (names.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/, "")));
}

/** GitHub's anchors of a document's headings. */
function anchorsOf(markdown: string): ReadonlySet<string> {
  const headings = [...markdown.matchAll(/^#{1,4} (.+)$/gm)].map((match) => match[1] ?? "");
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-"),
    ),
  );
}

describe("packaging/", () => {
  test("ten alert rules speak of metrics that exist, and each names a section of docs/operations.md", async () => {
    const parsed = Bun.YAML.parse(await Bun.file(join(root, "packaging/prometheus/weir-alerts.yaml")).text()) as AlertRules;
    const rules = parsed.groups.flatMap((group) => group.rules);
    const anchors = anchorsOf(await Bun.file(join(root, "docs/operations.md")).text());
    expect(rules.length).toBe(10);
    for (const { alert, expr, annotations } of rules) {
      expect([alert, namesIn(expr).length > 0]).toEqual([alert, true]);
      expect(namesIn(expr).filter((name) => !names.has(name))).toEqual([]);
      const [file, anchor = ""] = (annotations.runbook ?? "").split("#");
      expect([alert, file, anchors.has(anchor)]).toEqual([alert, "docs/operations.md", true]);
    }
  });

  test("every panel of the dashboard shows metrics that exist", async () => {
    const { panels } = JSON.parse(await Bun.file(join(root, "packaging/grafana/weir.json")).text()) as Dashboard;
    const expressions = panels.flatMap(({ title, targets }) => (targets ?? []).map(({ expr }) => ({ title, expr })));
    expect(expressions.length).toBeGreaterThan(20);
    for (const { title, expr } of expressions) {
      expect([title, namesIn(expr).length > 0]).toEqual([title, true]);
      expect([title, namesIn(expr).filter((name) => !names.has(name))]).toEqual([title, []]);
    }
  });
});
