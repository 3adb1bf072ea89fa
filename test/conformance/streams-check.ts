/**
 * What a counting Kafka Streams application (StreamsCount.java) must have written when each input counted exactly once: for each group, in one partition, the counts
 * 1, 2, 3, ... to the number of its inputs, and at the end the sum of their values. Pure; takes lines of its reader.
 */

/** The group of input `index`, as StreamsCount.java computes it. */
export function groupOf(index: number, groups: number): number {
  return (Math.imul(index, 2_654_435_761) >>> 0) % groups;
}

interface GroupState {
  partition: number;
  count: number;
  sum: number;
}

const mostFindings = 10;

export class StreamsCountChecker {
  readonly findings: string[] = [];
  /** Output records seen. */
  count = 0;
  private readonly states = new Map<number, GroupState>();

  readonly take = (line: string): void => {
    const [kind, ...words] = line.split(" ");
    if (kind !== "R") return;
    const [partition = -1, offset = -1, group = -1, count = -1, sum = -1] = words.map(Number);
    this.count += 1;
    const state = this.states.get(group) ?? { partition, count: 0, sum: 0 };
    if (state.partition !== partition) this.find(`group ${group} is in partitions ${state.partition} and ${partition}`);
    if (count !== state.count + 1) this.find(`group ${group} counts ${count} after ${state.count} at ${partition}/${offset}`);
    if (sum < state.sum) this.find(`group ${group} falls from ${state.sum} to ${sum} at ${partition}/${offset}`);
    this.states.set(group, { partition, count, sum });
  };

  private find(finding: string): void {
    if (this.findings.length < mostFindings) this.findings.push(finding);
  }

  /** What was found, and where the last totals are not those of inputs 0 to `records`. */
  finish(records: number, groups: number): string[] {
    const totals = Array.from({ length: groups }, () => ({ count: 0, sum: 0 }));
    for (let index = 0; index < records; index++) {
      const total = totals[groupOf(index, groups)];
      if (total === undefined) throw new Error(`no group of ${index}`);
      total.count += 1;
      total.sum += index;
    }
    for (const [group, { count, sum }] of totals.entries()) {
      const state = this.states.get(group) ?? { count: 0, sum: 0 };
      if (state.count !== count || state.sum !== sum)
        this.find(`group ${group} ends with ${state.count} ${state.sum}, not ${count} ${sum}`);
    }
    for (const group of this.states.keys()) if (totals[group] === undefined) this.find(`group ${group} has no input`);
    return this.findings;
  }
}
