/**
 * What Weir does with each configuration of a topic. All of Kafka's are accepted, checked and described as Kafka does; the table says which of them act here.
 * docs/configuration.md is generated from it, and a test compares it with what partitions read.
 */
export type TopicMeaning = { readonly acts: true; readonly note: string } | { readonly acts: false; readonly note: string };

const acts = (note: string): TopicMeaning => ({ acts: true, note });
const none = (note: string): TopicMeaning => ({ acts: false, note });

const SEGMENTS = none("There are no segment files: segment objects are cut by size and age, `upload.size.bytes` and `upload.interval.ms`.");
const FLUSHES = none("Every acknowledged record is flushed.");
const INDEXES = none("There are no index files.");
const REPLICAS = none("The object store replicates; there are no replicas to throttle, elect or wait for.");
const COMPACTION = none("Compaction is not built yet: records of a compacted topic are kept.");
const TIERS = none("Segment objects are the only tier.");
const LEVEL = acts("Level of the codec, where `compression.type` asks for it.");

export const TOPIC_MEANINGS: Readonly<Record<string, TopicMeaning>> = {
  "segment.bytes": SEGMENTS,
  "segment.ms": SEGMENTS,
  "segment.jitter.ms": SEGMENTS,
  preallocate: SEGMENTS,
  "file.delete.delay.ms": none("Objects that nobody references are deleted after a grace period of the bucket's own."),
  "segment.index.bytes": INDEXES,
  "index.interval.bytes": INDEXES,
  "flush.messages": FLUSHES,
  "flush.ms": FLUSHES,
  "retention.bytes": acts("A committed range of a segment object stands where Kafka has a segment: it is kept or dropped whole."),
  "retention.ms": acts("As `retention.bytes`. What is not yet in an object is never dropped."),
  "max.message.bytes": acts("Largest record batch."),
  "max.decompressed.message.bytes": acts("Largest record after decompression."),
  "cleanup.policy": acts("`delete` drops by time and size; with `compact` a record needs a key, and nothing is compacted yet."),
  "compression.type": acts("Batches that a producer compressed otherwise are compressed anew."),
  "compression.gzip.level": LEVEL,
  "compression.lz4.level": LEVEL,
  "compression.zstd.level": LEVEL,
  "message.timestamp.type": acts("CreateTime or LogAppendTime."),
  "message.timestamp.before.max.ms": acts("How far a record's timestamp may lie in the past."),
  "message.timestamp.after.max.ms": acts("How far a record's timestamp may lie in the future."),
  "delete.retention.ms": COMPACTION,
  "min.compaction.lag.ms": COMPACTION,
  "max.compaction.lag.ms": COMPACTION,
  "min.cleanable.dirty.ratio": COMPACTION,
  "unclean.leader.election.enable": REPLICAS,
  "min.insync.replicas": REPLICAS,
  "leader.replication.throttled.replicas": REPLICAS,
  "follower.replication.throttled.replicas": REPLICAS,
  "remote.storage.enable": none("Refused when true, as by a Kafka without tiered storage: segment objects are the only tier."),
  "local.retention.ms": TIERS,
  "local.retention.bytes": TIERS,
  "remote.log.copy.disable": TIERS,
  "remote.copy.lag.ms": TIERS,
  "remote.copy.lag.bytes": TIERS,
  "remote.log.delete.on.disable": TIERS,
  "errors.deadletterqueue.group.enable": none("There are no share groups yet."),
};
