/**
 * SyncGroup (key 14), versions 0-5.
 *
 * Behaviour: Kafka's classic group. The leader's assignment is answered, to all, when it is durable; protocol type and name are checked from v5
 * (KIP-559).
 *
 * A group of the consumer protocol answers its classic members too (KIP-848 migration). Not done: authorisation.
 */
import { ErrorCodes } from "../protocol/error-codes.ts";
import { newSyncGroupResponse, type SyncGroupRequest, type SyncGroupResponse, syncGroupApi } from "../protocol/messages/sync-group.ts";
import { groupErrorCode } from "./group-answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

export class SyncGroupHandler implements SerialHandler<SyncGroupRequest, SyncGroupResponse> {
  readonly kind = "serial";
  readonly api = syncGroupApi;
  readonly minVersion = 0;
  readonly maxVersion = 5;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: SyncGroupRequest, context: RequestContext): Promise<SyncGroupResponse> {
    const { groupId, memberId, groupInstanceId, protocolType, protocolName } = request;
    if (context.apiVersion >= 5 && (protocolType === null || protocolName === null)) {
      return newSyncGroupResponse({ errorCode: ErrorCodes.INCONSISTENT_GROUP_PROTOCOL });
    }
    if (groupId === "") return newSyncGroupResponse({ errorCode: ErrorCodes.INVALID_GROUP_ID });
    const answer = await this.#services.groups.sync({
      groupId,
      memberId,
      groupInstanceId: groupInstanceId ?? undefined,
      generation: request.generationId,
      protocolType: protocolType ?? undefined,
      protocolName: protocolName ?? undefined,
      assignments: new Map(request.assignments.map((each) => [each.memberId, each.assignment])),
    });
    return newSyncGroupResponse({
      errorCode: groupErrorCode(answer.error),
      protocolType: answer.protocolType ?? null,
      protocolName: answer.protocolName ?? null,
      assignment: answer.assignment,
    });
  }
}
