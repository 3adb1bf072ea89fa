/**
 * One member of a consumer group of the new protocol (KIP-848), as a real client is one: joins with epoch 0, sends heartbeats with what it has, gives up what is not
 * assigned any more and says so, reads what it is given from the committed offset on and commits. After an answer that was lost it says everything again; told that it
 * is fenced or unknown it lets everything go and joins anew.
 */
import {
  type ConsumerGroupHeartbeatResponse,
  consumerGroupHeartbeatApi,
  newConsumerGroupHeartbeatRequest,
  newConsumerGroupHeartbeatRequestTopicPartitions,
} from "../../src/protocol/messages/consumer-group-heartbeat.ts";
import { type ConsumerGroupModel, MemberTrace, type PartitionTrace } from "./consumer-model.ts";
import { PartitionReader } from "./consumer-reader.ts";
import {
  FENCED_INSTANCE_ID,
  FENCED_MEMBER_EPOCH,
  GROUP_ID_NOT_FOUND,
  progressOf,
  type Reading,
  UNKNOWN_MEMBER_ID,
} from "./consumer-remains.ts";
import { type Answered, CoordinatorLink } from "./consumer-requests.ts";
import type { TopicDirectory } from "./consumer-topics.ts";
import type { ClientPlace } from "./sim-clients.ts";

const HEARTBEAT_VERSION = 1;
const UNRELEASED_INSTANCE_ID = 111;
export const REBALANCE_TIMEOUT_MS = 3_000;
const UNRELEASED_WAIT_MS = 700;
const SLOW_REVOKE_PERCENT = 15;
const RESOLVE_EVERY_MS = 1_000;

export interface Subscription {
  readonly topics: readonly string[];
  /** "" for none. */
  readonly pattern: string;
  /** "any": it does not say. */
  readonly assignor: "uniform" | "range" | "any";
}

export interface MemberOptions {
  readonly place: ClientPlace;
  readonly model: ConsumerGroupModel;
  readonly topics: TopicDirectory;
  readonly instanceId: string | undefined;
  readonly subscription: Subscription;
  /** Of classic members: they let go only what they have to. */
  readonly isCooperative: boolean;
  readonly sessionMs: number;
  readonly heartbeatMs: number;
}

export class ConsumerMember {
  readonly trace: MemberTrace;
  subscription: Subscription;
  /** Told that another has taken its place: there is nothing left to do. */
  isReplaced = false;
  private readonly options: MemberOptions;
  private readonly link: CoordinatorLink;
  private readonly reader: PartitionReader;
  private epoch = 0;
  private isJoined = false;
  /** What it has. */
  private owned: ReadonlySet<PartitionTrace> = new Set();
  /** What it is to have. */
  private assigned: ReadonlySet<PartitionTrace> = new Set();
  /** What it has last said that it has; undefined: everything must be said again. */
  private reported: ReadonlySet<PartitionTrace> | undefined;
  private isSubscriptionSent = false;
  private revokeAtMs: number | undefined;
  private beatDueMs = 0;
  private resolveDueMs = 0;
  /** Of a former epoch: what may still be on its way when the member has a new one. */
  private remains: Reading | undefined;
  private remainsMs = 0;

  constructor(options: MemberOptions) {
    const { place, instanceId, sessionMs } = options;
    this.options = options;
    this.subscription = options.subscription;
    this.link = new CoordinatorLink(place);
    this.reader = new PartitionReader(options, this.link);
    this.trace = new MemberTrace(newMemberId(place), instanceId, sessionMs, REBALANCE_TIMEOUT_MS);
  }

  get isMember(): boolean {
    return this.isJoined;
  }

  get partitions(): ReadonlySet<PartitionTrace> {
    return this.owned;
  }

  get currentEpoch(): number {
    return this.epoch;
  }

  /** It has said all that it has, and has nothing to let go or to take. */
  get isSettled(): boolean {
    return this.isJoined && this.reported === this.owned && this.owned === this.assigned;
  }

  subscribe(subscription: Subscription): void {
    this.subscription = subscription;
    this.isSubscriptionSent = false;
    this.beatDueMs = 0;
  }

  /** What it would still commit under its epoch. */
  get reading(): Reading {
    const { memberId, instanceId } = this.trace;
    const committer = { groupId: this.options.model.groupId, memberId, epoch: this.epoch, instanceId };
    return { committer, trace: this.trace, positions: new Map(this.reader.positions) };
  }

