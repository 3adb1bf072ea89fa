/** The whole way of a transaction over fakes, and a crash after every durable step of its end. */
import { expect, test } from "bun:test";
import { PartitionLog } from "../../../src/partition/partition-log.ts";
import { begin, crash, describeState, end, offsetOf, rounds, start, TAKE_OVER } from "../support/transaction-world.ts";
import { fetchCommitted } from "../support/transactions.ts";

for (const isCommit of [true, false]) {
  test(`offsets in a transaction count after its ${isCommit ? "commit" : "abort"} as they should, also after a restart`, async () => {
    let h = start();
    const { who } = await begin(h);
    expect([await offsetOf(h, false), await offsetOf(h, true)]).toEqual([undefined, "unstable"]);
    h = await crash(h);
    await rounds(4);
    expect([await offsetOf(h, false), await offsetOf(h, true)]).toEqual([undefined, "unstable"]);
    const next = await end(h, who, isCommit);
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
    void end(h, who, true).then((value) => {
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
    const taken = await h.services.transactions.initProducerId(TAKE_OVER);
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
  expect(await end(h, who, true)).not.toEqual(expect.objectContaining({ producerId: who.producerId }));
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
