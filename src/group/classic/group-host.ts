/** What a classic group is given (its coordinator shard, or a test), and what the log holds of it. */

import type { TimerQueue } from "../../coordinator/timer-queue.ts";
import type { GroupError, GroupState, MemberIdentity, MemberProtocol } from "../group-types.ts";
import type { GroupRoster } from "./group-roster.ts";

/** A group as its host sees it. */
export interface GroupView {
  readonly groupId: string;
  readonly state: GroupState;
  readonly generation: number;
  readonly protocolType: string | undefined;
  readonly protocolName: string | undefined;
  readonly stateTimestampMs: number | undefined;
  readonly roster: GroupRoster;
}

export interface GroupHost {
  readonly timers: TimerQueue;
  readonly initialRebalanceDelayMs: number;
  readonly maxSize: number;
  wallMs(): number;
  /** A random UUID in its usual form. */
  newUuid(): string;
  /**
   * Stores the group with these assignments (every member's). Calls `done` when it is durable, or at once with why it cannot be; never when the
   * coordinator loses the group meanwhile (`unload` comes then).
   */
  store(group: GroupView, assignments: ReadonlyMap<string, Uint8Array>, done: (failure: GroupError | undefined) => void): void;
  onRebalanceStarted(group: GroupView, reason: string): void;
  /** A generation has its members; the leader decides now. */
  onRebalanceJoined(group: GroupView): void;
  /** The assignment of a generation is stored and handed out. */
  onRebalanceCompleted(group: GroupView): void;
  onMembersExpired(group: GroupView, memberIds: readonly string[], why: string): void;
}

/** What the log holds of a group. */
export interface StoredGroup {
  readonly generation: number;
  readonly protocolType: string | undefined;
  readonly protocolName: string | undefined;
  readonly leaderId: string | undefined;
  /** Wall clock, ms; undefined in old records. */
  readonly stateTimestampMs: number | undefined;
  readonly members: readonly StoredMember[];
}

export interface StoredMember extends MemberIdentity {
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly subscription: Uint8Array;
  /** All that it knows, where that is known: the record has the subscription to the group's protocol alone. */
  readonly protocols?: readonly MemberProtocol[] | undefined;
  readonly assignment: Uint8Array;
}
