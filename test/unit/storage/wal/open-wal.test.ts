/** Opening a WAL: what is refused, what is claimed before the first append, where the scan stops, and what it reports as damage. */
import { describe, expect, test } from "bun:test";
import type { WalPosition } from "../../../../src/storage/types.ts";
import { readHeader, writeNextHeader } from "../../../../src/storage/wal/header-store.ts";
import { MemoryWalDevice } from "../../../../src/storage/wal/memory-wal-device.ts";
import { BLANK_POSITION, formatWal } from "../../../../src/storage/wal/open-wal.ts";
import { WAL_BLOCK_BYTES } from "../../../../src/storage/wal/wal-device.ts";
import {
  COMMIT_HEADER_BYTES,
  type CommitHeader,
  DATA_START_BLOCK,
  decodeCommitHeader,
  sealCommit,
} from "../../../../src/storage/wal/wal-format.ts";
import { JournalingWalDevice } from "../../support/journaling-wal-device.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import {
  appendOne,
  CLUSTER_ID,
  crc32c,
  deviceBytes,
  entryOf,
  makePayload,
  openTestWal,
  plantHistory,
  readRecovered,
  type TestWal,
  TOPIC_A,
  TOPIC_B,
} from "./wal-harness.ts";

const STREAM_A = { topicId: TOPIC_A, partition: 0 };
const STREAM_B = { topicId: TOPIC_B, partition: 1 };
const BLOCKS = 128;
const LAYOUT_START = DATA_START_BLOCK * WAL_BLOCK_BYTES;

/** Appends one entry as a commit of its own and waits for it. */
async function commitOne(opened: TestWal, stream: typeof STREAM_A, offset: number, bytes = 5_000): Promise<WalPosition> {
  appendOne(opened.wal, entryOf(stream, offset, makePayload(offset, bytes)));
  await opened.clock.endTurn();
  return opened.wal.cut().durable;
}

async function flipBit(device: MemoryWalDevice, at: number): Promise<void> {
  const blockAt = at - (at % WAL_BLOCK_BYTES);
  const block = await device.read(blockAt, WAL_BLOCK_BYTES);
  block[at - blockAt]! ^= 0x10;
  await device.write(block, blockAt);
}

async function readCommitHeader(device: MemoryWalDevice, lsn: number): Promise<CommitHeader> {
  return decodeCommitHeader(await device.read(LAYOUT_START + lsn * WAL_BLOCK_BYTES, WAL_BLOCK_BYTES))!;
}

async function writeCommit(device: MemoryWalDevice, place: number, header: Omit<CommitHeader, "checksum">): Promise<void> {
  const block = Buffer.alloc(WAL_BLOCK_BYTES);
  sealCommit(block, 0, block.length, header, crc32c);
  await device.write(block, LAYOUT_START + place * WAL_BLOCK_BYTES);
}

