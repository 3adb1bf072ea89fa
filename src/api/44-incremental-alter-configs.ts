/**
 * IncrementalAlterConfigs (key 44), versions 0-1: sets, deletes, appends to and subtracts from single settings of topics, of this broker ("" for all brokers) and of
 * groups (KIP-339, KIP-1043). Answered when the metadata log holds it. What each setting does here: docs/configuration.md, docs/compatibility.md.
 *
 * Not done: loggers (there are none with Kafka's names), client metrics, authorisation.
 */
import { SETTINGS } from "../config/settings.ts";
import { getTopicSetting } from "../config/topic-settings.ts";
import { ConfigResourceType } from "../protocol/config-resource.ts";
import {
  type AlterableConfig,
  type AlterConfigsResource,
  type IncrementalAlterConfigsRequest,
  type IncrementalAlterConfigsResponse,
  incrementalAlterConfigsApi,
  newAlterConfigsResourceResponse,
  newIncrementalAlterConfigsResponse,
} from "../protocol/messages/incremental-alter-configs.ts";
import { type Alteration, alterConfigs, findKeyError, getListDefault, invalidConfig, invalidRequest } from "./config-alteration.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import type { ApiError } from "./topic-creation.ts";

/** AlterConfigOp.OpType. */
const Operation = { SET: 0, DELETE: 1, APPEND: 2, SUBTRACT: 3 } as const;

export class IncrementalAlterConfigsHandler implements SerialHandler<IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse> {
  readonly kind = "serial";
  readonly api = incrementalAlterConfigsApi;
  readonly minVersion = 0;
  readonly maxVersion = 1;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle({ resources, validateOnly }: IncrementalAlterConfigsRequest): Promise<IncrementalAlterConfigsResponse> {
    const answers = await alterConfigs(
      this.#services,
      resources.map((resource) => this.#plan(resource)),
      validateOnly,
    );
    return newIncrementalAlterConfigsResponse({ responses: answers.map(newAlterConfigsResourceResponse) });
  }

  #plan(resource: AlterConfigsResource): Alteration {
    const { configs } = resource;
    const nulls = configs.filter(({ configOperation, value }) => configOperation !== Operation.DELETE && value === null);
    const keyError = findKeyError(
      configs.map(({ name }) => name),
      nulls.map(({ name }) => name),
    );
    const unknown = configs.find(({ configOperation }) => configOperation < Operation.SET || configOperation > Operation.SUBTRACT);
    const error = keyError ?? (unknown && invalidRequest(`Unknown operations type ${unknown.configOperation}`));
    return { resource, error, edit: (current, type) => this.#edit(new Map(current), type, configs) };
  }

  #edit(settings: Map<string, string>, type: number, configs: readonly AlterableConfig[]): Map<string, string> | ApiError {
    for (const { name, configOperation, value } of configs) {
      if (configOperation === Operation.DELETE) settings.delete(name);
      else if (configOperation === Operation.SET) settings.set(name, value ?? "");
      else {
        const isAppend = configOperation === Operation.APPEND;
        const error = findListError(type, name, isAppend);
        if (error !== undefined) return error;
        const items = splitItems(settings.get(name) ?? getListDefault(this.#services, type, name));
        const named = (value ?? "").split(",");
        const edited = isAppend
          ? [...items, ...named.filter((item) => !items.includes(item))]
          : items.filter((item) => !named.includes(item));
        settings.set(name, edited.join(","));
      }
    }
    return settings;
  }
}

const splitItems = (text: string): string[] => (text.trim() === "" ? [] : text.trim().split(/\s*,\s*/));

/** Only lists are appended to; brokers and the others have words of their own for it. */
function findListError(type: number, name: string, isAppend: boolean): ApiError | undefined {
  if (type === ConfigResourceType.BROKER) {
    const setting = SETTINGS.get(name);
    if (setting === undefined) return invalidConfig(`Unknown config name: ${name}`);
    if (setting.type === "list") return undefined;
    return invalidConfig(`Config value ${isAppend ? "append" : "subtract"} is not allowed for config key: ${name}`);
  }
  if (type === ConfigResourceType.TOPIC && getTopicSetting(name)?.type === "list") return undefined;
  return invalidConfig(`Can't ${isAppend ? "APPEND" : "SUBTRACT"} to key ${name} because its type is not LIST.`);
}
