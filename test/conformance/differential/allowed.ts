/**
 * Every way in which an answer of Weir may differ from Apache Kafka's, with the reason. What is not here is a divergence. A full run counts how often each
 * entry was needed and fails for one that never was, so that the list holds nothing but what is true.
 */
import type { Difference, Identities, Node } from "./compare.ts";
import { viewRecords } from "./record-view.ts";
import { show } from "./show.ts";
import type { Step } from "./step.ts";
import { isAsFair } from "./uniform-view.ts";

export interface Allowance {
  readonly id: string;
  readonly reason: string;
  /** API names; every API when absent. */
  readonly apis?: readonly string[];
  readonly path: RegExp;
  readonly permits: (difference: Difference, identities: Identities) => boolean;
  /** The two servers hold different things from here on: the rest of the sequence is not compared. */
  readonly endsSequence?: boolean;
}

/** Lists that show the whole server: only names of the sequence are compared. */
export const ownNameLists: ReadonlySet<string> = new Set([
  "Metadata.topics",
  "ListGroups.groups",
  "ListTransactions.transactionStates",
  "ListConfigResources.configResources",
]);
const ownNamesId = "lists-of-everything";
const splitTopicId = "topic-in-parts";

/** Allowances that are no single difference, but how the comparison reads an answer. */
export const readings: readonly { readonly id: string; readonly reason: string }[] = [
  { id: ownNamesId, reason: "other sequences run at the same time: of lists of the whole server only this sequence's names are compared" },
  {
    id: splitTopicId,
    reason:
      "a topic may be listed in several parts, when its partitions are not answered side by side or it has no name of its own; clients add them up",
  },
];

/** Around the run's clock: times that a server takes itself. */
const clockToleranceMs = 20 * 60_000;

function isNow(value: unknown): boolean {
  return Math.abs(Number(value) - Date.now()) < clockToleranceMs;
}

/** Which batch has the greatest time depends on which of them came within one millisecond. */
function isLatestOfNow({ request, weirOwners, kafkaOwners }: Difference): boolean {
  return askedTimestamp(request, weirOwners) === -3n && [weirOwners, kafkaOwners].every((owners) => isNow(innermost(owners).timestamp));
}

/** The same but for times, and those hardly apart. */
function haveSameText(weir: unknown, kafka: unknown): boolean {
  const times = /-?\b\d{13,19}\b/g;
  const [ours, theirs] = [String(weir), String(kafka)];
  if (ours.replaceAll(times, "<time>") !== theirs.replaceAll(times, "<time>")) return false;
  const theirTimes = theirs.match(times) ?? [];
  return (ours.match(times) ?? []).every((time, index) => Math.abs(Number(time) - Number(theirTimes[index])) < clockToleranceMs);
}

const identity = (kind: string) => (difference: Difference, identities: Identities) =>
  isChosen(difference.weir) && isChosen(difference.kafka)
    ? identities.pair(kind, difference.weir, difference.kafka)
    : difference.weir === difference.kafka;

/** Ids that stand for "none" are not chosen by a server. */
function isChosen(value: unknown): boolean {
  return value !== null && value !== "" && value !== 0 && value !== -1 && value !== -1n && value !== "AAAAAAAAAAAAAAAAAAAAAA";
}

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Za-z0-9_-]{22}$/;

function innermost(owners: readonly Node[]): Node {
  return owners[0] ?? {};
}

function asNode(value: unknown): Node {
  return typeof value === "object" && value !== null ? (value as Node) : {};
}

