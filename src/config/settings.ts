/**
 * Every setting once: Kafka's (with the meaning that Weir gives them) and ours. A Kafka setting that is not named here is known and has no
 * meaning. docs/configuration.md is generated from this table.
 */
import { GROUP_BOUNDS } from "./group-checks.ts";
import { KAFKA_SETTINGS } from "./kafka-settings.ts";
import type { KafkaSetting, Setting, SettingMeaning } from "./setting.ts";

interface Meaning {
  readonly meaning: SettingMeaning;
  readonly note: string;
  /** Only where ours differs from Kafka's; `note` says why. */
  readonly default?: string;
}

const used = (note: string): Meaning => ({ meaning: "used", note });
const usedWithDefault = (value: string, note: string): Meaning => ({ meaning: "used", note, default: value });
const groupBound = used("Bounds what a group may set for itself.");
const reported: Meaning = { meaning: "reported", note: "Answered as the default of a topic's configuration; acts on nothing yet." };
const kraft: Meaning = { meaning: "kraft", note: "Part of Kafka's KRaft quorum. Weir has none: its metadata lives in the object store." };

/** What Weir does with Kafka's settings. */
export const KAFKA_MEANINGS: Readonly<Record<string, Meaning>> = {
  listeners: usedWithDefault(
    "PLAINTEXT://127.0.0.1:9092",
    "Only PLAINTEXT listeners are served in this version. Without any configuration Weir is reachable from its own machine only. Bound at start.",
  ),
  "advertised.listeners": used("Defaults to `listeners`. A wildcard address is refused."),
  "listener.security.protocol.map": used("Names of listeners and the protocol each speaks."),
  "controller.listener.names": used("A listener named here is not opened: it belongs to Kafka's quorum."),
  "node.id": usedWithDefault("1", "Kafka requires it; a single broker needs none here."),
  "broker.id": used("Older name of `node.id`; where both are set they must be equal."),
  "broker.rack": used("The zone; clients see it in Metadata."),
  "num.partitions": used("Partitions of a topic that is created without a count."),
  "default.replication.factor": used("Answered, never acted on: the object store replicates."),
  "min.insync.replicas": used("Answered, never acted on: acks=all never gives NOT_ENOUGH_REPLICAS."),
  "auto.create.topics.enable": used("Metadata and Produce create unknown topics where the request allows it too."),
  "delete.topic.enable": used("Whether DeleteTopics is allowed."),
  "message.max.bytes": used(
    "Largest record batch that a topic takes unless its own max.message.bytes says otherwise. A batch must also fit into one commit of the WAL: 4 MiB, or as much as this is when the broker starts.",
  ),
  "max.decompressed.message.bytes": used("Largest content of one compressed batch."),
  "log.message.timestamp.type": used("CreateTime or LogAppendTime."),
  "log.message.timestamp.before.max.ms": used("How far a record's timestamp may lie in the past."),
  "log.message.timestamp.after.max.ms": used("How far a record's timestamp may lie in the future."),
  "fetch.max.bytes": used("Most bytes that one Fetch answers, the first batch apart."),
  "max.incremental.fetch.session.cache.slots": used("Incremental fetch sessions kept."),
  "max.request.partition.size.limit": used("Most partitions that one DescribeTopicPartitions answers."),
  "producer.id.expiration.ms": used("How long an idle producer's sequence state is kept."),
  "transaction.partition.verification.enable": used(
    "Whether a producer's first batch of a transaction in a partition is verified with the coordinator; Produce 12 and above always asks.",
  ),
  "transaction.max.timeout.ms": used("Longest timeout that a producer may ask for its transactions."),
  "transaction.abort.timed.out.transaction.cleanup.interval.ms": used(
    "How often transactions are looked through for those whose time is up.",
  ),
  "transaction.remove.expired.transaction.cleanup.interval.ms": used(
    "How often transactional ids are looked through for those unused for too long.",
  ),
  "transactional.id.expiration.ms": used("How long a transactional id that nobody uses is remembered."),
  "transaction.state.log.load.buffer.size": used("Bytes read at once while the transactions of a partition are loaded."),
  "transaction.state.log.num.partitions": used("Partitions of __transaction_state when it is created."),
  "transaction.state.log.replication.factor": used("Answered for __transaction_state, never acted on: the object store replicates."),
  "transaction.state.log.min.isr": used("Answered as min.insync.replicas of __transaction_state; acts on nothing."),
  "transaction.state.log.segment.bytes": used("Answered as segment.bytes of __transaction_state; acts on nothing."),
  "transaction.two.phase.commit.enable": used("Whether producers may ask for transactions that never time out (InitProducerId 6)."),
  "unstable.api.versions.enable": used("Serves InitProducerId 6, which 4.4 does not count as stable."),
  "add.partitions.to.txn.retry.backoff.ms": used(
    "Pause between questions to a coordinator that is just ending the producer's last transaction.",
  ),
  "add.partitions.to.txn.retry.backoff.max.ms": used("How long such questions go on before the producer is told CONCURRENT_TRANSACTIONS."),
  "group.initial.rebalance.delay.ms": used("How long a new classic group waits for more members before its first rebalance."),
  "group.max.size": used("Most members of a classic group."),
  "group.max.session.timeout.ms": used("Longest session that a member of a classic group may ask for."),
  "group.min.session.timeout.ms": used("Shortest session that a member of a classic group may ask for."),
  "group.coordinator.rebalance.protocols": used("Protocols that groups may use; without `consumer` its requests are refused."),
  "group.consumer.assignors": used("Assignors that members may ask for (uniform, range); the first serves those who ask for none."),
  "group.consumer.assignment.interval.ms": used("Least time between two target assignments of a consumer group."),
  "group.consumer.heartbeat.interval.ms": used("Told to the members of consumer groups."),
  "group.consumer.session.timeout.ms": used("A member of a consumer group that is silent for longer is fenced."),
  "group.consumer.max.size": used("Most members of a consumer group."),
  "group.consumer.migration.policy": used(
    "Whether groups go from the classic protocol to the consumer protocol and back while they have members.",
  ),
  "group.consumer.regex.refresh.interval.ms": used("How often patterns are matched anew, besides when topics come and go."),
  ...Object.fromEntries(GROUP_BOUNDS.flatMap(({ least, most }) => [least, most]).map((name) => [name, groupBound])),
  "group.streams.max.standby.replicas": groupBound,
  "group.streams.max.warmup.replicas": groupBound,
  "group.streams.min.task.offset.interval.ms": groupBound,
  "group.streams.assignors": used("Task assignors that a group may set for itself."),
  "producer.id.expiration.check.interval.ms": used("How often partitions look for producers that have been silent for too long."),
  "offset.metadata.max.bytes": used("Longest metadata of a committed offset."),
  "offsets.commit.timeout.ms": used(
    "How long a commit, an assignment or an offset fetch waits for the WAL before its client is told to ask again.",
  ),
  "offsets.load.buffer.size": used("Bytes read at once while the groups of a partition are loaded."),
  "offsets.retention.check.interval.ms": used("How often committed offsets are looked through for those whose retention has ended."),
  "offsets.retention.minutes": used("How long the offsets of a group without members are kept."),
  "offsets.topic.num.partitions": used("Partitions of __consumer_offsets when it is created."),
  "offsets.topic.replication.factor": used("Answered for __consumer_offsets, never acted on: the object store replicates."),
  "offsets.topic.segment.bytes": used("Answered as segment.bytes of __consumer_offsets; acts on nothing."),
  "request.timeout.ms": used("Deadline of what a request waits for inside the broker."),
  "socket.request.max.bytes": used("A larger request closes the connection."),
  "socket.listen.backlog.size": used("Connections that wait to be accepted."),
  "connections.max.idle.ms": used("A connection that is silent for longer is closed."),
  "max.connections": used(
    "Connections beyond it wait in the backlog; the descriptor limit bounds them too. Lowered, it closes those silent for longest. Also for one listener: `listener.name.NAME.max.connections`.",
  ),
  "max.connections.per.ip": used("A connection beyond it is closed at once."),
  "max.connections.per.ip.overrides": used("ADDRESS:COUNT,...: other bounds for single addresses; names but localhost are refused."),
  "max.connection.creation.rate": used(
    "New connections a second, on average over the quota windows; those beyond it wait in the backlog. Also for one listener: `listener.name.NAME.max.connection.creation.rate`.",
  ),
  "quota.window.num": used("Windows, the one that has begun among them, over which max.connection.creation.rate is averaged."),
  "quota.window.size.seconds": used("Length of such a window."),
  "compression.type": used("The codec that batches are stored in unless a topic says otherwise; producer keeps the producer's."),
  "compression.gzip.level": used("Level of batches stored as gzip; -1 is the library's default."),
  "compression.lz4.level": used(
    "Level of batches stored as lz4; 9 means the fast codec, as in Kafka, every other the high-compression one.",
  ),
  "compression.zstd.level": used("Level of batches stored as zstd."),
  "log.cleanup.policy": used(
    "Where a topic has no cleanup.policy: with `delete` its old records are dropped. `compact` acts on nothing yet.",
  ),
  "log.cleaner.delete.retention.ms": reported,
  "log.cleaner.max.compaction.lag.ms": reported,
  "log.cleaner.min.cleanable.ratio": reported,
  "log.cleaner.min.compaction.lag.ms": reported,
  "log.flush.interval.messages": reported,
  "log.flush.interval.ms": reported,
  "log.index.interval.bytes": reported,
  "log.index.size.max.bytes": reported,
  "log.local.retention.bytes": reported,
  "log.local.retention.ms": reported,
  "log.preallocate": reported,
  "log.retention.bytes": used("Size above which a partition's oldest committed records are dropped."),
  "log.retention.check.interval.ms": used("How often partitions are looked through for records past their retention."),
  "log.retention.hours": used("Age of records in hours, after which they are dropped; `log.retention.ms` wins."),
  "log.retention.minutes": used("The same in minutes; wins over hours."),
  "log.retention.ms": used("The same in milliseconds; wins over both."),
  "log.roll.hours": reported,
  "log.roll.ms": reported,
  "log.roll.jitter.hours": reported,
  "log.roll.jitter.ms": reported,
  "log.segment.bytes": reported,
  "log.segment.delete.delay.ms": reported,
  "unclean.leader.election.enable": reported,
  "process.roles": kraft,
  "initial.broker.registration.timeout.ms": kraft,
  "broker.heartbeat.interval.ms": kraft,
  "broker.session.timeout.ms": kraft,
  "metadata.log.dir": kraft,
};

