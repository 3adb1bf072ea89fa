/**
 * What the members of one consumer group were told and did, checked as it happens. A member *has* a partition from the answer that gives it until it says that it has
 * let go, asks to leave, joins anew, or may have been expelled: its session, or its time to give the partition up, is over (both counted from when it
 * sent what the coordinator answered, so that they can only be over later than here).
 *
 * Anomalies, besides those of `history.ts`:
 *
 *   two-owners            a partition is given to a member while another has it, or described as two members'
 *   early-handover        a partition of a static member that has left for a while is given to another before its session is over
 *   zombie-commit         an offset is taken from a member whose partition was given to another before
 *   zombie-member         a member is answered as one although another has taken its place
 *   nonmonotonic-offset   a committed offset that is below what was acknowledged
 *   unsent-offset         a committed offset that nobody has committed
 *   skipped-offset        a member begins behind what the group has read: nobody reads what lies between
 *   nonmonotonic-epoch    an epoch of a member or of the group goes back, or a partition passes to another member under no higher one
 *   lost-member           a member that lives is not described, or with less than it was told
 *   ghost-member          a member that was told that it has left is described
 *   divergent-replay      a coordinator that begins anew describes a group otherwise than the one before (`sim-consumer-group.ts`)
 */
import type { DescribedGroup } from "../../src/protocol/messages/consumer-group-describe.ts";
import type { History, LogModel } from "./history.ts";

export interface AssignedTopic {
  readonly topicId: string;
  readonly partitions: readonly number[];
}

export interface Tenure {
  readonly member: MemberTrace;
  readonly at: PartitionTrace;
  readonly givenMs: number;
  /** Of the member, when it was given. */
  readonly epoch: number;
  releasedMs: number | undefined;
  /** It is kept for the static member until then, or until that is back. */
  reservedUntilMs: number;
  /** The committed offset that it began with. */
  startedAt: number | undefined;
}

/** One partition as the group sees it. */
export class PartitionTrace {
  readonly topicId: string;
  readonly partition: number;
  /** Undefined: nobody knows the topic's name yet, or it is gone. */
  log: LogModel | undefined;
  readonly tenures: Tenure[] = [];
  /** Highest offset whose commit was acknowledged; -1: none. */
  acknowledged = -1;
  /** All that anybody has asked to commit. */
  readonly sent = new Set<number>();
  /** Up to here members have read everything. */
  readEnd = 0;

  constructor(topicId: string, partition: number) {
    this.topicId = topicId;
    this.partition = partition;
  }

  get name(): string {
    return this.log?.name ?? `${this.topicId}-${this.partition}`;
  }

  get topic(): string {
    return this.log?.topic ?? "";
  }
}

/** One member id of one client. */
export class MemberTrace {
  readonly memberId: string;
  readonly instanceId: string | undefined;
  readonly sessionMs: number;
  readonly rebalanceMs: number;
  /** The highest that it was told since it last joined. */
  epoch = 0;
  /** When it sent the last heartbeat that was answered by who serves: its session begins then, or later. */
  confirmedMs = Number.NEGATIVE_INFINITY;
  /** When it was last told its epoch by who serves. */
  toldMs = Number.NEGATIVE_INFINITY;
  /** When it sent the first heartbeat since the confirmed one. */
  unconfirmedMs: number | undefined;
  /** Since when the coordinator may wait for it to give something up. */
  revokedMs: number | undefined;
  /** What it was last told to have. */
  assigned: ReadonlySet<PartitionTrace> = new Set();
  /** It was told that it is no member any more, or has asked to leave or to join anew. */
  isOut = true;
  /** When another was given what it had: it is no member any more, and does not know it yet. */
  lostMs: number | undefined;
  /** When it was told that it has left for good. */
  leftMs: number | undefined;
  /** When it was told that it has left, for good or for a while. */
  goneMs: number | undefined;
  /** A broker that was replaced by the time has told it what it has: nobody knows when it was given that. */
  isVague = false;
  readonly held = new Map<PartitionTrace, Tenure>();

  constructor(memberId: string, instanceId: string | undefined, sessionMs: number, rebalanceMs: number) {
    this.memberId = memberId;
    this.instanceId = instanceId;
    this.sessionMs = sessionMs;
    this.rebalanceMs = rebalanceMs;
  }

