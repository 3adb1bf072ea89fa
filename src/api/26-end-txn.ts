/**
 * EndTxn (key 26), versions 0-5.
 *
 * Behaviour: answered when the decision is durable; the markers follow. From v5 (transaction.version 2) the answer names the producer id and epoch of the
 * next transaction, and an abort of nothing is done too; a repeated request gets the answer of the first time.
 *
 * Not done: authorisation.
 */
import { type EndTxnRequest, type EndTxnResponse, endTxnApi, newEndTxnResponse } from "../protocol/messages/end-txn.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { codeForVersion, toProducerId } from "./transaction-answers.ts";

const KNOWS_FENCED_FROM = 2;
const FIRST_WITH_EPOCH_BUMP = 5;

export class EndTxnHandler implements SerialHandler<EndTxnRequest, EndTxnResponse> {
  readonly kind = "serial";
  readonly api = endTxnApi;
  readonly minVersion = 0;
  readonly maxVersion = 5;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: EndTxnRequest, { apiVersion }: RequestContext): Promise<EndTxnResponse> {
    const answer = await this.#services.transactions.end({
      transactionalId: request.transactionalId,
      producerId: toProducerId(request.producerId),
      producerEpoch: request.producerEpoch,
      isCommit: request.committed,
      transactionVersion: apiVersion >= FIRST_WITH_EPOCH_BUMP ? 2 : 0,
    });
    if (typeof answer === "string") {
      return newEndTxnResponse({ errorCode: codeForVersion(answer, apiVersion, KNOWS_FENCED_FROM), producerId: -1n, producerEpoch: -1 });
    }
    return newEndTxnResponse({ producerId: BigInt(answer.producerId), producerEpoch: answer.producerEpoch });
  }
}