/** Lists of these answers, with what is listed. */
const hashedLists = new RegExp(
  `^(?:${[
    "responses\\[\\]",
    "responses\\[\\]\\.partitionResponses\\[\\]",
    "responses\\[\\]\\.partitions\\[\\]",
    "topics\\[\\]",
    "topics\\[\\]\\.partitions\\[\\]",
    "groups\\[\\]",
    "markers\\[\\]\\.topics\\[\\]",
    "markers\\[\\]\\.topics\\[\\]\\.partitions\\[\\]",
    "members\\[\\]",
    "resultsByTopicV3AndBelow\\[\\]",
    "resultsByTransaction\\[\\]\\.topicResults\\[\\]",
    "resultsByTransaction\\[\\]\\.topicResults\\[\\]\\.resultsByPartition\\[\\]",
    "resultsByTopicV3AndBelow\\[\\]\\.resultsByPartition\\[\\]",
    "topics\\[\\]\\.partitions\\[\\]\\.activeProducers\\[\\]",
    "transactionStates\\[\\]",
    "transactionStates\\[\\]\\.topics\\[\\]",
    "transactionStates\\[\\]\\.topics\\[\\]\\.partitions\\[\\]",
    "results\\[\\]",
    "groups\\[\\]\\.members\\[\\]",
    "configResources\\[\\]",
    "groups\\[\\]\\.topics\\[\\]",
    "groups\\[\\]\\.topics\\[\\]\\.partitions\\[\\]",
    "results\\[\\]\\.configs\\[\\]",
    "assignment\\.topicPartitions\\[\\](?:\\.partitions\\[\\])?",
    "groups\\[\\]\\.members\\[\\]\\.(?:assignment|targetAssignment)\\.topicPartitions\\[\\](?:\\.partitions\\[\\])?",
    "groups\\[\\]\\.members\\[\\]\\.subscribedTopicNames\\[\\]",
  ].join("|")})order$`,
);

function codesOf(answer: unknown): number[] {
  return ((asNode(answer).responses ?? []) as { readonly partitionResponses: { readonly errorCode: number }[] }[]).flatMap((topic) =>
    topic.partitionResponses.map((partition) => partition.errorCode),
  );
}

/** What a Fetch gives of a partition's log: the part of an answer that follows from its size limits. */
const fetchedContent = /^responses\[\](?:items|\.partitions\[\](?:items|\.(?:records|abortedTransactions)))/;

function holds(answer: unknown, text: string): boolean {
  return show(answer).includes(text);
}

function isSubset(some: readonly string[], all: readonly string[]): boolean {
  return some.every((one) => all.includes(one));
}

/** Weir's batches are Kafka's up to the first one in zstd. */
function endsBeforeZstd(weir: Node | undefined, kafka: Node | undefined): boolean {
  const [ours, theirs] = [weir?.batches, kafka?.batches] as (readonly { readonly attributes: number }[] | undefined)[];
  if (ours === undefined || theirs === undefined || ours.length >= theirs.length) return false;
  return ((theirs[ours.length]?.attributes ?? 0) & 7) === 4;
}

function isWithoutRecords(partition: Node | undefined): boolean {
  return partition?.records === null || (partition?.records instanceof Uint8Array && partition.records.length === 0);
}

function isWrittenAnew(weir: Node | undefined, kafka: Node | undefined): boolean {
  const isCompressed = (batch: Node | undefined) => (Number(batch?.attributes) & 7) !== 0;
  return (isCompressed(weir) && isCompressed(kafka)) || weir?.baseTimestamp !== kafka?.baseTimestamp;
}

function hasCutBatch(answer: Node | undefined): boolean {
  const topics = (answer?.responses ?? []) as readonly { readonly partitions: readonly { readonly records: unknown }[] }[];
  return topics.some((topic) => topic.partitions.some(({ records }) => records instanceof Uint8Array && viewRecords(records).cutBytes > 0));
}

/** A batch of both answers is longer in one of them. */
function haveOtherSizes(weir: Node | undefined, kafka: Node | undefined): boolean {
  const theirs = sizesOf(kafka);
  return [...sizesOf(weir)].some(([place, size]) => theirs.has(place) && theirs.get(place) !== size);
}

/** Sizes of batches by where they are; topics by their place, since their ids differ. */
function sizesOf(answer: Node | undefined): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const topic of (answer?.responses ?? []) as {
    readonly partitions: { readonly partitionIndex: number; readonly records: unknown }[];
  }[]) {
    for (const { partitionIndex, records } of topic.partitions) {
      const batches = records instanceof Uint8Array ? viewRecords(records).batches : [];
      for (const one of batches) sizes.set(`${partitionIndex}/${one.baseOffset}/${one.count}/${one.maxTimestamp}`, one.batchLength);
    }
  }
  return sizes;
}

