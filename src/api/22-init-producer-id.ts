/**
 * InitProducerId (key 22), versions 0-5 (6 is not stable in 4.4).
 *
 * Behaviour: without a transactional id a fresh producer id with epoch 0, whatever id and epoch the client had. With one: INVALID_REQUEST, which no
 * client retries, and a log line that says why (the answer has no field for a message). That stays until there are transactions.
 */
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type InitProducerIdRequest,
  type InitProducerIdResponse,
  initProducerIdApi,
  newInitProducerIdResponse,
} from "../protocol/messages/init-producer-id.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

export class InitProducerIdHandler implements SerialHandler<InitProducerIdRequest, InitProducerIdResponse> {
  readonly kind = "serial";
  readonly api = initProducerIdApi;
  readonly minVersion = 0;
  readonly maxVersion = 5;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: InitProducerIdRequest, context: RequestContext): Promise<InitProducerIdResponse> {
    const { logger, metadata, config } = this.#services;
    const refuse = (errorCode: number) => newInitProducerIdResponse({ errorCode, producerId: -1n, producerEpoch: -1 });
    if (request.transactionalId !== null) {
      const { remoteAddress } = context.connection;
      const message = "Transactions are not supported by this version; use an idempotent producer without transactional.id.";
      logger.warn("producer.transactions-refused", message, { client: context.clientId, remote: remoteAddress });
      return refuse(ErrorCodes.INVALID_REQUEST);
    }
    // Both of id and epoch or neither (InitProducerIdRequest).
    if ((request.producerId === -1n) !== (request.producerEpoch === -1)) return refuse(ErrorCodes.INVALID_REQUEST);
    try {
      const producerId = await metadata.allocateProducerId(config.getNumber("request.timeout.ms"));
      return newInitProducerIdResponse({ producerId: BigInt(producerId), producerEpoch: 0 });
    } catch (error) {
      logger.warn("producer.id-unavailable", (error as Error).message);
      return refuse(ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS);
    }
  }
}
