/** What a fetch brought: offsets and sizes of the batches behind a record reference. */
import type { ByteSource } from "../../../src/base/byte-source.ts";

export function offsetsOf(records: Uint8Array | ByteSource | null): number[] {
  if (records === null) return [];
  const bytes = records instanceof Uint8Array ? records : copy(records);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const offsets: number[] = [];
  for (let at = 0; at < bytes.length; at += 12 + view.getInt32(at + 8)) {
    const base = Number(view.getBigInt64(at));
    for (let delta = 0; delta <= view.getInt32(at + 23); delta++) offsets.push(base + delta);
  }
  return offsets;
}

function copy(source: ByteSource): Uint8Array {
  const bytes = new Uint8Array(source.sizeBytes);
  if (!source.tryCopy(0, bytes.length, bytes, 0)) throw new Error("not in memory");
  return bytes;
}
