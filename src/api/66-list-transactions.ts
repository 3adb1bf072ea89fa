/**
 * ListTransactions (key 66), versions 0-2 (KIP-664).
 *
 * Behaviour: the transactional ids that this broker coordinates; filters by state and producer id, by how long the transaction has been going on (v1), and by a
 * regular expression that the whole id must match (v2). States that nobody knows are named in the answer.
 *
 * Not done: authorisation. Expressions are RE2's (`base/linear-pattern.ts`), as Kafka's are; one whose program would be huge is INVALID_REGULAR_EXPRESSION.
 */
import {
  type ListTransactionsRequest,
  type ListTransactionsResponse,
  listTransactionsApi,
  newListTransactionsResponse,
  newTransactionState,
} from "../protocol/messages/list-transactions.ts";
import { transactionErrorCode } from "../transaction/transaction-errors.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { toProducerId } from "./transaction-answers.ts";

export class ListTransactionsHandler implements SerialHandler<ListTransactionsRequest, ListTransactionsResponse> {
  readonly kind = "serial";
  readonly api = listTransactionsApi;
  readonly minVersion = 0;
  readonly maxVersion = 2;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  handle(request: ListTransactionsRequest): ListTransactionsResponse {
    const listed = this.#services.transactions.list({
      producerIds: new Set(request.producerIdFilters.map(toProducerId)),
      stateNames: request.stateFilters,
      durationMs: Number(request.durationFilter),
      pattern: request.transactionalIdPattern ?? undefined,
    });
    if (typeof listed === "string") return newListTransactionsResponse({ errorCode: transactionErrorCode(listed) });
    return newListTransactionsResponse({
      unknownStateFilters: [...listed.unknownStateNames],
      transactionStates: listed.transactions.map(({ transactionalId, producerId, state }) =>
        newTransactionState({ transactionalId, producerId: BigInt(producerId), transactionState: state }),
      ),
    });
  }
}
