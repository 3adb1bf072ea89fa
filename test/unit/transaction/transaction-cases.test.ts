/** Cases that systems like ours met, at the coordinator and over the wire; those of a single partition are in partition/transactions.test.ts. */
import { describe, expect, test } from "bun:test";
import { ErrorCodes } from "../../../src/protocol/error-codes.ts";
import { type EndTxnResponse, newEndTxnRequest } from "../../../src/protocol/messages/end-txn.ts";
import { type ListTransactionsResponse, newListTransactionsRequest } from "../../../src/protocol/messages/list-transactions.ts";
import {
  newOffsetFetchRequest,
  newOffsetFetchRequestTopic,
  type OffsetFetchResponse,
} from "../../../src/protocol/messages/offset-fetch.ts";
import type { ProducerIdentity } from "../../../src/transaction/transaction-types.ts";
import { ApiHarness } from "../support/api-harness.ts";
import {
  begin,
  crash,
  describeState,
  end,
  init,
  join,
  offsetOf,
  rounds,
  start,
  TAKE_OVER,
  topicIdOf,
} from "../support/transaction-world.ts";
import { fetchCommitted, produce, ScriptedGate } from "../support/transactions.ts";

const OFFSET_FETCH = 9;
const END_TXN = 26;
const LIST_TRANSACTIONS = 66;

async function fetchOffset(h: ApiHarness, requireStable: boolean): Promise<[errorCode: number, offset: number]> {
  const topics = [newOffsetFetchRequestTopic({ name: "t", partitionIndexes: [0] })];
  const request = newOffsetFetchRequest({ groupId: "g", topics, requireStable });
  const found = (await h.callOverWire<OffsetFetchResponse>(OFFSET_FETCH, request, 7)).topics[0]?.partitions[0];
  if (found === undefined) throw new Error("no partition in the answer");
  return [found.errorCode, Number(found.committedOffset)];
}

async function endOverWire(h: ApiHarness, who: ProducerIdentity, committed: boolean, version: number): Promise<number> {
  const request = newEndTxnRequest({
    transactionalId: "x",
    producerId: BigInt(who.producerId),
    producerEpoch: who.producerEpoch,
    committed,
  });
  return (await h.callOverWire<EndTxnResponse>(END_TXN, request, version)).errorCode;
}

describe("R8: the reply to EndTxn is lost", () => {
  test("at every durable step of the commit OffsetFetch with require_stable waits or shows the new offset, never the old one", async () => {
    for (let steps = 0; steps < 6; steps++) {
      const h = start();
      const first = await begin(h);
      const who = await end(h, first.who, true);
      if (typeof who === "string") throw new Error(who);
      await rounds(6);
      expect(await fetchOffset(h, true)).toEqual([0, 42]);
      await join(h, who, 43n);
      h.storage.isDurableAtOnce = false;
      // Nobody sees its answer.
      void end(h, who, true);
      for (let step = 0; step < steps; step++) {
        await rounds(3);
        h.storage.release();
      }
      await rounds(3);
      // Answered at once, or when what it would tell is durable.
      const fetched = fetchOffset(h, true);
      await rounds(3);
      // The client asks again: it is, or will be, done.
      h.storage.isDurableAtOnce = true;
      h.storage.release();
      await rounds(8);
      const [errorCode, offset] = await fetched;
      if (errorCode === 0) expect(offset).toBe(43);
      else expect([errorCode, offset]).toEqual([ErrorCodes.UNSTABLE_OFFSET_COMMIT, -1]);
      expect(await end(h, who, true)).toEqual({ ...who, producerEpoch: who.producerEpoch + 1 });
      expect(await fetchOffset(h, true)).toEqual([0, 43]);
    }
  });

  test("and the broker is killed: once PrepareCommit is durable the new offset comes without anyone asking for it again", async () => {
    const h = start();
    const { who } = await begin(h);
    h.storage.isDurableAtOnce = false;
    void end(h, who, true);
    await rounds(3);
    h.storage.release();
    const next = await crash(h, (opened) => {
      opened.storage.isDurableAtOnce = true;
    });
    expect(await offsetOf(next, true)).toBe(42n);
    expect(await describeState(next)).toBe("CompleteCommit");
    expect(await end(next, who, true)).toEqual({ ...who, producerEpoch: who.producerEpoch + 1 });
  });
});

