/**
 * DescribeTopicPartitions (key 75), version 0 (KIP-966): topics in order of name, at most `max.request.partition.size.limit` partitions an answer, the rest
 * by cursor. One replica, in sync; no eligible leaders besides it.
 */
import type { ImageView, TopicView } from "../metadata/cluster-metadata.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type DescribeTopicPartitionsRequest,
  type DescribeTopicPartitionsResponse,
  type DescribeTopicPartitionsResponsePartition,
  describeTopicPartitionsApi,
  newDescribeTopicPartitionsResponse,
  newDescribeTopicPartitionsResponseCursor,
  newDescribeTopicPartitionsResponsePartition,
  newDescribeTopicPartitionsResponseTopic,
} from "../protocol/messages/describe-topic-partitions.ts";
import { TOPIC_OPERATIONS } from "./authorized-operations.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { findTopicNameError, isInternalTopicName } from "./topic-names.ts";

export class DescribeTopicPartitionsHandler implements SerialHandler<DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse> {
  readonly kind = "serial";
  readonly api = describeTopicPartitionsApi;
  readonly minVersion = 0;
  readonly maxVersion = 0;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  handle(request: DescribeTopicPartitionsRequest): DescribeTopicPartitionsResponse {
    const { metadata, config } = this.#services;
    const { image } = metadata;
    const { cursor } = request;
    const isAll = request.topics.length === 0;
    const from = cursor?.topicName ?? "";
    const asked = isAll ? Array.from(image.topics(), (topic) => topic.name) : request.topics.map((topic) => topic.name);
    const names = [...new Set(asked)].filter((name) => name >= from).sort();
    if (cursor !== null && ((!isAll && !names.includes(from)) || cursor.partitionIndex < 0)) return refuseAll(request);
    const response = newDescribeTopicPartitionsResponse();
    const maxLimit = config.getNumber("max.request.partition.size.limit");
    let left = Math.max(Math.min(maxLimit, request.responsePartitionLimit), 1);
    for (const name of names) {
      const first = cursor !== null && name === from ? cursor.partitionIndex : 0;
      if (left === 0) {
        response.nextCursor = newDescribeTopicPartitionsResponseCursor({ topicName: name, partitionIndex: first });
        break;
      }
      const topic = image.getTopic(name);
      if (topic === undefined) {
        if (!isAll) response.topics.push(describeUnknown(name));
        continue;
      }
      const end = Math.min(topic.partitionCount, first + left);
      response.topics.push(describeTopic(image, topic, first, end));
      left -= Math.max(0, end - first);
      if (end < topic.partitionCount) {
        response.nextCursor = newDescribeTopicPartitionsResponseCursor({ topicName: name, partitionIndex: end });
        break;
      }
    }
    return response;
  }
}

/** The cursor's topic is not in the list, or its partition cannot be. */
function refuseAll(request: DescribeTopicPartitionsRequest): DescribeTopicPartitionsResponse {
  const topics = request.topics.map(({ name }) => newDescribeTopicPartitionsResponseTopic({ name, errorCode: ErrorCodes.INVALID_REQUEST }));
  return newDescribeTopicPartitionsResponse({ topics });
}

function describeUnknown(name: string) {
  const errorCode = findTopicNameError(name) === undefined ? ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION : ErrorCodes.INVALID_TOPIC_EXCEPTION;
  const isInternal = isInternalTopicName(name);
  return newDescribeTopicPartitionsResponseTopic({ errorCode, name, isInternal, topicAuthorizedOperations: TOPIC_OPERATIONS });
}

function describeTopic(image: ImageView, topic: TopicView, first: number, end: number) {
  const partitions: DescribeTopicPartitionsResponsePartition[] = [];
  for (let partitionIndex = first; partitionIndex < end; partitionIndex++) {
    const view = image.getPartition(topic.topicId, partitionIndex);
    const hasLeader = view !== undefined && view.ownerNodeId >= 0;
    const replicas = hasLeader ? [view.ownerNodeId] : [];
    partitions.push(
      newDescribeTopicPartitionsResponsePartition({
        errorCode: hasLeader ? ErrorCodes.NONE : ErrorCodes.LEADER_NOT_AVAILABLE,
        partitionIndex,
        leaderId: view?.ownerNodeId ?? -1,
        leaderEpoch: view?.term ?? -1,
        replicaNodes: replicas,
        isrNodes: replicas,
        eligibleLeaderReplicas: [],
        lastKnownElr: [],
      }),
    );
  }
  return newDescribeTopicPartitionsResponseTopic({
    name: topic.name,
    topicId: topic.topicId,
    isInternal: topic.isInternal,
    partitions,
    topicAuthorizedOperations: TOPIC_OPERATIONS,
  });
}
