/**
 * What a broker costs while nobody uses it: S3 requests (counted by a proxy before a real S3 server), CPU and memory. It has topics, records, a WAL that
 * was used and everything uploaded; no client is connected.
 *
 *   bun test/conformance/idle.ts [--seconds 200] [--store minio|versitygw]
 *
 * Exit code 1 above one request a minute, 0.5 % of a core, or 100 MB resident.
 */
import { parseArgs } from "node:util";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { createTopicRaw, fetchAll, produceValues } from "../support/raw-client.ts";
import { startFaultProxy, startS3Server } from "../support/s3-servers.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { WeirProcess } from "../support/weir-process.ts";

const MAX_REQUESTS_A_MINUTE = 1;
const MAX_CPU_SHARE = 0.005;
const MAX_RSS_BYTES = 100e6;
const PARTITIONS = 100;

const { values } = parseArgs({ options: { seconds: { type: "string", default: "200" }, store: { type: "string", default: "minio" } } });
const seconds = Number(values.seconds);

using folder = new TemporaryFolder("idle");
await using server = await startS3Server(values.store === "versitygw" ? "versitygw" : "minio");
await using proxy = await startFaultProxy(server.endpoint, 1);
const countRequests = async (): Promise<number> => Number((await proxy.stats()).requests ?? 0);

await using weir = await WeirProcess.start({
  folder: folder.path,
  settings: {
    "object.store": `s3://${server.bucket}/idle?region=${server.region}&endpoint=${proxy.endpoint}&pathStyle=true`,
    "upload.interval.ms": "1000",
  },
  environment: { AWS_ACCESS_KEY_ID: server.credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey },
});
const startMs = weir.startMs;
{
  using connection = await KafkaConnection.open(weir.kafkaPort);
  const { errorCode } = await createTopicRaw(connection, "quiet", { partitions: PARTITIONS });
  if (errorCode !== 0) throw new Error(`CreateTopics answered ${errorCode}`);
  for (let partition = 0; partition < PARTITIONS; partition++) await produceValues(connection, "quiet", partition, ["one", "two"]);
  await fetchAll(connection, "quiet", 0);
}
// Until the last upload and what follows it (snapshots, the sweep a minute after the start) are over.
let [last, calmSince] = [-1, performance.now()];
const servingSince = performance.now();
while (performance.now() - calmSince < 20_000 || performance.now() - servingSince < 90_000) {
  const now = await countRequests();
  if (now !== last) [last, calmSince] = [now, performance.now()];
  await Bun.sleep(250);
}
const before = { requests: await countRequests(), cpuSeconds: weir.cpuSeconds() };
let maxRss = 0;
for (const startedMs = performance.now(); performance.now() - startedMs < seconds * 1000; ) {
  await Bun.sleep(1000);
  maxRss = Math.max(maxRss, weir.residentBytes());
}
const requests = (await countRequests()) - before.requests;
const cpuShare = (weir.cpuSeconds() - before.cpuSeconds) / seconds;
// A window of n minutes that begins right before a request sees one more than n.
const allowed = Math.floor((seconds / 60) * MAX_REQUESTS_A_MINUTE) + 1;
const times = (await proxy.requests()).slice(-requests).map(({ at }) => Date.parse(at));
const gaps = times.slice(1).map((time, index) => (time - (times[index] ?? 0)) / 1000);
console.log(
  `idle for ${seconds} s (${server.kind}, ${PARTITIONS} partitions): ${requests} S3 requests (${Math.min(...gaps).toFixed(1)} s apart at least), ` +
    `${(cpuShare * 100).toFixed(2)} % of a core, at most ${(maxRss / 1e6).toFixed(0)} MB resident; started to ready in ${startMs.toFixed(0)} ms`,
);
const isFine = requests <= allowed && Math.min(...gaps) >= 59 && cpuShare <= MAX_CPU_SHARE && maxRss <= MAX_RSS_BYTES;
if (!isFine) for (const { at, method, url } of (await proxy.requests()).slice(-requests)) console.log(at, method, url);
if (!isFine) console.log(`more than ${allowed} requests, ${MAX_CPU_SHARE * 100} % of a core or ${MAX_RSS_BYTES / 1e6} MB`);
await weir.stop();
process.exitCode = isFine ? 0 : 1;
