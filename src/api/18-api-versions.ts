/**
 * ApiVersions (key 18), versions 0-5.
 *
 * Behaviour: lists what is served, and only that (Produce from 0: KAFKA-18659). A version that is not served gets UNSUPPORTED_VERSION and the
 * range, coded as v0 by the dispatcher (KIP-511). Client software names are checked as in Kafka. A v5 client that expects another cluster or node is told to
 * bootstrap again (KIP-1242). Features are those of 4.4, each only once it is served.
 */
import { SUPPORTED_FEATURES } from "../metadata/features.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type ApiVersionsRequest,
  type ApiVersionsResponse,
  apiVersionsApi,
  newApiVersion,
  newApiVersionsResponse,
  newFinalizedFeatureKey,
  newSupportedFeatureKey,
} from "../protocol/messages/api-versions.ts";
import type { ApiHandler, RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

const PRODUCE_KEY = 0;
const SOFTWARE_PATTERN = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/;

export class ApiVersionsHandler implements SerialHandler<ApiVersionsRequest, ApiVersionsResponse> {
  readonly kind = "serial";
  readonly api = apiVersionsApi;
  readonly minVersion = 0;
  readonly maxVersion = 5;
  readonly #services: ApiServices;
  /** Every handler of the table, this one too. */
  readonly #handlers: readonly ApiHandler[];

  constructor(services: ApiServices, handlers: readonly ApiHandler[]) {
    this.#services = services;
    this.#handlers = handlers;
  }

  handle(request: ApiVersionsRequest, context: RequestContext): ApiVersionsResponse {
    const { apiVersion, connection } = context;
    if (apiVersion < this.minVersion || apiVersion > this.maxVersion) {
      const own = newApiVersion({ apiKey: this.api.key, minVersion: this.minVersion, maxVersion: this.maxVersion });
      return newApiVersionsResponse({ errorCode: ErrorCodes.UNSUPPORTED_VERSION, apiKeys: [own] });
    }
    if (apiVersion >= 3) {
      if (!SOFTWARE_PATTERN.test(request.clientSoftwareName) || !SOFTWARE_PATTERN.test(request.clientSoftwareVersion)) {
        return newApiVersionsResponse({ errorCode: ErrorCodes.INVALID_REQUEST });
      }
      connection.clientSoftwareName = request.clientSoftwareName;
      connection.clientSoftwareVersion = request.clientSoftwareVersion;
    }
    if (apiVersion >= 5) {
      // Both or neither.
      if ((request.clusterId === null) !== (request.nodeId === -1))
        return newApiVersionsResponse({ errorCode: ErrorCodes.INVALID_REQUEST });
      if (this.#isMeantForAnother(request)) return newApiVersionsResponse({ errorCode: ErrorCodes.REBOOTSTRAP_REQUIRED });
    }
    return this.#list(apiVersion);
  }

  #isMeantForAnother(request: ApiVersionsRequest): boolean {
    const { metadata, config } = this.#services;
    if (request.clusterId === null) return false;
    return request.clusterId !== metadata.image.clusterId || request.nodeId !== config.nodeId;
  }

  #list(apiVersion: number): ApiVersionsResponse {
    const { image } = this.#services.metadata;
    const apiKeys = this.#handlers
      .map((handler) =>
        newApiVersion({
          apiKey: handler.api.key,
          minVersion: handler.api.key === PRODUCE_KEY ? 0 : handler.minVersion,
          maxVersion: handler.maxVersion,
        }),
      )
      .sort((a, b) => a.apiKey - b.apiKey);
    const response = newApiVersionsResponse({ apiKeys, finalizedFeaturesEpoch: BigInt(image.slot) });
    for (const { name, min, max } of SUPPORTED_FEATURES) {
      // Clients of v3 refuse a minimum of 0 (KAFKA-17011).
      if (min > 0 || apiVersion >= 4) response.supportedFeatures.push(newSupportedFeatureKey({ name, minVersion: min, maxVersion: max }));
    }
    for (const [name, level] of image.getFinalizedFeatures()) {
      if (level === 0 || !SUPPORTED_FEATURES.some((feature) => feature.name === name)) continue;
      response.finalizedFeatures.push(newFinalizedFeatureKey({ name, minVersionLevel: level, maxVersionLevel: level }));
    }
    return response;
  }
}
