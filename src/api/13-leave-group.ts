/**
 * LeaveGroup (key 13), versions 0-5.
 *
 * Behaviour: one member up to v2, several from v3 (KIP-345), each with its own outcome; a static member can be removed by its instance id alone.
 *
 * A group of the consumer protocol answers its classic members too (KIP-848 migration). Not done: authorisation.
 */
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type LeaveGroupRequest,
  type LeaveGroupResponse,
  leaveGroupApi,
  newLeaveGroupResponse,
  newMemberResponse,
} from "../protocol/messages/leave-group.ts";
import { groupErrorCode } from "./group-answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

export class LeaveGroupHandler implements SerialHandler<LeaveGroupRequest, LeaveGroupResponse> {
  readonly kind = "serial";
  readonly api = leaveGroupApi;
  readonly minVersion = 0;
  readonly maxVersion = 5;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: LeaveGroupRequest, context: RequestContext): Promise<LeaveGroupResponse> {
    const hasMany = context.apiVersion >= 3;
    if (request.groupId === "") return newLeaveGroupResponse({ errorCode: ErrorCodes.INVALID_GROUP_ID });
    const identities = hasMany
      ? request.members.map(({ memberId, groupInstanceId }) => ({ memberId, groupInstanceId: groupInstanceId ?? undefined }))
      : [{ memberId: request.memberId, groupInstanceId: undefined }];
    const results = await this.#services.groups.leave(request.groupId, identities);
    if (typeof results === "string") return newLeaveGroupResponse({ errorCode: groupErrorCode(results) });
    if (!hasMany) return newLeaveGroupResponse({ errorCode: groupErrorCode(results[0]?.error) });
    return newLeaveGroupResponse({
      members: results.map(({ memberId, groupInstanceId, error }) =>
        newMemberResponse({ memberId, groupInstanceId: groupInstanceId ?? null, errorCode: groupErrorCode(error) }),
      ),
    });
  }
}