  /** It may have been expelled by now: nobody heard of it for its session, or it did not give up in time what it was to give up. */
  mayBeOut(nowMs: number): boolean {
    if (this.isOut || nowMs >= this.confirmedMs + this.sessionMs) return true;
    return nowMs >= Math.min(this.unconfirmedMs ?? Number.POSITIVE_INFINITY, this.revokedMs ?? Number.POSITIVE_INFINITY) + this.rebalanceMs;
  }
}

export class ConsumerGroupModel {
  readonly groupId: string;
  /** The group never changes its protocol: epochs are never given anew. */
  readonly hasOneProtocol: boolean;
  readonly members = new Map<string, MemberTrace>();
  /** Whoever was last told that it has joined under this instance id. */
  readonly instances = new Map<string, { readonly member: MemberTrace; readonly joinedMs: number }>();
  private readonly partitions = new Map<string, PartitionTrace>();
  private readonly history: History;
  private groupEpoch = 0;

  constructor(groupId: string, history: History, hasOneProtocol: boolean) {
    this.groupId = groupId;
    this.history = history;
    this.hasOneProtocol = hasOneProtocol;
  }

  find(anomaly: string, detail: string): void {
    this.history.find(anomaly, `${this.groupId}: ${detail}`);
  }

  get nowMs(): number {
    return this.history.nowMs;
  }

  partition(topicId: string, partition: number): PartitionTrace {
    const key = `${topicId}-${partition}`;
    let found = this.partitions.get(key);
    if (found === undefined) {
      found = new PartitionTrace(topicId, partition);
      this.partitions.set(key, found);
    }
    return found;
  }

  partitionsOf(topics: readonly AssignedTopic[]): ReadonlySet<PartitionTrace> {
    return new Set(topics.flatMap(({ topicId, partitions }) => partitions.map((partition) => this.partition(topicId, partition))));
  }

  /** The name of a topic was found out. */
  name(at: PartitionTrace, topic: string): void {
    at.log = this.history.log(topic, at.partition);
  }

  allPartitions(): Iterable<PartitionTrace> {
    return this.partitions.values();
  }

  // --- membership ---

  /** It asks to join, and has nothing from now on. */
  joinSent(member: MemberTrace): void {
    this.releaseAll(member);
    if (member.instanceId !== undefined) this.endReservations(member.instanceId);
    this.members.set(member.memberId, member);
    member.epoch = 0;
    member.isOut = false;
    member.leftMs = undefined;
    member.goneMs = undefined;
    member.isVague = false;
    member.lostMs = undefined;
    member.revokedMs = undefined;
    member.assigned = new Set();
    member.confirmedMs = this.nowMs;
    member.unconfirmedMs = undefined;
  }

  /** `owned`: what it says that it has; undefined when it does not say. */
  beatSent(member: MemberTrace, owned: ReadonlySet<PartitionTrace> | undefined): void {
    member.unconfirmedMs ??= this.nowMs;
    if (owned === undefined) return;
    for (const at of [...member.held.keys()]) if (!owned.has(at)) this.release(member, at);
  }

  /** By who serves. `assigned`: undefined when it is as before. */
  beatAnswered(member: MemberTrace, sentMs: number, epoch: number, assigned: ReadonlySet<PartitionTrace> | undefined): void {
    const { memberId, instanceId } = member;
    if (epoch < member.epoch && this.hasOneProtocol)
      this.find("nonmonotonic-epoch", `${memberId} is told epoch ${epoch}, and it was told ${member.epoch} before`);
    if (member.epoch === 0 && instanceId !== undefined) this.instances.set(instanceId, { member, joinedMs: this.nowMs });
    const successor = instanceId === undefined ? undefined : this.instances.get(instanceId);
    if (successor !== undefined && successor.member !== member && successor.joinedMs <= sentMs) {
      const what = `${memberId}'s heartbeat is answered, and ${successor.member.memberId} has taken its place (${instanceId}) before it was sent`;
      this.find("zombie-member", what);
    }
    if (member.goneMs !== undefined && member.goneMs <= sentMs)
      this.find("zombie-member", `${memberId}'s heartbeat is answered after it has left`);
    if (member.lostMs !== undefined) {
      // An answer that was held up says what was so before.
      if (member.lostMs <= sentMs)
        this.find("zombie-member", `${memberId}'s heartbeat is answered, and what it had was given to another before`);
      return;
    }
    member.epoch = Math.max(member.epoch, epoch);
    const beganMs = member.unconfirmedMs ?? sentMs;
    member.confirmedMs = Math.max(member.confirmedMs, sentMs);
    member.toldMs = this.nowMs;
    member.unconfirmedMs = undefined;
    member.assigned = assigned ?? member.assigned;
    // What a vague one has, and is to give up, nobody knows.
    const isGivingUp = member.isVague || [...member.held.keys()].some((at) => !member.assigned.has(at));
    if (!isGivingUp) member.revokedMs = undefined;
    else member.revokedMs ??= beganMs;
    for (const at of assigned ?? []) if (!member.held.has(at)) this.give(member, at);
  }

