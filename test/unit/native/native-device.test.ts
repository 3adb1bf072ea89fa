/** Device IO of the addon on files and loop devices: durable writes, reads, locks, creation, inspection, life of process and worker. */
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { NativeDevice } from "../../../src/native/addon.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { canUseLoopDevices, LoopDevice, noLoopDevices } from "../../support/loop-device.ts";
import { TemporaryFolder } from "../../support/temporary.ts";
import { hasTool, isRoot, mustRunTool, repositoryRoot, runTool, testIf } from "../../support/tools.ts";

const addon = loadAddon();
const block = 4096;
const mebibyte = 2 ** 20;
/** Shared by the tests: ring memory lives as long as the process. */
const ring = addon.mapRing(32 * mebibyte);

function openFile(path: string, createSizeBytes = 16 * mebibyte, writeDepth = 4): NativeDevice {
  return addon.openDevice({ path, createSizeBytes, writeDepth, exclusive: true });
}

function fillPattern(bytes: Uint8Array, seed: number): void {
  let state = seed | 1;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
}

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Writes 16 MiB in pieces of many sizes, many in flight, out of order, and reads all of it back. */
async function expectRoundTrip(device: NativeDevice): Promise<void> {
  const image = ring.subarray(0, 16 * mebibyte);
  fillPattern(image, 42);
  const writes: Promise<void>[] = [];
  for (let offset = 0, blocks = 1; offset < image.length; offset += blocks * block, blocks = (blocks * 5 + 1) % 61 || 1) {
    const end = Math.min(offset + blocks * block, image.length);
    writes.push(device.write(image.subarray(offset, end), offset));
    blocks = (end - offset) / block;
  }
  await Promise.all(writes.reverse());
  expect(digest(await device.read(0, image.length))).toBe(digest(image));
  const ranges = [
    [0, 1],
    [4095, 2],
    [12_345, 100_000],
    [image.length - 1, 1],
    [block, block],
  ] as const;
  for (const [offset, length] of ranges) {
    expect(digest(await device.read(offset, length))).toBe(digest(image.subarray(offset, offset + length)));
  }
  await device.flush();
}

