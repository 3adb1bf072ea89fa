/** What a member does with the partitions that it has, whatever its protocol: it reads each from the committed offset on, and commits how far it has come. */
import { fetchApi, newFetchPartition, newFetchRequest, newFetchTopic } from "../../src/protocol/messages/fetch.ts";
import type { MemberOptions } from "./consumer-member.ts";
import type { MemberTrace, PartitionTrace } from "./consumer-model.ts";
import {
  commitReading,
  GONE,
  progressOf,
  type Reading,
  STALE_MEMBER_EPOCH,
  UNKNOWN_MEMBER_ID,
  UNKNOWN_TOPIC,
  UNKNOWN_TOPIC_ID,
} from "./consumer-remains.ts";
import { type Committer, type CoordinatorLink, fetchOffsets } from "./consumer-requests.ts";
import { decodeSimBatches } from "./sim-batch.ts";

const FETCH_VERSION = 12;
const OFFSET_OUT_OF_RANGE = 1;
/** Errors of reading that another try ends: NOT_LEADER and the like, and topics that are gone. */
const POLL_AGAIN: ReadonlySet<number> = new Set([UNKNOWN_TOPIC, 5, 6, 7, 56, 74, 75, UNKNOWN_TOPIC_ID]);
const POLL_MS = 100;

export class PartitionReader {
  readonly positions = new Map<PartitionTrace, number>();
  private readonly options: MemberOptions;
  private readonly link: CoordinatorLink;

  constructor(options: MemberOptions, link: CoordinatorLink) {
    this.options = options;
    this.link = link;
  }

  /** Of these, what it knows no position for. Topics whose name nobody knows cannot be read. */
  findUnread(owned: Iterable<PartitionTrace>): readonly PartitionTrace[] {
    return [...owned].filter((at) => at.log !== undefined && !this.positions.has(at));
  }

  /** `committer` undefined: asked by nobody's member id. True: the member is outdated. */
  async readCommitted(
    trace: MemberTrace,
    committer: Committer | undefined,
    partitions: readonly PartitionTrace[],
    isOwn = true,
  ): Promise<boolean> {
    const { model, place } = this.options;
    const due = new Map(partitions.map((at) => [at, at.acknowledged]));
    const { answer, isCurrent } = await fetchOffsets(this.link, model.groupId, committer, partitions, place.process.random.chance(50));
    for (const [at, { errorCode, offset }] of answer) {
      if (GONE.has(errorCode)) {
        if (isOwn) this.positions.set(at, 0);
        continue;
      }
      if (errorCode === STALE_MEMBER_EPOCH || errorCode === UNKNOWN_MEMBER_ID) return true;
      if (errorCode !== 0)
        model.find("unexpected-error", `${trace.memberId}'s OffsetFetch of ${at.name} is answered with error ${errorCode}`);
      if (errorCode !== 0 || !isCurrent) return false;
      model.offsetFetched(trace, at, offset, due.get(at) ?? -1);
      if (isOwn) this.positions.set(at, Math.max(0, offset));
    }
    return false;
  }

  /** A member that has nothing asks what others have committed. */
  async lookAtOthers(trace: MemberTrace, committer: Committer | undefined): Promise<boolean> {
    const { model, place } = this.options;
    const named = [...model.allPartitions()].filter(({ log }) => log !== undefined);
    if (named.length > 0) return this.readCommitted(trace, committer, [place.process.random.pick(named)], false);
    await place.process.clock.sleep(50);
    return false;
  }

  /** True: the member is outdated. */
  async commit(reading: Reading, partitions = progressOf(reading)): Promise<boolean> {
    if (partitions.length === 0) return false;
    const { model, place } = this.options;
    return commitReading(this.link, model, reading, partitions, place.process.random.chance(50));
  }

  async poll(trace: MemberTrace): Promise<void> {
    const { place, model } = this.options;
    const byTopic = new Map<string, PartitionTrace[]>();
    for (const at of this.positions.keys()) byTopic.set(at.topic, [...(byTopic.get(at.topic) ?? []), at]);
    const topics = [...byTopic].map(([topic, own]) =>
      newFetchTopic({
        topic,
        partitions: own.map((at) =>
          newFetchPartition({ partition: at.partition, fetchOffset: BigInt(this.positions.get(at) ?? 0), partitionMaxBytes: 32_768 }),
        ),
      }),
    );
    const maxWaitMs = place.pace.isBehind ? 0 : POLL_MS;
    const request = newFetchRequest({ replicaId: -1, maxWaitMs, minBytes: 1, maxBytes: 1 << 20, sessionId: 0, sessionEpoch: -1, topics });
    const { answer, isCurrent } = await this.link.ask("poll", fetchApi, FETCH_VERSION, request, (one) => [one.errorCode]);
    for (const { topic, partitions } of answer.responses) {
      for (const { partitionIndex, errorCode, records } of partitions) {
        const at = byTopic.get(topic)?.find(({ partition }) => partition === partitionIndex);
        if (at?.log === undefined || POLL_AGAIN.has(errorCode)) continue;
        // A broker that was replaced and does not know it yet has missed what came after.
        if (errorCode === OFFSET_OUT_OF_RANGE && !isCurrent) continue;
        if (errorCode !== 0) at.log.find("unexpected-error", `${trace.memberId}'s Fetch is answered with error ${errorCode}`);
        if (!(records instanceof Uint8Array) || records.length === 0) continue;
        const position = this.positions.get(at) ?? 0;
        const next = at.log.poll(trace.memberId, position, decodeSimBatches(records));
        model.read(trace, at, position, next);
        this.positions.set(at, next);
      }
    }
  }
}
