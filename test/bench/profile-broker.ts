/**
 * CPU seconds of the broker per GB of record batches, for one load and one or more executables in turn, so that a change is measured against
 * what it changes in alternating pairs.
 *
 *   bun test/bench/profile-broker.ts --weir PATH [--weir PATH ...] [--load big|small|single|ring|device|objects] [--pairs N] [--gb N] [--warm-gb N]
 *                                    [--data letters|random|json] [--rate MB/S] [--perf FILE] [--setting KEY=VALUE ...]
 *
 * Loads: `big` produces 950 kB batches over two connections, five outstanding each; `small` the same with 16 kB batches; `single` one 16 kB request at a
 * time; `ring`, `device`, `objects` produce first and then measure one consumer that fetches 1 MB at a time from there. Produce ends when everything
 * lies in committed objects. What is measured comes after `--warm-gb` of the same load, so that neither the just-in-time compiler nor the ring's first
 * lap is counted. CPU is user and system time of all threads of the broker (/proc/PID/stat). The load is prepared requests: its own
 * CPU is not counted. `--rate` paces a produce, so that what is compared does the same work in the same time. `--perf FILE` records the measured stretch with perf(1).
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadAddon } from "../../src/native/load-addon.ts";
import { createTopicsApi, newCreatableTopic, newCreateTopicsRequest } from "../../src/protocol/messages/create-topics.ts";
import { fetchApi, newFetchPartition, newFetchRequest, newFetchTopic } from "../../src/protocol/messages/fetch.ts";
import { writeRequestHeader } from "../../src/protocol/messages/headers.ts";
import { newPartitionProduceData, newProduceRequest, newTopicProduceData, produceApi } from "../../src/protocol/messages/produce.ts";
import { Writer } from "../../src/protocol/writer.ts";
import { WeirProcess } from "../support/weir-process.ts";

const { values: given } = parseArgs({
  options: {
    weir: { type: "string", multiple: true, default: ["dist/weir"] },
    load: { type: "string", default: "big" },
    pairs: { type: "string", default: "1" },
    gb: { type: "string" },
    "warm-gb": { type: "string" },
    data: { type: "string", default: "letters" },
    perf: { type: "string" },
    rate: { type: "string" },
    setting: { type: "string", multiple: true, default: [] },
  },
});

interface Load {
  readonly batchBytes: number;
  readonly connections: number;
  readonly outstanding: number;
  readonly warmGb: number;
  readonly gb: number;
  /** Fetch what was produced, from its start; else measure the produce. */
  readonly isFetch: boolean;
  readonly settings: Readonly<Record<string, string>>;
}

const produce = { connections: 2, outstanding: 5, isFetch: false, settings: {} };
const fetching = { batchBytes: 950_000, connections: 2, outstanding: 5, isFetch: true };
const loads: Readonly<Record<string, Load>> = {
  big: { ...produce, batchBytes: 950_000, warmGb: 1, gb: 2 },
  small: { ...produce, batchBytes: 16_000, warmGb: 0.3, gb: 0.4 },
  single: { ...produce, batchBytes: 16_000, connections: 1, outstanding: 1, warmGb: 0.03, gb: 0.06 },
  ring: { ...fetching, warmGb: 0.2, gb: 0.2, settings: { "ring.capacity.bytes": String(2 ** 30) } },
  device: { ...fetching, warmGb: 0.3, gb: 0.6, settings: { "ring.capacity.bytes": String(2 ** 26) } },
  objects: { ...fetching, warmGb: 0.3, gb: 0.6, settings: { "ring.capacity.bytes": String(2 ** 26), walMiB: "256" } },
};

const recordBytes = 1_000;
const topicName = "profile";
const addon = loadAddon();
/** Distinct batches: more than a compressor's window sees. */
const distinctBytes = 32_000_000;

let seed = 0x9e3779b9;
const nextRandom = (): number => {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return seed >>> 0;
};

function fillValue(value: Uint8Array, kind: string): void {
  if (kind === "json") {
    let text = "";
    while (text.length < value.length) {
      const n = nextRandom();
      text += `{"id":${n},"user":"user-${n % 5000}","event":"${["view", "click", "purchase", "scroll"][n & 3]}","price":${(n % 10000) / 100},"session":"${(n * 7).toString(36)}"}\n`;
    }
    Buffer.from(value.buffer, value.byteOffset, value.length).write(text, "latin1");
    return;
  }
  for (let i = 0; i < value.length; i++) {
    const n = nextRandom() >>> 8;
    value[i] = kind === "random" ? n & 0xff : 65 + (n % 26);
  }
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value * 2;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return bytes;
}

