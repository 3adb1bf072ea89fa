/**
 * The newest glibc that an ELF file asks for, read from its symbol versions (section .gnu.version_r; Linux Standard Base Core 5.0,
 * "Symbol Versioning"), and a check that it is not above a limit.
 *
 *   bun scripts/check-glibc.ts FILE [LIMIT]        LIMIT defaults to 2.34
 */
import { readFileSync } from "node:fs";
import { runMain, ScriptFailure } from "./lib/process.ts";

/** The oldest glibc that Weir promises to run on. */
export const glibcLimit = "2.34";

const SHT_GNU_VERNEED = 0x6ffffffe;

/** "2.28"; undefined when the file needs no versioned glibc symbol. Throws when it is no little-endian 64-bit ELF file. */
export function readGlibcFloor(elf: Uint8Array): string | undefined {
  let newest: string | undefined;
  for (const name of readNeededVersions(elf)) {
    const version = /^GLIBC_(\d+(?:\.\d+)*)$/.exec(name)?.[1];
    if (version !== undefined && (newest === undefined || compareVersions(version, newest) > 0)) newest = version;
  }
  return newest;
}

/** Below 0, 0, above 0, as `a` is older than, equal to, newer than `b`. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split(".").map(Number), b.split(".").map(Number)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly link: number;
  /** Number of entries, for the version sections. */
  readonly info: number;
}

function readNeededVersions(elf: Uint8Array): string[] {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  if (elf.length < 64 || view.getUint32(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1) {
    throw new ScriptFailure("not a little-endian 64-bit ELF file");
  }
  const sections = readSections(view);
  const names: string[] = [];
  for (const section of sections.filter((candidate) => candidate.type === SHT_GNU_VERNEED)) {
    const strings = sections[section.link]?.offset ?? 0;
    let need = section.offset;
    for (let file = 0; file < section.info; file++) {
      let auxiliary = need + view.getUint32(need + 8, true);
      for (let i = view.getUint16(need + 2, true); i > 0; i--) {
        names.push(readString(elf, strings + view.getUint32(auxiliary + 8, true)));
        auxiliary += view.getUint32(auxiliary + 12, true);
      }
      need += view.getUint32(need + 12, true);
    }
  }
  return names;
}

function readSections(view: DataView): Section[] {
  const table = Number(view.getBigUint64(0x28, true));
  const entryBytes = view.getUint16(0x3a, true);
  const sections: Section[] = [];
  for (let i = 0; i < view.getUint16(0x3c, true); i++) {
    const at = table + i * entryBytes;
    sections.push({
      type: view.getUint32(at + 4, true),
      offset: Number(view.getBigUint64(at + 0x18, true)),
      link: view.getUint32(at + 0x28, true),
      info: view.getUint32(at + 0x2c, true),
    });
  }
  return sections;
}

function readString(bytes: Uint8Array, start: number): string {
  return Buffer.from(bytes.subarray(start, bytes.indexOf(0, start))).toString("latin1");
}

if (import.meta.main) {
  await runMain(() => {
    const [file, limit = glibcLimit] = process.argv.slice(2);
    if (file === undefined) throw new ScriptFailure("usage: bun scripts/check-glibc.ts FILE [LIMIT]");
    const floor = readGlibcFloor(readFileSync(file));
    if (floor !== undefined && compareVersions(floor, limit) > 0) {
      throw new ScriptFailure(`${file} needs GLIBC_${floor}; at most GLIBC_${limit} is allowed`);
    }
    console.log(`${file}: ${floor === undefined ? "no versioned glibc symbol" : `GLIBC_${floor}`}, at most GLIBC_${limit} allowed`);
    return 0;
  });
}