describe("a file", () => {
  test("gives back what hundreds of writes in flight brought", async () => {
    using folder = new TemporaryFolder("native-device");
    const device = openFile(join(folder.path, "wal"));
    expect(device.kind).toBe("file");
    expect(device.capacityBytes).toBe(16 * mebibyte);
    expect(device.strategy).toMatch(/RWF_DSYNC x4$/);
    await expectRoundTrip(device);
    await device.close();
  });

  test("takes memory of any alignment", async () => {
    using folder = new TemporaryFolder("native-device");
    const device = openFile(join(folder.path, "wal"), mebibyte);
    const memory = new Uint8Array(3 * block + 1);
    fillPattern(memory, 7);
    await device.write(memory.subarray(1), block);
    expect(digest(await device.read(block, 3 * block))).toBe(digest(memory.subarray(1)));
    await device.close();
  });

  test("what is read is private: later writes do not show in it", async () => {
    using folder = new TemporaryFolder("native-device");
    const device = openFile(join(folder.path, "wal"), mebibyte);
    const source = ring.subarray(0, block);
    source.fill(1);
    await device.write(source, 0);
    const first = await device.read(0, block);
    source.fill(2);
    await device.write(source, 0);
    expect(first.every((byte) => byte === 1)).toBe(true);
    expect((await device.read(0, block)).every((byte) => byte === 2)).toBe(true);
    await device.close();
  });

  test("a bad length, offset or range is refused and harms nothing", async () => {
    using folder = new TemporaryFolder("native-device");
    const device = openFile(join(folder.path, "wal"), 2 * block);
    const refused = { code: "EINVAL" };
    await expect(device.write(ring.subarray(0, 100), 0)).rejects.toMatchObject(refused);
    await expect(device.write(ring.subarray(0, 0), 0)).rejects.toMatchObject(refused);
    await expect(device.write(ring.subarray(0, block), 512)).rejects.toMatchObject(refused);
    await expect(device.write(ring.subarray(0, block), 2 * block)).rejects.toMatchObject(refused);
    await expect(device.write(ring.subarray(0, block), -block)).rejects.toMatchObject(refused);
    await expect(device.write(ring.subarray(0, block), Number.NaN)).rejects.toMatchObject(refused);
    await expect(device.read(0, 2 * block + 1)).rejects.toMatchObject(refused);
    await expect(device.read(0.5, 1)).rejects.toMatchObject(refused);
    await device.write(ring.subarray(0, block), block);
    await device.close();
  });

  test("a file that lost its end under us gives an error, not zeros", async () => {
    using folder = new TemporaryFolder("native-device");
    const path = join(folder.path, "wal");
    const device = openFile(path, mebibyte);
    truncateSync(path, 8 * block);
    await expect(device.read(64 * block, block)).rejects.toMatchObject({ code: "EIO" });
    await device.close();
  });

  test("close waits for what is in flight; afterwards everything is refused", async () => {
    using folder = new TemporaryFolder("native-device");
    const device = openFile(join(folder.path, "wal"));
    let settled = 0;
    const writes = Array.from({ length: 64 }, async (_, i) => {
      await device.write(ring.subarray(0, 64 * block), i * 64 * block);
      settled += 1;
    });
    const closed = device.close();
    expect(device.close()).toBe(closed);
    await expect(device.read(0, block)).rejects.toMatchObject({ code: "CLOSED" });
    await closed;
    await Promise.all(writes);
    expect(settled).toBe(64);
  });

  test("is created whole, keeps its size, and is not created unasked", async () => {
    using folder = new TemporaryFolder("native-device");
    const path = join(folder.path, "wal");
    const open = { path, writeDepth: 1, exclusive: true };
    expect(() => addon.openDevice(open)).toThrow(expect.objectContaining({ code: "ENOENT" }));
    expect(() => addon.openDevice({ ...open, createSizeBytes: 2 ** 52 })).toThrow(/ENOSPC|EFBIG|too large|No space/);
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
    await openFile(path, 4 * mebibyte).close();
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(4 * mebibyte);
    const again = openFile(path, 8 * mebibyte);
    expect(again.capacityBytes).toBe(4 * mebibyte);
    await again.close();
    expect(() => addon.openDevice({ ...open, writeDepth: 65 })).toThrow(expect.objectContaining({ code: "EINVAL" }));
    expect(() => addon.openDevice({ ...open, path: folder.path })).toThrow(expect.objectContaining({ code: "NOT_A_DEVICE" }));
  });

  test("read-only writes nothing", async () => {
    using folder = new TemporaryFolder("native-device");
    const path = join(folder.path, "wal");
    const writer = openFile(path, mebibyte);
    const reader = addon.openDevice({ path, writeDepth: 1, exclusive: false, readOnly: true });
    await expect(reader.write(ring.subarray(0, block), 0)).rejects.toMatchObject({ code: "EBADF" });
    expect((await reader.read(0, block)).length).toBe(block);
    await Promise.all([reader.close(), writer.close()]);
  });
});

/** Runs a TypeScript program that has the addon as `addon`, in its own process. */
function runProgram(code: string) {
  const loader = join(repositoryRoot, "src/native/load-addon.ts");
  const prelude = `const { loadAddon } = await import(${JSON.stringify(loader)}); const addon = loadAddon();`;
  return runTool([process.execPath, "-e", `${prelude}\n${code}`], { timeoutMs: 60_000 });
}

