/**
 * The consumer groups of one shard: what their members ask is planned, written and applied in one synchronous step, and answered when it is durable. Sessions,
 * and the time that members have to give partitions up, run here.
 *
 * Neighbours: `coordinator-shard.ts` (the map of groups and the log), `consumer-heartbeat.ts` (the plans), `consumer-group.ts` (the state).
 */
import type { Config } from "../../config/config.ts";
import { readConsumerAssignors } from "../../config/group-checks.ts";
import { getEffectiveGroupSetting } from "../../config/setting-errors.ts";
import type { TimerQueue } from "../../coordinator/timer-queue.ts";
import type { ImageView } from "../../metadata/cluster-metadata.ts";
import { ConfigResourceType } from "../../protocol/config-resource.ts";
import type { Logger } from "../../telemetry/telemetry.ts";
import type { AnyGroup } from "../any-group.ts";
import { ClassicGroup } from "../classic/classic-group.ts";
import type { GroupHost } from "../classic/group-host.ts";
import type { GroupMetrics } from "../group-metrics.ts";
import { encodeGroup, encodeGroupTombstone } from "../group-records.ts";
import {
  type GroupError,
  type GroupRecord,
  type JoinAnswer,
  type JoinRequest,
  type LeaveResult,
  type MemberIdentity,
  refuseJoin,
  refuseSync,
  type SyncAnswer,
  type SyncRequest,
} from "../group-types.ts";
import { describeSync, findClassicMember, findSyncError, hasToJoinAgain, planJoin } from "./classic-members.ts";
import { ConsumerGroup } from "./consumer-group.ts";
import { encodeChange } from "./consumer-group-records.ts";
import {
  type ConsumerHeartbeat,
  type ConsumerMember,
  type GroupChange,
  type HeartbeatAnswer,
  isRefusal,
  type Refusal,
} from "./consumer-group-types.ts";
import { findLeaving, type PlanContext, planHeartbeat, planRemoval, planStaticLeave, refuse } from "./consumer-heartbeat.ts";
import { canDowngrade, describeDowngraded, downgradesByJoin, migrationPolicyOf, planUpgrade } from "./group-conversion.ts";
import type { PatternMatches } from "./pattern-matches.ts";

export interface ConsumerGroupsOptions {
  readonly config: Config;
  readonly timers: TimerQueue;
  readonly logger: Logger;
  readonly metrics: GroupMetrics;
  readonly groups: Map<string, AnyGroup>;
  /** Of groups that become classic. */
  readonly classicHost: GroupHost;
  wallMs(): number;
  image(): ImageView;
  /** Rises when topics come, go or grow. */
  topicsVersion(): number;
  readonly patterns: PatternMatches;
  /** Appends and applies in one step, or says at once why it does neither; resolves when durable. */
  write(records: readonly GroupRecord[], apply: () => void): Promise<GroupError | undefined>;
  whenDurable(): Promise<GroupError | undefined>;
}

export class ConsumerGroups {
  readonly #options: ConsumerGroupsOptions;

  constructor(options: ConsumerGroupsOptions) {
    this.#options = options;
  }

  // --- load ---

  /** One record, as the log has it. */
  replay(groupId: string, change: GroupChange): void {
    const { groups } = this.#options;
    const known = groups.get(groupId);
    const isGone = change.kind === "group-epoch" && change.value === undefined;
    if (known?.kind === "consumer") {
      known.apply(change);
      if (isGone) groups.delete(groupId);
      return;
    }
    // A tombstone of what is gone already, or of a group that is classic by now.
    if (change.value === undefined) return;
    const group = new ConsumerGroup(groupId);
    group.apply(change);
    groups.set(groupId, group);
  }

  /** After the load: every member has one session to show that it lives. */
  startSessions(group: ConsumerGroup): void {
    for (const member of group.members()) {
      this.#startSession(group, member.memberId);
      if (member.progress.state === "unrevoked-partitions" && member.subscription.classic === undefined)
        this.#startRebalance(group, member);
    }
  }

  // --- heartbeats ---

  async heartbeat(request: ConsumerHeartbeat): Promise<HeartbeatAnswer | Refusal> {
    if (request.memberEpoch < 0) return this.#leave(request);
    const { pattern } = request;
    // What a pattern matches may take long to find among many topics: others are served meanwhile.
    const finding = pattern === undefined || pattern === "" ? undefined : this.#options.patterns.prepare(pattern);
    if (finding !== undefined) await finding;
    return this.#beat(request);
  }

