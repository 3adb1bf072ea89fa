/**
 * What a group may do to its records, judged from what its members printed. No record may be skipped. A record may be processed again, but only from
 * where its partition's last acknowledged commit stood when the partition moved.
 */
import type { MemberEvent } from "./groups-members.ts";

export interface GroupVerdict {
  readonly records: number;
  /** Processed more than once, each time counted. */
  readonly reprocessed: number;
  /** Times that a member began at an offset that does not follow its own last one. */
  readonly moves: number;
  readonly problems: readonly string[];
}

export function judgeGroup(events: readonly MemberEvent[], endOffsets: readonly number[]): GroupVerdict {
  const ordered = [...events].sort((a, b) => a.atUs - b.atUs);
  const problems: string[] = [];
  let reprocessed = 0;
  let moves = 0;
  let records = 0;
  for (const [partition, endOffset] of endOffsets.entries()) {
    const seen = new Set<number>();
    /** By member: the offset after its last record. */
    const positions = new Map<string, number>();
    let committed = 0;
    for (const event of ordered) {
      if (event.partition !== partition) continue;
      if (event.kind === "C") {
        committed = Math.max(committed, event.offset);
        continue;
      }
      records += 1;
      if (positions.get(event.member) !== event.offset) {
        moves += 1;
        if (event.offset < committed) {
          problems.push(`partition ${partition}: ${event.member} begins at ${event.offset}, below the acknowledged commit ${committed}`);
        }
      }
      positions.set(event.member, event.offset + 1);
      if (seen.has(event.offset)) reprocessed += 1;
      seen.add(event.offset);
    }
    const skipped = Array.from({ length: endOffset }, (_, offset) => offset).filter((offset) => !seen.has(offset));
    if (skipped.length > 0) problems.push(`partition ${partition}: ${skipped.length} of ${endOffset} skipped, the first ${skipped[0]}`);
  }
  return { records, reprocessed, moves, problems };
}