/** Keys are first offset and producer. */
function isShorterOnlyBeyondRecords(weir: readonly string[], kafka: readonly string[], partition: Node | undefined): boolean {
  const last = partition?.records instanceof Uint8Array ? viewRecords(partition.records).batches.at(-1) : undefined;
  const end = last === undefined ? 0n : last.baseOffset + BigInt(last.lastOffsetDelta);
  const missing = kafka.filter((key) => !weir.includes(key));
  return weir.every((key) => kafka.includes(key)) && missing.every((key) => BigInt(key.split("/")[0] ?? 0) > end);
}

function batchesOf(request: unknown): Uint8Array[] {
  const topics = (asNode(request).topicData ?? []) as readonly { readonly partitionData: readonly { readonly records: unknown }[] }[];
  const records = topics.flatMap((topic) => topic.partitionData.map((partition) => partition.records));
  return records.filter((one): one is Uint8Array => one instanceof Uint8Array && one.length > 22);
}

function hasMalformedRecord(request: unknown): boolean {
  return batchesOf(request).some((batch) => typeof viewRecords(batch).batches[0]?.records === "string");
}

/** Nobody's offsets for a group that is not there, all of them refused. */
function leavesHalfMadeGroup({ api, request, weir }: Exchange): boolean {
  const { memberId, generationIdOrMemberEpoch } = asNode(request);
  return api === "OffsetCommit" && memberId === "" && Number(generationIdOrMemberEpoch) < 0 && show(weir).includes('"errorCode":12');
}

/** Kafka has found nothing wrong with how the records are coded: it took them, or looked at their times or at the producer. */
function hasPassedStructure(kafka: Node): boolean {
  return [0, 32, 45, 47].includes(Number(kafka.errorCode));
}

/** INVALID_TXN_STATE for TRANSACTION_ABORTABLE or the other way round, or the same code without its message. */
function isToldOtherwise(weirCode: unknown, kafkaCode: unknown, kafka: unknown): boolean {
  const codes = [48, 120];
  if (!codes.includes(Number(weirCode)) || !codes.includes(Number(kafkaCode))) return false;
  return weirCode !== kafkaCode || kafka === null;
}

/** Kafka's partition is refused because another's codec is none: so in one of several partitions, and below version 7. */
function failsAtUnknownCodec(difference: Difference): boolean {
  const codes = codesOf(difference.kafkaOwners.at(-1));
  const hasUnknownCodec = batchesOf(difference.request).some((batch) => ((batch[22] ?? 0) & 7) > 4);
  return difference.version < 7 && hasUnknownCodec && codes.includes(-1) && codes.every((code) => [-1, 3].includes(code));
}

/** Kafka's record is of another place, with a greater time: one that Weir's log no longer has. */
function isTimeOfDeleted({ weirOwners, kafkaOwners, request }: Difference): boolean {
  if (askedTimestamp(request, weirOwners) !== -3n) return false;
  const [weir, kafka] = [innermost(weirOwners), innermost(kafkaOwners)];
  const isEarlier = weir.offset === -1n || Number(kafka.offset) < Number(weir.offset);
  return isEarlier && Number(kafka.timestamp) > Number(weir.timestamp);
}

function hasOddOffsetDeltas(request: unknown): boolean {
  return batchesOf(request).some(isOdd);
}

function isOdd(batch: Uint8Array): boolean {
  const view = viewRecords(batch).batches[0];
  const records = Array.isArray(view?.records) ? (view.records as readonly { readonly offset: bigint }[]) : [];
  return records.some((record, index) => record.offset - (view?.baseOffset ?? 0n) !== BigInt(index));
}

/** What a ListOffsets request asked for the partition that the answer is about. */
function askedTimestamp(request: unknown, owners: readonly Node[]): bigint {
  const [partition, topic] = owners;
  const topics = asNode(request).topics as readonly {
    readonly name: string;
    readonly partitions: readonly { readonly partitionIndex: number; readonly timestamp: bigint }[];
  }[];
  const asked = topics.find((one) => one.name === topic?.name)?.partitions.find((one) => one.partitionIndex === partition?.partitionIndex);
  return asked?.timestamp ?? 0n;
}

