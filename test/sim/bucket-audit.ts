/**
 * The bucket, read at one moment as an auditor would, again and again during a run: what any reader of it could find wrong.
 *
 *   metadata-damaged    the metadata log cannot be followed
 *   metadata-diverged   the newest snapshot and the log give another image than the snapshot before it and the log
 *   metadata-regressed  something that only rises has fallen: slot, terms, committed ends, log starts, WAL positions, producer ids
 *   metadata-hole       a partition's committed ranges do not follow each other
 *   missing-object      the image names an object that is not there
 *   stray-object        an object of an epoch that never was
 *   orphan-object       after the sweep of the last start: an object that the image does not name, of a writer whose epoch has ended
 */

import { CLUSTER_KEY, DATA_PREFIX, SNAPSHOT_PREFIX, snapshotSlotOf, writerEpochOf } from "../../src/metadata/keys.ts";
import { MetadataLog } from "../../src/metadata/metadata-log.ts";
import type { MemoryStore } from "../../src/objectstore/memory-store.ts";
import type { ListPage, ObjectStore } from "../../src/objectstore/object-store.ts";
import { ScopedStore } from "../../src/objectstore/scoped-store.ts";
import { RecordingLogger } from "../unit/support/recording-telemetry.ts";
import { SeededRandom } from "../unit/support/seeded-random.ts";
import type { SimProcess } from "./process.ts";
import { simCrc } from "./sim-batch.ts";

type Find = (anomaly: string, detail: string) => void;
type Image = MetadataLog["image"];

export class BucketAudit {
  /** How often the bucket was read. */
  count = 0;
  private readonly bucket: MemoryStore;
  private readonly auditor: SimProcess;
  private readonly find: Find;
  /** What only rises, by name, as last seen. */
  private readonly seen = new Map<string, number>();

  constructor(bucket: MemoryStore, auditor: SimProcess, find: Find) {
    this.bucket = bucket;
    this.auditor = auditor;
    this.find = find;
  }

  /** Waits for nothing but promises that are resolved already, so that it sees one moment. `isFinal`: the sweep of the last start is over. */
  async run(isFinal = false): Promise<void> {
    const clusterId = await this.readClusterId();
    if (clusterId === undefined) {
      if (isFinal) this.find("stuck", "no cluster at the end of the run");
      return;
    }
    this.count++;
    const store = new ScopedStore(this.bucket, clusterId);
    const image = await this.open(store, clusterId);
    const other = image === undefined ? undefined : await this.open(await withoutNewestSnapshot(store), clusterId);
    if (image === undefined || other === undefined) return;
    if (image.slot !== other.slot || image.hash !== other.hash) {
      this.find(
        "metadata-diverged",
        `slot ${image.slot} has hash ${image.hashText}, and ${other.hashText} (slot ${other.slot}) from the older snapshot`,
      );
    }
    this.checkRisen(image);
    this.checkRanges(image);
    await this.checkObjects(store, image, isFinal);
  }

  private async open(store: ObjectStore, clusterId: string): Promise<Image | undefined> {
    const dependencies = { store, clock: this.auditor.clock, random: new SeededRandom(1), logger: new RecordingLogger(), crc32c: simCrc };
    try {
      return (await MetadataLog.open(clusterId, false, dependencies)).image;
    } catch (error) {
      this.find("metadata-damaged", error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  private checkRisen({ parts }: Image): void {
    this.rise("slot", parts.slot);
    this.rise("controller epoch", parts.controller.epoch);
    this.rise("next producer id", parts.counters.nextProducerId);
    for (const { nodeId, brokerEpoch } of parts.brokersById.values()) this.rise(`epoch of broker ${nodeId}`, brokerEpoch);
    for (const { walId, walEpoch, committed } of parts.wals.values()) {
      this.rise(`epoch of WAL ${walId}`, walEpoch);
      this.rise(`committed LSN of WAL ${walId}`, committed.lsn);
    }
    for (const { topicId, partitions } of parts.topicsById.values()) {
      for (const [index, { term, logStartOffset, committedEndOffset }] of partitions.entries()) {
        this.rise(`term of ${topicId}-${index}`, term);
        this.rise(`log start of ${topicId}-${index}`, logStartOffset);
        this.rise(`committed end of ${topicId}-${index}`, committedEndOffset);
      }
    }
  }

  private rise(name: string, value: number): void {
    const before = this.seen.get(name);
    if (before !== undefined && value < before) this.find("metadata-regressed", `${name} was ${before} and is ${value}`);
    this.seen.set(name, value);
  }

  private checkRanges({ parts }: Image): void {
    for (const { name, partitions } of parts.topicsById.values()) {
      for (const [index, { ranges, committedEndOffset }] of partitions.entries()) {
        let end: number | undefined;
        for (const range of ranges) {
          if (end !== undefined && range.baseOffset !== end)
            this.find("metadata-hole", `${name}-${index}: a range from ${range.baseOffset} after one to ${end}`);
          end = range.endOffset;
        }
        if (end !== undefined && end !== committedEndOffset)
          this.find("metadata-hole", `${name}-${index}: the ranges end at ${end}, the committed end is ${committedEndOffset}`);
      }
    }
  }

  /** Every object is referenced, pending (its writer may still commit it) or garbage, and what is referenced is there. */
  private async checkObjects(store: ObjectStore, { parts, slot }: Image, isFinal: boolean): Promise<void> {
    for (const { object, references } of parts.objects.values()) {
      // Garbage is deleted first and forgotten by the log afterwards.
      if (references > 0 && (await store.head(object.key)) === undefined)
        this.find("missing-object", `${object.key} is in the image and not in the bucket`);
    }
    const living = new Set([...parts.brokersById.values()].map((broker) => broker.brokerEpoch));
    for (const key of await listAll(store, DATA_PREFIX)) {
      const epoch = writerEpochOf(key);
      if (parts.objects.get(key) !== undefined || epoch === undefined || living.has(epoch)) continue;
      if (epoch > slot) this.find("stray-object", `${key} is of an epoch that never was`);
      else if (isFinal) this.find("orphan-object", `${key} is in no image, its writer has ended, and nobody has swept it`);
    }
  }

  private async readClusterId(): Promise<string | undefined> {
    const keys = await listAll(this.bucket, "");
    const key = keys.find((each) => each !== CLUSTER_KEY && each.includes("/meta/log/"));
    return key?.slice(0, key.indexOf("/"));
  }
}

async function listAll(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = await store.list(prefix, after);
    for (const { key } of page.objects) keys.push(key);
    after = page.next;
    if (after === undefined) return keys;
  }
}

/** The bucket as it was before its newest snapshot, with all of the log that is still there. */
async function withoutNewestSnapshot(store: ScopedStore): Promise<ObjectStore> {
  const slots = (await listAll(store, SNAPSHOT_PREFIX)).filter((key) => key.endsWith("/manifest")).map(snapshotSlotOf);
  const newest = slots.at(-1);
  const hide = async (prefix: string, after?: string): Promise<ListPage> => {
    const page = await store.list(prefix, after);
    const objects = page.objects.filter(
      ({ key }) => newest === undefined || !key.startsWith(SNAPSHOT_PREFIX) || snapshotSlotOf(key) !== newest,
    );
    return { ...page, objects };
  };
  return new Proxy<ObjectStore>(store, {
    get: (target, property) => {
      if (property === "list") return hide;
      const value: unknown = Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
