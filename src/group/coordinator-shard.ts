/**
 * The coordinator of the groups in one partition of __consumer_offsets: their state in memory, rebuilt from the log at the load, and every change of it
 * on the log before it is answered.
 *
 * Invariants
 * - State = what the records in the log say, up to what is pending; an answer leaves only when all that it tells is durable.
 * - A load ends at the log end as it was when it began (case M18): a short read is tried again, never taken for the end.
 * - When an append fails, or the partition goes away, the whole shard ends: who waits is told "not-coordinator", and the next coordinator reads the log.
 *
 * Neighbours: `coordinator/shard-log.ts` (the log), `group-records.ts` (its format), `classic/classic-group.ts`, `group-coordinator.ts` (which groups are whose).
 */
import { randomUuidBytes } from "../base/random.ts";
import { inStretches } from "../coordinator/in-stretches.ts";
import { loadToEnd } from "../coordinator/load-to-end.ts";
import { LogRewrite } from "../coordinator/log-rewrite.ts";
import type { MarkerResult } from "../coordinator/marker-writer.ts";
import type { ShardLog } from "../coordinator/shard-log.ts";
import type { LogShard, ShardState } from "../coordinator/shard-set.ts";
import type { Timer, TimerQueue } from "../coordinator/timer-queue.ts";
import type { TopicPartition } from "../coordinator/topic-partition.ts";
import type { TransactionMarker } from "../partition/transaction-ports.ts";
import type { AnyGroup } from "./any-group.ts";
import { ClassicGroup } from "./classic/classic-group.ts";
import type { GroupHost, GroupView, StoredGroup } from "./classic/group-host.ts";
import { noteMembersExpired, noteRebalanceCompleted, noteRebalanceJoined, noteRebalanceStarted } from "./classic/rebalance-notes.ts";
import { StoredGroups } from "./classic/stored-groups.ts";
import type { ConsumerGroup } from "./consumer/consumer-group.ts";
import { encodeChange } from "./consumer/consumer-group-records.ts";
import type { ConsumerHeartbeat, HeartbeatAnswer, Refusal } from "./consumer/consumer-group-types.ts";
import { ConsumerGroups } from "./consumer/shard-consumer-groups.ts";
import {
  buildBatches,
  encodeGroup,
  encodeGroupTombstone,
  encodeNewGroup,
  encodeOffset,
  encodeOffsetTombstone,
  type RecordVisitor,
  readGroupKey,
  replayBatches,
} from "./group-records.ts";
import { GroupStateRecords } from "./group-state-records.ts";
import {
  type CommitRequest,
  type CommittedOffset,
  type GroupError,
  type GroupRecord,
  type JoinAnswer,
  type JoinRequest,
  type LeaveResult,
  type MemberIdentity,
  type OffsetFetcher,
  refuseJoin,
  refuseSync,
  type SyncAnswer,
  type SyncRequest,
  type TransactionalCommitRequest,
} from "./group-types.ts";
import { type CommitKind, findCommitError, findFetchError, findStaleOffset } from "./offsets/consumer-offset-checks.ts";
import { findExpiredOffsets } from "./offsets/offset-expiry.ts";
import { OffsetStore } from "./offsets/offset-store.ts";
import { PendingOffsets } from "./offsets/pending-offsets.ts";
import { type TransactionalCommitResult, TransactionalCommits } from "./offsets/transactional-commits.ts";
import type { ShardOptions } from "./shard-options.ts";

export class CoordinatorShard implements GroupHost, LogShard {
  readonly partition: number;
  readonly topicId: string;
  readonly timers: TimerQueue;
  readonly offsets = new OffsetStore();
  readonly pending = new PendingOffsets();
  readonly #transactional: TransactionalCommits;
  readonly #groups = new Map<string, AnyGroup>();
  /** Classic groups whose record names no leader; while the shard is loading. */
  readonly #leaderless = new Set<string>();
  readonly #stored = new StoredGroups();
  readonly #consumerGroups: ConsumerGroups;
  readonly #options: ShardOptions;
  readonly #log: ShardLog;
  readonly #rewrite: LogRewrite<GroupRecord>;
  #state: ShardState = "loading";
  /** Requests that wait for something durable: told "not-coordinator" when the shard ends. */
  readonly #waiting = new Set<(error: GroupError) => void>();
  /** Of groups' states on their way to the log. */
  readonly #storeDeadlines = new Set<Timer>();

