/** From runs to a summary, and from that to Markdown. Compared is within a pair; what is shown is the median over the pairs and how far they lay apart. */
import type { Comparison, Participant, Row, Run } from "./row.ts";
import { formatNumber, formatSpread, type Spread, summarize } from "./statistics.ts";

/** What a figure's name says at the head of a column. */
const TITLES: Readonly<Record<string, string>> = {
  megabytesPerSecond: "MB/s",
  cpuSecondsPerGigabyte: "server CPU s/GB",
  loadCpuSecondsPerGigabyte: "load CPU s/GB",
  peakResidentMebibytes: "peak RSS MiB",
  residentMebibytes: "RSS MiB",
  ackP50Ms: "ack p50 ms",
  ackP99Ms: "ack p99 ms",
  ackP999Ms: "ack p99.9 ms",
  arrivalP99Ms: "arrival p99 ms",
  latestSendMs: "latest send ms",
  achievedRate: "records/s",
  transactionsPerSecond: "transactions/s",
  commitP50Ms: "commit p50 ms",
  commitP99Ms: "commit p99 ms",
  cpuMillisecondsPerTransaction: "server CPU ms a transaction",
  otherCores: "other cores",
  diskReadShare: "disk bytes read per byte",
  cpuPercentOfCore: "CPU % of a core",
  storeRequestsPerMinute: "store requests a minute",
  readyMs: "ready after ms",
  spawnToReadyzMs: "spawn to /readyz ms",
  cpuSeconds: "CPU s",
  createMs: "created after ms",
  allLedMs: "all led after ms",
};

export interface ComparisonSummary {
  readonly text: string;
  readonly figure: string;
  readonly kind: Comparison["kind"];
  readonly to: Participant;
  readonly spread: Spread;
  readonly target: Comparison["target"];
  /** By the median; undefined without a target. */
  readonly holds: boolean | undefined;
}

export interface RowSummary {
  readonly id: string;
  readonly title: string;
  readonly figures: Readonly<Partial<Record<Participant, Readonly<Record<string, Spread>>>>>;
  readonly comparisons: readonly ComparisonSummary[];
  readonly bounds: readonly { readonly text: string; readonly figure: string; readonly atMost: number; readonly holds: boolean }[];
}

const titleOf = (figure: string): string => TITLES[figure] ?? figure;

export function summarizeRow(row: Row, runs: readonly Run[]): RowSummary {
  const own = runs.filter((run) => run.row === row.id);
  const participants = [...new Set(own.map(({ participant }) => participant))];
  const figures: Partial<Record<Participant, Record<string, Spread>>> = {};
  for (const participant of participants) {
    const spreads: Record<string, Spread> = {};
    for (const figure of row.figures) {
      const values = own.filter((run) => run.participant === participant).map((run) => run.figures[figure]);
      const spread = summarize(values.filter((value) => value !== undefined));
      if (spread !== undefined) spreads[figure] = spread;
    }
    figures[participant] = spreads;
  }
  const bounds = (row.bounds ?? []).flatMap(({ figure, atMost }) => {
    const spread = figures.weir?.[figure];
    if (spread === undefined) return [];
    const holds = spread.median <= atMost;
    return [
      { text: `${titleOf(figure)}: ${formatSpread(spread)}; asked for: at most ${atMost}: ${verdict(holds)}`, figure, atMost, holds },
    ];
  });
  return { id: row.id, title: row.title, figures, comparisons: row.comparisons.flatMap((each) => compare(each, own)), bounds };
}

/** Nothing when no pair has both. */
function compare(comparison: Comparison, runs: readonly Run[]): readonly ComparisonSummary[] {
  const { figure, kind, to, target, note } = comparison;
  const figureOf = (participant: Participant, pair: number): number | undefined =>
    runs.find((run) => run.participant === participant && run.pair === pair)?.figures[figure];
  const values: number[] = [];
  for (const pair of new Set(runs.map((run) => run.pair))) {
    const ours = figureOf("weir", pair);
    const theirs = figureOf(to, pair);
    if (ours !== undefined && theirs !== undefined) values.push(kind === "ratio" ? ours / theirs : ours - theirs);
  }
  const spread = summarize(values);
  if (spread === undefined) return [];
  const holds = target === undefined ? undefined : "atLeast" in target ? spread.median >= target.atLeast : spread.median <= target.atMost;
  const asked = target === undefined ? "" : `; asked for: ${renderTarget(target)}: ${verdict(holds === true)}`;
  const text = `${titleOf(figure)}, weir ${kind === "ratio" ? "/" : "-"} ${to}: ${formatSpread(spread)}${asked}${note === undefined ? "" : ` (${note})`}`;
  return [{ text, figure, kind, to, spread, target, holds }];
}

const verdict = (holds: boolean): string => (holds ? "holds" : "does not hold");

function renderTarget(target: NonNullable<Comparison["target"]>): string {
  return "atLeast" in target ? `at least ${formatNumber(target.atLeast)}` : `at most ${formatNumber(target.atMost)}`;
}

export function renderRow(row: Row, summary: RowSummary): string {
  const cells = (values: readonly string[]): string => `| ${values.join(" | ")} |\n`;
  const participants = Object.entries(summary.figures);
  const shown = row.figures.filter((figure) => participants.some(([, spreads]) => spreads[figure] !== undefined));
  let text = `### ${summary.title}\n\n`;
  text += cells(["", ...shown.map(titleOf)]);
  text += cells(["---", ...shown.map(() => "---")]);
  for (const [name, spreads] of participants) text += cells([name, ...shown.map((figure) => formatSpread(spreads[figure]))]);
  const lines = [...summary.comparisons, ...summary.bounds].map((each) => `- ${each.text}\n`);
  return `${text}${lines.length === 0 ? "" : "\n"}${lines.join("")}`;
}

export function renderReport(environment: Readonly<Record<string, string>>, rows: readonly (readonly [Row, RowSummary])[]): string {
  const facts = Object.entries(environment).map(([name, value]) => `- ${name}: ${value}\n`);
  return `${facts.join("")}\n${rows.map(([row, summary]) => renderRow(row, summary)).join("\n")}`;
}
