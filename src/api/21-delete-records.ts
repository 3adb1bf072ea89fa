/**
 * DeleteRecords (key 21), versions 0-2: a partition's log begins later from now on. Answered when the metadata log holds the new start, so no restart and
 * no other owner brings the records back; the objects that held only them are deleted after their grace period.
 *
 * Offset -1 stands for the high watermark. An offset below the present start changes nothing and is answered with it, as in Kafka. Codes in Kafka's
 * order: UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION (internal topics), NOT_LEADER_OR_FOLLOWER, POLICY_VIOLATION (compacted only),
 * OFFSET_OUT_OF_RANGE. Not done: authorisation.
 */
import type { LogStart, TopicView } from "../metadata/cluster-metadata.ts";
import { PartitionLog } from "../partition/partition-log.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type DeleteRecordsPartition,
  type DeleteRecordsPartitionResult,
  type DeleteRecordsRequest,
  type DeleteRecordsResponse,
  deleteRecordsApi,
  newDeleteRecordsPartitionResult,
  newDeleteRecordsResponse,
  newDeleteRecordsTopicResult,
} from "../protocol/messages/delete-records.ts";
import { clampDeadline } from "./answers.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

const TO_HIGH_WATERMARK = -1n;

interface Deletion {
  readonly log: PartitionLog;
  readonly start: LogStart;
  readonly answer: DeleteRecordsPartitionResult;
}

export class DeleteRecordsHandler implements SerialHandler<DeleteRecordsRequest, DeleteRecordsResponse> {
  readonly kind = "serial";
  readonly api = deleteRecordsApi;
  readonly minVersion = 0;
  readonly maxVersion = 2;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: DeleteRecordsRequest): Promise<DeleteRecordsResponse> {
    const { image } = this.#services.metadata;
    const deletions: Deletion[] = [];
    const topics = await Promise.all(
      request.topics.map(async ({ name, partitions }) => {
        const topic = image.getTopic(name);
        const results = await Promise.all(partitions.map((partition) => this.#prepare(topic, partition, deletions)));
        return newDeleteRecordsTopicResult({ name, partitions: results });
      }),
    );
    if (deletions.length > 0) await this.#delete(deletions, request.timeoutMs);
    return newDeleteRecordsResponse({ topics });
  }

  /** Checks one partition; what passes is added to `deletions`, and its answer filled in later. */
  async #prepare(
    topic: TopicView | undefined,
    asked: DeleteRecordsPartition,
    deletions: Deletion[],
  ): Promise<DeleteRecordsPartitionResult> {
    const { partitionIndex } = asked;
    const answer = newDeleteRecordsPartitionResult({ partitionIndex, lowWatermark: -1n });
    const log = topic === undefined ? ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION : await this.#open(topic, partitionIndex);
    if (!(log instanceof PartitionLog)) {
      answer.errorCode = log;
      return answer;
    }
    const offset = asked.offset === TO_HIGH_WATERMARK ? BigInt(log.highWatermark) : asked.offset;
    if (offset < 0n || offset > BigInt(log.highWatermark)) {
      answer.errorCode = ErrorCodes.OFFSET_OUT_OF_RANGE;
      return answer;
    }
    if (Number(offset) <= log.logStartOffset) {
      answer.lowWatermark = BigInt(log.logStartOffset);
      return answer;
    }
    const { topicId, partition, term } = log;
    deletions.push({ log, answer, start: { topicId, partition, term, offset: Number(offset), releaseBelow: 0 } });
    return answer;
  }

  /** The open log, or why there is none as Kafka's code. */
  async #open(topic: TopicView, partition: number): Promise<PartitionLog | number> {
    const { partitions, logger, topicRules } = this.#services;
    if (topic.isInternal) return ErrorCodes.INVALID_TOPIC_EXCEPTION;
    try {
      const found = await partitions.open(topic.topicId, partition);
      if (found === "unknown-partition") return ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION;
      if (found === "not-owner") return ErrorCodes.NOT_LEADER_OR_FOLLOWER;
      const { isCompacted, isDeleted } = topicRules.get(topic);
      return isCompacted && !isDeleted ? ErrorCodes.POLICY_VIOLATION : found;
    } catch (error) {
      logger.warn("partition.open-failed", (error as Error).message, { topic: topic.name, partition });
      return ErrorCodes.NOT_LEADER_OR_FOLLOWER;
    }
  }

  async #delete(deletions: readonly Deletion[], timeoutMs: number): Promise<void> {
    const { metadata, logger } = this.#services;
    try {
      const starts = deletions.map((deletion) => deletion.start);
      const accepted = await metadata.advanceLogStarts(starts, clampDeadline(timeoutMs));
      deletions.forEach(({ answer, start }, index) => {
        if (accepted[index] !== true) answer.errorCode = ErrorCodes.NOT_LEADER_OR_FOLLOWER;
        else answer.lowWatermark = BigInt(start.offset);
      });
    } catch (error) {
      logger.warn("records.delete-failed", (error as Error).message, { partitions: deletions.length });
      for (const { answer } of deletions) answer.errorCode = ErrorCodes.REQUEST_TIMED_OUT;
    }
  }
}
