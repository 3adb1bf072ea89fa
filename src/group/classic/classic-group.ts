/**
 * One classic group: Kafka's rebalance protocol (KIP-62, KIP-134, KIP-345, KIP-394, KIP-814) as a state machine. No IO: what is to be stored goes to
 * its host, time comes from the timers it is given.
 *
 *     Empty --join--> PreparingRebalance --all joined, or time up--> CompletingRebalance --leader's assignment stored--> Stable
 *                        ^      |                                          |                                              |
 *                        |      +--nobody left--> Empty                    |                                              |
 *                        +---------------- join, leave, expired session, missing sync ------------------------------------+
 *     any --deleted or moved away--> Dead
 *
 * Invariants
 * - A rebalance ends: members that do not come are dropped when its time is up, and a group with no members becomes Empty.
 * - The generation rises by one per rebalance, never falls, and every answer of a join names the one it was made in.
 * - An assignment is handed out only when it is durable.
 *
 * Neighbours: `group-roster.ts` (members), `coordinator-shard.ts` (its host), `subscription.ts`.
 */
import { assert } from "../../base/assert.ts";
import { copyBytes } from "../../base/copy-bytes.ts";
import type { Timer } from "../../coordinator/timer-queue.ts";
import {
  differs,
  type GroupError,
  type GroupState,
  type JoinAnswer,
  type JoinRequest,
  type LeaveResult,
  type MemberIdentity,
  NO_BYTES,
  refuseJoin,
  refuseSync,
  type SyncAnswer,
  type SyncRequest,
} from "../group-types.ts";
import type { GroupHost, GroupView, StoredGroup } from "./group-host.ts";
import { copyProtocols, GroupRoster, hasSameProtocols, idsOf, type Member, metadataOf } from "./group-roster.ts";
import { CONSUMER_PROTOCOL_TYPE, readGroupTopics } from "./subscription.ts";

/** A new member's first join may wait as long as this: its client cannot be seen to have gone. */
const NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1000;

export class ClassicGroup implements GroupView {
  readonly kind = "classic";
  readonly groupId: string;
  readonly roster = new GroupRoster();
  readonly #host: GroupHost;
  #state: GroupState = "Empty";
  #wasEmptyBefore = false;
  #generation = 0;
  #protocolType: string | undefined;
  #protocolName: string | undefined;
  #stateTimestampMs: number | undefined;
  #subscribedTopics: ReadonlySet<string> | undefined;
  /** Dynamic members that were told their id and have not come again (KIP-394), each with its timer. */
  readonly #pendingJoins = new Map<string, Timer>();
  /** Members that were answered their join and have not sent their sync. */
  readonly #pendingSyncs = new Set<string>();
  readonly #joinTimer: Timer;
  readonly #syncTimer: Timer;
  /** During the initial rebalance: somebody came, so it may wait on. */
  #hasNewMember = false;
  /** Of the initial rebalance. */
  #remainingDelayMs = 0;
  #lastDelayMs = 0;

  constructor(groupId: string, host: GroupHost) {
    this.groupId = groupId;
    this.#host = host;
    this.#stateTimestampMs = host.wallMs();
    this.#joinTimer = host.timers.create(() => this.#onJoinTimer());
    this.#syncTimer = host.timers.create(() => this.#onSyncTimer());
  }

