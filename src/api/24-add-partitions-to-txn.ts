/**
 * AddPartitionsToTxn (key 24), versions 0-5.
 *
 * Behaviour: up to v3 a client adds partitions to its transaction; from v4 brokers do so, or only ask whether they are in it, for several transactions at once
 * (KIP-890). When one partition does not exist none is added: the others are OPERATION_NOT_ATTEMPTED. Answered when durable.
 *
 * Not done: authorisation.
 */

import type { TopicPartition } from "../coordinator/topic-partition.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type AddPartitionsToTxnRequest,
  type AddPartitionsToTxnResponse,
  type AddPartitionsToTxnTopic,
  type AddPartitionsToTxnTopicResult,
  addPartitionsToTxnApi,
  newAddPartitionsToTxnPartitionResult,
  newAddPartitionsToTxnResponse,
  newAddPartitionsToTxnResult,
  newAddPartitionsToTxnTopicResult,
} from "../protocol/messages/add-partitions-to-txn.ts";
import type { AddPartitionsRequest, TransactionVersion } from "../transaction/transaction-types.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { codeForVersion, toProducerId } from "./transaction-answers.ts";

const FIRST_OF_BROKERS = 4;
const KNOWS_FENCED_FROM = 2;

interface Addition {
  readonly transactionalId: string;
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly topics: readonly AddPartitionsToTxnTopic[];
  readonly verifyOnly: boolean;
}

export class AddPartitionsToTxnHandler implements SerialHandler<AddPartitionsToTxnRequest, AddPartitionsToTxnResponse> {
  readonly kind = "serial";
  readonly api = addPartitionsToTxnApi;
  readonly minVersion = 0;
  readonly maxVersion = 5;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: AddPartitionsToTxnRequest, { apiVersion }: RequestContext): Promise<AddPartitionsToTxnResponse> {
    if (apiVersion < FIRST_OF_BROKERS) {
      const addition = {
        transactionalId: request.v3AndBelowTransactionalId,
        producerId: request.v3AndBelowProducerId,
        producerEpoch: request.v3AndBelowProducerEpoch,
        topics: request.v3AndBelowTopics,
        verifyOnly: false,
      };
      return newAddPartitionsToTxnResponse({ resultsByTopicV3AndBelow: await this.#add(addition, apiVersion) });
    }
    const resultsByTransaction = await Promise.all(
      request.transactions.map(async (addition) =>
        newAddPartitionsToTxnResult({ transactionalId: addition.transactionalId, topicResults: await this.#add(addition, apiVersion) }),
      ),
    );
    return newAddPartitionsToTxnResponse({ resultsByTransaction });
  }

  async #add(addition: Addition, apiVersion: number): Promise<AddPartitionsToTxnTopicResult[]> {
    const { transactions } = this.#services;
    const partitions = addition.topics.flatMap(({ name, partitions }) => partitions.map((partition) => ({ topic: name, partition })));
    const areKnown = partitions.map((partition) => this.#isKnown(partition));
    if (areKnown.includes(false)) {
      return answer(partitions, (index) =>
        areKnown[index] === true ? ErrorCodes.OPERATION_NOT_ATTEMPTED : ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION,
      );
    }
    const transactionVersion: TransactionVersion = apiVersion >= FIRST_OF_BROKERS ? 2 : 0;
    const request: AddPartitionsRequest = {
      transactionalId: addition.transactionalId,
      producerId: toProducerId(addition.producerId),
      producerEpoch: addition.producerEpoch,
      partitions,
      transactionVersion,
    };
    const result = addition.verifyOnly ? await transactions.verifyPartitions(request) : await transactions.addPartitions(request);
    return answer(partitions, (index) => codeForVersion(Array.isArray(result) ? result[index] : result, apiVersion, KNOWS_FENCED_FROM));
  }

  #isKnown({ topic, partition }: TopicPartition): boolean {
    const { image } = this.#services.metadata;
    const topicId = image.getTopic(topic)?.topicId;
    return topicId !== undefined && image.getPartition(topicId, partition) !== undefined;
  }
}

function answer(partitions: readonly TopicPartition[], codeOf: (index: number) => number): AddPartitionsToTxnTopicResult[] {
  const topics = new Map<string, AddPartitionsToTxnTopicResult>();
  partitions.forEach(({ topic, partition }, index) => {
    const result = topics.get(topic) ?? newAddPartitionsToTxnTopicResult({ name: topic });
    topics.set(topic, result);
    result.resultsByPartition.push(newAddPartitionsToTxnPartitionResult({ partitionIndex: partition, partitionErrorCode: codeOf(index) }));
  });
  return [...topics.values()];
}
