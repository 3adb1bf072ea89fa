/**
 * InitProducerId (key 22), versions 0-5; 6 is not stable in 4.4 and served only with `unstable.api.versions.enable`.
 *
 * Behaviour: without a transactional id a fresh producer id with epoch 0, whatever id and epoch the client had. With one: its producer id under the
 * next epoch, which fences whoever had the last one; an ongoing transaction is aborted first and answered CONCURRENT_TRANSACTIONS; an
 * expected id and epoch are checked (KIP-360). Two-phase commit (KIP-939) as far as 4.4: no timeout, refused unless
 * `transaction.two.phase.commit.enable`; prepared transactions are not kept (UNSUPPORTED_VERSION).
 *
 * Not done: authorisation.
 */
import type { Config } from "../config/config.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type InitProducerIdRequest,
  type InitProducerIdResponse,
  initProducerIdApi,
  newInitProducerIdResponse,
} from "../protocol/messages/init-producer-id.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { codeForVersion, toProducerId } from "./transaction-answers.ts";

const KNOWS_FENCED_FROM = 4;
const STABLE_MAX = 5;
const UNSTABLE_MAX = 6;

const maxVersionOf = (config: Config): number => (config.getBoolean("unstable.api.versions.enable") ? UNSTABLE_MAX : STABLE_MAX);

export class InitProducerIdHandler implements SerialHandler<InitProducerIdRequest, InitProducerIdResponse> {
  readonly kind = "serial";
  readonly api = initProducerIdApi;
  readonly minVersion = 0;
  readonly maxVersion: number;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
    this.maxVersion = maxVersionOf(services.config);
  }

  async handle(request: InitProducerIdRequest, { apiVersion }: RequestContext): Promise<InitProducerIdResponse> {
    const { transactionalId, producerId, producerEpoch } = request;
    // Both of id and epoch or neither (InitProducerIdRequest).
    if ((producerId === -1n) !== (producerEpoch === -1)) return refuse(ErrorCodes.INVALID_REQUEST);
    if (transactionalId === null) return this.#giveFreshId();
    const answer = await this.#services.transactions.initProducerId({
      transactionalId,
      timeoutMs: request.transactionTimeoutMs,
      expected: producerId === -1n ? undefined : { producerId: toProducerId(producerId), producerEpoch },
      enableTwoPhaseCommit: request.enable2Pc,
      keepPreparedTransaction: request.keepPreparedTxn,
    });
    if (typeof answer === "string") return refuse(codeForVersion(answer, apiVersion, KNOWS_FENCED_FROM));
    return newInitProducerIdResponse({ producerId: BigInt(answer.producerId), producerEpoch: answer.producerEpoch });
  }

  async #giveFreshId(): Promise<InitProducerIdResponse> {
    const { logger, metadata, config } = this.#services;
    try {
      const producerId = await metadata.allocateProducerId(config.getNumber("request.timeout.ms"));
      return newInitProducerIdResponse({ producerId: BigInt(producerId), producerEpoch: 0 });
    } catch (error) {
      logger.warn("producer.id-unavailable", (error as Error).message);
      return refuse(ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS);
    }
  }
}

function refuse(errorCode: number): InitProducerIdResponse {
  return newInitProducerIdResponse({ errorCode, producerId: -1n, producerEpoch: -1 });
}
