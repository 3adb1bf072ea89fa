/**
 * The addon's face: checksum, ring memory, codecs, and the library itself (glibc floor, loading from inside an executable). Device IO is in
 * `native-device.test.ts`.
 */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compareVersions, glibcLimit, readGlibcFloor } from "../../../scripts/check-glibc.ts";
import { AssertionFailure } from "../../../src/base/assert.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { TemporaryFolder } from "../../support/temporary.ts";
import { mustRunTool, repositoryRoot } from "../../support/tools.ts";

const addon = loadAddon();
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

function readResidentBytes(): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return Number(kibibytes) * 1024;
}

describe("crc32c", () => {
  test("gives the published check values", () => {
    expect(addon.crc32c(text("123456789"), 0, 9)).toBe(0xe3069283);
    expect(addon.crc32c(new Uint8Array(32), 0, 32)).toBe(0x8a9136aa);
    expect(addon.crc32c(new Uint8Array(32).fill(255), 0, 32)).toBe(0x62a8ab43);
  });

  test("sums ranges, views and continuations", () => {
    const bytes = Uint8Array.from({ length: 10_000 }, (_, n) => (n * 31) % 251);
    const whole = addon.crc32c(bytes, 0, bytes.length);
    for (const cut of [0, 1, 63, 64, 4096, 9999, 10_000]) {
      expect(addon.crc32c(bytes, cut, bytes.length, addon.crc32c(bytes, 0, cut))).toBe(whole);
    }
    const view = bytes.subarray(100, 5000);
    expect(addon.crc32c(view, 11, 4000)).toBe(addon.crc32c(bytes, 111, 4100));
    expect(addon.crc32c(Buffer.from(view), 11, 4000)).toBe(addon.crc32c(bytes, 111, 4100));
  });

  test("an empty range is the seed, whatever the array", () => {
    expect(addon.crc32c(new Uint8Array(0), 0, 0)).toBe(0);
    expect(addon.crc32c(new Uint8Array(0), 0, 0, 0xdeadbeef)).toBe(0xdeadbeef);
    expect(addon.crc32c(text("abc"), 3, 3, 7)).toBe(7);
  });

  test("a range outside the array is a bug, not a read of foreign memory", () => {
    const bytes = new Uint8Array(8);
    for (const [start, end] of [
      [0, 9],
      [-1, 4],
      [5, 4],
      [Number.NaN, 4],
      [0, Number.NaN],
      [9, 9],
    ] as const) {
      expect(() => addon.crc32c(bytes, start, end)).toThrow(AssertionFailure);
    }
  });
});

describe("mapRing", () => {
  test("an untouched ring of 1 GiB is not resident", () => {
    Bun.gc(true);
    const before = readResidentBytes();
    const ring = addon.mapRing(2 ** 30);
    Bun.gc(true);
    expect(ring.length).toBe(2 ** 30);
    expect(readResidentBytes() - before).toBeLessThan(8 * 2 ** 20);
    ring[2 ** 30 - 1] = 9;
    expect(ring.subarray(2 ** 30 - 1)[0]).toBe(9);
  });

  test("what cannot be mapped is an error with a code", () => {
    expect(() => addon.mapRing(0)).toThrow(expect.objectContaining({ code: "EINVAL" }));
    expect(() => addon.mapRing(-4096)).toThrow(expect.objectContaining({ code: "EINVAL" }));
    expect(() => addon.mapRing(1.5)).toThrow(expect.objectContaining({ code: "EINVAL" }));
    expect(() => addon.mapRing(2 ** 52)).toThrow(expect.objectContaining({ code: "ENOMEM" }));
  });
});

describe("codecs", () => {
  const samples = [new Uint8Array(0), text("x"), text("hello hello hello ".repeat(10_000)), Bun.gzipSync("noise ".repeat(5000))];

  test("give back what they took", () => {
    for (const sample of samples) {
      expect(addon.lz4FrameDecompress(addon.lz4FrameCompress(sample), sample.length)).toEqual(new Uint8Array(sample));
      expect(addon.snappyDecompress(addon.snappyCompress(sample), sample.length)).toEqual(new Uint8Array(sample));
    }
  });

  test("refuse what exceeds the bound, and what is damaged or cut", () => {
    const sample = text("hello hello hello ".repeat(10_000));
    const lz4 = addon.lz4FrameCompress(sample);
    const snappy = addon.snappyCompress(sample);
    expect(() => addon.lz4FrameDecompress(lz4, sample.length - 1)).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
    expect(() => addon.snappyDecompress(snappy, sample.length - 1)).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
    for (const damaged of [new Uint8Array(0), text("nonsense"), lz4.subarray(0, lz4.length - 1)]) {
      expect(() => addon.lz4FrameDecompress(damaged, 2 ** 20)).toThrow(expect.objectContaining({ code: "CORRUPT" }));
    }
    for (const damaged of [new Uint8Array(0), text("\xff\xff\xff\xff"), snappy.subarray(0, snappy.length - 1)]) {
      expect(() => addon.snappyDecompress(damaged, 2 ** 30)).toThrow(expect.objectContaining({ code: "CORRUPT" }));
    }
  });
});

describe("the library", () => {
  test("asks for no newer glibc than promised", () => {
    const floor = readGlibcFloor(readFileSync(join(repositoryRoot, "build/native/weir.bin")));
    expect(floor).toBeDefined();
    expect(compareVersions(floor ?? "", glibcLimit)).toBeLessThanOrEqual(0);
  });

  test("loads from inside an executable without a temporary directory and without the build's files", async () => {
    using folder = new TemporaryFolder("embedded-addon");
    const program = join(folder.path, "program.ts");
    const executable = join(folder.path, "program");
    const loader = JSON.stringify(join(repositoryRoot, "src/native/load-addon.ts"));
    const call = `const a = loadAddon(); console.log(a.version, a.crc32c(Buffer.from("123456789"), 0, 9), a.mapRing(4096).length)`;
    await Bun.write(program, `import { loadAddon } from ${loader}; ${call};`);
    const flags = ["--compile", "--minify", "--sourcemap", "--bytecode", "--format=esm"];
    await mustRunTool([process.execPath, "build", ...flags, program, "--outfile", executable], { cwd: folder.path });
    const nowhere = "/nonexistent/weir-test";
    const output = await mustRunTool([executable], { cwd: "/", environment: { TMPDIR: nowhere, BUN_TMPDIR: nowhere, HOME: nowhere } });
    expect(output).toBe(`${addon.version} ${0xe3069283} 4096\n`);
  });
});

describe("readGlibcFloor", () => {
  test("refuses what is no ELF file", () => {
    expect(() => readGlibcFloor(text("#!/bin/sh\n".repeat(20)))).toThrow("ELF");
  });

  test("versions compare by number", () => {
    expect(compareVersions("2.4", "2.34")).toBeLessThan(0);
    expect(compareVersions("2.34", "2.34")).toBe(0);
    expect(compareVersions("2.3.4", "2.3")).toBeGreaterThan(0);
  });
});