  async #beat(request: ConsumerHeartbeat): Promise<HeartbeatAnswer | Refusal> {
    const { groupId, memberId } = request;
    const found = this.#findGroup(groupId, request.memberEpoch === 0);
    if (isRefusal(found)) return found;
    const { group, records } = found;
    const plan = planHeartbeat(group, request, this.#context(group.groupId));
    if (isRefusal(plan)) return plan;
    const before = group.getMember(memberId)?.progress;
    const epochBefore = group.epoch;
    const failure = await this.#commit(group, plan.changes, records, () => {
      group.isMetadataStale = false;
      this.#startSession(group, memberId);
      const member = group.getMember(memberId);
      if (member !== undefined && member.progress !== before) this.#startRebalance(group, member);
      if (group.epoch !== epochBefore) this.#noteRebalance(group, `member ${memberId} sent a heartbeat`);
    });
    return failure === undefined ? plan.answer : refuse(failure, "");
  }

  /** The group of a request, and the records that make way for it. */
  #findGroup(groupId: string, joins: boolean): { readonly group: ConsumerGroup; readonly records: readonly GroupRecord[] } | Refusal {
    const known = this.#options.groups.get(groupId);
    if (known?.kind === "consumer") return { group: known, records: [] };
    if (known === undefined) {
      if (!joins) return refuse("group-not-found", `Consumer group ${groupId} not found.`);
      return { group: new ConsumerGroup(groupId), records: [] };
    }
    if (joins && known.state === "Empty") return { group: new ConsumerGroup(groupId), records: [encodeGroupTombstone(groupId)] };
    return joins ? this.#upgrade(known) : refuse("group-not-found", `Group ${groupId} is not a consumer group.`);
  }

  /** The consumer group that a classic one becomes, if the heartbeat that asks for it is taken. */
  #upgrade(classic: ClassicGroup): { readonly group: ConsumerGroup; readonly records: readonly GroupRecord[] } | Refusal {
    const { groupId } = classic;
    const { maxSize, getTopic } = this.#context(groupId);
    const changes = planUpgrade(classic, { policy: this.#migration().policy, maxSize, getTopic });
    if (isRefusal(changes)) return changes;
    const group = new ConsumerGroup(groupId);
    for (const change of changes) group.apply(change);
    return { group, records: [encodeGroupTombstone(groupId), ...changes.map((change) => encodeChange(groupId, change))] };
  }

  async #leave(request: ConsumerHeartbeat): Promise<HeartbeatAnswer | Refusal> {
    const { groupId, memberId, memberEpoch } = request;
    const group = this.#options.groups.get(groupId);
    if (group === undefined) return refuse("group-not-found", `Group ${groupId} not found.`);
    if (group.kind !== "consumer") return refuse("group-not-found", `Group ${groupId} is not a consumer group.`);
    const leaving = findLeaving(group, request);
    if (isRefusal(leaving)) return leaving;
    const { member, isTemporary } = leaving;
    const failure = isTemporary ? await this.#commit(group, planStaticLeave(member)) : await this.#remove(group, [member], "left");
    if (failure !== undefined) return refuse(failure, "");
    return { memberId, memberEpoch, heartbeatIntervalMs: 0, assignment: undefined };
  }

  // --- members of the classic protocol ---

  async join(group: ConsumerGroup, request: JoinRequest): Promise<JoinAnswer> {
    const { policy, newUuid, classicMaxSize } = this.#migration();
    const memberId = request.memberId === "" ? newUuid() : request.memberId;
    if (this.#policyName() === "disabled") return refuseJoin("", "inconsistent-protocol");
    const downgrades = downgradesByJoin(group, request.groupInstanceId, { policy, classicMaxSize });
    const plan = planJoin(group, request, memberId, downgrades, this.#context(group.groupId));
    // Who is told its id joins with it; others are told of no member.
    if (isRefusal(plan)) return refuseJoin(plan.error === "member-id-required" ? memberId : "", plan.error);
    const epochBefore = group.epoch;
    const written = this.#commit(group, plan.changes, [], () => {
      group.isMetadataStale = false;
      const timers = this.#timersOf(group, memberId);
      timers.join?.cancel();
      this.#startSession(group, memberId);
      timers.sync ??= this.#options.timers.create(() => this.#onExpired(group, memberId, "did not sync in time"));
      timers.sync.start(request.rebalanceTimeoutMs);
      if (group.epoch !== epochBefore) this.#noteRebalance(group, `member ${memberId} joins by the classic protocol`);
    });
    if (downgrades && canDowngrade(group, new Set(), { policy, classicMaxSize }))
      this.#downgrade(group, new Set(), plan.hasSubscriptionChanged || group.state !== "Stable");
    const failure = await written;
    return failure === undefined ? plan.answer : refuseJoin(memberId, failure);
  }

  async sync(group: ConsumerGroup, request: SyncRequest): Promise<SyncAnswer> {
    const member = findClassicMember(group, request);
    if (typeof member === "string") return refuseSync(member);
    const error = findSyncError(group, member, request);
    if (error !== undefined) {
      if (error === "rebalance-in-progress") this.#awaitJoin(group, member);
      return refuseSync(error);
    }
    this.#timersOf(group, member.memberId).sync?.cancel();
    this.#startSession(group, member.memberId);
    const answer = describeSync(member, request, this.#context(group.groupId));
    const failure = await this.#options.whenDurable();
    return failure === undefined ? answer : refuseSync(failure);
  }

  /** A Heartbeat of the classic protocol. */
  beatClassic(group: ConsumerGroup, identity: MemberIdentity, generation: number): GroupError | undefined {
    const member = findClassicMember(group, identity);
    if (typeof member === "string") return member;
    if (generation !== member.progress.epoch) return "illegal-generation";
    this.#startSession(group, member.memberId);
    if (!hasToJoinAgain(group, member, this.#context(group.groupId))) return undefined;
    this.#awaitJoin(group, member);
    return "rebalance-in-progress";
  }

  /** From the first time that it is told to join again it has its rebalance timeout. */
  #awaitJoin(group: ConsumerGroup, { memberId, subscription }: ConsumerMember): void {
    const timers = this.#timersOf(group, memberId);
    timers.join ??= this.#options.timers.create(() => this.#onExpired(group, memberId, "did not join again in time"));
    if (!timers.join.isStarted) timers.join.start(subscription.rebalanceTimeoutMs);
  }

  /** LeaveGroup: also an administrator's, of members of the consumer protocol. */
  async leaveMany(group: ConsumerGroup, identities: readonly MemberIdentity[]): Promise<readonly LeaveResult[] | GroupError> {
    const leaving = new Map<string, ConsumerMember>();
    const results = identities.map((identity): LeaveResult => {
      const found = findNamed(group, identity);
      if (typeof found === "string") return { ...identity, error: found };
      leaving.set(found.memberId, found);
      return identity;
    });
    const failure = leaving.size === 0 ? undefined : await this.#remove(group, [...leaving.values()], "left");
    return failure ?? results;
  }

  // --- changes ---

  #commit(
    group: ConsumerGroup,
    changes: readonly GroupChange[],
    records: readonly GroupRecord[] = [],
    onApplied: () => void = () => {},
  ): Promise<GroupError | undefined> {
    const { groups, write, whenDurable } = this.#options;
    const all = [...records, ...changes.map((change) => encodeChange(group.groupId, change))];
    if (all.length === 0) {
      onApplied();
      return whenDurable();
    }
    return write(all, () => {
      this.#replace(groups.get(group.groupId), group);
      for (const change of changes) {
        group.apply(change);
        if (change.kind === "member" && change.value === undefined) group.cancelTimers(change.memberId);
      }
      onApplied();
    });
  }

  #replace(former: AnyGroup | undefined, group: ConsumerGroup): void {
    if (former === group) return;
    this.#options.groups.set(group.groupId, group);
    if (former?.kind !== "classic") return;
    // Who waits there joins again, and finds the new group.
    former.end("rebalance-in-progress");
    for (const { memberId } of group.members()) this.#startSession(group, memberId);
    if (group.size > 0) this.#noteConversion(group.groupId, "the classic group is a consumer group now", group.size);
  }

  /**
   * The classic group's records take the place of the consumer group's in one step. One that has to rebalance is written without a leader: nobody has given out what those
   * who leave had, and the next coordinator sees it by that.
   */
  #downgrade(group: ConsumerGroup, leaving: ReadonlySet<string>, rebalances: boolean): Promise<GroupError | undefined> {
    const { groups, wallMs, write, classicHost } = this.#options;
    const { groupId } = group;
    const image = this.#options.image();
    const stored = describeDowngraded(group, leaving, wallMs(), (topicId) => image.getTopicById(topicId)?.name);
    const classic = ClassicGroup.restore(groupId, stored, classicHost);
    const assignments = new Map(stored.members.map(({ memberId, assignment }) => [memberId, assignment]));
    const records = [
      ...group.tombstones().map((change) => encodeChange(groupId, change)),
      encodeGroup(classic, assignments, rebalances ? null : undefined),
    ];
    return write(records, () => {
      groups.set(groupId, classic);
      group.end();
      classic.startSessions();
      if (rebalances) classic.rebalance("the group is classic now");
      this.#noteConversion(groupId, "the consumer group is a classic group now", classic.roster.size);
    });
  }

  #noteConversion(groupId: string, message: string, members: number): void {
    this.#options.logger.info("group.converted", message, { group: groupId, members });
  }

  #remove(group: ConsumerGroup, members: readonly ConsumerMember[], why: string): Promise<GroupError | undefined> {
    const leaving = new Set(members.map(({ memberId }) => memberId));
    const { policy, classicMaxSize } = this.#migration();
    if (canDowngrade(group, leaving, { policy, classicMaxSize })) return this.#downgrade(group, leaving, true);
    const changes = planRemoval(group, members, this.#context(group.groupId));
    return this.#commit(group, changes, [], () => this.#noteRebalance(group, `members ${why}`));
  }

  #noteRebalance(group: ConsumerGroup, reason: string): void {
    const { logger, metrics } = this.#options;
    metrics.rebalances.add(1);
    logger.debug("group.rebalancing", reason, { group: group.groupId, generation: group.epoch, members: group.size });
  }

  // --- time ---

  #startSession(group: ConsumerGroup, memberId: string): void {
    const member = group.getMember(memberId);
    if (member === undefined) return;
    const timers = this.#timersOf(group, memberId);
    timers.session ??= this.#options.timers.create(() => this.#onExpired(group, memberId, "sent no heartbeat"));
    timers.session.start(member.subscription.classic?.sessionTimeoutMs ?? this.#setting(group.groupId, "consumer.session.timeout.ms"));
  }

  /** A member that is to give partitions up has its rebalance timeout to do so. */
  #startRebalance(group: ConsumerGroup, { memberId, progress, subscription }: ConsumerMember): void {
    const timers = this.#timersOf(group, memberId);
    if (progress.state !== "unrevoked-partitions" || subscription.classic !== undefined) {
      timers.rebalance?.cancel();
      return;
    }
    timers.rebalance?.cancel();
    const { epoch } = progress;
    timers.rebalance = this.#options.timers.create(() => {
      const member = group.getMember(memberId);
      if (member?.progress.epoch !== epoch || member.progress.state !== "unrevoked-partitions") return;
      this.#onExpired(group, memberId, "did not give its partitions up in time");
    });
    timers.rebalance.start(subscription.rebalanceTimeoutMs);
  }

  #timersOf(group: ConsumerGroup, memberId: string) {
    let timers = group.timers.get(memberId);
    if (timers === undefined) {
      timers = {};
      group.timers.set(memberId, timers);
    }
    return timers;
  }

  #onExpired(group: ConsumerGroup, memberId: string, why: string): void {
    const member = group.getMember(memberId);
    if (member === undefined || this.#options.groups.get(group.groupId) !== group) return;
    const { logger, metrics } = this.#options;
    metrics.expiredMembers.add(1);
    const generation = member.progress.epoch;
    logger.info("group.member-expired", `a member was removed: it ${why}`, { group: group.groupId, member: memberId, generation });
    void this.#remove(group, [member], why);
  }

  // --- settings ---

  #setting(groupId: string, name: string): number {
    const { config, image } = this.#options;
    return Number(getEffectiveGroupSetting(config, image().getConfigs(ConfigResourceType.GROUP, groupId), name));
  }

  #policyName(): string {
    return this.#options.config.get("group.consumer.migration.policy").trim().toLowerCase();
  }

  #migration() {
    const { classicHost } = this.#options;
    return {
      policy: migrationPolicyOf(this.#policyName()),
      classicMaxSize: classicHost.maxSize,
      newUuid: () => classicHost.newUuid(),
    };
  }

  #context(groupId: string): PlanContext {
    const { config, patterns, topicsVersion, wallMs } = this.#options;
    const image = this.#options.image();
    return {
      nowMs: wallMs(),
      patternRefreshIntervalMs: config.getNumber("group.consumer.regex.refresh.interval.ms"),
      topicsVersion: topicsVersion(),
      patterns,
      defaultAssignor: this.defaultAssignor,
      maxSize: config.getNumber("group.consumer.max.size"),
      heartbeatIntervalMs: this.#setting(groupId, "consumer.heartbeat.interval.ms"),
      assignmentIntervalMs: this.#setting(groupId, "consumer.assignment.interval.ms"),
      getTopic: (name) => image.getTopic(name),
      getTopicById: (topicId) => image.getTopicById(topicId),
    };
  }

  /** The first of `group.consumer.assignors`. */
  get defaultAssignor(): string {
    return readConsumerAssignors(this.#options.config.get("group.consumer.assignors"))[0] ?? "uniform";
  }
}

/** By member id, or by instance id alone (an administrator removes a static member). */
function findNamed(group: ConsumerGroup, { memberId, groupInstanceId }: MemberIdentity): ConsumerMember | GroupError {
  if (groupInstanceId === undefined) return group.getMember(memberId) ?? "unknown-member";
  const member = group.getStaticMember(groupInstanceId);
  if (member === undefined) return "unknown-member";
  return memberId !== "" && member.memberId !== memberId ? "fenced-instance" : member;
}