export const allowed: readonly Allowance[] = [
  {
    id: "producer-id",
    reason: "producer ids are given out by each server from its own blocks; the same one stands for the same producer",
    path: /(?:^|\.)(?:producerId|ongoingTxnProducerId)$/,
    permits: identity("producer"),
  },
  {
    id: "topic-id",
    reason: "topic ids are random (KIP-516); the same one stands for the same topic",
    path: /(?:^|\.)topicId$/,
    permits: identity("topic"),
  },
  {
    id: "member-id",
    reason: "member ids end in a random UUID; what stands before it is compared, and the same one stands for the same member",
    path: /(?:^|\.)(?:memberId|leader)$/,
    permits: ({ weir, kafka }, identities) => {
      const before = (value: unknown) => String(value).replace(uuid, "");
      return before(weir) === before(kafka) && (weir === "" ? kafka === "" : identities.pair("member", weir, kafka));
    },
  },
  {
    id: "fetch-session-id",
    reason: "fetch session ids are random (KIP-227); the same one stands for the same session",
    apis: ["Fetch"],
    path: /^sessionId$/,
    permits: identity("session"),
  },
  {
    id: "cluster-id",
    reason: "two clusters, two ids",
    path: /^clusterId$/,
    permits: identity("cluster"),
  },
  {
    id: "endpoint",
    reason: "two servers, two ports",
    path: /(?:^|\.)port$/,
    permits: ({ weir, kafka }, identities) => identities.pair("port", weir, kafka),
  },
  {
    id: "append-time",
    reason: "times that each server takes from its clock: of LogAppendTime, of markers, of a transaction's start",
    apis: ["Produce", "Fetch", "ListOffsets", "DescribeProducers", "DescribeTransactions"],
    path: /(?:logAppendTimeMs|baseTimestamp|maxTimestamp|timestamp|lastTimestamp|transactionStartTimeMs|partitions\[\]\.offset)$/,
    permits: (difference) =>
      difference.path.endsWith(".offset") ? isLatestOfNow(difference) : isNow(difference.weir) && isNow(difference.kafka),
  },
  {
    id: "min-insync-replicas-source",
    reason:
      "Kafka moves a static min.insync.replicas to the cluster's dynamic settings when it is formatted (KIP-966); Weir has no replicas to count",
    apis: ["CreateTopics", "DescribeConfigs"],
    path: /configs\[\]\.(?:configSource|synonyms(?:\[\].*)?)$/,
    permits: ({ weirOwners, kafkaOwners }) =>
      [weirOwners, kafkaOwners].every((owners) => owners.some((one) => one.name === "min.insync.replicas")),
  },
  {
    id: "order-of-a-hash",
    reason: "Kafka gathers these in hash maps; nobody may rely on the order in which they come out",
    path: hashedLists,
    permits: () => true,
  },
  {
    id: "no-such-isolation-level",
    reason: "Kafka fails on an isolation level that does not exist with UNKNOWN_SERVER_ERROR; Weir reads it as read_uncommitted",
    apis: ["Fetch", "ListOffsets"],
    path: /./,
    permits: ({ request, kafkaOwners }) =>
      !["0", "1"].includes(String(asNode(request).isolationLevel)) && holds(kafkaOwners.at(-1), '"errorCode":-1,'),
  },
  {
    id: "never-unknown-server-error",
    reason:
      "Kafka answers a batch that makes its validator throw with UNKNOWN_SERVER_ERROR; Weir never answers a Produce with it (case R7)",
    apis: ["Produce"],
    path: /partitionResponses\[\]\./,
    permits: ({ weirOwners, kafkaOwners }) => innermost(kafkaOwners).errorCode === -1 && innermost(weirOwners).errorCode !== 0,
  },
  {
    id: "unknown-codec-fails-all",
    reason:
      "below version 7 Kafka fails with UNKNOWN_SERVER_ERROR on all partitions when one batch's codec is none; Weir refuses that one and serves the others",
    apis: ["Produce"],
    path: /^responses\[\]\.partitionResponses\[\]\./,
    permits: failsAtUnknownCodec,
    endsSequence: true,
  },
  {
    id: "offset-deltas",
    reason:
      "Weir refuses batches whose offset deltas are not 0, 1, 2, ...; Kafka takes uncompressed ones as they are, which leaves a log that clients misread",
    apis: ["Produce"],
    path: /partitionResponses\[\]\./,
    permits: ({ weirOwners, kafkaOwners, request }) =>
      innermost(weirOwners).errorCode === 87 && hasPassedStructure(innermost(kafkaOwners)) && hasOddOffsetDeltas(request),
    endsSequence: true,
  },
  {
    id: "validated-topic-id",
    reason: "Kafka answers a validation with the random id that the topic would have had; Weir has given none",
    apis: ["CreateTopics"],
    path: /^topics\[\]\.topicId$/,
    permits: ({ request, weir }) => asNode(request).validateOnly === true && !isChosen(weir),
  },
  {
    id: "remote-tier",
    reason: "Weir's segment objects are what Kafka calls a remote tier; the Kafka compared with has none",
    apis: ["ListOffsets"],
    path: /^topics\[\]\.partitions\[\]\.(?:offset|leaderEpoch)$/,
    permits: ({ request, weirOwners }) => [-4n, -5n, -6n].includes(askedTimestamp(request, weirOwners)),
  },
  {
    id: "aborted-without-records",
    reason:
      "clients read the list of aborted transactions only along with records; without any, Kafka's list depends on which limit left them out",
    apis: ["Fetch"],
    path: /^responses\[\]\.partitions\[\]\.abortedTransactions/,
    permits: ({ weirOwners, kafkaOwners }) => isWithoutRecords(weirOwners[0]) && isWithoutRecords(kafkaOwners[0]),
  },
  {
    id: "cut-batch",
    reason:
      "Kafka cuts a partition's last batch at the size limit wherever that falls, and clients drop the piece; Weir ends with a whole batch, which leaves room for others",
    apis: ["Fetch"],
    path: fetchedContent,
    permits: ({ weirOwners, kafkaOwners }) => !hasCutBatch(weirOwners.at(-1)) && hasCutBatch(kafkaOwners.at(-1)),
  },
  {
    id: "time-of-deleted-records",
    reason:
      "Kafka answers the greatest timestamp with a record that DeleteRecords has deleted, as long as its segment is there; Weir with one that can be read",
    apis: ["ListOffsets"],
    path: /^topics\[\]\.partitions\[\]\.(?:offset|leaderEpoch|timestamp)$/,
    permits: isTimeOfDeleted,
  },
  {
    id: "negative-partition-limit",
    reason: "Kafka fails with UNKNOWN_SERVER_ERROR on a negative max bytes of a partition that has records; Weir takes it for 0",
    apis: ["Fetch"],
    path: /^responses/,
    permits: ({ request, kafkaOwners }) => holds(request, '"partitionMaxBytes":-1') && holds(kafkaOwners.at(-1), '"errorCode":-1,'),
  },
  {
    id: "not-served-yet",
    reason: "Weir advertises what it serves; APIs and features that it does not have are absent from the list",
    apis: ["ApiVersions"],
    path: /^(?:apiKeys|supportedFeatures|finalizedFeatures)\[\]items$/,
    permits: ({ weir, kafka }) => (weir as string[]).every((key) => (kafka as string[]).includes(key)),
  },
  {
    id: "auto-creation-at-once",
    reason: "a topic that Metadata makes is answered ready by Weir and as unknown by Kafka, whose client has to ask again (case M20)",
    apis: ["Metadata"],
    path: /^topics\[\]\./,
    permits: ({ weirOwners, kafkaOwners, request }) =>
      asNode(request).allowAutoTopicCreation === true &&
      weirOwners.some((one) => one.errorCode === 0) &&
      kafkaOwners.some((one) => one.errorCode === 3),
    endsSequence: true,
  },
  {
    id: "features-epoch",
    reason: "the metadata offset of each server's own log",
    apis: ["ApiVersions"],
    path: /^finalizedFeaturesEpoch$/,
    permits: () => true,
  },
  {
    id: "zstd-for-old-consumers",
    reason: "Kafka hands zstd to any version of Fetch; Weir refuses below 10, since the clients that speak them cannot read it (KIP-110)",
    apis: ["Fetch"],
    path: /^responses/,
    permits: ({ version, path, weirOwners, kafkaOwners }) => {
      if (version >= 10) return false;
      const isRefused = weirOwners.some((one) => one.errorCode === 76) || endsBeforeZstd(weirOwners[0], kafkaOwners[0]);
      return isRefused || (fetchedContent.test(path) && holds(weirOwners.at(-1), '"errorCode":76,'));
    },
  },
  {
    id: "written-anew",
    reason:
      "a batch that the topic's compression.type makes the server write anew: two libraries compress differently, and Kafka begins at its first record's time",
    apis: ["Fetch"],
    path: /\.records\.batches\[\]\.(?:batchLength|payload|baseTimestamp)$/,
    permits: ({ weirOwners, kafkaOwners }) => isWrittenAnew(weirOwners[0], kafkaOwners[0]),
  },
  {
    id: "written-anew-limits",
    reason: "batches that were written anew have other sizes, so that a size limit ends the answer at another batch",
    apis: ["Fetch"],
    path: fetchedContent,
    permits: ({ weirOwners, kafkaOwners }) => haveOtherSizes(weirOwners.at(-1), kafkaOwners.at(-1)),
  },
  {
    id: "aborted-beyond-records",
    reason: "Kafka's list of aborted transactions goes on to the end of the index entry; Weir's ends with the records it belongs to",
    apis: ["Fetch"],
    path: /\.abortedTransactions\[\]items$/,
    permits: ({ weir, kafka, weirOwners }) => isShorterOnlyBeyondRecords(weir as string[], kafka as string[], weirOwners[0]),
  },
  {
    id: "malformed-compressed-record",
    reason: "Kafka does not check the length field of a record in a compressed batch, and its consumers fail on it; Weir refuses the batch",
    apis: ["Produce"],
    path: /partitionResponses\[\]\./,
    permits: ({ weirOwners, kafkaOwners, request }) =>
      innermost(weirOwners).errorCode === 87 && hasPassedStructure(innermost(kafkaOwners)) && hasMalformedRecord(request),
    endsSequence: true,
  },
  {
    id: "time-in-message",
    reason: "messages about timestamps name the bound, which moves with the server's clock",
    apis: ["Produce"],
    path: /(?:errorMessage|batchIndexErrorMessage)$/,
    permits: ({ weir, kafka }) => haveSameText(weir, kafka),
  },
  {
    id: "told-as-abortable",
    reason:
      "Kafka asks for several transactions at once and then takes one answer's words for all: at times an old client is told TRANSACTION_ABORTABLE, or what that becomes for it, without a message; and a new one INVALID_TXN_STATE",
    apis: ["TxnOffsetCommit", "Produce"],
    path: /error(?:Code|Message)$/,
    permits: ({ kafka, weirOwners, kafkaOwners }) =>
      isToldOtherwise(innermost(weirOwners).errorCode, innermost(kafkaOwners).errorCode, kafka),
  },
  {
    id: "markers-under-way",
    reason: "of a transaction that is being ended Kafka lists the partitions whose markers are still to be written, Weir all of them",
    apis: ["DescribeTransactions"],
    path: /^transactionStates\[\]\.topics\[\](?:items|\.partitions\[\]items)$/,
    permits: ({ weir, kafka, weirOwners }) =>
      weirOwners.some((one) => String(one.transactionState).startsWith("Prepare")) && isSubset(kafka as string[], weir as string[]),
  },
  {
    id: "partition-twice",
    reason:
      "a partition of an unknown topic id that a Produce names twice is refused once by Kafka, which keeps them in a map; Weir refuses each",
    apis: ["Produce"],
    path: /^responses\[\]\.partitionResponses\[\](?:items|length)$/,
    permits: ({ weir, kafka, weirOwners }) =>
      codesOf(weirOwners.at(-1)).includes(100) && (weir as unknown[]).length > (kafka as unknown[]).length,
  },
  {
    id: "uniform",
    reason:
      "whom `uniform` gives what depends on the order of Kafka's hash maps; both give the same partitions, to members that are subscribed to them, Weir at least as evenly and with no more moves",
    apis: ["ConsumerGroupDescribe"],
    path: /^groups\[\]\.members\[\]\.(?:assignment|targetAssignment)\./,
    permits: ({ weirOwners, kafkaOwners }) => isAsFair(weirOwners, kafkaOwners),
  },
  {
    id: "under-way",
    reason:
      "Kafka looks at a pattern in the background, Weir in the heartbeat that brings it; and whom `uniform` has give partitions up is each server's choice: how far members have come is compared when all have what they shall have",
    apis: ["ConsumerGroupHeartbeat"],
    path: /^(?:memberEpoch$|assignment)/,
    permits: ({ isUnderWay, weirOwners, kafkaOwners }) =>
      isUnderWay && [weirOwners, kafkaOwners].every((owners) => owners.at(-1)?.errorCode === 0),
  },
  {
    id: "no-share-coordinator",
    reason: "Weir has no share groups; it answers as a Kafka without them",
    apis: ["FindCoordinator"],
    path: /./,
    permits: ({ request, weirOwners }) => asNode(request).keyType === 2 && holds(weirOwners.at(-1), '"errorCode":42,'),
  },
];

