/** `weir wal bench`: what it refuses, what it leaves on a device, and that its figures add up. Over a memory device with a clock that each operation moves. */
import { beforeEach, describe, expect, test } from "bun:test";
import { runWalBench, type WalBenchArguments, type WalBenchRow, type WalBenchWorld } from "../../../src/cli/wal-bench.ts";
import { runWalCommand } from "../../../src/cli/wal-command.ts";
import type { DeviceInspection } from "../../../src/native/addon.ts";
import { MemoryWalDevice } from "../../../src/storage/wal/memory-wal-device.ts";
import { crc32c } from "../storage/wal/wal-harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingLogger } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const MEBIBYTE = 1024 ** 2;
const PATH = "/somewhere/device";
const OPERATION_MS = 0.5;

let device: MemoryWalDevice;
let inspection: DeviceInspection;
let world: WalBenchWorld;
let clock: ManualClock;
let events: string[];
let said: string[];

beforeEach(() => {
  device = new MemoryWalDevice(40 * MEBIBYTE);
  inspection = { exists: true, kind: "block", capacityBytes: device.capacityBytes, usedBy: [], content: "" };
  clock = new ManualClock();
  events = [];
  said = [];
  world = {
    inspectDevice: () => inspection,
    openDevice: (_path, options) => {
      events.push(`open ${options.readOnly ? "read-only" : "exclusive"} ${options.createSizeBytes ?? "as it is"}`);
      return {
        description: "a device",
        capacityBytes: device.capacityBytes,
        write: async (bytes, offset) => {
          events.push(`write ${offset}+${bytes.length}`);
          await device.write(bytes, offset);
          await clock.advance(OPERATION_MS);
        },
        read: async (offset, length) => {
          events.push(`read ${offset}+${length}`);
          await clock.advance(OPERATION_MS);
          return await device.read(offset, length);
        },
        flush: () => device.flush(),
        close: async () => void events.push("close"),
      };
    },
    allocateRing: (bytes) => new Uint8Array(bytes),
    unlink: (path) => void events.push(`unlink ${path}`),
    hasFolder: () => true,
    crc32c,
    clock,
    random: new SeededRandom(3),
  };
});

const run = (args: Partial<WalBenchArguments> = {}) =>
  runWalBench(
    {
      device: PATH,
      sizes: "4KiB",
      depths: "1",
      seconds: "0.01",
      fileSize: "32MiB",
      force: false,
      readOnly: false,
      output: "json",
      ...args,
    },
    world,
    (line) => said.push(line),
  );

const rowsOf = (stdout: string): readonly WalBenchRow[] => (JSON.parse(stdout) as { readonly rows: readonly WalBenchRow[] }).rows;

describe("what it leaves alone", () => {
  test("a blank device is still blank in its first MiB, and is written in order behind it", async () => {
    const result = await run();
    expect(result).toMatchObject({ exitCode: 0, stderr: "" });
    expect(events.slice(0, 3)).toEqual(["open exclusive as it is", `write ${MEBIBYTE}+4096`, `write ${MEBIBYTE + 4096}+4096`]);
    expect((await device.read(0, MEBIBYTE)).every((byte) => byte === 0)).toBe(true);
    expect(events.at(-1)).toBe("close");
  });

  test("a device that is mounted, holds a WAL or anything else, and a file that exists, are refused before they are opened for writing", async () => {
    const blank = inspection;
    inspection = { ...blank, usedBy: ["/data"] };
    expect(await run()).toMatchObject({ exitCode: 2, stdout: "", stderr: expect.stringContaining("(wal-device-mounted)") });
    inspection = { ...blank, content: "ext4" };
    expect((await run()).stderr).toContain("it holds ext4");
    inspection = { ...blank, kind: "file" };
    expect((await run()).stderr).toContain("(wal-file-exists)");
    inspection = blank;
    const format = await runWalCommand(
      { verb: "format", device: PATH },
      { ...world, openDevice: () => device, logger: new RecordingLogger() },
    );
    expect(format.exitCode).toBe(0);
    inspection = { ...blank, content: "weir" };
    expect((await run()).stderr).toMatch(/it holds WAL \S+, not claimed yet; .*--force overwrites it and gives up what it holds/);
    expect(events.filter((event) => /^(?:write|open exclusive)/.test(event))).toEqual([]);
  });

  test("--force gives up what is there whole: nothing is left that could be taken for a WAL", async () => {
    await device.write(new Uint8Array(4096).fill(7), 0);
    inspection = { ...inspection, content: "weir" };
    expect((await run({ force: true })).exitCode).toBe(0);
    expect(events[1]).toBe(`write 0+${MEBIBYTE}`);
    expect((await device.read(0, MEBIBYTE)).every((byte) => byte === 0)).toBe(true);
  });

  test("--read-only writes nothing, also on what is in use", async () => {
    inspection = { ...inspection, usedBy: ["/data"], content: "weir" };
    const result = await run({ readOnly: true });
    expect(result.exitCode).toBe(0);
    expect(events[0]).toBe("open read-only as it is");
    expect(events.some((event) => event.startsWith("write"))).toBe(false);
    inspection = { ...inspection, exists: false };
    expect((await run({ readOnly: true })).stderr).toContain("(wal-device-missing)");
  });

  test("a missing file is made, laid out and has no name any more; a missing device or folder is a mistake", async () => {
    inspection = { ...inspection, exists: false, kind: "other" };
    expect((await run()).exitCode).toBe(0);
    expect(events.slice(0, 3)).toEqual([`open exclusive ${32 * MEBIBYTE}`, `unlink ${PATH}`, `write 0+${MEBIBYTE}`]);
    expect(said[0]).toBe("laying out a file of 40 MiB");
    world = { ...world, hasFolder: () => false };
    expect((await run()).stderr).toContain("the folder of");
    expect((await run({ device: "/dev/nvme9n9" })).stderr).toContain("(wal-device-missing)");
  });
});

describe("figures", () => {
  test("each size with each depth; latencies are those of single operations", async () => {
    const result = await run({ sizes: "4KiB,1MiB", depths: "1,2", seconds: "0.1" });
    const rows = rowsOf(result.stdout);
    expect(rows.map(({ sizeBytes, depth }) => [sizeBytes, depth])).toEqual([
      [4096, 1],
      [4096, 2],
      [MEBIBYTE, 1],
      [MEBIBYTE, 2],
    ]);
    // One at a time, each of half a millisecond.
    expect(rows[0]).toMatchObject({ count: 200, p50Ms: 0.5, p99Ms: 0.5, maxMs: 0.5, operationsPerSecond: 2000, megabytesPerSecond: 8.192 });
    expect(said).toHaveLength(4);
    expect((await run({ output: "table" })).stdout).toMatch(/^SIZE +IN FLIGHT +P50 MS .*\n4 KiB +1 +0\.500 /m);
  });

  test.each([
    ["sizes", "5000"],
    ["sizes", "1GiB"],
    ["sizes", "4kb"],
    ["depths", "0"],
    ["depths", "65"],
    ["seconds", "0"],
    ["seconds", "soon"],
    ["fileSize", "1MiB"],
  ])("--%s %s is bad usage, and nothing is opened", async (option, value) => {
    expect(await run({ [option]: value })).toMatchObject({ exitCode: 2, stdout: "" });
    expect(events).toEqual([]);
  });

  test("a device that is too small is said to be", async () => {
    device = new MemoryWalDevice(8 * MEBIBYTE);
    expect((await run()).stderr).toContain("at least 32MiB");
    expect(events.at(-1)).toBe("close");
  });
});
