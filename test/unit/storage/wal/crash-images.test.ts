/**
 * Property: from every image that keeps all completed writes and any part of the unfinished ones, recovery gives a prefix of what was appended that
 * holds every acked record, and nothing torn, stale or out of place. Several lives a seed, small devices (many laps), LSNs beyond 2^32.
 */
import { describe, expect, test } from "bun:test";
import type { WalPosition } from "../../../../src/storage/types.ts";
import { BLANK_POSITION } from "../../../../src/storage/wal/open-wal.ts";
import type { WalLocation } from "../../../../src/storage/wal/wal.ts";
import { JournalingWalDevice } from "../../support/journaling-wal-device.ts";
import { settle } from "../../support/manual-clock.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import {
  deviceBytes,
  entryOf,
  makePayload,
  openTestWal,
  plantHistory,
  readRecovered,
  type TestWal,
  TOPIC_A,
  TOPIC_B,
} from "./wal-harness.ts";

const SEEDS = 400;
const LIVES = 4;
const STREAMS = [
  { topicId: TOPIC_A, partition: 0 },
  { topicId: TOPIC_A, partition: 1 },
  { topicId: TOPIC_B, partition: 4_294_967 },
];

interface ModelEntry {
  readonly stream: (typeof STREAMS)[number];
  readonly baseOffset: number;
  readonly payload: Uint8Array;
  readonly lsn: number;
}

