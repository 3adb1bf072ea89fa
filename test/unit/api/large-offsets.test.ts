/**
 * M23: large offsets and DeleteRecords at random, against a model that is a list of batches: produce, delete, fetch, list and restart over real storage (ring, WAL, segments and
 * their index), with logs that begin below 2^31, 2^32 and 2^53, and with offsets in requests up to 2^63 - 1. Records are deleted at every kind of offset: inside a
 * batch, at the borders of batches and segments, at and beyond the high watermark, -1 and below it.
 */
import { expect, test } from "bun:test";
import type { ByteSource } from "../../../src/base/byte-source.ts";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import {
  type DeleteRecordsResponse,
  newDeleteRecordsPartition,
  newDeleteRecordsRequest,
  newDeleteRecordsTopic,
} from "../../../src/protocol/messages/delete-records.ts";
import { type FetchResponse, newFetchPartition, newFetchRequest, newFetchTopic } from "../../../src/protocol/messages/fetch.ts";
import {
  type ListOffsetsResponse,
  newListOffsetsPartition,
  newListOffsetsRequest,
  newListOffsetsTopic,
} from "../../../src/protocol/messages/list-offsets.ts";
import {
  newPartitionProduceData,
  newProduceRequest,
  newTopicProduceData,
  type ProduceResponse,
} from "../../../src/protocol/messages/produce.ts";
import type { LocalStorage } from "../../../src/storage/local-storage.ts";
import type { ObjectCommit } from "../../../src/storage/ports.ts";
import type { RecordsSlice } from "../../../src/storage/types.ts";
import { drain, drive, openWorld, type World } from "../storage/storage-harness.ts";
import { ApiHarnessOver } from "../support/api-harness.ts";
import { FakeMetadata } from "../support/fake-metadata.ts";
import { BASE_TIME, makeBatch } from "../support/record-batches.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const STARTS = [0, 2 ** 31 - 7, 2 ** 32 - 7, 2 ** 53 - 100_000];
const STORAGE = { uploadSizeBytes: 8 * 1024, uploadIntervalMs: 300, blockCacheBytes: 64 * 1024, catchUpMemoryBytes: 64 * 1024 };
const INT64_MAX = 2n ** 63n - 1n;
const LATEST = -1n;
const EARLIEST = -2n;
const LATEST_TIMESTAMP = -1;
/** Offsets that no log of these has, and that a number of 53 or 32 bits would turn into others. */
const FOREIGN: readonly bigint[] = [-2n, -(2n ** 31n), -(2n ** 63n), 2n ** 53n, 2n ** 53n + 1n, 2n ** 62n, INT64_MAX - 1n, INT64_MAX];

interface ModelBatch {
  readonly base: number;
  readonly last: number;
  /** As they are stored, but for base offset and leader epoch. */
  readonly bytes: Uint8Array;
  readonly timestamp: number;
}

/** Base offset and leader epoch are the broker's. */
function contentOf(batch: Uint8Array): string {
  const own = Buffer.from(batch);
  own.fill(0, 0, 8);
  own.fill(0, 12, 16);
  return own.toString("hex");
}

class PartitionModel {
  readonly index: number;
  readonly batches: ModelBatch[] = [];
  logStart: number;
  end: number;

  constructor(index: number, start: number) {
    this.index = index;
    this.logStart = start;
    this.end = start;
  }

  /** What a read from `offset` begins with. */
  batchAt(offset: number): ModelBatch | undefined {
    return this.batches.find(({ last }) => last >= offset);
  }
}

