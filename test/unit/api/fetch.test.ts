import { describe, expect, test } from "bun:test";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import { type FetchResponse, newFetchPartition, newFetchRequest, newFetchTopic } from "../../../src/protocol/messages/fetch.ts";
import { newPartitionProduceData, newProduceRequest, newTopicProduceData } from "../../../src/protocol/messages/produce.ts";
import { ApiHarness } from "../support/api-harness.ts";
import { settle } from "../support/manual-clock.ts";
import { makeBatch } from "../support/record-batches.ts";
import { offsetsOf } from "../support/record-collector.ts";

interface Ask {
  readonly topic?: string;
  readonly partition?: number;
  readonly offset?: bigint;
  readonly maxBytes?: number;
  readonly epoch?: number;
  readonly lastEpoch?: number;
}

interface Fields {
  readonly maxWaitMs?: number;
  readonly minBytes?: number;
  readonly maxBytes?: number;
  readonly sessionId?: number;
  readonly sessionEpoch?: number;
  readonly isolationLevel?: number;
  readonly forget?: readonly number[];
}

function ask(partitions: readonly Ask[], fields: Fields = {}) {
  const { forget, ...rest } = fields;
  return newFetchRequest({
    maxWaitMs: 0,
    minBytes: 1,
    sessionEpoch: -1,
    ...rest,
    topics: partitions.map((one) =>
      newFetchTopic({
        topic: one.topic ?? "t",
        partitions: [
          newFetchPartition({
            partition: one.partition ?? 0,
            fetchOffset: one.offset ?? 0n,
            partitionMaxBytes: one.maxBytes ?? 1 << 20,
            currentLeaderEpoch: one.epoch ?? -1,
            lastFetchedEpoch: one.lastEpoch ?? -1,
          }),
        ],
      }),
    ),
    forgottenTopicsData: forget === undefined ? [] : [{ topic: "t", topicId: "AAAAAAAAAAAAAAAAAAAAAA", partitions: [...forget] }],
  });
}

async function produce(api: ApiHarness, partition: number, records = 1, size = 10, codec = 0): Promise<void> {
  const batch = makeBatch({ records: Array.from({ length: records }, () => ({ value: "x".repeat(size) })), codec });
  const topic = newTopicProduceData({ name: "t", partitionData: [newPartitionProduceData({ index: partition, records: batch })] });
  await api.call(0, newProduceRequest({ acks: -1, timeoutMs: 1000, topicData: [topic] }), 9);
}

async function harness(partitions = 4, settings: Record<string, string> = {}): Promise<ApiHarness> {
  const api = new ApiHarness(settings);
  const { topicId } = api.metadata.addTopic("t", partitions);
  for (let index = 0; index < partitions; index++) await api.partitions.open(topicId, index);
  return api;
}

async function fetch(api: ApiHarness, request: ReturnType<typeof ask>, version = 12): Promise<FetchResponse> {
  const response = await api.call<FetchResponse>(1, request, version);
  if (response === undefined) throw new Error("no answer");
  return response;
}

function rows(response: FetchResponse) {
  return response.responses.flatMap((topic) =>
    topic.partitions.map((one) => [one.partitionIndex, one.errorCode, offsetsOf(one.records)] as const),
  );
}

/** Every slice was released, or is still held by an answer. */
function heldSlices(api: ApiHarness): number {
  return [...api.storage.streams.values()].flatMap((stream) => stream.slices).filter((slice) => slice.releases === 0).length;
}

