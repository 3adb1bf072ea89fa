/** The look at all records at once against the walk record by record; and what `compression.type` makes of a batch. Both need the addon. */
import { describe, expect, test } from "bun:test";
import { makeContentCodecs } from "../../../src/api/content-codecs.ts";
import { readStoredBatch, viewOf } from "../../../src/partition/batch-layout.ts";
import type { BatchRules, CheckedBatch, ValidationContext } from "../../../src/partition/batch-validation.ts";
import { Codec, compress, decompress } from "../../../src/protocol/compression.ts";
import { blockCodecs, hasAddon } from "../protocol/block-codecs.ts";
import { BASE_TIME, makeBatch, type RecordSpec, withCrc } from "../support/record-batches.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";
import { validateBatch } from "../support/validate-batch.ts";

const maybe = test.skipIf(!hasAddon);
const RULES: BatchRules = {
  maxMessageBytes: 1 << 20,
  isLogAppendTime: false,
  timestampBeforeMaxMs: 2 ** 63,
  timestampAfterMaxMs: 3_600_000,
  isCompacted: false,
  maxDecompressedRecordBytes: 2 ** 31 - 1,
};
const ONE_BY_ONE: ValidationContext = {
  crc32c: tableCrc32c,
  decompress: (codec, bytes, start, end, maxBytes) => decompress(codec, bytes.subarray(start, end), maxBytes, blockCodecs),
  nowMs: BASE_TIME,
  topicName: "t",
  partition: 0,
  isZstdAllowed: true,
};
const AT_ONCE: ValidationContext = { ...ONE_BY_ONE, ...makeContentCodecs(blockCodecs) };

/** The batch with its records in another codec. */
function inCodec(plain: Uint8Array, codec: number): Uint8Array {
  const packed = compress(codec, plain.subarray(61), blockCodecs);
  const bytes = new Uint8Array(61 + packed.length);
  bytes.set(plain.subarray(0, 61));
  bytes.set(packed, 61);
  viewOf(bytes).setInt32(8, bytes.length - 12);
  viewOf(bytes).setInt16(21, viewOf(plain).getInt16(21) | codec);
  return withCrc(bytes);
}

function randomRecords(random: SeededRandom): RecordSpec[] {
  const count = 1 + random.nextInt(random.pick([3, 40]));
  const isOdd = random.chance(8);
  return Array.from({ length: count }, (_, index) => ({
    key: random.chance(70) ? "key" : null,
    value: random.chance(90) ? "v".repeat(random.nextInt(random.pick([5, 300, 20_000]))) : null,
    timestampDelta: random.chance(isOdd ? 30 : 0) ? random.pick([-1 - BASE_TIME, 7_200_000, 2 ** 60, -5]) : random.nextInt(1000),
    offsetDelta: isOdd && random.chance(20) ? random.nextInt(count) : index,
    headers: random.chance(20) ? [["h", "x".repeat(random.nextInt(200))]] : [],
  }));
}

describe("all records at once", () => {
  for (let seed = 1; seed <= 8; seed++) {
    maybe(`says what the walk record by record says, in every codec, damaged or not, seed ${seed}`, () => {
      const random = new SeededRandom(seed);
      let clean = 0;
      for (let round = 0; round < 100; round++) {
        const records = randomRecords(random);
        const options = random.chance(5) ? { trailer: new Uint8Array([1, 2]) } : {};
        const bytes = inCodec(makeBatch({ records, maxTimestamp: 0n, ...options }), random.nextInt(5));
        if (random.chance(30)) {
          for (let flips = 1 + random.nextInt(3); flips > 0; flips--) bytes[57 + random.nextInt(bytes.length - 57)] = random.nextInt(256);
          withCrc(bytes);
        }
        const rules = {
          ...RULES,
          isCompacted: random.chance(10),
          isLogAppendTime: random.chance(20),
          timestampBeforeMaxMs: random.pick([2 ** 63, 1000]),
          maxDecompressedRecordBytes: random.pick([2 ** 31 - 1, 1000]),
        };
        const copy = bytes.slice();
        const atOnce = validateBatch(bytes, rules, AT_ONCE);
        expect(withoutViews(atOnce)).toEqual(withoutViews(validateBatch(copy, rules, ONE_BY_ONE)));
        expect(Buffer.compare(bytes, copy)).toBe(0);
        if (atOnce.kind === "checked") clean += 1;
      }
      expect(clean).toBeGreaterThan(20);
    });
  }

  maybe("a small batch that would fill the memory is refused, without filling it", () => {
    const bomb = Buffer.concat([makeBatch().subarray(0, 61), new Uint8Array(129 * 1024 * 1024)]);
    expect(validateBatch(inCodec(bomb, Codec.zstd), RULES, AT_ONCE)).toMatchObject({ kind: "refused", reason: "invalid-record" });
  });
});

function withoutViews(result: ReturnType<typeof validateBatch>) {
  if (result.kind === "refused") return result;
  const { bytes: _bytes, view: _view, ...rest } = result;
  return rest;
}

