/** Record batches against Apache Kafka's own, with every codec, both ways. */
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Codec, compress, decompress } from "../../../src/protocol/compression.ts";
import { Reader } from "../../../src/protocol/reader.ts";
import {
  batchAttributes,
  batchCrcMatches,
  batchStarts,
  COMPRESSION_MASK,
  CONTROL_BIT,
  DELETE_HORIZON_BIT,
  LOG_APPEND_TIME_BIT,
  readBatchHeader,
  TRANSACTIONAL_BIT,
} from "../../../src/protocol/record-batch.ts";
import { type BatchOptions, buildBatch, iterateRecords, type RecordInput } from "../../../src/protocol/records.ts";
import { Writer } from "../../../src/protocol/writer.ts";
import { blockCodecs, hasAddon } from "../../unit/protocol/block-codecs.ts";
import { crc32cTable } from "../../unit/protocol/crc32c-table.ts";
import { SeededRandom } from "../../unit/protocol/seeded-random.ts";
import { findKafkaJars } from "./kafka-jars.ts";
import { type Answer, askOracle, textOf } from "./oracle.ts";

const jars = findKafkaJars();
const ROUNDS = 40;
const TIMEOUT_MS = 120_000;
const MAX_BYTES = 1 << 22;
const unpack = (codec: number, payload: Uint8Array): Uint8Array => decompress(codec, payload, MAX_BYTES, blockCodecs);

function hex(bytes: Uint8Array | null): string {
  return bytes === null ? "null" : `x${Buffer.from(bytes).toString("hex")}`;
}

/** The same text that the oracle makes. */
function describeBatches(bytes: Uint8Array): string {
  let text = "";
  for (const at of batchStarts(bytes)) {
    expect(batchCrcMatches(bytes, at, crc32cTable)).toBe(true);
    const header = readBatchHeader(bytes, at);
    const has = (bit: number): boolean => (header.attributes & bit) !== 0;
    const lastOffset = header.baseOffset + BigInt(header.lastOffsetDelta);
    text += `batch ${header.baseOffset} ${lastOffset} ${header.sizeBytes} ${header.partitionLeaderEpoch} ${header.attributes & COMPRESSION_MASK} `;
    text += `${has(LOG_APPEND_TIME_BIT)} ${has(TRANSACTIONAL_BIT)} ${has(CONTROL_BIT)} ${header.maxTimestamp} ${header.producerId} `;
    text += `${header.producerEpoch} ${header.baseSequence} ${header.recordCount} ${has(DELETE_HORIZON_BIT) ? header.baseTimestamp : "-"}\n`;
    for (const record of iterateRecords(bytes, at, unpack)) {
      const headers = record.headers.map(({ key, value }) => ` ${hex(new TextEncoder().encode(key))}=${hex(value)}`).join("");
      text += `${record.offset} ${record.timestamp} ${hex(record.key)} ${hex(record.value)}${headers}\n`;
    }
  }
  return text;
}

/** Kafka's default level, and others of each codec. */
const LEVELS: ReadonlyMap<number, readonly (number | undefined)[]> = new Map([
  [Codec.gzip, [undefined, 1, 9]],
  [Codec.lz4, [undefined, 1, 8, 17]],
  [Codec.zstd, [undefined, -20, 1, 19]],
]);

function randomOptions(random: SeededRandom, codec: number): BatchOptions {
  const levels = LEVELS.get(codec) ?? [undefined];
  const level = levels[random.int(levels.length)];
  const maybe = (most: number): Uint8Array | null => (random.chance(0.1) ? null : random.bytes(random.int(most)));
  const records: RecordInput[] = Array.from({ length: 1 + random.int(30) }, (_, i) => ({
    timestamp: 1_700_000_000_000n + BigInt(random.int(1000) - 500),
    key: maybe(20),
    value: random.chance(0.5) ? maybe(400) : new Uint8Array(random.int(40_000)).fill(i),
    headers: Array.from({ length: random.int(3) }, (_unused, n) => ({ key: `h${n}é`, value: maybe(10) })),
  }));
  const producer = random.chance(0.5)
    ? { producerId: BigInt(random.int(2 ** 31)), producerEpoch: random.int(100), baseSequence: random.int(1000) }
    : {};
  return {
    records,
    baseOffset: BigInt(random.int(2 ** 31)) * 1000n,
    partitionLeaderEpoch: random.int(50),
    ...producer,
    transactional: "producerId" in producer && random.chance(0.5),
    ...(random.chance(0.2) ? { logAppendTimeMs: 1_800_000_000_000n } : {}),
    ...(random.chance(0.2) ? { deleteHorizonMs: 1_700_000_000_000n } : {}),
    ...(codec === Codec.none ? {} : { codec: { id: codec, compress: (payload) => compress(codec, payload, blockCodecs, level) } }),
  };
}

