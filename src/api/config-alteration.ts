/**
 * The common part of AlterConfigs and IncrementalAlterConfigs: what a client asks of one resource becomes a change of the metadata log, or Kafka's error. The checks
 * and their words are those of ConfigAdminManager (brokers), ConfigurationControlManager and ControllerConfigurationValidator.
 *
 * A resource is changed as a whole or not at all. Each key is changed from the value that was seen; when somebody else was quicker, the request is planned anew.
 */
import { Trouble } from "../base/trouble.ts";
import { findBrokerConfigError, findGroupConfigError } from "../config/setting-errors.ts";
import { SETTINGS } from "../config/settings.ts";
import { findTopicConfigError, getBrokerDefault, getTopicSetting } from "../config/topic-settings.ts";
import type { ConfigChange } from "../metadata/cluster-metadata.ts";
import { ConfigResourceType } from "../protocol/config-resource.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { clampDeadline } from "./answers.ts";
import type { ApiServices } from "./services.ts";
import { type ApiError, TIMED_OUT } from "./topic-creation.ts";
import { findRepeated, findTopicNameError } from "./topic-names.ts";

export interface ConfigResource {
  readonly resourceType: number;
  readonly resourceName: string;
}

/** How a resource's settings become others: answers the new ones, or why not. `type` is the resource's. */
export type Edit = (current: ReadonlyMap<string, string>, type: number) => Map<string, string> | ApiError;

export interface Alteration {
  readonly resource: ConfigResource;
  /** What is wrong with the request itself. */
  readonly error: ApiError | undefined;
  readonly edit: Edit;
}

/** How often a resource is planned anew because somebody else was quicker. */
const MAX_ROUNDS = 10;

/** Why a kind of resource that Kafka has is refused. */
export const NO_CLIENT_METRICS = "This server collects no metrics of clients";
export const NO_LOGGERS = "This server has no loggers of Kafka's names; logger.level is said when it starts";

export const invalidRequest = (message: string): ApiError => ({ code: ErrorCodes.INVALID_REQUEST, message });
export const invalidConfig = (message: string): ApiError => ({ code: ErrorCodes.INVALID_CONFIG, message });

/** Faults of one resource's keys that both APIs refuse before anything else. */
export function findKeyError(names: readonly string[], nulls: readonly string[]): ApiError | undefined {
  if (findRepeated(names).size > 0) return invalidRequest("Error due to duplicate config keys");
  return nulls.length > 0 ? invalidRequest(`Null value not supported for : ${nulls.join(", ")}`) : undefined;
}

/** What both APIs answer for a resource. */
export interface AlterationAnswer extends ConfigResource {
  readonly errorCode: number;
  readonly errorMessage: string | null;
}

/** One answer for each alteration, in order. With `isDryRun` nothing is changed, and the answer is what it would have been. */
export async function alterConfigs(
  services: ApiServices,
  alterations: readonly Alteration[],
  isDryRun: boolean,
): Promise<AlterationAnswer[]> {
  const keyOf = ({ resource }: Alteration): string => `${resource.resourceType} ${resource.resourceName}`;
  const repeated = findRepeated(alterations.map(keyOf));
  return Promise.all(
    alterations.map(async (alteration) => {
      const isRepeated = repeated.has(keyOf(alteration));
      const error = isRepeated ? invalidRequest("Each resource must appear at most once.") : await alterOne(services, alteration, isDryRun);
      const { resourceType, resourceName } = alteration.resource;
      return { resourceType, resourceName, errorCode: error?.code ?? ErrorCodes.NONE, errorMessage: error?.message ?? null };
    }),
  );
}

async function alterOne(services: ApiServices, alteration: Alteration, isDryRun: boolean): Promise<ApiError | undefined> {
  const { metadata, logger, config } = services;
  const { resourceType, resourceName } = alteration.resource;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const change = plan(services, alteration);
    if ("code" in change) return change;
    if (isDryRun || change.sets.length === 0) return undefined;
    try {
      const [outcome] = await metadata.alterConfigs([change], clampDeadline(config.getNumber("request.timeout.ms")));
      if (outcome === "done") {
        logger.info("config.altered", "settings were changed at run time", {
          resourceType,
          resourceName,
          keys: change.sets.map(({ name }) => name).join(","),
        });
        return undefined;
      }
      if (outcome === "unknown-topic") return missingTopic(resourceName);
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      logger.warn("config.alter-failed", error.message, { resourceType, resourceName, code: error.code });
      return TIMED_OUT;
    }
  }
  return { code: ErrorCodes.REQUEST_TIMED_OUT, message: "Others change the same settings all the time." };
}