describe("Fetch", () => {
  test("answers records from the offset's batch on, with watermarks", async () => {
    const api = await harness();
    await produce(api, 0, 3);
    await produce(api, 0, 2);
    const response = await fetch(api, ask([{ offset: 1n }]));
    expect(rows(response)).toEqual([[0, 0, [0, 1, 2, 3, 4]]]);
    expect(response.responses[0]?.partitions[0]).toMatchObject({ highWatermark: 5n, lastStableOffset: 5n, logStartOffset: 0n });
    expect(response.responses[0]?.partitions[0]?.abortedTransactions).toBeNull();
    const committed = await fetch(api, ask([{ offset: 5n }], { isolationLevel: 1 }));
    expect(committed.responses[0]?.partitions[0]?.abortedTransactions).toEqual([]);
  });

  test("only durable records are visible", async () => {
    const api = await harness();
    api.storage.isDurableAtOnce = false;
    void produce(api, 0);
    await settle();
    expect(rows(await fetch(api, ask([{}])))).toEqual([[0, 0, []]]);
    api.storage.release();
    expect(rows(await fetch(api, ask([{}])))).toEqual([[0, 0, [0]]]);
  });

  test("limits: the first batch is whole above every limit, the next ones are not", async () => {
    const api = await harness();
    for (const partition of [0, 1]) for (let index = 0; index < 3; index++) await produce(api, partition, 1, 1000);
    expect(rows(await fetch(api, ask([{ maxBytes: 1 }, { partition: 1, maxBytes: 1 }])))).toEqual([
      [0, 0, [0]],
      [1, 0, []],
    ]);
    expect(rows(await fetch(api, ask([{}, { partition: 1 }], { maxBytes: 0 })))).toEqual([
      [0, 0, [0]],
      [1, 0, []],
    ]);
    expect(rows(await fetch(api, ask([{ maxBytes: 2500 }, { partition: 1 }], { maxBytes: 4000 })))).toEqual([
      [0, 0, [0, 1]],
      [1, 0, [0]],
    ]);
    for (const value of [-1, -(2 ** 31)]) {
      expect(rows(await fetch(api, ask([{ maxBytes: value }], { maxBytes: value, minBytes: value, maxWaitMs: value })))).toEqual([
        [0, 0, [0]],
      ]);
    }
    const bounded = await harness(4, { "fetch.max.bytes": "1024" });
    for (let index = 0; index < 3; index++) await produce(bounded, 0, 1, 500);
    expect(rows(await fetch(bounded, ask([{}])))).toEqual([[0, 0, [0]]]);
  });

  test("errors: ranges, epochs, unknown partitions, extreme integers", async () => {
    const api = await harness();
    await produce(api, 0, 3);
    const topicId = api.metadata.topics.get("t")?.topicId ?? "";
    const code = async (one: Ask) => (await fetch(api, ask([one]))).responses[0]?.partitions[0]?.errorCode;
    for (const offset of [-1n, 4n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)])
      expect(await code({ offset })).toBe(ErrorCodes.OFFSET_OUT_OF_RANGE);
    expect(await code({ offset: 3n })).toBe(0);
    expect(await code({ epoch: 1 })).toBe(ErrorCodes.UNKNOWN_LEADER_EPOCH);
    expect(await code({ epoch: -2 })).toBe(0);
    expect(await code({ epoch: 0 })).toBe(0);
    expect(await code({ partition: 9 })).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await code({ partition: -1 })).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await code({ topic: "nope" })).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await code({ lastEpoch: 7, offset: 3n })).toBe(ErrorCodes.OFFSET_OUT_OF_RANGE);
    api.metadata.setPartition(topicId, 1, { ownerNodeId: 2, term: 3 });
    const moved = await fetch(api, ask([{ partition: 1 }]), 16);
    expect(moved.responses[0]?.topicId).toBeDefined();
    const unknownId = newFetchRequest({
      sessionEpoch: -1,
      topics: [newFetchTopic({ topicId: "CQkJCQkJCQkJCQkJCQkJCQ", partitions: [newFetchPartition({})] })],
    });
    expect((await fetch(api, unknownId, 13)).responses[0]?.partitions[0]?.errorCode).toBe(ErrorCodes.UNKNOWN_TOPIC_ID);
    const byId = newFetchRequest({
      sessionEpoch: -1,
      topics: [newFetchTopic({ topicId, partitions: [newFetchPartition({ partition: 1 })] })],
    });
    const leader = (await fetch(api, byId, 16)).responses[0]?.partitions[0];
    expect(leader).toMatchObject({ errorCode: ErrorCodes.NOT_LEADER_OR_FOLLOWER, currentLeader: { leaderId: 2, leaderEpoch: 3 } });
  });

  test("a reader of an ended epoch learns where it diverges", async () => {
    const api = await harness();
    const topicId = api.metadata.topics.get("t")?.topicId ?? "";
    await produce(api, 0, 3);
    api.metadata.setPartition(topicId, 0, { term: 5 });
    await api.partitions.open(topicId, 0);
    await produce(api, 0, 2);
    const diverging = await fetch(api, ask([{ offset: 4n, lastEpoch: 0 }]));
    expect(diverging.responses[0]?.partitions[0]?.divergingEpoch).toEqual({ epoch: 0, endOffset: 3n });
    const committed = await fetch(api, ask([{ offset: 4n, lastEpoch: 0 }], { isolationLevel: 1 }));
    expect(committed.responses[0]?.partitions[0]).toMatchObject({ divergingEpoch: { epoch: 0, endOffset: 3n }, abortedTransactions: null });
    expect(rows(await fetch(api, ask([{ offset: 3n, lastEpoch: 0 }])))).toEqual([[0, 0, [3, 4]]]);
  });

  test("a long poll ends when enough bytes are durable, wakes only for its own partitions, and its deadline is shared", async () => {
    const api = await harness();
    let isAnswered = false;
    const waiting = fetch(api, ask([{}, { partition: 1 }], { maxWaitMs: 500, minBytes: 150 })).then((response) => {
      isAnswered = true;
      return response;
    });
    await settle();
    expect(api.waiters.size).toBe(1);
    const { topicId } = api.metadata.topics.get("t") ?? { topicId: "" };
    const reads = api.storage.stream(topicId, 0).tryReads;
    await produce(api, 2);
    await produce(api, 1);
    await settle();
    expect(isAnswered).toBe(false);
    expect(api.storage.stream(topicId, 0).tryReads).toBe(reads);
    await produce(api, 0);
    await settle();
    expect(rows(await waiting)).toEqual([
      [0, 0, [0]],
      [1, 0, [0]],
    ]);
    expect(api.waiters.size).toBe(0);
    const timed = fetch(api, ask([{ offset: 1n }], { maxWaitMs: 500 }));
    await settle();
    await api.clock.advance(498);
    expect(api.waiters.size).toBe(1);
    await api.clock.advance(10);
    expect(rows(await timed)).toEqual([[0, 0, []]]);
    expect(heldSlices(api)).toBe(2);
  });

  test("a fetch holds nothing while it waits", async () => {
    const api = await harness();
    await produce(api, 0);
    const waiting = fetch(api, ask([{}], { maxWaitMs: 500, minBytes: 1000 }));
    await settle();
    expect(api.waiters.size).toBe(1);
    expect(heldSlices(api)).toBe(0);
    await api.clock.advance(510);
    expect(rows(await waiting)).toEqual([[0, 0, [0]]]);
    expect(heldSlices(api)).toBe(1);
  });

  test("a record that becomes durable between the read and the wait is not missed", async () => {
    const api = await harness();
    const { topicId } = api.metadata.topics.get("t") ?? { topicId: "" };
    api.storage.isDurableAtOnce = false;
    void produce(api, 0);
    await settle();
    const waiting = fetch(api, ask([{}], { maxWaitMs: 60_000 }));
    api.storage.release();
    expect(rows(await waiting)).toEqual([[0, 0, [0]]]);
    expect(api.storage.stream(topicId, 0).durableEndOffset).toBe(1);
  });

  test("10,000 waiting fetches: one record wakes its own, a deletion wakes all of its partition, a closed connection leaves", async () => {
    const api = await harness(2);
    const quiet = Array.from({ length: 10_000 }, () => fetch(api, ask([{ partition: 1 }], { maxWaitMs: 60_000 })));
    const mine = fetch(api, ask([{}], { maxWaitMs: 60_000 }));
    await settle();
    expect(api.waiters.size).toBe(10_001);
    await produce(api, 0);
    expect(rows(await mine)).toEqual([[0, 0, [0]]]);
    expect(api.waiters.size).toBe(10_000);
    const topicId = api.metadata.topics.get("t")?.topicId ?? "";
    api.metadata.setPartition(topicId, 1, { ownerNodeId: 3, term: 1 });
    const codes = new Set((await Promise.all(quiet)).map((response) => response.responses[0]?.partitions[0]?.errorCode));
    expect([...codes]).toEqual([ErrorCodes.NOT_LEADER_OR_FOLLOWER]);
    const left = api.call(1, ask([{ offset: 1n }], { maxWaitMs: 60_000 }), 12);
    await settle();
    api.closing.abort();
    expect(await left).toBeUndefined();
    expect(api.waiters.size).toBe(0);
  });

  test("a partition that cannot be read answers alone; cold partitions are read too", async () => {
    const api = await harness();
    const { topicId } = api.metadata.topics.get("t") ?? { topicId: "" };
    for (const partition of [0, 1, 2]) await produce(api, partition);
    for (const partition of [1, 2]) api.storage.stream(topicId, partition).coldBelow = 10;
    api.storage.stream(topicId, 1).readFailure = new Error("unreadable");
    const response = await fetch(api, ask([{}, { partition: 1 }, { partition: 2 }]));
    expect(rows(response)).toEqual([
      [0, 0, [0]],
      [1, ErrorCodes.KAFKA_STORAGE_ERROR, []],
      [2, 0, [0]],
    ]);
    expect(rows(await fetch(api, ask([{ partition: 1 }]), 5))).toEqual([[1, ErrorCodes.NOT_LEADER_OR_FOLLOWER, []]]);
  });

  test("zstd below Fetch 10 is refused; what lies before it is answered", async () => {
    const api = await harness();
    await produce(api, 0, 1, 10, 4);
    expect(rows(await fetch(api, ask([{}]), 9))).toEqual([[0, ErrorCodes.UNSUPPORTED_COMPRESSION_TYPE, []]]);
    expect(rows(await fetch(api, ask([{}]), 10))).toEqual([[0, 0, [0]]]);
    await produce(api, 1, 1, 10, 1);
    await produce(api, 1, 1, 10, 4);
    expect(rows(await fetch(api, ask([{ partition: 1 }]), 9))).toEqual([[1, 0, [0]]]);
  });
});

