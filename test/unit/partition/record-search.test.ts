/** Look-ups by time over a log of 100 GB: its metadata in memory, one object of it real, and every request to the object store counted. */
import { expect, test } from "bun:test";
import { readInt64, viewOf, writeInt64 } from "../../../src/partition/batch-layout.ts";
import { PartitionLog } from "../../../src/partition/partition-log.ts";
import { findByTimestamp, findMaxTimestamp } from "../../../src/partition/record-search.ts";
import type { CommittedRange } from "../../../src/storage/ports.ts";
import { GateStore } from "../storage/gate-store.ts";
import { drive, openStream, openWorld, STREAM_A, settleTurns, tryAppendBatch, type World } from "../storage/storage-harness.ts";
import { decompressForTest, makeBatch } from "../support/record-batches.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

const RANGE_BYTES = 8 * 1024 * 1024;
const RANGES_BEFORE = 12_000;
const RANGES_AFTER = 800;
const RECORDS_PER_RANGE = 100_000;
const BATCHES = 40;
const RECORDS = 20;
const FIRST = RANGES_BEFORE * RECORDS_PER_RANGE;

/** The range at `index` covers times [index * 1000, index * 1000 + 999]. */
function makeRange(index: number, baseOffset: number): CommittedRange {
  return {
    objectKey: `absent-${index}`,
    baseOffset,
    endOffset: baseOffset + RECORDS_PER_RANGE,
    maxTimestampMs: index * 1000 + 999,
    sizeBytes: RANGE_BYTES,
  };
}

async function openHugeLog(): Promise<{ world: World; gate: GateStore; log: PartitionLog }> {
  const gates: GateStore[] = [];
  const makeStore = (clock: World["clock"]): GateStore => {
    const gate = new GateStore(clock);
    gates.push(gate);
    return gate;
  };
  const storage = { uploadSizeBytes: 1 << 22, uploadIntervalMs: 1_000_000 };
  const writer = await openWorld({
    deviceBlocks: 4096,
    ringBlocks: 1024,
    storage,
    makeStore: (clock) => makeStore(clock as World["clock"]),
  });
  const [gate] = gates;
  if (gate === undefined) throw new Error("made");
  writer.metadata.add(STREAM_A, FIRST);
  const stream = openStream(writer, STREAM_A);
  const random = new SeededRandom(3);
  for (let index = 0; index < BATCHES; index++) {
    // Noise, so that the object is larger than what one read of its end brings along.
    const records = Array.from({ length: RECORDS }, (_, record) => ({
      timestampDelta: record,
      value: Buffer.from(random.fillBytes(new Uint8Array(600))).toString("base64"),
    }));
    const baseTimestamp = RANGES_BEFORE * 1000 + index * RECORDS;
    const maxTimestampMs = baseTimestamp + RECORDS - 1;
    const bytes = makeBatch({
      records,
      codec: index % 2 === 0 ? 1 : 4,
      baseTimestamp: BigInt(baseTimestamp),
      maxTimestamp: BigInt(maxTimestampMs),
    });
    const baseOffset = stream.nextOffset;
    writeInt64(viewOf(bytes), 0, baseOffset);
    expect(readInt64(viewOf(bytes), 0)).toBe(baseOffset);
    expect(tryAppendBatch(writer, stream, { baseOffset, lastOffset: baseOffset + RECORDS - 1, maxTimestampMs, bytes })).toBe(true);
    await settleTurns(writer.clock, 2);
  }
  await drive(writer.clock, writer.storage.flushToObjects());
  const partition = writer.metadata.get(STREAM_A);
  const before = Array.from({ length: RANGES_BEFORE }, (_, index) => makeRange(index, index * RECORDS_PER_RANGE));
  const after = Array.from({ length: RANGES_AFTER }, (_, index) =>
    makeRange(RANGES_BEFORE + 1 + index, partition.committedEnd + index * RECORDS_PER_RANGE),
  );
  partition.ranges = [...before, ...partition.ranges, ...after];
  partition.committedEnd += RANGES_AFTER * RECORDS_PER_RANGE;
  const world = await openWorld({ from: writer, deviceBlocks: 64, wal: { getCommittedPosition: () => undefined } });
  const log = new PartitionLog({ ...STREAM_A, term: 3, logStartOffset: 0, crc32c: tableCrc32c });
  log.attachStream(openStream(world, STREAM_A));
  log.startServing();
  gate.rangedReads = 0;
  return { world, gate, log };
}

test("ListOffsets by time over the metadata of a 100 GB log: the exact record, in at most two ranged reads", async () => {
  const { world, gate, log } = await openHugeLog();
  expect((RANGES_BEFORE + RANGES_AFTER) * RANGE_BYTES).toBeGreaterThan(100e9);
  for (const ordinal of [0, 1, 19, 20, 399, BATCHES * RECORDS - 1]) {
    const timestampMs = RANGES_BEFORE * 1000 + ordinal;
    // Each look-up by a broker that has nothing in its cache.
    const cold = await openWorld({ from: world, deviceBlocks: 64, wal: { getCommittedPosition: () => undefined } });
    const coldLog = new PartitionLog({ ...STREAM_A, term: 3, logStartOffset: 0, crc32c: tableCrc32c });
    coldLog.attachStream(openStream(cold, STREAM_A));
    coldLog.startServing();
    gate.rangedReads = 0;
    const found = await drive(cold.clock, findByTimestamp(coldLog, timestampMs, coldLog.highWatermark, decompressForTest));
    expect(found).toEqual({ offset: FIRST + ordinal, timestampMs, leaderEpoch: -1 });
    expect(gate.rangedReads).toBeLessThanOrEqual(2);
  }
  gate.rangedReads = 0;
  const after = await drive(world.clock, findByTimestamp(log, 1e15, log.highWatermark, decompressForTest));
  expect([after, gate.rangedReads]).toEqual([undefined, 0]);
});

test("the greatest timestamp of it: the exact record, in at most two ranged reads", async () => {
  const { world, gate, log } = await openHugeLog();
  const partition = world.metadata.get(STREAM_A);
  partition.ranges = partition.ranges.map((range) => (range.objectKey.startsWith("absent") ? { ...range, maxTimestampMs: 5 } : range));
  const found = await drive(world.clock, findMaxTimestamp(log, decompressForTest));
  const last = BATCHES * RECORDS - 1;
  expect(found).toEqual({ offset: FIRST + last, timestampMs: RANGES_BEFORE * 1000 + last, leaderEpoch: -1 });
  expect(gate.rangedReads).toBeLessThanOrEqual(2);
});
