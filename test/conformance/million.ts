/**
 * The main job on real input: the executable, its WAL on a loop block device (or a file), a real S3 server, and each client with each codec
 * sending and reading back a million records. Prints a row per run; exits 1 when any differs.
 *
 *   bun test/conformance/million.ts [--store minio|versitygw|file] [--wal loop|file] [--records N] [--partitions N]
 *                                   [--clients a,b] [--codecs a,b] [--bootstrap HOST:PORT]
 *
 * --bootstrap runs against a server that is already there (Apache Kafka, to compare) and starts nothing.
 */
import { parseArgs } from "node:util";
import { getCorpus } from "../support/corpus.ts";
import { canUseLoopDevices, LoopDevice, noLoopDevices } from "../support/loop-device.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { mustRunTool } from "../support/tools.ts";
import { WeirProcess, weirExecutable } from "../support/weir-process.ts";
import { parseStoreKind, startStore } from "../support/weir-store.ts";
import { allCodecs, type Codec, conformanceClients, perfTools } from "./clients.ts";
import { type RoundTrip, runPerfToolRoundTrip, runRoundTrip } from "./round-trip.ts";

const { values } = parseArgs({
  options: {
    store: { type: "string", default: "minio" },
    wal: { type: "string", default: "loop" },
    records: { type: "string", default: "1000000" },
    partitions: { type: "string", default: "4" },
    clients: { type: "string", default: "perf-tool,kcat,kafkajs,franz-go" },
    codecs: { type: "string", default: allCodecs.join(",") },
    bootstrap: { type: "string" },
  },
});

const records = Number(values.records);
const corpus = getCorpus(records, Number(values.partitions));
const codecs = values.codecs.split(",") as Codec[];
let failures = 0;

async function runOne(name: string, codec: Codec, run: () => Promise<RoundTrip>, weir: WeirProcess | undefined): Promise<void> {
  const rate = (ms: number): string => `${(corpus.bytes / 1048.576 / ms).toFixed(0)} MiB/s`.padStart(10);
  try {
    const { produceMs, consumeMs } = await run();
    const memory = weir === undefined ? "" : `   RSS ${(weir.residentBytes() / 1048576).toFixed(0)} MiB`;
    console.log(
      `${name.padEnd(16)} ${codec.padEnd(7)} in ${rate(produceMs)}   out ${rate(consumeMs)}   checksums and offsets agree${memory}`,
    );
  } catch (error) {
    failures++;
    console.log(`${name.padEnd(16)} ${codec.padEnd(7)} FAILED: ${error instanceof Error ? error.message.slice(0, 1500) : error}`);
    if (weir !== undefined) console.log(weir.logTail(1500));
  }
}

async function runAll(bootstrap: string, weir: WeirProcess | undefined): Promise<void> {
  console.log(
    `${records} records, ${(corpus.bytes / 1048576).toFixed(0)} MiB, ${corpus.partitions.length} partitions; WAL ${values.wal}, store ${values.store}`,
  );
  for (const name of values.clients.split(",")) {
    if (name === "perf-tool") {
      if (perfTools.missing !== undefined) throw new Error(`${name}: ${perfTools.missing}`);
      await perfTools.prepare();
      for (const codec of codecs) await runOne(name, codec, () => runPerfToolRoundTrip(bootstrap, codec, corpus, records), weir);
      continue;
    }
    const client = conformanceClients.find((candidate) => candidate.name === name);
    if (client === undefined)
      throw new Error(`no client ${name}; there is perf-tool, ${conformanceClients.map((each) => each.name).join(", ")}`);
    if (client.missing !== undefined) throw new Error(`${name}: ${client.missing}`);
    await client.prepare();
    for (const codec of codecs.filter((each) => client.codecs.includes(each))) {
      await runOne(name, codec, () => runRoundTrip(bootstrap, client, codec, corpus), weir);
    }
  }
}

if (values.bootstrap !== undefined) {
  await runAll(values.bootstrap, undefined);
} else {
  using folder = new TemporaryFolder("million");
  if (values.wal === "loop" && !canUseLoopDevices) throw new Error(noLoopDevices);
  using device = values.wal === "loop" ? LoopDevice.tryCreate(folder.path, 2 * 1024 ** 3) : undefined;
  if (device !== undefined) await mustRunTool([weirExecutable, "wal", "format", device.path]);
  const store = await startStore(parseStoreKind(values.store), folder.path);
  try {
    await using weir = await WeirProcess.start({
      folder: folder.path,
      settings: { "object.store": store.setting, ...(device === undefined ? {} : { wal: `block:${device.path}` }) },
      environment: store.environment,
    });
    await runAll(weir.bootstrap, weir);
    const code = await weir.stop();
    if (code !== 0) {
      failures++;
      console.log(`weir exited with ${code}:\n${weir.logTail()}`);
    }
  } finally {
    await store.stop();
  }
}
console.log(failures === 0 ? "all agree" : `${failures} failed`);
process.exit(failures === 0 ? 0 : 1);
