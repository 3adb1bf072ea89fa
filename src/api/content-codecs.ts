/** The codecs of `protocol/` and the addon as validation asks for them: a look at all records, and compressing them anew. */
import type { Compress, ScanRecords } from "../partition/record-content.ts";
import { type BlockCodecs, compress } from "../protocol/compression.ts";

export function makeContentCodecs(blocks: BlockCodecs): { readonly scanRecords: ScanRecords | undefined; readonly compress: Compress } {
  return {
    scanRecords: blocks.scanRecords === undefined ? undefined : makeScan(blocks as Required<BlockCodecs>),
    compress: (codec, content, level) => compress(codec, content, blocks, level),
  };
}

function makeScan(blocks: Required<BlockCodecs>): ScanRecords {
  return (codec, bytes, start, end, count, baseTimestampMs, maxContentBytes) => {
    const found = blocks.scanRecords(codec, bytes.subarray(start, end), count, baseTimestampMs, maxContentBytes);
    if (found === null || found === undefined) return undefined;
    const [maxTimestampMs, minTimestampMs, keyless, longestRecordBytes] = found as [number, number, number, number];
    return { maxTimestampMs, minTimestampMs, keyless, longestRecordBytes };
  };
}