function makeBatch(batchBytes: number, kind: string): Buffer {
  const records: Buffer[] = [];
  const count = Math.floor((batchBytes - 61) / (recordBytes + 10));
  for (let i = 0; i < count; i++) {
    const value = Buffer.alloc(recordBytes);
    fillValue(value, kind);
    const head = Buffer.from([0, 0, ...varint(i), 1, ...varint(recordBytes)]);
    records.push(Buffer.from(varint(head.length + recordBytes + 1)), head, value, Buffer.from([0]));
  }
  const payload = Buffer.concat(records);
  const batch = Buffer.alloc(61 + payload.length);
  const timestamp = BigInt(Date.now());
  batch.writeInt32BE(batch.length - 12, 8);
  batch.writeInt32BE(-1, 12);
  batch.writeInt8(2, 16);
  batch.writeInt32BE(count - 1, 23);
  batch.writeBigInt64BE(timestamp, 27);
  batch.writeBigInt64BE(timestamp, 35);
  batch.writeBigInt64BE(-1n, 43);
  batch.writeInt16BE(-1, 51);
  batch.writeInt32BE(-1, 53);
  batch.writeInt32BE(count, 57);
  payload.copy(batch, 61);
  batch.writeUInt32BE(addon.crc32c(batch, 21, batch.length), 17);
  return batch;
}

interface Encodable<Request> {
  readonly key: number;
  requestHeaderVersion(version: number): number;
  writeRequest(writer: Writer, request: Request, version: number): void;
}

function encode<Request>(api: Encodable<Request>, version: number, request: Request): Buffer {
  const writer = new Writer();
  writer.reserveFrameLength();
  const header = { requestApiKey: api.key, requestApiVersion: version, correlationId: 1, clientId: "profile" };
  writeRequestHeader(writer, header, api.requestHeaderVersion(version));
  api.writeRequest(writer, request, version);
  return Buffer.concat(writer.finish().pieces.map((piece) => Buffer.from(piece as Uint8Array)));
}

function produceRequest(batch: Buffer): Buffer {
  const topicData = [newTopicProduceData({ name: topicName, partitionData: [newPartitionProduceData({ index: 0, records: batch })] })];
  return encode(produceApi, 9, newProduceRequest({ acks: -1, timeoutMs: 30_000, topicData }));
}

/** A connection that counts answers and hands each, as its first bytes, to `answered`. */
class Link {
  private readonly socket: Promise<Bun.Socket>;
  private readonly unsent: { bytes: Uint8Array; at: number }[] = [];
  private head = Buffer.alloc(0);
  private left = 0;

  constructor(port: number, answered: (head: Buffer) => void, keepBytes: number) {
    const take = (chunk: Buffer): void => {
      for (let at = 0; at < chunk.length; ) {
        if (this.left === 0) {
          const missing = 4 - this.head.length;
          this.head = Buffer.concat([this.head, chunk.subarray(at, at + missing)]);
          at += Math.min(missing, chunk.length - at);
          if (this.head.length < 4) return;
          this.left = this.head.readInt32BE(0);
          this.head = Buffer.alloc(0);
        }
        const taken = Math.min(this.left, chunk.length - at);
        if (this.head.length < keepBytes)
          this.head = Buffer.concat([this.head, chunk.subarray(at, at + Math.min(taken, keepBytes - this.head.length))]);
        this.left -= taken;
        at += taken;
        if (this.left > 0) return;
        const head = this.head;
        this.head = Buffer.alloc(0);
        answered(head);
      }
    };
    this.socket = Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: { data: (_, chunk) => take(chunk as Buffer), drain: () => this.flush(), close: () => {}, error: () => {} },
    });
  }

  async open(): Promise<this> {
    this.opened = await this.socket;
    this.opened.setNoDelay(true);
    return this;
  }
  private opened: Bun.Socket | undefined;

  send(bytes: Uint8Array): void {
    this.unsent.push({ bytes, at: 0 });
    if (this.unsent.length === 1) this.flush();
  }

  private flush(): void {
    for (let first = this.unsent[0]; first !== undefined; first = this.unsent[0]) {
      first.at += Math.max(0, this.opened?.write(first.bytes.subarray(first.at)) ?? 0);
      if (first.at < first.bytes.length) return;
      this.unsent.shift();
    }
  }

  close(): void {
    this.opened?.end();
  }
}

