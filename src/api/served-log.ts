/** From a topic's name to the open partition log, or the code that says why there is none here. Opens it when needed. */
import { PartitionLog } from "../partition/partition-log.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import type { ApiServices } from "./services.ts";

export interface NotServed {
  readonly errorCode: number;
}

export async function findServedLog(services: ApiServices, topicName: string, partition: number): Promise<PartitionLog | NotServed> {
  const { metadata, partitions, logger } = services;
  const topic = metadata.image.getTopic(topicName);
  if (topic === undefined) return { errorCode: ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION };
  try {
    const found = partitions.find(topic.topicId, partition) ?? (await partitions.open(topic.topicId, partition));
    if (found instanceof PartitionLog) return found;
    const isUnknown = found === "unknown-partition";
    return { errorCode: isUnknown ? ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION : ErrorCodes.NOT_LEADER_OR_FOLLOWER };
  } catch (error) {
    logger.warn("partition.open-failed", (error as Error).message, { topic: topicName, partition });
    return { errorCode: ErrorCodes.NOT_LEADER_OR_FOLLOWER };
  }
}
