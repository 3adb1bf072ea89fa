/**
 * WriteTxnMarkers (key 27), versions 1-2.
 *
 * Behaviour: writes the ends of transactions into partitions of this broker, answered when durable. Brokers send it to each other; operators send it to end a
 * transaction that hangs (Admin.abortTransaction, coordinator epoch -1). v2 says the transaction's version (KIP-890).
 *
 * Not done: authorisation.
 */

import type { MarkerResult } from "../coordinator/marker-writer.ts";
import type { TransactionMarker } from "../partition/transaction-ports.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  newWritableTxnMarkerPartitionResult,
  newWritableTxnMarkerResult,
  newWritableTxnMarkerTopicResult,
  newWriteTxnMarkersResponse,
  type WritableTxnMarker,
  type WritableTxnMarkerResult,
  type WriteTxnMarkersRequest,
  type WriteTxnMarkersResponse,
  writeTxnMarkersApi,
} from "../protocol/messages/write-txn-markers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { toProducerId } from "./transaction-answers.ts";

const CODES: Readonly<Record<MarkerResult, number>> = {
  written: ErrorCodes.NONE,
  gone: ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION,
  "not-owner": ErrorCodes.NOT_LEADER_OR_FOLLOWER,
  "stale-epoch": ErrorCodes.INVALID_PRODUCER_EPOCH,
  "coordinator-fenced": ErrorCodes.TRANSACTION_COORDINATOR_FENCED,
  "not-now": ErrorCodes.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
};

export class WriteTxnMarkersHandler implements SerialHandler<WriteTxnMarkersRequest, WriteTxnMarkersResponse> {
  readonly kind = "serial";
  readonly api = writeTxnMarkersApi;
  readonly minVersion = 1;
  readonly maxVersion = 2;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: WriteTxnMarkersRequest, { connection }: RequestContext): Promise<WriteTxnMarkersResponse> {
    return newWriteTxnMarkersResponse({
      markers: await Promise.all(request.markers.map((marker) => this.#write(marker, connection.closed))),
    });
  }

  async #write(wanted: WritableTxnMarker, closed: AbortSignal): Promise<WritableTxnMarkerResult> {
    const { producerEpoch, transactionResult, coordinatorEpoch, transactionVersion } = wanted;
    const marker: TransactionMarker = {
      producerId: toProducerId(wanted.producerId),
      producerEpoch,
      isCommit: transactionResult,
      coordinatorEpoch,
      transactionVersion: transactionVersion >= 2 ? 2 : transactionVersion === 1 ? 1 : 0,
    };
    const partitions = wanted.topics.flatMap(({ name, partitionIndexes }) =>
      partitionIndexes.map((partition) => ({ topic: name, partition })),
    );
    // No producer has such an id: there is nothing to end.
    const results = marker.producerId < 0 ? [] : await this.#services.markers.write(marker, partitions, closed);
    let next = 0;
    const topics = wanted.topics.map(({ name, partitionIndexes }) =>
      newWritableTxnMarkerTopicResult({
        name,
        partitions: partitionIndexes.map((partitionIndex) => {
          const result = results[next++];
          return newWritableTxnMarkerPartitionResult({
            partitionIndex,
            errorCode: result === undefined ? ErrorCodes.INVALID_PRODUCER_ID_MAPPING : CODES[result],
          });
        }),
      }),
    );
    return newWritableTxnMarkerResult({ producerId: wanted.producerId, topics });
  }
}
