/**
 * FindCoordinator (key 10), versions 0-6.
 *
 * Behaviour: for a group, the owner of its partition of __consumer_offsets, which is created when it is not there; several keys at once from v4.
 *
 * Not done: transactions and share groups. A transactional id is answered with TRANSACTIONAL_ID_AUTHORIZATION_FAILED: the one code that every client
 * takes as fatal (librdkafka asks for ever after any other; COORDINATOR_NOT_AVAILABLE spins all of them). A share key gets INVALID_REQUEST, as from a
 * Kafka without a share coordinator.
 */
import { ErrorCodes, errorTable } from "../protocol/error-codes.ts";
import {
  type Coordinator,
  type FindCoordinatorRequest,
  type FindCoordinatorResponse,
  findCoordinatorApi,
  newCoordinator,
  newFindCoordinatorResponse,
} from "../protocol/messages/find-coordinator.ts";
import { findBroker, findEndpoint } from "./answers.ts";
import { groupErrorCode } from "./group-answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

const GROUP_KEY = 0;
const TRANSACTION_KEY = 1;
const NO_TRANSACTIONS = "Transactions are not supported by this version.";

export class FindCoordinatorHandler implements SerialHandler<FindCoordinatorRequest, FindCoordinatorResponse> {
  readonly kind = "serial";
  readonly api = findCoordinatorApi;
  readonly minVersion = 0;
  readonly maxVersion = 6;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: FindCoordinatorRequest, context: RequestContext): Promise<FindCoordinatorResponse> {
    if (context.apiVersion >= 4) {
      const coordinators: Coordinator[] = [];
      for (const key of request.coordinatorKeys) coordinators.push(await this.#find(key, request.keyType, context));
      return newFindCoordinatorResponse({ coordinators });
    }
    const { nodeId, host, port, errorCode, errorMessage } = await this.#find(request.key, request.keyType, context);
    return newFindCoordinatorResponse({ nodeId, host, port, errorCode, errorMessage: errorMessage ?? "NONE" });
  }

  async #find(key: string, keyType: number, context: RequestContext): Promise<Coordinator> {
    if (keyType === TRANSACTION_KEY) return refuse(key, ErrorCodes.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, NO_TRANSACTIONS);
    if (keyType !== GROUP_KEY) return refuse(key, ErrorCodes.INVALID_REQUEST);
    const found = await this.#services.groups.findCoordinator(key);
    if (typeof found === "string") return refuse(key, groupErrorCode(found));
    const broker = findBroker(this.#services.metadata.image, found);
    const endpoint = broker === undefined ? undefined : findEndpoint(broker, context.connection.listenerName);
    if (endpoint === undefined) return refuse(key, ErrorCodes.COORDINATOR_NOT_AVAILABLE);
    return newCoordinator({ key, nodeId: found, host: endpoint.host, port: endpoint.port });
  }
}

function refuse(key: string, errorCode: number, message?: string): Coordinator {
  const errorMessage = message ?? errorTable.find((each) => each.code === errorCode)?.message ?? null;
  return newCoordinator({ key, nodeId: -1, host: "", port: -1, errorCode, errorMessage });
}
