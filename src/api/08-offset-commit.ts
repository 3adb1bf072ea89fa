/**
 * OffsetCommit (key 8), versions 2-10.
 *
 * Behaviour: answered when durable; fenced by generation or member epoch, member and instance id; topic ids from v10 (KIP-848); a retention of the client's own in v2-4.
 * Offsets are the client's: any int64 is kept as it is.
 *
 * Not done: authorisation.
 */
import type { GroupError, OffsetToCommit } from "../group/group-types.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  newOffsetCommitResponse,
  newOffsetCommitResponsePartition,
  newOffsetCommitResponseTopic,
  type OffsetCommitRequest,
  type OffsetCommitRequestTopic,
  type OffsetCommitResponse,
  type OffsetCommitResponsePartition,
  type OffsetCommitResponseTopic,
  offsetCommitApi,
} from "../protocol/messages/offset-commit.ts";
import { groupErrorCode, resolveTopic } from "./group-answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

/** A commit on its way: the answers stand in the order of `offsets`. */
interface Commit {
  readonly offsets: OffsetToCommit[];
  readonly answers: OffsetCommitResponsePartition[];
}

export class OffsetCommitHandler implements SerialHandler<OffsetCommitRequest, OffsetCommitResponse> {
  readonly kind = "serial";
  readonly api = offsetCommitApi;
  readonly minVersion = 2;
  readonly maxVersion = 10;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: OffsetCommitRequest, context: RequestContext): Promise<OffsetCommitResponse> {
    const { apiVersion } = context;
    const commit: Commit = { offsets: [], answers: [] };
    const topics = request.topics.map((topic) => this.#prepare(topic, apiVersion >= 10, commit));
    if (commit.offsets.length > 0) {
      const { groupId, memberId, groupInstanceId, retentionTimeMs } = request;
      const results = await this.#services.groups.commit(
        {
          groupId,
          memberId,
          groupInstanceId: groupInstanceId ?? undefined,
          generation: request.generationIdOrMemberEpoch,
          retentionMs: retentionTimeMs === -1n ? undefined : retentionTimeMs,
          offsets: commit.offsets,
        },
        apiVersion >= 9,
      );
      commit.answers.forEach((answer, index) => {
        answer.errorCode = commitErrorCode(typeof results === "string" ? results : results[index]);
      });
    }
    return newOffsetCommitResponse({ topics });
  }

  #prepare(topic: OffsetCommitRequestTopic, byId: boolean, commit: Commit): OffsetCommitResponseTopic {
    const known = resolveTopic(this.#services, topic, byId);
    const { image } = this.#services.metadata;
    const partitions = topic.partitions.map((wanted) => {
      const answer = newOffsetCommitResponsePartition({ partitionIndex: wanted.partitionIndex });
      if (known === undefined) {
        answer.errorCode = byId ? ErrorCodes.UNKNOWN_TOPIC_ID : ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION;
      } else if (image.getPartition(known.topicId, wanted.partitionIndex) === undefined) {
        answer.errorCode = ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION;
      } else {
        commit.answers.push(answer);
        commit.offsets.push({
          topic: known.name,
          topicId: known.topicId,
          partition: wanted.partitionIndex,
          offset: wanted.committedOffset,
          leaderEpoch: wanted.committedLeaderEpoch,
          metadata: wanted.committedMetadata ?? "",
        });
      }
      return answer;
    });
    return newOffsetCommitResponseTopic(byId ? { topicId: topic.topicId, partitions } : { name: topic.name, partitions });
  }
}

/** Kafka's words for a commit that its log refuses. */
function commitErrorCode(error: GroupError | undefined): number {
  return error === "record-too-large" ? ErrorCodes.INVALID_COMMIT_OFFSET_SIZE : groupErrorCode(error);
}