describe("header", () => {
  test("a device without our header is not taken unless formatting is allowed", async () => {
    const device = new MemoryWalDevice(deviceBytes(BLOCKS));
    const blank = { formatBlankWith: undefined };
    await expect(openTestWal(device, blank)).rejects.toMatchObject({ code: "wal-not-formatted", exitCode: 2 });
    const header = await formatWal(device, crc32c, new SeededRandom(1));
    expect(header.claimedBy).toBeUndefined();
    const { wal } = await openTestWal(device, blank);
    expect(wal.walId).toBe(header.walId);
  });

  test("after the flush that follows the scan, claim and epoch are durable in both copies before openWal resolves", async () => {
    const device = new JournalingWalDevice(deviceBytes(BLOCKS));
    await formatWal(device, crc32c, new SeededRandom(1));
    device.journal.length = 0;
    const { wal } = await openTestWal(device);
    expect(device.journal.map((each) => (each.kind === "flush" ? "flush" : each.deviceOffset))).toEqual(["flush", WAL_BLOCK_BYTES, 0]);
    const read = await readHeader(new MemoryWalDevice(device.capacityBytes, device.durableImage()), crc32c);
    expect(read).toMatchObject({ kind: "valid", header: { walEpoch: 1, claimedBy: { clusterId: CLUSTER_ID, nodeId: 1 } } });
    expect(wal.walEpoch).toBe(1);
    expect((await openTestWal(device)).wal.walEpoch).toBe(2);
  });

  test("a WAL of another cluster or node is refused, naming both", async () => {
    const device = new MemoryWalDevice(deviceBytes(BLOCKS));
    await openTestWal(device);
    await expect(openTestWal(device, { nodeId: 2 })).rejects.toMatchObject({
      code: "wal-foreign",
      exitCode: 2,
      message: expect.stringContaining("node 1"),
    });
    await expect(openTestWal(device, { clusterId: "other" })).rejects.toMatchObject({
      code: "wal-foreign",
      message: expect.stringContaining("other"),
    });
  });

  test("one damaged copy is survived, two are not; a newer version is refused", async () => {
    const device = new MemoryWalDevice(deviceBytes(BLOCKS));
    await openTestWal(device);
    await flipBit(device, 50);
    const { wal, logger } = await openTestWal(device);
    expect(wal.walEpoch).toBe(2);
    expect(logger.names()).toContain("wal.header-copy-damaged");
    await flipBit(device, 50);
    await flipBit(device, WAL_BLOCK_BYTES + 50);
    await expect(openTestWal(device)).rejects.toMatchObject({ code: "wal-header-damaged" });
    const block = await device.read(0, WAL_BLOCK_BYTES);
    block[8] = 2;
    await device.write(block, 0);
    await expect(openTestWal(device)).rejects.toMatchObject({ code: "wal-newer-format", exitCode: 2 });
  });

  test("a bucket behind what the WAL has seen is refused", async () => {
    const device = new MemoryWalDevice(deviceBytes(BLOCKS));
    const { wal } = await openTestWal(device);
    await Promise.all([wal.noteMetadataSlot(7, "hash7"), wal.noteMetadataSlot(8, "hash8"), wal.noteMetadataSlot(5, "hash5")]);
    await expect(openTestWal(device, { metadataSlot: 7 })).rejects.toMatchObject({ code: "bucket-behind", exitCode: 2 });
    await expect(openTestWal(device, { metadataSlot: 8, metadataSlotHash: "else" })).rejects.toMatchObject({ code: "bucket-behind" });
    await openTestWal(device, { metadataSlot: 8, metadataSlotHash: "hash8" });
    await openTestWal(device, { metadataSlot: 9, metadataSlotHash: "hash9" });
  });

  test("a written WAL that the bucket does not know is refused", async () => {
    const device = new MemoryWalDevice(deviceBytes(BLOCKS));
    const opened = await openTestWal(device, { getCommittedPosition: () => undefined });
    await openTestWal(device, { getCommittedPosition: () => undefined });
    await commitOne(opened, STREAM_A, 0);
    await expect(openTestWal(device, { getCommittedPosition: () => undefined })).rejects.toMatchObject({ code: "bucket-behind" });
  });

  test("a bucket ahead of what the WAL holds is refused: an older copy of the volume", async () => {
    const device = new MemoryWalDevice(deviceBytes(BLOCKS));
    const opened = await openTestWal(device);
    await commitOne(opened, STREAM_A, 0);
    const old = new MemoryWalDevice(device.capacityBytes, await device.read(0, device.capacityBytes));
    const position = await commitOne(opened, STREAM_A, 1);
    await openTestWal(device, { getCommittedPosition: () => position });
    await expect(openTestWal(old, { getCommittedPosition: () => position })).rejects.toMatchObject({ code: "wal-behind", exitCode: 2 });
    const ofLaterEpoch = { ...position, walEpoch: 99 };
    await expect(openTestWal(device, { getCommittedPosition: () => ofLaterEpoch })).rejects.toMatchObject({ code: "wal-behind" });
  });

  test("a device smaller than its header says is refused", async () => {
    const device = new MemoryWalDevice(deviceBytes(BLOCKS));
    await openTestWal(device);
    const cut = new MemoryWalDevice(deviceBytes(BLOCKS - 1), await device.read(0, deviceBytes(BLOCKS - 1)));
    await expect(openTestWal(cut)).rejects.toMatchObject({ code: "wal-device-too-small" });
    await expect(formatWal(new MemoryWalDevice(deviceBytes(10)), crc32c, new SeededRandom(1))).rejects.toMatchObject({
      code: "wal-device-too-small",
    });
  });
});

