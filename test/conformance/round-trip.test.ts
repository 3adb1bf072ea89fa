/**
 * Every real client, every codec it has: records made from real text go in, and the same come out of each partition, in order, at contiguous
 * offsets. CONFORMANCE_RECORDS sets how many (default 5,000); million.ts is the full run.
 */
import { afterAll, beforeAll, describe, expect } from "bun:test";
import { getCorpus } from "../support/corpus.ts";
import { canUseLoopDevices, LoopDevice } from "../support/loop-device.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { mustRunTool, testIf } from "../support/tools.ts";
import { hasWeir, WeirProcess, weirExecutable, weirMissing } from "../support/weir-process.ts";
import { conformanceClients, hasKafkaTools, noKafkaTools, perfTools, saramaAt } from "./clients.ts";
import { runPerfToolRoundTrip, runRoundTrip } from "./round-trip.ts";

const records = Number(process.env.CONFORMANCE_RECORDS ?? 5000);
const partitions = 3;
/** The lowest protocol that Sarama has and that a broker of Kafka 4 still serves, and the one it takes by default. */
const saramaVersions = ["0.11.0.0", ""];

describe("real clients", () => {
  let folder: TemporaryFolder;
  let device: LoopDevice | undefined;
  let weir: WeirProcess;

  beforeAll(async () => {
    if (!hasWeir) return;
    folder = new TemporaryFolder("round-trip");
    device = canUseLoopDevices ? LoopDevice.tryCreate(folder.path, 512 * 1024 * 1024) : undefined;
    if (device !== undefined) await mustRunTool([weirExecutable, "wal", "format", device.path]);
    weir = await WeirProcess.start({ folder: folder.path, ...(device === undefined ? {} : { settings: { wal: `block:${device.path}` } }) });
  });
  afterAll(async () => {
    await weir?.stop();
    device?.[Symbol.dispose]();
    folder?.[Symbol.dispose]();
  });

  for (const client of conformanceClients) {
    const missing = hasWeir ? client.missing : weirMissing;
    for (const codec of client.codecs) {
      testIf(missing === undefined, missing ?? "")(`${client.name}, ${codec}: what goes in comes out`, async () => {
        await client.prepare();
        await runRoundTrip(weir.bootstrap, client, codec, getCorpus(records, partitions));
      });
    }
  }

  for (const version of saramaVersions) {
    const sarama = saramaAt(version);
    const missing = hasWeir ? sarama.missing : weirMissing;
    const name = version === "" ? "its default version" : `version ${version}, the lowest served`;
    testIf(missing === undefined, missing ?? "")(`Sarama at ${name}: what goes in comes out`, async () => {
      await sarama.prepare();
      await runRoundTrip(weir.bootstrap, sarama, "none", getCorpus(records, partitions));
    });
  }

  const perfMissing = hasWeir ? perfTools.missing : weirMissing;
  testIf(perfMissing === undefined, perfMissing ?? "")("kafka-producer-perf-test with real text: what goes in comes out", async () => {
    await perfTools.prepare();
    await runPerfToolRoundTrip(weir.bootstrap, "zstd", getCorpus(records, partitions), records);
  });

  testIf(hasWeir && hasKafkaTools, hasWeir ? noKafkaTools : weirMissing)("what one client compressed another reads", async () => {
    const [java, , , franz] = conformanceClients;
    if (java === undefined || franz === undefined || franz.missing !== undefined) return;
    await java.prepare();
    await franz.prepare();
    const corpus = getCorpus(records, partitions, 2);
    for (const codec of ["snappy", "lz4"] as const) {
      const result = await runRoundTrip(weir.bootstrap, { ...java, name: "java-for-franz-go" }, codec, corpus, franz);
      expect(result.consumeMs).toBeGreaterThan(0);
    }
  });
});
