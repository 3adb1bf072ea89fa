/** Group commit: the ack waits for the device, release keeps LSN order, errors are repeated, room is given first come first served. Completions held at will. */
import { describe, expect, test } from "bun:test";
import { MemoryWalDevice } from "../../../../src/storage/wal/memory-wal-device.ts";
import { WAL_BLOCK_BYTES } from "../../../../src/storage/wal/wal-device.ts";
import { JournalingWalDevice } from "../../support/journaling-wal-device.ts";
import { settle } from "../../support/manual-clock.ts";
import { appendOne, deviceBytes, entryOf, makePayload, openTestWal, readRecovered, TOPIC_A, TOPIC_B, tryAppend } from "./wal-harness.ts";

const STREAM_A = { topicId: TOPIC_A, partition: 0 };
const STREAM_B = { topicId: TOPIC_B, partition: 5 };

/** Watches a promise without waiting for it. */
function watch(promise: Promise<unknown>): { state: "pending" | "resolved" | "rejected"; reason: unknown } {
  const seen: { state: "pending" | "resolved" | "rejected"; reason: unknown } = { state: "pending", reason: undefined };
  promise.then(
    () => {
      seen.state = "resolved";
    },
    (reason: unknown) => {
      seen.state = "rejected";
      seen.reason = reason;
    },
  );
  return seen;
}

async function openHeld(blocks = 256, options: Parameters<typeof openTestWal>[1] = {}) {
  const device = new JournalingWalDevice(deviceBytes(blocks));
  const opened = await openTestWal(device, options);
  device.holds = true;
  device.journal.length = 0;
  return { ...opened, device };
}

describe("the ack waits for the device", () => {
  test("nothing is released while the write is held", async () => {
    const { wal, clock, device } = await openHeld();
    const released: number[] = [];
    wal.onReleased((lsn) => released.push(lsn));
    appendOne(wal, entryOf(STREAM_A, 0, makePayload(1, 100)));
    const ack = watch(wal.whenDurable());
    await clock.endTurn();
    await clock.advance(60_000);
    expect(device.heldWrites).toBe(1);
    expect(ack.state).toBe("pending");
    expect(released).toEqual([]);
    device.complete(0);
    await settle();
    expect(ack.state).toBe("resolved");
    expect(released).toEqual([1]);
  });

  test("writes that complete out of order are released in order", async () => {
    const { wal, clock, device } = await openHeld();
    const released: number[] = [];
    const acks = [];
    wal.onReleased((lsn) => released.push(lsn));
    for (let index = 0; index < 3; index++) {
      appendOne(wal, entryOf(STREAM_A, index, makePayload(index, 1000)));
      wal.cut();
      acks.push(watch(wal.whenDurable()));
    }
    await clock.endTurn();
    expect(device.heldWrites).toBe(3);
    device.complete(2);
    await settle();
    device.complete(1);
    await settle();
    expect(acks.map((ack) => ack.state)).toEqual(["pending", "pending", "pending"]);
    expect(released).toEqual([]);
    device.complete(0);
    await settle();
    expect(acks.map((ack) => ack.state)).toEqual(["resolved", "resolved", "resolved"]);
    expect(released).toEqual([1, 2, 3]);
  });

  test("listeners hear of a release before whenDurable resolves, and callers of one commit share a promise", async () => {
    const { wal, clock, device } = await openHeld();
    const order: string[] = [];
    wal.onReleased(() => order.push("released"));
    appendOne(wal, entryOf(STREAM_A, 0, makePayload(1, 10)));
    const first = wal.whenDurable();
    appendOne(wal, entryOf(STREAM_B, 0, makePayload(2, 10)));
    expect(wal.whenDurable()).toBe(first);
    void first.then(() => order.push("durable"));
    await clock.endTurn();
    device.complete(0);
    await settle();
    expect(order).toEqual(["released", "durable"]);
  });

  test("an idle WAL writes at the end of the turn; a busy one gathers until a completion", async () => {
    const { wal, clock, device } = await openHeld();
    appendOne(wal, entryOf(STREAM_A, 0, makePayload(1, 100)));
    expect(device.heldWrites).toBe(0);
    await clock.endTurn();
    expect(device.heldWrites).toBe(1);
    for (let offset = 1; offset < 10; offset++) {
      appendOne(wal, entryOf(STREAM_A, offset, makePayload(offset, 100)));
      await clock.endTurn();
    }
    expect(device.heldWrites).toBe(1);
    device.complete(0);
    await settle();
    expect(device.heldWrites).toBe(1);
    expect(device.journal.length).toBe(2);
  });

  test("with a write in flight another begins once 64 KiB have gathered, up to the depth", async () => {
    const { wal, clock, device } = await openHeld(1024, { ring: new Uint8Array(512 * WAL_BLOCK_BYTES), writeDepth: 3 });
    for (let offset = 0; offset < 5; offset++) {
      appendOne(wal, entryOf(STREAM_A, offset, makePayload(offset, 70_000)));
      await clock.endTurn();
    }
    expect(device.heldWrites).toBe(3);
  });
});

