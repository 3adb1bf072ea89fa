/** The first slot of a cluster as an older version wrote it: with the feature levels that existed then. */
import { SystemClock } from "../../src/base/system-clock.ts";
import { SystemRandom } from "../../src/base/system-random.ts";
import { readOrCreateClusterId } from "../../src/metadata/cluster-id.ts";
import { ImageDraft } from "../../src/metadata/image-draft.ts";
import { MetadataLog } from "../../src/metadata/metadata-log.ts";
import type { MetadataRecord } from "../../src/metadata/records.ts";
import type { ObjectStore } from "../../src/objectstore/object-store.ts";
import { ScopedStore } from "../../src/objectstore/scoped-store.ts";
import { RecordingLogger } from "../unit/support/recording-telemetry.ts";
import { tableCrc32c } from "../unit/support/table-crc32c.ts";

/** `store` is empty. Nobody is registered yet. */
export async function makeOldCluster(store: ObjectStore, levels: readonly (readonly [name: string, level: number])[]): Promise<void> {
  const random = new SystemRandom();
  const { clusterId } = await readOrCreateClusterId({
    store,
    random,
    crc32c: tableCrc32c,
    wantedClusterId: undefined,
    walClusterId: undefined,
  });
  const dependencies = {
    store: new ScopedStore(store, clusterId),
    clock: new SystemClock(),
    random,
    logger: new RecordingLogger(),
    crc32c: tableCrc32c,
  };
  const log = await MetadataLog.open(clusterId, true, dependencies);
  const draft = new ImageDraft(log.image);
  const incarnation = Buffer.alloc(16, 7).toString("base64url");
  const records: MetadataRecord[] = [
    { type: "controller-elected", nodeId: 1, epoch: 1, incarnation },
    ...levels.map(([name, level]) => ({ type: "feature-level", name, level }) as const),
  ];
  for (const record of records) draft.apply(record);
  const outcome = await log.propose({ draft, records, nodeId: 1 }, new AbortController().signal);
  if (outcome !== "won") throw new Error(`the first slot was ${outcome}`);
}
