/** Requests about settings over a raw connection, and their answers as lines that can be compared with recorded ones. */
import {
  alterConfigsApi,
  newAlterableConfig as newAlterable,
  newAlterConfigsRequest,
  newAlterConfigsResource as newAlterResource,
} from "../../src/protocol/messages/alter-configs.ts";
import { describeConfigsApi, newDescribeConfigsRequest, newDescribeConfigsResource } from "../../src/protocol/messages/describe-configs.ts";
import {
  incrementalAlterConfigsApi,
  newAlterableConfig,
  newAlterConfigsResource,
  newIncrementalAlterConfigsRequest,
} from "../../src/protocol/messages/incremental-alter-configs.ts";
import { listConfigResourcesApi, newListConfigResourcesRequest } from "../../src/protocol/messages/list-config-resources.ts";
import type { KafkaConnection } from "../support/kafka-connection.ts";

interface Incremental {
  readonly type: number;
  readonly name: string;
  readonly ops: readonly (readonly [name: string, operation: number, value: string | null])[];
}

interface Replacing {
  readonly type: number;
  readonly name: string;
  readonly configs: readonly (readonly [name: string, value: string | null])[];
}

export type ConfigStep =
  | readonly ["inc", readonly Incremental[], boolean?]
  | readonly ["alt", readonly Replacing[], boolean?]
  | readonly ["desc", number, string, string[] | null]
  | readonly ["list", number[]]
  | readonly ["list0"];

interface Verdict {
  readonly resourceType: number;
  readonly resourceName: string;
  readonly errorCode: number;
  readonly errorMessage: string | null;
}

const showVerdict = ({ resourceType, resourceName, errorCode, errorMessage }: Verdict): string =>
  `${resourceType}/${resourceName}: ${errorCode} ${errorMessage}`;

/** One line a resource, and one a setting that is described. */
export async function askConfigs(connection: KafkaConnection, step: ConfigStep): Promise<string[]> {
  switch (step[0]) {
    case "inc":
      return (await alterIncrementally(connection, step[1], step[2] === true)).map(showVerdict);
    case "alt":
      return (await replace(connection, step[1], step[2] === true)).map(showVerdict);
    case "desc":
      return describe(connection, step[1], step[2], step[3]);
    case "list":
      return list(connection, 1, step[1]);
    case "list0":
      return list(connection, 0, []);
  }
}

async function alterIncrementally(connection: KafkaConnection, resources: readonly Incremental[], validateOnly: boolean) {
  const request = newIncrementalAlterConfigsRequest({
    validateOnly,
    resources: resources.map(({ type, name, ops }) =>
      newAlterConfigsResource({
        resourceType: type,
        resourceName: name,
        configs: ops.map(([key, configOperation, value]) => newAlterableConfig({ name: key, configOperation, value })),
      }),
    ),
  });
  return (await connection.request(incrementalAlterConfigsApi, 1, request)).responses;
}

async function replace(connection: KafkaConnection, resources: readonly Replacing[], validateOnly: boolean) {
  const request = newAlterConfigsRequest({
    validateOnly,
    resources: resources.map(({ type, name, configs }) =>
      newAlterResource({
        resourceType: type,
        resourceName: name,
        configs: configs.map(([key, value]) => newAlterable({ name: key, value })),
      }),
    ),
  });
  return (await connection.request(alterConfigsApi, 2, request)).responses;
}

async function askDescription(connection: KafkaConnection, resourceType: number, resourceName: string, configurationKeys: string[] | null) {
  const resources = [newDescribeConfigsResource({ resourceType, resourceName, configurationKeys })];
  return (await connection.request(describeConfigsApi, 4, newDescribeConfigsRequest({ includeSynonyms: true, resources }))).results;
}

async function describe(connection: KafkaConnection, type: number, name: string, keys: string[] | null): Promise<string[]> {
  const results = await askDescription(connection, type, name, keys);
  return results.flatMap((result) => [
    showVerdict(result),
    ...result.configs
      .map((config) => {
        const synonyms = config.synonyms.map((synonym) => `${synonym.name}=${synonym.value}@${synonym.source}`).join(" ");
        const flags = `src=${config.configSource} ro=${config.readOnly} sens=${config.isSensitive} type=${config.configType}`;
        return `  ${config.name}=${config.value} ${flags} syn=[${synonyms}]`;
      })
      .sort(),
  ]);
}

async function list(connection: KafkaConnection, version: number, resourceTypes: number[]): Promise<string[]> {
  const answer = await connection.request(listConfigResourcesApi, version, newListConfigResourcesRequest({ resourceTypes }));
  const names = answer.configResources.map((resource) => `${resource.resourceType}/${resource.resourceName}`);
  return [String(answer.errorCode), names.sort().join(" ")];
}

/** Sets settings of one resource; undefined: back to the default. The answer's error code. */
export async function setConfigs(
  connection: KafkaConnection,
  type: number,
  name: string,
  settings: Readonly<Record<string, string | undefined>>,
): Promise<number | undefined> {
  const ops = Object.entries(settings).map(([key, value]) => [key, value === undefined ? 1 : 0, value ?? null] as const);
  return (await alterIncrementally(connection, [{ type, name, ops }], false))[0]?.errorCode;
}

export async function describeConfig(connection: KafkaConnection, type: number, name: string, key: string) {
  return (await askDescription(connection, type, name, [key]))[0]?.configs[0];
}
