/**
 * How fast produced batches are validated: content per second, in every codec, at one look (the addon) and record by record. Prints a table.
 *
 *   bun test/bench/validation.ts
 *
 * MB/s of content, that is of what the records hold once decompressed; compressed sizes beside. CRC32C of the batch included.
 */
import { makeContentCodecs } from "../../src/api/content-codecs.ts";
import { loadAddon } from "../../src/native/load-addon.ts";
import { ATTRIBUTES_AT, CRC_AT, LENGTH_AT, viewOf } from "../../src/partition/batch-layout.ts";
import type { ValidationContext } from "../../src/partition/batch-validation.ts";
import { Codec, compress, decompress } from "../../src/protocol/compression.ts";
import { BASE_TIME, makeBatch } from "../unit/support/record-batches.ts";
import { validateBatch } from "../unit/support/validate-batch.ts";

const addon = loadAddon();
const RULES = {
  maxMessageBytes: 2 ** 31 - 1,
  isLogAppendTime: false,
  timestampBeforeMaxMs: 2 ** 63,
  timestampAfterMaxMs: 3_600_000,
  isCompacted: false,
  maxDecompressedRecordBytes: 2 ** 31 - 1,
};
const ONE_BY_ONE: ValidationContext = {
  crc32c: addon.crc32c,
  decompress: (codec, bytes, start, end, maxBytes) => decompress(codec, bytes.subarray(start, end), maxBytes, addon),
  nowMs: BASE_TIME,
  topicName: "t",
  partition: 0,
  isZstdAllowed: true,
};
const AT_ONCE: ValidationContext = { ...ONE_BY_ONE, ...makeContentCodecs(addon) };
const SLICES = 30;

function makeSample(
  recordBytes: number,
  contentBytes: number,
  codec: number,
): { readonly bytes: Uint8Array; readonly contentBytes: number } {
  const count = Math.max(1, Math.floor(contentBytes / (recordBytes + 20)));
  const records = Array.from({ length: count }, (_, index) => {
    const line = JSON.stringify({ id: index * 7919, user: `user-${index % 977}`, at: 1_700_000_000 + index * 13 });
    return { key: `key-${index % 100}`, value: line.repeat(Math.ceil(recordBytes / line.length)).slice(0, recordBytes) };
  });
  const plain = makeBatch({ records });
  const packed = compress(codec, plain.subarray(61), addon);
  const bytes = new Uint8Array(61 + packed.length);
  bytes.set(plain.subarray(0, 61));
  bytes.set(packed, 61);
  const view = viewOf(bytes);
  view.setInt32(LENGTH_AT, bytes.length - 12);
  view.setInt16(ATTRIBUTES_AT, codec);
  view.setUint32(CRC_AT, addon.crc32c(bytes, ATTRIBUTES_AT, bytes.length));
  return { bytes, contentBytes: plain.length - 61 };
}

/** The best of SLICES runs: what is least disturbed by neighbours. */
function measure(bytes: Uint8Array, contentBytes: number, context: ValidationContext): string {
  const calls = Math.max(1, Math.floor(4_000_000 / contentBytes));
  let best = Number.POSITIVE_INFINITY;
  for (let slice = 0; slice < SLICES; slice++) {
    const start = Bun.nanoseconds();
    for (let call = 0; call < calls; call++) {
      const checked = validateBatch(bytes, RULES, context);
      if (checked.kind !== "checked") throw new Error(checked.message);
    }
    best = Math.min(best, (Bun.nanoseconds() - start) / calls);
  }
  return ((contentBytes * 1000) / best).toFixed(0).padStart(6);
}

console.log("| records | batch   | codec  | compressed to | at one look, MB/s | record by record, MB/s |");
console.log("| ------- | ------- | ------ | ------------- | ----------------- | ---------------------- |");
for (const [recordBytes, contentBytes] of [
  [100, 16 * 1024],
  [100, 1024 * 1024],
  [1000, 16 * 1024],
  [1000, 1024 * 1024],
] as const) {
  for (const [name, codec] of Object.entries(Codec)) {
    const sample = makeSample(recordBytes, contentBytes, codec);
    const ratio = `${((100 * (sample.bytes.length - 61)) / sample.contentBytes).toFixed(0)} %`;
    const atOnce = measure(sample.bytes, sample.contentBytes, AT_ONCE);
    const oneByOne = measure(sample.bytes, sample.contentBytes, ONE_BY_ONE);
    const size = `${contentBytes / 1024} KiB`;
    console.log(
      `| ${`${recordBytes} B`.padEnd(7)} | ${size.padEnd(7)} | ${name.padEnd(6)} | ${ratio.padEnd(13)} | ${atOnce.padEnd(17)} | ${oneByOne.padEnd(22)} |`,
    );
  }
}
