/** Whether a consumer group has come to rest: everybody is stable, has what the coordinator says, and every partition of every subscribed topic is somebody's. */
import type { DescribedGroup } from "../../src/protocol/messages/consumer-group-describe.ts";
import type { Subscription } from "./consumer-member.ts";
import type { ConsumerGroupModel, MemberTrace, PartitionTrace } from "./consumer-model.ts";
import type { KnownTopic } from "./consumer-topics.ts";

const GROUP_ID_NOT_FOUND = 69;

/** A member as it sees itself. */
export interface Settled {
  readonly trace: MemberTrace;
  readonly subscription: Subscription;
  readonly isSettled: boolean;
  readonly currentEpoch: number;
  readonly partitions: ReadonlySet<PartitionTrace>;
}

/** What is not at rest yet, in words; undefined when everything is. */
export function findUnrest(
  group: DescribedGroup,
  members: readonly (Settled | undefined)[],
  topics: ReadonlyMap<string, KnownTopic>,
  model: ConsumerGroupModel,
): string | undefined {
  if (group.errorCode === GROUP_ID_NOT_FOUND && !model.hasOneProtocol) return findClassicUnrest(members, topics, model);
  if (group.errorCode !== 0) return `a describe is answered with error ${group.errorCode}`;
  if (group.groupState !== "Stable") return `the group is ${group.groupState}`;
  if (group.members.length !== members.length) return `${group.members.length} members are described, and there are ${members.length}`;
  for (const member of members) {
    const unrest = member === undefined ? "a client is no member" : findMemberUnrest(group, member, model);
    if (unrest !== undefined) return unrest;
  }
  return findUnowned(members as readonly Settled[], topics, model);
}

/** The group is classic: its members know. */
function findClassicUnrest(
  members: readonly (Settled | undefined)[],
  topics: ReadonlyMap<string, KnownTopic>,
  model: ConsumerGroupModel,
): string | undefined {
  for (const member of members) {
    if (member?.isSettled !== true) return "a client is no member";
    if (member.currentEpoch !== members[0]?.currentEpoch) return "members are in several generations";
  }
  return findUnowned(members as readonly Settled[], topics, model);
}

function findMemberUnrest(group: DescribedGroup, member: Settled, model: ConsumerGroupModel): string | undefined {
  const { memberId } = member.trace;
  const described = group.members.find((each) => each.memberId === memberId);
  if (described === undefined) return `${memberId} is not described`;
  if (!member.isSettled) return `${memberId} is not settled`;
  if (described.memberEpoch !== member.currentEpoch)
    return `${memberId} has epoch ${member.currentEpoch}, described is ${described.memberEpoch}`;
  if (described.memberEpoch !== group.assignmentEpoch || group.assignmentEpoch !== group.groupEpoch)
    return `${memberId} has epoch ${described.memberEpoch}, the target ${group.assignmentEpoch}, the group ${group.groupEpoch}`;
  for (const part of [described.assignment, described.targetAssignment]) {
    const said = model.partitionsOf(part.topicPartitions);
    const isSame = said.size === member.partitions.size && [...said].every((at) => member.partitions.has(at));
    if (!isSame) return `${memberId} has ${namesOf(member.partitions)}, described is ${namesOf(said)}`;
  }
  return undefined;
}

function namesOf(partitions: Iterable<PartitionTrace>): string {
  const names = Array.from(partitions, ({ name }) => name);
  return names.length === 0 ? "nothing" : names.sort().join(" ");
}

function isSubscribed({ subscription }: Settled, topic: string): boolean {
  const { topics, pattern } = subscription;
  return topics.includes(topic) || (pattern !== "" && new RegExp(`^(?:${pattern})$`).test(topic));
}

function findUnowned(members: readonly Settled[], topics: ReadonlyMap<string, KnownTopic>, model: ConsumerGroupModel): string | undefined {
  let owned = 0;
  for (const [topic, { topicId, partitions }] of topics) {
    const subscribers = members.filter((member) => isSubscribed(member, topic));
    if (subscribers.length === 0) continue;
    for (let partition = 0; partition < partitions; partition++) {
      const at = model.partition(topicId, partition);
      const owners = subscribers.filter((member) => member.partitions.has(at));
      if (owners.length !== 1) return `${topic}-${partition} has ${owners.length} owners`;
      owned++;
    }
  }
  const has = members.flatMap((member) => [...member.partitions]);
  return has.length === owned ? undefined : `${namesOf(has)} are owned, and ${owned} are there for subscribers`;
}
