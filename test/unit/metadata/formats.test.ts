/**
 * The stored formats: every record round-trips, and the fixtures, written once by the first release, are read for ever. `WEIR_WRITE_FIXTURES=1` writes
 * those that are missing, never one that is there.
 */
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ByteReader, ByteWriter, DamagedBytes } from "../../../src/metadata/byte-codec.ts";
import { readOrCreateClusterId } from "../../../src/metadata/cluster-id.ts";
import { CLUSTER_KEY, chunkKey, floorKey, manifestKey, slotKey } from "../../../src/metadata/keys.ts";
import { decodeLogBatch, encodeLogBatch } from "../../../src/metadata/log-batch.ts";
import { type MetadataRecord, readRecord, UnknownRecord, writeRecord } from "../../../src/metadata/records.ts";
import { decodeManifest } from "../../../src/metadata/snapshot-format.ts";
import { MemoryStore } from "../../../src/objectstore/memory-store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";
import { CLUSTER_ID, committed, INCARNATION, openLog, propose, registered, topicCreated, uuid, wonFeature } from "./metadata-harness.ts";

const FIXTURES = join(import.meta.dir, "../../fixtures/metadata-v1");
const BIG = Number.MAX_SAFE_INTEGER;
const topicId = uuid(1);
const listeners = [{ name: "EXTERNAL", host: "broker-1.example", port: 65_535, securityProtocol: "SASL_SSL" }];

/** One of each type, with extreme values. */
const RECORDS: readonly MetadataRecord[] = [
  { type: "controller-elected", nodeId: 2 ** 31 - 1, epoch: BIG, incarnation: INCARNATION },
  { type: "broker-registered", nodeId: 0, incarnation: INCARNATION, walId: "wal-1", rack: "zone-ä", listeners },
  { type: "broker-registered", nodeId: 1, incarnation: INCARNATION, walId: "", rack: undefined, listeners: [] },
  { type: "wal-opened", walId: "wal-1", nodeId: 1, walEpoch: 3, sealedLsn: BIG },
  topicCreated(1, 50),
  { type: "topic-deleted", topicId },
  {
    type: "partitions-added",
    topicId,
    placements: [
      { nodeId: 1, walId: "w", count: 9 },
      { nodeId: 2, walId: "v", count: 1 },
    ],
  },
  { type: "partition-owner", topicId, partition: 3, nodeId: 2, walId: "wal-2", term: 2 ** 31 - 1 },
  committed(1, "a", 2 ** 31, 2 ** 32 + 1, 2 ** 40),
  { type: "object-committed", objectKey: "data/1-x", sizeBytes: 0, nodeId: 1, walId: "w", walCommitted: undefined, ranges: [] },
  { type: "objects-removed", objectKeys: ["data/1-a", "data/1-b"] },
  { type: "object-written-off", objectKey: "data/1-c", nodeId: 1, walId: "wal-1" },
  { type: "log-start-offset", topicId, partition: 0, offset: BIG },
  { type: "topic-config", topicId, name: "retention.ms", value: "-1" },
  { type: "topic-config", topicId, name: "retention.ms", value: undefined },
  { type: "producer-id-block", firstId: 2 ** 50, count: 1_000, nodeId: 1 },
  { type: "feature-level", name: "transaction.version", level: 2 },
  { type: "config", resourceType: 4, resourceName: "", name: "log.retention.ms", value: "1000" },
  { type: "config", resourceType: 32, resourceName: "gr\u00fcn", name: "consumer.session.timeout.ms", value: undefined },
  { type: "ranges-released", topicId, partition: 7, offset: BIG },
  { type: "change-outcome", nodeId: 1, brokerEpoch: 77, sequence: BIG, outcomes: new Uint8Array([1, 2, 255]) },
];

function encode(record: MetadataRecord): Uint8Array {
  const writer = new ByteWriter();
  writeRecord(writer, record);
  return writer.finish();
}

describe("records", () => {
  test("round-trip, all types", () => {
    for (const record of RECORDS) expect(readRecord(new ByteReader(encode(record)))).toEqual(record);
    expect(new Set(RECORDS.map((record) => record.type)).size).toBe(17);
  });

  test("are refused when cut short, and when newer", () => {
    for (const record of RECORDS) {
      const bytes = encode(record);
      for (let length = 0; length < bytes.length; length++)
        expect(() => readRecord(new ByteReader(bytes, 0, length))).toThrow(DamagedBytes);
      const newer = bytes.slice();
      newer[1] = 2;
      expect(() => readRecord(new ByteReader(newer))).toThrow(UnknownRecord);
      newer[0] = 99;
      expect(() => readRecord(new ByteReader(newer))).toThrow(UnknownRecord);
    }
  });

  test("of random bytes never do anything but throw", () => {
    const random = new SeededRandom(5);
    for (let round = 0; round < 5_000; round++) {
      const bytes = random.fillBytes(new Uint8Array(random.nextInt(80)));
      bytes[0] = 1 + random.nextInt(17);
      bytes[1] = 1;
      try {
        readRecord(new ByteReader(bytes));
      } catch (error) {
        expect(error instanceof DamagedBytes || error instanceof UnknownRecord).toBe(true);
      }
    }
  });

  test("use numbers up to 2^53 and nothing above", () => {
    for (const value of [0, 127, 128, 2 ** 31, 2 ** 32, 2 ** 49 - 1, 2 ** 49, BIG]) {
      const writer = new ByteWriter(1);
      writer.varint(value);
      expect(new ByteReader(writer.finish()).varint()).toBe(value);
    }
    const tooLarge = new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f]);
    expect(() => new ByteReader(tooLarge).varint()).toThrow(DamagedBytes);
    expect(() => new ByteWriter().varint(2 ** 53)).toThrow();
  });
});

