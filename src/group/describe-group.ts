/** A group as DescribeGroups shows it: what members know of each other only while the group is Stable. */
import type { GroupView } from "./classic/group-host.ts";
import { metadataOf } from "./classic/group-roster.ts";
import { type GroupDescription, NO_BYTES } from "./group-types.ts";

export function describeGroup({ groupId, state, protocolType, protocolName, roster }: GroupView): GroupDescription {
  const isStable = state === "Stable";
  return {
    groupId,
    state,
    protocolType: protocolType ?? "",
    protocolName: isStable ? (protocolName ?? "") : "",
    members: Array.from(roster.all(), (member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      metadata: isStable ? metadataOf(member, protocolName) : NO_BYTES,
      assignment: member.assignment,
    })),
  };
}
