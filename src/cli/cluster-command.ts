/** `weir cluster` and `weir config describe`: what the brokers say about themselves. */

import { Trouble } from "../base/trouble.ts";
import { expectNone } from "../client/client-troubles.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { describeClusterApi, newDescribeClusterRequest } from "../protocol/messages/describe-cluster.ts";
import { describeConfigsApi, newDescribeConfigsRequest, newDescribeConfigsResource } from "../protocol/messages/describe-configs.ts";
import type { BrokerSession } from "./broker-session.ts";
import { renderFields, renderJson, renderTable } from "./output.ts";

export async function describeCluster({ client, output, print }: BrokerSession): Promise<number> {
  const { cluster, versions } = await client.retrying(async () => {
    const connection = await client.any();
    const answer = await connection.request(describeClusterApi, newDescribeClusterRequest());
    expectNone(answer.errorCode, "the cluster cannot be described", answer.errorMessage);
    return { cluster: answer, versions: connection.versions };
  });
  const features = versions.supportedFeatures.map(({ name, minVersion, maxVersion }) => ({
    name,
    finalized: versions.finalizedFeatures.find((each) => each.name === name)?.maxVersionLevel ?? null,
    minVersion,
    maxVersion,
  }));
  const brokers = cluster.brokers.map(({ brokerId, host, port, rack }) => ({
    id: brokerId,
    host,
    port,
    rack,
    isController: brokerId === cluster.controllerId,
  }));
  if (output === "json") {
    await print(
      renderJson({ clusterId: cluster.clusterId, controllerId: cluster.controllerId, brokers, features, apis: versions.apiKeys.length }),
    );
    return 0;
  }
  const about = renderFields([
    ["cluster", cluster.clusterId],
    ["controller", cluster.controllerId],
    ["brokers", brokers.length],
    ["apis", versions.apiKeys.length],
  ]);
  const brokerRows = brokers.map((each) => [each.id, each.host, each.port, each.rack, each.isController ? "yes" : "no"]);
  const featureRows = features.map((each) => [each.name, each.finalized, each.minVersion, each.maxVersion]);
  await print(
    `${about}\n${renderTable(["broker", "host", "port", "rack", "controller"], brokerRows)}\n${renderTable(["feature", "level", "min", "max"], featureRows)}`,
  );
  return 0;
}

const RESOURCE_TYPES: Readonly<Record<string, number>> = { topic: 2, broker: 4 };
const SOURCES = ["unknown", "topic", "dynamic broker", "dynamic default", "static broker", "default"];
const DEFAULT_SOURCE = 5;

/** `kind`: "topic" or "broker". Without `showAll` only what is not Kafka's default. */
export async function describeConfig(session: BrokerSession, kind: string, name: string, showAll: boolean): Promise<number> {
  const { client, output, print } = session;
  const resourceType = RESOURCE_TYPES[kind];
  if (resourceType === undefined) {
    throw new Trouble({
      code: "usage",
      message: `${kind} has no configuration`,
      remedy: "name topic or broker",
      retryable: false,
      exitCode: 2,
    });
  }
  const result = await client.retrying(async () => {
    const connection = kind === "broker" && /^\d{1,9}$/.test(name) ? await client.broker(Number(name)) : await client.any();
    const request = newDescribeConfigsRequest({
      resources: [newDescribeConfigsResource({ resourceType, resourceName: name, configurationKeys: null })],
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
