/**
 * DescribeConfigs (key 32), versions 1-4: topics, and this broker. Values, sources, synonyms, types and documentation as Kafka answers them.
 *
 * Every broker setting is read-only: there is nothing yet that changes one at run time. Passwords are answered as null.
 * Not done: loggers, client metrics, groups (INVALID_REQUEST), authorisation.
 */
import type { Setting } from "../config/setting.ts";
import { SETTINGS } from "../config/settings.ts";
import { getTopicSetting } from "../config/topic-settings.ts";
import { ErrorCodes, errorInfo } from "../protocol/error-codes.ts";
import {
  type DescribeConfigsRequest,
  type DescribeConfigsResource,
  type DescribeConfigsResourceResult,
  type DescribeConfigsResponse,
  type DescribeConfigsResult,
  describeConfigsApi,
  newDescribeConfigsResourceResult,
  newDescribeConfigsResponse,
  newDescribeConfigsResult,
  newDescribeConfigsSynonym,
} from "../protocol/messages/describe-configs.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { CONFIG_TYPES, ConfigSource, describeBrokerSynonyms, describeTopicConfigs, type SynonymFields } from "./topic-config-answers.ts";
import type { ApiError } from "./topic-creation.ts";
import { findTopicNameError } from "./topic-names.ts";

const TOPIC_RESOURCE = 2;
const BROKER_RESOURCE = 4;

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
    const configs = this.#list(resource, options);
    if (!Array.isArray(configs)) {
      return newDescribeConfigsResult({ resourceType, resourceName, errorCode: configs.code, errorMessage: configs.message });
    }
    const wanted = resource.configurationKeys;
    const keys = wanted === null || wanted.length === 0 ? undefined : new Set(wanted);
    const selected = keys === undefined ? configs : configs.filter((config) => keys.has(config.name));
    return newDescribeConfigsResult({ resourceType, resourceName, errorMessage: "", configs: selected });
  }

  #list(resource: DescribeConfigsResource, options: Options): DescribeConfigsResourceResult[] | ApiError {
    switch (resource.resourceType) {
      case TOPIC_RESOURCE:
        return this.#listTopic(resource.resourceName, options);
      case BROKER_RESOURCE:
        return this.#listBroker(resource.resourceName, options);
      default:
        return { code: ErrorCodes.INVALID_REQUEST, message: errorInfo(ErrorCodes.INVALID_REQUEST)?.message ?? null };
    }
  }

  #listTopic(name: string, options: Options): DescribeConfigsResourceResult[] | ApiError {
    const { metadata, config } = this.#services;
    const nameError = findTopicNameError(name);
    if (nameError !== undefined) return { code: ErrorCodes.INVALID_TOPIC_EXCEPTION, message: nameError };
    const topic = metadata.image.getTopic(name);
    if (topic === undefined) return { code: ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION, message: "" };
    return describeTopicConfigs(config, topic.configs).map((one) => {
      const setting = getTopicSetting(one.name);
      return newDescribeConfigsResourceResult({
        name: one.name,
        value: one.value,
        readOnly: false,
        configSource: one.source,
        isSensitive: false,
        synonyms: options.withSynonyms ? one.synonyms.map(describeSynonym) : [],
        configType: setting === undefined ? 0 : CONFIG_TYPES[setting.type],
        documentation: options.withDocumentation ? (setting?.doc ?? null) : null,
      });
    });
  }

  #listBroker(name: string, options: Options): DescribeConfigsResourceResult[] | ApiError {
    const { config } = this.#services;
    // The cluster-wide dynamic defaults: there are none.
    if (name === "") return [];
    if (!/^-?\d+$/.test(name)) return { code: ErrorCodes.INVALID_REQUEST, message: `Broker id must be an integer, but it is: ${name}` };
    if (Number(name) !== config.nodeId) {
      const message = `Unexpected broker id, expected ${config.nodeId} or empty string, but received ${name}`;
      return { code: ErrorCodes.INVALID_REQUEST, message };
    }
    const settings = [...SETTINGS.values()].filter((setting) => !setting.isInternal);
    return settings.sort((a, b) => (a.name < b.name ? -1 : 1)).map((setting) => this.#describeBrokerSetting(setting, options));
  }

  #describeBrokerSetting(setting: Setting, options: Options): DescribeConfigsResourceResult {
    const { config } = this.#services;
    const isSensitive = setting.type === "password";
    const synonyms = describeBrokerSynonyms(config, [setting.name]);
    const isSet = config.isSet(setting.name);
    const hide = (synonym: SynonymFields): SynonymFields => (isSensitive ? { ...synonym, value: null } : synonym);
    return newDescribeConfigsResourceResult({
      name: setting.name,
      value: isSensitive || (!isSet && setting.default === null) ? null : config.get(setting.name),
      readOnly: true,
      configSource: isSet ? ConfigSource.STATIC_BROKER : ConfigSource.DEFAULT,
      isSensitive,
      synonyms: options.withSynonyms ? synonyms.map((synonym) => describeSynonym(hide(synonym))) : [],
      configType: CONFIG_TYPES[setting.type],
      documentation: options.withDocumentation ? setting.doc : null,
    });
  }
}

function describeSynonym({ name, value, source }: SynonymFields) {
  return newDescribeConfigsSynonym({ name, value, source });
}