  leaveAnswered(member: MemberTrace, isForGood: boolean): void {
    member.goneMs = this.nowMs;
    if (isForGood) member.leftMs = this.nowMs;
  }

  leaveSent(member: MemberTrace): void {
    this.releaseAll(member);
    member.isOut = true;
  }

  /** As `leaveSent`, by a static member that will be back. */
  leaveForAWhileSent(member: MemberTrace): void {
    const wasOut = member.mayBeOut(this.nowMs);
    for (const [at, tenure] of member.held)
      if (!wasOut && member.assigned.has(at)) tenure.reservedUntilMs = member.confirmedMs + member.sessionMs;
    this.leaveSent(member);
  }

  /** It was told by who serves that it is no member, or must begin anew. */
  expelled(member: MemberTrace): void {
    this.leaveSent(member);
  }

  private give(member: MemberTrace, at: PartitionTrace): void {
    const { nowMs } = this;
    for (const other of at.tenures) {
      if (nowMs < other.reservedUntilMs && !isSameInstance(other.member, member)) {
        const what = `${at.name} is given to ${member.memberId}, and is kept for ${other.member.instanceId} for ${(other.reservedUntilMs - nowMs).toFixed(0)} ms more`;
        this.find("early-handover", what);
      }
      if (other.member === member || other.releasedMs !== undefined) continue;
      if (other.member.mayBeOut(nowMs)) {
        this.leaveSent(other.member);
        other.member.lostMs = nowMs;
        continue;
      }
      const ago = `${(nowMs - other.member.confirmedMs).toFixed(0)} ms after its last answered heartbeat was sent`;
      this.find("two-owners", `${at.name} is given to ${member.memberId}, and ${other.member.memberId} has it (${ago})`);
    }
    const before = at.tenures.at(-1);
    const isHandedOver = before !== undefined && before.member !== member && !isSameInstance(before.member, member);
    if (this.hasOneProtocol && isHandedOver && member.epoch <= before.epoch) {
      const what = `${at.name} passes to ${member.memberId} under epoch ${member.epoch}, and ${before.member.memberId} had it under ${before.epoch}`;
      this.find("nonmonotonic-epoch", what);
    }
    const tenure: Tenure = {
      member,
      at,
      givenMs: nowMs,
      epoch: member.epoch,
      releasedMs: undefined,
      reservedUntilMs: 0,
      startedAt: undefined,
    };
    at.tenures.push(tenure);
    if (at.tenures.length > MAX_TENURES) at.tenures.splice(0, at.tenures.length - MAX_TENURES);
    member.held.set(at, tenure);
  }

  private endReservations(instanceId: string): void {
    for (const { tenures } of this.partitions.values())
      for (const tenure of tenures) if (tenure.member.instanceId === instanceId) tenure.reservedUntilMs = 0;
  }

  private release(member: MemberTrace, at: PartitionTrace): void {
    const tenure = member.held.get(at);
    if (tenure !== undefined) tenure.releasedMs ??= this.nowMs;
    member.held.delete(at);
  }

  private releaseAll(member: MemberTrace): void {
    for (const at of [...member.held.keys()]) this.release(member, at);
  }

  // --- offsets ---

  /** Records [from, to) were given to it. */
  read(member: MemberTrace, at: PartitionTrace, from: number, to: number): void {
    if (from > at.readEnd)
      this.find("skipped-offset", `${member.memberId} reads ${at.name} from ${from} on, and the group has read up to ${at.readEnd}`);
    at.readEnd = Math.max(at.readEnd, to);
  }

