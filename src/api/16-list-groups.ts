/**
 * ListGroups (key 16), versions 0-5.
 *
 * Behaviour: the groups that this broker coordinates; filters by state from v4 (KIP-518) and by type from v5 (KIP-848), both without regard to case.
 *
 * Not done: authorisation; share and streams groups.
 */
import {
  type ListGroupsRequest,
  type ListGroupsResponse,
  listGroupsApi,
  newListedGroup,
  newListGroupsResponse,
} from "../protocol/messages/list-groups.ts";
import { groupErrorCode } from "./group-answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

export class ListGroupsHandler implements SerialHandler<ListGroupsRequest, ListGroupsResponse> {
  readonly kind = "serial";
  readonly api = listGroupsApi;
  readonly minVersion = 0;
  readonly maxVersion = 5;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  handle(request: ListGroupsRequest, { apiVersion }: RequestContext): ListGroupsResponse {
    const listed = this.#services.groups.list();
    if (typeof listed === "string") return newListGroupsResponse({ errorCode: groupErrorCode(listed) });
    const states = new Set(request.statesFilter.map((state) => state.trim().toLowerCase()));
    const types = new Set(request.typesFilter.map((type) => type.trim().toLowerCase()));
    const isWanted = (wanted: ReadonlySet<string>, word: string): boolean => wanted.size === 0 || wanted.has(word.toLowerCase());
    const groups = listed.filter((group) => isWanted(types, group.type) && isWanted(states, group.state));
    return newListGroupsResponse({
      groups: groups.map(({ groupId, type, protocolType, state }) =>
        newListedGroup({
          groupId,
          protocolType,
          groupState: apiVersion >= 4 ? state : "",
          groupType: apiVersion >= 5 ? type : "",
        }),
      ),
    });
  }
}
