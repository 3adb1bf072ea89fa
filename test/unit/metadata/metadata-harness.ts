/** Logs over one store without brokers, for tests of the metadata room. */
import type { Clock } from "../../../src/base/clock.ts";
import { ImageDraft } from "../../../src/metadata/image-draft.ts";
import { MetadataLog } from "../../../src/metadata/metadata-log.ts";
import type { MetadataRecord } from "../../../src/metadata/records.ts";
import type { SlotOutcome } from "../../../src/metadata/slot-writer.ts";
import type { ObjectStore } from "../../../src/objectstore/object-store.ts";
import { RecordingLogger } from "../support/recording-telemetry.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tableCrc32c } from "../support/table-crc32c.ts";

export const CLUSTER_ID = "bWV0YWRhdGEtdGVzdC0wMA";
export const INCARNATION = "aW5jYXJuYXRpb24tdGVzdA";

export function openLog(store: ObjectStore, clock: Clock, seed = 1, logger = new RecordingLogger()): Promise<MetadataLog> {
  return MetadataLog.open(CLUSTER_ID, false, { store, clock, random: new SeededRandom(seed), logger, crc32c: tableCrc32c });
}

export function uuid(number: number): string {
  const bytes = Buffer.alloc(16, 1);
  bytes.writeUInt32BE(number, 12);
  return bytes.toString("base64url");
}

/** Proposes records for the next slot, led by an election as node `nodeId`. */
export function propose(log: MetadataLog, nodeId: number, ...more: MetadataRecord[]): Promise<SlotOutcome> {
  const draft = new ImageDraft(log.image);
  const epoch = log.image.controllerEpoch + 1;
  const records: MetadataRecord[] = [{ type: "controller-elected", nodeId, epoch, incarnation: INCARNATION }, ...more];
  for (const record of records) draft.apply(record);
  return log.propose({ draft, records, nodeId }, new AbortController().signal);
}

export function registered(nodeId: number): MetadataRecord {
  return { type: "broker-registered", nodeId, incarnation: INCARNATION, walId: `wal-${nodeId}`, rack: "zone-a", listeners: [] };
}

export function topicCreated(number: number, partitions = 1): MetadataRecord {
  const placements = [{ nodeId: 1, walId: "wal-1", count: partitions }];
  const configs = new Map([["retention.ms", "1000"]]);
  return { type: "topic-created", topicId: uuid(number), name: `t${number}`, replicationFactor: 3, isInternal: false, configs, placements };
}

export function committed(topic: number, object: string, baseOffset: number, endOffset: number, lsn: number): MetadataRecord {
  const range = {
    topicId: uuid(topic),
    partition: 0,
    term: 0,
    baseOffset,
    endOffset,
    maxTimestampMs: 1_000 + endOffset,
    sizeBytes: 10,
    hasCheckpoint: baseOffset === 0,
  };
  const walCommitted = { lsn, predecessorChecksum: 3, walEpoch: 1 };
  return {
    type: "object-committed",
    objectKey: `data/1-${object}`,
    sizeBytes: 99,
    nodeId: 1,
    walId: "wal-1",
    walCommitted,
    ranges: [range],
  };
}

export function wonFeature(level: number): MetadataRecord {
  return { type: "feature-level", name: "f", level };
}
