/** The whole way of a transaction over fakes, and a crash after every durable step of its end. */
import { expect, test } from "bun:test";
import { PartitionLog } from "../../../src/partition/partition-log.ts";
import { ApiHarness } from "../support/api-harness.ts";
import { settle } from "../support/manual-clock.ts";
import { fetchCommitted } from "../support/transactions.ts";

const SETTINGS = { "transaction.state.log.num.partitions": "1", "offsets.topic.num.partitions": "1" };

function start(storage?: ApiHarness["storage"], metadata?: ApiHarness["metadata"]): ApiHarness {
  const h = new ApiHarness(SETTINGS, storage, metadata);
  h.metadata.features.set("transaction.version", 2);
  return h;
}

/** The same storage under a new process: what was not durable is gone. */
async function crash(h: ApiHarness): Promise<ApiHarness> {
  h.services.groups.close();
  h.services.transactions.close();
  // Closing takes the streams away.
  const streams = [...h.storage.streams];
  h.partitions.close();
  for (const [key, stream] of streams) {
    const durable = stream.batches.filter((batch) => batch.lastOffset < stream.durableEndOffset);
    h.storage.stored.set(key, durable);
    h.metadata.setPartition(stream.id.topicId, stream.id.partition, { committedEndOffset: (durable.at(-1)?.lastOffset ?? -1) + 1 });
  }
  h.storage.streams.clear();
  const next = start(h.storage, h.metadata);
  next.services.groups.loadOwned();
  next.services.transactions.loadOwned();
  for (let round = 0; round < 50; round++) await settle();
  return next;
}

async function rounds(count: number): Promise<void> {
  for (let round = 0; round < count; round++) await settle();
}

async function init(h: ApiHarness) {
  await h.services.transactions.findCoordinator("x");
  await h.services.groups.findCoordinator("g");
  const request = {
    transactionalId: "x",
    timeoutMs: 60_000,
    expected: undefined,
    enableTwoPhaseCommit: false,
    keepPreparedTransaction: false,
  };
  const who = await h.services.transactions.initProducerId(request);
  if (typeof who === "string") throw new Error(who);
  return who;
}

/** A transaction with a partition of "t" and offsets of group "g". */
async function begin(h: ApiHarness) {
  const { topicId } = h.metadata.topics.get("t") ?? h.metadata.addTopic("t", 1);
  const who = await init(h);
  const [code] = await h.services.gate.verify({
    transactionalId: "x",
    ...who,
    partitions: [{ topicName: "t", topicId, partition: 0 }],
    mode: "add",
  });
  expect(code).toBe(0);
  const committed = await h.services.groups.commitTransactional({
    groupId: "g",
    memberId: "",
    groupInstanceId: undefined,
    generation: -1,
    transactionalId: "x",
    ...who,
    addsPartition: true,
    isVerified: true,
    isNewClient: true,
    offsets: [{ topic: "t", topicId, partition: 0, offset: 42n, leaderEpoch: -1, metadata: "" }],
  });
  expect(committed).toEqual([undefined]);
  return { who, topicId };
}

async function offsetOf(h: ApiHarness, requireStable: boolean) {
  const { topicId } = h.metadata.topics.get("t")!;
  const found = await h.services.groups.fetch("g", [{ topic: "t", topicId, partitions: [0] }], requireStable);
  if (typeof found === "string") return found;
  const at = found[0]?.partitions[0];
  return at?.isUnstable === true ? "unstable" : at?.committed?.offset;
}

const describeState = async (h: ApiHarness): Promise<string> => {
  const found = await h.services.transactions.describe("x");
  return typeof found === "string" ? found : found.state;
};

for (const isCommit of [true, false]) {
  test(`offsets in a transaction count after its ${isCommit ? "commit" : "abort"} as they should, also after a restart`, async () => {
    let h = start();
    const { who } = await begin(h);
    expect([await offsetOf(h, false), await offsetOf(h, true)]).toEqual([undefined, "unstable"]);
    h = await crash(h);
    await rounds(4);
    expect([await offsetOf(h, false), await offsetOf(h, true)]).toEqual([undefined, "unstable"]);
    const next = await h.services.transactions.end({ transactionalId: "x", ...who, isCommit, transactionVersion: 2 });
    expect(next).toEqual({ producerId: who.producerId, producerEpoch: who.producerEpoch + 1 });
    await rounds(6);
    expect(await describeState(h)).toBe(isCommit ? "CompleteCommit" : "CompleteAbort");
    expect(await offsetOf(h, true)).toBe(isCommit ? 42n : undefined);
    h = await crash(h);
    await rounds(4);
    expect(await offsetOf(h, true)).toBe(isCommit ? 42n : undefined);
  });
}

