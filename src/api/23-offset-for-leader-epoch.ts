/**
 * OffsetForLeaderEpoch (key 23), versions 2-4: where the largest leader epoch not above the one asked for ends. The latest epoch ends at the high
 * watermark: nothing is said of records that are not durable. An epoch that nothing is known of answers -1 and -1 without an error.
 */
import { PartitionLog } from "../partition/partition-log.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type EpochEndOffset,
  newEpochEndOffset,
  newOffsetForLeaderEpochResponse,
  newOffsetForLeaderTopicResult,
  type OffsetForLeaderEpochRequest,
  type OffsetForLeaderEpochResponse,
  type OffsetForLeaderPartition,
  offsetForLeaderEpochApi,
} from "../protocol/messages/offset-for-leader-epoch.ts";
import { checkLeaderEpoch } from "./fetch-read.ts";
import type { SerialHandler } from "./handler.ts";
import { findServedLog } from "./served-log.ts";
import type { ApiServices } from "./services.ts";

export class OffsetForLeaderEpochHandler implements SerialHandler<OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse> {
  readonly kind = "serial";
  readonly api = offsetForLeaderEpochApi;
  readonly minVersion = 2;
  readonly maxVersion = 4;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: OffsetForLeaderEpochRequest): Promise<OffsetForLeaderEpochResponse> {
    const response = newOffsetForLeaderEpochResponse();
    for (const { topic, partitions } of request.topics) {
      const answers = await Promise.all(partitions.map((partition) => this.#look(topic, partition)));
      response.topics.push(newOffsetForLeaderTopicResult({ topic, partitions: answers }));
    }
    return response;
  }

  async #look(topic: string, request: OffsetForLeaderPartition): Promise<EpochEndOffset> {
    const { partition, currentLeaderEpoch, leaderEpoch } = request;
    const found = await findServedLog(this.#services, topic, partition);
    if (!(found instanceof PartitionLog)) return newEpochEndOffset({ partition, errorCode: found.errorCode });
    const errorCode = checkLeaderEpoch(currentLeaderEpoch, found.term);
    if (errorCode !== ErrorCodes.NONE) return newEpochEndOffset({ partition, errorCode });
    const end = found.endOfEpoch(leaderEpoch);
    if (end === undefined) return newEpochEndOffset({ partition });
    return newEpochEndOffset({ partition, leaderEpoch: end.epoch, endOffset: BigInt(end.endOffset) });
  }
}