describe("the scan stops at the first break", () => {
  test("a commit of an earlier lap at the right place, naming the right predecessor, is not taken", async () => {
    const device = new MemoryWalDevice(deviceBytes(BLOCKS));
    const position = await plantHistory(device, BLOCKS * 5 + 3, BLOCKS);
    const { header } = (await readHeader(device, crc32c)) as { header: { walId: string } };
    const stale = {
      kind: "entries",
      walId: header.walId,
      walEpoch: 41,
      blockCount: 1,
      usedBytes: COMMIT_HEADER_BYTES,
      entryCount: 0,
    } as const;
    const lsn = BLOCKS * 4 + 3;
    await writeCommit(device, 3, { ...stale, lsn, predecessorChecksum: position.predecessorChecksum, durableLsn: lsn });
    const opened = await openTestWal(device, { getCommittedPosition: () => position });
    expect(opened.wal.headLsn).toBe(position.lsn);
  });

  test("a commit of another history of the same WAL is not taken, although place and epoch are right", async () => {
    const first = new MemoryWalDevice(deviceBytes(BLOCKS));
    const opened = await openTestWal(first);
    await commitOne(opened, STREAM_A, 0, 100);
    const second = new MemoryWalDevice(first.capacityBytes, await first.read(0, first.capacityBytes));
    const forks = [await openTestWal(first), await openTestWal(second)] as const;
    await commitOne(forks[0], STREAM_A, 1, 100);
    await commitOne(forks[1], STREAM_B, 7, 100);
    await commitOne(forks[1], STREAM_B, 8, 100);
    // The first history's commit at LSN 1, the second's at LSN 2.
    await first.write(await second.read(LAYOUT_START + 2 * WAL_BLOCK_BYTES, WAL_BLOCK_BYTES), LAYOUT_START + 2 * WAL_BLOCK_BYTES);
    const { wal, recovered } = await openTestWal(first);
    expect(recovered.map((entry) => entry.baseOffset)).toEqual([0, 1]);
    expect(wal.headLsn as number).toBe(2);
  });

  test("a commit of an earlier epoch behind a newer one is not taken, although it names the right predecessor", async () => {
    const device = new MemoryWalDevice(deviceBytes(BLOCKS));
    await openTestWal(device);
    const opened = await openTestWal(device);
    await commitOne(opened, STREAM_A, 0, 100);
    const before = await readCommitHeader(device, 0);
    await writeCommit(device, 1, {
      ...before,
      lsn: 1,
      walEpoch: 1,
      entryCount: 0,
      usedBytes: COMMIT_HEADER_BYTES,
      predecessorChecksum: before.checksum,
    });
    expect((await openTestWal(device)).wal.headLsn as number).toBe(1);
    await writeCommit(device, 1, {
      ...before,
      lsn: 1,
      walEpoch: 2,
      entryCount: 0,
      usedBytes: COMMIT_HEADER_BYTES,
      predecessorChecksum: before.checksum,
    });
    expect((await openTestWal(device)).wal.headLsn as number).toBe(2);
  });

  test("a flip in the very last commit is taken for a torn write", async () => {
    const device = new MemoryWalDevice(deviceBytes(BLOCKS));
    const opened = await openTestWal(device);
    await commitOne(opened, STREAM_A, 0);
    await commitOne(opened, STREAM_A, 1);
    await flipBit(device, LAYOUT_START + 2 * WAL_BLOCK_BYTES + 3_000);
    const { recovered, damage } = await openTestWal(device);
    expect(recovered.map((entry) => entry.baseOffset)).toEqual([0]);
    expect(damage).toBeUndefined();
  });
});

