/**
 * Every topic configuration of Apache Kafka 4.4, once: name, type, default, check, the broker settings it takes its default from (in order),
 * documentation. CreateTopics checks against it, DescribeConfigs answers from it, and partitions read their effective values through
 * `getEffectiveTopicSetting`. A setting that Weir gives no meaning (segment.index.bytes, ...) is kept and answered all the same.
 * The texts are those of Kafka's ConfigDef.
 */
import type { Config } from "./config.ts";
import {
  atLeast,
  between,
  betweenOr,
  findValueError,
  listOf,
  oneOf,
  type SettingCheck,
  type TopicSettingType,
  throttledReplicas,
} from "./setting-checks.ts";

export type TopicSynonym = string | { readonly name: string; readonly unit: "hours" | "minutes" | "ms" };

export interface TopicSetting {
  readonly name: string;
  readonly type: TopicSettingType;
  readonly defaultValue: string;
  readonly check?: SettingCheck;
  /** Broker settings that give the default, the strongest first. */
  readonly synonyms: readonly TopicSynonym[];
  readonly doc: string;
}

export const TOPIC_SETTINGS: readonly TopicSetting[] = [
  {
    name: "segment.bytes",
    type: "int",
    defaultValue: "1073741824",
    check: atLeast(1048576),
    synonyms: ["log.segment.bytes"],
    doc: "This configuration controls the segment file size for the log. Retention and cleaning is always done a file at a time so a larger segment size means fewer files but less granular control over retention. The active segment is rolled once it reaches this size.",
  },
  {
    name: "segment.ms",
    type: "long",
    defaultValue: "604800000",
    check: atLeast(1),
    synonyms: ["log.roll.ms", { name: "log.roll.hours", unit: "hours" }],
    doc: "This configuration controls the period of time after which Kafka will force the log to roll even if the segment file isn't full to ensure that retention can delete or compact old data. This forces active segment rolling by time, even if the active segment has not reached <code>segment.bytes</code>. For compacted topics, <code>max.compaction.lag.ms</code> can trigger active segment rolling sooner: the effective time-based roll threshold is the smaller of <code>segment.ms</code> and <code>max.compaction.lag.ms</code>.",
  },
  {
    name: "segment.jitter.ms",
    type: "long",
    defaultValue: "0",
    check: atLeast(0),
    synonyms: ["log.roll.jitter.ms", { name: "log.roll.jitter.hours", unit: "hours" }],
    doc: "The maximum random jitter subtracted from the scheduled segment roll time to avoid thundering herds of segment rolling",
  },
  {
    name: "segment.index.bytes",
    type: "int",
    defaultValue: "10485760",
    check: atLeast(4),
    synonyms: ["log.index.size.max.bytes"],
    doc: "This configuration controls the size of the index that maps offsets to file positions. We preallocate this index file and shrink it only after log rolls. You generally should not need to change this setting.",
  },
  {
    name: "flush.messages",
    type: "long",
    defaultValue: "9223372036854775807",
    check: atLeast(1),
    synonyms: ["log.flush.interval.messages"],
    doc: 'This setting allows specifying an interval at which we will force an fsync of data written to the log. For example if this was set to 1 we would fsync after every message; if it were 5 we would fsync after every five messages. In general we recommend you not set this and use replication for durability and allow the operating system\'s background flush capabilities as it is more efficient. This setting can be overridden on a per-topic basis (see <a href="https://kafka.apache.org/documentation/#topicconfigs">the per-topic configuration section</a>).',
  },
  {
    name: "flush.ms",
    type: "long",
    defaultValue: "9223372036854775807",
    check: atLeast(0),
    synonyms: ["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
    doc: "This setting allows specifying a time interval at which we will force an fsync of data written to the log. For example if this was set to 1000 we would fsync after 1000 ms had passed. Note that this setting depends on the broker-level configuration <code>log.flush.scheduler.interval.ms</code>, which controls how frequently the flush check occurs. In general we recommend you not set this and use replication for durability and allow the operating system's background flush capabilities as it is more efficient.",
  },
  {
    name: "retention.bytes",
    type: "long",
    defaultValue: "-1",
    synonyms: ["log.retention.bytes"],
    doc: 'This configuration controls the maximum size a partition (which consists of log segments) can grow to before we will discard old log segments to free up space if we are using the "delete" retention policy. By default there is no size limit only a time limit. Since this limit is enforced at the partition level, multiply it by the number of partitions to compute the topic retention in bytes. Additionally, retention.bytes configuration operates independently of "segment.ms" and "segment.bytes" configurations. Moreover, it triggers the rolling of new segment if the retention.bytes is configured to zero.',
  },
  {
    name: "retention.ms",
    type: "long",
    defaultValue: "604800000",
    check: atLeast(-1),
    synonyms: [
      { name: "log.retention.ms", unit: "ms" },
      { name: "log.retention.minutes", unit: "minutes" },
      { name: "log.retention.hours", unit: "hours" },
    ],
    doc: 'This configuration controls the maximum time we will retain a log before we will discard old log segments to free up space if we are using the "delete" retention policy. This represents an SLA on how soon consumers must read their data. If set to -1, no time limit is applied. Additionally, retention.ms configuration operates independently of "segment.ms" and "segment.bytes" configurations. Moreover, it triggers the rolling of new segment if the retention.ms condition is satisfied.',
  },
  {
    name: "max.message.bytes",
    type: "int",
    defaultValue: "1048588",
    check: atLeast(0),
    synonyms: ["message.max.bytes"],
    doc: "The largest record batch size allowed by Kafka (after compression if compression is enabled).",
  },
  {
    name: "max.decompressed.message.bytes",
    type: "int",
    defaultValue: "2147483639",
    check: between(1, 2147483639),
    synonyms: ["max.decompressed.message.bytes"],
    doc: "The maximum decompressed size, in bytes, of a single record the broker will accept; larger records are rejected with an <code>InvalidRecordException</code>. It is enforced where the broker decompresses records: produce validation of compressed batches, log compaction, and offset lookups by timestamp or max timestamp against the local log or remote storage. Unlike <code>max.message.bytes</code>, which bounds the compressed batch on the wire, this bounds the decompressed size of an individual record. Lowering it below the size of already-stored records makes compaction and timestamp offset lookups of affected partitions fail until it is raised again. The default imposes no limit beyond the largest record the broker could allocate anyway; set a smaller value to enforce a per-record cap.",
  },
  {
    name: "index.interval.bytes",
    type: "int",
    defaultValue: "4096",
    check: atLeast(0),
    synonyms: ["log.index.interval.bytes"],
    doc: "This setting controls how frequently Kafka adds entries to its offset index and, conditionally, to its time index. The default setting ensures that we index a message roughly every 4096 bytes. More frequent indexing allows reads to jump closer to the exact position in the log but results in larger index files. You probably don't need to change this.<p> Note: the time index will be inserted only when the timestamp is greater than the last indexed timestamp.</p>",
  },
  {
    name: "delete.retention.ms",
    type: "long",
    defaultValue: "86400000",
    check: atLeast(0),
    synonyms: ["log.cleaner.delete.retention.ms"],
    doc: 'The amount of time to retain delete tombstone markers for <a href="https://kafka.apache.org/documentation/#compaction">log compacted</a> topics. This setting also gives a bound on the time in which a consumer must complete a read if they begin from offset 0 to ensure that they get a valid snapshot of the final stage (otherwise delete tombstones may be collected before they complete their scan).',
  },
  {
    name: "min.compaction.lag.ms",
    type: "long",
    defaultValue: "0",
    check: atLeast(0),
    synonyms: ["log.cleaner.min.compaction.lag.ms"],
    doc: "The minimum time a message will remain uncompacted in the log. Only applicable for logs that are being compacted.",
  },
  {
    name: "max.compaction.lag.ms",
    type: "long",
    defaultValue: "9223372036854775807",
    check: atLeast(1),
    synonyms: ["log.cleaner.max.compaction.lag.ms"],
    doc: 'The maximum time a message will remain ineligible for compaction in the log. Only applicable for logs that are being compacted. Because the active segment is never compacted, for compacted topics this value also drives active segment rolling: the effective time-based roll threshold is the smaller of <code>segment.ms</code> and <code>max.compaction.lag.ms</code>. Active segment rolling moves records out of the active segment, after which <code>max.compaction.lag.ms</code> makes them eligible for compaction even if <code>min.cleanable.dirty.ratio</code> is not met. See <a href="https://kafka.apache.org/documentation/#compaction">log compaction</a>.',
  },
  {
    name: "file.delete.delay.ms",
    type: "long",
    defaultValue: "60000",
    check: atLeast(0),
    synonyms: ["log.segment.delete.delay.ms"],
    doc: "The time to wait before deleting a file from the filesystem",
  },
  {
    name: "min.cleanable.dirty.ratio",
    type: "double",
    defaultValue: "0.5",
    check: between(0, 1),
    synonyms: ["log.cleaner.min.cleanable.ratio"],
    doc: 'This configuration controls how frequently the log compactor will attempt to clean the log (assuming <a href="https://kafka.apache.org/documentation/#compaction">log compaction</a> is enabled). By default we will avoid cleaning a log where more than 50% of the log has been compacted. This ratio bounds the maximum space wasted in the log by duplicates (at 50% at most 50% of the log could be duplicates). A higher ratio will mean fewer, more efficient cleanings but will mean more wasted space in the log. If the max.compaction.lag.ms or the min.compaction.lag.ms configurations are also specified, then the log compactor considers the log to be eligible for compaction as soon as either: (i) the dirty ratio threshold has been met and the log has had dirty (uncompacted) records for at least the min.compaction.lag.ms duration, or (ii) if the log has had dirty (uncompacted) records for at most the max.compaction.lag.ms period.',
  },
  {
    name: "cleanup.policy",
    type: "list",
    defaultValue: "delete",
    check: listOf(["compact", "delete"]),
    synonyms: ["log.cleanup.policy"],
    doc: 'This config designates the retention policy to use on log segments. The "delete" policy (which is the default) will discard old segments when their retention time or size limit has been reached. The "compact" policy will enable <a href="https://kafka.apache.org/documentation/#compaction">log compaction</a>, which retains the latest value for each key. It is also possible to specify both policies in a comma-separated list (e.g. "delete,compact"). In this case, old segments will be discarded per the retention time and size configuration, while retained segments will be compacted. An empty list means infinite retention - no cleanup policies will be applied and log segments will be retained indefinitely. Note that with remote storage enabled, local retention limits (log.local.retention.ms and log.local.retention.bytes) are still applied to local segments.',
  },
  {
    name: "unclean.leader.election.enable",
    type: "boolean",
    defaultValue: "false",
    synonyms: ["unclean.leader.election.enable"],
    doc: "Indicates whether to enable replicas not in the ISR set to be elected as leader as a last resort, even though doing so may result in data loss.<p>Note: In KRaft mode, when enabling this config dynamically, it needs to wait for the unclean leader electionthread to trigger election periodically (default is 5 minutes). Please run <code>kafka-leader-election.sh</code> with <code>unclean</code> option to trigger the unclean leader election immediately if needed.</p>",
  },
  {
    name: "min.insync.replicas",
    type: "int",
    defaultValue: "1",
    check: atLeast(1),
    synonyms: ["min.insync.replicas"],
    doc: 'Specifies the <i>minimum</i> number of in-sync replicas (including the leader) required for a write to succeed when a producer sets <code>acks</code> to "all" (or "-1"). In the <code>acks=all</code> case, every in-sync replica must acknowledge a write for it to be considered successful. E.g., if a topic has <code>replication.factor</code> of 3 and the ISR set includes all three replicas, then all three replicas must acknowledge an <code>acks=all</code> write for it to succeed, even if <code>min.insync.replicas</code> happens to be less than 3. If <code>acks=all</code> and the current ISR set contains fewer than <code>min.insync.replicas</code> members, then the producer will raise an exception (either <code>NotEnoughReplicas</code> or <code>NotEnoughReplicasAfterAppend</code>).<br> Regardless of the <code>acks</code> setting, the messages will not be visible to the consumers until they are replicated to all in-sync replicas and the <code>min.insync.replicas</code> condition is met.<br> When used together, <code>min.insync.replicas</code> and <code>acks</code> allow you to enforce greater durability guarantees. A typical scenario would be to create a topic with a replication factor of 3, set <code>min.insync.replicas</code> to 2, and produce with <code>acks</code> of "all". This ensures that a majority of replicas must persist a write before it\'s considered successful by the producer and it\'s visible to consumers.<p>Note that when the Eligible Leader Replicas feature is enabled, the semantics of this config changes. Please refer to <a href="https://kafka.apache.org/documentation/#eligible_leader_replicas">the ELR section</a> for more info.</p>',
  },
  {
    name: "compression.type",
    type: "string",
    defaultValue: "producer",
    check: oneOf(["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
    synonyms: ["compression.type"],
    doc: "Specify the final compression type for a given topic. This configuration accepts the standard compression codecs ('gzip', 'snappy', 'lz4', 'zstd'). It additionally accepts 'uncompressed' which is equivalent to no compression; and 'producer' which means retain the original compression codec set by the producer.",
  },
  {
    name: "compression.gzip.level",
    type: "int",
    defaultValue: "-1",
    check: betweenOr(1, 9, -1),
    synonyms: ["compression.gzip.level"],
    doc: "The compression level to use if compression.type is set to <code>gzip</code>.",
  },
  {
    name: "compression.lz4.level",
    type: "int",
    defaultValue: "9",
    check: between(1, 17),
    synonyms: ["compression.lz4.level"],
    doc: "The compression level to use if compression.type is set to <code>lz4</code>.",
  },
  {
    name: "compression.zstd.level",
    type: "int",
    defaultValue: "3",
    check: between(-131072, 22),
    synonyms: ["compression.zstd.level"],
    doc: "The compression level to use if compression.type is set to <code>zstd</code>.",
  },
  {
    name: "preallocate",
    type: "boolean",
    defaultValue: "false",
    synonyms: ["log.preallocate"],
    doc: "True if we should preallocate the file on disk when creating a new log segment.",
  },
  {
    name: "message.timestamp.type",
    type: "string",
    defaultValue: "CreateTime",
    check: oneOf(["CreateTime", "LogAppendTime"]),
    synonyms: ["log.message.timestamp.type"],
    doc: "Define whether the timestamp in the message is message create time or log append time.",
  },
  {
    name: "message.timestamp.before.max.ms",
    type: "long",
    defaultValue: "9223372036854775807",
    check: atLeast(0),
    synonyms: ["log.message.timestamp.before.max.ms"],
    doc: "This configuration sets the allowable timestamp difference between the broker's timestamp and the message timestamp. The message timestamp can be earlier than or equal to the broker's timestamp, with the maximum allowable difference determined by the value set in this configuration. If message.timestamp.type=CreateTime, the message will be rejected if the difference in timestamps exceeds this specified threshold. This configuration is ignored if message.timestamp.type=LogAppendTime.",
  },
  {
    name: "message.timestamp.after.max.ms",
    type: "long",
    defaultValue: "3600000",
    check: atLeast(0),
    synonyms: ["log.message.timestamp.after.max.ms"],
    doc: "This configuration sets the allowable timestamp difference between the message timestamp and the broker's timestamp. The message timestamp can be later than or equal to the broker's timestamp, with the maximum allowable difference determined by the value set in this configuration. If message.timestamp.type=CreateTime, the message will be rejected if the difference in timestamps exceeds this specified threshold. This configuration is ignored if message.timestamp.type=LogAppendTime.",
  },
  {
    name: "leader.replication.throttled.replicas",
    type: "list",
    defaultValue: "",
    check: throttledReplicas,
    synonyms: [],
    doc: "A list of replicas for which log replication should be throttled on the leader side. The list should describe a set of replicas in the form [PartitionId]:[BrokerId],[PartitionId]:[BrokerId]:... or alternatively the wildcard '*' can be used to throttle all replicas for this topic.",
  },
  {
    name: "follower.replication.throttled.replicas",
    type: "list",
    defaultValue: "",
    check: throttledReplicas,
    synonyms: [],
    doc: "A list of replicas for which log replication should be throttled on the follower side. The list should describe a set of replicas in the form [PartitionId]:[BrokerId],[PartitionId]:[BrokerId]:... or alternatively the wildcard '*' can be used to throttle all replicas for this topic.",
  },
  {
    name: "remote.storage.enable",
    type: "boolean",
    defaultValue: "false",
    synonyms: [],
    doc: "To enable tiered storage for a topic, set this configuration to true. To disable tiered storage for a topic that has it enabled, set this configuration to false. When disabling, you must also set <code>remote.log.delete.on.disable</code> to true.",
  },
  {
    name: "local.retention.ms",
    type: "long",
    defaultValue: "-2",
    check: atLeast(-2),
    synonyms: ["log.local.retention.ms"],
    doc: "The number of milliseconds to keep the local log segment before it gets deleted. Default value is -2, it represents <code>retention.ms</code> value is to be used. The effective value should always be less than or equal to <code>retention.ms</code> value.",
  },
  {
    name: "local.retention.bytes",
    type: "long",
    defaultValue: "-2",
    check: atLeast(-2),
    synonyms: ["log.local.retention.bytes"],
    doc: "The maximum size of local log segments that can grow for a partition before it deletes the old segments. Default value is -2, it represents <code>retention.bytes</code> value to be used. The effective value should always be less than or equal to <code>retention.bytes</code> value.",
  },
  {
    name: "remote.log.copy.disable",
    type: "boolean",
    defaultValue: "false",
    synonyms: [],
    doc: "Determines whether tiered data for a topic should become read only, and no more data uploading on a topic. Once this config is set to true, the local retention configuration (i.e. local.retention.ms/bytes) becomes irrelevant, and all data expiration follows the topic-wide retention configuration(i.e. retention.ms/bytes).",
  },
  {
    name: "remote.copy.lag.ms",
    type: "long",
    defaultValue: "0",
    check: atLeast(-1),
    synonyms: ["log.remote.copy.lag.ms"],
    doc: "Controls one of the two upload eligibility checks (time and size) for copying segments to remote storage. A non-active segment is upload-eligible when either this time-based check or <code>remote.copy.lag.bytes</code> is satisfied. When set to 0, uploads are immediately eligible regardless of lag checks. When set to a positive value (ms), the segment is time-eligible once elapsed time since its latest record reaches this value. When set to -1, this value is derived from effective local retention time (<code>local.retention.ms</code>). If that effective local retention time is unlimited (-1), this time-based check is not applied. A positive value should not exceed effective local retention time unless local retention is unlimited (-1).",
  },
  {
    name: "remote.copy.lag.bytes",
    type: "long",
    defaultValue: "-1",
    check: atLeast(-1),
    synonyms: ["log.remote.copy.lag.bytes"],
    doc: "Controls one of the two upload eligibility checks (time and size) for copying segments to remote storage. A non-active segment is upload-eligible when either this size-based check or <code>remote.copy.lag.ms</code> is satisfied. When set to 0, uploads are immediately eligible regardless of lag checks. When set to a positive value (bytes), the segment is size-eligible once bytes of newer local log data after that segment reaches this value. When set to -1, this value is derived from effective local retention size (<code>local.retention.bytes</code>). If that effective local retention size is unlimited (-1), this size-based check is not applied. A positive value should not exceed effective local retention size unless local retention is unlimited (-1).",
  },
  {
    name: "remote.log.delete.on.disable",
    type: "boolean",
    defaultValue: "false",
    synonyms: [],
    doc: "Determines whether tiered data for a topic should be deleted after tiered storage is disabled on a topic. This configuration should be enabled when trying to set <code>remote.storage.enable</code> from true to false",
  },
  {
    name: "errors.deadletterqueue.group.enable",
    type: "boolean",
    defaultValue: "false",
    synonyms: [],
    doc: "Enable this topic to be used as a dead-letter queue for share groups. When set to <code>true</code>, share groups can write undeliverable records to this topic. When set to <code>false</code> (the default), attempts to use this topic as a DLQ will be rejected.",
  },
];

const BY_NAME: ReadonlyMap<string, TopicSetting> = new Map(TOPIC_SETTINGS.map((setting) => [setting.name, setting]));

export function getTopicSetting(name: string): TopicSetting | undefined {
  return BY_NAME.get(name);
}

export function getSynonymName(synonym: TopicSynonym): string {
  return typeof synonym === "string" ? synonym : synonym.name;
}

/** A broker setting's value in the unit of the topic setting that it is a synonym of. Whatever is below zero stands for no limit (KafkaConfig.logRetentionTimeMillis). */
function convertSynonymValue(synonym: TopicSynonym, value: string): string {
  if (typeof synonym === "string") return value;
  const amount = Number(value);
  if (amount < 0) return "-1";
  return synonym.unit === "ms" ? value : String(amount * (synonym.unit === "hours" ? 3_600_000 : 60_000));
}

/** The value that a topic without this configuration has on this broker: the first synonym that is set, else Kafka's default. */
export function getBrokerDefault(config: Config, setting: TopicSetting): string {
  for (const synonym of setting.synonyms) {
    const name = getSynonymName(synonym);
    if (config.isSet(name)) return convertSynonymValue(synonym, config.get(name));
  }
  return setting.defaultValue;
}

/** The value in force for a topic with these explicit configurations. `name` must be a topic setting. */
export function getEffectiveTopicSetting(config: Config, configs: ReadonlyMap<string, string>, name: string): string {
  const explicit = configs.get(name);
  if (explicit !== undefined) return explicit.trim();
  const setting = BY_NAME.get(name);
  if (setting === undefined) throw new Error(`not a topic setting: ${name}`);
  return getBrokerDefault(config, setting);
}

/** Kafka's message when something is wrong with a topic's explicit configurations, else undefined. */
export function findTopicConfigError(config: Config, configs: ReadonlyMap<string, string>): string | undefined {
  for (const name of configs.keys()) {
    if (!BY_NAME.has(name)) return `Unknown topic config name: ${name}`;
  }
  for (const [name, text] of configs) {
    const setting = BY_NAME.get(name);
    if (setting === undefined) continue;
    const error = findValueError(setting.type, name, text, setting.check);
    if (error !== undefined) return error;
  }
  const minLag = BigInt(getEffectiveTopicSetting(config, configs, "min.compaction.lag.ms"));
  const maxLag = BigInt(getEffectiveTopicSetting(config, configs, "max.compaction.lag.ms"));
  if (minLag > maxLag) return `conflict topic config setting min.compaction.lag.ms (${minLag}) > max.compaction.lag.ms (${maxLag})`;
  if (getEffectiveTopicSetting(config, configs, "remote.storage.enable").toLowerCase() === "true") {
    return "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.";
  }
  return undefined;
}
