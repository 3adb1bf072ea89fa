/**
 * One of the processes that race for slots of a metadata log: takes its configuration as JSON in argv[2], tries for every next slot until the log has
 * the asked number, and prints what it knows as one line of JSON. Run by slot-race.ts.
 */
import { SystemClock } from "../../src/base/system-clock.ts";
import { ImageDraft } from "../../src/metadata/image-draft.ts";
import { MetadataLog } from "../../src/metadata/metadata-log.ts";
import type { MetadataRecord } from "../../src/metadata/records.ts";
import { RetryingStore } from "../../src/objectstore/retrying-store.ts";
import { S3Store } from "../../src/objectstore/s3-store.ts";
import { ScopedStore } from "../../src/objectstore/scoped-store.ts";
import { RecordingLogger } from "../unit/support/recording-telemetry.ts";
import { SeededRandom } from "../unit/support/seeded-random.ts";
import { tableCrc32c } from "../unit/support/table-crc32c.ts";

export interface RacerConfig {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly seed: number;
  readonly slots: number;
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

export interface RacerReport {
  readonly nodeId: number;
  /** Slots whose proposal was answered "won". */
  readonly won: readonly number[];
  /** Proposals that were answered "lost". */
  readonly lostCount: number;
  /** Winner of slot 1, 2, ... as this process saw it. */
  readonly winners: readonly number[];
  readonly imageHash: string;
}

const clock = new SystemClock();
/** Far more patient than a broker: the proxy fails a good part of all requests. */
const PATIENCE = { maxAttempts: 200, firstPauseMs: 2, maxPauseMs: 50, defaultDeadlineMs: 120_000 };

export function openRaceLog(config: RacerConfig): Promise<MetadataLog> {
  const random = new SeededRandom(config.seed);
  const s3 = new S3Store({ ...config, prefix: "race", pathStyle: true, clock, crc32c: tableCrc32c, defaultDeadlineMs: 2_000 });
  const store = new ScopedStore(new RetryingStore(s3, clock, random, PATIENCE), config.clusterId);
  return MetadataLog.open(config.clusterId, true, { store, clock, random, logger: new RecordingLogger(), crc32c: tableCrc32c });
}

async function race(config: RacerConfig): Promise<RacerReport> {
  const { nodeId, slots } = config;
  const won: number[] = [];
  const winners: number[] = [];
  let lostCount = 0;
  const log = await openRaceLog(config);
  // What was there at the opening was written by the other one.
  for (let slot = 1; slot <= log.image.slot; slot++) winners.push(log.image.controllerNodeId);
  log.onImage((image) => winners.push(image.controllerNodeId));
  const incarnation = Buffer.from(new SeededRandom(config.seed).fillBytes(new Uint8Array(16))).toString("base64url");
  const { signal } = new AbortController();
  const pauses = new SeededRandom(config.seed + 1);
  while (log.image.slot < slots) {
    const draft = new ImageDraft(log.image);
    const records: MetadataRecord[] = [
      { type: "controller-elected", nodeId, epoch: log.image.controllerEpoch + 1, incarnation },
      { type: "feature-level", name: `won-by-${nodeId}`, level: won.length + 1 },
    ];
    for (const record of records) draft.apply(record);
    if ((await log.propose({ draft, records, nodeId }, signal)) === "won") {
      won.push(draft.slot);
      // The loser has more to read before its next try; without a pause it would hardly ever meet the winner.
      await Bun.sleep(pauses.nextFloat() * 15);
    } else {
      lostCount++;
      await log.readToEnd();
    }
  }
  return { nodeId, won, lostCount, winners: winners.slice(0, slots), imageHash: log.image.hashText };
}

if (import.meta.main) {
  const report = await race(JSON.parse(process.argv[2] ?? "{}") as RacerConfig);
  console.log(JSON.stringify(report));
}
