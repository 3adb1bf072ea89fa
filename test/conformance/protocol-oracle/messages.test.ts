/**
 * Byte equality with Apache Kafka's own message classes, both ways: what we write, Kafka reads to its end and writes the same; what Kafka
 * writes from random fields, we read to its end and write the same.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EncodeError } from "../../../src/protocol/codec-error.ts";
import { Reader } from "../../../src/protocol/reader.ts";
import { Writer } from "../../../src/protocol/writer.ts";
import { type Codec, codecs, encode, newMessage } from "../../unit/protocol/codecs.ts";
import { definitionOf, randomMessage } from "../../unit/protocol/random-message.ts";
import { SeededRandom } from "../../unit/protocol/seeded-random.ts";
import { findKafkaJars } from "./kafka-jars.ts";
import { type Answer, askOracle, textOf } from "./oracle.ts";

const jars = findKafkaJars();
const ROUNDS = 8;
const DOWNGRADE_ROUNDS = 6;
const REFUSED = "refused";
const TIMEOUT_MS = 180_000;

interface Case {
  readonly codec: Codec;
  readonly version: number;
  readonly label: string;
}

function eachCase(): Case[] {
  const cases: Case[] = [];
  for (const codec of codecs) {
    for (let version = codec.minVersion; version <= codec.maxVersion; version++) {
      for (let round = 0; round < ROUNDS; round++) cases.push({ codec, version, label: `${codec.name} v${version} #${round}` });
    }
  }
  return cases;
}

function javaClass(name: string): string {
  const { kind } = definitionOf(name);
  if (kind === "request" || kind === "response" || kind === "header") return `org.apache.kafka.common.message.${name}Data`;
  if (kind === "data") return `org.apache.kafka.common.message.${name}`;
  const coordinator = name.startsWith("TransactionLog") ? "transaction" : /^Share(Snapshot|Update)/.test(name) ? "share" : "group";
  return `org.apache.kafka.coordinator.${coordinator}.generated.${name}`;
}

function writeUtf(writer: Writer, text: string): void {
  writer.writeInt16(text.length);
  writer.writeRaw(new TextEncoder().encode(text));
}

describe.skipIf("missing" in jars)(`Kafka's message classes${"missing" in jars ? ` (skipped: ${jars.missing})` : ""}`, () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "protocol-oracle-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const ask = (commands: Writer): Promise<Answer[]> => askOracle(jars, "ProtocolOracle.java", folder, commands);

  test(
    "read what we write, and write the same bytes",
    async () => {
      const cases = eachCase();
      const sent: Uint8Array[] = [];
      const commands = new Writer(1 << 20);
      cases.forEach(({ codec, version }, index) => {
        const message = randomMessage(definitionOf(codec.name), version, new SeededRandom(index), { unknownTags: index % 2 === 0 });
        const bytes = encode(codec, message, version);
        sent.push(bytes);
        commands.writeInt8("R".charCodeAt(0));
        writeUtf(commands, javaClass(codec.name));
        commands.writeInt16(version);
        commands.writeBytes(bytes);
      });
      const answers = await ask(commands);
      expect(answers.length).toBe(cases.length);
      const wrong = cases.flatMap(({ label }, i) => {
        const { ok, bytes } = answers[i]!;
        if (!ok) return [`${label}: ${textOf(answers[i])}`];
        return Buffer.compare(bytes, sent[i]!) === 0 ? [] : [`${label}: ${hex(sent[i]!)} became ${hex(bytes)}`];
      });
      expect(wrong.slice(0, 20)).toEqual([]);
      expect(cases.length).toBeGreaterThan(4000);
    },
    TIMEOUT_MS,
  );

  test(
    "make random messages, which we read to their end and write the same",
    async () => {
      const cases = eachCase();
      const commands = new Writer(1 << 20);
      cases.forEach(({ codec, version }, index) => {
        commands.writeInt8("G".charCodeAt(0));
        writeUtf(commands, javaClass(codec.name));
        commands.writeInt16(version);
        commands.writeInt64(BigInt(index));
      });
      const answers = await ask(commands);
      expect(answers.length).toBe(cases.length);
      const wrong = cases.flatMap(({ codec, version, label }, i) => {
        const { ok, bytes } = answers[i]!;
        if (!ok) return [`${label}: ${textOf(answers[i])}`];
        try {
          const reader = new Reader(bytes.slice());
          const message = codec.read(reader, version);
          reader.expectEnd();
          const again = encode(codec, message, version);
          return Buffer.compare(bytes, again) === 0 ? [] : [`${label}: ${hex(bytes)} became ${hex(again)}`];
        } catch (error) {
          return [`${label}: ${String(error)} in ${hex(bytes)}`];
        }
      });
      expect(wrong.slice(0, 20)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test(
    "have the same defaults in every version",
    async () => {
      const commands = new Writer(1 << 16);
      const sent: { readonly label: string; readonly text: string }[] = [];
      for (const codec of codecs) {
        const message = await newMessage(codec.name);
        for (let version = codec.minVersion; version <= codec.maxVersion; version++) {
          sent.push({ label: `${codec.name} v${version}`, text: hex(encode(codec, message, version)) });
          commands.writeInt8("N".charCodeAt(0));
          writeUtf(commands, javaClass(codec.name));
          commands.writeInt16(version);
        }
      }
      const answers = await ask(commands);
      const got = answers.map(({ ok, bytes }, i) => ({ label: sent[i]?.label, text: ok ? hex(bytes) : textOf(answers[i]) }));
      expect(got.filter(({ text }, i) => text !== sent[i]?.text)).toEqual([]);
      expect(got.length).toBe(sent.length);
    },
    TIMEOUT_MS,
  );

  test(
    "accept and refuse the same values in older versions, and write the same bytes",
    async () => {
      const commands = new Writer(1 << 20);
      const sent: { readonly label: string; readonly text: string }[] = [];
      for (const codec of codecs) {
        const { maxVersion } = codec;
        for (let target = codec.minVersion; target < maxVersion; target++) {
          for (let round = 0; round < DOWNGRADE_ROUNDS; round++) {
            const random = new SeededRandom(sent.length);
            const message = randomMessage(definitionOf(codec.name), maxVersion, random, { unknownTags: round === 0, defaults: 0.7 });
            sent.push({ label: `${codec.name} v${maxVersion} as v${target}`, text: encodeOrRefuse(codec, message, target) });
            commands.writeInt8("C".charCodeAt(0));
            writeUtf(commands, javaClass(codec.name));
            commands.writeInt16(maxVersion);
            commands.writeBytes(encode(codec, message, maxVersion));
            commands.writeInt16(target);
          }
        }
      }
      const answers = await ask(commands);
      const wrong = answers.flatMap(({ ok, bytes }, i) => {
        const { label, text } = sent[i]!;
        const kafka = ok ? hex(bytes) : REFUSED;
        return kafka === text ? [] : [`${label}: ours ${text}, Kafka's ${ok ? kafka : textOf(answers[i])}`];
      });
      expect(wrong.slice(0, 20)).toEqual([]);
      expect(answers.length).toBe(sent.length);
      const refused = sent.filter(({ text }) => text === REFUSED).length;
      expect(refused).toBeGreaterThan(100);
      expect(sent.length - refused).toBeGreaterThan(100);
    },
    TIMEOUT_MS,
  );
});

function encodeOrRefuse(codec: Codec, message: unknown, version: number): string {
  try {
    return hex(encode(codec, message, version));
  } catch (error) {
    if (error instanceof EncodeError) return REFUSED;
    throw error;
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
