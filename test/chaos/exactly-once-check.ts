/**
 * What exactly once means to a read_committed reader of a copy: per partition each offset of the input once, in order, and nothing of an attempt that
 * was meant to be aborted. Pure; `exactly-once.ts` feeds it.
 */

/** A record of the copy: where its input lay, and what the loop that wrote it meant to do with its transaction. */
export interface CopiedRecord {
  readonly inputOffset: number;
  readonly verdict: string;
}

const mostFindings = 5;

/** Differences of one partition's copy from its input of `inputs` records; at most a few, since one error shifts all that follow. */
export function checkCopy(partition: number, inputs: number, copy: readonly CopiedRecord[]): string[] {
  const findings: string[] = [];
  const seen = new Set<number>();
  let highest = -1;
  for (const { inputOffset, verdict } of copy) {
    if (verdict !== "commit") findings.push(`partition ${partition}: input ${inputOffset} comes from an attempt that was aborted`);
    else if (seen.has(inputOffset)) findings.push(`partition ${partition}: input ${inputOffset} is there twice`);
    else if (inputOffset < highest) findings.push(`partition ${partition}: input ${inputOffset} comes after ${highest}`);
    if (inputOffset >= inputs) findings.push(`partition ${partition}: input ${inputOffset} was never written`);
    seen.add(inputOffset);
    highest = Math.max(highest, inputOffset);
  }
  const gaps = Array.from({ length: inputs }, (_, offset) => offset).filter((offset) => !seen.has(offset));
  if (gaps.length > 0) findings.push(`partition ${partition}: ${gaps.length} of ${inputs} inputs are missing, the first is ${gaps[0]}`);
  return findings.slice(0, mostFindings);
}