  close(): void {
    this.link.close();
  }

  /** The next thing that it does. Throws ConnectionLost when that was not answered: it says everything again then. */
  async step(): Promise<void> {
    const { process } = this.options.place;
    const { nowMs } = process.scheduler;
    try {
      if (!this.isJoined || nowMs >= this.beatDueMs) return await this.beat();
      if (this.revokeAtMs !== undefined && nowMs >= this.revokeAtMs) return await this.reconcile();
      const nameless = [...this.owned].filter(({ log }) => log === undefined);
      if (nameless.length > 0 && nowMs >= this.resolveDueMs) {
        this.resolveDueMs = nowMs + RESOLVE_EVERY_MS;
        return await this.options.topics.resolve(this.link, this.options.model, nameless);
      }
      if (await this.read()) this.beatDueMs = 0;
    } catch (error) {
      this.reported = undefined;
      this.isSubscriptionSent = false;
      throw error;
    }
  }

  /** True: it is outdated, and the next heartbeat says so. */
  private async read(): Promise<boolean> {
    const { reader, trace, reading } = this;
    const { random } = this.options.place.process;
    const unread = reader.findUnread(this.owned);
    if (unread.length > 0 && this.revokeAtMs === undefined) return reader.readCommitted(trace, reading.committer, unread);
    if (reader.positions.size === 0) return (await reader.lookAtOthers(trace, reading.committer)) || random.chance(5);
    const progress = progressOf(reading);
    if (progress.length > 0 && random.chance(25)) return reader.commit(reading, progress);
    await reader.poll(trace);
    return false;
  }

  async beat(): Promise<void> {
    const { model, place, heartbeatMs } = this.options;
    const { trace, owned, isJoined, subscription } = this;
    const isFull = !isJoined || this.reported === undefined || !this.isSubscriptionSent;
    const saysOwned = isFull || this.reported !== owned;
    if (isJoined) model.beatSent(trace, saysOwned ? owned : undefined);
    else model.joinSent(trace);
    const { answer, isCurrent, sentMs } = await this.sendBeat(isFull, saysOwned);
    this.beatDueMs = place.process.scheduler.nowMs + heartbeatMs;
    if (answer.errorCode !== 0) return this.refused(answer);
    this.isSubscriptionSent = subscription === this.subscription;
    this.reported = owned;
    const assigned = answer.assignment === null ? undefined : model.partitionsOf(answer.assignment.topicPartitions);
    if (isCurrent) model.beatAnswered(trace, sentMs, answer.memberEpoch, assigned);
    else trace.isVague = true;
    this.isJoined = true;
    this.epoch = answer.memberEpoch;
    if (assigned !== undefined && !isSameSet(assigned, this.assigned)) this.assigned = isSameSet(assigned, owned) ? owned : assigned;
    this.planReconciliation();
  }

  private sendBeat(isFull: boolean, saysOwned: boolean): Promise<Answered<ConsumerGroupHeartbeatResponse>> {
    const { topics, pattern, assignor } = this.subscription;
    const request = newConsumerGroupHeartbeatRequest({
      groupId: this.options.model.groupId,
      memberId: this.trace.memberId,
      memberEpoch: this.isJoined ? this.epoch : 0,
      instanceId: this.trace.instanceId ?? null,
      rebalanceTimeoutMs: isFull ? REBALANCE_TIMEOUT_MS : -1,
      subscribedTopicNames: isFull ? [...topics] : null,
      subscribedTopicRegex: isFull ? pattern : null,
      serverAssignor: isFull && assignor !== "any" ? assignor : null,
      topicPartitions: saysOwned ? toRequest(this.owned) : null,
    });
    const operation = this.isJoined ? "consumer-heartbeat" : "consumer-join";
    return this.link.ask(operation, consumerGroupHeartbeatApi, HEARTBEAT_VERSION, request, (one) => [one.errorCode]);
  }