/** One request and what Weir answered. */
export interface Exchange {
  readonly api: string;
  readonly request: unknown;
  readonly weir: unknown;
  readonly step: Step;
}

/** After these the servers hold different things, whether or not the answers show it: nothing from there on is compared. */
export const partings: readonly { readonly id: string; readonly reason: string; readonly hasParted: (exchange: Exchange) => boolean }[] = [
  {
    id: "half-made-group",
    reason:
      "Kafka keeps a group in memory that a refused commit would have begun: OffsetDelete knows it, DescribeGroups does not; Weir makes none",
    hasParted: leavesHalfMadeGroup,
  },
  {
    id: "moved-in-time",
    reason:
      "a batch that claims LogAppendTime, which no client does: where it is written anew Kafka gives all its records its greatest time, Weir leaves them theirs",
    hasParted: ({ step, weir }) => step.parts === true && codesOf(weir).includes(0),
  },
];

/** The list as one run uses it: looked up, and counted. */
export class Allowances {
  readonly counts = new Map<string, number>();
  /** Set by an allowance that ends the comparison of its sequence; whoever compares sets it back. */
  hasEndedSequence = false;
  #isCounting = true;

  #count(id: string): void {
    if (this.#isCounting) this.counts.set(id, (this.counts.get(id) ?? 0) + 1);
  }