describe("device errors", () => {
  test("the same bytes are written again at the same place, with backoff, and then released", async () => {
    const { wal, clock, device, logger } = await openHeld();
    appendOne(wal, entryOf(STREAM_A, 0, makePayload(1, 100)));
    const ack = watch(wal.whenDurable());
    await clock.endTurn();
    device.fail(0);
    await settle();
    expect(wal.state.kind).toBe("device-failing");
    expect(device.heldWrites).toBe(0);
    await clock.advance(10);
    const [first, second] = device.journal;
    if (first?.kind !== "write" || second?.kind !== "write") throw new Error("two writes were expected");
    expect(second.deviceOffset).toBe(first.deviceOffset);
    expect(Buffer.compare(second.bytes, first.bytes)).toBe(0);
    expect(ack.state).toBe("pending");
    device.complete(0);
    await settle();
    expect(ack.state).toBe("resolved");
    expect(wal.state.kind).toBe("serving");
    expect(logger.names().filter((name) => name.startsWith("wal.write"))).toEqual(["wal.write-failed", "wal.write-recovered"]);
  });

  test("after the bound the WAL has failed: nothing is released any more, waiters learn why", async () => {
    const { wal, clock, device } = await openHeld(256, { failAfterMs: 1_000 });
    const released: number[] = [];
    wal.onReleased((lsn) => released.push(lsn));
    appendOne(wal, entryOf(STREAM_A, 0, makePayload(1, 100)));
    wal.cut();
    const first = watch(wal.whenDurable());
    appendOne(wal, entryOf(STREAM_A, 1, makePayload(2, 100)));
    wal.cut();
    const second = watch(wal.whenDurable());
    await clock.endTurn();
    expect(device.heldWrites).toBe(2);
    for (let attempt = 0; attempt < 20 && wal.state.kind !== "failed"; attempt++) {
      device.fail(device.heldWrites - 1 === 0 ? 0 : 1);
      await settle();
      await clock.advance(500);
    }
    expect(wal.state.kind).toBe("failed");
    expect([first.state, second.state]).toEqual(["rejected", "rejected"]);
    expect(first.reason).toMatchObject({ code: "wal-failed", exitCode: 70 });
    while (device.heldWrites > 0) device.complete(0);
    await settle();
    expect(released).toEqual([]);
    expect(wal.tryReserve(10, 1)).toBeUndefined();
    await expect(wal.reserve(10, 1)).rejects.toMatchObject({ code: "wal-failed" });
    await expect(wal.whenDurable()).rejects.toMatchObject({ code: "wal-failed" });
    await expect(wal.cut().durable).rejects.toMatchObject({ code: "wal-failed" });
  });
});

describe("room", () => {
  test("a full WAL holds reservations until trimmed, first come first served, and says so", async () => {
    const device = new MemoryWalDevice(deviceBytes(64));
    const { wal, clock, logger } = await openTestWal(device);
    let offset = 0;
    while (offset < 64 && tryAppend(wal, entryOf(STREAM_A, offset, makePayload(offset, 3000))) !== undefined) {
      offset += 1;
      wal.cut();
      await clock.endTurn();
    }
    const cut = wal.cut();
    const big = watch(wal.reserve(30_000, 1));
    const small = watch(wal.reserve(10, 1));
    await settle();
    expect(wal.state.kind).toBe("full");
    expect([big.state, small.state]).toEqual(["pending", "pending"]);
    expect(wal.tryReserve(10, 1)).toBeUndefined();
    wal.trimTo(await cut.durable);
    await settle();
    expect([big.state, small.state]).toEqual(["resolved", "resolved"]);
    expect(wal.state.kind).toBe("serving");
    expect(logger.names()).toContain("wal.full");
    expect(logger.names()).toContain("wal.resumed");
  });

  test("an aborted waiter leaves, and the next one is served", async () => {
    const { wal, clock } = await openTestWal(new MemoryWalDevice(deviceBytes(64)));
    const taken = await wal.reserve(40_000, 1);
    const abort = new AbortController();
    const first = watch(wal.reserve(90_000, 3, abort.signal));
    const second = watch(wal.reserve(1_000, 1));
    await settle();
    expect([first.state, second.state]).toEqual(["pending", "pending"]);
    abort.abort(new Error("gone"));
    await clock.endTurn();
    expect([first.state, second.state]).toEqual(["rejected", "resolved"]);
    taken.release();
  });

  test("what could never fit is refused", async () => {
    const { wal } = await openTestWal(new MemoryWalDevice(deviceBytes(64)));
    await expect(wal.reserve(wal.maxPayloadBytes + 1, 1)).rejects.toMatchObject({ code: "batch-too-large" });
    await expect(wal.reserve(64 * WAL_BLOCK_BYTES, 10)).rejects.toMatchObject({ code: "batch-too-large" });
    const reservation = await wal.reserve(wal.maxPayloadBytes, 1);
    wal.append(entryOf(STREAM_A, 0, makePayload(1, wal.maxPayloadBytes)), reservation);
  });

  test("append asserts that the reservation covers it", async () => {
    const { wal } = await openTestWal(new MemoryWalDevice(deviceBytes(64)));
    const reservation = await wal.reserve(100, 1);
    expect(() => wal.append(entryOf(STREAM_A, 0, makePayload(1, 101)), reservation)).toThrow("reservation exceeded");
  });
});