describe("compression.type", () => {
  const records = Array.from({ length: 40 }, (_, index) => ({ key: `k${index}`, value: "a value ".repeat(20) }));
  const attributes = 0x10;
  const made = { records, attributes, producerId: 7n, producerEpoch: 3, baseSequence: 11, maxTimestamp: 0n };

  function store(bytes: Uint8Array, rules: Partial<BatchRules>): CheckedBatch {
    const checked = validateBatch(bytes, { ...RULES, ...rules }, AT_ONCE);
    if (checked.kind !== "checked") throw new Error(checked.message);
    return checked;
  }

  for (const [targetName, targetCodec] of Object.entries(Codec)) {
    maybe(`${targetName}: a batch of any codec is stored in it, its records byte by byte the producer's`, () => {
      const plain = makeBatch(made);
      for (const sourceCodec of Object.values(Codec)) {
        const bytes = inCodec(plain, sourceCodec);
        const checked = store(bytes, { targetCodec });
        const { view } = checked;
        const header = readStoredBatch(view, 0);
        expect(header.attributes).toBe(attributes | targetCodec);
        expect(header.end).toBe(checked.bytes.length);
        expect(header).toMatchObject({
          producerId: 7,
          producerEpoch: 3,
          baseSequence: 11,
          recordCount: 40,
          maxTimestampMs: BASE_TIME + 39,
        });
        expect(view.getUint32(17)).toBe(tableCrc32c(checked.bytes, 21, checked.bytes.length));
        const content = decompress(targetCodec, checked.bytes.subarray(61), 1 << 20, blockCodecs);
        expect(Buffer.compare(content, plain.subarray(61))).toBe(0);
        expect(checked.bytes === bytes).toBe(sourceCodec === targetCodec);
      }
    });
  }

  maybe("levels: a higher one is smaller; all can be read", () => {
    const text = Array.from({ length: 200 }, (_, index) => ({
      value: `{"user":${index * 7919},"name":"name ${index % 13}","flag":${index % 2}}`,
    }));
    const plain = makeBatch({ records: text });
    for (const [targetCodec, levels] of [
      [Codec.gzip, [1, 9]],
      [Codec.lz4, [1, 12]],
      [Codec.zstd, [-100, 1, 19]],
    ] as const) {
      const sizes = levels.map((compressionLevel) => store(plain.slice(), { targetCodec, compressionLevel }).bytes.length);
      expect(sizes).toEqual([...sizes].sort((a, b) => b - a));
      expect(sizes[0]).not.toBe(sizes.at(-1));
    }
  });

  maybe("what is too large once stored is refused", () => {
    const plain = makeBatch(made);
    const packed = inCodec(plain, Codec.zstd);
    const result = validateBatch(packed, { ...RULES, targetCodec: Codec.none, maxMessageBytes: plain.length - 1 }, AT_ONCE);
    expect(result).toMatchObject({ kind: "refused", reason: "too-large" });
  });

  maybe("records before 1970 are taken as they are or not at all, as in Kafka", () => {
    for (const value of ["v", "v".repeat(3000)]) {
      const bytes = makeBatch({ records: [{ value, timestampDelta: 0 }], baseTimestamp: -5n, maxTimestamp: -5n });
      expect(validateBatch(bytes.slice(), RULES, AT_ONCE).kind).toBe("checked");
      expect(validateBatch(bytes, { ...RULES, targetCodec: Codec.lz4 }, AT_ONCE)).toMatchObject({
        kind: "refused",
        reason: "invalid-record",
      });
    }
  });

  maybe("a producer without an epoch is taken as it is or not at all, as in Kafka", () => {
    const bytes = makeBatch({ ...made, producerEpoch: -1 });
    expect(validateBatch(bytes.slice(), RULES, AT_ONCE).kind).toBe("checked");
    const refused = validateBatch(bytes, { ...RULES, targetCodec: Codec.lz4 }, AT_ONCE);
    expect(refused).toMatchObject({ kind: "refused", reason: "invalid-record" });
  });

  maybe("attributes that only brokers set, or that mean nothing, go when a batch is written anew, the latter also when its time is", () => {
    const odd = { ...made, attributes: attributes | 0x4080 | 0x40 };
    expect(readStoredBatch(store(makeBatch(odd), { targetCodec: Codec.lz4 }).view, 0).attributes).toBe(attributes | Codec.lz4);
    expect(readStoredBatch(store(makeBatch(odd), {}).view, 0).attributes).toBe(attributes | 0x40);
    const timely = { ...odd, maxTimestamp: BigInt(BASE_TIME + 39) };
    expect(readStoredBatch(store(makeBatch(timely), {}).view, 0).attributes).toBe(odd.attributes);
  });

  maybe("a producer's LogAppendTime is refused in Kafka's words, which say how closely it has looked at the record", () => {
    const plain = makeBatch({ records: [{ value: "12345" }], attributes: 0x08, maxTimestamp: BigInt(BASE_TIME) });
    const wordsFor = (bytes: Uint8Array, rules: Partial<BatchRules>) => {
      const result = validateBatch(bytes, { ...RULES, isLogAppendTime: true, ...rules }, AT_ONCE);
      return result.kind === "refused" ? result.recordErrors.map((error) => error.message) : [];
    };
    const words = (record: string) => [
      `Invalid timestamp type in message ${record}. Producer should not set timestamp type to LogAppendTime.`,
    ];
    const seen = words(`DefaultRecord(offset=0, timestamp=${BASE_TIME}, key=0 bytes, value=5 bytes)`);
    expect(wordsFor(plain.slice(), {})).toEqual(seen);
    expect(wordsFor(inCodec(plain, Codec.gzip), { targetCodec: Codec.lz4 })).toEqual(seen);
    const skimmed = words(`PartialDefaultRecord(offset=0, timestamp=${BASE_TIME}, key=-1 bytes, value=5 bytes)`);
    expect(wordsFor(inCodec(plain, Codec.gzip), { targetCodec: Codec.gzip })).toEqual(skimmed);
  });

  maybe("LogAppendTime is stamped on what is stored", () => {
    const checked = store(makeBatch(made), { targetCodec: Codec.snappy, isLogAppendTime: true });
    expect(readStoredBatch(checked.view, 0)).toMatchObject({ attributes: attributes | 0x08 | Codec.snappy, maxTimestampMs: BASE_TIME });
    expect(checked.view.getUint32(17)).toBe(tableCrc32c(checked.bytes, 21, checked.bytes.length));
  });
});
