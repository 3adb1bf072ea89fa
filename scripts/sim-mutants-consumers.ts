/** Planted bugs of consumer groups that the simulator's clients must notice; part of `sim-mutants-list.ts`. */
import type { SimMutant } from "./sim-mutants-list.ts";

const GROUPS = "src/group/consumer/shard-consumer-groups.ts";
const HEARTBEAT = "src/group/consumer/consumer-heartbeat.ts";
const RECORDS = "src/group/consumer/consumer-group-records.ts";
const MEMBER = "src/group/consumer/consumer-member.ts";
const OFFSETS = "src/group/offsets/consumer-offset-checks.ts";
const CONVERSION = "src/group/consumer/group-conversion.ts";

const WRITTEN = "    const all = [...records, ...changes.map((change) => encodeChange(group.groupId, change))];";

/** Memory knows these changes, the log does not. */
const notWritten = (isLost: string): string =>
  `    const all = [...records, ...changes.filter((change) => !(${isLost})).map((change) => encodeChange(group.groupId, change))];`;

export const CONSUMER_MUTANTS: readonly SimMutant[] = [
  {
    name: "partition-given-before-let-go",
    scenario: "rebalances",
    harm: "a member is given a partition that another has not let go",
    file: MEMBER,
    find: "      if (target.isFree(topicId, partition)) epochs.set",
    replace: "      if (partition >= 0) epochs.set",
  },
  {
    name: "revocation-not-awaited",
    scenario: "rebalances",
    harm: "what a member is to give up counts as given up at once",
    file: MEMBER,
    find: "  if (removed.size > 0 && stillOwns(removed, target)) return",
    replace: "  if (removed.size < 0 && stillOwns(removed, target)) return",
  },
  {
    name: "commit-epoch-not-checked",
    scenario: "rebalances",
    harm: "a commit under an older epoch is taken for a partition that was given later",
    file: OFFSETS,
    find: "    if (givenAt === undefined || generation < givenAt) return staleness(member);",
    replace: "    if (givenAt === -1) return staleness(member);",
  },
  {
    name: "strangers-commit",
    scenario: "rebalances",
    harm: "a commit is taken from who is no member any more",
    file: OFFSETS,
    find: '  if (member === undefined) return "unknown-member";\n  const isClassic',
    replace: "  if (member === undefined) return undefined;\n  const isClassic",
  },
  {
    name: "silent-member-stays",
    scenario: "rebalances",
    harm: "a member whose session is over keeps its partitions",
    file: GROUPS,
    find: "    void this.#remove(group, [member], why);",
    replace: "",
  },
  {
    name: "session-cut-short",
    scenario: "rebalances",
    harm: "a member is expelled before its session is over",
    file: GROUPS,
    find: '?? this.#setting(group.groupId, "consumer.session.timeout.ms"));',
    replace: '?? this.#setting(group.groupId, "consumer.heartbeat.interval.ms"));',
  },
  {
    name: "leave-not-written",
    scenario: "rebalances",
    harm: "who has left is a member again for the next coordinator",
    file: GROUPS,
    find: WRITTEN,
    replace: notWritten('change.kind === "member" && change.value === undefined'),
  },
  {
    name: "target-not-written",
    scenario: "rebalances",
    harm: "the next coordinator does not know the targets",
    file: GROUPS,
    find: WRITTEN,
    replace: notWritten('change.kind === "target" && change.value !== undefined'),
  },
  {
    name: "group-epoch-not-written",
    scenario: "rebalances",
    harm: "the next coordinator gives out epochs that were given out before",
    file: GROUPS,
    find: WRITTEN,
    replace: notWritten('change.kind === "group-epoch" && change.value !== undefined && change.value.epoch > 1'),
  },
  {
    name: "heartbeat-answered-early",
    scenario: "rebalances",
    harm: "a member is told its epoch and partitions before the log has them",
    file: GROUPS,
    find: "    const failure = await this.#commit(group, plan.changes, records, () => {\n      group.isMetadataStale = false;\n      this.#startSession(group, memberId);\n      const member",
    replace:
      "    const failure = undefined as GroupError | undefined;\n    void this.#commit(group, plan.changes, records, () => {\n      group.isMetadataStale = false;\n      this.#startSession(group, memberId);\n      const member",
  },
  {
    name: "pending-revocation-not-loaded",
    scenario: "rebalances",
    harm: "a load forgets what members have still to give up",
    file: RECORDS,
    find: "    pendingRevocation: fromTopicPartitions(value.partitionsPendingRevocation, value.memberEpoch),",
    replace: "    pendingRevocation: fromTopicPartitions([], value.memberEpoch),",
  },
  {
    name: "static-epoch-not-checked",
    scenario: "rebalances",
    harm: "a static member that has left for a while goes on under its old epoch",
    file: HEARTBEAT,
    find: "    return findEpochError(known, request) ?? { before: known, replaced: undefined };",
    replace: "    return { before: known, replaced: undefined };",
  },
  {
    name: "replaced-static-not-fenced",
    scenario: "rebalances",
    harm: "a static member goes on although another has taken its place",
    file: HEARTBEAT,
    find: "    if (known.memberId !== memberId) return refuseFenced(memberId, instanceId, known.memberId);\n    return findEpochError",
    replace: "    return findEpochError",
  },
  {
    name: "static-place-not-kept",
    scenario: "rebalances",
    harm: "what a static member has is free when it leaves for a while",
    file: HEARTBEAT,
    find: "epoch: LEFT_STATIC_EPOCH, assigned, pendingRevocation",
    replace: "epoch: LEFT_STATIC_EPOCH, assigned: assigned.size < 0 ? assigned : NO_PARTITIONS, pendingRevocation",
  },
  {
    name: "pattern-never-refreshed",
    scenario: "rebalances",
    harm: "a pattern matches the topics that were there when it was first looked at",
    file: "src/group/consumer/pattern-topics.ts",
    find: "  return oldestVersion < topicsVersion || nowMs",
    replace: "  return oldestVersion < 0 * topicsVersion || nowMs",
  },
  {
    name: "new-partitions-not-seen",
    scenario: "rebalances",
    harm: "partitions that a topic grows by are nobody's",
    file: "src/group/coordinator-shard.ts",
    find: '    for (const group of this.#groups.values()) if (group.kind === "consumer") group.isMetadataStale = true;',
    replace: "",
  },
  {
    name: "upgrade-drops-member",
    scenario: "rebalances",
    harm: "a classic group loses its last member when it becomes a consumer group",
    file: CONVERSION,
    find: "  for (const member of group.roster.all()) {\n    const { memberId } = member;",
    replace:
      "  for (const member of [...group.roster.all()].slice(0, Math.max(1, group.roster.size - 1))) {\n    const { memberId } = member;",
  },
  {
    name: "upgrade-drops-partitions",
    scenario: "rebalances",
    harm: "what a classic member has is free when its group becomes a consumer group",
    file: CONVERSION,
    find: "    const owned = new Map(Array.from(assigned, ([topicId, of]) => [topicId, ownedSince(of)]));",
    replace: "    const owned = new Map(Array.from(assigned, ([topicId]) => [topicId, ownedSince([])]));",
  },
  {
    name: "downgrade-drops-member",
    scenario: "rebalances",
    harm: "a consumer group loses a member when it becomes classic",
    file: CONVERSION,
    find: "  const staying = [...group.members()].filter(({ memberId }) => !leaving.has(memberId));",
    replace:
      "  const staying = [...group.members()].filter(({ memberId }) => !leaving.has(memberId)).slice(0, Math.max(1, group.size - leaving.size - 1));",
  },
  {
    name: "classic-owned-not-heard",
    scenario: "rebalances",
    harm: "what a classic member says that it has counts as let go",
    file: "src/group/consumer/classic-members.ts",
    find: "      owned: toTopicIds(subscription.owned, context.getTopic),",
    replace: "      owned: toTopicIds(new Map(), context.getTopic),",
  },
  {
    name: "sessions-not-started-by-load",
    scenario: "rebalances",
    harm: "who falls silent while coordinators change is a member for ever",
    file: "src/group/coordinator-shard.ts",
    find: '      if (group.kind === "consumer") this.#consumerGroups.startSessions(group);',
    replace: '      if (group.kind === "consumer") continue;',
  },
  {
    name: "clock-ahead-stops-targets",
    scenario: "rebalances",
    harm: "after a clock that was ahead no target is made for as long as it was",
    file: HEARTBEAT,
    find: "targetTimestampMs + assignmentIntervalMs || nowMs < targetTimestampMs;",
    replace: "targetTimestampMs + assignmentIntervalMs;",
  },
];