test("a scan that takes long says how far it is", async () => {
  const clock = new ManualClock();
  class SlowDevice extends MemoryWalDevice {
    override async read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array> {
      await clock.advance(2_500);
      return super.read(deviceOffset, lengthBytes);
    }
  }
  const blocks = 6_000;
  const device = new SlowDevice(deviceBytes(blocks));
  const ring = new Uint8Array(4_096 * WAL_BLOCK_BYTES);
  const opened = await openTestWal(device, { ring });
  for (let offset = 0; offset < 14; offset++) await commitOne(opened, STREAM_A, offset, 1_000_000);
  const { recovered, logger } = await openTestWal(device, { ring, clock });
  expect(recovered.length).toBe(14);
  const progress = logger.events.filter((each) => each.event === "wal.recovering");
  expect(progress.length).toBeGreaterThan(0);
  expect(progress[0]?.fields).toMatchObject({ fromLsn: 0, lsn: expect.any(Number) });
  expect(logger.names().at(-1)).toBe("wal.recovered");
});

describe("damage below what a later commit states as durable", () => {
  for (const [where, at] of [
    ["header", 45],
    ["entry header", COMMIT_HEADER_BYTES + 10],
    ["payload", 3_000],
    ["padding", 8_000],
  ] as const) {
    test(`a flip in the ${where} is reported, and the scan goes on behind it`, async () => {
      const device = new MemoryWalDevice(deviceBytes(BLOCKS));
      const opened = await openTestWal(device);
      await commitOne(opened, STREAM_A, 0);
      await commitOne(opened, STREAM_A, 1);
      await commitOne(opened, STREAM_B, 50);
      await commitOne(opened, STREAM_A, 2);
      await flipBit(device, LAYOUT_START + 2 * WAL_BLOCK_BYTES + at);
      for (let opening = 0; opening < 2; opening++) {
        const { wal, recovered, damage, logger } = await openTestWal(device);
        expect(recovered.map((entry) => entry.baseOffset)).toEqual([0, 50, 2]);
        expect(await readRecovered(wal, recovered[2]!)).toEqual(makePayload(2, 5_000));
        expect(damage?.gaps).toMatchObject([{ fromLsn: 2, toLsn: 4 }]);
        expect(damage?.streams).toEqual([{ stream: STREAM_A, expectedOffset: 1, foundOffset: 2 }]);
        expect(wal.headLsn as number).toBe(8);
        expect(logger.names()).toContain("wal.damaged");
      }
    });
  }

  test("what is appended afterwards is recovered too, and a damaged start of the scan is damage as well", async () => {
    const device = new MemoryWalDevice(deviceBytes(BLOCKS));
    const opened = await openTestWal(device);
    for (let offset = 0; offset < 4; offset++) await commitOne(opened, STREAM_A, offset, 100);
    await flipBit(device, LAYOUT_START + 100);
    const again = await openTestWal(device);
    expect(again.recovered.map((entry) => entry.baseOffset)).toEqual([1, 2, 3]);
    await commitOne(again, STREAM_A, 4, 100);
    const last = await openTestWal(device, { getCommittedPosition: () => BLANK_POSITION });
    expect(last.recovered.map((entry) => entry.baseOffset)).toEqual([1, 2, 3, 4]);
    expect(last.damage?.gaps.length).toBe(1);
  });
});

test("a header write that fails is repeated by the caller without losing the other copy", async () => {
  const device = new JournalingWalDevice(deviceBytes(BLOCKS));
  const header = await formatWal(device, crc32c, new SeededRandom(3));
  device.holds = true;
  const writing = writeNextHeader(device, crc32c, { ...header, walEpoch: 9 });
  for (let seed = 0; seed < 50; seed++) {
    const read = await readHeader(new MemoryWalDevice(device.capacityBytes, device.crashImage(new SeededRandom(seed))), crc32c);
    expect(read.kind === "valid" && [0, 9].includes(read.header.walEpoch)).toBe(true);
  }
  device.complete(0);
  await writing;
});
