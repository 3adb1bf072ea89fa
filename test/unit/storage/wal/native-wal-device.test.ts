/** The real WAL device: what it makes of the addon's device and of its errors. IO itself is tested in `test/unit/native/`. */
import { describe, expect, test } from "bun:test";
import { chmodSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { AssertionFailure } from "../../../../src/base/assert.ts";
import { Trouble } from "../../../../src/base/trouble.ts";
import type { Addon, AddonError, NativeDevice } from "../../../../src/native/addon.ts";
import { loadAddon } from "../../../../src/native/load-addon.ts";
import { inspectWalDevice, NativeWalDevice, openNativeWalDevice } from "../../../../src/storage/wal/native-wal-device.ts";
import { canUseLoopDevices, LoopDevice, noLoopDevices } from "../../../support/loop-device.ts";
import { TemporaryFolder } from "../../../support/temporary.ts";
import { isRoot, testIf } from "../../../support/tools.ts";
import { deviceBytes, entryOf, makePayload, openTestWal, readRecovered, type TestWal, TOPIC_A } from "./wal-harness.ts";

const addon = loadAddon();
const mebibyte = 2 ** 20;

function catchTrouble(action: () => unknown): Trouble {
  try {
    action();
  } catch (error) {
    if (error instanceof Trouble) return error;
    throw error;
  }
  throw new Error("no Trouble was thrown");
}

describe("openNativeWalDevice", () => {
  test("makes a missing file with its folders, and describes it in one line", async () => {
    using folder = new TemporaryFolder("wal-device");
    const path = join(folder.path, "a", "b", "wal");
    const device = openNativeWalDevice(addon, { path, kind: "file", createSizeBytes: mebibyte, writeDepth: 2 });
    expect(device.capacityBytes).toBe(mebibyte);
    expect(device.description).toMatch(new RegExp(`^file:${path} \\(${mebibyte} bytes, pwritev2 .*RWF_DSYNC x2\\)$`));
    await device.write(new Uint8Array(4096).fill(5), 8192);
    expect(await device.read(12_287, 2)).toEqual(Uint8Array.of(5, 0));
    expect(await device.read(mebibyte, 0)).toEqual(new Uint8Array(0));
    await device.flush();
    await device.close();
  });

  test("a range outside the device, or not in blocks, is a bug", async () => {
    using folder = new TemporaryFolder("wal-device");
    const device = openNativeWalDevice(addon, { path: join(folder.path, "wal"), createSizeBytes: mebibyte, writeDepth: 1 });
    await expect(device.write(new Uint8Array(4096), mebibyte)).rejects.toBeInstanceOf(AssertionFailure);
    await expect(device.write(new Uint8Array(100), 0)).rejects.toBeInstanceOf(AssertionFailure);
    await expect(device.read(mebibyte - 1, 2)).rejects.toBeInstanceOf(AssertionFailure);
    await device.close();
  });

  test("each mistake is a Trouble that names the path and the remedy", async () => {
    using folder = new TemporaryFolder("wal-device");
    const path = join(folder.path, "wal");
    const open = { path, kind: "file", writeDepth: 1 } as const;
    const expectTrouble = (code: string, action: () => unknown): void => {
      const trouble = catchTrouble(action);
      expect(trouble.code).toBe(code);
      expect(trouble.message).toContain(folder.path);
      expect(trouble.message).not.toContain("\n");
      expect(trouble.remedy).toBeDefined();
    };
    expectTrouble("wal-device-missing", () => openNativeWalDevice(addon, open));
    expectTrouble("wal-device-missing", () => openNativeWalDevice(addon, { ...open, kind: "block", createSizeBytes: mebibyte }));
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
    expectTrouble("wal-device-full", () => openNativeWalDevice(addon, { ...open, createSizeBytes: 2 ** 52 }));
    const device = openNativeWalDevice(addon, { ...open, createSizeBytes: mebibyte });
    expectTrouble("wal-device-busy", () => openNativeWalDevice(addon, open));
    await device.close();
    expectTrouble("wal-device-unsuitable", () => openNativeWalDevice(addon, { ...open, kind: "block" }));
    expectTrouble("wal-device-unsuitable", () => openNativeWalDevice(addon, { ...open, path: folder.path }));
    const loop = join(folder.path, "loop");
    symlinkSync(loop, loop);
    expectTrouble("wal-device-io", () => openNativeWalDevice(addon, { path: loop, writeDepth: 1 }));
    expectTrouble("wal-device-io", () => inspectWalDevice(addon, loop));
  });

  testIf(!isRoot, "root may read and write everything")("a file that this user may not write is denied", async () => {
    using folder = new TemporaryFolder("wal-device");
    const path = join(folder.path, "wal");
    await openNativeWalDevice(addon, { path, createSizeBytes: mebibyte, writeDepth: 1 }).close();
    chmodSync(path, 0o400);
    expect(catchTrouble(() => openNativeWalDevice(addon, { path, writeDepth: 1 })).code).toBe("wal-device-denied");
  });

  testIf(canUseLoopDevices, noLoopDevices)("a loop device is a block device; `file` refuses it", async () => {
    using folder = new TemporaryFolder("wal-device");
    using loop = LoopDevice.tryCreate(folder.path, mebibyte);
    if (loop === undefined) throw new Error("losetup refused");
    expect(catchTrouble(() => openNativeWalDevice(addon, { path: loop.path, kind: "file", writeDepth: 1 })).code).toBe(
      "wal-device-unsuitable",
    );
    const device = openNativeWalDevice(addon, { path: loop.path, kind: "block", writeDepth: 1 });
    expect(device.description).toStartWith(`block:${loop.path} (`);
    expect(catchTrouble(() => openNativeWalDevice(addon, { path: loop.path, kind: "block", writeDepth: 1 })).code).toBe("wal-device-busy");
    const reader = openNativeWalDevice(addon, { path: loop.path, kind: "block", writeDepth: 1, readOnly: true });
    expect(inspectWalDevice(addon, loop.path)).toMatchObject({ kind: "block", content: "", capacityBytes: mebibyte });
    await Promise.all([reader.close(), device.close()]);
  });
});

describe("errors of the device under a running WAL", () => {
  function failingDevice(code: string): NativeDevice {
    const fail = () => Promise.reject(Object.assign(new Error("as the kernel says"), { code }) satisfies AddonError);
    const close = () => Promise.resolve();
    return {
      kind: "block",
      capacityBytes: mebibyte,
      strategy: "test",
      logicalBlockBytes: 512,
      write: fail,
      read: fail,
      flush: fail,
      close,
    };
  }

  test("are Troubles that may pass", async () => {
    const device = new NativeWalDevice("/dev/example", failingDevice("EIO"));
    const expected = { code: "wal-device-io", retryable: true, message: expect.stringContaining("/dev/example") };
    await expect(device.write(new Uint8Array(4096), 0)).rejects.toMatchObject(expected);
    await expect(device.read(0, 1)).rejects.toMatchObject(expected);
    await expect(device.flush()).rejects.toMatchObject(expected);
    await expect(new NativeWalDevice("/dev/example", failingDevice("ENXIO")).read(0, 1)).rejects.toMatchObject({
      code: "wal-device-missing",
    });
  });

  test("a bug in the addon's face stays a bug", async () => {
    const broken: Pick<Addon, "inspectDevice"> = {
      inspectDevice() {
        throw new AssertionFailure("a bug");
      },
    };
    expect(() => inspectWalDevice({ ...addon, ...broken }, "/dev/example")).toThrow(AssertionFailure);
  });
});

describe("a WAL on a real file", () => {
  test("recovers everything it released, byte for byte, after it was opened anew", async () => {
    using folder = new TemporaryFolder("wal-device");
    const path = join(folder.path, "wal");
    const open = (): Promise<TestWal> => {
      const device = openNativeWalDevice(addon, { path, kind: "file", createSizeBytes: deviceBytes(4096), writeDepth: 4 });
      return openTestWal(device, { ring: addon.mapRing(mebibyte), crc32c: addon.crc32c });
    };
    const stream = { topicId: TOPIC_A, partition: 0 };
    const count = 400;
    const payloadOf = (offset: number): Uint8Array => makePayload(offset, 1 + ((offset * 997) % 20_000));
    const first = await open();
    for (let offset = 0; offset < count; offset++) {
      const payload = payloadOf(offset);
      const reservation = await first.wal.reserve(payload.length, 1);
      first.wal.append(entryOf(stream, offset, payload), reservation);
      reservation.release();
      const durable = first.wal.whenDurable();
      await first.clock.endTurn();
      if (offset % 8 === 7) await durable;
    }
    await first.wal.close();
    const second = await open();
    expect(second.damage).toBeUndefined();
    expect(second.recovered.map((entry) => entry.baseOffset)).toEqual(Array.from({ length: count }, (_, offset) => offset));
    for (const entry of second.recovered) expect(await readRecovered(second.wal, entry)).toEqual(payloadOf(entry.baseOffset));
    await second.wal.close();
  });
});
