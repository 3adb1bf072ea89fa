/** When a log is written anew, and what happens when it cannot be. */
import { expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { newSurroundings, ShardHarness } from "../group/shard-harness.ts";
import { settle } from "../support/manual-clock.ts";

const ABOVE_BYTES = 2_000;

async function start(): Promise<ShardHarness> {
  const around = newSurroundings(ABOVE_BYTES);
  around.metadata.addTopic("t", 100);
  const h = new ShardHarness(around);
  await h.shard.load();
  return h;
}

async function commit(h: ShardHarness, groupId: string, offset: bigint): Promise<void> {
  const topicId = h.around.metadata.topics.get("t")?.topicId ?? "";
  const offsets = [{ topic: "t", topicId, partition: 0, offset, leaderEpoch: -1, metadata: "" }];
  void h.shard.commit({ groupId, memberId: "", groupInstanceId: undefined, generation: -1, retentionMs: undefined, offsets }, true);
  await settle();
  await h.log.release();
}

test("one offset that is committed again and again keeps its log short; many offsets that are committed once are left alone", async () => {
  const busy = await start();
  for (let round = 0; round < 200; round++) await commit(busy, "g", BigInt(round));
  await busy.log.quiet();
  expect(busy.log.starts.length).toBeGreaterThan(0);
  expect(busy.log.shardLog.sizes.bytes).toBeLessThan(200 * 100);
  const wide = await start();
  for (let group = 0; group < 200; group++) await commit(wide, `g${group}`, 1n);
  await wide.log.quiet();
  expect(wide.log.starts).toEqual([]);
});

test("nothing is cut off before segment objects hold what was written, and a rewrite ends when nobody commits any more", async () => {
  const h = await start();
  for (let round = 0; round < 60; round++) await commit(h, "g", BigInt(round));
  for (let round = 0; round < 30; round++) {
    await h.log.release();
    await h.around.clock.advance(1_000);
  }
  expect(h.log.starts).toEqual([]);
  h.log.upload();
  await h.around.clock.advance(1_000);
  expect(h.log.starts.length).toBe(1);
  const endOffset = h.log.log.logEndOffset;
  for (let round = 0; round < 3; round++) await h.log.quiet();
  expect(h.log.log.logEndOffset).toBe(endOffset);
});

test("everything is deleted: the log is empty but for what came last", async () => {
  const h = await start();
  for (let round = 0; round < 20; round++) await commit(h, "g", BigInt(round));
  void h.shard.deleteGroup("g");
  await settle();
  for (let round = 0; round < 30; round++) await commit(h, "other", BigInt(round));
  void h.shard.deleteGroup("other");
  for (let round = 0; round < 4; round++) await h.log.quiet();
  expect(h.log.starts.length).toBeGreaterThan(0);
  const next = await h.crash();
  expect(next.shard.groupCount).toBe(0);
});

test("a metadata log that cannot be reached is asked again", async () => {
  const h = await start();
  const { metadata } = h.log.rewrites.options;
  const advance = metadata.advanceLogStarts;
  let refusals = 3;
  metadata.advanceLogStarts = (starts, deadlineMs) => {
    if (refusals-- > 0) return Promise.reject(new Trouble({ code: "store-unavailable", message: "no store", retryable: true }));
    return advance(starts, deadlineMs);
  };
  for (let round = 0; round < 60; round++) await commit(h, "g", BigInt(round));
  for (let round = 0; round < 5; round++) await h.log.quiet();
  expect(refusals).toBeLessThan(0);
  expect(h.log.starts.length).toBeGreaterThan(0);
});
