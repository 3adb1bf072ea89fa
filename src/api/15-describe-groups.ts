/**
 * DescribeGroups (key 15), versions 0-6.
 *
 * Behaviour: a group that is not there, or is not a classic group, is "Dead", from v6 with GROUP_ID_NOT_FOUND (KIP-1043). Metadata of members is told while
 * the group is Stable.
 *
 * Not done: authorisation (every operation is answered as allowed).
 */
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type DescribedGroup,
  type DescribeGroupsRequest,
  type DescribeGroupsResponse,
  describeGroupsApi,
  newDescribedGroup,
  newDescribedGroupMember,
  newDescribeGroupsResponse,
} from "../protocol/messages/describe-groups.ts";
import { GROUP_OPERATIONS, groupErrorCode } from "./group-answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

const FIRST_WITH_INSTANCE_IDS = 4;
const FIRST_WITH_NOT_FOUND = 6;

export class DescribeGroupsHandler implements SerialHandler<DescribeGroupsRequest, DescribeGroupsResponse> {
  readonly kind = "serial";
  readonly api = describeGroupsApi;
  readonly minVersion = 0;
  readonly maxVersion = 6;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: DescribeGroupsRequest, context: RequestContext): Promise<DescribeGroupsResponse> {
    const groups = await Promise.all(request.groups.map((groupId) => this.#describe(groupId, context.apiVersion)));
    if (request.includeAuthorizedOperations) {
      for (const group of groups) if (group.errorCode === ErrorCodes.NONE) group.authorizedOperations = GROUP_OPERATIONS;
    }
    return newDescribeGroupsResponse({ groups });
  }

  async #describe(groupId: string, apiVersion: number): Promise<DescribedGroup> {
    const found = await this.#services.groups.describe(groupId);
    if (found === "other-type") return describeMissing(groupId, apiVersion, `Group ${groupId} is not a classic group.`);
    if (found === "group-not-found") return describeMissing(groupId, apiVersion, `Group ${groupId} not found.`);
    if (typeof found === "string") return newDescribedGroup({ groupId, errorCode: groupErrorCode(found) });
    return newDescribedGroup({
      groupId,
      groupState: found.state,
      protocolType: found.protocolType,
      protocolData: found.protocolName,
      members: found.members.map((member) =>
        newDescribedGroupMember({
          memberId: member.memberId,
          groupInstanceId: apiVersion >= FIRST_WITH_INSTANCE_IDS ? (member.groupInstanceId ?? null) : null,
          clientId: member.clientId,
          clientHost: member.clientHost,
          memberMetadata: member.metadata,
          memberAssignment: member.assignment,
        }),
      ),
    });
  }
}

function describeMissing(groupId: string, apiVersion: number, errorMessage: string): DescribedGroup {
  const group = newDescribedGroup({ groupId, groupState: "Dead" });
  if (apiVersion < FIRST_WITH_NOT_FOUND) return group;
  return { ...group, errorCode: ErrorCodes.GROUP_ID_NOT_FOUND, errorMessage };
}
