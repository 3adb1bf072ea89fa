/**
 * OffsetFetch (key 9), versions 1-10.
 *
 * Behaviour: only durable offsets are told; when stable ones are required (KIP-447), a partition that a transaction is about to change is
 * UNSTABLE_OFFSET_COMMIT. Several groups from v8, topic ids from v10. What was never committed, or was committed for a deleted topic of the
 * same name, is -1, never 0 (case B2). From v9 members of consumer groups are told only under their epoch (KIP-848).
 *
 * Not done: authorisation.
 */
import type { TopicOffsets } from "../group/group-coordinator.ts";
import type { CommittedOffset, GroupError, OffsetFetcher } from "../group/group-types.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  newOffsetFetchResponse,
  newOffsetFetchResponseGroup,
  newOffsetFetchResponsePartition,
  newOffsetFetchResponsePartitions,
  newOffsetFetchResponseTopic,
  newOffsetFetchResponseTopics,
  type OffsetFetchRequest,
  type OffsetFetchRequestGroup,
  type OffsetFetchRequestTopics,
  type OffsetFetchResponse,
  type OffsetFetchResponseGroup,
  type OffsetFetchResponseTopics,
  offsetFetchApi,
} from "../protocol/messages/offset-fetch.ts";
import { ZERO_UUID } from "../protocol/reader.ts";
import { groupErrorCode, topicIdOf } from "./group-answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

/** From here on a group's error stands above its topics. */
const FIRST_WITH_TOP_LEVEL_ERROR = 2;
const FIRST_WITH_GROUPS = 8;
const FIRST_WITH_TOPIC_IDS = 10;

export class OffsetFetchHandler implements SerialHandler<OffsetFetchRequest, OffsetFetchResponse> {
  readonly kind = "serial";
  readonly api = offsetFetchApi;
  readonly minVersion = 1;
  readonly maxVersion = 10;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: OffsetFetchRequest, context: RequestContext): Promise<OffsetFetchResponse> {
    if (context.apiVersion < FIRST_WITH_GROUPS) return this.#fetchOld(request, context.apiVersion);
    const byId = context.apiVersion >= FIRST_WITH_TOPIC_IDS;
    return newOffsetFetchResponse({
      groups: await Promise.all(request.groups.map((group) => this.#fetchGroup(group, byId, request.requireStable))),
    });
  }

  async #fetchGroup(
    { groupId, topics, memberId, memberEpoch }: OffsetFetchRequestGroup,
    byId: boolean,
    requireStable: boolean,
  ): Promise<OffsetFetchResponseGroup> {
    const { image } = this.#services.metadata;
    const unknown: OffsetFetchResponseTopics[] = [];
    const wanted = topics?.flatMap((topic) => {
      const known = byId ? image.getTopicById(topic.topicId) : { name: topic.name, topicId: topicIdOf(this.#services, topic.name) };
      if (known === undefined) unknown.push(refuseTopicId(topic));
      return known === undefined ? [] : [{ topic: known.name, topicId: known.topicId, partitions: topic.partitionIndexes }];
    });
    const found = await this.#services.groups.fetch(groupId, wanted, requireStable, fetcherOf(memberId, memberEpoch));
    if (typeof found === "string") return newOffsetFetchResponseGroup({ groupId, errorCode: fetchErrorCode(found) });
    return newOffsetFetchResponseGroup({ groupId, topics: [...this.#describe(found, byId), ...unknown] });
  }

  #describe(found: readonly TopicOffsets[], byId: boolean): OffsetFetchResponseTopics[] {
    return found.flatMap(({ topic, partitions }) => {
      const topicId = topicIdOf(this.#services, topic);
      // A topic that is gone has no id to be named by.
      if (byId && topicId === ZERO_UUID) return [];
      const answers = partitions.map(({ partition, committed, isUnstable }) => {
        const errorCode = isUnstable ? ErrorCodes.UNSTABLE_OFFSET_COMMIT : ErrorCodes.NONE;
        return newOffsetFetchResponsePartitions({ partitionIndex: partition, errorCode, ...fieldsOf(committed) });
      });
      return [newOffsetFetchResponseTopics(byId ? { topicId, partitions: answers } : { name: topic, partitions: answers })];
    });
  }

  async #fetchOld(request: OffsetFetchRequest, apiVersion: number): Promise<OffsetFetchResponse> {
    const wanted = request.topics?.map(({ name, partitionIndexes }) => ({
      topic: name,
      topicId: topicIdOf(this.#services, name),
      partitions: partitionIndexes,
    }));
    const found = await this.#services.groups.fetch(request.groupId, wanted, request.requireStable);
    if (typeof found !== "string") return newOffsetFetchResponse({ topics: describeOld(found, ErrorCodes.NONE) });
    const errorCode = fetchErrorCode(found);
    if (apiVersion >= FIRST_WITH_TOP_LEVEL_ERROR) return newOffsetFetchResponse({ errorCode });
    const refused = (wanted ?? []).map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map((partition) => ({ partition, committed: undefined, isUnstable: false })),
    }));
    return newOffsetFetchResponse({ topics: describeOld(refused, errorCode) });
  }
}

/** A client without a member id is an administrator, or one from before KIP-848: it may read. */
function fetcherOf(memberId: string | null, memberEpoch: number): OffsetFetcher | undefined {
  return memberId === null && memberEpoch < 0 ? undefined : { memberId: memberId ?? "", memberEpoch };
}

function describeOld(found: readonly TopicOffsets[], errorCode: number) {
  return found.map(({ topic, partitions }) =>
    newOffsetFetchResponseTopic({
      name: topic,
      partitions: partitions.map(({ partition, committed, isUnstable }) => {
        const code = isUnstable ? ErrorCodes.UNSTABLE_OFFSET_COMMIT : errorCode;
        return newOffsetFetchResponsePartition({ partitionIndex: partition, errorCode: code, ...fieldsOf(committed) });
      }),
    }),
  );
}

function fieldsOf(committed: CommittedOffset | undefined) {
  return {
    committedOffset: committed?.offset ?? -1n,
    committedLeaderEpoch: committed?.leaderEpoch ?? -1,
    metadata: committed?.metadata ?? "",
  };
}

function refuseTopicId({ topicId, partitionIndexes }: OffsetFetchRequestTopics): OffsetFetchResponseTopics {
  const partitions = partitionIndexes.map((partitionIndex) =>
    newOffsetFetchResponsePartitions({ partitionIndex, errorCode: ErrorCodes.UNKNOWN_TOPIC_ID, ...fieldsOf(undefined) }),
  );
  return newOffsetFetchResponseTopics({ topicId, partitions });
}

/** As Kafka: consumers before 3.9 take COORDINATOR_NOT_AVAILABLE here for fatal. */
function fetchErrorCode(error: GroupError): number {
  return error === "not-available" ? ErrorCodes.NOT_COORDINATOR : groupErrorCode(error);
}