describe("processes", () => {
  test("a second process is refused while the first holds the lock, and only then", async () => {
    using folder = new TemporaryFolder("native-device");
    const path = join(folder.path, "wal");
    const device = openFile(path, mebibyte);
    const attempt = `try { addon.openDevice({ path: ${JSON.stringify(path)}, writeDepth: 1, exclusive: true }); console.log("opened"); }
      catch (error) { console.log(error.code); }`;
    expect((await runProgram(attempt)).stdout).toBe("LOCKED\n");
    await device.close();
    expect((await runProgram(attempt)).stdout).toBe("opened\n");
  });

  test("work in flight keeps a process alive; an open, idle device does not", async () => {
    using folder = new TemporaryFolder("native-device");
    const path = JSON.stringify(join(folder.path, "wal"));
    const result = await runProgram(`
      const ring = addon.mapRing(${4 * mebibyte});
      const device = addon.openDevice({ path: ${path}, createSizeBytes: ${8 * mebibyte}, writeDepth: 2, exclusive: true });
      let left = 3;
      const next = () => { left -= 1; console.log("written"); if (left > 0) device.write(ring, 0).then(next); };
      device.write(ring, 0).then(next);`);
    expect(result).toEqual({ exitCode: 0, stdout: "written\nwritten\nwritten\n", stderr: "" });
  });

  test("a worker that ends with reads in flight takes nothing with it", async () => {
    using folder = new TemporaryFolder("native-device");
    const path = JSON.stringify(join(folder.path, "wal"));
    const loader = JSON.stringify(join(repositoryRoot, "src/native/load-addon.ts"));
    const worker = join(folder.path, "worker.ts");
    await Bun.write(
      worker,
      `import { loadAddon } from ${loader};
      const device = loadAddon().openDevice({ path: ${path}, writeDepth: 1, exclusive: false });
      for (let i = 0; i < 40; i++) device.read(0, ${mebibyte}).catch(() => {});
      postMessage("busy");`,
    );
    const result = await runProgram(`
      const device = addon.openDevice({ path: ${path}, createSizeBytes: ${8 * mebibyte}, writeDepth: 1, exclusive: true });
      for (let i = 0; i < 10; i++) {
        const worker = new Worker(${JSON.stringify(worker)});
        await new Promise((resolve) => { worker.onmessage = resolve; });
        worker.terminate();
      }
      console.log((await device.read(0, 10)).length);
      await device.close();`);
    expect(result).toMatchObject({ exitCode: 0, stdout: "10\n" });
  });
});

describe("inspectDevice", () => {
  test("tells a missing, blank, own and foreign file apart", async () => {
    using folder = new TemporaryFolder("native-device");
    const path = join(folder.path, "wal");
    expect(addon.inspectDevice(path)).toMatchObject({ exists: false });
    const device = openFile(path, 4 * mebibyte);
    expect(addon.inspectDevice(path)).toEqual({ exists: true, kind: "file", capacityBytes: 4 * mebibyte, usedBy: [], content: "" });
    const header = ring.subarray(0, block);
    header.fill(0);
    header.set(Buffer.from("WEIRWAL1"));
    await device.write(header, 0);
    expect(addon.inspectDevice(path).content).toBe("weir");
    await device.close();
    writeFileSync(path, "some notes");
    expect(addon.inspectDevice(path)).toMatchObject({ capacityBytes: 10, content: "data" });
    expect(addon.inspectDevice(folder.path)).toMatchObject({ exists: true, kind: "other" });
  });

  testIf(hasTool("mkfs.ext4"), "no mkfs.ext4")("knows a file system", async () => {
    using folder = new TemporaryFolder("native-device");
    const path = join(folder.path, "disk");
    await openFile(path, 8 * mebibyte).close();
    await mustRunTool(["mkfs.ext4", "-q", "-F", path]);
    expect(addon.inspectDevice(path).content).toBe("ext4");
  });
});

