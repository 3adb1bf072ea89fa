/** The bytes of the format: round trips, flipped bits, numbers beyond 2^32, and the image of version 1 that is read for ever. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { WalPosition } from "../../../../src/storage/types.ts";
import { readHeader } from "../../../../src/storage/wal/header-store.ts";
import { MemoryWalDevice } from "../../../../src/storage/wal/memory-wal-device.ts";
import { verifyWal } from "../../../../src/storage/wal/verify.ts";
import {
  COMMIT_HEADER_BYTES,
  commitChecksumMatches,
  decodeCommitHeader,
  decodeEntryHeader,
  decodeHeader,
  deviceOffsetOf,
  ENTRY_HEADER_BYTES,
  encodeEntryHeader,
  encodeHeader,
  sealCommit,
} from "../../../../src/storage/wal/wal-format.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { RecordingLogger } from "../../support/recording-telemetry.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { CLUSTER_ID, crc32c, makePayload, openTestWal, readRecovered, TOPIC_A, TOPIC_B } from "./wal-harness.ts";

const FIXTURES = join(import.meta.dir, "../../../fixtures/wal");

test("the table CRC32C gives the check value, also in pieces", () => {
  const bytes = new TextEncoder().encode("123456789");
  expect(crc32c(bytes, 0, 9)).toBe(0xe3069283);
  expect(crc32c(bytes, 4, 9, crc32c(bytes, 0, 4))).toBe(0xe3069283);
});

describe("round trips", () => {
  const header = {
    walId: TOPIC_A,
    generation: 2 ** 53 - 1,
    claimedBy: { clusterId: CLUSTER_ID, nodeId: 2 ** 31 - 1 },
    walEpoch: 2 ** 40,
    capacityBlocks: 2 ** 33,
    dataStartBlock: 16,
    maxInFlightBytes: 2 ** 35,
    maxCommitBlocks: 1024,
    metadataSlot: { slot: 2 ** 33, hash: "a".repeat(86) },
  };

  test("header, claimed or not", () => {
    for (const each of [header, { ...header, claimedBy: undefined, metadataSlot: undefined }]) {
      expect(decodeHeader(encodeHeader(each, crc32c), crc32c)).toEqual({ kind: "valid", header: each });
    }
  });

  test("every flipped bit of a header is noticed", () => {
    const block = encodeHeader(header, crc32c);
    for (let bit = 0; bit < 256 * 8; bit++) {
      block[bit >> 3]! ^= 1 << (bit & 7);
      expect(decodeHeader(block, crc32c).kind).not.toBe("valid");
      block[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  test("commit and entry, with numbers up to 2^53 - 1 and negative timestamps", () => {
    const target = Buffer.alloc(4096);
    const payload = makePayload(1, 300);
    target.set(payload, COMMIT_HEADER_BYTES + ENTRY_HEADER_BYTES);
    const entry = {
      kind: 255,
      stream: { topicId: TOPIC_B, partition: 2 ** 31 - 1 },
      term: 2 ** 31 - 1,
      baseOffset: 2 ** 53 - 1,
      lastOffset: 2 ** 53 - 1,
    };
    for (const maxTimestampMs of [-1, 0, -(2 ** 52) - 1, 2 ** 53 - 1, -(2 ** 53 - 1), 2 ** 32, -(2 ** 32)]) {
      encodeEntryHeader(target, COMMIT_HEADER_BYTES, { ...entry, maxTimestampMs }, 300, crc32c);
      expect(decodeEntryHeader(target, COMMIT_HEADER_BYTES, crc32c)).toMatchObject({ ...entry, maxTimestampMs, payloadBytes: 300 });
    }
    const commit = {
      kind: "entries",
      walId: TOPIC_A,
      walEpoch: 3,
      lsn: 2 ** 52,
      blockCount: 1,
      usedBytes: 444,
      entryCount: 1,
      predecessorChecksum: 2 ** 32 - 1,
      durableLsn: 2 ** 52,
    } as const;
    const checksum = sealCommit(target, 0, 4096, commit, crc32c);
    const decoded = decodeCommitHeader(target);
    expect(decoded).toEqual({ ...commit, checksum });
    expect(commitChecksumMatches(target, decoded!, crc32c)).toBe(true);
    const random = new SeededRandom(4);
    for (let round = 0; round < 500; round++) {
      const at = random.nextInt(4096);
      const before = target[at]!;
      target[at] = before ^ (1 + random.nextInt(255));
      const damaged = decodeCommitHeader(target);
      expect(damaged !== undefined && commitChecksumMatches(target, damaged, crc32c)).toBe(false);
      target[at] = before;
    }
  });

  test("places beyond 2^32 blocks", () => {
    expect(deviceOffsetOf(2 ** 45 + 5, { capacityBlocks: 2 ** 33, dataStartBlock: 16 })).toBe((16 + 5) * 4096);
    expect(deviceOffsetOf(2 ** 33 - 1, { capacityBlocks: 2 ** 33, dataStartBlock: 16 })).toBe((16 + 2 ** 33 - 1) * 4096);
    expect(() => deviceOffsetOf(2 ** 54, { capacityBlocks: 2 ** 53, dataStartBlock: 16 })).toThrow("safe");
  });
});

describe("format version 1 is read for ever", () => {
  interface Fixture {
    readonly committed: WalPosition;
    readonly endLsn: number;
    readonly entries: readonly {
      stream: { topicId: string; partition: number };
      term: number;
      baseOffset: number;
      maxTimestampMs: number;
      lsn: number;
      payloadBytes: number;
    }[];
  }

  function loadFixture(): { fixture: Fixture; device: MemoryWalDevice } {
    const image = Bun.gunzipSync(readFileSync(join(FIXTURES, "wal-v1.img.gz")));
    return {
      fixture: JSON.parse(readFileSync(join(FIXTURES, "wal-v1.json"), "utf8")) as Fixture,
      device: new MemoryWalDevice(image.length, image),
    };
  }

  test("recovery gives the entries that were written, and ends at the torn commit", async () => {
    const { fixture, device } = loadFixture();
    const { wal, recovered, damage } = await openTestWal(device, {
      getCommittedPosition: () => fixture.committed,
      metadataSlot: 4,
      metadataSlotHash: "hash-of-4",
    });
    expect(damage).toBeUndefined();
    expect(recovered.length).toBe(fixture.entries.length);
    expect(wal.headLsn as number).toBe(fixture.endLsn);
    for (const [index, entry] of recovered.entries()) {
      const { payloadBytes, lsn, ...fields } = fixture.entries[index]!;
      expect(entry).toMatchObject({ ...fields, kind: 0, lastOffset: fields.baseOffset });
      expect(entry.location.lsn as number).toBe(lsn);
      expect(await readRecovered(wal, entry)).toEqual(new Uint8Array(payloadBytes).map((_, at) => fields.baseOffset + at * 7));
    }
  });

  test("verify finds it sound, with a skip and two epochs in it", async () => {
    const { fixture, device } = loadFixture();
    const read = await readHeader(device, crc32c);
    if (read.kind !== "valid") throw new Error("the fixture has a header");
    const report = await verifyWal({ device, header: read.header, crc32c, clock: new ManualClock(), logger: new RecordingLogger() });
    expect(report.damage).toEqual([]);
    expect(report.log).toMatchObject({ endLsn: fixture.endLsn, lastEpoch: 2 });
    const kinds = new Set<string | undefined>();
    for (let place = 16; place < 80; place++) kinds.add(decodeCommitHeader(await device.read(place * 4096, 4096))?.kind);
    expect(kinds).toEqual(new Set(["entries", "skip", undefined]));
  });
});
