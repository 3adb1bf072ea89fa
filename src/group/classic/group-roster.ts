/**
 * The members of a classic group: who there is, who leads, which protocols all of them know, who waits for an answer. Knows nothing of states or
 * timers; `classic-group.ts` decides with it.
 *
 * Invariants
 * - The leader is a member whenever there are members.
 * - An instance id names at most one member id (KIP-345).
 * - `awaitingJoinCount` is the number of members with a join to answer.
 */

import { assert } from "../../base/assert.ts";
import { copyBytes } from "../../base/copy-bytes.ts";
import type { Timer } from "../../coordinator/timer-queue.ts";
import type { ClientIdentity, JoinAnswer, MemberProtocol, SyncAnswer } from "../group-types.ts";
import { NO_BYTES } from "../group-types.ts";

export interface Member extends ClientIdentity {
  readonly memberId: string;
  readonly groupInstanceId: string | undefined;
  protocols: readonly MemberProtocol[];
  sessionTimeoutMs: number;
  rebalanceTimeoutMs: number;
  assignment: Uint8Array;
  /** Joins for the first time: it has no id to send heartbeats with, so its session runs while it waits. */
  isNew: boolean;
  answerJoin: ((answer: JoinAnswer) => void) | undefined;
  answerSync: ((answer: SyncAnswer) => void) | undefined;
  readonly session: Timer;
}

export class GroupRoster {
  readonly #members = new Map<string, Member>();
  /** Instance id to member id. */
  readonly #staticIds = new Map<string, string>();
  /** How many members know a protocol. */
  readonly #supporters = new Map<string, number>();
  #awaitingJoinCount = 0;
  leaderId: string | undefined;

  get size(): number {
    return this.#members.size;
  }

  get awaitingJoinCount(): number {
    return this.#awaitingJoinCount;
  }

  /** In order of joining. */
  all(): Iterable<Member> {
    return this.#members.values();
  }

  get(memberId: string): Member | undefined {
    return this.#members.get(memberId);
  }

  has(memberId: string): boolean {
    return this.#members.has(memberId);
  }

  staticMemberId(groupInstanceId: string): string | undefined {
    return this.#staticIds.get(groupInstanceId);
  }

