/** `weir cluster`: what the brokers say about themselves. */
import { expectNone } from "../client/client-troubles.ts";
import { describeClusterApi, newDescribeClusterRequest } from "../protocol/messages/describe-cluster.ts";
import type { BrokerSession } from "./broker-session.ts";
import { readFeatureLevels, renderFeatureLevels } from "./features-command.ts";
import { renderFields, renderJson, renderTable } from "./output.ts";

export async function describeCluster({ client, output, print }: BrokerSession): Promise<number> {
  const { cluster, versions } = await client.retrying(async () => {
    const connection = await client.any();
    const answer = await connection.request(describeClusterApi, newDescribeClusterRequest());
    expectNone(answer.errorCode, "the cluster cannot be described", answer.errorMessage);
    return { cluster: answer, versions: connection.versions };
  });
  const levels = readFeatureLevels(versions);
  const brokers = cluster.brokers.map(({ brokerId, host, port, rack }) => ({
    id: brokerId,
    host,
    port,
    rack,
    isController: brokerId === cluster.controllerId,
  }));
  if (output === "json") {
    const features = levels.map(({ name, level, minVersion, maxVersion }) => ({ name, finalized: level, minVersion, maxVersion }));
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
  await print(`${about}\n${renderTable(["broker", "host", "port", "rack", "controller"], brokerRows)}\n${renderFeatureLevels(levels)}`);
  return 0;
}
