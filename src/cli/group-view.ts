/** A consumer group as `weir group describe` shows it, whichever protocol its members speak: read by ConsumerGroupDescribe (KIP-848), or else by DescribeGroups. */
import { expectNone, kafkaTrouble } from "../client/client-troubles.ts";
import type { KafkaClient } from "../client/kafka-client.ts";
import { readAssignment } from "../group/consumer/embedded-protocol.ts";
import { DecodeError } from "../protocol/codec-error.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type Assignment,
  consumerGroupDescribeApi,
  newConsumerGroupDescribeRequest,
} from "../protocol/messages/consumer-group-describe.ts";
import { type DescribedGroup, describeGroupsApi, newDescribeGroupsRequest } from "../protocol/messages/describe-groups.ts";

export interface AssignedPartition {
  readonly topic: string;
  readonly partition: number;
}

export interface MemberView {
  readonly member: string;
  readonly instance: string | null;
  readonly client: string;
  readonly host: string;
  /** Of a group of the consumer protocol; as are the next two. */
  readonly epoch: number | null;
  readonly protocol: "classic" | "consumer";
  readonly assigned: readonly AssignedPartition[];
  /** What it shall own in the end. */
  readonly target: readonly AssignedPartition[] | null;
}

export interface GroupView {
  readonly group: string;
  readonly state: string;
  readonly type: "classic" | "consumer";
  readonly assignor: string;
  /** Null: a classic group does not tell its generation. */
  readonly epoch: number | null;
  readonly targetEpoch: number | null;
  readonly members: readonly MemberView[];
}

/** Throws Trouble "group-id-not-found" and whatever else the coordinator answers. */
export async function readGroup(client: KafkaClient, groupId: string): Promise<GroupView> {
  const coordinator = await client.coordinator(groupId);
  if (coordinator.serves(consumerGroupDescribeApi)) {
    const request = newConsumerGroupDescribeRequest({ groupIds: [groupId] });
    const group = (await coordinator.request(consumerGroupDescribeApi, request)).groups[0];
    if (group !== undefined && group.errorCode !== ErrorCodes.GROUP_ID_NOT_FOUND) {
      expectNone(group.errorCode, `group ${groupId}`, group.errorMessage);
      return {
        group: groupId,
        state: group.groupState,
        type: "consumer",
        assignor: group.assignorName,
        epoch: group.groupEpoch,
        targetEpoch: group.assignmentEpoch,
        members: group.members.map((member) => ({
          member: member.memberId,
          instance: member.instanceId,
          client: member.clientId,
          host: member.clientHost,
          epoch: member.memberEpoch,
          protocol: member.memberType === 0 ? "classic" : "consumer",
          assigned: flatten(member.assignment),
          target: flatten(member.targetAssignment),
        })),
      };
    }
  }
  const answer = await coordinator.request(describeGroupsApi, newDescribeGroupsRequest({ groups: [groupId] }));
  const group = answer.groups[0];
  if (group === undefined) throw kafkaTrouble(ErrorCodes.GROUP_ID_NOT_FOUND, `group ${groupId}`);
  expectNone(group.errorCode, `group ${groupId}`, group.errorMessage);
  // Up to version 5 a group that does not exist is a dead one.
  if (group.groupState === "Dead") throw kafkaTrouble(ErrorCodes.GROUP_ID_NOT_FOUND, `group ${groupId}`);
  return viewClassic(group);
}

function viewClassic({ groupId, groupState, protocolType, protocolData, members }: DescribedGroup): GroupView {
  return {
    group: groupId,
    state: groupState,
    type: "classic",
    assignor: protocolData,
    epoch: null,
    targetEpoch: null,
    members: members.map((member) => ({
      member: member.memberId,
      instance: member.groupInstanceId,
      client: member.clientId,
      host: member.clientHost,
      epoch: null,
      protocol: "classic",
      assigned: protocolType === "consumer" ? parseAssignment(member.memberId, member.memberAssignment) : [],
      target: null,
    })),
  };
}

function flatten({ topicPartitions }: Assignment): readonly AssignedPartition[] {
  return topicPartitions.flatMap(({ topicName, partitions }) => partitions.map((partition) => ({ topic: topicName, partition })));
}

/** None while the group rebalances. Throws DecodeError. */
function parseAssignment(memberId: string, bytes: Uint8Array): readonly AssignedPartition[] {
  const assignment = readAssignment(bytes);
  if (assignment === undefined) throw new DecodeError(`the assignment of member ${memberId} is malformed`);
  return [...assignment.partitions].flatMap(([topic, partitions]) => partitions.map((partition) => ({ topic, partition })));
}

/** "orders:0-3,7 clicks:1". */
export function showPartitions(partitions: readonly AssignedPartition[]): string {
  const byTopic = Map.groupBy(partitions, ({ topic }) => topic);
  return [...byTopic]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([topic, of]) => `${topic}:${showRanges(of.map(({ partition }) => partition))}`)
    .join(" ");
}

function showRanges(numbers: readonly number[]): string {
  const ranges: { first: number; last: number }[] = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const range = ranges.at(-1);
    if (range !== undefined && range.last + 1 === number) range.last = number;
    else ranges.push({ first: number, last: number });
  }
  return ranges.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`)).join(",");
}