  add(member: Member): void {
    assert(!this.#members.has(member.memberId), "a member is added twice");
    if (member.groupInstanceId !== undefined) {
      assert(!this.#staticIds.has(member.groupInstanceId), "an instance id is taken by another member");
      this.#staticIds.set(member.groupInstanceId, member.memberId);
    }
    this.leaderId ??= member.memberId;
    this.#members.set(member.memberId, member);
    this.#countProtocols(member, 1);
    if (member.answerJoin !== undefined) this.#awaitingJoinCount += 1;
  }

  /** Its answers must have been given. The longest-standing other member leads when the leader goes. */
  remove(memberId: string): void {
    const member = this.#members.get(memberId);
    if (member === undefined) return;
    member.session.cancel();
    this.#members.delete(memberId);
    this.#countProtocols(member, -1);
    if (member.answerJoin !== undefined) this.#awaitingJoinCount -= 1;
    if (member.groupInstanceId !== undefined) this.#staticIds.delete(member.groupInstanceId);
    if (this.leaderId === memberId) this.leaderId = this.#members.keys().next().value;
  }

  /** The same member under another id: what it was assigned stays its own. `withJoin`: takes over a join that waits. */
  replace(old: Member, replacement: Member): void {
    assert(old.answerJoin === undefined && old.answerSync === undefined, "a replaced member still waits");
    assert(old.groupInstanceId !== undefined && old.groupInstanceId === replacement.groupInstanceId, "only a static member is replaced");
    old.session.cancel();
    this.#members.delete(old.memberId);
    this.#countProtocols(old, -1);
    this.#members.set(replacement.memberId, replacement);
    this.#countProtocols(replacement, 1);
    this.#staticIds.set(old.groupInstanceId, replacement.memberId);
    if (replacement.answerJoin !== undefined) this.#awaitingJoinCount += 1;
    if (this.leaderId === old.memberId) this.leaderId = replacement.memberId;
  }

  updateProtocols(member: Member, protocols: readonly MemberProtocol[]): void {
    this.#countProtocols(member, -1);
    member.protocols = protocols;
    this.#countProtocols(member, 1);
  }

  /** A join that waited before gives way without an answer: its client has sent another. */
  awaitJoin(member: Member, answer: (answer: JoinAnswer) => void): void {
    if (member.answerJoin === undefined) this.#awaitingJoinCount += 1;
    member.answerJoin = answer;
  }

  /** False when it did not wait. */
  answerJoin(member: Member, answer: JoinAnswer): boolean {
    const { answerJoin } = member;
    if (answerJoin === undefined) return false;
    member.answerJoin = undefined;
    this.#awaitingJoinCount -= 1;
    answerJoin(answer);
    return true;
  }

  answerSync(member: Member, answer: SyncAnswer): boolean {
    const { answerSync } = member;
    if (answerSync === undefined) return false;
    member.answerSync = undefined;
    answerSync(answer);
    return true;
  }

  /** A leader that has not come again gives way to the first member that has. False when nobody has. */
  electJoinedLeader(): boolean {
    const leader = this.leaderId === undefined ? undefined : this.#members.get(this.leaderId);
    if (leader === undefined) return false;
    if (leader.answerJoin !== undefined) return true;
    for (const member of this.#members.values()) {
      if (member.answerJoin === undefined) continue;
      this.leaderId = member.memberId;
      return true;
    }
    return false;
  }

  maxRebalanceTimeoutMs(): number {
    let most = 0;
    for (const member of this.#members.values()) most = Math.max(most, member.rebalanceTimeoutMs);
    return most;
  }

  /** Every member knows one of them. */
  supportsAny(protocols: readonly MemberProtocol[]): boolean {
    return protocols.some((protocol) => (this.#supporters.get(protocol.name) ?? 0) === this.#members.size);
  }

  /** Of the protocols that all know, the one that most members like best; the earlier found where equal. */
  selectProtocol(): string {
    const votes = new Map<string, number>();
    for (const member of this.#members.values()) {
      const vote = member.protocols.find((protocol) => this.#supporters.get(protocol.name) === this.#members.size);
      if (vote !== undefined) votes.set(vote.name, (votes.get(vote.name) ?? 0) + 1);
    }
    let chosen: string | undefined;
    for (const [name, count] of votes) if (chosen === undefined || count > (votes.get(chosen) ?? 0)) chosen = name;
    assert(chosen !== undefined, "members of a group have no protocol in common");
    return chosen;
  }

  #countProtocols(member: Member, change: 1 | -1): void {
    for (const name of new Set(member.protocols.map((protocol) => protocol.name))) {
      const count = (this.#supporters.get(name) ?? 0) + change;
      if (count === 0) this.#supporters.delete(name);
      else this.#supporters.set(name, count);
    }
  }
}

/** Empty when the member does not know the protocol. */
export function metadataOf(member: Member, protocolName: string | undefined): Uint8Array {
  return member.protocols.find((protocol) => protocol.name === protocolName)?.metadata ?? NO_BYTES;
}

export function hasSameProtocols(member: Member, protocols: readonly MemberProtocol[]): boolean {
  if (member.protocols.length !== protocols.length) return false;
  return member.protocols.every((known, index) => {
    const given = protocols[index];
    return given !== undefined && known.name === given.name && isEqual(known.metadata, given.metadata);
  });
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** Private copies: what a group keeps must not lie in a request's frame. A name given twice counts once. */
export function copyProtocols(protocols: readonly MemberProtocol[]): MemberProtocol[] {
  const copies = new Map<string, MemberProtocol>();
  for (const { name, metadata } of protocols) if (!copies.has(name)) copies.set(name, { name, metadata: copyBytes(metadata) });
  return [...copies.values()];
}

export function idsOf(members: readonly Member[]): string[] {
  return members.map((member) => member.memberId);
}
