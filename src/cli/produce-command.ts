/**
 * `weir produce TOPIC`: a record for each line of stdin. Lines are sent as they come: what one read brings goes out in batches by partition, and the next
 * read waits for the acknowledgements, so memory is bounded by one read and a line. Exit code 0 means that every line was acknowledged.
 */
import { Trouble } from "../base/trouble.ts";
import { partitionOfKey } from "../client/partitioner.ts";
import { Producer } from "../client/producer.ts";
import { loadAddon } from "../native/load-addon.ts";
import { Codec } from "../protocol/compression.ts";
import type { RecordInput } from "../protocol/records.ts";
import type { BrokerSession } from "./broker-session.ts";
import { renderJson } from "./output.ts";

export interface ProduceArguments {
  readonly topic: string;
  /** A line's key ends here; undefined: no keys. */
  readonly keySeparator: string | undefined;
  /** undefined: by key, or any. */
  readonly partition: number | undefined;
  readonly acks: string;
  readonly compression: string;
  readonly isIdempotent: boolean;
}

const ACKS: Readonly<Record<string, -1 | 0 | 1>> = { all: -1, "-1": -1, "1": 1, "0": 0 };
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const MAX_LINE_BYTES = 64 * 1024 * 1024;

const usage = (message: string, remedy: string): Trouble => new Trouble({ code: "usage", message, remedy, retryable: false, exitCode: 2 });

export function parseAcks(text: string): -1 | 0 | 1 {
  const acks = ACKS[text];
  if (acks === undefined) throw usage(`--acks ${text} is not known`, "--acks must be all, 1 or 0");
  return acks;
}

export function parseCompression(text: string): number {
  const codec = new Map<string, number>(Object.entries(Codec)).get(text);
  if (codec === undefined) throw usage(`--compression ${text} is not known`, `it must be one of ${Object.keys(Codec).join(", ")}`);
  return codec;
}

/** Lines without their end; a last line without one counts, an empty rest does not. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<readonly Uint8Array[]> {
  let rest: Uint8Array = new Uint8Array(0);
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const lines: Uint8Array[] = [];
    let from = 0;
    for (let at = bytes.indexOf(LINE_FEED); at >= 0; at = bytes.indexOf(LINE_FEED, from)) {
      lines.push(bytes.subarray(from, at > from && bytes[at - 1] === CARRIAGE_RETURN ? at - 1 : at));
      from = at + 1;
    }
    rest = bytes.subarray(from);
    if (rest.length > MAX_LINE_BYTES) throw usage(`a line has more than ${MAX_LINE_BYTES} bytes`, "a record is one line");
    if (lines.length > 0) yield lines;
  }
  if (rest.length > 0) yield [rest];
}

/** Throws Trouble "usage" for a line without the separator. */
export function parseRecord(line: Uint8Array, separator: Uint8Array | undefined, timestamp: bigint): RecordInput {
  if (separator === undefined) return { timestamp, key: null, value: line };
  const at = Buffer.from(line.buffer, line.byteOffset, line.length).indexOf(separator);
  if (at >= 0) return { timestamp, key: line.subarray(0, at), value: line.subarray(at + separator.length) };
  throw usage("a line has no key separator", "each line must be KEY, the separator, VALUE");
}

export async function produce(session: BrokerSession, args: ProduceArguments, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  const { client, output, print } = session;
  const acks = parseAcks(args.acks);
  const codec = parseCompression(args.compression);
  if (args.keySeparator === "") throw usage("--key-separator is empty", "give at least one character");
  const separator = args.keySeparator === undefined ? undefined : Buffer.from(args.keySeparator);
  const addon = loadAddon();
  const partitionCount = await openTopic(session, args);
  const producer = new Producer({
    client,
    topic: args.topic,
    acks,
    isIdempotent: args.isIdempotent && acks === -1,
    codec,
    blocks: addon,
    crc32c: (bytes, start, end) => addon.crc32c(bytes, start, end),
  });
  const counts = new Map<number, number>();
  for await (const lines of readLines(chunks)) {
    const timestamp = BigInt(client.options.clock.wallMs());
    const anyPartition = client.options.random.nextInt(partitionCount);
    const byPartition = new Map<number, RecordInput[]>();
    for (const line of lines) {
      const record = parseRecord(line, separator, timestamp);
      const partition = args.partition ?? (record.key === null ? anyPartition : partitionOfKey(record.key, partitionCount));
      const records = byPartition.get(partition);
      if (records === undefined) byPartition.set(partition, [record]);
      else records.push(record);
    }
    await Promise.all([...byPartition].map(([partition, records]) => producer.send(partition, records)));
    for (const [partition, records] of byPartition) counts.set(partition, (counts.get(partition) ?? 0) + records.length);
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  if (output === "json") await print(renderJson({ topic: args.topic, records: total, partitions: Object.fromEntries(counts) }));
  return 0;
}

/** Partitions of the topic, which the broker makes where it creates topics by itself. */
async function openTopic({ client }: BrokerSession, { topic, partition }: ProduceArguments): Promise<number> {
  const count = await client.retrying(async () => {
    const [info] = await client.topics([topic], true);
    return info?.partitions.length ?? 0;
  });
  if (partition === undefined || partition < count) return count;
  throw new Trouble({
    code: "usage",
    message: `--partition ${partition}: topic ${topic} has ${count} partitions`,
    remedy: `choose one of 0 to ${count - 1}`,
    retryable: false,
    exitCode: 2,
  });
}
