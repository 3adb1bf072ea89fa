/** What the scan found: contiguity within the tail and against the committed end, and who keeps the WAL from moving on. */
import { expect, test } from "bun:test";
import { DamageHold } from "../../../../src/storage/stream/damage-hold.ts";
import { RecoveredTails } from "../../../../src/storage/stream/recovered-tails.ts";
import type { Lsn, StreamId } from "../../../../src/storage/types.ts";
import type { DamageReport, RecoveredEntry } from "../../../../src/storage/wal/wal.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { FakeMetadata, NO_CHECKPOINT, STREAM_A, STREAM_B } from "../storage-harness.ts";

function entry(stream: StreamId, baseOffset: number, lastOffset: number, lsn: number, kind = 0): RecoveredEntry {
  const location = { lsn: lsn as Lsn, ringBlock: -1, offset: 100, length: 50 };
  return { stream, kind, term: 2, baseOffset, lastOffset, maxTimestampMs: 1, location, commitEndLsn: (lsn + 1) as Lsn };
}

function make(entries: readonly RecoveredEntry[], committedEnd: number, gaps: DamageReport["gaps"] = []): RecoveredTails {
  const metadata = new FakeMetadata(new ManualClock(), new SeededRandom(1));
  metadata.add(STREAM_A, committedEnd);
  metadata.add(STREAM_B, 100);
  return new RecoveredTails(entries, metadata, new DamageHold({ gaps, streams: [] }, entries, [STREAM_A, STREAM_B]));
}

const options = (committedEndOffset: number, logStartOffset = 0) => ({
  term: 3,
  committedEndOffset,
  logStartOffset,
  checkpointSource: NO_CHECKPOINT,
});

test("the tail above the committed end is dirty; what lies below is kept for reads", () => {
  const tails = make([entry(STREAM_A, 0, 9, 1), entry(STREAM_A, 10, 19, 2), entry(STREAM_B, 90, 99, 3), entry(STREAM_A, 20, 29, 4)], 10);
  expect(tails.getStreams()).toEqual([STREAM_A]);
  const log = tails.open(STREAM_A, options(10));
  expect([log.nextOffset, log.durableEndOffset, log.committedEndOffset, log.tailStartOffset]).toEqual([30, 30, 10, 0]);
  expect([log.cutSequence, log.committedSequence, log.dirtyBytes]).toEqual([1, 1, 100]);
  expect(tails.isEmpty).toBe(true);
  const other = tails.open(STREAM_B, options(100));
  expect([other.nextOffset, other.tailStartOffset, other.isCommitted]).toEqual([100, 90, true]);
});

test("offsets missing within the tail hold the stream, by name, and go on holding the WAL", () => {
  for (const second of [entry(STREAM_A, 11, 19, 2), entry(STREAM_A, 9, 19, 2)]) {
    const tails = make([entry(STREAM_A, 0, 9, 1), second], 0);
    expect(() => tails.open(STREAM_A, options(0))).toThrow(
      `stream ${STREAM_A.topicId}-0: the WAL holds offsets ${second.baseOffset}-19 at LSN 2 where 10 must follow`,
    );
    expect(tails.isEmpty).toBe(false);
    tails.drop(STREAM_A);
    expect(tails.isEmpty).toBe(true);
  }
});

test("entries of other kinds, and tails wholly below committed end or log start, hold nothing", () => {
  const tails = make([entry(STREAM_A, 0, 9, 1), entry(STREAM_A, 500, 501, 2, 7)], 20);
  expect(tails.isEmpty).toBe(true);
  expect(tails.open(STREAM_A, options(20)).nextOffset).toBe(20);
  const trimmed = make([entry(STREAM_A, 20, 29, 1)], 20);
  const log = trimmed.open(STREAM_A, options(20, 40));
  expect([log.nextOffset, log.cutOffset, log.isCommitted]).toEqual([40, 20, true]);
});
