/** Medians and spreads of a few runs. Neighbour: report.ts. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly count: number;
}

/** Undefined for no values: nothing measured is not zero. The median of an even number is the mean of the middle two. */
export function summarize(values: readonly number[]): Spread | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const count = sorted.length;
  const low = sorted[Math.floor((count - 1) / 2)];
  const high = sorted[Math.floor(count / 2)];
  const [min] = sorted;
  const max = sorted[count - 1];
  if (low === undefined || high === undefined || min === undefined || max === undefined) return undefined;
  return { median: (low + high) / 2, min, max, count };
}

/** Three digits that matter; more before the decimal point are shown whole. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  if (size >= 100 || size === 0) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  if (size >= 0.1) return value.toFixed(2);
  return value.toPrecision(2);
}

/** "4.2 (3.9 to 4.6)"; without the spread where there is one value. */
export function formatSpread(spread: Spread | undefined): string {
  if (spread === undefined) return "-";
  const median = formatNumber(spread.median);
  return spread.count === 1 ? median : `${median} (${formatNumber(spread.min)} to ${formatNumber(spread.max)})`;
}
