/**
 * A WAL volume that outlives the processes which open it, and one process's handle on it. A write lands when it completes; at a crash, or when another process
 * takes the volume, each write in flight has landed wholly, in part (by sector, in any order) or not at all. What landed so can be read, and is lost again
 * with the power unless somebody flushes. Whoever does not hold the volume any more is
 * refused: the fence that a proven death and a free lock give on one machine.
 */
import { Trouble } from "../../src/base/trouble.ts";
import { WAL_BLOCK_BYTES, type WalDevice } from "../../src/storage/wal/wal-device.ts";
import { tear } from "../unit/support/journaling-wal-device.ts";
import type { SeededRandom } from "../unit/support/seeded-random.ts";
import type { Faults } from "./faults.ts";
import type { SimProcess } from "./process.ts";

const TYPICAL_WRITE_MS = 0.6;
/** Headers, fence and scratch lie below. */
const DATA_FROM_BYTES = 4 * WAL_BLOCK_BYTES;
const REMEMBERED_WRITES = 64;
/** More than any commit of the simulated brokers has. */
const LARGEST_COMMIT_BYTES = 160 * 1024;
const MAX_ROTTEN_BITS = 8;
/** Of 100 openings, so many follow a power cut. */
const CACHE_LOSS_PERCENT = 40;
const STALL_MS = 4_000;

interface WriteInFlight {
  readonly deviceOffset: number;
  /** The caller's memory; what lands is what it holds when the device reads it. */
  readonly source: Uint8Array;
  readonly asSubmitted: Uint8Array;
  readonly readsLate: boolean;
  readonly submitted: number;
  resolve(): void;
  reject(reason: unknown): void;
  isOver: boolean;
}

interface DurableWrite {
  readonly deviceOffset: number;
  readonly lengthBytes: number;
  /** Places in the order of all submissions and completions. */
  readonly submitted: number;
  readonly completed: number;
}

export class SimDisk {
  readonly bytes: Uint8Array;
  /** Counts submissions and completions. */
  clock = 0;
  private holder: SimWalDevice | undefined;
  /** The number of the youngest process that has opened it. */
  private youngest = 0;
  /** What lay in blocks that the device's cache alone has in their present state: a crash left them there, no completed write or flush has made them durable. */
  private readonly unflushed = new Map<number, Uint8Array>();
  private readonly durable: DurableWrite[] = [];
  /** Where the write to the data area that was submitted last ends. */
  newestEnd = 0;

  constructor(capacityBytes: number) {
    this.bytes = new Uint8Array(capacityBytes);
  }

  /**
   * Takes the volume from whoever held it. Throws Trouble wal-device-busy for a process that was replaced: its successor has the lock, or the volume hangs on
   * another machine by now.
   */
  open(process: SimProcess, faults: Faults): SimWalDevice {
    if (process.number < this.youngest)
      throw new Trouble({ code: "wal-device-busy", message: "WAL sim: volume: another process has it", retryable: false });
    this.youngest = process.number;
    this.holder?.fence();
    if (process.random.chance(CACHE_LOSS_PERCENT) && this.loseCache(process.random)) faults.strikes.hit("wal.lost-unflushed");
    const device = new SimWalDevice(this, process, faults);
    this.holder = device;
    process.deathListeners.add(() => device.fence());
    return device;
  }

  isHeldBy(device: SimWalDevice): boolean {
    return this.holder === device;
  }

  close(device: SimWalDevice): void {
    if (this.holder === device) this.holder = undefined;
  }

  /** A write that nobody was told of lands, wholly or in part: readable from now on, and not yet durable. */
  landInCache(deviceOffset: number, lengthBytes: number, land: () => void): void {
    for (let at = deviceOffset; at < deviceOffset + lengthBytes; at += WAL_BLOCK_BYTES) {
      if (!this.unflushed.has(at)) this.unflushed.set(at, this.bytes.slice(at, at + WAL_BLOCK_BYTES));
    }
    land();
  }

  landDurably(deviceOffset: number, bytes: Uint8Array, submitted: number): void {
    this.bytes.set(bytes, deviceOffset);
    if (this.unflushed.size > 0)
      for (let at = deviceOffset; at < deviceOffset + bytes.length; at += WAL_BLOCK_BYTES) this.unflushed.delete(at);
    this.durable.push({ deviceOffset, lengthBytes: bytes.length, submitted, completed: ++this.clock });
    if (this.durable.length > REMEMBERED_WRITES) this.durable.shift();
  }