class Run {
  readonly random: SeededRandom;
  readonly metadata = new FakeMetadata();
  readonly topicId: string;
  readonly models: PartitionModel[];
  readonly seen = { produced: 0, deleted: 0, inside: 0, refused: 0, outOfRange: 0, fetched: 0, restarts: 0, freed: 0 };
  world!: World;
  api!: ApiHarnessOver<LocalStorage>;
  #life = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.topicId = this.metadata.addTopic("t", STARTS.length).topicId;
    this.models = STARTS.map((start, index) => new PartitionModel(index, start));
  }

  // --- life ---

  async open(): Promise<void> {
    const from = this.world;
    this.#life += 1;
    const device = from === undefined ? {} : { device: from.device, from };
    this.world = await openWorld({ seed: this.#life, deviceBlocks: 160, ringBlocks: 24, storage: STORAGE, ...device });
    const ports = this.world.metadata;
    if (from === undefined) this.#begin();
    for (const { index } of this.models) {
      ports.get({ topicId: this.topicId, partition: index }).term = this.#life;
      this.metadata.setPartition(this.topicId, index, { term: this.#life });
    }
    const { clock, storage } = this.world;
    this.api = new ApiHarnessOver({}, storage, this.metadata, undefined, { clock, ranges: ports });
  }

  /** Logs that begin where they are told to, and a metadata log whose image follows the commits. */
  #begin(): void {
    const { topicId } = this;
    const ports = this.world.metadata;
    for (const { index, logStart } of this.models) {
      ports.add({ topicId, partition: index }, logStart);
      this.metadata.setPartition(topicId, index, { logStartOffset: logStart, committedEndOffset: logStart });
    }
    const commitObject = ports.commitObject.bind(ports);
    ports.commitObject = async (commit: ObjectCommit) => {
      const outcomes = await commitObject(commit);
      for (const { partition } of commit.ranges.map(({ stream }) => stream)) {
        const { committedEnd } = ports.get({ topicId, partition });
        this.metadata.setPartition(topicId, partition, { committedEndOffset: committedEnd });
      }
      return outcomes;
    };
  }

  /** Without a drain: what WAL and metadata hold is all there is. */
  async restart(): Promise<void> {
    this.api.partitions.close();
    await drive(this.world.clock, this.world.storage.close());
    while (this.world.metadata.isCommitting) await this.world.clock.advance(1);
    this.seen.restarts += 1;
    await this.open();
    for (const model of this.models) await this.checkAll(model);
  }

  /** Ranges below the log start may be let go at any time, from the front, and the objects of which nothing else is needed. */
  async releaseRanges(model: PartitionModel): Promise<void> {
    const { metadata, store, clock } = this.world;
    const partition = metadata.get({ topicId: this.topicId, partition: model.index });
    const before = partition.ranges;
    partition.ranges = before.filter(({ endOffset }) => endOffset > model.logStart);
    const needed = new Set<string>();
    for (const { ranges, checkpoint } of metadata.partitions.values()) {
      for (const { objectKey } of ranges) needed.add(objectKey);
      if (checkpoint !== undefined) needed.add(checkpoint.objectKey);
    }
    const freed = before.map(({ objectKey }) => objectKey).filter((key) => !needed.has(key));
    if (freed.length === 0) return;
    await drive(clock, store.delete(freed));
    this.seen.freed += freed.length;
  }

  call<Response>(key: number, request: unknown, version: number): Promise<Response> {
    return drive(
      this.world.clock,
      this.api.call<Response>(key, request, version).then((answer) => {
        if (answer === undefined) throw new Error("no answer");
        return answer;
      }),
    );
  }

  // --- what clients do ---

  async produce(model: PartitionModel): Promise<void> {
    const { random } = this;
    const count = random.chance(20) ? 1 + random.nextInt(60) : 1 + random.nextInt(4);
    const value = "x".repeat(count <= 4 && random.chance(20) ? 2_000 : random.nextInt(60));
    const timestamp = BASE_TIME + random.nextInt(1_000_000);
    const records = Array.from({ length: count }, () => ({ value, timestampDelta: 0 }));
    const bytes = makeBatch({ records, baseTimestamp: BigInt(timestamp), maxTimestamp: BigInt(timestamp) });
    const [code, base] = await this.#send(model, bytes.slice());
    expect([code, base]).toEqual([0, model.end]);
    model.batches.push({ base, last: base + count - 1, bytes, timestamp });
    model.end = base + count;
    this.seen.produced += 1;
  }

  /** A batch whose offsets do not fit its records would make holes, or a log end that goes back. */
  async produceBroken(model: PartitionModel): Promise<void> {
    const { random } = this;
    const lastOffsetDelta = random.pick([2 ** 31 - 1, -1, -(2 ** 31), 1]);
    const baseOffset = random.pick([INT64_MAX, 2n ** 53n + 1n, 2n ** 31n, -1n]);
    const [code] = await this.#send(model, makeBatch(random.chance(50) ? { lastOffsetDelta } : { baseOffset }));
    expect(code).toBe(ErrorCodes.INVALID_RECORD);
  }

  async #send(model: PartitionModel, records: Uint8Array): Promise<[code: number, baseOffset: number]> {
    const partitionData = [newPartitionProduceData({ index: model.index, records })];
    const topicData = [newTopicProduceData({ name: "t", partitionData })];
    const request = newProduceRequest({ acks: -1, timeoutMs: 60_000, topicData });
    const found = (await this.call<ProduceResponse>(0, request, 9)).responses[0]?.partitionResponses[0];
    return [found?.errorCode ?? -1, Number(found?.baseOffset)];
  }

  /** Somewhere in the log, at its borders, or far from it. */
  pickOffset(model: PartitionModel): bigint {
    const { random } = this;
    const { logStart, end } = model;
    const batch = model.batches.length === 0 ? undefined : random.pick(model.batches);
    const ranges = this.world.metadata.getRanges({ topicId: this.topicId, partition: model.index });
    const range = ranges.length === 0 ? undefined : random.pick(ranges);
    const near = logStart + random.nextInt(Math.max(1, end - logStart));
    return random.pick([
      BigInt(near),
      BigInt(near),
      BigInt(batch?.base ?? end),
      BigInt((batch?.last ?? end - 1) + 1),
      BigInt(range?.baseOffset ?? logStart),
      BigInt(range?.endOffset ?? logStart),
      BigInt(logStart),
      BigInt(logStart) - 1n,
      BigInt(end),
      BigInt(end) + 1n,
      BigInt(end) + 2n ** 31n,
      BigInt(end) + 2n ** 32n,
      random.pick(FOREIGN),
    ]);
  }

  async deleteRecords(model: PartitionModel): Promise<void> {
    const asked = this.random.chance(3) ? LATEST : this.pickOffset(model);
    const partitions = [newDeleteRecordsPartition({ partitionIndex: model.index, offset: asked })];
    const request = newDeleteRecordsRequest({ topics: [newDeleteRecordsTopic({ name: "t", partitions })], timeoutMs: 60_000 });
    const found = (await this.call<DeleteRecordsResponse>(21, request, 2)).topics[0]?.partitions[0];
    const offset = asked === LATEST ? BigInt(model.end) : asked;
    if (offset < 0n || offset > BigInt(model.end)) {
      expect(found).toMatchObject({ errorCode: ErrorCodes.OFFSET_OUT_OF_RANGE, lowWatermark: -1n });
      this.seen.refused += 1;
      return;
    }
    const before = model.logStart;
    model.logStart = Math.max(before, Number(offset));
    expect(found).toMatchObject({ errorCode: 0, lowWatermark: BigInt(model.logStart) });
    if (model.logStart === before) return;
    this.seen.deleted += 1;
    if ((model.batchAt(model.logStart)?.base ?? model.logStart) < model.logStart) this.seen.inside += 1;
    if (this.random.chance(50)) await this.releaseRanges(model);
  }

  async fetch(model: PartitionModel, offset: bigint): Promise<number> {
    const maxBytes = this.random.pick([0, 1, 500, 20_000, 1 << 20]);
    const partitions = [newFetchPartition({ partition: model.index, fetchOffset: offset, partitionMaxBytes: maxBytes })];
    const request = newFetchRequest({ maxWaitMs: 0, minBytes: 0, sessionEpoch: -1, topics: [newFetchTopic({ topic: "t", partitions })] });
    const found = (await this.call<FetchResponse>(1, request, 12)).responses[0]?.partitions[0];
    if (offset < BigInt(model.logStart) || offset > BigInt(model.end)) {
      expect(found).toMatchObject({ errorCode: ErrorCodes.OFFSET_OUT_OF_RANGE, highWatermark: -1n });
      this.seen.outOfRange += 1;
      return model.end;
    }
    expect(found).toMatchObject({ errorCode: 0, highWatermark: BigInt(model.end), logStartOffset: BigInt(model.logStart) });
    this.seen.fetched += 1;
    return this.#checkRecords(model, Number(offset), found?.records ?? null);
  }

  /** Whole batches of the model from the one that holds `offset`; answers the offset after them. */
  async #checkRecords(model: PartitionModel, offset: number, records: Uint8Array | ByteSource | null): Promise<number> {
    const isReference = records !== null && !(records instanceof Uint8Array);
    const bytes = isReference ? await drive(this.world.clock, drain(records as RecordsSlice)) : (records ?? new Uint8Array(0));
    if (offset < model.end) expect(bytes.length).toBeGreaterThan(0);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let next = offset;
    for (let at = 0; at < bytes.length; ) {
      const expected = model.batchAt(next);
      if (expected === undefined) throw new Error(`nothing was produced at ${next}`);
      const length = 12 + view.getInt32(at + 8);
      expect(Number(view.getBigInt64(at))).toBe(expected.base);
      expect(contentOf(bytes.subarray(at, at + length))).toBe(contentOf(expected.bytes));
      next = expected.last + 1;
      at += length;
    }
    return next;
  }

  async list(model: PartitionModel, timestamp: bigint): Promise<[code: number, offset: number]> {
    const partitions = [newListOffsetsPartition({ partitionIndex: model.index, timestamp })];
    const request = newListOffsetsRequest({ replicaId: -1, topics: [newListOffsetsTopic({ name: "t", partitions })] });
    const found = (await this.call<ListOffsetsResponse>(2, request, 7)).topics[0]?.partitions[0];
    return [found?.errorCode ?? -1, Number(found?.offset)];
  }

  /** By time: a batch of one time answers with its first record that is left. */
  async lookUp(model: PartitionModel): Promise<void> {
    const timestamp = BASE_TIME + this.random.nextInt(1_000_000);
    const first = model.batches.find((batch) => batch.last >= model.logStart && batch.timestamp >= timestamp);
    const expected = first === undefined ? LATEST_TIMESTAMP : Math.max(first.base, model.logStart);
    expect(await this.list(model, BigInt(timestamp))).toEqual([0, expected]);
  }

  /** Every record that is left, read one answer after the other, and both ends. */
  async checkAll(model: PartitionModel): Promise<void> {
    expect(await this.list(model, EARLIEST)).toEqual([0, model.logStart]);
    expect(await this.list(model, LATEST)).toEqual([0, model.end]);
    for (let at = model.logStart; at < model.end; ) at = await this.fetch(model, BigInt(at));
  }

  async step(): Promise<void> {
    const { random } = this;
    const model = random.pick(this.models);
    const kind = random.nextInt(100);
    if (kind < 45) await this.produce(model);
    else if (kind < 48) await this.produceBroken(model);
    else if (kind < 60) await this.deleteRecords(model);
    else if (kind < 80) await this.fetch(model, this.pickOffset(model));
    else if (kind < 88) await this.lookUp(model);
    else if (kind < 97) await this.world.clock.advance(random.nextInt(400));
    else await this.restart();
  }
}

/** More with WEIR_MODEL_SEEDS=100. */
const SEEDS = Number(process.env.WEIR_MODEL_SEEDS ?? 4);
test.each(Array.from({ length: SEEDS }, (_, index) => index + 1))(
  "M23: large offsets, and DeleteRecords at every kind of offset, seed %i",
  async (seed) => {
    const run = new Run(seed);
    await run.open();
    for (let step = 0; step < 600; step++) await run.step();
    await drive(run.world.clock, run.world.storage.flushToObjects());
    await run.restart();
    for (const model of run.models) expect(model.batches.length).toBeGreaterThan(10);
    const { freed, ...always } = run.seen;
    for (const count of Object.values(always)) expect(count).toBeGreaterThan(0);
    expect(freed).toBeLessThanOrEqual(run.world.metadata.commits.length);
    expect(run.world.metadata.commits.length).toBeGreaterThan(3);
  },
  60_000,
);
