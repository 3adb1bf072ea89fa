/** What a full run leaves in the documentation: what was compared, how often, and every way in which the answers may differ. */
import { allowed, partings, readings } from "./allowed.ts";

export interface Counts {
  readonly seeds: number;
  readonly sent: number;
  readonly compared: number;
  /** Compared requests by API and version. */
  readonly apis: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly allowances: Readonly<Record<string, number>>;
  /** Kinds of divergence. */
  readonly diverged: number;
}

const number = new Intl.NumberFormat("en-US");

function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** "4-18"; "0-6, 99" where versions in between were never sent. */
export function describeVersions(counts: Readonly<Record<string, number>>): string {
  const ranges: [number, number][] = [];
  for (const version of Object.keys(counts)
    .map(Number)
    .toSorted((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] + 1 === version) last[1] = version;
    else ranges.push([version, version]);
  }
  return ranges.map(([low, high]) => (low === high ? `${low}` : `${low}-${high}`)).join(", ");
}

export function summarize(counts: Counts): string {
  const apis = Object.entries(counts.apis).toSorted(([, a], [, b]) => total(b) - total(a));
  const allowances = [...allowed, ...partings, ...readings].toSorted(
    (a, b) => (counts.allowances[b.id] ?? 0) - (counts.allowances[a.id] ?? 0),
  );
  return `# Where Weir's answers differ from Kafka's

*Written by \`bun test/conformance/differential.ts --summary\`; do not edit.*

A differential test plays seeded random sequences of requests to Weir and to Apache Kafka 4.4 at the same time, over the raw protocol, and compares every
field of every answer. What may differ is listed below with its reason, and the list is the test's own: a difference that is not in it fails the run, an
entry that a full run never needed is removed from it. Requests are good and bad, batches whole and damaged in forty ways, names, ids, epochs,
sequences and versions right and wrong; ids that a server gives out are compared by what they stand for.

The run that wrote this page: **${number.format(counts.compared)} answers compared** over ${number.format(counts.seeds)} seeds (${number.format(counts.sent)} requests to each server; what follows a difference that leaves the
two logs apart is not compared), ${counts.diverged === 0 ? "no other difference is left" : `${counts.diverged} kinds of other differences`}. A seed that shows a difference is played again once that is
repaired, and then counts as it is.

## Differences

"Times" counts fields, not requests.

| Times | What and why |
|---:|---|
${allowances.map(({ id, reason }) => `| ${number.format(counts.allowances[id] ?? 0)} | ${reason} (\`${id}\`) |`).join("\n")}

## Requests compared

| API | Versions | Requests | Of the rarest version |
|---|---|---:|---:|
${apis.map(([name, versions]) => `| ${name} | ${describeVersions(versions)} | ${number.format(total(versions))} | ${number.format(Math.min(...Object.values(versions)))} |`).join("\n")}

Groups of the consumer protocol have their targets made by the heartbeat that needs one on both servers (\`group.consumer.assignment.interval.ms=0\`,
\`group.consumer.assignor.offload.enable=false\`), and what Kafka does in the background is waited for: a coordinator's look at new topics, settings and
patterns. Under \`range\` every assignment is compared as it is, under \`uniform\` by what it has to be. Left out is a member without topics that joins others
which have some: Kafka 4.4 goes on taking all for subscribed to the same, and gives it partitions that nobody then has.

ApiVersions is also sent in versions that nobody serves. Not compared: what only Kafka serves, and time: what depends on when a request comes is left
out of the sequences.
`;
}