/** The same log every time: slots, a snapshot, and slots after it. */
async function makeFixtureStore(): Promise<MemoryStore> {
  const clock = new ManualClock();
  const store = new MemoryStore(clock);
  const random = new SeededRandom(1);
  await readOrCreateClusterId({ store, random, crc32c: tableCrc32c, wantedClusterId: CLUSTER_ID, walClusterId: undefined });
  const log = await openLog(store, clock);
  await propose(log, 1, registered(1), topicCreated(0, 3), topicCreated(1));
  await propose(log, 1, committed(0, "a", 0, 2 ** 32, 4), { type: "producer-id-block", firstId: 0, count: 1_000, nodeId: 1 });
  await log.takeSnapshot();
  await propose(log, 1, committed(0, "b", 2 ** 32, 2 ** 33, 8), wonFeature(1));
  await log.takeSnapshot();
  await propose(
    log,
    1,
    { type: "topic-deleted", topicId: uuid(1) },
    { type: "topic-config", topicId: uuid(0), name: "cleanup.policy", value: "compact" },
  );
  return store;
}

const FIXTURE_KEYS = [CLUSTER_KEY, slotKey(3), slotKey(4), floorKey(1), manifestKey(2), chunkKey(2, 0), manifestKey(3)];

const FIXTURE_IMAGE_HASH = "4c60992aedb91113";

function fixturePath(key: string): string {
  return join(FIXTURES, `${key.replaceAll("/", "_")}.bin`);
}

describe("fixtures of version 1", () => {
  test("are there", async () => {
    const store = await makeFixtureStore();
    const listed = (await store.list("")).objects.map((object) => object.key);
    if (process.env.WEIR_WRITE_FIXTURES === "1") {
      mkdirSync(FIXTURES, { recursive: true });
      for (const key of listed) {
        if (!existsSync(fixturePath(key))) writeFileSync(fixturePath(key), (await store.get(key))!);
      }
    }
    for (const key of [...FIXTURE_KEYS, ...listed]) expect(existsSync(fixturePath(key))).toBe(true);
  });

  test("are read as they were meant", async () => {
    const clock = new ManualClock();
    const store = new MemoryStore(clock);
    for (const name of readdirSync(FIXTURES)) {
      await store.put(name.replace(/\.bin$/, "").replaceAll("_", "/"), readFileSync(join(FIXTURES, name)));
    }
    const random = new SeededRandom(1);
    const id = await readOrCreateClusterId({ store, random, crc32c: tableCrc32c, wantedClusterId: undefined, walClusterId: undefined });
    expect(id).toEqual({ clusterId: CLUSTER_ID, isNew: false });
    const { image } = await openLog(store, clock);
    expect([image.slot, image.hashText]).toEqual([4, FIXTURE_IMAGE_HASH]);
    expect(image.getTopic("t0")).toMatchObject({ topicId: uuid(0), partitionCount: 3, replicationFactor: 3 });
    expect(image.getTopic("t0")?.configs.get("cleanup.policy")).toBe("compact");
    expect(image.getPartition(uuid(0), 0)).toEqual({ ownerNodeId: 1, term: 0, logStartOffset: 0, committedEndOffset: 2 ** 33 });
    expect(image.getWal("wal-1")?.committed.lsn).toBe(8);
    const manifest = decodeManifest((await store.get(manifestKey(2)))!, "manifest", tableCrc32c);
    expect([manifest.slot, manifest.chunks.length]).toEqual([2, 3]);
  });

  test("are what this release would write, byte for byte", async () => {
    const store = await makeFixtureStore();
    for (const { key } of (await store.list("")).objects)
      expect(Buffer.compare((await store.get(key))!, readFileSync(fixturePath(key)))).toBe(0);
  });

  test("of a log batch decode and encode to the same bytes", () => {
    const bytes = readFileSync(fixturePath(slotKey(4)));
    const batch = decodeLogBatch(bytes, "slot", tableCrc32c);
    expect(batch.slot).toBe(4);
    expect(batch.records.map((record) => record.type)).toEqual(["controller-elected", "topic-deleted", "topic-config"]);
    expect(Buffer.compare(encodeLogBatch(batch, tableCrc32c), bytes)).toBe(0);
  });
});
