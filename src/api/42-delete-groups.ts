/**
 * DeleteGroups (key 42), versions 0-3.
 *
 * Behaviour: a group without members is deleted with its offsets, answered when that is durable.
 *
 * Not done: authorisation; groups of other types.
 */
import {
  type DeleteGroupsRequest,
  type DeleteGroupsResponse,
  deleteGroupsApi,
  newDeletableGroupResult,
  newDeleteGroupsResponse,
} from "../protocol/messages/delete-groups.ts";
import { groupErrorCode } from "./group-answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

const FIRST_WITH_MESSAGE = 3;

export class DeleteGroupsHandler implements SerialHandler<DeleteGroupsRequest, DeleteGroupsResponse> {
  readonly kind = "serial";
  readonly api = deleteGroupsApi;
  readonly minVersion = 0;
  readonly maxVersion = 3;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: DeleteGroupsRequest, { apiVersion }: RequestContext): Promise<DeleteGroupsResponse> {
    const groupIds = [...new Set(request.groupsNames)];
    const errors = await Promise.all(groupIds.map((groupId) => this.#services.groups.deleteGroup(groupId)));
    return newDeleteGroupsResponse({
      results: groupIds.map((groupId, index) => {
        const error = errors[index];
        const errorMessage = apiVersion >= FIRST_WITH_MESSAGE && error === "group-not-found" ? `Group ${groupId} not found.` : null;
        return newDeletableGroupResult({ groupId, errorCode: groupErrorCode(error), errorMessage });
      }),
    });
  }
}
