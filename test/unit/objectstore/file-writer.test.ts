/** A file written past the page cache holds exactly its bytes, whatever their length and wherever they lie in memory. */
import { expect, test } from "bun:test";
import { readFileSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeNewFile } from "../../../src/objectstore/file-writer.ts";

const KIB = 1024;

function numbered(lengthBytes: number, startInBuffer: number): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(startInBuffer + lengthBytes).subarray(startInBuffer);
  for (let index = 0; index < lengthBytes; index++) bytes[index] = (index * 31 + (index >> 12)) & 0xff;
  return bytes;
}

const cases: readonly (readonly [string, number, number])[] = [
  ["nothing", 0, 0],
  ["small", 10, 0],
  ["whole blocks", 512 * KIB, 0],
  ["a last part of one byte", 512 * KIB + 1, 0],
  ["a last part of 4095 bytes", 1024 * KIB - 1, 0],
  ["memory that is not aligned", 700 * KIB + 5, 13],
];

test.each(cases)("%s", async (_name, lengthBytes, startInBuffer) => {
  const folder = await mkdtemp(join(tmpdir(), "weir-file-writer-"));
  try {
    const path = join(folder, "object");
    const bytes = numbered(lengthBytes, startInBuffer);
    await writeNewFile(path, bytes);
    expect(Buffer.compare(readFileSync(path), bytes)).toBe(0);
    await expect(writeNewFile(path, bytes)).rejects.toThrow("EEXIST");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
