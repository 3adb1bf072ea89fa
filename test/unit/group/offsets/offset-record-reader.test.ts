/** The short reader of committed offsets against the generated one: the same answer wherever it answers, over every version, tombstones, damage and odd names. */
import { describe, expect, test } from "bun:test";
import { OffsetRecordReader } from "../../../../src/group/offsets/offset-record-reader.ts";
import {
  decodeRecordKey,
  decodeRecordValue,
  encodeRecordKey,
  encodeRecordValue,
  recordTypeOf,
} from "../../../../src/protocol/coordinator-record.ts";
import { newOffsetCommitKey, newOffsetCommitValue, offsetCommitRecord } from "../../../../src/protocol/messages/records/offset-commit.ts";
import { ZERO_UUID } from "../../../../src/protocol/reader.ts";
import { SeededRandom } from "../../support/seeded-random.ts";

const random = new SeededRandom(848);
const below = (limit: number): number => Math.floor(random.nextFloat() * limit);
const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T;

const NAMES = ["g", "group-1", "group-2", "", "größe", "消費者", "x".repeat(300)];
const METADATA = ["", "m", "ü", "x".repeat(126), "x".repeat(127), "y".repeat(500)];
const OFFSETS = [0n, 1n, -1n, 2n ** 40n, 2n ** 63n - 1n, -(2n ** 63n)];
const TIMES = [0n, 1_700_000_000_123n, 2n ** 52n];
const IDS = [ZERO_UUID, "AAAAAAAAAAAAAAAAAAAADg", "_-zZ09zZ09zZ09zZ09zZ0A"];

interface Sample {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

function makeSample(version: number): Sample {
  const key = encodeRecordKey(
    offsetCommitRecord,
    newOffsetCommitKey({ group: pick(NAMES), topic: pick(NAMES), partition: below(2 ** 31) }),
  );
  if (below(8) === 0) return { key, value: null };
  const fields = {
    offset: pick(OFFSETS),
    metadata: pick(METADATA),
    commitTimestamp: pick(TIMES),
    ...(version >= 3 ? { leaderEpoch: below(100) - 1 } : {}),
    ...(version >= 4 ? { topicId: pick(IDS) } : {}),
  };
  return { key, value: encodeRecordValue(offsetCommitRecord, newOffsetCommitValue(fields), version) };
}

/** In one buffer, key and value apart, as they lie in a batch. */
function read(reader: OffsetRecordReader, { key, value }: Sample): boolean {
  const bytes = new Uint8Array(7 + key.length + 3 + (value?.length ?? 0) + 5).fill(0xdb);
  bytes.set(key, 7);
  bytes.set(value ?? [], 10 + key.length);
  return reader.read(bytes, new DataView(bytes.buffer), 7, key.length, 10 + key.length, value === null ? -1 : value.length);
}

function expectAsGenerated(reader: OffsetRecordReader, { key, value }: Sample): void {
  expect(recordTypeOf(key)).toBe(offsetCommitRecord.type);
  const { group, topic, partition } = decodeRecordKey(offsetCommitRecord, key);
  expect([reader.group, reader.topic, reader.partition]).toEqual([group, topic, partition]);
  const decoded = value === null ? undefined : decodeRecordValue(offsetCommitRecord, value);
  expect(reader.committed).toEqual(
    decoded && {
      topicId: decoded.topicId,
      offset: decoded.offset,
      leaderEpoch: decoded.leaderEpoch,
      metadata: decoded.metadata,
      commitTimestampMs: Number(decoded.commitTimestamp),
      expireTimestampMs: undefined,
    },
  );
}

describe("committed offsets where they lie", () => {
  test("are read as the generated reader reads them; what is written today is always read", () => {
    const reader = new OffsetRecordReader();
    for (let round = 0; round < 5_000; round++) {
      const version = below(5);
      const sample = makeSample(version);
      const isKnown = read(reader, sample);
      if (isKnown) expectAsGenerated(reader, sample);
      const isLong = sample.value !== null && version === 4 && sample.value.length > 140;
      if (version >= 3 && !isLong) expect(isKnown).toBe(true);
      if (version < 3 && sample.value !== null) expect(isKnown).toBe(false);
    }
  });

  test("damaged bytes are either left to the generated reader or read as it reads them", () => {
    const reader = new OffsetRecordReader();
    for (let round = 0; round < 5_000; round++) {
      const { key, value } = makeSample(3 + below(2));
      const damage = (bytes: Uint8Array): Uint8Array => {
        const copy = bytes.slice(0, below(4) === 0 ? below(bytes.length + 1) : bytes.length);
        if (copy.length > 0 && below(2) === 0) copy[below(copy.length)] = below(256);
        return copy;
      };
      const sample = { key: damage(key), value: value === null ? null : damage(value) };
      if (read(reader, sample)) expectAsGenerated(reader, sample);
    }
  });
});