/** Options that build the batch at 0 again. */
function optionsOf(bytes: Uint8Array): BatchOptions {
  const header = readBatchHeader(bytes, 0);
  const appendTime = (header.attributes & LOG_APPEND_TIME_BIT) !== 0;
  // An append time hides the records' own: read them without it.
  const plain = bytes.slice();
  plain[22] = plain[22]! & ~LOG_APPEND_TIME_BIT;
  return {
    records: [...iterateRecords(plain, 0)],
    baseOffset: header.baseOffset,
    partitionLeaderEpoch: header.partitionLeaderEpoch,
    producerId: header.producerId,
    producerEpoch: header.producerEpoch,
    baseSequence: header.baseSequence,
    transactional: (header.attributes & TRANSACTIONAL_BIT) !== 0,
    ...(appendTime ? { logAppendTimeMs: header.maxTimestamp } : {}),
  };
}

interface Checked {
  readonly batches: Uint8Array[];
  /** What Kafka says of each. */
  readonly described: string[];
}

describe.skipIf("missing" in jars)(`Kafka's record batches${"missing" in jars ? ` (skipped: ${jars.missing})` : ""}`, () => {
  const ours = new Map<number, Checked>();
  const kafkas = new Map<number, Checked>();
  const codecs = Object.entries(Codec).filter(([, codec]) => codec !== Codec.lz4 || hasAddon);

  /** One run of Java for all of it. */
  beforeAll(async () => {
    const commands = new Writer(1 << 20);
    for (const [, codec] of codecs) {
      const random = new SeededRandom(codec);
      const batches = Array.from({ length: ROUNDS }, () => new Uint8Array(buildBatch(randomOptions(random, codec), crc32cTable)));
      batches.push(new Uint8Array(Buffer.concat(batches.slice(0, 3))));
      ours.set(codec, { batches, described: [] });
      for (const bytes of batches) {
        commands.writeInt8("D".charCodeAt(0));
        commands.writeBytes(bytes);
      }
      for (let seed = 0; seed < ROUNDS; seed++) {
        commands.writeInt8("G".charCodeAt(0));
        commands.writeInt8(codec);
        commands.writeInt64(BigInt(seed));
      }
    }
    const folder = mkdtempSync(join(tmpdir(), "records-oracle-"));
    try {
      sortAnswers(await askOracle(jars, "RecordsOracle.java", folder, commands));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, TIMEOUT_MS);

  function sortAnswers(answers: Answer[]): void {
    let next = 0;
    for (const [, codec] of codecs) {
      const mine = ours.get(codec)!;
      for (let i = 0; i < mine.batches.length; i++) mine.described.push(textOf(answers[next++]));
      const theirs: Checked = { batches: [], described: [] };
      for (let i = 0; i < ROUNDS; i++) {
        const answer = answers[next++];
        if (answer?.ok !== true) throw new Error(textOf(answer));
        const reader = new Reader(answer.bytes);
        theirs.batches.push(reader.readBytes("batch").slice());
        theirs.described.push(new TextDecoder().decode(reader.readRaw(reader.remaining)));
      }
      kafkas.set(codec, theirs);
    }
  }

  for (const [name, codec] of Object.entries(Codec)) {
    const available = codec !== Codec.lz4 || hasAddon;
    const reason = available ? "" : " (skipped: the addon is not built)";

    test.skipIf(!available)(`${name}: Kafka reads what we build${reason}`, () => {
      const { batches, described } = ours.get(codec)!;
      expect(batches.length).toBe(ROUNDS + 1);
      batches.forEach((bytes, i) => {
        expect(described[i]).toBe(describeBatches(bytes));
      });
    });

    test.skipIf(!available)(`${name}: we read what Kafka builds${reason}`, () => {
      const { batches, described } = kafkas.get(codec)!;
      expect(batches.length).toBe(ROUNDS);
      batches.forEach((bytes, i) => {
        expect(batchAttributes(bytes, 0) & COMPRESSION_MASK).toBe(codec);
        expect(describeBatches(bytes)).toBe(described[i]!);
        if (codec === Codec.none) expect(Buffer.compare(buildBatch(optionsOf(bytes), crc32cTable), bytes)).toBe(0);
      });
    });
  }
});