  flushed(): void {
    this.unflushed.clear();
  }

  /**
   * Flips a bit of a commit that was durable before later ones were sealed, which therefore say so: damage that can be told from a torn write. False when no such
   * commit is remembered.
   */
  rot(random: SeededRandom): boolean {
    const data = this.durable.filter((write) => write.deviceOffset >= DATA_FROM_BYTES);
    const isProven = (write: DurableWrite): boolean => {
      const next = data.find((later) => later.submitted > write.completed);
      return next !== undefined && data.some((later) => later.submitted > next.completed);
    };
    const candidates = data.filter(isProven);
    if (candidates.length === 0) return false;
    const { deviceOffset, lengthBytes } = random.pick(candidates);
    const end = deviceOffset + lengthBytes;
    let at = deviceOffset + random.nextInt(lengthBytes);
    // Not the padding, where a flip harms nobody.
    while (this.bytes[at] === 0) at = at + 1 < end ? at + 1 : deviceOffset;
    this.bytes[at]! ^= 1 << random.nextInt(8);
    return true;
  }

  /**
   * Flips some bits in what lies more than `usedBytes` behind the newest write, and the largest commit further, since a start looks for the commit before the
   * committed position. False when no write has been there.
   */
  rotBelow(usedBytes: number, random: SeededRandom): boolean {
    const dataBytes = this.bytes.length - DATA_FROM_BYTES;
    const nearest = usedBytes + LARGEST_COMMIT_BYTES;
    const farthest = dataBytes - LARGEST_COMMIT_BYTES;
    if (nearest >= farthest || this.newestEnd < DATA_FROM_BYTES) return false;
    let flipped = false;
    for (let bits = 1 + random.nextInt(MAX_ROTTEN_BITS); bits > 0; bits--) {
      const behind = nearest + Math.floor(random.nextFloat() * (farthest - nearest));
      const at = DATA_FROM_BYTES + ((this.newestEnd - DATA_FROM_BYTES - behind + dataBytes) % dataBytes);
      if (this.bytes[at] === 0) continue;
      this.bytes[at]! ^= 1 << random.nextInt(8);
      flipped = true;
    }
    return flipped;
  }

  /** The power goes: blocks that only the cache had fall back to what they were, each for itself. */
  private loseCache(random: SeededRandom): boolean {
    let lost = false;
    for (const [at, before] of this.unflushed) {
      if (random.chance(30)) continue;
      lost = true;
      this.bytes.set(before, at);
      this.unflushed.delete(at);
    }
    return lost;
  }
}

export class SimWalDevice implements WalDevice {
  readonly description = "sim: volume";
  readonly capacityBytes: number;
  private readonly disk: SimDisk;
  private readonly process: SimProcess;
  private readonly faults: Faults;
  private inFlight: WriteInFlight[] = [];
  private isFenced = false;
  /** Reads of the recovery scan are not flipped: there a flip in the last commit cannot be told from a torn write. */
  flipsReads = false;

  constructor(disk: SimDisk, process: SimProcess, faults: Faults) {
    this.disk = disk;
    this.process = process;
    this.faults = faults;
    this.capacityBytes = disk.bytes.length;
  }

  write(bytes: Uint8Array, deviceOffset: number): Promise<void> {
    const { process, faults } = this;
    if (deviceOffset % WAL_BLOCK_BYTES !== 0 || bytes.length % WAL_BLOCK_BYTES !== 0 || bytes.length === 0)
      throw new Error("unaligned write");
    if (deviceOffset + bytes.length > this.capacityBytes) throw new Error("write beyond the device's end");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (!process.effect("wal.write")) return promise;
    process.scheduler.note("wal.write", deviceOffset / WAL_BLOCK_BYTES, bytes.length);
    if (deviceOffset >= DATA_FROM_BYTES) this.disk.newestEnd = deviceOffset + bytes.length;
    const write: WriteInFlight = {
      deviceOffset,
      source: bytes,
      asSubmitted: bytes.slice(),
      readsLate: process.random.chance(50),
      submitted: ++this.disk.clock,
      resolve,
      reject,
      isOver: false,
    };
    this.inFlight.push(write);
    const stall = this.strikes(faults.rates.walStall, "wal.stall") ? process.random.nextFloat() ** 3 * STALL_MS : 0;
    const fails =
      this.isFenced || (faults.isDeviceFailing && this.strikes(1, "wal.eio-burst")) || this.strikes(faults.rates.walError, "wal.eio");
    // The device's own event: a paused process's writes go on.
    process.scheduler.post(undefined, TYPICAL_WRITE_MS * (0.3 + process.random.nextFloat()) + stall, "wal.device", () =>
      this.finish(write, fails),
    );
    return promise;
  }

