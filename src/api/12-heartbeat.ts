/**
 * Heartbeat (key 12), versions 0-4.
 *
 * Behaviour: Kafka's classic group. While the group's partition is being read, a heartbeat is taken blindly, as in Kafka: the members cannot be known yet,
 * and each gets a whole session after the load.
 *
 * A group of the consumer protocol answers its classic members too (KIP-848 migration). Not done: authorisation.
 */
import { ErrorCodes } from "../protocol/error-codes.ts";
import { type HeartbeatRequest, type HeartbeatResponse, heartbeatApi, newHeartbeatResponse } from "../protocol/messages/heartbeat.ts";
import { groupErrorCode } from "./group-answers.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

export class HeartbeatHandler implements SerialHandler<HeartbeatRequest, HeartbeatResponse> {
  readonly kind = "serial";
  readonly api = heartbeatApi;
  readonly minVersion = 0;
  readonly maxVersion = 4;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: HeartbeatRequest): Promise<HeartbeatResponse> {
    const { groupId, memberId, groupInstanceId, generationId } = request;
    if (groupId === "") return newHeartbeatResponse({ errorCode: ErrorCodes.INVALID_GROUP_ID });
    const identity = { memberId, groupInstanceId: groupInstanceId ?? undefined };
    const error = await this.#services.groups.heartbeat(groupId, identity, generationId);
    return newHeartbeatResponse({ errorCode: error === "loading" ? ErrorCodes.NONE : groupErrorCode(error) });
  }
}
