/** The real body of Jobs: zstd on the runtime's native threads. */
import type { Jobs } from "./jobs.ts";

export class SystemJobs implements Jobs {
  async zstdCompress(bytes: Uint8Array, level: number): Promise<Uint8Array> {
    return Bun.zstdCompress(bytes as Uint8Array<ArrayBuffer>, { level });
  }

  async zstdDecompress(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
    const announced = readContentSize(bytes);
    if (announced !== undefined && announced > maxBytes)
      throw new Error(`a zstd frame announces ${announced} bytes, more than ${maxBytes}`);
    const content = await Bun.zstdDecompress(bytes as Uint8Array<ArrayBuffer>);
    if (content.length > maxBytes) throw new Error(`a zstd frame holds ${content.length} bytes, more than ${maxBytes}`);
    return content;
  }
}

/** Frame_Content_Size of RFC 8878, section 3.1.1.1; undefined when the frame does not state it (or is no frame: decompression says so). */
export function readContentSize(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 6 || view.getUint32(0, true) !== 0xfd2fb528) return undefined;
  const descriptor = view.getUint8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const at = 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes;
  const sizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  if (sizeBytes === 0 || bytes.length < at + sizeBytes) return undefined;
  if (sizeBytes === 1) return view.getUint8(at);
  if (sizeBytes === 2) return view.getUint16(at, true) + 256;
  if (sizeBytes === 4) return view.getUint32(at, true);
  return Number(view.getBigUint64(at, true));
}