  /** True for fields whose equal values must be looked at too, since they stand for identities. */
  isIdentity(path: string): boolean {
    return /(?:^|\.)(?:producerId|ongoingTxnProducerId|topicId|memberId)$|^sessionId$/.test(path);
  }

  permits(difference: Difference, identities: Identities): boolean {
    for (const allowance of allowed) {
      if (allowance.apis !== undefined && !allowance.apis.includes(difference.api)) continue;
      if (!allowance.path.test(difference.path) || !allowance.permits(difference, identities)) continue;
      if (difference.weir !== difference.kafka) this.#count(allowance.id);
      if (allowance.endsSequence) this.hasEndedSequence = true;
      return true;
    }
    return false;
  }

  countOwnNames(): void {
    this.#count(ownNamesId);
  }

  countSplitTopic(): void {
    this.#count(splitTopicId);
  }

  /** True when the sequence ends here; the exchange itself is not compared either. */
  hasParted(exchange: Exchange): boolean {
    const parting = partings.find((one) => one.hasParted(exchange));
    if (parting !== undefined) this.#count(parting.id);
    return parting !== undefined;
  }

  /** Entries of the list that no difference has needed. */
  unused(): string[] {
    return [...allowed, ...readings, ...partings].map((one) => one.id).filter((id) => !this.counts.has(id));
  }

  /** For replays, which say nothing about the run. */
  static uncounted(): Allowances {
    const allowances = new Allowances();
    allowances.#isCounting = false;
    return allowances;
  }
}
