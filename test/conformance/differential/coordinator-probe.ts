/**
 * Whether a coordinator knows what the metadata already say. It hears of topics and settings after everybody else, and each of its partitions on its
 * own: so a group of the probe's, in the same partition of __consumer_offsets, is asked what it sees.
 */

import { shardOfKey } from "../../../src/coordinator/shard-of-key.ts";
import {
  type ConsumerGroupHeartbeatResponse,
  consumerGroupHeartbeatApi,
  newConsumerGroupHeartbeatRequest,
} from "../../../src/protocol/messages/consumer-group-heartbeat.ts";
import {
  incrementalAlterConfigsApi,
  newAlterableConfig,
  newAlterConfigsResource,
  newIncrementalAlterConfigsRequest,
} from "../../../src/protocol/messages/incremental-alter-configs.ts";
import type { KafkaConnection } from "../../support/kafka-connection.ts";
import type { Bindings, Settle } from "./step.ts";

const partitions = 50;
const probeGroups = new Map<number, string>();
let count = 0;

/** A group that is in the same partition, and is no sequence's. */
function probeBeside(group: string): string {
  const partition = shardOfKey(group, partitions);
  for (let index = 0; !probeGroups.has(partition); index++) {
    const name = `probe-${index}`;
    if (shardOfKey(name, partitions) === partition) probeGroups.set(partition, name);
  }
  return probeGroups.get(partition) ?? "";
}

async function joinAndLeave(control: KafkaConnection, groupId: string, topics: readonly string[]): Promise<ConsumerGroupHeartbeatResponse> {
  const memberId = `prober-${count++}`;
  const beat = (memberEpoch: number) =>
    newConsumerGroupHeartbeatRequest({
      groupId,
      memberId,
      memberEpoch,
      rebalanceTimeoutMs: 60_000,
      subscribedTopicNames: [...topics],
      topicPartitions: [],
    });
  const answer = await control.request(consumerGroupHeartbeatApi, 1, beat(0));
  await control.request(consumerGroupHeartbeatApi, 1, beat(-1));
  return answer;
}

/** The coordinators of all these groups see the topic as it is now. */
export async function doCoordinatorsSee(
  control: KafkaConnection,
  bindings: Bindings,
  { groups, topic, partitions: expected }: Extract<Settle, { kind: "coordinators" }>,
): Promise<boolean> {
  for (const probe of new Set(groups.map(probeBeside))) {
    const { assignment } = await joinAndLeave(control, probe, [topic]);
    const given = assignment?.topicPartitions.find(({ topicId }) => topicId === bindings.topicId(topic))?.partitions.length ?? 0;
    if (assignment === null || given !== expected) return false;
  }
  return true;
}

const setting = "consumer.heartbeat.interval.ms";
const intervalsMs = new Map<string, number>();

/** What was set before the first look at this is in force, since a setting that was made after it is. */
export async function areGroupSettingsKnown(control: KafkaConnection, key: string, probe: string): Promise<boolean> {
  const wanted = intervalsMs.get(key);
  if (wanted === undefined) {
    const value = 5001 + (count++ % 9000);
    intervalsMs.set(key, value);
    const configs = [newAlterableConfig({ name: setting, value: String(value), configOperation: 0 })];
    const resources = [newAlterConfigsResource({ resourceType: 32, resourceName: probe, configs })];
    await control.request(incrementalAlterConfigsApi, 1, newIncrementalAlterConfigsRequest({ resources }));
    return false;
  }
  const isKnown = (await joinAndLeave(control, probe, [])).heartbeatIntervalMs === wanted;
  if (isKnown) intervalsMs.delete(key);
  return isKnown;
}
