/**
 * `weir consume TOPIC`: records of assigned partitions to stdout, as text or JSON lines. Ends at --max-messages, at the end as it was at the start with
 * --until-end, or when nobody reads its output. Records of a partition come in order; those of several are interleaved.
 */
import { Trouble } from "../base/trouble.ts";
import { type ConsumedRecord, Consumer, EARLIEST, LATEST, readOffsets } from "../client/consumer.ts";
import type { TopicInfo } from "../client/kafka-client.ts";
import { loadAddon } from "../native/load-addon.ts";
import type { BrokerSession } from "./broker-session.ts";
import { renderJson } from "./output.ts";

export interface ConsumeArguments {
  readonly topic: string;
  /** Empty: all. */
  readonly partitions: readonly number[];
  readonly from: string;
  readonly maxMessages: number | undefined;
  readonly untilEnd: boolean;
  readonly format: string;
  readonly keySeparator: string;
}

export type From = { readonly kind: "place"; readonly timestamp: bigint } | { readonly kind: "offset"; readonly offset: bigint };
export type Format = "value" | "key-value" | "json";

/** The longest that a round waits for records. */
const POLL_MS = 500;

const usage = (message: string, remedy: string): Trouble => new Trouble({ code: "usage", message, remedy, retryable: false, exitCode: 2 });

/** "beginning", "latest", an offset ("17"), or a time ("2026-05-01T12:00:00Z"; "@1767225600000" in ms). Throws Trouble "usage". */
export function parseFrom(text: string): From {
  if (text === "beginning" || text === "earliest") return { kind: "place", timestamp: EARLIEST };
  if (text === "latest" || text === "end") return { kind: "place", timestamp: LATEST };
  if (/^\d{1,18}$/.test(text)) return { kind: "offset", offset: BigInt(text) };
  if (/^@\d{1,16}$/.test(text)) return { kind: "place", timestamp: BigInt(text.slice(1)) };
  const timeMs = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(timeMs)) return { kind: "place", timestamp: BigInt(timeMs) };
  throw usage(`--from ${text} is no place`, "give beginning, latest, an offset, a time like 2026-05-01T12:00:00Z, or @MILLISECONDS");
}

export function parseFormat(text: string): Format {
  if (text === "value" || text === "key-value" || text === "json") return text;
  throw usage(`--format ${text} is not known`, "--format must be value, key-value or json");
}

const text = (bytes: Uint8Array | null): string =>
  bytes === null ? "" : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
const nullableText = (bytes: Uint8Array | null): string | null => (bytes === null ? null : text(bytes));

export function renderRecord(record: ConsumedRecord, topic: string, format: Format, keySeparator: string): string {
  if (format === "value") return `${text(record.value)}\n`;
  if (format === "key-value") return `${record.key === null ? "null" : text(record.key)}${keySeparator}${text(record.value)}\n`;
  return renderJson({
    topic,
    partition: record.partition,
    offset: record.offset,
    timestamp: record.timestamp,
    key: nullableText(record.key),
    value: nullableText(record.value),
    headers: record.headers.map((header) => ({ key: header.key, value: nullableText(header.value) })),
  });
}

export async function consume(session: BrokerSession, args: ConsumeArguments): Promise<number> {
  const { client, print } = session;
  const format = session.output === "json" ? "json" : parseFormat(args.format);
  const from = parseFrom(args.from);
  const found = await client.retrying(async () => {
    const [topic] = await client.topics([args.topic]);
    if (topic === undefined) throw usage(`topic ${args.topic} has no metadata`, "name a topic");
    const [ends, starts] = await Promise.all([readOffsets(client, topic, LATEST), findStarts(session, topic, from)]);
    return { topic, ends, starts };
  });
  const positions = choosePositions(found.topic, args.partitions, found.starts, found.ends);
  const consumer = new Consumer(client, found.topic, positions, loadAddon());
  const dropFinished = (): void => {
    for (const [partition, offset] of consumer.positions) if (offset >= (found.ends.get(partition) ?? 0n)) consumer.drop(partition);
  };
  let left = args.maxMessages ?? Number.POSITIVE_INFINITY;
  if (args.untilEnd) dropFinished();
  while (left > 0 && consumer.positions.size > 0) {
    const polled = await consumer.poll(POLL_MS);
    const wanted = args.untilEnd ? polled.filter((record) => record.offset < (found.ends.get(record.partition) ?? 0n)) : polled;
    const records = wanted.slice(0, Math.min(left, wanted.length));
    left -= records.length;
    const isRead = await print(records.map((record) => renderRecord(record, args.topic, format, args.keySeparator)).join(""));
    if (!isRead) return 0;
    if (args.untilEnd) dropFinished();
  }
  return 0;
}

async function findStarts({ client }: BrokerSession, topic: TopicInfo, from: From): Promise<ReadonlyMap<number, bigint>> {
  if (from.kind === "place") return readOffsets(client, topic, from.timestamp);
  return new Map(topic.partitions.map(({ partition }) => [partition, from.offset]));
}

/** A time that no record reaches begins at the end. */
function choosePositions(
  topic: TopicInfo,
  chosen: readonly number[],
  starts: ReadonlyMap<number, bigint>,
  ends: ReadonlyMap<number, bigint>,
): ReadonlyMap<number, bigint> {
  const all = topic.partitions.map(({ partition }) => partition);
  const unknown = chosen.find((partition) => !all.includes(partition));
  if (unknown !== undefined)
    throw usage(`--partition ${unknown}: topic ${topic.name} has ${all.length} partitions`, `choose one of 0 to ${all.length - 1}`);
  const wanted = chosen.length === 0 ? all : chosen;
  return new Map(
    wanted.map((partition) => {
      const start = starts.get(partition) ?? -1n;
      return [partition, start < 0n ? (ends.get(partition) ?? 0n) : start];
    }),
  );
}
