/**
 * Whether a coordinator knows what the metadata already say, or has done what it does in the background. It hears of topics and settings after everybody else, and each of its partitions on its
 * own: so a group of the probe's, in the same partition of __consumer_offsets, is asked what it sees.
 */

import { shardOfKey } from "../../../src/coordinator/shard-of-key.ts";
import {
  type ConsumerGroupHeartbeatResponse,
  consumerGroupHeartbeatApi,
  newConsumerGroupHeartbeatRequest,
} from "../../../src/protocol/messages/consumer-group-heartbeat.ts";
import { fetchApi, newFetchPartition, newFetchRequest, newFetchTopic } from "../../../src/protocol/messages/fetch.ts";
import {
  incrementalAlterConfigsApi,
  newAlterableConfig,
  newAlterConfigsResource,
  newIncrementalAlterConfigsRequest,
} from "../../../src/protocol/messages/incremental-alter-configs.ts";
import {
  listOffsetsApi,
  newListOffsetsPartition,
  newListOffsetsRequest,
  newListOffsetsTopic,
} from "../../../src/protocol/messages/list-offsets.ts";
import type { KafkaConnection } from "../../support/kafka-connection.ts";
import { viewRecords } from "./record-view.ts";
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

/** ConsumerGroupRegularExpressionKey. */
const patternRecord = 16;

/**
 * The coordinator's log has what the pattern matches. Nothing else tells: answers show it only when it matches something, and only once a heartbeat has
 * made a target of it.
 */
export async function isPatternKnown(
  control: KafkaConnection,
  startedMs: number,
  { group, pattern }: Extract<Settle, { kind: "pattern" }>,
): Promise<boolean> {
  const topic = "__consumer_offsets";
  const partition = shardOfKey(group, partitions);
  const wanted = newListOffsetsPartition({ partitionIndex: partition, timestamp: BigInt(startedMs - 1000) });
  const asked = newListOffsetsRequest({ replicaId: -1, topics: [newListOffsetsTopic({ name: topic, partitions: [wanted] })] });
  let offset = (await control.request(listOffsetsApi, 7, asked)).topics[0]?.partitions[0]?.offset ?? -1n;
  const key = patternKey(group, pattern);
  let isKnown = false;
  while (offset >= 0n) {
    const place = newFetchPartition({ partition, fetchOffset: offset, partitionMaxBytes: 1 << 24 });
    const request = newFetchRequest({
      replicaId: -1,
      maxWaitMs: 0,
      maxBytes: 1 << 24,
      topics: [newFetchTopic({ topic, partitions: [place] })],
    });
    const records = (await control.request(fetchApi, 12, request)).responses[0]?.partitions[0]?.records;
    if (!(records instanceof Uint8Array) || records.length === 0) return isKnown;
    const bytes = Buffer.from(records);
    const at = bytes.lastIndexOf(key);
    // What follows a key is the length of its value; 1 stands for none.
    if (at >= 0) isKnown = bytes[at + key.length] !== 1;
    const last = viewRecords(records).batches.at(-1);
    if (last === undefined) return isKnown;
    offset = last.baseOffset + BigInt(last.lastOffsetDelta) + 1n;
  }
  return isKnown;
}

function patternKey(group: string, pattern: string): Buffer {
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value);
    return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
  };
  return Buffer.concat([Buffer.from([0, patternRecord]), text(group), text(pattern)]);
}
