/**
 * Reads a whole WAL without knowing where the metadata log stands, for `weir wal verify`: every commit of the data area in place order, joined into
 * runs by LSN and predecessor. The run of the highest epoch that ends last is the log's end; what is missing before it, in the lap that the device can still
 * hold and below what the log states to have been durable, is damage. Commits beyond the log's end are leftovers of writes that a crash cut off from the chain.
 */
import { type ScanOptions, WalScanner } from "./scan.ts";
import type { CommitHeader } from "./wal-format.ts";

export interface VerifiedGap {
  readonly fromLsn: number;
  readonly toLsn: number;
}

export interface VerifyReport {
  /** Undefined: no commit at all. */
  readonly log:
    | {
        /** The oldest commit that the device still holds in an unbroken chain (or behind a gap) up to the end. */
        readonly firstLsn: number;
        readonly endLsn: number;
        readonly firstEpoch: number;
        readonly lastEpoch: number;
        readonly commits: number;
        readonly entries: number;
        readonly checksumAtEnd: number;
        readonly durableLsnStated: number;
      }
    | undefined;
  readonly damage: readonly VerifiedGap[];
  readonly leftoverCommits: number;
}

interface Run {
  readonly firstLsn: number;
  readonly firstEpoch: number;
  readonly predecessorChecksum: number;
  endLsn: number;
  lastEpoch: number;
  checksum: number;
  commits: number;
  entries: number;
  durableLsn: number;
}

export async function verifyWal(options: ScanOptions): Promise<VerifyReport> {
  const runs = await collectRuns(options);
  const newest = runs.reduce<Run | undefined>((best, run) => (best === undefined || isNewer(run, best) ? run : best), undefined);
  if (newest === undefined) return { log: undefined, damage: [], leftoverCommits: 0 };
  const oldestHeld = newest.endLsn - options.header.capacityBlocks;
  const inLap = runs.filter((run) => run.endLsn <= newest.endLsn && run.firstLsn >= oldestHeld).sort((a, b) => a.firstLsn - b.firstLsn);
  const durableLsnStated = Math.max(...inLap.map((run) => run.durableLsn));
  const log: Run[] = [];
  const damage: VerifiedGap[] = [];
  for (const run of inLap) {
    const before = log.at(-1);
    const isJoined = before === undefined || (before.endLsn === run.firstLsn && before.checksum === run.predecessorChecksum);
    if (!isJoined && before.endLsn >= durableLsnStated) break;
    if (!isJoined) damage.push({ fromLsn: before.endLsn, toLsn: run.firstLsn });
    log.push(run);
  }
  const first = log[0] ?? newest;
  const last = log.at(-1) ?? newest;
  return {
    log: {
      firstLsn: first.firstLsn,
      endLsn: last.endLsn,
      firstEpoch: first.firstEpoch,
      lastEpoch: last.lastEpoch,
      commits: sum(log, (run) => run.commits),
      entries: sum(log, (run) => run.entries),
      checksumAtEnd: last.checksum,
      durableLsnStated,
    },
    damage,
    leftoverCommits: sum(runs, (run) => run.commits) - sum(log, (run) => run.commits),
  };
}

function isNewer(run: Run, other: Run): boolean {
  return run.lastEpoch > other.lastEpoch || (run.lastEpoch === other.lastEpoch && run.endLsn > other.endLsn);
}

/** Memory grows with the number of breaks, not of commits. */
async function collectRuns(options: ScanOptions): Promise<Run[]> {
  const scanner = new WalScanner(options);
  const runs: Run[] = [];
  let run: Run | undefined;
  for (let place = 0; place < options.header.capacityBlocks; ) {
    const commit = await scanner.readCommitAtPlace(place);
    if (commit === undefined) {
      place += 1;
      continue;
    }
    if (run !== undefined && continues(run, commit)) extend(run, commit);
    else {
      run = startRun(commit);
      runs.push(run);
    }
    place += commit.blockCount;
  }
  scanner.close();
  return runs;
}

function continues(run: Run, commit: CommitHeader): boolean {
  return commit.lsn === run.endLsn && commit.predecessorChecksum === run.checksum && commit.walEpoch >= run.lastEpoch;
}

function startRun(commit: CommitHeader): Run {
  return {
    firstLsn: commit.lsn,
    firstEpoch: commit.walEpoch,
    predecessorChecksum: commit.predecessorChecksum,
    endLsn: commit.lsn + commit.blockCount,
    lastEpoch: commit.walEpoch,
    checksum: commit.checksum,
    commits: 1,
    entries: commit.entryCount,
    durableLsn: commit.durableLsn,
  };
}

function extend(run: Run, commit: CommitHeader): void {
  run.endLsn = commit.lsn + commit.blockCount;
  run.lastEpoch = commit.walEpoch;
  run.checksum = commit.checksum;
  run.commits += 1;
  run.entries += commit.entryCount;
  run.durableLsn = Math.max(run.durableLsn, commit.durableLsn);
}

function sum(runs: readonly Run[], of: (run: Run) => number): number {
  return runs.reduce((total, run) => total + of(run), 0);
}