describe("K1: an EndTxn that was delayed", () => {
  test("version 2: is of another epoch than the next transaction, and ends nothing of it", async () => {
    const h = start();
    const { who } = await begin(h);
    const next = await end(h, who, true);
    if (typeof next === "string") throw new Error(next);
    await rounds(6);
    await join(h, next, 43n);
    for (const committed of [true, false]) expect(await endOverWire(h, who, committed, 5)).toBe(ErrorCodes.PRODUCER_FENCED);
    for (const committed of [true, false]) expect(await endOverWire(h, who, committed, 4)).toBe(ErrorCodes.PRODUCER_FENCED);
    expect([await describeState(h), await offsetOf(h, true)]).toEqual(["Ongoing", "unstable"]);
    expect(await end(h, next, false)).toMatchObject({ producerEpoch: next.producerEpoch + 1 });
    await rounds(6);
    expect(await offsetOf(h, true)).toBe(42n);
  });

  test("versions 0 and 1: has the next transaction's epoch, and ends it, as in Kafka: the protocol cannot tell them apart", async () => {
    const h = start();
    const { who } = await begin(h);
    expect(await endOverWire(h, who, true, 4)).toBe(0);
    await rounds(6);
    await join(h, who, 43n);
    expect(await endOverWire(h, who, true, 4)).toBe(0);
    await rounds(6);
    expect([await describeState(h), await offsetOf(h, true)]).toEqual(["CompleteCommit", 43n]);
  });
});

describe("M18: the coordinator's load", () => {
  test("goes to the log end as it was at open: a short read is tried again, and no transactional id looks unknown meanwhile", async () => {
    const before = start();
    const { who } = await begin(before);
    const logTopic = before.metadata.topics.get("__transaction_state")?.topicId;
    const h = await crash(before, (opened) => {
      const openStream = opened.storage.openStream.bind(opened.storage);
      opened.storage.openStream = (id, options) => {
        const stream = openStream(id, options);
        if (id.topicId === logTopic) opened.storage.stream(id.topicId, id.partition).durableEndOffset = 0;
        return stream;
      };
    });
    const list = async () => (await h.callOverWire<ListTransactionsResponse>(LIST_TRANSACTIONS, newListTransactionsRequest(), 2)).errorCode;
    for (let look = 0; look < 3; look++) {
      expect(await describeState(h)).toBe("loading");
      expect(await h.services.transactions.initProducerId(TAKE_OVER)).toBe("loading");
      expect(await end(h, who, true)).toBe("loading");
      expect(await list()).toBe(ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS);
      await h.clock.advance(100);
    }
    for (const stream of h.storage.streams.values()) stream.durableEndOffset = stream.nextOffset;
    await h.clock.advance(200);
    await rounds(4);
    expect(await describeState(h)).toBe("Ongoing");
    expect(await end(h, who, true)).toMatchObject({ producerId: who.producerId });
  });
});

test('B2: offsets of a transaction that is not decided are "don\'t know", not 0', async () => {
  const h = start();
  const { who } = await begin(h);
  expect(await fetchOffset(h, true)).toEqual([ErrorCodes.UNSTABLE_OFFSET_COMMIT, -1]);
  expect(await fetchOffset(h, false)).toEqual([0, -1]);
  await end(h, who, false);
  await rounds(6);
  expect(await fetchOffset(h, true)).toEqual([0, -1]);
});

