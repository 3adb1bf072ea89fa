/**
 * DescribeProducers (key 61), version 0 (KIP-664).
 *
 * Behaviour: the producers that a partition remembers, idempotent and transactional, in no promised order; where a transaction is open, the offset it
 * began at. A name that no topic can have is INVALID_TOPIC_EXCEPTION. Waits for nothing but the partition's opening.
 *
 * Not done: authorisation.
 */
import { PartitionLog } from "../partition/partition-log.ts";
import { getLastSequence, type ProducerEntry } from "../partition/producer-state.ts";
import { ErrorCodes, errorInfo } from "../protocol/error-codes.ts";
import {
  type DescribeProducersRequest,
  type DescribeProducersResponse,
  describeProducersApi,
  newDescribeProducersResponse,
  newPartitionResponse,
  newProducerState,
  newTopicResponse,
  type PartitionResponse,
  type ProducerState,
} from "../protocol/messages/describe-producers.ts";
import type { SerialHandler } from "./handler.ts";
import { findServedLog } from "./served-log.ts";
import type { ApiServices } from "./services.ts";
import { findTopicNameError } from "./topic-names.ts";

export class DescribeProducersHandler implements SerialHandler<DescribeProducersRequest, DescribeProducersResponse> {
  readonly kind = "serial";
  readonly api = describeProducersApi;
  readonly minVersion = 0;
  readonly maxVersion = 0;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: DescribeProducersRequest): Promise<DescribeProducersResponse> {
    const response = newDescribeProducersResponse();
    for (const { name, partitionIndexes } of request.topics) {
      const partitions: PartitionResponse[] = [];
      for (const partitionIndex of partitionIndexes) partitions.push(await this.#describe(name, partitionIndex));
      response.topics.push(newTopicResponse({ name, partitions }));
    }
    return response;
  }

  async #describe(topicName: string, partitionIndex: number): Promise<PartitionResponse> {
    const problem = findTopicNameError(topicName);
    if (problem !== undefined) {
      return newPartitionResponse({ partitionIndex, errorCode: ErrorCodes.INVALID_TOPIC_EXCEPTION, errorMessage: problem });
    }
    const found = await findServedLog(this.#services, topicName, partitionIndex);
    if (!(found instanceof PartitionLog)) {
      // As Kafka: a topic that is not there has a message, a partition of one that is there has none.
      const isTopicKnown = this.#services.metadata.image.getTopic(topicName) !== undefined;
      const errorMessage = isTopicKnown ? null : (errorInfo(found.errorCode)?.message ?? null);
      return newPartitionResponse({ partitionIndex, errorCode: found.errorCode, errorMessage });
    }
    return newPartitionResponse({ partitionIndex, activeProducers: Array.from(found.listProducers(), describeProducer) });
  }
}

function describeProducer(entry: ProducerEntry): ProducerState {
  return newProducerState({
    producerId: BigInt(entry.producerId),
    producerEpoch: entry.epoch,
    lastSequence: getLastSequence(entry),
    lastTimestamp: BigInt(entry.lastTimestampMs),
    coordinatorEpoch: entry.coordinatorEpoch,
    currentTxnStartOffset: BigInt(entry.transactionFirstOffset),
  });
}
