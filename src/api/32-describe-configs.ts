/**
 * DescribeConfigs (key 32), versions 1-4: topics, this broker, what is set for all brokers, and groups. Values, sources, synonyms, types and documentation as Kafka
 * answers them. A setting that this server binds when it starts is read-only. Passwords, and settings of unknown names, are answered as null.
 *
 * Not done: loggers, client metrics (INVALID_REQUEST), authorisation.
 */
import { ConfigResourceType } from "../protocol/config-resource.ts";
import { ErrorCodes, errorInfo } from "../protocol/error-codes.ts";
import {
  type DescribeConfigsRequest,
  type DescribeConfigsResource,
  type DescribeConfigsResponse,
  type DescribeConfigsResult,
  describeConfigsApi,
  newDescribeConfigsResourceResult,
  newDescribeConfigsResponse,
  newDescribeConfigsResult,
  newDescribeConfigsSynonym,
} from "../protocol/messages/describe-configs.ts";
import { invalidRequest, NO_CLIENT_METRICS, NO_LOGGERS } from "./config-alteration.ts";
import {
  type ConfigFields,
  describeBrokerConfigs,
  describeClusterConfigs,
  describeGroupConfigs,
  describeTopicConfigs,
} from "./config-answers.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import type { ApiError } from "./topic-creation.ts";
import { findTopicNameError } from "./topic-names.ts";

interface Options {
  readonly withSynonyms: boolean;
  readonly withDocumentation: boolean;
}

export class DescribeConfigsHandler implements SerialHandler<DescribeConfigsRequest, DescribeConfigsResponse> {
  readonly kind = "serial";
  readonly api = describeConfigsApi;
  readonly minVersion = 1;
  readonly maxVersion = 4;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  handle(request: DescribeConfigsRequest): DescribeConfigsResponse {
    const options = { withSynonyms: request.includeSynonyms, withDocumentation: request.includeDocumentation };
    return newDescribeConfigsResponse({ results: request.resources.map((resource) => this.#describe(resource, options)) });
  }

  #describe(resource: DescribeConfigsResource, options: Options): DescribeConfigsResult {
    const { resourceType, resourceName } = resource;
    const configs = this.#list(resource);
    if (!Array.isArray(configs)) {
      return newDescribeConfigsResult({ resourceType, resourceName, errorCode: configs.code, errorMessage: configs.message });
    }
    const wanted = resource.configurationKeys;
    const keys = wanted === null || wanted.length === 0 ? undefined : new Set(wanted);
    const selected = keys === undefined ? configs : configs.filter((config) => keys.has(config.name));
    return newDescribeConfigsResult({
      resourceType,
      resourceName,
      errorMessage: "",
      configs: selected.map((one) => describe(one, options)),
    });
  }

  #list({ resourceType, resourceName }: DescribeConfigsResource): ConfigFields[] | ApiError {
    const { config, metadata } = this.#services;
    switch (resourceType) {
      case ConfigResourceType.TOPIC:
        return this.#listTopic(resourceName);
      case ConfigResourceType.BROKER:
        return this.#listBroker(resourceName);
      case ConfigResourceType.GROUP:
        if (resourceName === "") return invalidRequest("Group name must not be empty");
        return describeGroupConfigs(config, metadata.image.getConfigs(resourceType, resourceName));
      case ConfigResourceType.CLIENT_METRICS:
        return invalidRequest(NO_CLIENT_METRICS);
      case ConfigResourceType.BROKER_LOGGER:
        return invalidRequest(NO_LOGGERS);
      default:
        return { code: ErrorCodes.INVALID_REQUEST, message: errorInfo(ErrorCodes.INVALID_REQUEST)?.message ?? null };
    }
  }

  #listTopic(name: string): ConfigFields[] | ApiError {
    const { metadata, config } = this.#services;
    const nameError = findTopicNameError(name);
    if (nameError !== undefined) return { code: ErrorCodes.INVALID_TOPIC_EXCEPTION, message: nameError };
    const topic = metadata.image.getTopic(name);
    if (topic === undefined) return { code: ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION, message: "" };
    return describeTopicConfigs(config, topic.configs);
  }

  #listBroker(name: string): ConfigFields[] | ApiError {
    const { config, metadata } = this.#services;
    const set = metadata.image.getConfigs(ConfigResourceType.BROKER, name);
    if (name === "") return describeClusterConfigs(config, set);
    if (!/^-?\d+$/.test(name)) return invalidRequest(`Broker id must be an integer, but it is: ${name}`);
    if (Number(name) === config.nodeId) return describeBrokerConfigs(config, set);
    return invalidRequest(`Unexpected broker id, expected ${config.nodeId} or empty string, but received ${name}`);
  }
}

function describe(fields: ConfigFields, options: Options) {
  return newDescribeConfigsResourceResult({
    name: fields.name,
    value: fields.value,
    readOnly: fields.isReadOnly,
    configSource: fields.source,
    isSensitive: fields.isSensitive,
    synonyms: options.withSynonyms
      ? fields.synonyms.map(({ name, value, source }) => newDescribeConfigsSynonym({ name, value, source }))
      : [],
    configType: fields.type,
    documentation: options.withDocumentation ? fields.doc : null,
  });
}
