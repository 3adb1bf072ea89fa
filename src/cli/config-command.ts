/** `weir config`: what is set for a topic, a broker or a group, and changing it while everything runs. */
import { Trouble } from "../base/trouble.ts";
import { expectNone } from "../client/client-troubles.ts";
import { ConfigResourceType } from "../protocol/config-resource.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { describeConfigsApi, newDescribeConfigsRequest, newDescribeConfigsResource } from "../protocol/messages/describe-configs.ts";
import {
  incrementalAlterConfigsApi,
  newAlterableConfig,
  newAlterConfigsResource,
  newIncrementalAlterConfigsRequest,
} from "../protocol/messages/incremental-alter-configs.ts";
import type { BrokerSession } from "./broker-session.ts";
import { renderJson, renderTable } from "./output.ts";

const RESOURCE_TYPES: Readonly<Record<string, number>> = {
  topic: ConfigResourceType.TOPIC,
  broker: ConfigResourceType.BROKER,
  group: ConfigResourceType.GROUP,
};
/** DescribeConfigsResponse.ConfigSource. */
const SOURCES: Readonly<Record<number, string>> = {
  1: "topic",
  2: "dynamic broker",
  3: "dynamic default",
  4: "static broker",
  5: "default",
  8: "group",
};
const DEFAULT_SOURCE = 5;
/** What all brokers are called here; Kafka's protocol names them with nothing. */
const ALL_BROKERS = "all";
const Operation = { SET: 0, DELETE: 1 } as const;

const usage = (message: string, remedy: string): Trouble => new Trouble({ code: "usage", message, remedy, retryable: false, exitCode: 2 });

interface Resource {
  readonly kind: string;
  readonly name: string;
  readonly resourceType: number;
  readonly resourceName: string;
}

function findResource(kind: string, name: string): Resource {
  const resourceType = RESOURCE_TYPES[kind];
  if (resourceType === undefined) throw usage(`${kind} has no configuration`, "name topic, broker or group");
  return { kind, name, resourceType, resourceName: kind === "broker" && name === ALL_BROKERS ? "" : name };
}

/** What is set for one broker is asked of that broker. */
function connect({ client }: BrokerSession, { kind, name }: Resource) {
  return kind === "broker" && /^\d{1,9}$/.test(name) ? client.broker(Number(name)) : client.any();
}

/** Without `showAll` only what is not Kafka's default. */
export async function describeConfig(session: BrokerSession, kind: string, name: string, showAll: boolean): Promise<number> {
  const { client, output, print } = session;
  const resource = findResource(kind, name);
  const { resourceType, resourceName } = resource;
  const result = await client.retrying(async () => {
    const connection = await connect(session, resource);
    const request = newDescribeConfigsRequest({
      resources: [newDescribeConfigsResource({ resourceType, resourceName, configurationKeys: null })],
    });
    const answer = (await connection.request(describeConfigsApi, request)).results[0];
    expectNone(answer?.errorCode ?? ErrorCodes.UNKNOWN_SERVER_ERROR, `${kind} ${name}`, answer?.errorMessage);
    return answer;
  });
  const configs = (result?.configs ?? [])
    .filter((each) => showAll || each.configSource !== DEFAULT_SOURCE)
    .map((each) => ({
      name: each.name,
      value: each.isSensitive ? null : each.value,
      source: SOURCES[each.configSource] ?? `source ${each.configSource}`,
      isSensitive: each.isSensitive,
      isReadOnly: each.readOnly,
    }))
    .sort((left, right) => (left.name < right.name ? -1 : 1));
  const rows = configs.map((each) => [each.name, each.isSensitive ? "(hidden)" : each.value, each.source]);
  await print(output === "json" ? renderJson({ kind, name, configs }) : renderTable(["key", "value", "source"], rows));
  return 0;
}

export async function setConfigs(session: BrokerSession, kind: string, name: string, settings: readonly string[]): Promise<number> {
  const operations = settings.map((setting) => {
    const equals = setting.indexOf("=");
    if (equals <= 0) throw usage(`${setting} is not right`, "write KEY=VALUE");
    return { key: setting.slice(0, equals).trim(), value: setting.slice(equals + 1) };
  });
  return alter(session, findResource(kind, name), operations);
}

/** Back to the default. */
export function unsetConfigs(session: BrokerSession, kind: string, name: string, keys: readonly string[]): Promise<number> {
  return alter(
    session,
    findResource(kind, name),
    keys.map((key) => ({ key, value: undefined })),
  );
}

async function alter(
  session: BrokerSession,
  resource: Resource,
  operations: readonly { readonly key: string; readonly value: string | undefined }[],
): Promise<number> {
  const { client, output, print } = session;
  const { kind, name, resourceType, resourceName } = resource;
  const configs = operations.map(({ key, value }) =>
    newAlterableConfig({ name: key, value: value ?? null, configOperation: value === undefined ? Operation.DELETE : Operation.SET }),
  );
  await client.retrying(async () => {
    const connection = await connect(session, resource);
    const request = newIncrementalAlterConfigsRequest({ resources: [newAlterConfigsResource({ resourceType, resourceName, configs })] });
    const answer = (await connection.request(incrementalAlterConfigsApi, request)).responses[0];
    expectNone(answer?.errorCode ?? ErrorCodes.UNKNOWN_SERVER_ERROR, `${kind} ${name} keeps its settings`, answer?.errorMessage);
  });
  const changed = Object.fromEntries(operations.map(({ key, value }) => [key, value ?? null]));
  const lines = operations.map(
    ({ key, value }) => `${kind} ${name}: ${key} ${value === undefined ? "is back to its default" : `= ${value}`}\n`,
  );
  await print(output === "json" ? renderJson({ kind, name, changed }) : lines.join(""));
  return 0;
}