async function ask(port: number, request: Buffer): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const link = await new Link(port, resolve, 65_536).open();
  link.send(request);
  const answer = await promise;
  link.close();
  return answer;
}

async function createTopic(port: number): Promise<void> {
  const topics = [newCreatableTopic({ name: topicName, numPartitions: 1, replicationFactor: 1 })];
  await ask(port, encode(createTopicsApi, 5, newCreateTopicsRequest({ topics, timeoutMs: 30_000 })));
}

/** Latencies in ms. */
async function runProduce(port: number, load: Load, requests: readonly Buffer[], count: number): Promise<number[]> {
  const latencies: number[] = [];
  let sent = 0;
  let answered = 0;
  const startedMs = performance.now();
  const msPerBatch = given.rate === undefined ? 0 : load.batchBytes / 1000 / Number(given.rate);
  const { promise, resolve } = Promise.withResolvers<void>();
  const links: Link[] = [];
  for (let i = 0; i < load.connections; i++) {
    const started: number[] = [];
    const next = (): void => {
      if (sent >= count) return;
      const waitMs = startedMs + sent * msPerBatch - performance.now();
      if (waitMs > 1) {
        setTimeout(next, waitMs);
        return;
      }
      started.push(performance.now());
      link.send(requests[sent++ % requests.length] as Buffer);
    };
    const link: Link = await new Link(
      port,
      () => {
        latencies.push(performance.now() - (started.shift() as number));
        if (++answered === count) resolve();
        else next();
      },
      0,
    ).open();
    links.push(link);
    for (let k = 0; k < load.outstanding; k++) next();
  }
  await promise;
  for (const link of links) link.close();
  return latencies;
}

/** Fetches from `fromOffset` until `bytes` have come; answers the next offset. */
async function runFetch(port: number, fromOffset: number, bytes: number): Promise<number> {
  let offset = fromOffset;
  let got = 0;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const send = (): void => {
    const partitions = [newFetchPartition({ partition: 0, fetchOffset: BigInt(offset), partitionMaxBytes: 1_048_576 })];
    const topics = [newFetchTopic({ topic: topicName, partitions })];
    link.send(encode(fetchApi, 10, newFetchRequest({ maxWaitMs: 500, minBytes: 1, maxBytes: 52_428_800, isolationLevel: 0, topics })));
  };
  const link: Link = await new Link(
    port,
    (head) => {
      // Version 10, the first that may see zstd (before it every batch is looked at): correlation id, throttle time, code, session, one topic (count, name),
      // one partition (count, index, code, three offsets, aborted), records.
      const records = 4 + 4 + 2 + 4 + 4 + 2 + topicName.length + 4 + 4 + 2 + 8 + 8 + 8 + 4;
      const size = head.readInt32BE(records);
      if (size <= 0) return reject(new Error(`nothing at offset ${offset}`));
      for (let at = 0; at < size; ) {
        const batch = records + 4 + at;
        if (batch + 61 > head.length) break;
        const length = head.readInt32BE(batch + 8) + 12;
        if (at + length > size) break;
        offset = Number(head.readBigInt64BE(batch)) + head.readInt32BE(batch + 23) + 1;
        at += length;
      }
      got += size;
      if (got >= bytes) resolve();
      else send();
    },
    65_536,
  ).open();
  send();
  await promise;
  link.close();
  return offset;
}

interface Counters {
  readonly userSeconds: number;
  readonly systemSeconds: number;
  readonly faults: number;
  readonly switches: number;
}

function readCounters(pid: number): Counters {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  let switches = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${task}/status`, "utf8");
    for (const match of status.matchAll(/ctxt_switches:\s+(\d+)/g)) switches += Number(match[1]);
  }
  return { faults: fields[7] ?? 0, userSeconds: (fields[11] ?? 0) / 100, systemSeconds: (fields[12] ?? 0) / 100, switches };
}

async function readMetric(port: number, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)`, "m").exec(text)?.[1] ?? Number.NaN);
}

