/** A volume that cannot be read: a bad place is waited out, a lost device ends the broker, also when it writes nothing. */
import { describe, expect, test } from "bun:test";
import { Trouble } from "../../../../src/base/trouble.ts";
import { readHeader, writeBothHeaders } from "../../../../src/storage/wal/header-store.ts";
import type { WalState } from "../../../../src/storage/wal/wal.ts";
import { JournalingWalDevice } from "../../support/journaling-wal-device.ts";
import { appendOne, crc32c, deviceBytes, entryOf, makePayload, openTestWal, TOPIC_A } from "./wal-harness.ts";

const STREAM = { topicId: TOPIC_A, partition: 0 };
const HEADER_BYTES = 2 * 4096;

/** EIO for every read, or for all but the header. */
class UnreadableDevice extends JournalingWalDevice {
  unreadable: "nothing" | "data" | "everything" = "nothing";
  headerReads = 0;

  override async read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array> {
    const isHeader = deviceOffset < HEADER_BYTES;
    if (isHeader) this.headerReads++;
    if (this.unreadable === "everything" || (this.unreadable === "data" && !isHeader)) {
      throw new Trouble({ code: "wal-device-io", message: "EIO (planted)", retryable: true });
    }
    return super.read(deviceOffset, lengthBytes);
  }
}

async function openWithRecord() {
  const device = new UnreadableDevice(deviceBytes(256));
  const opened = await openTestWal(device, { failAfterMs: 30_000 });
  const { wal, clock, logger } = opened;
  const states: WalState["kind"][] = [];
  wal.onStateChange(({ kind }) => states.push(kind));
  const location = appendOne(wal, entryOf(STREAM, 0, makePayload(1, 100)));
  const durable = wal.whenDurable();
  await clock.endTurn();
  await durable;
  device.headerReads = 0;
  const place = { location, stream: STREAM, term: 3, baseOffset: 0 };
  const read = (): Promise<"read" | "failed"> =>
    wal
      .readAll([place], () => {})
      .then(
        () => "read" as const,
        () => "failed" as const,
      );
  const says = (event: string): number => logger.events.filter((line) => line.event === event).length;
  return { ...opened, device, states, read, says };
}

describe("a WAL whose device cannot be read", () => {
  test("fails after its bound, with nothing written: the state, the event and the reason say so", async () => {
    const { wal, clock, device, states, read, says } = await openWithRecord();
    device.unreadable = "everything";
    expect(await read()).toBe("failed");
    await clock.advance(4_999);
    expect([wal.state.kind, device.headerReads]).toEqual(["serving", 0]);
    await clock.advance(1);
    expect(wal.state).toEqual({ kind: "device-failing", reason: "EIO (planted)" });
    expect(says("wal.header-unreadable")).toBe(1);
    await clock.advance(24_999);
    expect(wal.state.kind).toBe("device-failing");
    await clock.advance(1);
    expect(wal.state.kind).toBe("failed");
    expect(wal.state.reason).toContain("no read has succeeded for 30000 ms, not even of its header: EIO (planted)");
    expect(states).toEqual(["device-failing", "failed"]);
    expect([says("wal.header-unreadable"), says("wal.failed")]).toEqual([1, 1]);
    await expect(wal.whenDurable()).rejects.toMatchObject({ code: "wal-failed", exitCode: 70 });
    expect(wal.tryReserve(10, 1)).toBeUndefined();
    await clock.advance(60_000);
    expect(device.headerReads).toBe(6);
  });

  test("goes on when the header can be read: the place is bad, not the device", async () => {
    const { wal, clock, device, read, says } = await openWithRecord();
    device.unreadable = "data";
    for (let seconds = 0; seconds < 120; seconds++) {
      expect(await read()).toBe("failed");
      await clock.advance(1_000);
    }
    expect([wal.state.kind, says("wal.header-unreadable"), says("wal.failed")]).toEqual(["serving", 0, 0]);
    expect(device.headerReads).toBe(24);
    // Nobody reads any more: nothing is looked at either.
    await clock.advance(5_000);
    const { headerReads } = device;
    await clock.advance(60_000);
    expect(device.headerReads).toBe(headerReads);
  });

  test("serves on when a read succeeds in time", async () => {
    const { wal, clock, device, states, read, says } = await openWithRecord();
    device.unreadable = "everything";
    expect(await read()).toBe("failed");
    await clock.advance(29_000);
    device.unreadable = "nothing";
    expect(await read()).toBe("read");
    expect([states, says("wal.header-readable")]).toEqual([["device-failing", "serving"], 1]);
    await clock.advance(60_000);
    expect(wal.state.kind).toBe("serving");
  });

  test("fails at once when the volume bears another WAL now", async () => {
    const { wal, clock, device, read } = await openWithRecord();
    const ours = await readHeader(device, crc32c);
    if (ours.kind !== "valid") throw new Error("no header");
    await writeBothHeaders(device, crc32c, { ...ours.header, walEpoch: ours.header.walEpoch + 1 });
    device.unreadable = "data";
    expect(await read()).toBe("failed");
    await clock.advance(5_000);
    expect(wal.state.kind).toBe("failed");
    expect(wal.state.reason).toContain(
      `bears WAL ${wal.walId} of epoch ${wal.walEpoch + 1} where WAL ${wal.walId} of epoch ${wal.walEpoch} was`,
    );
  });
});