test("R1: a batch of a transaction, sent again after a kill between WAL write and answer, has one offset, once, and the transaction goes on", async () => {
  const before = start();
  topicIdOf(before);
  const who = await init(before);
  const transactionalId = "x";
  const sent = { ...who, epoch: who.producerEpoch, transactionalId };
  expect(await produce(before, { ...sent, sequence: 0 })).toMatchObject({ errorCode: 0, baseOffset: 0n });
  expect(await produce(before, { ...sent, sequence: 1 })).toMatchObject({ errorCode: 0, baseOffset: 1n });
  const h = await crash(before);
  // The answer to the second was lost.
  expect(await produce(h, { ...sent, sequence: 1 })).toMatchObject({ errorCode: 0, baseOffset: 1n });
  expect(await produce(h, { ...sent, sequence: 2 })).toMatchObject({ errorCode: 0, baseOffset: 2n });
  expect(await fetchCommitted(h, 0)).toMatchObject({ highWatermark: 3, lastStableOffset: 0 });
  await end(h, who, true);
  await rounds(6);
  expect(await fetchCommitted(h, 0)).toMatchObject({ highWatermark: 4, lastStableOffset: 4, aborted: [] });
});

test("R7: whatever the coordinator says, a produce is never answered UNKNOWN_SERVER_ERROR, and what is refused is not in the log", async () => {
  const codes = Object.values(ErrorCodes).filter((code) => code !== ErrorCodes.NONE);
  for (const apiVersion of [9, 11, 12]) {
    for (const code of codes) {
      const gate = new ScriptedGate();
      gate.answers.push(code);
      const h = new ApiHarness({ "add.partitions.to.txn.retry.backoff.max.ms": "0" }, undefined, undefined, gate);
      h.metadata.addTopic("t", 1);
      const { errorCode } = await produce(h, { producerId: 7, sequence: 0, apiVersion });
      expect(errorCode).not.toBe(ErrorCodes.NONE);
      expect(errorCode, `the coordinator said ${code}`).not.toBe(ErrorCodes.UNKNOWN_SERVER_ERROR);
      expect(await fetchCommitted(h, 0)).toMatchObject({ highWatermark: 0, lastStableOffset: 0 });
    }
  }
});

test("B1: after a store that refused every append has room again, all that waited is answered, and the id goes on", async () => {
  const h = start();
  const { who } = await begin(h);
  h.storage.hasRoom = false;
  let answer: unknown;
  void end(h, who, true).then((value) => {
    answer = value;
  });
  await rounds(3);
  await h.clock.advance(30_001);
  await rounds(3);
  expect(answer).toBe("not-available");
  expect(await h.services.transactions.initProducerId(TAKE_OVER)).toBe("concurrent-transactions");
  h.storage.grant();
  await rounds(8);
  expect(await describeState(h)).toBe("CompleteCommit");
  expect(await offsetOf(h, true)).toBe(42n);
  expect(await init(h)).toMatchObject({ producerId: who.producerId, producerEpoch: who.producerEpoch + 2 });
});

test("the first batch of the next transaction waits for the end of the last one, and no longer: no pause is slept through", async () => {
  const h = start();
  const { who } = await begin(h);
  const ended = end(h, who, true);
  await rounds(3);
  const next = await ended;
  if (typeof next === "string") throw new Error(next);
  await rounds(8);
  h.storage.isDurableAtOnce = false;
  const second = end(h, next, false);
  await rounds(3);
  h.storage.release();
  const third = await second;
  if (typeof third === "string") throw new Error(third);
  expect(await describeState(h)).toBe("PrepareAbort");
  let answer: number | undefined;
  const sent = { ...third, epoch: third.producerEpoch, sequence: 0, transactionalId: "x" };
  void produce(h, sent).then(({ errorCode }) => {
    answer = errorCode;
  });
  for (let step = 0; step < 8 && answer === undefined; step++) {
    await rounds(3);
    h.storage.release();
  }
  await rounds(3);
  // The clock stood still.
  expect([answer, await describeState(h)]).toEqual([0, "Ongoing"]);
});