  static restore(groupId: string, stored: StoredGroup, host: GroupHost): ClassicGroup {
    const group = new ClassicGroup(groupId, host);
    group.#generation = stored.generation;
    group.#protocolType = stored.protocolType;
    group.#protocolName = stored.protocolName;
    group.#stateTimestampMs = stored.stateTimestampMs;
    group.#state = stored.members.length === 0 ? "Empty" : "Stable";
    for (const each of stored.members) {
      const told = stored.protocolName === undefined ? [] : [{ name: stored.protocolName, metadata: each.subscription }];
      group.roster.add(group.#newMember({ ...each, protocols: each.protocols ?? told }, each.assignment));
    }
    if (stored.leaderId !== undefined && group.roster.has(stored.leaderId)) group.roster.leaderId = stored.leaderId;
    group.#subscribedTopics = readGroupTopics(group);
    return group;
  }

  get state(): GroupState {
    return this.#state;
  }

  get generation(): number {
    return this.#generation;
  }

  /** Undefined for a group that only ever stored offsets. */
  get protocolType(): string | undefined {
    return this.#protocolType;
  }

  get protocolName(): string | undefined {
    return this.#protocolName;
  }

  /** Wall clock of the last change of state, ms. */
  get stateTimestampMs(): number | undefined {
    return this.#stateTimestampMs;
  }

  get pendingJoinCount(): number {
    return this.#pendingJoins.size;
  }

  get usesConsumerProtocol(): boolean {
    return this.#protocolType === CONSUMER_PROTOCOL_TYPE;
  }

  /** The topics that members of a consumer group subscribe to; undefined when that is not known. */
  get subscribedTopics(): ReadonlySet<string> | undefined {
    return this.#subscribedTopics;
  }

  /** When it cannot be known, a consumer group counts as subscribed to everything. */
  isSubscribedTo(topic: string): boolean {
    return this.#subscribedTopics?.has(topic) ?? this.usesConsumerProtocol;
  }

  // --- join ---

  /** `answer` is called once, maybe much later. */
  join(request: JoinRequest, answer: (answer: JoinAnswer) => void): void {
    assert(this.#state !== "Dead", "a dead group is joined");
    const { memberId } = request;
    if (!this.#hasRoomFor(memberId)) this.#turnAway(memberId, answer);
    else if (!this.#supports(request)) answer(refuseJoin(memberId, "inconsistent-protocol"));
    else if (memberId === "") this.#joinNew(request, answer);
    else if (this.#pendingJoins.has(memberId)) this.#addMember(request, memberId, answer);
    else this.#joinAgain(request, answer);
  }

  #hasRoomFor(memberId: string): boolean {
    const { maxSize } = this.#host;
    switch (this.#state) {
      case "PreparingRebalance":
        // Those who wait already are in; counting them, not all members, lets the last to come be turned away after the limit was lowered.
        return this.roster.get(memberId)?.answerJoin !== undefined || this.roster.awaitingJoinCount < maxSize;
      case "CompletingRebalance":
      case "Stable":
        return this.roster.has(memberId) || this.roster.size < maxSize;
      default:
        return true;
    }
  }

  #turnAway(memberId: string, answer: (answer: JoinAnswer) => void): void {
    this.#removePending(memberId);
    const member = this.roster.get(memberId);
    if (member !== undefined) this.#drop(member);
    answer(refuseJoin("", "group-full"));
    if (this.#state === "PreparingRebalance") this.#completeJoinIfAll();
  }

  #supports({ protocolType, protocols }: JoinRequest): boolean {
    if (this.#state === "Empty") return protocolType !== "" && protocols.length > 0;
    return protocolType === this.#protocolType && this.roster.supportsAny(protocols);
  }

  #joinNew(request: JoinRequest, answer: (answer: JoinAnswer) => void): void {
    const { groupInstanceId, clientId } = request;
    const memberId = `${groupInstanceId ?? clientId}-${this.#host.newUuid()}`;
    if (groupInstanceId !== undefined) {
      const known = this.roster.staticMemberId(groupInstanceId);
      if (known === undefined) this.#addMember(request, memberId, answer);
      else this.#replaceStatic(request, known, memberId, answer);
      return;
    }
    if (!request.requiresKnownMemberId) {
      this.#addMember(request, memberId, answer);
      return;
    }
    const timer = this.#host.timers.create(() => this.#onPendingExpired(memberId));
    timer.start(request.sessionTimeoutMs);
    this.#pendingJoins.set(memberId, timer);
    answer(refuseJoin(memberId, "member-id-required"));
  }

  #addMember(request: JoinRequest, memberId: string, answer: (answer: JoinAnswer) => void): void {
    this.#removePending(memberId);
    if (this.roster.size === 0) this.#protocolType = request.protocolType;
    const member = this.#newMember({ ...request, memberId, protocols: copyProtocols(request.protocols) }, NO_BYTES);
    member.isNew = true;
    member.answerJoin = answer;
    if (this.#state === "PreparingRebalance" && this.#wasEmptyBefore) this.#hasNewMember = true;
    this.roster.add(member);
    member.session.start(NEW_MEMBER_JOIN_TIMEOUT_MS);
    this.#rebalanceOrComplete(`member ${memberId} joins`);
  }

  #joinAgain(request: JoinRequest, answer: (answer: JoinAnswer) => void): void {
    const { memberId } = request;
    const error = this.findMemberError(request);
    const member = this.roster.get(memberId);
    if (error !== undefined || member === undefined) {
      answer(refuseJoin(memberId, error ?? "unknown-member"));
      return;
    }
    const isLeader = this.roster.leaderId === memberId;
    const isUnchanged = hasSameProtocols(member, request.protocols);
    const keepsGeneration = isUnchanged && (this.#state === "CompletingRebalance" || (this.#state === "Stable" && !isLeader));
    if (keepsGeneration) {
      // Its answer was lost, or it only asks: the generation stands. A leader of a stable group that comes again wants a rebalance.
      answer(this.#describeGeneration(member, isLeader && this.#state === "CompletingRebalance"));
      return;
    }
    if (this.#state === "Empty") {
      answer(refuseJoin(memberId, "unknown-member"));
      return;
    }
    this.#updateMember(member, request, answer);
    this.#rebalanceOrComplete(`member ${memberId} joins again${isUnchanged ? "" : " with other metadata"}`);
  }

  #updateMember(member: Member, request: JoinRequest, answer: ((answer: JoinAnswer) => void) | undefined): void {
    this.roster.updateProtocols(member, copyProtocols(request.protocols));
    member.sessionTimeoutMs = request.sessionTimeoutMs;
    member.rebalanceTimeoutMs = request.rebalanceTimeoutMs;
    if (answer !== undefined) this.roster.awaitJoin(member, answer);
  }

  /** A static member has restarted: it gets a new id, and the process that had the old one is fenced (KIP-345). */
  #replaceStatic(request: JoinRequest, oldId: string, newId: string, answer: (answer: JoinAnswer) => void): void {
    const old = this.roster.get(oldId);
    assert(old !== undefined, "an instance id names a member that is gone");
    this.roster.answerJoin(old, refuseJoin(oldId, "fenced-instance"));
    this.roster.answerSync(old, refuseSync("fenced-instance"));
    const formerLeader = this.roster.leaderId ?? "";
    const member = this.#newMember({ ...old, memberId: newId, clientId: old.clientId, clientHost: old.clientHost }, old.assignment);
    this.roster.replace(old, member);
    if (this.#pendingSyncs.delete(oldId)) this.#pendingSyncs.add(newId);
    this.#updateMember(member, request, answer);
    member.session.start(member.sessionTimeoutMs);
    if (this.#state === "Stable" && this.roster.selectProtocol() === this.#protocolName) {
      this.#keepGenerationFor(member, old, request, formerLeader);
    } else if (this.#state === "CompletingRebalance") {
      // The leader may be assigning to the old id just now.
      this.#prepareRebalance(`static member ${newId} replaces ${oldId}`);
    } else this.#rebalanceOrComplete(`static member ${newId} replaces ${oldId}`);
  }

  /** Nothing that the assignment depends on has changed: no rebalance, the new id only has to be stored. */
  #keepGenerationFor(member: Member, old: Member, request: JoinRequest, formerLeader: string): void {
    this.#host.store(this, this.#assignments(), (failure) => {
      if (failure !== undefined) {
        this.roster.answerJoin(member, {
          ...this.#describeGeneration(member, false),
          error: failure,
          memberId: "",
          leaderId: formerLeader,
        });
        if (this.roster.get(member.memberId) !== member || this.#state !== "Stable") return;
        const former = this.#newMember({ ...old, clientId: old.clientId, clientHost: old.clientHost }, old.assignment);
        this.roster.replace(member, former);
        former.session.start(former.sessionTimeoutMs);
        return;
      }
      const isLeader = this.roster.leaderId === member.memberId;
      const skipAssignment = request.supportsSkippingAssignment && isLeader;
      const told = this.#describeGeneration(member, skipAssignment);
      // Older leaders would assign anew if they learned that they lead: they are told the former id (KIP-345).
      this.roster.answerJoin(member, {
        ...told,
        skipAssignment,
        leaderId: request.supportsSkippingAssignment ? told.leaderId : formerLeader,
      });
    });
  }

  // --- rebalance ---

  #rebalanceOrComplete(reason: string): void {
    if (this.#state === "PreparingRebalance") this.#completeJoinIfAll();
    else this.#prepareRebalance(reason);
  }

  /** Asks the members of a stable group to join again. */
  rebalance(reason: string): void {
    if (this.#state === "Stable") this.#prepareRebalance(reason);
  }

  #prepareRebalance(reason: string): void {
    if (this.#state === "CompletingRebalance") this.#failSyncs("rebalance-in-progress");
    this.#pendingSyncs.clear();
    this.#syncTimer.cancel();
    const isInitial = this.#state === "Empty";
    this.#moveTo("PreparingRebalance");
    this.#wasEmptyBefore = isInitial;
    this.#host.onRebalanceStarted(this, reason);
    if (!isInitial) {
      if (!this.#completeJoinIfAll()) this.#joinTimer.start(this.roster.maxRebalanceTimeoutMs());
      return;
    }
    const delayMs = this.#host.initialRebalanceDelayMs;
    this.#lastDelayMs = delayMs;
    this.#remainingDelayMs = Math.max(this.roster.maxRebalanceTimeoutMs() - delayMs, 0);
    this.#hasNewMember = false;
    this.#joinTimer.start(delayMs);
  }

  /** True when the rebalance went on. An initial one waits for its time, however many have come. */
  #completeJoinIfAll(): boolean {
    if (this.#wasEmptyBefore || !this.#hasAllJoined()) return false;
    this.#completeJoin();
    return true;
  }

  #hasAllJoined(): boolean {
    return this.roster.size === this.roster.awaitingJoinCount && this.#pendingJoins.size === 0;
  }

  #onJoinTimer(): void {
    if (this.#state !== "PreparingRebalance") return;
    if (!this.#wasEmptyBefore || !this.#hasNewMember || this.#remainingDelayMs === 0) {
      this.#completeJoin();
      return;
    }
    this.#hasNewMember = false;
    const delayMs = Math.min(this.#host.initialRebalanceDelayMs, this.#remainingDelayMs);
    this.#remainingDelayMs = Math.max(this.#remainingDelayMs - this.#lastDelayMs, 0);
    this.#lastDelayMs = delayMs;
    this.#joinTimer.start(delayMs);
  }

  /** All have come or the time is up: who has not come is dropped (static members only by their session), and the next generation begins. */
  #completeJoin(): void {
    this.#joinTimer.cancel();
    const absent = [...this.roster.all()].filter((member) => member.answerJoin === undefined && member.groupInstanceId === undefined);
    for (const member of absent) this.#drop(member);
    if (absent.length > 0) this.#host.onMembersExpired(this, idsOf(absent), "did not join the rebalance in time");
    if (this.roster.size > 0 && !this.roster.electJoinedLeader()) {
      // Only static members, and none has come: their sessions decide.
      this.#joinTimer.start(this.roster.maxRebalanceTimeoutMs());
      return;
    }
    this.#generation += 1;
    this.#pendingSyncs.clear();
    this.#wasEmptyBefore = false;
    if (this.roster.size === 0) {
      this.#becomeEmpty();
      return;
    }
    this.#protocolName = this.roster.selectProtocol();
    this.#subscribedTopics = readGroupTopics(this);
    this.#moveTo("CompletingRebalance");
    this.#host.onRebalanceJoined(this);
    for (const member of this.roster.all()) {
      this.roster.answerJoin(member, this.#describeGeneration(member, this.roster.leaderId === member.memberId));
      member.session.start(member.sessionTimeoutMs);
      member.isNew = false;
      this.#pendingSyncs.add(member.memberId);
    }
    this.#syncTimer.start(this.roster.maxRebalanceTimeoutMs());
  }

  #becomeEmpty(): void {
    this.#protocolName = undefined;
    this.#moveTo("Empty");
    this.#subscribedTopics = readGroupTopics(this);
    // If it cannot be stored, the former generation comes back with the next load and its sessions run out.
    this.#host.store(this, new Map(), () => {});
  }

  /** Members of the generation that never asked for their assignment are dropped: they would block their partitions. */
  #onSyncTimer(): void {
    if (!this.#canRebalance() || this.#pendingSyncs.size === 0) return;
    const late = [...this.#pendingSyncs].map((memberId) => this.roster.get(memberId)).filter((member) => member !== undefined);
    for (const member of late) this.#drop(member);
    this.#host.onMembersExpired(this, idsOf(late), "did not sync in time");
    this.#prepareRebalance("members did not sync in time");
  }

  // --- sync ---

  sync(request: SyncRequest, answer: (answer: SyncAnswer) => void): void {
    const error = this.#findSyncError(request);
    const member = this.roster.get(request.memberId);
    if (error !== undefined || member === undefined) {
      answer(refuseSync(error ?? "unknown-member"));
      return;
    }
    this.#pendingSyncs.delete(member.memberId);
    if (this.#pendingSyncs.size === 0) this.#syncTimer.cancel();
    if (this.#state === "Stable") {
      answer(this.#describeAssignment(member));
      return;
    }
    // A sync that waited before belongs to a request whose client has sent another.
    member.answerSync = answer;
    if (this.roster.leaderId === member.memberId) this.#storeAssignment(request);
  }

  #findSyncError(request: SyncRequest): GroupError | undefined {
    if (this.#state === "Empty" || this.#state === "Dead") return "unknown-member";
    const memberError = this.findMemberError(request);
    if (memberError !== undefined) return memberError;
    if (request.generation !== this.#generation) return "illegal-generation";
    if (differs(request.protocolType, this.#protocolType) || differs(request.protocolName, this.#protocolName)) {
      return "inconsistent-protocol";
    }
    return this.#state === "PreparingRebalance" ? "rebalance-in-progress" : undefined;
  }

  #storeAssignment(request: SyncRequest): void {
    const assignments = new Map<string, Uint8Array>();
    for (const { memberId } of this.roster.all()) assignments.set(memberId, copyBytes(request.assignments.get(memberId) ?? NO_BYTES));
    const generation = this.#generation;
    this.#host.store(this, assignments, (failure) => {
      // Somebody joined meanwhile: the next generation decides.
      if (this.#state !== "CompletingRebalance" || this.#generation !== generation) return;
      if (failure !== undefined) {
        this.#failSyncs(failure);
        this.#prepareRebalance(`the assignment could not be stored: ${failure}`);
        return;
      }
      this.#moveTo("Stable");
      for (const member of this.roster.all()) {
        member.assignment = assignments.get(member.memberId) ?? NO_BYTES;
        if (this.roster.answerSync(member, this.#describeAssignment(member))) member.session.start(member.sessionTimeoutMs);
      }
      this.#host.onRebalanceCompleted(this);
    });
  }

  #failSyncs(error: GroupError): void {
    for (const member of this.roster.all()) {
      member.assignment = NO_BYTES;
      if (this.roster.answerSync(member, refuseSync(error))) member.session.start(member.sessionTimeoutMs);
    }
  }

  // --- heartbeat, leave, sessions ---

  heartbeat(identity: MemberIdentity, generation: number): GroupError | undefined {
    const error = this.findMemberError(identity);
    if (error !== undefined) return error;
    if (generation !== this.#generation) return "illegal-generation";
    this.keepAlive(identity.memberId);
    return this.#state === "PreparingRebalance" ? "rebalance-in-progress" : undefined;
  }

  /** Any sign of life of a member. */
  keepAlive(memberId: string): void {
    const member = this.roster.get(memberId);
    member?.session.start(member.sessionTimeoutMs);
  }

  /** By member id, or by instance id alone (an administrator removes a static member). */
  leave(identities: readonly MemberIdentity[]): LeaveResult[] {
    const results = identities.map((identity): LeaveResult => {
      const error = this.#leaveOne(identity);
      return error === undefined ? identity : { ...identity, error };
    });
    if (results.some((result) => result.error === undefined)) {
      if (this.#canRebalance()) this.#prepareRebalance("members left");
      else if (this.#state === "PreparingRebalance") this.#completeJoinIfAll();
    }
    return results;
  }

  #leaveOne(identity: MemberIdentity): GroupError | undefined {
    const { memberId, groupInstanceId } = identity;
    if (this.#removePending(memberId)) return undefined;
    const byInstance = memberId === "" && groupInstanceId !== undefined;
    const id = byInstance ? this.roster.staticMemberId(groupInstanceId) : memberId;
    const error = byInstance ? undefined : this.findMemberError(identity);
    const member = id === undefined ? undefined : this.roster.get(id);
    if (error !== undefined || member === undefined) return error ?? "unknown-member";
    this.#drop(member);
    return undefined;
  }

  #onSessionExpired(member: Member): void {
    // Who waits for an answer cannot send heartbeats; only a first join is bounded.
    const isExcused = !member.isNew && (member.answerJoin !== undefined || member.answerSync !== undefined);
    if (isExcused || this.roster.get(member.memberId) !== member) return;
    this.#drop(member);
    this.#host.onMembersExpired(this, [member.memberId], "sent no heartbeat");
    if (this.#canRebalance()) this.#prepareRebalance(`member ${member.memberId} sent no heartbeat`);
    else if (this.#state === "PreparingRebalance" && this.#hasAllJoined()) this.#completeJoin();
  }

  #onPendingExpired(memberId: string): void {
    if (this.#removePending(memberId) && this.#state === "PreparingRebalance" && this.#hasAllJoined()) this.#completeJoin();
  }

  #canRebalance(): boolean {
    return this.#state === "Stable" || this.#state === "CompletingRebalance";
  }

  #removePending(memberId: string): boolean {
    this.#pendingJoins.get(memberId)?.cancel();
    return this.#pendingJoins.delete(memberId);
  }

  /** Its waiting join is answered so that a client which is still there joins anew. */
  #drop(member: Member): void {
    this.roster.answerJoin(member, refuseJoin("", "unknown-member"));
    this.roster.answerSync(member, refuseSync("unknown-member"));
    this.#pendingSyncs.delete(member.memberId);
    this.roster.remove(member.memberId);
  }

  /** Undefined when the identity is a member's. */
  findMemberError({ memberId, groupInstanceId }: MemberIdentity): GroupError | undefined {
    if (groupInstanceId !== undefined) {
      const known = this.roster.staticMemberId(groupInstanceId);
      if (known === undefined) return "unknown-member";
      if (known !== memberId) return "fenced-instance";
    }
    return this.roster.has(memberId) ? undefined : "unknown-member";
  }

  /** Whether a commit may be taken. `generation` -1: not from a member. Producers of transactions need not say for whom they commit (KIP-447). */
  findCommitError(identity: MemberIdentity, generation: number, isTransactional = false): GroupError | undefined {
    if (generation < 0 && this.#state === "Empty") return undefined;
    const isNobody = generation < 0 && identity.memberId === "" && identity.groupInstanceId === undefined;
    if (isNobody) return isTransactional ? undefined : "unknown-member";
    const error = this.findMemberError(identity);
    if (error !== undefined) return error;
    if (generation !== this.#generation) return "illegal-generation";
    return this.#state === "CompletingRebalance" && !isTransactional ? "rebalance-in-progress" : undefined;
  }

  // --- life ---

  /** After loading: every member has one session to show that it lives. */
  startSessions(): void {
    for (const member of this.roster.all()) member.session.start(member.sessionTimeoutMs);
  }

  /** The group is deleted, or its coordinator is no longer here: whoever waits is told so. */
  end(error: GroupError): void {
    this.#state = "Dead";
    this.#joinTimer.cancel();
    this.#syncTimer.cancel();
    for (const timer of this.#pendingJoins.values()) timer.cancel();
    this.#pendingJoins.clear();
    for (const member of this.roster.all()) {
      member.session.cancel();
      this.roster.answerJoin(member, refuseJoin(member.memberId, error));
      this.roster.answerSync(member, refuseSync(error));
    }
  }

  #newMember(from: Omit<Member, "assignment" | "isNew" | "answerJoin" | "answerSync" | "session">, assignment: Uint8Array): Member {
    const { memberId, groupInstanceId, clientId, clientHost, protocols, sessionTimeoutMs, rebalanceTimeoutMs } = from;
    const fields = { memberId, groupInstanceId, clientId, clientHost, protocols, sessionTimeoutMs, rebalanceTimeoutMs, assignment };
    const member: Member = {
      ...fields,
      isNew: false,
      answerJoin: undefined,
      answerSync: undefined,
      session: this.#host.timers.create(() => this.#onSessionExpired(member)),
    };
    return member;
  }

  #assignments(): Map<string, Uint8Array> {
    return new Map(Array.from(this.roster.all(), (member) => [member.memberId, member.assignment]));
  }

  #describeGeneration(member: Member, withMembers: boolean): JoinAnswer {
    const told = withMembers ? Array.from(this.roster.all()) : [];
    const members = told.map((each) => ({
      memberId: each.memberId,
      groupInstanceId: each.groupInstanceId,
      metadata: metadataOf(each, this.#protocolName),
    }));
    return {
      memberId: member.memberId,
      generation: this.#generation,
      protocolType: this.#protocolType,
      protocolName: this.#protocolName,
      leaderId: this.roster.leaderId ?? "",
      skipAssignment: false,
      members,
    };
  }

  #describeAssignment(member: Member): SyncAnswer {
    return { protocolType: this.#protocolType, protocolName: this.#protocolName, assignment: member.assignment };
  }

  #moveTo(state: GroupState): void {
    this.#state = state;
    this.#stateTimestampMs = this.#host.wallMs();
  }
}