const KRAFT_PREFIXES = ["controller.", "metadata.log.", "metadata.max."];

const ours = (
  name: string,
  type: Setting["type"],
  defaultValue: string | null,
  note: string,
  limits: Setting["limits"] = {},
  importance: Setting["importance"] = "medium",
): Setting => ({
  name,
  type,
  default: defaultValue,
  importance,
  isInternal: false,
  limits,
  doc: note,
  origin: "weir",
  updateMode: "read-only",
  meaning: "used",
  note,
});

const MEBIBYTE = 1024 ** 2;

/** Settings that only Weir has. A "size" is a number of bytes, also written as 64MiB or 4GiB; null defaults derive from the memory limit. */
export const WEIR_SETTINGS: readonly Setting[] = [
  ours(
    "object.store",
    "string",
    "file:./weir-data/objects",
    "Where the cluster lives: s3://BUCKET/PREFIX?region=R&endpoint=URL&pathStyle=true, file:DIR or memory:. Credentials come from the AWS default chain.",
    {},
    "high",
  ),
  ours(
    "wal",
    "string",
    "file:./weir-data/wal?size=4GiB",
    "The write-ahead log: block:DEVICE (formatted by `weir wal format`), file:PATH?size=4GiB or memory:.",
    {},
    "high",
  ),
  ours("http.listener", "string", "127.0.0.1:8080", "HOST:PORT of /healthz, /readyz and /metrics. Empty: none.", {}, "high"),
  ours(
    "ring.capacity.bytes",
    "size",
    null,
    "Memory ring: write buffer and tail cache. Default: an eighth of the memory limit, 32 MiB to 512 MiB.",
    {
      min: 16 * MEBIBYTE,
      max: 64 * 1024 * MEBIBYTE,
    },
  ),
  ours(
    "request.memory.bytes",
    "size",
    null,
    "Request bytes held at once; above it sockets are not read. Default: a sixteenth of the memory limit, 16 MiB to 1 GiB.",
    { min: MEBIBYTE },
  ),
  ours(
    "block.cache.bytes",
    "size",
    null,
    "Cache of blocks read back from objects. Default: a sixteenth of the memory limit, 16 MiB to 2 GiB.",
    {
      min: 0,
    },
  ),
  ours(
    "catch.up.memory.bytes",
    "size",
    null,
    "Memory of readers that lag behind the ring. Default: a sixteenth of the memory limit, 16 MiB to 1 GiB.",
    {
      min: 4 * MEBIBYTE,
    },
  ),
  ours("upload.size.bytes", "size", null, "A segment object is cut at this payload. Default: a quarter of the ring, at most 64 MiB.", {
    min: 64 * 1024,
    max: 1024 * MEBIBYTE,
  }),
  ours(
    "upload.interval.ms",
    "int",
    "10000",
    "A segment object is cut when its oldest record is this old. An idle broker uploads nothing.",
    {
      min: 10,
      max: 3_600_000,
    },
  ),
  ours(
    "segment.zstd.level",
    "int",
    "1",
    "zstd level of segment objects' blocks; 0 stores them as they came, for less CPU and more bytes in the bucket. Batches that a producer compressed always are.",
    {
      min: 0,
      max: 19,
    },
  ),
  ours("request.progress.timeout.ms", "int", "30000", "A connection whose begun request brings next to nothing for so long is closed.", {
    min: 100,
    max: 3_600_000,
  }),
  ours("max.pending.requests.per.connection", "int", "100", "Unanswered requests of one connection; above it the connection is not read.", {
    min: 1,
    max: 10_000,
  }),
  ours("drain.timeout.ms", "int", "25000", "Longest time between SIGTERM and exit.", { min: 0, max: 3_600_000 }),
  ours("logger.level", "string", "info", "Least severe level that is logged.", { values: ["debug", "info", "warn", "error"] }),
  ours("logger.format", "string", "text", "One line per event, for people (text) or for programs (json).", { values: ["text", "json"] }),
];