  constructor(options: ShardOptions, log: ShardLog) {
    this.partition = options.partition;
    this.topicId = options.topicId;
    this.timers = options.timers;
    this.#options = options;
    this.#log = log;
    this.#consumerGroups = new ConsumerGroups({
      ...options,
      groups: this.#groups,
      classicHost: this,
      wallMs: () => this.wallMs(),
      write: (records, apply) => this.#write(records, apply),
      whenDurable: () => this.whenDurable(),
    });
    this.#transactional = new TransactionalCommits({
      ...options,
      log,
      offsetMetadataMaxBytes: options.settings.offsetMetadataMaxBytes,
      findError: (request) => this.#findTransactionalError(request),
      putPending: (producerId, groupId, at, committed) => this.#applyOffset(groupId, at, committed, producerId),
      endTransaction: (producerId, isCommit) => this.#endTransaction(producerId, isCommit),
    });
    const { offsets, pending } = this;
    const state = { groups: this.#groups, stored: this.#stored, offsets, pending };
    this.#rewrite = new LogRewrite(options.rewrites, log, new GroupStateRecords(state, (records) => this.#build(records)));
  }

  get state(): ShardState {
    return this.#state;
  }

  /** False when the partition log was closed under it. */
  get isServing(): boolean {
    return this.#log.log.isServing;
  }

  get groupCount(): number {
    return this.#groups.size;
  }

  /** Of consumer groups whose members ask for none. */
  get defaultAssignor(): string {
    return this.#consumerGroups.defaultAssignor;
  }

  groups(): Iterable<AnyGroup> {
    return this.#groups.values();
  }

  getGroup(groupId: string): AnyGroup | undefined {
    return this.#groups.get(groupId);
  }

  // --- load ---

  /** Ends when the shard is active or closed; does not reject. */
  async load(): Promise<void> {
    const { clock, logger, settings, decompress, partition } = this.#options;
    const startedMs = clock.monotonicMs();
    const visitor = this.#visitor();
    const endOffset = await loadToEnd({
      log: this.#log,
      clock,
      bufferBytes: settings.loadBufferBytes,
      isClosed: () => this.#isClosed(),
      replay: (bytes, fromOffset) => replayBatches(bytes, fromOffset, decompress, visitor),
      onProblem: ({ isMalformed, message, offset, endOffset }) =>
        logger.warn(isMalformed ? "group.load-failed" : "group.load-waits", message, { partition, offset, endOffset }),
    });
    if (this.#isClosed()) return;
    this.#state = "active";
    for (const group of this.#groups.values()) {
      if (group.kind === "consumer") this.#consumerGroups.startSessions(group);
      else {
        group.startSessions();
        // Members get the chance to commit, and the last to come are turned away.
        if (group.roster.size > this.maxSize) group.rebalance("the group is above group.max.size");
        else if (this.#leaderless.has(group.groupId)) group.rebalance("nobody has given out its partitions since it became classic");
      }
    }
    this.#leaderless.clear();
    this.#rewrite.onLoaded();
    const tookMs = Math.round(clock.monotonicMs() - startedMs);
    if (endOffset > 0) {
      logger.info("group.loaded", "the groups of a partition are loaded", {
        partition,
        groups: this.#groups.size,
        offsets: this.offsets.count,
        endOffset,
        tookMs,
      });
    }
  }

  #isClosed(): boolean {
    return this.#state === "closed";
  }

  #visitor(): RecordVisitor {
    return {
      onOffset: (groupId, at, committed, producerId, isRestated) => this.#applyOffset(groupId, at, committed, producerId, isRestated),
      onMarker: (producerId, isCommit) => this.#endTransaction(producerId, isCommit),
      onGroup: (groupId, stored, { value }) => {
        this.#stored.note(groupId, value);
        this.#applyStoredGroup(groupId, stored);
      },
      onConsumerGroup: (groupId, change) => this.#consumerGroups.replay(groupId, change),
      onUnknown: (recordType) => {
        const { logger, partition } = this.#options;
        logger.warn("group.record-ignored", "a record of a kind that this version does not know", { partition, recordType });
      },
    };
  }

  #applyOffset(groupId: string, at: TopicPartition, committed: CommittedOffset | undefined, producerId?: number, isRestated = false): void {
    if (committed === undefined) {
      this.offsets.remove(groupId, at);
      this.pending.clear(groupId, at);
      return;
    }
    // Offsets of a group that nobody ever joined: a group without a protocol type.
    this.#getOrCreate(groupId);
    if (producerId !== undefined) {
      this.pending.put(producerId, groupId, at, committed);
      return;
    }
    this.offsets.put(groupId, at, committed);
    if (!isRestated) this.pending.outdate(groupId, at);
  }

  #endTransaction(producerId: number, isCommit: boolean): void {
    for (const { groupId, at, committed } of this.pending.end(producerId, isCommit)) {
      this.#getOrCreate(groupId);
      this.offsets.put(groupId, at, committed);
    }
  }

  #applyStoredGroup(groupId: string, stored: StoredGroup | undefined): void {
    if (stored !== undefined && stored.leaderId === undefined) this.#leaderless.add(groupId);
    else this.#leaderless.delete(groupId);
    if (stored !== undefined) this.#groups.set(groupId, ClassicGroup.restore(groupId, stored, this));
    else if (this.#groups.get(groupId)?.kind === "classic") this.#groups.delete(groupId);
  }

  #getOrCreate(groupId: string): AnyGroup {
    let group = this.#groups.get(groupId);
    if (group === undefined) {
      group = new ClassicGroup(groupId, this);
      this.#groups.set(groupId, group);
    }
    return group;
  }

  // --- membership ---

  /** A heartbeat of the consumer protocol; its answer leaves when all that it tells is durable. */
  heartbeatConsumer(request: ConsumerHeartbeat): Promise<HeartbeatAnswer | Refusal> {
    return this.#consumerGroups.heartbeat(request);
  }

  join(request: JoinRequest): Promise<JoinAnswer> {
    const { groupId, memberId } = request;
    const known = this.#groups.get(groupId);
    if (known?.kind === "consumer" && known.size > 0) return this.#consumerGroups.join(known, request);
    if (known === undefined && memberId !== "") return Promise.resolve(refuseJoin(memberId, "unknown-member"));
    const group = known?.kind === "classic" ? known : this.#createClassic(groupId, known);
    const { promise, resolve } = Promise.withResolvers<JoinAnswer>();
    group.join(request, resolve);
    return promise;
  }

  /** `former`: an empty group of the consumer protocol, whose place it takes. */
  #createClassic(groupId: string, former: ConsumerGroup | undefined): ClassicGroup {
    const group = new ClassicGroup(groupId, this);
    const tombstones = former?.tombstones().map((change) => encodeChange(groupId, change)) ?? [];
    this.#append([...tombstones, encodeNewGroup(group)], () => {});
    former?.end();
    this.#groups.set(groupId, group);
    return group;
  }

  sync(request: SyncRequest): Promise<SyncAnswer> {
    const group = this.#groups.get(request.groupId);
    if (group === undefined) return Promise.resolve(refuseSync("unknown-member"));
    if (group.kind === "consumer") return this.#consumerGroups.sync(group, request);
    const { promise, resolve } = Promise.withResolvers<SyncAnswer>();
    group.sync(request, resolve);
    return promise;
  }

  heartbeat(groupId: string, identity: MemberIdentity, generation: number): GroupError | undefined {
    const group = this.#groups.get(groupId);
    if (group === undefined) return "unknown-member";
    return group.kind === "consumer"
      ? this.#consumerGroups.beatClassic(group, identity, generation)
      : group.heartbeat(identity, generation);
  }

  /** The last one's leave is answered when the empty group is durable: it would come back with its member. Others begin a rebalance, which writes nothing. */
  leave(groupId: string, identities: readonly MemberIdentity[]): readonly LeaveResult[] | Promise<readonly LeaveResult[] | GroupError> {
    const group = this.#groups.get(groupId);
    if (group === undefined) return identities.map((identity) => ({ ...identity, error: "unknown-member" as const }));
    if (group.kind === "consumer") return this.#consumerGroups.leaveMany(group, identities);
    const results = group.leave(identities);
    return group.state === "Empty" ? this.whenDurable().then((failure) => failure ?? results) : results;
  }

  // --- offsets ---

  /** Per offset: undefined when it is durable. `isNewClient`: knows "group-not-found" (OffsetCommit v9). */
  commit(request: CommitRequest, isNewClient: boolean): Promise<GroupError | readonly (GroupError | undefined)[]> {
    const { groupId, generation } = request;
    const known = this.#groups.get(groupId);
    if (known === undefined && generation >= 0) return Promise.resolve(isNewClient ? "group-not-found" : "illegal-generation");
    const error = known === undefined ? undefined : this.#findCommitError(known, request, { isTransactional: false, isNewClient });
    if (error !== undefined) return Promise.resolve(error);
    if (known?.kind === "classic" && (known.state === "Stable" || known.state === "PreparingRebalance")) known.keepAlive(request.memberId);

    const nowMs = this.wallMs();
    const { retentionMs } = request;
    const expireTimestampMs = retentionMs === undefined ? undefined : BigInt.asIntN(64, BigInt(nowMs) + retentionMs);
    const results: (GroupError | undefined)[] = [];
    const commits: [TopicPartition, CommittedOffset][] = [];
    for (const { topic, partition, topicId, offset, leaderEpoch, metadata } of request.offsets) {
      const isTooLarge = metadata.length > this.#options.settings.offsetMetadataMaxBytes;
      results.push(isTooLarge ? "metadata-too-large" : undefined);
      if (isTooLarge) continue;
      const committed = { topicId, offset, leaderEpoch, metadata, commitTimestampMs: nowMs, expireTimestampMs };
      commits.push([{ topic, partition }, committed]);
    }
    if (commits.length === 0) return Promise.resolve(results);
    return this.#write(
      commits.map(([at, committed]) => encodeOffset(groupId, at, committed)),
      () => {
        for (const [at, committed] of commits) this.#applyOffset(groupId, at, committed);
        this.#options.metrics.commits.add(commits.length);
      },
    ).then((failure) => failure ?? results);
  }

  /** Of the whole request: by who commits, and by what is not refused on its own. */
  #findCommitError(group: AnyGroup, request: CommitRequest | TransactionalCommitRequest, kind: CommitKind): GroupError | undefined {
    const error = findCommitError(group, request, kind);
    if (error !== undefined || group.kind === "classic") return error;
    const { offsetMetadataMaxBytes } = this.#options.settings;
    return findStaleOffset(
      group,
      request,
      request.offsets.filter(({ metadata }) => metadata.length <= offsetMetadataMaxBytes),
    );
  }

  // --- transactions ---

  /** Offsets that count when the producer's transaction commits. Per offset: undefined when it is durable. */
  commitTransactional(request: TransactionalCommitRequest): Promise<TransactionalCommitResult> {
    const { promise, resolve } = this.#wait<TransactionalCommitResult>();
    // Rejects when the log is closed, or storage has failed: the shard ends then.
    this.#transactional.commit(request, resolve).catch(() => resolve("not-coordinator"));
    return promise;
  }

  /** Rejects with a Trouble. */
  writeMarker(marker: TransactionMarker): Promise<MarkerResult> {
    return this.#transactional.writeMarker(marker);
  }

  #findTransactionalError(request: TransactionalCommitRequest): GroupError | undefined {
    if (this.#isClosed()) return "not-coordinator";
    const known = this.#groups.get(request.groupId);
    const { isNewClient, generation } = request;
    if (known === undefined) return generation < 0 ? undefined : isNewClient ? "group-not-found" : "illegal-generation";
    const error = this.#findCommitError(known, request, { isTransactional: true, isNewClient });
    return error === "stale-member-epoch" && !isNewClient ? "illegal-generation" : error;
  }

  // --- reading and deleting ---

  /** Resolves with undefined when all that was committed so far is durable: what is read now may be told then. */
  whenDurable(): Promise<GroupError | undefined> {
    const { promise, resolve } = this.#wait<undefined>();
    this.#log.whenDurable(() => resolve(undefined));
    return promise;
  }

  /** Whether the member may be told offsets (OffsetFetch v9). */
  findFetchError(groupId: string, fetcher: OffsetFetcher | undefined): GroupError | undefined {
    const group = this.#groups.get(groupId);
    return fetcher === undefined || group?.kind !== "consumer" ? undefined : findFetchError(group, fetcher);
  }

  /** Topics have come, gone or grown: the next heartbeat of each group looks whether they are its own. */
  noteTopicsChanged(): void {
    for (const group of this.#groups.values()) if (group.kind === "consumer") group.isMetadataStale = true;
  }

  /** Offsets of a group; the caller awaits `whenDurable` before it tells them. */
  deleteOffsets(groupId: string, partitions: readonly TopicPartition[]): Promise<GroupError | readonly (GroupError | undefined)[]> {
    const group = this.#groups.get(groupId);
    if (group === undefined) return Promise.resolve("group-not-found");
    if (group.kind === "classic" && group.state !== "Empty" && !group.usesConsumerProtocol) return Promise.resolve("non-empty-group");
    const results = partitions.map(({ topic }) => (group.isSubscribedTo(topic) ? ("subscribed-to-topic" as const) : undefined));
    const isThere = (at: TopicPartition): boolean => this.offsets.get(groupId, at) !== undefined || this.pending.has(groupId, at);
    const gone = partitions.filter((at, index) => results[index] === undefined && isThere(at));
    return this.#removeOffsets(gone.map((at) => [groupId, at])).then((failure) => failure ?? results);
  }

  deleteGroup(groupId: string): Promise<GroupError | undefined> {
    const group = this.#groups.get(groupId);
    if (group === undefined) return Promise.resolve("group-not-found");
    if (group.state !== "Empty") return Promise.resolve("non-empty-group");
    return this.#removeGroup(group, "deleted by a client");
  }

  #removeGroup(group: AnyGroup, why: string): Promise<GroupError | undefined> {
    const { groupId } = group;
    const offsets = Array.from(this.offsets.entries(groupId), ([at]) => at);
    for (const at of this.pending.ofGroup(groupId)) if (this.offsets.get(groupId, at) === undefined) offsets.push(at);
    const own =
      group.kind === "classic" ? [encodeGroupTombstone(groupId)] : group.tombstones().map((change) => encodeChange(groupId, change));
    const records = [...offsets.map((at) => encodeOffsetTombstone(groupId, at)), ...own];
    return this.#write(records, () => {
      for (const at of offsets) this.#applyOffset(groupId, at, undefined);
      this.#groups.delete(groupId);
      group.end("unknown-member");
      this.#options.logger.info("group.deleted", why, { group: groupId, offsets: offsets.length });
    });
  }

  #removeOffsets(gone: readonly (readonly [string, TopicPartition])[]): Promise<GroupError | undefined> {
    if (gone.length === 0) return Promise.resolve(undefined);
    return this.#write(
      gone.map(([groupId, at]) => encodeOffsetTombstone(groupId, at)),
      () => {
        for (const [groupId, at] of gone) this.#applyOffset(groupId, at, undefined);
      },
    );
  }

  // --- housekeeping ---

  /** Offsets whose time is up, and groups that have nothing left. */
  expire(): Promise<void> {
    const expireOne = (group: AnyGroup): void => this.#expire(group);
    return inStretches(this.#options.clock, [...this.#groups.values()], expireOne, () => this.#isClosed());
  }

  #expire(group: AnyGroup): void {
    const { groupId } = group;
    if (this.#groups.get(groupId) !== group) return;
    const { settings, metrics } = this.#options;
    const isPending = (at: TopicPartition): boolean => this.pending.has(groupId, at);
    const context = { nowMs: this.wallMs(), retentionMs: settings.offsetsRetentionMs, isPending };
    const { expired, isAll } = findExpiredOffsets(group, this.offsets.ofGroup(groupId), context);
    if (expired.length > 0) {
      metrics.expiredOffsets.add(expired.length);
      void this.#removeOffsets(expired.map((at) => [groupId, at]));
    }
    const isEmpty = group.state === "Empty" && (group.kind === "consumer" || group.pendingJoinCount === 0);
    const isUnused = isAll && isEmpty && !this.pending.hasGroup(groupId);
    if (isUnused) void this.#removeGroup(group, "empty, and without offsets");
  }

  /** Offsets of topics that are gone: `isGone` says so of a topic's name and the id that the commit was made for. */
  removeOffsetsOf(isGone: (topic: string, topicId: string) => boolean): Promise<void> {
    const undecided: [string, TopicPartition][] = [];
    for (const { groupId, at, committed } of this.pending.all()) {
      if (isGone(at.topic, committed.topicId) && this.offsets.get(groupId, at) === undefined) undecided.push([groupId, at]);
    }
    void this.#removeOffsets(undecided);
    const topics = this.offsets.takeTopics(isGone);
    if (topics.length === 0) return Promise.resolve();
    const remove = (groupId: string): void => this.#removeGone(groupId, topics, isGone);
    return inStretches(this.#options.clock, [...this.offsets.groupIds()], remove, () => this.#isClosed());
  }

  #removeGone(groupId: string, topics: readonly string[], isGone: (topic: string, topicId: string) => boolean): void {
    const gone: [string, TopicPartition][] = [];
    const offsets = this.offsets.ofGroup(groupId);
    for (const topic of topics) {
      for (const [partition, { topicId }] of offsets.get(topic) ?? [])
        if (isGone(topic, topicId)) gone.push([groupId, { topic, partition }]);
    }
    void this.#removeOffsets(gone);
  }

  /** Nothing is answered after it but "not-coordinator" (or what `error` says). */
  close(error: GroupError = "not-coordinator"): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#log.close();
    for (const group of this.#groups.values()) group.end(error);
    for (const deadline of this.#storeDeadlines) deadline.cancel();
    for (const fail of [...this.#waiting]) fail(error);
    this.#waiting.clear();
  }

  // --- appends ---

  /** Applies and appends; resolves when durable, or with why nothing was done. Memory and log take it in the same order. */
  #write(records: readonly GroupRecord[], apply: () => void): Promise<GroupError | undefined> {
    const { promise, resolve } = this.#wait<undefined>();
    const failure = this.#append(records, () => resolve(undefined), apply);
    if (failure !== undefined) resolve(failure);
    return promise;
  }

  #append(records: readonly GroupRecord[], done: () => void, apply?: () => void): GroupError | undefined {
    const batches = this.#build(records);
    if (batches === undefined) return "record-too-large";
    apply?.();
    for (const { key, value } of records) {
      const groupId = readGroupKey(key);
      if (groupId !== undefined) this.#stored.note(groupId, value);
    }
    this.#log.append(batches, done);
    return undefined;
  }

  #build(records: readonly GroupRecord[]) {
    return buildBatches(records, this.wallMs(), this.#options.maxBatchBytes(), this.#options.crc32c);
  }

  /** A promise that the end of the shard, or `offsets.commit.timeout.ms`, resolves with its error. */
  #wait<T>(): { readonly promise: Promise<T | GroupError>; readonly resolve: (value: T | GroupError) => void } {
    const { promise, resolve } = Promise.withResolvers<T | GroupError>();
    if (this.#state === "closed") {
      resolve("not-coordinator");
      return { promise, resolve };
    }
    // The WAL may be full for long: the client asks again, and finds what became durable meanwhile.
    const deadline = this.timers.create(() => settle("not-available"));
    const settle = (value: T | GroupError): void => {
      deadline.cancel();
      this.#waiting.delete(settle);
      resolve(value);
    };
    deadline.start(this.#options.settings.commitTimeoutMs);
    this.#waiting.add(settle);
    return { promise, resolve: settle };
  }

  // --- what groups ask of their host ---

  get initialRebalanceDelayMs(): number {
    return this.#options.settings.initialRebalanceDelayMs;
  }

  get maxSize(): number {
    return this.#options.settings.maxSize;
  }

  wallMs(): number {
    return this.#options.clock.wallMs();
  }

  newUuid(): string {
    const hex = Buffer.from(randomUuidBytes(this.#options.random)).toString("hex");
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  store(group: GroupView, assignments: ReadonlyMap<string, Uint8Array>, done: (failure: GroupError | undefined) => void): void {
    let isDone = false;
    const finish = (outcome: GroupError | undefined): void => {
      if (isDone) return;
      isDone = true;
      deadline.cancel();
      this.#storeDeadlines.delete(deadline);
      done(outcome);
    };
    const deadline = this.timers.create(() => finish("not-available"));
    deadline.start(this.#options.settings.commitTimeoutMs);
    this.#storeDeadlines.add(deadline);
    const failure = this.#append([encodeGroup(group, assignments)], () => finish(undefined));
    if (failure === undefined) return;
    this.#options.logger.error("group.not-stored", "the group's state does not fit into one batch", {
      group: group.groupId,
      members: group.roster.size,
      maxBatchBytes: this.#options.maxBatchBytes(),
    });
    finish(failure);
  }

  onRebalanceStarted(group: GroupView, reason: string): void {
    noteRebalanceStarted(this.#options, group, reason);
  }

  onRebalanceJoined(group: GroupView): void {
    noteRebalanceJoined(this.#options, group);
  }

  onRebalanceCompleted(group: GroupView): void {
    noteRebalanceCompleted(this.#options, group);
  }

  onMembersExpired(group: GroupView, memberIds: readonly string[], why: string): void {
    noteMembersExpired(this.#options, group, memberIds, why);
  }
}