  /** `epoch`: under which it was sent. */
  commitAcknowledged(member: MemberTrace, at: PartitionTrace, offset: number, epoch: number, sentMs: number): void {
    at.acknowledged = Math.max(at.acknowledged, offset);
    if (member.isVague) return;
    const own = at.tenures.findLast((tenure) => tenure.member === member);
    if (own !== undefined && epoch < own.epoch)
      this.find(
        "zombie-commit",
        `${offset} of ${at.name} is taken under epoch ${epoch} from ${member.memberId}, which has it since ${own.epoch}`,
      );
    for (const other of at.tenures) {
      if (other.member === member || other.givenMs <= (own?.givenMs ?? Number.NEGATIVE_INFINITY)) continue;
      // Expelled, and taken for a new member under its old id since (Kafka's consumer groups do so, too): a classic one does not know, and commits what it let go of.
      if (member.lostMs !== undefined && epoch >= other.epoch) continue;
      const owner = other.member.memberId;
      if (other.givenMs <= sentMs)
        this.find(
          "zombie-commit",
          `${offset} of ${at.name} is taken from ${member.memberId}, and ${owner} was given it before it was sent`,
        );
      else if (other.startedAt !== undefined && other.startedAt < offset)
        this.find(
          "zombie-commit",
          `${offset} of ${at.name} is taken from ${member.memberId}, and ${owner} was told ${other.startedAt} before`,
        );
    }
  }

  /** `due`: what was acknowledged when it was asked. `member` undefined: nobody's. */
  offsetFetched(member: MemberTrace | undefined, at: PartitionTrace, offset: number, due: number): void {
    const who = member?.memberId ?? "the driver";
    if (offset < due) this.find("nonmonotonic-offset", `${who} is told ${offset} of ${at.name}, and ${due} was acknowledged before`);
    if (offset !== -1 && !at.sent.has(offset))
      this.find("unsent-offset", `${who} is told ${offset} of ${at.name}, which nobody has committed`);
    const tenure = member?.held.get(at);
    if (tenure !== undefined) tenure.startedAt ??= offset;
  }

  // --- as tools see it ---

  private checkDisjoint(group: DescribedGroup, what: "assignment" | "targetAssignment"): void {
    const owners = new Map<string, string>();
    for (const member of group.members) {
      for (const { topicId, topicName, partitions } of member[what].topicPartitions) {
        for (const partition of partitions) {
          const other = owners.get(`${topicId}-${partition}`);
          if (other !== undefined)
            this.find("two-owners", `${topicName}-${partition} is described as ${what} of ${other} and of ${member.memberId}`);
          owners.set(`${topicId}-${partition}`, member.memberId);
        }
      }
    }
  }

  /** By who serves; `sentMs`: when it was asked. What was told before then must show. */
  described(group: DescribedGroup, sentMs: number): void {
    const { nowMs } = this;
    if (group.groupEpoch < this.groupEpoch && this.hasOneProtocol)
      this.find("nonmonotonic-epoch", `the group is described with epoch ${group.groupEpoch}, and it was ${this.groupEpoch} before`);
    this.groupEpoch = Math.max(this.groupEpoch, group.groupEpoch);
    if (group.assignmentEpoch > group.groupEpoch)
      this.find("nonmonotonic-epoch", `the group is described with epoch ${group.groupEpoch}, and a target of ${group.assignmentEpoch}`);
    this.checkDisjoint(group, "assignment");
    this.checkDisjoint(group, "targetAssignment");
    for (const member of this.members.values()) {
      const found = group.members.find(({ memberId }) => memberId === member.memberId);
      if (member.leftMs !== undefined) {
        if (found !== undefined && member.leftMs < sentMs) this.find("ghost-member", `${member.memberId} has left, and is described`);
        continue;
      }
      if (member.epoch === 0 || member.toldMs >= sentMs || member.mayBeOut(nowMs)) continue;
      if (found === undefined) this.find("lost-member", `${member.memberId} is not described, and lives`);
      else if (found.memberEpoch < member.epoch)
        this.find("lost-member", `${member.memberId} is described with epoch ${found.memberEpoch}, and it was told ${member.epoch}`);
    }
  }
}

/** More than can be of interest: whoever had it long ago was followed by others. */
const MAX_TENURES = 12;

function isSameInstance(a: MemberTrace, b: MemberTrace): boolean {
  return a.instanceId !== undefined && a.instanceId === b.instanceId;
}
