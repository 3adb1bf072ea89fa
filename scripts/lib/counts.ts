/** Test counts, as the runners print them and as this project sums them: "N passed, N failed, N skipped". */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export const noTests: Counts = { passed: 0, failed: 0, skipped: 0 };

export function addCounts(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

export function formatCounts(counts: Counts): string {
  return `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
}

/** Counts of a JUnit report: the attributes of its <testsuites> element. Throws when it has none. */
export function parseJunit(xml: string): Counts {
  const element = /<testsuites\b[^>]*>/.exec(xml)?.[0];
  if (element === undefined) throw new Error("the JUnit report has no <testsuites> element");
  const attribute = (name: string): number => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(element)?.[1] ?? 0);
  const failed = attribute("failures") + attribute("errors");
  const skipped = attribute("skipped");
  return { passed: attribute("tests") - failed - skipped, failed, skipped };
}

/** Sum of cargo's "test result:" lines. Ignored tests count as skipped. */
export function parseCargoOutput(output: string): Counts {
  let counts = noTests;
  for (const match of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/gm)) {
    counts = addCounts(counts, { passed: Number(match[1]), failed: Number(match[2]), skipped: Number(match[3]) });
  }
  return counts;
}
