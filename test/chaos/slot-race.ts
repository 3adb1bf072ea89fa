/**
 * Two processes race for the slots of one metadata log, through a proxy that loses replies, on a real S3 server. Then every slot has exactly one winner,
 * both processes know which, what each was told it won is what the bucket holds, and all images have equal hashes.
 *
 *   bun test/chaos/slot-race.ts [--slots 10000] [--server minio|versitygw|both] [--seed 1]
 */
import { parseArgs } from "node:util";
import { assert } from "../../src/base/assert.ts";
import { SystemClock } from "../../src/base/system-clock.ts";
import { slotKey } from "../../src/metadata/keys.ts";
import { decodeLogBatch } from "../../src/metadata/log-batch.ts";
import { S3Store } from "../../src/objectstore/s3-store.ts";
import { S3_SERVERS, type S3ServerKind, startFaultProxy, startS3Server, whyNoS3Server } from "../support/s3-servers.ts";
import { tableCrc32c } from "../unit/support/table-crc32c.ts";
import { openRaceLog, type RacerConfig, type RacerReport } from "./slot-racer.ts";

const CLUSTER_ID = "c2xvdHJhY2VzbG90cmFjZQ";
const FAULTS = {
  latency: { default: { min: 0, max: 4 } },
  dropResponseRate: 0.06,
  apply5xxRate: 0.03,
  duplicateRate: 0.03,
  slowDownRate: 0.03,
  internalErrorRate: 0.02,
  resetRequestRate: 0.02,
  resetResponseRate: 0.02,
};

export interface RaceResult {
  readonly slots: number;
  /** Slots won by node 1 and node 2. */
  readonly wonBy: readonly [number, number];
  readonly lost: number;
  readonly proxyStats: Readonly<Record<string, unknown>>;
  readonly imageHash: string;
}

/** Rejects with an AssertionFailure that says what two winners, wrong beliefs or unequal images were found. */
export async function raceForSlots(kind: S3ServerKind, slots: number, seed: number): Promise<RaceResult> {
  await using server = await startS3Server(kind);
  await using proxy = await startFaultProxy(server.endpoint, seed, FAULTS);
  const { bucket, region, credentials } = server;
  const ended = new AbortController();
  const racers = [1, 2].map((nodeId) => {
    const config = {
      clusterId: CLUSTER_ID,
      nodeId,
      seed: seed * 10 + nodeId,
      slots,
      endpoint: proxy.endpoint,
      bucket,
      region,
      credentials,
    };
    return startRacer(config, ended.signal);
  });
  const reports = Promise.all(racers).finally(() => ended.abort());
  const [first, second] = (await reports) as [RacerReport, RacerReport];
  const direct: RacerConfig = { clusterId: CLUSTER_ID, nodeId: 3, seed, slots, endpoint: server.endpoint, bucket, region, credentials };
  const winners = await readWinners(direct);
  const replayed = await openRaceLog(direct);
  assert(replayed.image.slot === slots, `the log ends at slot ${replayed.image.slot}, not ${slots}`);
  for (const report of [first, second]) {
    const { nodeId } = report;
    const owned = winners.flatMap((winner, index) => (winner === nodeId ? [index + 1] : []));
    assert(
      Bun.deepEquals(report.won, owned),
      `node ${nodeId} was told that it won ${report.won.length} slots, the bucket says ${owned.length}`,
    );
    assert(
      report.imageHash === replayed.image.hashText,
      `node ${nodeId} ends at image ${report.imageHash}, the log at ${replayed.image.hashText}`,
    );
  }
  // Slots that were there when a process opened the log are not attributed by it; the faster one saw all.
  const seenByAll = Math.max(first.winners.length, second.winners.length);
  assert(seenByAll === slots, `${seenByAll} of ${slots} slots were seen`);
  for (let slot = 1; slot <= slots; slot++) {
    const views = [first.winners[slot - 1], second.winners[slot - 1], winners[slot - 1]];
    assert(new Set(views).size === 1, `slot ${slot}: winners ${views.join(", ")}`);
  }
  return {
    slots,
    wonBy: [first.won.length, second.won.length],
    lost: first.lostCount + second.lostCount,
    proxyStats: await proxy.stats(),
    imageHash: replayed.image.hashText,
  };
}

async function startRacer(config: RacerConfig, signal: AbortSignal): Promise<RacerReport> {
  const racer = Bun.spawn([process.execPath, `${import.meta.dir}/slot-racer.ts`, JSON.stringify(config)], {
    stdout: "pipe",
    stderr: "inherit",
  });
  signal.addEventListener("abort", () => racer.kill());
  const output = await new Response(racer.stdout).text();
  assert((await racer.exited) === 0, `racer ${config.nodeId} failed`);
  return JSON.parse(output) as RacerReport;
}

/** Who wrote each slot, by the bucket. */
async function readWinners(config: RacerConfig): Promise<number[]> {
  const store = new S3Store({ ...config, prefix: "race", pathStyle: true, clock: new SystemClock(), crc32c: tableCrc32c });
  const winners: number[] = [];
  for (let slot = 1; slot <= config.slots; slot++) {
    const key = `${config.clusterId}/${slotKey(slot)}`;
    const bytes = await store.get(key);
    assert(bytes !== undefined, `slot ${slot} is missing`);
    winners.push(decodeLogBatch(bytes, key, tableCrc32c).writerNodeId);
  }
  return winners;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      slots: { type: "string", default: "10000" },
      server: { type: "string", default: "both" },
      seed: { type: "string", default: "1" },
    },
  });
  for (const kind of S3_SERVERS.filter((server) => values.server === "both" || values.server === server)) {
    const reason = whyNoS3Server(kind);
    if (reason !== undefined) {
      console.log(`${kind}: skipped: ${reason}`);
      continue;
    }
    const result = await raceForSlots(kind, Number(values.slots), Number(values.seed));
    console.log(`${kind}: ${JSON.stringify(result)}`);
  }
}
