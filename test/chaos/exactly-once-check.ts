/**
 * What exactly once means to readers of a copy. `checkCopy`: a read_committed reader finds, per partition, each offset of the input once, in order, and nothing
 * of an attempt that was meant to be aborted. `checkAttempts`: beside a read_uncommitted reader it finds of each attempt all or nothing, and what
 * the attempt's client was told. Pure; `exactly-once.ts` feeds it.
 */

/** A record of the copy. */
export interface CopiedRecord {
  /** Where it lies in the copy. */
  readonly offset: number;
  /** Where its input lay. */
  readonly inputOffset: number;
  /** The transaction that wrote it. */
  readonly attempt: string;
  /** What its client meant to do: "commit", "abort", "spoil" (cannot be committed) or "stall" (commits later than the transaction may live). */
  readonly plan: string;
}

/** What clients were told about the ends of their attempts; of others nobody knows. */
export interface Verdicts {
  readonly committed: ReadonlySet<string>;
  readonly aborted: ReadonlySet<string>;
}

const mostFindings = 5;
const committable = new Set(["commit", "stall"]);

/** Differences of one partition's copy from its input of `inputs` records; at most a few, since one error shifts all that follow. */
export function checkCopy(partition: number, inputs: number, copy: readonly CopiedRecord[]): string[] {
  const findings: string[] = [];
  const seen = new Set<number>();
  let highest = -1;
  let offsetBefore = -1;
  for (const { offset, inputOffset, attempt, plan } of copy) {
    if (offset <= offsetBefore) findings.push(`partition ${partition}: offset ${offset} was read after ${offsetBefore}`);
    if (!committable.has(plan))
      findings.push(`partition ${partition}: input ${inputOffset} comes from an attempt to be aborted, ${attempt}`);
    else if (seen.has(inputOffset)) findings.push(`partition ${partition}: input ${inputOffset} is there twice`);
    else if (inputOffset < highest) findings.push(`partition ${partition}: input ${inputOffset} comes after ${highest}`);
    if (inputOffset >= inputs) findings.push(`partition ${partition}: input ${inputOffset} was never written`);
    seen.add(inputOffset);
    highest = Math.max(highest, inputOffset);
    offsetBefore = offset;
  }
  const gaps = Array.from({ length: inputs }, (_, offset) => offset).filter((offset) => !seen.has(offset));
  if (gaps.length > 0) findings.push(`partition ${partition}: ${gaps.length} of ${inputs} inputs are missing, the first is ${gaps[0]}`);
  return findings.slice(0, mostFindings);
}

/** Where the read_committed view (`committed`, by partition) is not what attempts of the read_uncommitted view (`everything`) may leave. */
export function checkAttempts(
  committed: readonly (readonly CopiedRecord[])[],
  everything: readonly (readonly CopiedRecord[])[],
  verdicts: Verdicts,
): string[] {
  const findings: string[] = [];
  const visible = new Set<string>();
  for (const [partition, records] of committed.entries()) {
    const written = new Map(everything[partition]?.map((record) => [record.offset, record.attempt]));
    for (const { offset, attempt } of records) {
      visible.add(attempt);
      if (written.get(offset) !== attempt) findings.push(`partition ${partition}: ${attempt} at ${offset} is not in the uncommitted view`);
    }
  }
  const counts = countByAttempt(everything);
  for (const [attempt, count] of countByAttempt(committed)) {
    if (count !== counts.get(attempt)) findings.push(`${count} of ${counts.get(attempt)} records of ${attempt} are visible`);
  }
  for (const attempt of verdicts.committed) if (!visible.has(attempt)) findings.push(`${attempt} was committed and is not visible`);
  for (const attempt of verdicts.aborted) if (visible.has(attempt)) findings.push(`${attempt} was aborted and is visible`);
  return findings.slice(0, mostFindings);
}

function countByAttempt(copy: readonly (readonly CopiedRecord[])[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const records of copy) for (const { attempt } of records) counts.set(attempt, (counts.get(attempt) ?? 0) + 1);
  return counts;
}