describe("incremental fetch sessions", () => {
  test("only news are answered, served partitions go to the end, forgotten ones leave", async () => {
    const api = await harness();
    for (const partition of [0, 1, 2]) await produce(api, partition, 1, 1000);
    const full = await fetch(api, ask([{}, { partition: 1 }, { partition: 2 }], { sessionEpoch: 0, maxBytes: 1 }));
    expect(full.sessionId).toBeGreaterThan(0);
    expect(rows(full).map(([partition]) => partition)).toEqual([0, 1, 2]);
    const { sessionId } = full;
    const order: (readonly [number, number, number[]])[][] = [];
    for (let epoch = 1; epoch <= 3; epoch++) order.push(rows(await fetch(api, ask([], { sessionId, sessionEpoch: epoch, maxBytes: 1 }))));
    expect(order.map((answers) => answers.map(([partition]) => partition))).toEqual([[0], [1], [2]]);
    const forgotten = await fetch(api, ask([{ partition: 1, offset: 1n }, { offset: 1n }], { sessionId, sessionEpoch: 4, forget: [2] }));
    expect(rows(forgotten)).toEqual([]);
    await produce(api, 1);
    expect(rows(await fetch(api, ask([], { sessionId, sessionEpoch: 5 })))).toEqual([[1, 0, [1]]]);
    const gone = await fetch(api, ask([], { sessionId, sessionEpoch: 6, forget: [0, 1] }));
    expect(gone).toMatchObject({ errorCode: 0, sessionId: 0, responses: [] });
    expect((await fetch(api, ask([], { sessionId, sessionEpoch: 7 }))).errorCode).toBe(ErrorCodes.FETCH_SESSION_ID_NOT_FOUND);
  });

  test("wrong epochs, unknown ids, topic ids against names", async () => {
    const api = await harness();
    const { sessionId } = await fetch(api, ask([{}], { sessionEpoch: 0 }));
    expect((await fetch(api, ask([], { sessionId, sessionEpoch: 2 }))).errorCode).toBe(ErrorCodes.INVALID_FETCH_SESSION_EPOCH);
    expect((await fetch(api, ask([], { sessionId, sessionEpoch: 1 }), 13)).errorCode).toBe(ErrorCodes.FETCH_SESSION_TOPIC_ID_ERROR);
    expect((await fetch(api, ask([], { sessionId: 5, sessionEpoch: 1 }))).errorCode).toBe(ErrorCodes.FETCH_SESSION_ID_NOT_FOUND);
    expect((await fetch(api, ask([], { sessionId: -5, sessionEpoch: -7 }))).errorCode).toBe(ErrorCodes.FETCH_SESSION_ID_NOT_FOUND);
    expect((await fetch(api, ask([], { sessionId, sessionEpoch: 1 }))).errorCode).toBe(0);
  });

  test("two requests of one epoch while the first waits: the first is told", async () => {
    const api = await harness();
    const { sessionId } = await fetch(api, ask([{}], { sessionEpoch: 0 }));
    const waiting = fetch(api, ask([], { sessionId, sessionEpoch: 1, maxWaitMs: 60_000 }));
    await settle();
    await fetch(api, ask([], { sessionId, sessionEpoch: 2 }));
    await produce(api, 0);
    expect((await waiting).errorCode).toBe(ErrorCodes.INVALID_FETCH_SESSION_EPOCH);
    expect(heldSlices(api)).toBe(0);
  });
});
