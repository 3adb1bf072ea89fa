/** Words of the group room: what the api room asks and is told. Refusals are values; `api/group-answers.ts` gives them their Kafka codes. */
import type { TopicPartition } from "../coordinator/topic-partition.ts";

/** Why a request to a group is not done. */
export type GroupError =
  /** This broker does not own the group's partition of __consumer_offsets (or no longer, or the topic is not there). */
  | "not-coordinator"
  /** The partition is being read. */
  | "loading"
  /** The broker is stopping, or the topic cannot be created now. */
  | "not-available"
  | "unknown-member"
  | "fenced-instance"
  | "illegal-generation"
  | "rebalance-in-progress"
  | "inconsistent-protocol"
  | "group-full"
  | "member-id-required"
  | "group-not-found"
  | "non-empty-group"
  | "subscribed-to-topic"
  | "metadata-too-large"
  /** A state of the group does not fit into one batch of __consumer_offsets. */
  | "record-too-large"
  /** Offsets in a transaction: a later producer has the transactional id. */
  | "stale-producer-epoch"
  /** Offsets in a transaction: it ended while they were on their way. */
  | "invalid-transaction-state"
  /** A member of the consumer protocol has to give up all it has, and join anew. */
  | "fenced-member-epoch"
  /** Offsets of a member that is not, or no longer, in that epoch. */
  | "stale-member-epoch"
  /** Another member has the instance id, and has not left. */
  | "unreleased-instance"
  | "invalid-regular-expression"
  /** A member of the consumer protocol has to commit by a version of OffsetCommit that knows member epochs. */
  | "unsupported-version";

/** The transaction coordinator says no, in Kafka's code. */
export interface TransactionRefusal {
  readonly gateCode: number;
}

/** Of a classic group. */
export type GroupState = "Empty" | "PreparingRebalance" | "CompletingRebalance" | "Stable" | "Dead";

export interface MemberProtocol {
  readonly name: string;
  /** Opaque to the coordinator; may be a view of the request's frame. */
  readonly metadata: Uint8Array;
}

/** Who asks, as DescribeGroups shows it. */
export interface ClientIdentity {
  readonly clientId: string;
  /** "/127.0.0.1", as Java writes an InetAddress. */
  readonly clientHost: string;
}

export interface JoinRequest extends ClientIdentity {
  readonly groupId: string;
  /** "" for a client that has none yet. */
  readonly memberId: string;
  readonly groupInstanceId: string | undefined;
  readonly protocolType: string;
  /** In the member's order of preference. */
  readonly protocols: readonly MemberProtocol[];
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  /** KIP-394, from JoinGroup v4: a new dynamic member is told its id and has to come again with it. */
  readonly requiresKnownMemberId: boolean;
  /** KIP-814, from JoinGroup v9: a static leader that comes back is told to leave the assignment as it is. */
  readonly supportsSkippingAssignment: boolean;
}

export interface JoinedMember {
  readonly memberId: string;
  readonly groupInstanceId: string | undefined;
  readonly metadata: Uint8Array;
}

export interface JoinAnswer {
  readonly error?: GroupError;
  readonly memberId: string;
  /** -1 with an error. */
  readonly generation: number;
  readonly protocolType: string | undefined;
  readonly protocolName: string | undefined;
  readonly leaderId: string;
  readonly skipAssignment: boolean;
  /** Only the leader is told of the others. */
  readonly members: readonly JoinedMember[];
}

export interface SyncRequest {
  readonly groupId: string;
  readonly memberId: string;
  readonly groupInstanceId: string | undefined;
  readonly generation: number;
  /** Undefined before SyncGroup v5. */
  readonly protocolType: string | undefined;
  readonly protocolName: string | undefined;
  /** From the leader; values may be views of the request's frame. */
  readonly assignments: ReadonlyMap<string, Uint8Array>;
}