describe("a loop device", () => {
  const testOnLoop = testIf(canUseLoopDevices, noLoopDevices);

  testOnLoop("is written, read, locked and inspected as a block device", async () => {
    using folder = new TemporaryFolder("native-device");
    using loop = LoopDevice.tryCreate(folder.path, 16 * mebibyte);
    if (loop === undefined) throw new Error("losetup refused");
    expect(addon.inspectDevice(loop.path)).toMatchObject({
      exists: true,
      kind: "block",
      capacityBytes: 16 * mebibyte,
      usedBy: [],
      content: "",
    });
    const open = { path: loop.path, writeDepth: 8, exclusive: true };
    const device = addon.openDevice(open);
    expect(device.kind).toBe("block");
    expect(device.strategy).toBe("pwritev2 O_DIRECT|RWF_DSYNC x8");
    expect(() => addon.openDevice(open)).toThrow(expect.objectContaining({ code: "LOCKED" }));
    await expectRoundTrip(device);
    await device.close();
  });

  testOnLoop("a file under a loop device is refused, and names it", () => {
    using folder = new TemporaryFolder("native-device");
    using loop = LoopDevice.tryCreate(folder.path, mebibyte, "disk");
    if (loop === undefined) throw new Error("losetup refused");
    const path = join(folder.path, "disk");
    expect(addon.inspectDevice(path).usedBy).toEqual([loop.path]);
    expect(() => addon.openDevice({ path, writeDepth: 1, exclusive: true })).toThrow(expect.objectContaining({ code: "MOUNTED" }));
  });

  testIf(canUseLoopDevices && hasTool("mkfs.ext4"), noLoopDevices)(
    "one that is mounted is refused, and names the mount point",
    async () => {
      using folder = new TemporaryFolder("native-device");
      using loop = LoopDevice.tryCreate(folder.path, 8 * mebibyte);
      if (loop === undefined) throw new Error("losetup refused");
      const mountPoint = join(folder.path, "mount point");
      await mustRunTool(["mkfs.ext4", "-q", "-F", loop.path]);
      await mustRunTool(["mkdir", mountPoint]);
      await mustRunTool(["mount", loop.path, mountPoint]);
      try {
        expect(addon.inspectDevice(loop.path)).toMatchObject({ usedBy: [mountPoint], content: "ext4" });
        expect(() => addon.openDevice({ path: loop.path, writeDepth: 1, exclusive: true })).toThrow(
          expect.objectContaining({ code: "MOUNTED" }),
        );
      } finally {
        await mustRunTool(["umount", mountPoint]);
      }
    },
  );
});

describe("a device that fails", () => {
  testIf(canUseLoopDevices, noLoopDevices)(
    "rejects the writes that failed, keeps the others, and works on when it is well again",
    async () => {
      using folder = new TemporaryFolder("native-device");
      await mustRunTool(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder.path]);
      try {
        // The loop device promises 8 MiB; the memory below it has room for less than 3.
        using loop = LoopDevice.tryCreate(folder.path, 8 * mebibyte);
        if (loop === undefined) throw new Error("losetup refused");
        const device = addon.openDevice({ path: loop.path, writeDepth: 2, exclusive: true });
        const piece = ring.subarray(0, mebibyte);
        fillPattern(piece, 3);
        const outcomes = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => device.write(piece, i * mebibyte)));
        const failures = outcomes.filter((outcome) => outcome.status === "rejected");
        expect(failures.length).toBeGreaterThanOrEqual(5);
        for (const failure of failures) expect(failure.reason).toMatchObject({ code: expect.stringMatching(/^(EIO|ENOSPC)$/) });
        expect(failures.length).toBeLessThan(8);
        await mustRunTool(["mount", "-o", "remount,size=12m", folder.path]);
        for (const [i, outcome] of outcomes.entries()) {
          if (outcome.status === "rejected") await device.write(piece, i * mebibyte);
          expect(digest(await device.read(i * mebibyte, mebibyte))).toBe(digest(piece));
        }
        await device.close();
      } finally {
        await mustRunTool(["umount", folder.path]);
      }
    },
  );
});

describe("a file system without O_DIRECT or fallocate", () => {
  testIf(isRoot, "mounting needs root")("is written through the page cache, and says so", async () => {
    using folder = new TemporaryFolder("native-device");
    const mounted = await runTool(["mount", "-t", "ramfs", "ramfs", folder.path]);
    expect(mounted).toMatchObject({ exitCode: 0 });
    try {
      const device = openFile(join(folder.path, "wal"));
      expect(device.strategy).toBe("pwritev2 buffered|RWF_DSYNC x4");
      await expectRoundTrip(device);
      await device.close();
    } finally {
      await mustRunTool(["umount", folder.path]);
    }
  });
});
