/**
 * AddOffsetsToTxn (key 25), versions 0-4.
 *
 * Behaviour: the partition of __consumer_offsets that a group lives in becomes part of the transaction; answered when durable. Clients of transaction.version 2
 * send none: TxnOffsetCommit v5 does it for them.
 *
 * Not done: authorisation.
 */
import { GROUPS_TOPIC } from "../group/group-coordinator.ts";
import {
  type AddOffsetsToTxnRequest,
  type AddOffsetsToTxnResponse,
  addOffsetsToTxnApi,
  newAddOffsetsToTxnResponse,
} from "../protocol/messages/add-offsets-to-txn.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { codeForVersion, toProducerId } from "./transaction-answers.ts";

const KNOWS_FENCED_FROM = 2;

export class AddOffsetsToTxnHandler implements SerialHandler<AddOffsetsToTxnRequest, AddOffsetsToTxnResponse> {
  readonly kind = "serial";
  readonly api = addOffsetsToTxnApi;
  readonly minVersion = 0;
  readonly maxVersion = 4;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: AddOffsetsToTxnRequest, { apiVersion }: RequestContext): Promise<AddOffsetsToTxnResponse> {
    const { groups, transactions } = this.#services;
    const { transactionalId, producerId, producerEpoch, groupId } = request;
    // The topic is created when the first client asks for the group's coordinator; one that does not is early.
    if (groups.partitionOf(groupId) === undefined) await groups.findCoordinator(groupId);
    const partition = groups.partitionOf(groupId);
    const error =
      partition === undefined
        ? ("not-available" as const)
        : await transactions.addPartitions({
            transactionalId,
            producerId: toProducerId(producerId),
            producerEpoch,
            partitions: [{ topic: GROUPS_TOPIC, partition }],
            transactionVersion: 0,
          });
    return newAddOffsetsToTxnResponse({ errorCode: codeForVersion(error, apiVersion, KNOWS_FENCED_FROM) });
  }
}
