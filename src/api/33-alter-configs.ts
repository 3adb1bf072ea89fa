/**
 * AlterConfigs (key 33), versions 0-2: replaces all settings of a resource, so what is not named goes back to its default. Older clients; see 44.
 *
 * Not done: authorisation.
 */
import {
  type AlterConfigsRequest,
  type AlterConfigsResponse,
  alterConfigsApi,
  newAlterConfigsResourceResponse,
  newAlterConfigsResponse,
} from "../protocol/messages/alter-configs.ts";
import { alterConfigs, findKeyError } from "./config-alteration.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

export class AlterConfigsHandler implements SerialHandler<AlterConfigsRequest, AlterConfigsResponse> {
  readonly kind = "serial";
  readonly api = alterConfigsApi;
  readonly minVersion = 0;
  readonly maxVersion = 2;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle({ resources, validateOnly }: AlterConfigsRequest): Promise<AlterConfigsResponse> {
    const alterations = resources.map((resource) => {
      const { configs } = resource;
      const nulls = configs.filter(({ value }) => value === null);
      const error = findKeyError(
        configs.map(({ name }) => name),
        nulls.map(({ name }) => name),
      );
      return { resource, error, edit: () => new Map(configs.map(({ name, value }) => [name, value ?? ""])) };
    });
    const answers = await alterConfigs(this.#services, alterations, validateOnly);
    return newAlterConfigsResponse({ responses: answers.map(newAlterConfigsResourceResponse) });
  }
}