  private async refused({ errorCode, errorMessage }: ConsumerGroupHeartbeatResponse): Promise<void> {
    const { model, place } = this.options;
    switch (errorCode) {
      case FENCED_MEMBER_EPOCH:
      case UNKNOWN_MEMBER_ID:
      case GROUP_ID_NOT_FOUND:
        model.expelled(this.trace);
        // Fenced by its epoch alone it is a member still, and may have been given nothing anew.
        if (errorCode === UNKNOWN_MEMBER_ID) this.remains = this.reading;
        this.remainsMs = place.process.scheduler.nowMs;
        this.beginAnew();
        return;
      case UNRELEASED_INSTANCE_ID:
        await place.process.clock.sleep(UNRELEASED_WAIT_MS);
        return;
      case FENCED_INSTANCE_ID:
        model.expelled(this.trace);
        this.isReplaced = true;
        return;
      default:
        model.find("unexpected-error", `${this.trace.memberId}'s heartbeat is answered with error ${errorCode}: ${errorMessage}`);
        this.beginAnew();
    }
  }

  private beginAnew(): void {
    this.isJoined = false;
    this.epoch = 0;
    this.owned = new Set();
    this.assigned = this.owned;
    this.reader.positions.clear();
    this.revokeAtMs = undefined;
    this.reported = undefined;
  }

  // --- towards what is assigned ---

  private planReconciliation(): void {
    if (this.owned === this.assigned) return;
    const { scheduler, random } = this.options.place.process;
    const revokes = [...this.owned].some((at) => !this.assigned.has(at));
    if (this.revokeAtMs !== undefined && revokes) return;
    const delayMs = revokes && random.chance(SLOW_REVOKE_PERCENT) ? random.nextFloat() * 1.5 * REBALANCE_TIMEOUT_MS : 0;
    this.revokeAtMs = scheduler.nowMs + delayMs;
  }

  private async reconcile(): Promise<void> {
    const revoked = [...this.owned].filter((at) => !this.assigned.has(at));
    const done = progressOf(this.reading).filter((at) => !this.assigned.has(at));
    if (this.options.place.process.random.chance(85)) await this.reader.commit(this.reading, done);
    if (!this.isJoined) return;
    for (const at of revoked) this.reader.positions.delete(at);
    this.revokeAtMs = undefined;
    this.owned = this.assigned;
    this.beatDueMs = 0;
  }

  /** What it had before it was told to begin anew is still on its way, once: it must not be taken for the member that it is now. */
  async commitRemains(): Promise<void> {
    const { remains } = this;
    if (remains === undefined || !this.isJoined || this.epoch <= remains.committer.epoch) return;
    this.remains = undefined;
    // A refusal is not durable: for a coordinator that took over since then it may have been a member all along.
    if (this.options.place.history.disturbedMs < this.remainsMs) await this.reader.commit(remains);
  }

  // --- leaving ---

  /** -1, or -2: it will be back with its instance id. Tried once: who is not heard is expelled. */
  async leave(epoch: -1 | -2): Promise<void> {
    const { model } = this.options;
    if (!this.isJoined) return;
    if (this.options.place.process.random.chance(70)) await this.reader.commit(this.reading);
    if (!this.isJoined) return;
    if (epoch === -2) model.leaveForAWhileSent(this.trace);
    else model.leaveSent(this.trace);
    this.isJoined = false;
    const request = newConsumerGroupHeartbeatRequest({
      groupId: model.groupId,
      memberId: this.trace.memberId,
      memberEpoch: epoch,
      instanceId: this.trace.instanceId ?? null,
    });
    const { answer, isCurrent } = await this.link.ask("consumer-leave", consumerGroupHeartbeatApi, HEARTBEAT_VERSION, request, (one) => [
      one.errorCode,
    ]);
    if (answer.errorCode === 0 && isCurrent) model.leaveAnswered(this.trace, epoch === -1);
  }
}

function toRequest(owned: ReadonlySet<PartitionTrace>) {
  const topics = new Map<string, number[]>();
  for (const { topicId, partition } of owned) topics.set(topicId, [...(topics.get(topicId) ?? []), partition]);
  return [...topics].map(([topicId, partitions]) => newConsumerGroupHeartbeatRequestTopicPartitions({ topicId, partitions }));
}

function isSameSet(a: ReadonlySet<PartitionTrace>, b: ReadonlySet<PartitionTrace>): boolean {
  return a.size === b.size && [...a].every((each) => b.has(each));
}

function newMemberId({ process }: ClientPlace): string {
  const part = (): string => process.random.nextInt(2 ** 31).toString(36);
  return `${process.name}-${part()}${part()}`;
}
