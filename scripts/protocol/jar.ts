/** Reads the entries of a jar (ZIP, APPNOTE 6.3: stored and deflated entries, no ZIP64), so that no archive tool is needed. */
import { inflateRawSync } from "node:zlib";

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;

/** Content of every entry whose name `wanted` accepts, by name. */
export async function readJar(path: string, wanted: (name: string) => boolean): Promise<Map<string, Uint8Array>> {
  const bytes = Buffer.from(await Bun.file(path).arrayBuffer());
  let end = bytes.length - 22;
  while (end >= 0 && bytes.readUInt32LE(end) !== END_OF_DIRECTORY) end--;
  if (end < 0) throw new Error(`${path} is not a jar`);
  const entries = new Map<string, Uint8Array>();
  let at = bytes.readUInt32LE(end + 16);
  for (let i = bytes.readUInt16LE(end + 10); i > 0; i--) {
    if (bytes.readUInt32LE(at) !== DIRECTORY_ENTRY) throw new Error(`${path} has a damaged directory`);
    const nameLength = bytes.readUInt16LE(at + 28);
    const name = bytes.toString("utf8", at + 46, at + 46 + nameLength);
    if (wanted(name)) entries.set(name, readEntry(bytes, at));
    at += 46 + nameLength + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
  }
  return entries;
}

function readEntry(bytes: Buffer, directoryAt: number): Uint8Array {
  const method = bytes.readUInt16LE(directoryAt + 10);
  const compressedBytes = bytes.readUInt32LE(directoryAt + 20);
  const localAt = bytes.readUInt32LE(directoryAt + 42);
  const dataAt = localAt + 30 + bytes.readUInt16LE(localAt + 26) + bytes.readUInt16LE(localAt + 28);
  const data = bytes.subarray(dataAt, dataAt + compressedBytes);
  return method === 0 ? data : inflateRawSync(data);
}