describe("ring and reads", () => {
  test("memory of commits that are not durable is never reused, however much is appended", async () => {
    const { wal, clock, device } = await openHeld(1024);
    let offset = 0;
    while (offset < 500 && tryAppend(wal, entryOf(STREAM_A, offset, makePayload(offset, 3_000))) !== undefined) {
      offset += 1;
      if (offset % 3 === 0) await clock.endTurn();
    }
    expect(offset).toBeGreaterThan(20);
    expect(offset).toBeLessThan(64);
    await clock.endTurn();
    while (device.heldWrites > 0) {
      device.complete(device.heldWrites - 1);
      await settle();
    }
    const { wal: again, recovered } = await openTestWal(new MemoryWalDevice(device.capacityBytes, device.durableImage()));
    expect(recovered.length).toBe(offset);
    for (const entry of recovered) expect(await readRecovered(again, entry)).toEqual(makePayload(entry.baseOffset, 3_000));
  });

  test("a payload is seen in the ring until its blocks are reused, and read from the device after that", async () => {
    const { wal, clock } = await openTestWal(new MemoryWalDevice(deviceBytes(1024)));
    const payload = makePayload(1, 5_000);
    const location = appendOne(wal, entryOf(STREAM_B, 0, payload));
    expect(wal.tryView(location)).toEqual(payload);
    await clock.endTurn();
    let offset = 1;
    while (wal.tryView(location) !== undefined) {
      appendOne(wal, entryOf(STREAM_A, offset, makePayload(offset, 9_000)));
      offset += 1;
      await clock.endTurn();
    }
    expect(offset).toBeGreaterThan(10);
    expect(wal.isOnDevice(location.lsn)).toBe(true);
    expect(await readRecovered(wal, { location, stream: STREAM_B, term: 3, baseOffset: 0 })).toEqual(payload);
    await expect(readRecovered(wal, { location, stream: STREAM_B, term: 4, baseOffset: 0 })).rejects.toMatchObject({ code: "wal-damaged" });
    await expect(readRecovered(wal, { location, stream: STREAM_A, term: 3, baseOffset: 0 })).rejects.toMatchObject({ code: "wal-damaged" });
  });

  test("a trimmed range stays readable until it is overwritten", async () => {
    const { wal, clock } = await openTestWal(new MemoryWalDevice(deviceBytes(64)));
    const payload = makePayload(1, 2_000);
    const location = appendOne(wal, entryOf(STREAM_A, 0, payload));
    const who = { location, stream: STREAM_A, term: 3, baseOffset: 0 };
    let offset = 1;
    await clock.endTurn();
    wal.trimTo(await wal.cut().durable);
    expect(await readRecovered(wal, who)).toEqual(payload);
    while (wal.isOnDevice(location.lsn)) {
      appendOne(wal, entryOf(STREAM_A, offset, makePayload(offset, 3_000)));
      offset += 1;
      await clock.endTurn();
      wal.trimTo(await wal.cut().durable);
    }
    await expect(readRecovered(wal, who)).rejects.toMatchObject({ code: "wal-range-gone" });
  });

  test("a cut's position is where the next WAL goes on", async () => {
    const device = new MemoryWalDevice(deviceBytes(256));
    const { wal, clock } = await openTestWal(device);
    appendOne(wal, entryOf(STREAM_A, 0, makePayload(1, 6_000)));
    const cut = wal.cut();
    const after = makePayload(2, 700);
    appendOne(wal, entryOf(STREAM_B, 9, after));
    await clock.endTurn();
    const position = await cut.durable;
    expect(position.lsn).toBe(cut.lsn);
    expect(position.walEpoch).toBe(wal.walEpoch);
    await wal.close();
    const again = await openTestWal(device, { getCommittedPosition: () => position });
    expect(again.recovered.map((entry) => [entry.stream, entry.baseOffset, entry.term, entry.maxTimestampMs])).toEqual([
      [STREAM_B, 9, 3, 4],
    ]);
    expect(await readRecovered(again.wal, again.recovered[0]!)).toEqual(after);
    expect(again.wal.walEpoch).toBe(wal.walEpoch + 1);
    expect(again.wal.isOnDevice(again.recovered[0]!.location.lsn)).toBe(true);
  });
});
