/**
 * What the addon costs: CRC32C, codecs, and the round trip JavaScript -> durable write -> JavaScript. Prints a table.
 *
 *   bun test/bench/native.ts [PATH]      PATH: a block device, or a file to create; default: a file in the temporary directory
 *
 * A device named here loses what is on it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NativeDevice } from "../../src/native/addon.ts";
import { loadAddon } from "../../src/native/load-addon.ts";

const mebibyte = 2 ** 20;
const fileBytes = 512 * mebibyte;
const addon = loadAddon();
const ring = addon.mapRing(64 * mebibyte);

/** Shortest of `slices` runs of `calls` calls, ns per call: the figure least disturbed by neighbours. */
function measureNs(calls: number, call: () => void, slices = 80): number {
  let best = Number.POSITIVE_INFINITY;
  for (let slice = 0; slice < slices; slice++) {
    const start = Bun.nanoseconds();
    for (let i = 0; i < calls; i++) call();
    best = Math.min(best, (Bun.nanoseconds() - start) / calls);
  }
  return best;
}

const row = (what: string, figure: string): void => console.log(`| ${what.padEnd(46)} | ${figure.padEnd(34)} |`);
const gigabytesPerSecond = (bytes: number, ns: number): string => `${(bytes / ns).toFixed(1)} GB/s`;
const megabytesPerSecond = (bytes: number, ns: number): string => `${((bytes * 1000) / ns).toFixed(0)} MB/s`;

function benchMemory(): void {
  for (const [size, calls] of [
    [64, 100_000],
    [1024, 50_000],
    [65_536, 1000],
    [mebibyte, 50],
  ] as const) {
    const ns = measureNs(calls, () => addon.crc32c(ring, 4096, 4096 + size));
    row(`crc32c ${size} B`, size < 65_536 ? `${ns.toFixed(0)} ns` : gigabytesPerSecond(size, ns));
  }
  const lines = Array.from({ length: 12_000 }, (_, n) => JSON.stringify({ id: n, user: `user-${n % 977}`, at: 1_700_000_000 + n * 13 }));
  const text = new TextEncoder().encode(lines.join("\n")).subarray(0, 512 * 1024);
  for (const [name, compress, decompress] of [
    ["lz4 frame", addon.lz4FrameCompress, addon.lz4FrameDecompress],
    ["snappy", addon.snappyCompress, addon.snappyDecompress],
  ] as const) {
    const packed = compress(text);
    const into = megabytesPerSecond(
      text.length,
      measureNs(2, () => compress(text)),
    );
    const back = megabytesPerSecond(
      text.length,
      measureNs(2, () => decompress(packed, text.length)),
    );
    row(`${name}, JSON lines: in, out`, `${into}, ${back}`);
  }
}

async function benchWrites(device: NativeDevice, size: number, depth: number, count: number): Promise<void> {
  const latenciesMs: number[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      const offset = (next++ * size) % (device.capacityBytes - (device.capacityBytes % size));
      const start = Bun.nanoseconds();
      await device.write(ring.subarray(0, size), offset);
      latenciesMs.push((Bun.nanoseconds() - start) / 1e6);
    }
  };
  const start = Bun.nanoseconds();
  await Promise.all(Array.from({ length: depth }, lane));
  const elapsedNs = Bun.nanoseconds() - start;
  latenciesMs.sort((a, b) => a - b);
  const at = (share: number): string => (latenciesMs[Math.floor((latenciesMs.length - 1) * share)] ?? 0).toFixed(3);
  row(
    `durable write ${size / 1024} KiB, ${depth} in flight`,
    `p50 ${at(0.5)} p99 ${at(0.99)} ms, ${megabytesPerSecond(size * count, elapsedNs)}`,
  );
}

async function benchDevice(path: string): Promise<void> {
  const device = addon.openDevice({ path, createSizeBytes: fileBytes, writeDepth: 8, exclusive: true });
  row(`device: ${device.kind}`, device.strategy);
  const sizes = [
    [4096, 1000],
    [65_536, 500],
    [mebibyte, 200],
  ] as const;
  await benchWrites(device, 4096, 1, 500);
  row("", "the row above: first writes into new blocks");
  for (let offset = 0; offset + 32 * mebibyte <= Math.min(device.capacityBytes, fileBytes); offset += 32 * mebibyte) {
    await device.write(ring.subarray(0, 32 * mebibyte), offset);
  }
  for (const [size, count] of sizes) {
    for (const depth of [1, 4, 8]) await benchWrites(device, size, depth, count);
  }
  await device.close();
}

console.log(`| ${"what".padEnd(46)} | ${"figure".padEnd(34)} |\n| ${"-".repeat(46)} | ${"-".repeat(34)} |`);
benchMemory();
const folder = mkdtempSync(join(tmpdir(), "weir-bench-"));
try {
  await benchDevice(process.argv[2] ?? join(folder, "wal"));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
