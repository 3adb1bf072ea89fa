/**
 * FindCoordinator (key 10), versions 0-6.
 *
 * Behaviour: for a group, the owner of its partition of __consumer_offsets, for a transactional id of __transaction_state; the topic is created when it is
 * not there. Several keys at once from v4.
 *
 * Not done: share groups. A share key gets INVALID_REQUEST, as from a Kafka without a share coordinator.
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
    return newFindCoordinatorResponse({ nodeId, host, port, errorCode, errorMessage: errorMessage || "NONE" });
  }

  async #find(key: string, keyType: number, context: RequestContext): Promise<Coordinator> {
    const { groups, transactions } = this.#services;
    if (keyType !== GROUP_KEY && keyType !== TRANSACTION_KEY) return refuse(key, ErrorCodes.INVALID_REQUEST);
    const found = await (keyType === GROUP_KEY ? groups : transactions).findCoordinator(key);
    if (typeof found === "string") return refuse(key, groupErrorCode(found));
    const broker = findBroker(this.#services.metadata.image, found);
    const endpoint = broker === undefined ? undefined : findEndpoint(broker, context.connection.listenerName);
    if (endpoint === undefined) return refuse(key, ErrorCodes.COORDINATOR_NOT_AVAILABLE);
    return newCoordinator({ key, nodeId: found, host: endpoint.host, port: endpoint.port });
  }
}

function refuse(key: string, errorCode: number): Coordinator {
  const errorMessage = errorTable.find((each) => each.code === errorCode)?.message ?? null;
  return newCoordinator({ key, nodeId: -1, host: "", port: -1, errorCode, errorMessage });
}
