/** Payloads back from the device: neighbours come with one read, each is checked, and nothing is under way when a call has settled. */
import { describe, expect, test } from "bun:test";
import { MemoryWalDevice } from "../../../../src/storage/wal/memory-wal-device.ts";
import type { PayloadPlace } from "../../../../src/storage/wal/wal.ts";
import { appendOne, deviceBytes, entryOf, makePayload, openTestWal, TOPIC_A } from "./wal-harness.ts";

const STREAM = { topicId: TOPIC_A, partition: 0 };

/** Counts reads, and may hold them back. */
class CountingDevice extends MemoryWalDevice {
  readonly lengths: number[] = [];
  underWay = 0;

  override async read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array> {
    this.lengths.push(lengthBytes);
    this.underWay += 1;
    const bytes = await super.read(deviceOffset, lengthBytes);
    await Promise.resolve();
    this.underWay -= 1;
    return bytes;
  }
}

async function fill(count: number, payloadBytes: number, capacityBlocks = 1024) {
  const device = new CountingDevice(deviceBytes(capacityBlocks));
  const opened = await openTestWal(device);
  const places: PayloadPlace[] = [];
  for (let offset = 0; offset < count; offset++) {
    const location = appendOne(opened.wal, entryOf(STREAM, offset, makePayload(offset, payloadBytes)));
    places.push({ location, stream: STREAM, term: 3, baseOffset: offset });
    await opened.clock.endTurn();
  }
  await opened.wal.cut().durable;
  device.lengths.length = 0;
  return { ...opened, device, places };
}

describe("payloads from the device", () => {
  test("neighbours come with one read, and each is what was appended", async () => {
    const { wal, device, places } = await fill(40, 3_000);
    const seen = new Map<number, Uint8Array>();
    await wal.readAll(places, (index, bytes) => seen.set(index, bytes.slice()));
    expect(seen.size).toBe(40);
    for (const [index, bytes] of seen) expect(bytes).toEqual(makePayload(index, 3_000));
    expect(device.lengths.length).toBeLessThan(5);
    expect(Math.max(...device.lengths)).toBeLessThanOrEqual(256 * 1024);
  });

  test("what lies far apart is read apart", async () => {
    const { wal, device, places } = await fill(40, 3_000);
    const far = [places[0], places[20], places[39]] as PayloadPlace[];
    const seen: number[] = [];
    await wal.readAll(far, (index) => seen.push(index));
    expect(seen.sort()).toEqual([0, 1, 2]);
    expect(device.lengths.length).toBe(3);
  });

  test("no read crosses the end of the data area", async () => {
    const { wal, clock } = await openTestWal(new MemoryWalDevice(deviceBytes(64)));
    const places: PayloadPlace[] = [];
    for (let offset = 0; offset < 30; offset++) {
      const location = appendOne(wal, entryOf(STREAM, offset, makePayload(offset, 9_000)));
      places.push({ location, stream: STREAM, term: 3, baseOffset: offset });
      await clock.endTurn();
      wal.trimTo(await wal.cut().durable);
    }
    const last = places.filter(({ location }) => wal.isOnDevice(location.lsn));
    expect(last.some(({ location }) => location.lsn < 64) && last.some(({ location }) => location.lsn >= 64)).toBe(true);
    let count = 0;
    await wal.readAll(last, (index, bytes) => {
      expect(bytes).toEqual(makePayload(last[index]?.baseOffset ?? -1, 9_000));
      count += 1;
    });
    expect(count).toBe(last.length);
  });

  test("one that is not what the caller knows rejects, when nothing is under way any more", async () => {
    const { wal, device, places } = await fill(40, 3_000);
    const wrong = places.flatMap((place, index) => (index % 12 === 0 ? [{ ...place, term: index === 0 ? 4 : 3 }] : []));
    await expect(wal.readAll(wrong, () => undefined)).rejects.toMatchObject({ code: "wal-damaged" });
    expect(device.underWay).toBe(0);
    expect(device.lengths.length).toBeLessThan(wrong.length + 1);
  });

  test("bytes hold during the call only", async () => {
    const { wal, places } = await fill(1, 3_000);
    let kept: Uint8Array | undefined;
    await wal.readAll(places, (_, bytes) => {
      kept = bytes;
    });
    expect(kept?.length).toBe(0);
  });
});