class Scenario {
  readonly random: SeededRandom;
  readonly blocks: number;
  /** Everything that was appended and not lost by an allowed truncation, in LSN order. */
  log: ModelEntry[] = [];
  ackedCount = 0;
  /** What the metadata log would hold. */
  committed: WalPosition = BLANK_POSITION;
  slot = 0;
  recoveredTotal = 0;
  lapsSeen = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.blocks = 64 + this.random.nextInt(80);
  }

  async firstImage(): Promise<Uint8Array> {
    const device = new JournalingWalDevice(deviceBytes(this.blocks));
    if (this.random.chance(60)) {
      const far = this.random.pick([2 ** 32 - 20, 2 ** 32 + 1, 2 ** 40, this.blocks * 3 + 1, this.blocks * 2_000_000]);
      this.committed = await plantHistory(device, far + this.random.nextInt(10), this.blocks);
    }
    return device.durableImage();
  }

  /** Opens the image, perhaps crashing on the way; checks what was recovered. */
  async open(image: Uint8Array): Promise<{ opened: TestWal; device: JournalingWalDevice }> {
    let current = image;
    const options = { getCommittedPosition: () => this.committed, metadataSlot: 1_000_000, writeDepth: 1 + this.random.nextInt(4) };
    while (this.random.chance(25)) {
      const device = new JournalingWalDevice(deviceBytes(this.blocks), current);
      device.holds = true;
      void openTestWal(device, options).catch(() => undefined);
      for (let write = 0; write < 3; write++) {
        await settle();
        if (device.heldWrites > 0 && this.random.chance(60)) device.complete(0);
      }
      current = device.crashImage(this.random);
    }
    const device = new JournalingWalDevice(deviceBytes(this.blocks), current);
    const opened = await openTestWal(device, options);
    await this.checkRecovered(opened);
    device.holds = true;
    return { opened, device };
  }

  async checkRecovered({ wal, recovered, damage }: TestWal): Promise<void> {
    expect(damage).toBeUndefined();
    const below = this.log.filter((entry) => entry.lsn < this.committed.lsn).length;
    const expected = this.log.slice(below);
    expect(recovered.length).toBeLessThanOrEqual(expected.length);
    expect(below + recovered.length).toBeGreaterThanOrEqual(this.ackedCount);
    for (const [index, entry] of recovered.entries()) {
      const model = expected[index]!;
      expect([entry.stream, entry.baseOffset, entry.location.lsn as number]).toEqual([model.stream, model.baseOffset, model.lsn]);
      expect(Buffer.compare(await readRecovered(wal, entry), model.payload)).toBe(0);
    }
    this.recoveredTotal += recovered.length;
    this.log = this.log.slice(0, below + recovered.length);
    this.ackedCount = this.log.length;
  }

  async live(opened: TestWal, device: JournalingWalDevice): Promise<void> {
    const { wal, clock } = opened;
    const locations: { location: WalLocation; entry: ModelEntry }[] = [];
    const cuts: WalPosition[] = [];
    const steps = 20 + this.random.nextInt(120);
    for (let step = 0; step < steps; step++) {
      const roll = this.random.nextInt(100);
      if (roll < 40) this.append(opened, locations);
      else if (roll < 60) await clock.endTurn();
      else if (roll < 82 && device.heldWrites > 0) device.complete(this.random.nextInt(device.heldWrites));
      else if (roll < 84 && device.heldWrites > 0) device.fail(this.random.nextInt(device.heldWrites), this.random);
      else if (roll < 88) await clock.advance(50);
      else if (roll < 92)
        wal.cut().durable.then(
          (position) => cuts.push(position),
          () => undefined,
        );
      else if (roll < 96 && cuts.length > 0) this.commitTo(wal, this.random.pick(cuts));
      else if (roll < 98) wal.noteMetadataSlot(++this.slot, `h${this.slot}`).catch(() => undefined);
      else await this.checkReads(opened, locations);
      await settle();
    }
    this.lapsSeen = Math.max(this.lapsSeen, Math.floor(wal.headLsn / this.blocks));
  }

  append({ wal }: TestWal, locations: { location: WalLocation; entry: ModelEntry }[]): void {
    const sizes = this.random.chance(20) ? 9_000 : this.random.chance(10) ? wal.maxPayloadBytes - 1 : 900;
    const reservation = wal.tryReserve(3 * sizes, 3);
    if (reservation === undefined) return;
    for (let count = 1 + this.random.nextInt(3); count > 0; count--) {
      const stream = this.random.pick(STREAMS);
      const before = this.log.findLast((entry) => entry.stream === stream);
      const baseOffset = before === undefined ? 2 ** 33 : before.baseOffset + 1;
      const payload = makePayload(this.random.nextInt(2 ** 31), 1 + this.random.nextInt(sizes));
      const location = wal.append(entryOf(stream, baseOffset, payload), reservation);
      const entry = { stream, baseOffset, payload, lsn: location.lsn };
      this.log.push(entry);
      locations.push({ location, entry });
      if (this.random.chance(10)) wal.cut();
    }
    reservation.release();
    const count = this.log.length;
    wal.whenDurable().then(
      () => {
        this.ackedCount = Math.max(this.ackedCount, count);
      },
      () => undefined,
    );
  }

  /** As the uploader does: first the metadata log, and perhaps never the trim. */
  commitTo(wal: TestWal["wal"], position: WalPosition): void {
    if (position.lsn > this.committed.lsn) this.committed = position;
    if (this.random.chance(80)) wal.trimTo(position);
  }

  async checkReads({ wal }: TestWal, locations: { location: WalLocation; entry: ModelEntry }[]): Promise<void> {
    for (const { location, entry } of locations.slice(-20)) {
      const view = wal.tryView(location);
      if (view !== undefined) expect(Buffer.compare(view, entry.payload)).toBe(0);
    }
  }
}

async function runSeed(seed: number): Promise<Scenario> {
  const scenario = new Scenario(seed);
  let image = await scenario.firstImage();
  for (let life = 0; life < LIVES; life++) {
    const { opened, device } = await scenario.open(image);
    await scenario.live(opened, device);
    image = device.crashImage(scenario.random);
  }
  await scenario.open(image);
  return scenario;
}

