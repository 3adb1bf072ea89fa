/**
 * DeleteGroups (key 42), versions 0-3.
 *
 * Behaviour: a group without members is deleted with its offsets, answered when that is durable. As in Kafka, v3 has no message for these errors.
 *
 * Not done: authorisation; share and streams groups.
 */
import {
  type DeleteGroupsRequest,
  type DeleteGroupsResponse,
  deleteGroupsApi,
  newDeletableGroupResult,
  newDeleteGroupsResponse,
} from "../protocol/messages/delete-groups.ts";
import { groupErrorCode } from "./group-answers.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

export class DeleteGroupsHandler implements SerialHandler<DeleteGroupsRequest, DeleteGroupsResponse> {
  readonly kind = "serial";
  readonly api = deleteGroupsApi;
  readonly minVersion = 0;
  readonly maxVersion = 3;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: DeleteGroupsRequest): Promise<DeleteGroupsResponse> {
    const groupIds = [...new Set(request.groupsNames)];
    const errors = await Promise.all(groupIds.map((groupId) => this.#services.groups.deleteGroup(groupId)));
    return newDeleteGroupsResponse({
      results: groupIds.map((groupId, index) => newDeletableGroupResult({ groupId, errorCode: groupErrorCode(errors[index]) })),
    });
  }
}
