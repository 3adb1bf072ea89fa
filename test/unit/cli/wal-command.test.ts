/** `weir wal format|inspect|verify`: what each refuses, says and leaves on the device. Over a memory device; the real one is tested beside its body. */
import { beforeEach, describe, expect, test } from "bun:test";
import { runWalCommand, type WalCommandWorld } from "../../../src/cli/wal-command.ts";
import type { DeviceInspection } from "../../../src/native/addon.ts";
import { MemoryWalDevice } from "../../../src/storage/wal/memory-wal-device.ts";
import { WAL_BLOCK_BYTES } from "../../../src/storage/wal/wal-device.ts";
import { DATA_START_BLOCK } from "../../../src/storage/wal/wal-format.ts";
import { appendOne, CLUSTER_ID, crc32c, deviceBytes, entryOf, makePayload, openTestWal, TOPIC_A } from "../storage/wal/wal-harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingLogger } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const PATH = "/dev/example";
let device: MemoryWalDevice;
let inspection: DeviceInspection;
let world: WalCommandWorld;
let openings: string[];

beforeEach(() => {
  device = new MemoryWalDevice(deviceBytes(64));
  inspection = { exists: true, kind: "block", capacityBytes: device.capacityBytes, usedBy: [], content: "" };
  openings = [];
  world = {
    inspectDevice: () => inspection,
    openDevice: (path, { readOnly }) => {
      openings.push(`${path} ${readOnly ? "read-only" : "exclusive"}`);
      return device;
    },
    crc32c,
    clock: new ManualClock(),
    logger: new RecordingLogger(),
    random: new SeededRandom(5),
  };
});

async function appendCommits(count: number): Promise<void> {
  const { wal, clock } = await openTestWal(device);
  for (let offset = 0; offset < count; offset++) {
    appendOne(wal, entryOf({ topicId: TOPIC_A, partition: 0 }, offset, makePayload(offset, 5_000)));
    await clock.endTurn();
    wal.trimTo(await wal.cut().durable);
  }
}

describe("format", () => {
  test("a blank device gets an unclaimed header", async () => {
    const result = await runWalCommand({ verb: "format", device: PATH, output: "json" }, world);
    expect(result.exitCode).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({ state: "unclaimed", capacityBlocks: 64, walEpoch: 0 });
    expect(openings).toEqual([`${PATH} exclusive`]);
    const seen = await runWalCommand({ verb: "inspect", device: PATH }, world);
    expect(seen.stdout).toMatch(/^state +unclaimed$/m);
  });

  test("a mounted or used device is refused unless forced, in one line that names it", async () => {
    inspection = { ...inspection, usedBy: ["/data"] };
    const mounted = await runWalCommand({ verb: "format", device: PATH }, world);
    expect(mounted).toMatchObject({ exitCode: 2, stdout: "" });
    expect(mounted.stderr).toMatch(/^weir: \/dev\/example is in use: \/data; .*\(wal-device-mounted\)\n$/);
    inspection = { ...inspection, usedBy: [], content: "ext4" };
    const used = await runWalCommand({ verb: "format", device: PATH }, world);
    expect(used.stderr).toContain("holds ext4");
    expect(openings).toEqual([]);
    expect((await runWalCommand({ verb: "format", device: PATH, force: true }, world)).exitCode).toBe(0);
  });

  test("a WAL is named with its owner", async () => {
    await appendCommits(1);
    inspection = { ...inspection, content: "weir" };
    const refused = await runWalCommand({ verb: "format", device: PATH }, world);
    expect(refused.stderr).toContain(`of cluster ${CLUSTER_ID} node 1`);
    const again = await runWalCommand({ verb: "format", device: PATH, force: true, output: "json" }, world);
    expect(again.exitCode).toBe(0);
    const report = await runWalCommand({ verb: "verify", device: PATH, output: "json" }, world);
    expect(JSON.parse(report.stdout)).toMatchObject({ commits: 0, verdict: "sound" });
  });

  test("a missing path is a usage error", async () => {
    inspection = { ...inspection, exists: false };
    const result = await runWalCommand({ verb: "inspect", device: PATH }, world);
    expect(result).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("wal-device-missing") });
  });
});

describe("inspect and verify", () => {
  test("inspect says who has claimed it, and opens read-only", async () => {
    await appendCommits(1);
    const result = await runWalCommand({ verb: "inspect", device: PATH, output: "json" }, world);
    expect(JSON.parse(result.stdout)).toMatchObject({
      state: "claimed",
      clusterId: CLUSTER_ID,
      nodeId: 1,
      walEpoch: 1,
      oneCopyDamaged: false,
    });
    expect(openings).toEqual([`${PATH} read-only`]);
  });

  test("verify reports the ends, over several laps", async () => {
    await appendCommits(100);
    const result = await runWalCommand({ verb: "verify", device: PATH, output: "json" }, world);
    const report = JSON.parse(result.stdout) as { firstLsn: number; endLsn: number; commits: number };
    expect(result.exitCode).toBe(0);
    expect(report).toMatchObject({ endLsn: 200, lastEpoch: 1, verdict: "sound", damage: [], leftoverCommits: 0 });
    expect(report.firstLsn).toBe(200 - 64);
    expect(report.commits).toBe(32);
  });

  test("verify exits 1 and names the stretch when a commit is damaged", async () => {
    await appendCommits(100);
    const at = (DATA_START_BLOCK + 4) * WAL_BLOCK_BYTES;
    await device.write(new Uint8Array(WAL_BLOCK_BYTES), at);
    const result = await runWalCommand({ verb: "verify", device: PATH }, world);
    expect(result.exitCode).toBe(1);
    expect(result.stdout).toMatch(/^damage +fromLsn=196 toLsn=198 blocks=2$/m);
    expect(result.stdout).toMatch(/^verdict +damaged$/m);
  });
});
