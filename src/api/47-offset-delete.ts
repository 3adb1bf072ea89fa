/**
 * OffsetDelete (key 47), version 0 (KIP-496).
 *
 * Behaviour: a group that is in use loses only offsets of topics that it does not subscribe to. Answered when durable.
 *
 * Not done: authorisation; share and streams groups.
 */
import type { TopicPartition } from "../coordinator/topic-partition.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  newOffsetDeleteResponse,
  newOffsetDeleteResponsePartition,
  newOffsetDeleteResponseTopic,
  type OffsetDeleteRequest,
  type OffsetDeleteResponse,
  type OffsetDeleteResponsePartition,
  offsetDeleteApi,
} from "../protocol/messages/offset-delete.ts";
import { groupErrorCode } from "./group-answers.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

export class OffsetDeleteHandler implements SerialHandler<OffsetDeleteRequest, OffsetDeleteResponse> {
  readonly kind = "serial";
  readonly api = offsetDeleteApi;
  readonly minVersion = 0;
  readonly maxVersion = 0;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: OffsetDeleteRequest): Promise<OffsetDeleteResponse> {
    const { image } = this.#services.metadata;
    if (request.groupId === "") return newOffsetDeleteResponse({ errorCode: ErrorCodes.INVALID_GROUP_ID });
    const known: TopicPartition[] = [];
    const answers: OffsetDeleteResponsePartition[] = [];
    const topics = request.topics.map(({ name, partitions }) => {
      const topic = image.getTopic(name);
      const answered = partitions.map(({ partitionIndex }) => {
        const answer = newOffsetDeleteResponsePartition({ partitionIndex });
        if (topic !== undefined && image.getPartition(topic.topicId, partitionIndex) !== undefined) {
          known.push({ topic: name, partition: partitionIndex });
          answers.push(answer);
        } else answer.errorCode = ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION;
        return answer;
      });
      return newOffsetDeleteResponseTopic({ name, partitions: answered });
    });
    const results = await this.#services.groups.deleteOffsets(request.groupId, known);
    if (typeof results === "string") return newOffsetDeleteResponse({ errorCode: groupErrorCode(results) });
    answers.forEach((answer, index) => {
      answer.errorCode = groupErrorCode(results[index]);
    });
    return newOffsetDeleteResponse({ topics });
  }
}