function missingTopic(name: string): ApiError {
  return { code: ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION, message: `The topic '${name}' does not exist.` };
}

function plan(services: ApiServices, { resource, error, edit }: Alteration): ConfigChange | ApiError {
  const { image } = services.metadata;
  const { resourceType, resourceName } = resource;
  const resourceError = error ?? findResourceError(services, resource);
  if (resourceError !== undefined) return resourceError;
  const topic = resourceType === ConfigResourceType.TOPIC ? image.getTopic(resourceName) : undefined;
  const current = resourceType === ConfigResourceType.TOPIC ? (topic?.configs ?? new Map()) : image.getConfigs(resourceType, resourceName);
  const wanted = edit(current, resourceType);
  if (!(wanted instanceof Map)) return wanted;
  const valueError = findValuesError(services, resource, wanted);
  if (valueError !== undefined) return valueError;
  const sets = [...new Set([...current.keys(), ...wanted.keys()])]
    .map((name) => ({ name, expected: current.get(name), value: wanted.get(name) }))
    .filter(({ expected, value }) => expected !== value);
  if (resourceType !== ConfigResourceType.TOPIC) return { resource: { kind: "other", type: resourceType, name: resourceName }, sets };
  if (topic === undefined) return missingTopic(resourceName);
  return { resource: { kind: "topic", topicId: topic.topicId }, sets };
}

function findResourceError({ config }: ApiServices, { resourceType, resourceName }: ConfigResource): ApiError | undefined {
  switch (resourceType) {
    case ConfigResourceType.TOPIC: {
      if (resourceName === "") return invalidRequest("Default topic resources are not allowed.");
      const nameError = findTopicNameError(resourceName);
      return nameError === undefined ? undefined : { code: ErrorCodes.INVALID_TOPIC_EXCEPTION, message: nameError };
    }
    case ConfigResourceType.BROKER:
      if (resourceName === "") return undefined;
      if (!/^[+-]?\d+$/.test(resourceName)) return invalidRequest(`Node id must be an integer, but it is: ${resourceName}`);
      if (Number(resourceName) === config.nodeId) return undefined;
      return invalidRequest(`Unexpected broker id, expected ${config.nodeId}, but received ${resourceName}`);
    case ConfigResourceType.GROUP:
      return undefined;
    case ConfigResourceType.CLIENT_METRICS:
      return invalidRequest(NO_CLIENT_METRICS);
    case ConfigResourceType.BROKER_LOGGER:
      return invalidRequest(NO_LOGGERS);
    default:
      return invalidRequest(`Unknown resource type ${resourceType}`);
  }
}

function findValuesError(
  { config }: ApiServices,
  { resourceType, resourceName }: ConfigResource,
  configs: ReadonlyMap<string, string>,
): ApiError | undefined {
  if (resourceType === ConfigResourceType.BROKER) {
    const message = findBrokerConfigError(config, configs, resourceName !== "");
    return message === undefined ? undefined : invalidRequest(message);
  }
  // Kafka looks at the operations first.
  if (resourceType === ConfigResourceType.GROUP && resourceName === "") return invalidRequest("Default group resources are not allowed.");
  const message = resourceType === ConfigResourceType.TOPIC ? findTopicConfigError(config, configs) : findGroupConfigError(config, configs);
  return message === undefined ? undefined : invalidConfig(message);
}

/** What a list that is not set has in force: what an append adds to. */
export function getListDefault(services: ApiServices, type: number, name: string): string {
  const setting = type === ConfigResourceType.TOPIC ? getTopicSetting(name) : undefined;
  if (setting !== undefined) return getBrokerDefault(services.config, setting);
  return SETTINGS.get(name)?.default ?? "";
}