async function waitUploaded(weir: WeirProcess, bytes: number): Promise<void> {
  while ((await readMetric(weir.httpPort, "weir_upload_payload_bytes_total")) < bytes) await Bun.sleep(100);
}

const fixed = (value: number, digits = 2): string => value.toFixed(digits);

async function measure(executable: string, load: Load): Promise<number> {
  const folder = mkdtempSync(join(process.env.PROFILE_FOLDER ?? "/var/tmp", "weir-profile-"));
  const { walMiB = "1024", ...settings } = {
    ...load.settings,
    ...Object.fromEntries(given.setting.map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)] as const)),
  };
  const weir = await WeirProcess.start({
    folder,
    executable,
    settings: {
      wal: `file:${join(folder, "wal")}?size=${walMiB}MiB`,
      "upload.interval.ms": "2000",
      "ring.capacity.bytes": String(2 ** 28),
      ...settings,
    },
  });
  const pid = weir.child.pid as number;
  try {
    await createTopic(weir.kafkaPort);
    const requests = Array.from({ length: Math.ceil(distinctBytes / load.batchBytes) }, () =>
      produceRequest(makeBatch(load.batchBytes, given.data)),
    );
    const batchBytes = makeBatch(load.batchBytes, given.data).length;
    const warmGb = Number(given["warm-gb"] ?? load.warmGb);
    const gb = Number(given.gb ?? load.gb);
    const warmCount = Math.ceil((warmGb * 1e9) / batchBytes);
    const count = Math.ceil((gb * 1e9) / batchBytes);
    let latencies = await runProduce(weir.kafkaPort, load, requests, load.isFetch ? warmCount + count : warmCount);
    await waitUploaded(weir, (load.isFetch ? warmCount + count : warmCount) * batchBytes);
    let offset = 0;
    if (load.isFetch) offset = await runFetch(weir.kafkaPort, 0, warmCount * batchBytes);
    const recorder =
      given.perf === undefined
        ? undefined
        : spawn("perf", ["record", "-q", "-F", "499", "-g", "-p", String(pid), "-o", given.perf], { stdio: "ignore" });
    if (recorder !== undefined) await Bun.sleep(500);
    const before = readCounters(pid);
    const startedMs = performance.now();
    if (load.isFetch) await runFetch(weir.kafkaPort, offset, count * batchBytes * 0.95);
    else latencies = await runProduce(weir.kafkaPort, load, requests, count);
    const seconds = (performance.now() - startedMs) / 1000;
    if (!load.isFetch) await waitUploaded(weir, (warmCount + count) * batchBytes);
    const after = readCounters(pid);
    recorder?.kill("SIGINT");
    const measuredGb = (count * batchBytes * (load.isFetch ? 0.95 : 1)) / 1e9;
    const per = (name: keyof Counters): number => (after[name] - before[name]) / measuredGb;
    latencies.sort((a, b) => a - b);
    const peakMiB = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
    const storedBytes = await readMetric(weir.httpPort, "weir_upload_object_bytes_total");
    const cpu = per("userSeconds") + per("systemSeconds");
    console.log(
      [
        executable.padEnd(30),
        given.load.padEnd(8),
        `${fixed(cpu)} CPU s/GB (user ${fixed(per("userSeconds"))}, system ${fixed(per("systemSeconds"))})`,
        `${fixed(per("faults") / 1000, 0)}k faults/GB`,
        `${fixed(per("switches") / 1000, 1)}k switches/GB`,
        `${fixed((measuredGb * 1000) / seconds, 0)} MB/s`,
        `p50 ${fixed(latencies[Math.floor(latencies.length / 2)] ?? 0, 1)} p99 ${fixed(latencies[Math.floor(latencies.length * 0.99)] ?? 0, 1)} ms`,
        `peak ${fixed(peakMiB, 0)} MiB`,
        `stored ${fixed(storedBytes / ((warmCount + count) * batchBytes), 3)}`,
      ].join("  "),
    );
    return cpu;
  } finally {
    await weir.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

const load = loads[given.load];
if (load === undefined) throw new Error(`--load is one of ${Object.keys(loads).join(", ")}`);
for (const executable of given.weir) statSync(executable);
for (let pair = 0; pair < Number(given.pairs); pair++) {
  for (const executable of given.weir) await measure(executable, load);
}
process.exit(0);
