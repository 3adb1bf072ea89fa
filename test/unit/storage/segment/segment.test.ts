/** The segment object: what is written is read, what is damaged is named. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Trouble } from "../../../../src/base/trouble.ts";
import { DataBlock } from "../../../../src/storage/segment/data-block.ts";
import { getInt64, getUint64, setInt64, setUint64 } from "../../../../src/storage/segment/integers.ts";
import { openBlock } from "../../../../src/storage/segment/open-block.ts";
import {
  BLOCK_ENTRY_BYTES,
  FOOTER_BYTES,
  INDEX_MAX_BYTES,
  SEGMENT_TAIL_BYTES,
  STREAM_ENTRY_BYTES,
} from "../../../../src/storage/segment/segment-format.ts";
import { SegmentIndex } from "../../../../src/storage/segment/segment-index.ts";
import { writeSegment } from "../../../../src/storage/segment/segment-writer.ts";
import { verifySegment } from "../../../../src/storage/segment/verify-segment.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { batchBytes, crc32c, STREAM_A, STREAM_B, syncJobs } from "../storage-harness.ts";
import { FAR_OFFSET, finishBlock, SAMPLE_A, SAMPLE_B, sampleSections, sampleSegment } from "./segment-samples.ts";

const FIXTURE = join(import.meta.dir, "../../../fixtures/segment-v1.bin");

async function troubleOf(promise: Promise<unknown>): Promise<Trouble> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Trouble) return error;
    throw error;
  }
  throw new Error("it was taken for whole");
}

async function expectSample(bytes: Uint8Array): Promise<void> {
  const summary = await verifySegment("k", bytes, crc32c, syncJobs);
  expect(summary).toMatchObject({ streams: 3, blocks: 3, batches: 6, checkpoints: 2 });
  const index = SegmentIndex.open("k", bytes.slice(-SEGMENT_TAIL_BYTES), bytes.length, crc32c);
  for (const [stream, sample, terms] of [
    [STREAM_A, SAMPLE_A, [3, 4]],
    [STREAM_B, SAMPLE_B, [9]],
  ] as const) {
    const entry = index.findStream(stream);
    if (entry === undefined) throw new Error("the stream is there");
    expect(entry.blockCount).toBe(sample.length);
    for (const [i, batches] of sample.entries()) {
      const block = index.getBlock(entry.firstBlock + i);
      expect(block.term).toBe(terms[i] ?? -1);
      const opened = await openBlock(
        index,
        stream,
        block,
        bytes.slice(block.position, block.position + block.storedBytes),
        crc32c,
        syncJobs,
      );
      for (const [n, batch] of batches.entries()) {
        expect(opened.baseOffset(n)).toBe(batch.baseOffset);
        expect(opened.lastOffset(n)).toBe(batch.lastOffset);
        expect(opened.maxTimestampMs(n)).toBe(batch.maxTimestampMs);
        expect(opened.bytes.slice(opened.batchStart(n), opened.batchStart(n + 1))).toEqual(
          new Uint8Array(batchBytes(batch.baseOffset, batch.length)),
        );
      }
    }
  }
}

test("a segment object gives back what was put in", async () => {
  await expectSample(sampleSegment());
});

test("the fixture of format version 1 is read for ever", async () => {
  await expectSample(new Uint8Array(readFileSync(FIXTURE)));
});

test("the index finds streams, blocks and times", () => {
  const bytes = sampleSegment();
  const index = SegmentIndex.open("k", bytes, bytes.length, crc32c);
  expect(index.findStream({ ...STREAM_A, partition: 1 })).toBeUndefined();
  expect(index.findStream({ ...STREAM_A, partition: 2 })?.checkpoint).toMatchObject({ sizeBytes: 0, endOffset: 17 });
  const a = index.findStream(STREAM_A);
  const b = index.findStream(STREAM_B);
  if (a === undefined || b === undefined) throw new Error("both are there");
  expect(index.findBlock(a, 0)).toBe(a.firstBlock);
  expect(index.findBlock(a, 9)).toBe(a.firstBlock);
  expect(index.findBlock(a, 10)).toBe(a.firstBlock + 1);
  expect(index.findBlock(a, 11)).toBeUndefined();
  expect(index.findBlock(b, 5)).toBe(b.firstBlock);
  expect(index.getBlock(a.firstBlock)).toMatchObject({ maxTimestampMs: 1_700_000_000_456, maxTimestampBaseOffset: 5 });
  expect(index.getBlock(b.firstBlock)).toMatchObject({ baseOffset: FAR_OFFSET, endOffset: FAR_OFFSET + 6_000_000_002 });
  expect(b.checkpoint).toMatchObject({ sizeBytes: 19, endOffset: FAR_OFFSET + 6_000_000_002 });
});

test("N2: every flipped bit of a segment object is detected and named", async () => {
  const whole = sampleSegment();
  const parts = new Set<string>();
  for (let at = 0; at < whole.length; at += 1) {
    const bytes = whole.slice();
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
    const trouble = await troubleOf(verifySegment("data/k", bytes, crc32c, syncJobs));
    expect(["segment-damaged", "segment-version-unknown"]).toContain(trouble.code);
    expect(trouble.message).toStartWith("segment object data/k: ");
    parts.add(trouble.message.split(": ")[1]?.split(" ")[0] ?? "");
  }
  expect([...parts].sort()).toEqual(["block", "checkpoint", "footer", "header", "index"]);
});

test("N2: a flipped bit in a block is named with stream and offsets", async () => {
  const bytes = sampleSegment();
  const index = SegmentIndex.open("data/k", bytes, bytes.length, crc32c);
  const block = index.getBlock(index.findStream(STREAM_B)?.firstBlock ?? 0);
  bytes[block.position + 9] = (bytes[block.position + 9] ?? 0) ^ 4;
  const trouble = await troubleOf(verifySegment("data/k", bytes, crc32c, syncJobs));
  expect(trouble.message).toContain(`of ${STREAM_B.topicId}-7 [${FAR_OFFSET}, ${FAR_OFFSET + 6_000_000_002})`);
});

test("N2: an object cut short or lengthened is refused", async () => {
  const whole = sampleSegment();
  for (let length = 0; length < whole.length; length += 7) {
    expect((await troubleOf(verifySegment("k", whole.slice(0, length), crc32c, syncJobs))).code).toBe("segment-damaged");
  }
  const longer = new Uint8Array(whole.length + 1);
  longer.set(whole, 1);
  expect((await troubleOf(verifySegment("k", longer, crc32c, syncJobs))).code).toBe("segment-damaged");
});

test("a newer version is refused as such, not as damage", async () => {
  const bytes = sampleSegment();
  const view = new DataView(bytes.buffer);
  const footer = bytes.length - FOOTER_BYTES;
  view.setUint16(footer + 24, 2);
  view.setUint32(footer + 36, crc32c(bytes, footer, footer + 36));
  expect((await troubleOf(verifySegment("k", bytes, crc32c, syncJobs))).code).toBe("segment-version-unknown");
});

test("content that passes its CRC but contradicts the index is refused", () => {
  const [batches = []] = SAMPLE_A;
  const { stored } = finishBlock(batches, 3, false);
  expect(() => DataBlock.open(stored, 0, 10, 3, "k", "block 0")).not.toThrow();
  for (const [base, end, count] of [
    [1, 10, 3],
    [0, 11, 3],
    [0, 10, 2],
    [0, 10, 4],
  ] as const) {
    expect(() => DataBlock.open(stored, base, end, count, "k", "block 0")).toThrow("block 0 is damaged");
  }
});

test("64-bit integers survive at their limits", () => {
  const view = new DataView(new ArrayBuffer(8));
  for (const value of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 3, Number.MAX_SAFE_INTEGER]) {
    setUint64(view, 0, value);
    expect(getUint64(view, 0)).toBe(value);
    for (const signed of [value, -value]) {
      setInt64(view, 0, signed);
      expect(getInt64(view, 0)).toBe(signed + 0);
      expect(view.getBigInt64(0)).toBe(BigInt(signed));
    }
  }
  expect(() => setUint64(view, 0, -1)).toThrow();
  view.setBigUint64(0, 2n ** 53n);
  expect(getUint64(view, 0)).toBeNaN();
});

test("random objects of many streams are found batch by batch", () => {
  const random = new SeededRandom(11);
  const sections = Array.from({ length: 300 }, (_, partition) => {
    const topicId = Buffer.from(random.fillBytes(new Uint8Array(16))).toString("base64url");
    let next = random.nextInt(2) * 2 ** 33;
    const blocks = Array.from({ length: 1 + random.nextInt(3) }, () => {
      const batches = Array.from({ length: 1 + random.nextInt(4) }, () => {
        const baseOffset = next;
        next += 1 + random.nextInt(10);
        return { baseOffset, lastOffset: next - 1, maxTimestampMs: random.nextInt(1000), length: 1 + random.nextInt(50) };
      });
      return finishBlock(batches, 1, random.chance(50));
    });
    return { stream: { topicId, partition }, blocks, checkpoint: undefined };
  });
  const bytes = writeSegment(sections, crc32c);
  const index = SegmentIndex.open("k", bytes, bytes.length, crc32c);
  for (const { stream, blocks } of sections) {
    const entry = index.findStream(stream);
    if (entry === undefined) throw new Error("every stream is found");
    for (const block of blocks) {
      const offset = block.baseOffset + random.nextInt(block.endOffset - block.baseOffset);
      expect(index.getBlock(index.findBlock(entry, offset) ?? -1).baseOffset).toBe(block.baseOffset);
    }
  }
});

test("an index that would outgrow the tail read is never written", () => {
  const blocks = Math.ceil(INDEX_MAX_BYTES / (BLOCK_ENTRY_BYTES + STREAM_ENTRY_BYTES)) + 1;
  const block = finishBlock([{ baseOffset: 0, lastOffset: 0, maxTimestampMs: 0, length: 1 }], 0, false);
  const sections = Array.from({ length: blocks }, (_, partition) => ({
    stream: { ...STREAM_A, partition },
    blocks: [block],
    checkpoint: undefined,
  }));
  expect(() => writeSegment(sections, crc32c)).toThrow("the index fits the tail read");
  expect(sampleSections()).toHaveLength(3);
});