  read(deviceOffset: number, lengthBytes: number): Promise<Uint8Array> {
    const { process } = this;
    if (deviceOffset < 0 || deviceOffset + lengthBytes > this.capacityBytes) throw new Error("read beyond the device's end");
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    if (!process.effect("wal.read")) return promise;
    process.post(TYPICAL_WRITE_MS * process.random.nextFloat(), "wal.read", () => {
      if (this.isFenced || this.strikes(this.faults.rates.walError, "wal.read-eio")) return reject(deviceTrouble("EIO at reading"));
      const bytes = this.disk.bytes.slice(deviceOffset, deviceOffset + lengthBytes);
      if (this.flipsReads && this.strikes(this.faults.rates.walBitFlip, "wal.bit-flip")) {
        bytes[process.random.nextInt(bytes.length)]! ^= 1 << process.random.nextInt(8);
      }
      resolve(bytes);
    });
    return promise;
  }

  flush(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (!this.process.effect("wal.flush")) return promise;
    this.process.post(TYPICAL_WRITE_MS, "wal.flush", () => {
      if (this.isFenced) return reject(deviceTrouble("EIO at flushing"));
      this.disk.flushed();
      resolve();
    });
    return promise;
  }

  async close(): Promise<void> {
    this.disk.close(this);
  }

  /** The process is dead or has lost the volume: what is in flight ends now, in any state. */
  fence(): void {
    const wasFenced = this.isFenced;
    this.isFenced = true;
    for (const write of this.inFlight.splice(0)) {
      if (write.isOver) continue;
      write.isOver = true;
      // Sent after the volume was lost: refused, nothing lands.
      if (wasFenced) continue;
      const lands = this.process.random.chance(40);
      // One that is only paused will be told that its write landed: then it is durable.
      if (lands && !this.process.isDead) this.landAnswered(write);
      else this.landAnyhow(write, lands);
      this.process.post(0, "wal.ended", () => (lands ? write.resolve() : write.reject(deviceTrouble("EIO: the volume was taken"))));
    }
  }

  private finish(write: WriteInFlight, fails: boolean): void {
    if (write.isOver) return;
    write.isOver = true;
    this.inFlight = this.inFlight.filter((other) => other !== write);
    if (fails || this.isFenced) {
      if (!this.isFenced) this.landAnyhow(write, false);
      this.process.post(0, "wal.failed", () => write.reject(deviceTrouble("EIO")));
      return;
    }
    this.landAnswered(write);
    this.process.post(0, "wal.durable", () => {
      if (this.process.effect("wal.completion")) write.resolve();
    });
  }

  private landAnswered(write: WriteInFlight): void {
    this.disk.landDurably(write.deviceOffset, write.readsLate ? write.source : write.asSubmitted, write.submitted);
  }

  /** `lands`: wholly. Otherwise any of its sectors, in any order, or none. */
  private landAnyhow({ deviceOffset, asSubmitted }: WriteInFlight, lands: boolean): void {
    const { disk, faults, process } = this;
    faults.strikes.hit(lands ? "wal.landed-unanswered" : "wal.torn");
    disk.landInCache(deviceOffset, asSubmitted.length, () => {
      if (lands) disk.bytes.set(asSubmitted, deviceOffset);
      else tear(disk.bytes, { deviceOffset, bytes: asSubmitted }, process.random);
    });
  }

  private strikes(rate: number, kind: string): boolean {
    if (rate === 0 || this.process.random.nextFloat() >= rate) return false;
    this.faults.strikes.hit(kind);
    return true;
  }
}

function deviceTrouble(message: string): Trouble {
  return new Trouble({ code: "wal-device-io", message: `WAL sim: ${message}`, retryable: true });
}
