/**
 * ListConfigResources (key 74), versions 0-1 (KIP-1142): topics, brokers and their loggers by name, and groups that have settings of their own. Version 0 asks for
 * client metrics alone, of which there are none here.
 *
 * Not done: authorisation.
 */
import { ConfigResourceType } from "../protocol/config-resource.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type ListConfigResourcesRequest,
  type ListConfigResourcesResponse,
  listConfigResourcesApi,
  newConfigResource,
  newListConfigResourcesResponse,
} from "../protocol/messages/list-config-resources.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

const ALL_TYPES: readonly number[] = Object.values(ConfigResourceType);

export class ListConfigResourcesHandler implements SerialHandler<ListConfigResourcesRequest, ListConfigResourcesResponse> {
  readonly kind = "serial";
  readonly api = listConfigResourcesApi;
  readonly minVersion = 0;
  readonly maxVersion = 1;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  handle({ resourceTypes }: ListConfigResourcesRequest, { apiVersion }: RequestContext): ListConfigResourcesResponse {
    if (resourceTypes.some((type) => !ALL_TYPES.includes(type))) {
      return newListConfigResourcesResponse({ errorCode: ErrorCodes.UNSUPPORTED_VERSION });
    }
    const asked =
      apiVersion === 0 ? [ConfigResourceType.CLIENT_METRICS] : resourceTypes.length === 0 ? ALL_TYPES : [...new Set(resourceTypes)];
    return newListConfigResourcesResponse({
      configResources: asked.flatMap((resourceType) =>
        [...this.#list(resourceType)].map((resourceName) => newConfigResource({ resourceName, resourceType })),
      ),
    });
  }

  *#list(resourceType: number): Generator<string> {
    const { image } = this.#services.metadata;
    switch (resourceType) {
      case ConfigResourceType.TOPIC:
        for (const topic of image.topics()) yield topic.name;
        return;
      case ConfigResourceType.BROKER:
      case ConfigResourceType.BROKER_LOGGER:
        for (const broker of image.brokers()) yield String(broker.nodeId);
        return;
      default:
        yield* image.configuredResources(resourceType);
    }
  }
}
