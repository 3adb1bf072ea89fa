/**
 * Words of the consumer protocol (KIP-848): what a member says of itself, what it owns, and the changes that the log holds of a group. Everything here
 * is a value: a change replaces, nothing is altered in place.
 */
import type { ClientIdentity, GroupError, MemberProtocol } from "../group-types.ts";

/** Topic id to partitions, ascending; a topic without partitions is absent. */
export type Assignment = ReadonlyMap<string, readonly number[]>;

/** Topic id to partition to the member epoch under which the member was given it (KIP-1251). */
export type OwnedPartitions = ReadonlyMap<string, ReadonlyMap<number, number>>;

export const NO_ASSIGNMENT: Assignment = new Map();
export const NO_PARTITIONS: OwnedPartitions = new Map();

/** A member that uses the classic protocol in a consumer group. */
export interface ClassicMembership {
  readonly sessionTimeoutMs: number;
  /** In its order of preference; the first is the one it is told. */
  readonly protocols: readonly MemberProtocol[];
}

/** What a member says of itself (record ConsumerGroupMemberMetadata). */
export interface MemberSubscription extends ClientIdentity {
  readonly instanceId: string | undefined;
  /** Kept and described; placement ignores it. */
  readonly rackId: string | undefined;
  readonly rebalanceTimeoutMs: number;
  /** Sorted, without repetition. */
  readonly topics: readonly string[];
  /** A pattern in RE2's syntax, "" for none. */
  readonly pattern: string;
  readonly serverAssignor: string | undefined;
  readonly classic: ClassicMembership | undefined;
}

/** KIP-848's words; the numbers are those of the record. */
export const MEMBER_STATES = { stable: 0, "unrevoked-partitions": 1, "unreleased-partitions": 2, unknown: 127 } as const;
export type MemberState = keyof typeof MEMBER_STATES;

/** How far a member has come towards its target (record ConsumerGroupCurrentMemberAssignment). */
export interface MemberProgress {
  readonly epoch: number;
  /** The epoch before: taken once more from a member that may have missed the last answer. */
  readonly previousEpoch: number;
  readonly state: MemberState;
  readonly assigned: OwnedPartitions;
  readonly pendingRevocation: OwnedPartitions;
}

export interface ConsumerMember {
  readonly memberId: string;
  readonly subscription: MemberSubscription;
  readonly progress: MemberProgress;
}

/** The member has left and may come back with its instance id (KIP-345). */
export const LEFT_STATIC_EPOCH = -2;
export const LEAVE_EPOCH = -1;

export const NO_PROGRESS: MemberProgress = {
  epoch: 0,
  previousEpoch: 0,
  state: "stable",
  assigned: NO_PARTITIONS,
  pendingRevocation: NO_PARTITIONS,
};

/** Topics that matched a pattern when it was last looked at (record ConsumerGroupRegularExpression). */
export interface ResolvedPattern {
  readonly topics: readonly string[];
  /** Version of the metadata that was looked at. */
  readonly version: bigint;
  /** Wall clock, ms. */
  readonly timestampMs: number;
}

/** One record of a consumer group. An undefined value is a tombstone. */
export type GroupChange =
  | { readonly kind: "member"; readonly memberId: string; readonly value: MemberSubscription | undefined }
  | { readonly kind: "group-epoch"; readonly value: { readonly epoch: number; readonly metadataHash: bigint } | undefined }
  | { readonly kind: "target-epoch"; readonly value: { readonly epoch: number; readonly timestampMs: number } | undefined }
  | { readonly kind: "target"; readonly memberId: string; readonly value: Assignment | undefined }
  | { readonly kind: "progress"; readonly memberId: string; readonly value: MemberProgress | undefined }
  | { readonly kind: "pattern"; readonly pattern: string; readonly value: ResolvedPattern | undefined };

/** Why a request is not done, with Kafka's words for the client. */
export interface Refusal {
  readonly error: GroupError;
  readonly message: string;
}

export function isRefusal(value: object): value is Refusal {
  return "error" in value;
}

/** A heartbeat; undefined is "as before". */
export interface ConsumerHeartbeat extends ClientIdentity {
  readonly groupId: string;
  readonly memberId: string;
  /** 0 joins, -1 leaves, -2 leaves as a static member that will be back. */
  readonly memberEpoch: number;
  readonly instanceId: string | undefined;
  readonly rackId: string | undefined;
  readonly rebalanceTimeoutMs: number | undefined;
  readonly topics: readonly string[] | undefined;
  readonly pattern: string | undefined;
  readonly serverAssignor: string | undefined;
  /** The partitions that the member has now. */
  readonly owned: Assignment | undefined;
}

export interface HeartbeatAnswer {
  readonly memberId: string;
  readonly memberEpoch: number;
  /** 0 when the member leaves. */
  readonly heartbeatIntervalMs: number;
  /** Undefined: as before. */
  readonly assignment: Assignment | undefined;
}

export type ConsumerGroupState = "Empty" | "Assigning" | "Reconciling" | "Stable" | "Dead";

export interface ConsumerMemberDescription extends ClientIdentity {
  readonly memberId: string;
  readonly instanceId: string | undefined;
  readonly rackId: string | undefined;
  readonly epoch: number;
  readonly topics: readonly string[];
  readonly pattern: string;
  /** With what it has yet to give up. */
  readonly assigned: Assignment;
  readonly target: Assignment;
  readonly isClassic: boolean;
}

export interface ConsumerGroupDescription {
  readonly groupId: string;
  readonly state: ConsumerGroupState;
  readonly groupEpoch: number;
  readonly assignmentEpoch: number;
  readonly assignor: string;
  readonly members: readonly ConsumerMemberDescription[];
}
