/**
 * What a group may do to its records, judged from what its members printed. No record may be skipped. A record may be processed again, but only from
 * where its partition's last acknowledged commit stood when the partition moved.
 *
 * A partition moves when a member begins in it: it had another's records last, or the offset does not follow the member's own last one.
 */
import type { MemberEvent } from "./groups-members.ts";

export interface GroupVerdict {
  readonly records: number;
  /** Processed more than once, each time counted. */
  readonly reprocessed: number;
  /** Times that a member began in a partition. */
  readonly moves: number;
  readonly problems: readonly string[];
}

export type JudgedEvent = Pick<MemberEvent, "kind" | "atUs" | "member" | "partition" | "offset">;

export function judgeGroup(events: readonly JudgedEvent[], endOffsets: readonly number[]): GroupVerdict {
  const byPartition = endOffsets.map((): JudgedEvent[] => []);
  const problems: string[] = [];
  for (const event of [...events].sort((a, b) => a.atUs - b.atUs)) {
    const own = byPartition[event.partition];
    if (own === undefined) problems.push(`partition ${event.partition}: ${event.member} processed it, though the topic has no such`);
    else own.push(event);
  }
  let [records, reprocessed, moves] = [0, 0, 0];
  for (const [partition, endOffset] of endOffsets.entries()) {
    const verdict = judgePartition(byPartition[partition] ?? [], endOffset);
    records += verdict.records;
    reprocessed += verdict.reprocessed;
    moves += verdict.moves;
    problems.push(...verdict.problems.map((problem) => `partition ${partition}: ${problem}`));
  }
  return { records, reprocessed, moves, problems };
}

/** `events` in order of time. */
function judgePartition(events: readonly JudgedEvent[], endOffset: number): GroupVerdict {
  const problems: string[] = [];
  const seen = new Set<number>();
  let [records, reprocessed, moves, committed] = [0, 0, 0, 0];
  /** Who has it, and the offset after its last record. */
  let owner = "";
  let position = 0;
  for (const { kind, member, offset } of events) {
    if (kind === "C") {
      committed = Math.max(committed, offset);
      continue;
    }
    records += 1;
    if (owner !== member || position !== offset) {
      moves += 1;
      if (offset < committed) problems.push(`${member} begins at ${offset}, below the acknowledged commit ${committed}`);
    }
    owner = member;
    position = offset + 1;
    if (seen.has(offset)) reprocessed += 1;
    seen.add(offset);
  }
  const skipped = Array.from({ length: endOffset }, (_, offset) => offset).filter((offset) => !seen.has(offset));
  if (skipped.length > 0) problems.push(`${skipped.length} of ${endOffset} skipped, the first ${skipped[0]}`);
  const beyond = [...seen].filter((offset) => offset >= endOffset);
  if (beyond.length > 0) problems.push(`offset ${beyond[0]} was processed, though the log ends at ${endOffset}`);
  return { records, reprocessed, moves, problems };
}