test("a crash at any step of the end: what was answered as committed is committed, what was not is one or the other, and nothing hangs", async () => {
  for (let steps = 0; steps < 6; steps++) {
    let h = start();
    const { who, topicId } = await begin(h);
    h.storage.isDurableAtOnce = false;
    let answer: unknown;
    void h.services.transactions.end({ transactionalId: "x", ...who, isCommit: true, transactionVersion: 2 }).then((value) => {
      answer = value;
    });
    for (let step = 0; step < steps; step++) {
      await rounds(3);
      h.storage.release();
    }
    await rounds(3);
    const wasAnswered = typeof answer === "object";
    h.storage.isDurableAtOnce = true;
    h = await crash(h);
    await rounds(8);
    const state = await describeState(h);
    expect(state).toBe(wasAnswered || state !== "Ongoing" ? "CompleteCommit" : "Ongoing");
    expect(await offsetOf(h, true)).toBe(state === "Ongoing" ? "unstable" : 42n);
    const log = await h.partitions.open(topicId, 0);
    if (!(log instanceof PartitionLog)) throw new Error("not open");
    expect(log.lastStableOffset).toBe(log.highWatermark);
    expect(await fetchCommitted(h, 0)).toMatchObject({ errorCode: 0 });
    // Whoever comes next aborts what is open, and works on.
    const taken = await h.services.transactions.initProducerId({
      transactionalId: "x",
      timeoutMs: 60_000,
      expected: undefined,
      enableTwoPhaseCommit: false,
      keepPreparedTransaction: false,
    });
    if (state === "Ongoing") expect(taken).toBe("concurrent-transactions");
    await rounds(8);
    expect(await offsetOf(h, true)).toBe(state === "Ongoing" ? undefined : 42n);
  }
});

test("a transaction whose time is up is aborted and its producer fenced; an id that nobody uses is forgotten, also by the log", async () => {
  let h = start();
  const { who } = await begin(h);
  await h.clock.advance(70_001);
  await rounds(6);
  expect(await describeState(h)).toBe("CompleteAbort");
  expect(await h.services.transactions.end({ transactionalId: "x", ...who, isCommit: true, transactionVersion: 2 })).not.toEqual(
    expect.objectContaining({ producerId: who.producerId }),
  );
  await h.clock.advance(8 * 24 * 3_600_000);
  await rounds(4);
  expect(await describeState(h)).toBe("unknown-transactional-id");
  h = await crash(h);
  await rounds(4);
  expect(await describeState(h)).toBe("unknown-transactional-id");
});

test("listing filters by state, producer, duration and pattern, and names states that nobody knows", async () => {
  const h = start();
  const { who } = await begin(h);
  const all = { producerIds: new Set<number>(), stateNames: [] as string[], durationMs: -1, pattern: undefined };
  const list = (filter: Partial<Parameters<typeof h.services.transactions.list>[0]>) => {
    const listed = h.services.transactions.list({ ...all, ...filter });
    return typeof listed === "string" ? listed : [listed.transactions.length, ...listed.unknownStateNames];
  };
  expect(list({})).toEqual([1]);
  expect([list({ stateNames: ["Ongoing", "Nonsense"] }), list({ stateNames: ["Nonsense"] })]).toEqual([
    [1, "Nonsense"],
    [0, "Nonsense"],
  ]);
  expect([list({ producerIds: new Set([who.producerId]) }), list({ producerIds: new Set([-2]) })]).toEqual([[1], [0]]);
  expect([list({ pattern: "x|y" }), list({ pattern: "xy" }), list({ pattern: "(" })]).toEqual([[1], [0], "invalid-pattern"]);
  expect([list({ durationMs: 0 }), list({ durationMs: 1_000_000 })]).toEqual([[0], [0]]);
});
