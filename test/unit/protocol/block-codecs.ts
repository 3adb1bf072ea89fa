/**
 * Raw block codecs for tests: the addon's where it is built. Without it snappy is a slow reference (the block format of
 * google/snappy format_description.txt; the compressor writes literals only) and lz4 is missing.
 */
import { loadAddon } from "../../../src/native/load-addon.ts";
import type { BlockCodecs } from "../../../src/protocol/compression.ts";

function snappyDecompress(bytes: Uint8Array, maxBytes: number): Uint8Array {
  let at = 0;
  let size = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++] ?? -1;
    if (byte < 0 || shift > 28) throw new Error("snappy length is truncated");
    size += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  if (size > maxBytes) throw new Error(`snappy block of ${size} bytes, ${maxBytes} allowed`);
  const output = new Uint8Array(size);
  let out = 0;
  while (at < bytes.length) {
    const tag = bytes[at++]!;
    const kind = tag & 3;
    let length = (tag >>> 2) + 1;
    if (kind === 0) {
      const extra = Math.max(0, length - 60);
      if (extra > 0) {
        length = 1;
        for (let i = 0; i < extra; i++) length += bytes[at++]! * 2 ** (8 * i);
      }
      if (at + length > bytes.length || out + length > size) throw new Error("snappy literal is truncated");
      output.set(bytes.subarray(at, at + length), out);
      at += length;
      out += length;
      continue;
    }
    let offset = 0;
    if (kind === 1) {
      length = ((tag >>> 2) & 7) + 4;
      offset = ((tag >>> 5) << 8) | bytes[at++]!;
    } else {
      for (let i = 0; i < (kind === 2 ? 2 : 4); i++) offset += bytes[at++]! * 2 ** (8 * i);
    }
    if (offset === 0 || offset > out || out + length > size) throw new Error("snappy copy is out of range");
    for (let i = 0; i < length; i++, out++) output[out] = output[out - offset]!;
  }
  if (out !== size) throw new Error("snappy block is truncated");
  return output;
}

function snappyCompress(bytes: Uint8Array): Uint8Array {
  const output: number[] = [];
  let rest = bytes.length;
  for (; rest > 0x7f; rest >>>= 7) output.push((rest & 0x7f) | 0x80);
  output.push(rest);
  for (let at = 0; at < bytes.length; at += 60) {
    const part = bytes.subarray(at, at + 60);
    output.push((part.length - 1) << 2, ...part);
  }
  return Uint8Array.from(output);
}

function noLz4(): never {
  throw new Error("the addon is not built");
}

const reference: BlockCodecs = {
  snappyCompress,
  snappyDecompress,
  lz4FrameCompress: noLz4,
  lz4FrameDecompress: noLz4,
  lz4HighCompress: noLz4,
};

function addonOrUndefined(): BlockCodecs | undefined {
  try {
    return loadAddon();
  } catch {
    return undefined;
  }
}

const addon = addonOrUndefined();
export const hasAddon = addon !== undefined;
export const blockCodecs: BlockCodecs = addon ?? reference;
export const referenceCodecs: BlockCodecs = reference;