function meaningOf(setting: KafkaSetting): Meaning {
  const named = KAFKA_MEANINGS[setting.name];
  if (named !== undefined) return named;
  if (KRAFT_PREFIXES.some((prefix) => setting.name.startsWith(prefix))) return kraft;
  return { meaning: "none", note: "" };
}

function joinKafka(setting: KafkaSetting): Setting {
  const { meaning, note, default: ourDefault } = meaningOf(setting);
  const joined: Setting = { ...setting, origin: "kafka", meaning, note };
  return ourDefault === undefined ? joined : { ...joined, default: ourDefault, kafkaDefault: setting.default };
}

/** By name; Kafka's in Kafka's order, then ours. */
export const SETTINGS: ReadonlyMap<string, Setting> = new Map(
  [...KAFKA_SETTINGS.map(joinKafka), ...WEIR_SETTINGS].map((setting) => [setting.name, setting]),
);

/** Kafka's configurations with a free part in their name; none has a meaning here yet. */
const KNOWN_PREFIXES = ["listener.name.", "config.providers.", "rlmm.config.", "rsm.config.", "kafka.metrics.", "metrics.context."];

export function hasKnownPrefix(name: string): boolean {
  return KNOWN_PREFIXES.some((prefix) => name.startsWith(prefix));
}

/** Keys of older Kafka versions that Kafka 4 removed, by what an operator should know. */
export const REMOVED_FROM_KAFKA: ReadonlySet<string> = new Set([
  "zookeeper.connect",
  "zookeeper.connection.timeout.ms",
  "zookeeper.session.timeout.ms",
  "zookeeper.set.acl",
  "inter.broker.protocol.version",
  "log.message.format.version",
  "log.message.timestamp.difference.max.ms",
  "advertised.host.name",
  "advertised.port",
  "host.name",
  "port",
  "broker.id.generation.enable",
  "reserved.broker.max.id",
  "control.plane.listener.name",
]);