export interface SyncAnswer {
  readonly error?: GroupError;
  readonly protocolType: string | undefined;
  readonly protocolName: string | undefined;
  readonly assignment: Uint8Array;
}

/** Who a request comes from: checked against the group's members (KIP-345: an instance id belongs to one member id). */
export interface MemberIdentity {
  readonly memberId: string;
  readonly groupInstanceId: string | undefined;
}

/** Who asks for offsets (OffsetFetch v9): a member, by its epoch. */
export interface OffsetFetcher {
  readonly memberId: string;
  readonly memberEpoch: number;
}

export interface LeaveResult extends MemberIdentity {
  readonly error?: GroupError;
}

export interface MemberDescription extends ClientIdentity {
  readonly memberId: string;
  readonly groupInstanceId: string | undefined;
  /** Empty unless the group is Stable. */
  readonly metadata: Uint8Array;
  readonly assignment: Uint8Array;
}

export interface GroupDescription {
  readonly groupId: string;
  readonly state: GroupState;
  readonly protocolType: string;
  readonly protocolName: string;
  readonly members: readonly MemberDescription[];
}

export type GroupType = "classic" | "consumer";

export interface ListedGroup {
  readonly groupId: string;
  readonly type: GroupType;
  readonly protocolType: string;
  readonly state: string;
}

/** One offset of a commit. The numbers are the client's: any int64. */
export interface OffsetToCommit extends TopicPartition {
  readonly topicId: string;
  readonly offset: bigint;
  /** -1: none. */
  readonly leaderEpoch: number;
  readonly metadata: string;
}

export interface CommitRequest extends MemberIdentity {
  readonly groupId: string;
  /** -1: not a member's commit. */
  readonly generation: number;
  /** Milliseconds from now; undefined: the broker's retention. */
  readonly retentionMs: bigint | undefined;
  readonly offsets: readonly OffsetToCommit[];
}

/** Offsets that count when the producer's transaction commits. */
export interface TransactionalCommitRequest extends MemberIdentity {
  readonly groupId: string;
  /** -1: not a member's commit. */
  readonly generation: number;
  readonly transactionalId: string;
  readonly producerId: number;
  readonly producerEpoch: number;
  /** The request itself adds the partition of the offsets to the transaction (TxnOffsetCommit v5, transaction.version 2). */
  readonly addsPartition: boolean;
  /** False: the transaction coordinator is not asked (`transaction.partition.verification.enable`). */
  readonly isVerified: boolean;
  /** Knows "group-not-found" (TxnOffsetCommit v6). */
  readonly isNewClient: boolean;
  readonly offsets: readonly OffsetToCommit[];
}

/** What a group last committed for a partition. */
export interface CommittedOffset {
  readonly topicId: string;
  readonly offset: bigint;
  readonly leaderEpoch: number;
  readonly metadata: string;
  /** Wall clock, ms. */
  readonly commitTimestampMs: number;
  /** From clients that set a retention (OffsetCommit v2-4). */
  readonly expireTimestampMs: bigint | undefined;
}

/** A record of __consumer_offsets. */
export interface GroupRecord {
  readonly key: Uint8Array;
  /** null: a tombstone. */
  readonly value: Uint8Array | null;
  /** Says again what was said before: what is pending in transactions came later (`group-state-records.ts`). */
  readonly isRestated?: boolean;
}

export const NO_BYTES = new Uint8Array(0);

export function refuseJoin(memberId: string, error: GroupError): JoinAnswer {
  return {
    error,
    memberId,
    generation: -1,
    protocolType: undefined,
    protocolName: undefined,
    leaderId: "",
    skipAssignment: false,
    members: [],
  };
}

export function refuseSync(error: GroupError): SyncAnswer {
  return { error, protocolType: undefined, protocolName: undefined, assignment: NO_BYTES };
}

/** Both are known, and not the same. */
export function differs(asked: string | undefined, known: string | undefined): boolean {
  return asked !== undefined && known !== undefined && asked !== known;
}