describe("every crash image recovers what was acked", () => {
  for (let block = 0; block < 8; block++) {
    const first = block * (SEEDS / 8);
    test(`seeds ${first} to ${first + SEEDS / 8 - 1}`, async () => {
      let recovered = 0;
      for (let seed = first; seed < first + SEEDS / 8; seed++) {
        try {
          recovered += (await runSeed(seed)).recoveredTotal;
        } catch (error) {
          throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
        }
      }
      expect(recovered).toBeGreaterThan(100);
    }, 60_000);
  }

  test("a write torn at any sector, or with any sector missing, is not there at all", async () => {
    const device = new JournalingWalDevice(deviceBytes(64));
    const { wal, clock } = await openTestWal(device);
    const append = async (offset: number, bytes: number): Promise<void> => {
      const reservation = await wal.reserve(bytes, 1);
      wal.append(entryOf(STREAMS[0]!, offset, makePayload(offset, bytes)), reservation);
      reservation.release();
      await clock.endTurn();
    };
    await append(0, 100);
    device.holds = true;
    await append(1, 9_000);
    const [write] = device.journal.slice(-1);
    if (write?.kind !== "write") throw new Error("a write was expected");
    const before = device.durableImage();
    // The last sectors of the padding are zero on the blank device already: without them the write is whole.
    const used = Math.ceil((80 + 64 + 9_000) / 512);
    for (let sector = 0; sector < used; sector++) {
      for (const lands of [(each: number) => each < sector, (each: number) => each !== sector, (each: number) => each === sector]) {
        const image = before.slice();
        for (let each = 0; each < write.bytes.length / 512; each++) {
          if (lands(each)) image.set(write.bytes.subarray(each * 512, (each + 1) * 512), write.deviceOffset + each * 512);
        }
        const { recovered, damage } = await openTestWal(new JournalingWalDevice(deviceBytes(64), image));
        expect(recovered.map((entry) => entry.baseOffset)).toEqual([0]);
        expect(damage).toBeUndefined();
      }
    }
    device.complete(0);
    const whole = await openTestWal(new JournalingWalDevice(deviceBytes(64), device.durableImage()));
    expect(whole.recovered.map((entry) => entry.baseOffset)).toEqual([0, 1]);
  });

  test("what completed beyond a hole does not return, in this life or the next", async () => {
    const device = new JournalingWalDevice(deviceBytes(64));
    const first = await openTestWal(device);
    device.holds = true;
    for (let offset = 0; offset < 3; offset++) {
      const reservation = await first.wal.reserve(100, 1);
      first.wal.append(entryOf(STREAMS[0]!, offset, makePayload(offset, 100)), reservation);
      reservation.release();
      first.wal.cut();
    }
    await first.clock.endTurn();
    expect(device.heldWrites).toBe(3);
    device.complete(2);
    device.complete(0);
    await settle();
    const survivor = new JournalingWalDevice(deviceBytes(64), device.durableImage());
    const second = await openTestWal(survivor);
    expect(second.recovered.map((entry) => entry.baseOffset)).toEqual([0]);
    expect(second.damage).toBeUndefined();
    // Exactly as long as the commit that is missing, so that the stale one would be next in line.
    const reservation = await second.wal.reserve(100, 1);
    second.wal.append(entryOf(STREAMS[0]!, 77, makePayload(77, 100)), reservation);
    reservation.release();
    await second.clock.endTurn();
    await second.wal.cut().durable;
    const third = await openTestWal(survivor);
    expect(third.recovered.map((entry) => entry.baseOffset)).toEqual([0, 77]);
    expect(third.damage).toBeUndefined();
  });

  test("one seed twice gives the same run", async () => {
    const [first, second] = [await runSeed(3), await runSeed(3)];
    expect(first.log.map((entry) => [entry.lsn, entry.baseOffset])).toEqual(second.log.map((entry) => [entry.lsn, entry.baseOffset]));
    expect(first.committed).toEqual(second.committed);
  });

  test("a long life on a small device comes round many times", async () => {
    const device = new JournalingWalDevice(deviceBytes(64));
    let position: WalPosition = BLANK_POSITION;
    let offset = 0;
    for (let life = 0; life < 3; life++) {
      const { wal, clock, recovered } = await openTestWal(device, { getCommittedPosition: () => position });
      expect(recovered.map((entry) => entry.baseOffset)).toEqual(life === 0 ? [] : [offset - 1]);
      for (let step = 0; step < 300; step++) {
        const reservation = await wal.reserve(12_000, 1);
        wal.append(entryOf(STREAMS[0]!, offset++, makePayload(offset, 1 + ((offset * 977) % 12_000))), reservation);
        reservation.release();
        const isLast = step === 299;
        await clock.endTurn();
        if (!isLast) {
          position = await wal.cut().durable;
          wal.trimTo(position);
        }
      }
      expect(wal.headLsn / 64).toBeGreaterThan((life + 1) * 5);
    }
  });
});
