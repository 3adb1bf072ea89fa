/**
 * DescribeTransactions (key 65), version 0 (KIP-664).
 *
 * Behaviour: the state of transactional ids whose coordinator this broker is; partitions are those that still lack their marker once it ends.
 *
 * Not done: authorisation.
 */

import type { TopicPartition } from "../coordinator/topic-partition.ts";
import {
  type DescribeTransactionsRequest,
  type DescribeTransactionsResponse,
  describeTransactionsApi,
  newDescribeTransactionsResponse,
  newTopicData,
  newTransactionState,
  type TopicData,
  type TransactionState,
} from "../protocol/messages/describe-transactions.ts";
import { transactionErrorCode } from "../transaction/transaction-errors.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

export class DescribeTransactionsHandler implements SerialHandler<DescribeTransactionsRequest, DescribeTransactionsResponse> {
  readonly kind = "serial";
  readonly api = describeTransactionsApi;
  readonly minVersion = 0;
  readonly maxVersion = 0;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: DescribeTransactionsRequest): Promise<DescribeTransactionsResponse> {
    const transactionStates = await Promise.all(request.transactionalIds.map((transactionalId) => this.#describe(transactionalId)));
    return newDescribeTransactionsResponse({ transactionStates });
  }

  async #describe(transactionalId: string): Promise<TransactionState> {
    const found = await this.#services.transactions.describe(transactionalId);
    if (typeof found === "string") return newTransactionState({ transactionalId, errorCode: transactionErrorCode(found) });
    return newTransactionState({
      transactionalId,
      transactionState: found.state,
      transactionTimeoutMs: found.timeoutMs,
      transactionStartTimeMs: BigInt(found.startTimestampMs),
      producerId: BigInt(found.producerId),
      producerEpoch: found.producerEpoch,
      topics: byTopic(found.partitions),
    });
  }
}

function byTopic(partitions: readonly TopicPartition[]): TopicData[] {
  const topics = new Map<string, TopicData>();
  for (const { topic, partition } of partitions) {
    const data = topics.get(topic) ?? newTopicData({ topic });
    topics.set(topic, data);
    data.partitions.push(partition);
  }
  return [...topics.values()];
}
