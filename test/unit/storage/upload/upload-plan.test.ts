/** From a cut to objects: nothing lost, nothing twice, every bound kept. */
import { expect, test } from "bun:test";
import { INDEX_MAX_BYTES } from "../../../../src/storage/segment/segment-format.ts";
import { indexBytes } from "../../../../src/storage/segment/segment-writer.ts";
import { StreamLog } from "../../../../src/storage/stream/stream-log.ts";
import type { Lsn } from "../../../../src/storage/types.ts";
import { type CutRun, planParts } from "../../../../src/storage/upload/upload-plan.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { TOPIC_A } from "../storage-harness.ts";

function makeRun(random: SeededRandom, partition: number, batches: number, maxLength: number): { run: CutRun; bytes: number } {
  const base = random.nextInt(2) * 2 ** 36;
  const log = new StreamLog({ topicId: TOPIC_A, partition }, 1, base, 0);
  let next = base;
  let bytes = 0;
  for (let i = 0; i < batches; i += 1) {
    const length = 1 + random.nextInt(maxLength);
    const last = next + random.nextInt(50);
    const term = 1 + Math.floor((3 * i) / batches);
    log.index.push(next, last, random.nextInt(1_000), term, { lsn: i as Lsn, ringBlock: i, offset: 0, length });
    next = last + 1;
    bytes += length;
  }
  const checkpoint = random.chance(50) ? new Uint8Array(10) : undefined;
  return { run: { log, firstSequence: 0, endSequence: batches, baseOffset: base, endOffset: next, checkpoint }, bytes };
}

test("random cuts are divided without a gap, within bounds, checkpoints at the end", () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const random = new SeededRandom(seed);
    const made = Array.from({ length: 1 + random.nextInt(40) }, (_, i) =>
      makeRun(random, i, 1 + random.nextInt(60), 1 + random.nextInt(3_000)),
    );
    const totalBytes = made.reduce((sum, each) => sum + each.bytes, 0);
    const objectBytes = 1_000 + random.nextInt(100_000);
    const indexLimitBytes = random.chance(50) ? INDEX_MAX_BYTES : indexBytes(3, 5);
    const parts = planParts(
      made.map((each) => each.run),
      totalBytes,
      objectBytes,
      indexLimitBytes,
    );
    if (totalBytes <= 2 * objectBytes && indexLimitBytes === INDEX_MAX_BYTES) expect(parts).toHaveLength(1);
    for (const part of parts) {
      const blocks = part.runs.flatMap((run) => run.blocks);
      expect(indexBytes(part.runs.length, blocks.length)).toBeLessThanOrEqual(indexLimitBytes);
      expect(part.payloadBytes).toBe(blocks.reduce((sum, block) => sum + block.payloadBytes, 0));
      if (totalBytes > 2 * objectBytes && blocks.length > 1) expect(part.payloadBytes).toBeLessThanOrEqual(objectBytes);
      expect(new Set(part.runs.map((run) => run.log)).size).toBe(part.runs.length);
    }
    for (const { run, bytes } of made) {
      const pieces = parts.flatMap((part) => part.runs).filter((piece) => piece.log === run.log);
      let next = run.baseOffset;
      let sequence = run.firstSequence;
      for (const piece of pieces) {
        expect(piece.baseOffset).toBe(next);
        next = piece.endOffset;
        let maxTimestampMs = -1;
        for (const block of piece.blocks) {
          expect(block.firstSequence).toBe(sequence);
          for (; sequence < block.endSequence; sequence += 1) {
            expect(run.log.index.term(sequence)).toBe(block.term);
            maxTimestampMs = Math.max(maxTimestampMs, run.log.index.maxTimestampMs(sequence));
          }
        }
        expect(piece.maxTimestampMs).toBe(maxTimestampMs);
        expect(piece.endSequence).toBe(sequence);
      }
      expect(next).toBe(run.endOffset);
      expect(sequence).toBe(run.endSequence);
      expect(pieces.reduce((sum, piece) => sum + piece.sizeBytes, 0)).toBe(bytes);
      expect(pieces.map((piece) => piece.checkpoint)).toEqual([...pieces.slice(1).map(() => undefined), run.checkpoint]);
    }
  }
});
