/** Requests about feature levels and what follows from them, over a raw connection; answers as lines that can be compared with recorded ones. */
import { apiVersionsApi, newApiVersionsRequest } from "../../src/protocol/messages/api-versions.ts";
import { consumerGroupDescribeApi, newConsumerGroupDescribeRequest } from "../../src/protocol/messages/consumer-group-describe.ts";
import { consumerGroupHeartbeatApi, newConsumerGroupHeartbeatRequest } from "../../src/protocol/messages/consumer-group-heartbeat.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { listGroupsApi, newListGroupsRequest } from "../../src/protocol/messages/list-groups.ts";
import { newFeatureUpdateKey, newUpdateFeaturesRequest, updateFeaturesApi } from "../../src/protocol/messages/update-features.ts";
import type { KafkaConnection } from "../support/kafka-connection.ts";

/** The last member: FeatureUpdate.UpgradeType, or in version 0 whether a downgrade is allowed. */
export type FeatureUpdate = readonly [name: string, level: number, upgrade: number | boolean];

export type FeatureStep =
  | readonly ["update", number, readonly FeatureUpdate[], boolean?]
  | readonly ["features", number]
  /** Until the group's coordinator is ready. */
  | readonly ["coordinator", string]
  /** A member's heartbeat: joins with epoch 0, leaves with -1. */
  | readonly ["heartbeat", string, string, number]
  | readonly ["describe", string]
  | readonly ["groups"];

/** Features that Weir has too; Kafka's others are what Weir does not serve. */
const COMPARED = new Set(["metadata.version", "transaction.version", "group.version"]);

/** ConsumerGroupHeartbeat, ConsumerGroupDescribe: advertised at every level. */
const CONSUMER_APIS = new Set([68, 69]);
/** COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR. */
const NOT_READY = new Set([14, 15, 16]);

export async function askFeatures(connection: KafkaConnection, step: FeatureStep): Promise<string[]> {
  switch (step[0]) {
    case "update":
      return update(connection, step[1], step[2], step[3] === true);
    case "features":
      return features(connection, step[1]);
    case "coordinator":
      return coordinator(connection, step[1]);
    case "heartbeat":
      return heartbeat(connection, step[1], step[2], step[3]);
    case "describe":
      return describe(connection, step[1]);
    case "groups": {
      const { errorCode, groups } = await connection.request(listGroupsApi, 5, newListGroupsRequest());
      return [String(errorCode), ...groups.map((group) => `${group.groupId} ${group.groupType} ${group.groupState}`).sort()];
    }
  }
}

async function update(connection: KafkaConnection, version: number, updates: readonly FeatureUpdate[], validateOnly: boolean) {
  const featureUpdates = updates.map(([feature, maxVersionLevel, upgrade]) =>
    typeof upgrade === "boolean"
      ? newFeatureUpdateKey({ feature, maxVersionLevel, allowDowngrade: upgrade })
      : newFeatureUpdateKey({ feature, maxVersionLevel, upgradeType: upgrade }),
  );
  const answer = await connection.request(updateFeaturesApi, version, newUpdateFeaturesRequest({ featureUpdates, validateOnly }));
  return [
    `${answer.errorCode} ${answer.errorMessage}`,
    ...answer.results.map(({ feature, errorCode, errorMessage }) => `  ${feature}: ${errorCode} ${errorMessage}`),
  ];
}

async function features(connection: KafkaConnection, version: number): Promise<string[]> {
  const request = newApiVersionsRequest({ clientSoftwareName: "test", clientSoftwareVersion: "1" });
  const answer = await connection.request(apiVersionsApi, version, request);
  return [
    ...answer.supportedFeatures
      .filter(({ name }) => COMPARED.has(name))
      .map(({ name, minVersion, maxVersion }) => `${name} supported ${minVersion}-${maxVersion}`)
      .sort(),
    ...answer.finalizedFeatures
      .filter(({ name }) => COMPARED.has(name))
      .map(({ name, minVersionLevel, maxVersionLevel }) => `${name} finalized ${minVersionLevel}-${maxVersionLevel}`)
      .sort(),
    ...answer.apiKeys.filter(({ apiKey }) => CONSUMER_APIS.has(apiKey)).map((api) => `${api.apiKey} ${api.minVersion}-${api.maxVersion}`),
  ];
}

async function coordinator(connection: KafkaConnection, groupId: string): Promise<string[]> {
  for (;;) {
    const found = await connection.request(findCoordinatorApi, 4, newFindCoordinatorRequest({ coordinatorKeys: [groupId] }));
    const described = await connection.request(consumerGroupDescribeApi, 1, newConsumerGroupDescribeRequest({ groupIds: [groupId] }));
    const isReady = described.groups.every(({ errorCode }) => !NOT_READY.has(errorCode));
    if (found.coordinators.every(({ errorCode }) => errorCode === 0) && isReady) return ["ready"];
  }
}

async function heartbeat(connection: KafkaConnection, groupId: string, memberId: string, memberEpoch: number): Promise<string[]> {
  const joining = { rebalanceTimeoutMs: 60_000, subscribedTopicNames: ["t"], topicPartitions: [] };
  const request = newConsumerGroupHeartbeatRequest({ groupId, memberId, memberEpoch, ...(memberEpoch === 0 ? joining : {}) });
  const answer = await connection.request(consumerGroupHeartbeatApi, 1, request);
  return [`${answer.errorCode} ${answer.errorMessage} epoch ${answer.memberEpoch}`];
}

async function describe(connection: KafkaConnection, groupId: string): Promise<string[]> {
  const answer = await connection.request(consumerGroupDescribeApi, 1, newConsumerGroupDescribeRequest({ groupIds: [groupId] }));
  return answer.groups.map((group) => {
    const members = group.members.map((member) => `${member.memberId}@${member.memberEpoch}`).join(" ");
    return `${group.groupId}: ${group.errorCode} ${group.errorMessage} ${group.groupState} [${members}]`;
  });
}
