/** `weir group list|describe|delete`: consumer groups, with the lag of each partition they have committed or are assigned. */
import { expectNone } from "../client/client-troubles.ts";
import { LATEST, readOffsets } from "../client/consumer.ts";
import type { KafkaClient } from "../client/kafka-client.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { deleteGroupsApi, newDeleteGroupsRequest } from "../protocol/messages/delete-groups.ts";
import { listGroupsApi, newListGroupsRequest } from "../protocol/messages/list-groups.ts";
import { newOffsetFetchRequest, newOffsetFetchRequestGroup, offsetFetchApi } from "../protocol/messages/offset-fetch.ts";
import type { BrokerSession } from "./broker-session.ts";
import { type GroupView, type MemberView, readGroup, showPartitions } from "./group-view.ts";
import { renderFields, renderJson, renderTable } from "./output.ts";

/** Groups by id in the request, topics by name. */
const OFFSET_FETCH_VERSIONS = { min: 8, max: 9 } as const;

export async function listGroups({ client, output, print }: BrokerSession): Promise<number> {
  const listed = await client.retrying(async () => {
    const brokers = await client.everyBroker();
    const answers = await Promise.all(brokers.map((broker) => broker.request(listGroupsApi, newListGroupsRequest())));
    return answers.flatMap((answer) => {
      expectNone(answer.errorCode, "groups cannot be listed");
      return answer.groups;
    });
  });
  const groups = listed
    .map(({ groupId, groupState, groupType, protocolType }) => ({
      group: groupId,
      state: groupState,
      type: groupType,
      protocol: protocolType,
    }))
    .sort((left, right) => (left.group < right.group ? -1 : 1));
  const table = (): string =>
    renderTable(
      ["group", "state", "type", "protocol"],
      groups.map((each) => [each.group, each.state, each.type, each.protocol]),
    );
  await print(output === "json" ? renderJson(groups) : table());
  return 0;
}

interface GroupRow {
  readonly topic: string;
  readonly partition: number;
  readonly committed: bigint | null;
  readonly end: bigint | null;
  readonly lag: bigint | null;
  readonly member: string | null;
  readonly client: string | null;
  readonly host: string | null;
}

export interface DescribeOptions {
  /** A line for each member instead of one for each partition. */
  readonly members: boolean;
}

export async function describeGroup({ client, output, print }: BrokerSession, groupId: string, options: DescribeOptions): Promise<number> {
  const { group, rows } = await client.retrying(async () => {
    const found = await readGroup(client, groupId);
    return { group: found, rows: options.members && output === "table" ? [] : await readRows(client, found) };
  });
  if (output === "json") {
    await print(renderJson({ ...group, partitions: rows }));
    return 0;
  }
  const { members, targetEpoch, ...about } = group;
  const known = Object.entries({ ...about, "target epoch": targetEpoch, members: members.length }).filter(([, value]) => value !== null);
  const fields = renderFields(known);
  await print(fields + (options.members ? showMembers(members) : showRows(rows)));
  return 0;
}

function showRows(rows: readonly GroupRow[]): string {
  const header = ["topic", "partition", "committed", "end", "lag", "member", "client", "host"];
  const cells = rows.map((row) => [row.topic, row.partition, row.committed, row.end, row.lag, row.member, row.client, row.host]);
  return renderTable(header, cells);
}

function showMembers(members: readonly MemberView[]): string {
  const header = ["member", "instance", "client", "host", "protocol", "epoch", "owns", "shall own"];
  const cells = members.map((each) => [
    each.member,
    each.instance,
    each.client,
    each.host,
    each.protocol,
    each.epoch,
    showPartitions(each.assigned),
    each.target === null ? null : showPartitions(each.target),
  ]);
  return renderTable(header, cells);
}

async function readRows(client: KafkaClient, { group: groupId, members }: GroupView): Promise<readonly GroupRow[]> {
  const coordinator = await client.coordinator(groupId);
  const request = newOffsetFetchRequest({ groups: [newOffsetFetchRequestGroup({ groupId, topics: null })] });
  const answer = (await coordinator.request(offsetFetchApi, request, OFFSET_FETCH_VERSIONS)).groups[0];
  expectNone(answer?.errorCode ?? ErrorCodes.UNKNOWN_SERVER_ERROR, `committed offsets of group ${groupId}`);
  const committed = new Map<string, Map<number, bigint | null>>();
  const note = (topic: string, partition: number, offset: bigint | null): void => {
    const partitions = committed.get(topic) ?? new Map<number, bigint | null>();
    committed.set(topic, partitions.set(partition, offset ?? partitions.get(partition) ?? null));
  };
  for (const topic of answer?.topics ?? []) {
    for (const each of topic.partitions) note(topic.name, each.partitionIndex, each.committedOffset < 0n ? null : each.committedOffset);
  }
  const owners = new Map<string, { readonly member: string; readonly client: string; readonly host: string }>();
  for (const { member, client: clientId, host, assigned } of members) {
    for (const { topic, partition } of assigned) {
      note(topic, partition, null);
      owners.set(`${topic}-${partition}`, { member, client: clientId, host });
    }
  }
  const rows = await Promise.all(
    [...committed].map(async ([topic, partitions]) => {
      const ends = await readEnds(client, topic);
      return [...partitions].map(([partition, offset]) => {
        const end = ends.get(partition) ?? null;
        const owner = owners.get(`${topic}-${partition}`) ?? { member: null, client: null, host: null };
        return { topic, partition, committed: offset, end, lag: offset === null || end === null ? null : end - offset, ...owner };
      });
    }),
  );
  return rows
    .flat()
    .sort((left, right) => (left.topic === right.topic ? left.partition - right.partition : left.topic < right.topic ? -1 : 1));
}

/** Empty for a topic that was deleted after it was committed for. */
async function readEnds(client: KafkaClient, topic: string): Promise<ReadonlyMap<number, bigint>> {
  const found = (await client.metadata([topic])).topics[0];
  if (found === undefined || found.errorCode === ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION) return new Map();
  const [info] = await client.topics([topic]);
  return info === undefined ? new Map() : readOffsets(client, info, LATEST);
}

export async function deleteGroups({ client, output, print }: BrokerSession, groupIds: readonly string[]): Promise<number> {
  for (const groupId of groupIds) {
    await client.retrying(async () => {
      const coordinator = await client.coordinator(groupId);
      const answer = await coordinator.request(deleteGroupsApi, newDeleteGroupsRequest({ groupsNames: [groupId] }));
      const result = answer.results[0];
      expectNone(result?.errorCode ?? ErrorCodes.UNKNOWN_SERVER_ERROR, `group ${groupId} was not deleted`, result?.errorMessage);
    });
    if (output === "table") await print(`deleted group ${groupId}\n`);
  }
  if (output === "json") await print(renderJson({ deleted: groupIds }));
  return 0;
}
