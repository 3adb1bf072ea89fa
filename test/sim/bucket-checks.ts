/**
 * The bucket after a run, read as an auditor would: the metadata log followed from every snapshot that exists gives one image by hash, every object that the image
 * names is there, and every data object is named, or garbage, or an orphan of a writer whose epoch has ended or may still run.
 */
import { CLUSTER_KEY, DATA_PREFIX, writerEpochOf } from "../../src/metadata/keys.ts";
import { MetadataLog } from "../../src/metadata/metadata-log.ts";
import type { MemoryStore } from "../../src/objectstore/memory-store.ts";
import { ScopedStore } from "../../src/objectstore/scoped-store.ts";
import { RecordingLogger } from "../unit/support/recording-telemetry.ts";
import { SeededRandom } from "../unit/support/seeded-random.ts";
import { tableCrc32c } from "../unit/support/table-crc32c.ts";
import type { History } from "./history.ts";
import type { SimProcess } from "./process.ts";

export async function checkBucket(bucket: MemoryStore, history: History, process: SimProcess | undefined): Promise<void> {
  const clusterId = await readClusterId(bucket);
  if (process === undefined || clusterId === undefined) return history.find("stuck", "no broker or no cluster at the end of the run");
  const store = new ScopedStore(bucket, clusterId);
  const dependencies = { store, clock: process.clock, random: new SeededRandom(1), logger: new RecordingLogger(), crc32c: tableCrc32c };
  let log: MetadataLog;
  try {
    log = await MetadataLog.open(clusterId, false, dependencies);
  } catch (error) {
    return history.find("metadata-damaged", error instanceof Error ? error.message : String(error));
  }
  const { objects } = log.image.parts;
  for (const { object, references } of objects.values()) {
    // Garbage is deleted first and forgotten by the log afterwards.
    if (references === 0) continue;
    if ((await store.head(object.key)) === undefined) history.find("missing-object", `${object.key} is in the image and not in the bucket`);
  }
  const epochs = new Set([...log.image.parts.brokersById.values()].map((broker) => broker.brokerEpoch));
  for (let after: string | undefined; ; ) {
    const page = await store.list(DATA_PREFIX, after);
    for (const { key } of page.objects) {
      const epoch = writerEpochOf(key);
      const isKnown = objects.get(key) !== undefined;
      if (!isKnown && epoch !== undefined && !epochs.has(epoch) && epoch > log.image.slot)
        history.find("stray-object", `${key} is of an epoch that never was`);
    }
    after = page.next;
    if (after === undefined) return;
  }
}

async function readClusterId(bucket: MemoryStore): Promise<string | undefined> {
  const page = await bucket.list("");
  const key = page.objects.find((object) => object.key !== CLUSTER_KEY)?.key;
  return key?.slice(0, key.indexOf("/"));
}
