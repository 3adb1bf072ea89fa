/**
 * Offsets within transactions (TxnOffsetCommit, KIP-98, KIP-447, KIP-890) and the markers that end them, in one partition of __consumer_offsets.
 *
 * The transaction coordinator is asked before a transaction's first offsets; the append looks again, with the guard that the question gave. Both appends
 * may be refused, so they take their turn on the log, and memory changes in the moment in which the log does.
 */
import { assert } from "../../base/assert.ts";
import type { Clock } from "../../base/clock.ts";
import type { MarkerResult } from "../../coordinator/marker-writer.ts";
import type { ShardLog } from "../../coordinator/shard-log.ts";
import type { TopicPartition } from "../../coordinator/topic-partition.ts";
import { MARKER_BATCH_BYTES, type TransactionGate, type TransactionMarker } from "../../partition/transaction-ports.ts";
import { NO_GUARD } from "../../partition/verification.ts";
import type { Crc32c } from "../../protocol/record-batch.ts";
import { buildTransactionalBatch, encodeOffset } from "../group-records.ts";
import type { CommittedOffset, GroupError, TransactionalCommitRequest, TransactionRefusal } from "../group-types.ts";

export interface TransactionalCommitsOptions {
  readonly topicName: string;
  readonly topicId: string;
  readonly partition: number;
  readonly log: ShardLog;
  readonly gate: TransactionGate;
  readonly clock: Clock;
  readonly crc32c: Crc32c;
  readonly offsetMetadataMaxBytes: number;
  maxBatchBytes(): number;
  /** May the offsets be committed now? Group, member, and its generation or epoch. */
  findError(request: TransactionalCommitRequest): GroupError | undefined;
  /** In memory. */
  putPending(producerId: number, groupId: string, at: TopicPartition, committed: CommittedOffset): void;
  endTransaction(producerId: number, isCommit: boolean): void;
}

export type TransactionalCommitResult = GroupError | TransactionRefusal | readonly (GroupError | undefined)[];

export class TransactionalCommits {
  readonly #options: TransactionalCommitsOptions;

  constructor(options: TransactionalCommitsOptions) {
    this.#options = options;
  }

  /** Per offset: undefined when it is durable; or why nothing was done. `done` is called with it, at most once. */
  async commit(request: TransactionalCommitRequest, done: (result: TransactionalCommitResult) => void): Promise<void> {
    const { producerId, producerEpoch } = request;
    const guard = await this.#verify(request);
    if (typeof guard !== "number") return done(guard);
    const { log, clock, crc32c, findError } = this.#options;
    const nowMs = clock.wallMs();
    const { results, commits } = this.#sort(request, nowMs);
    const refusal = findError(request);
    if (refusal !== undefined || commits.length === 0) return done(refusal ?? results);
    const records = commits.map(([at, committed]) => encodeOffset(request.groupId, at, committed));
    const batch = buildTransactionalBatch(records, { producerId, producerEpoch }, nowMs, this.#options.maxBatchBytes(), crc32c);
    if (batch === undefined) return done("record-too-large");
    const failure = await log.appendInTurn(batch.bytes.length, (reservation): GroupError | undefined => {
      // The wait for room may have been long.
      const lateError = findError(request);
      if (lateError !== undefined) return lateError;
      const outcome = log.log.append(batch, reservation, nowMs, guard);
      if (outcome.kind === "stale-epoch") return "stale-producer-epoch";
      if (outcome.kind === "not-owner") return "not-coordinator";
      if (outcome.kind === "invalid-transaction-state") return outcome.kind;
      assert(outcome.kind === "appended", "a batch without sequences is neither a duplicate nor out of order");
      for (const [at, committed] of commits) this.#options.putPending(producerId, request.groupId, at, committed);
      log.noteAppended(() => done(results));
      return undefined;
    });
    if (failure !== undefined) done(failure);
  }

  #sort(request: TransactionalCommitRequest, nowMs: number) {
    const results: (GroupError | undefined)[] = [];
    const commits: [TopicPartition, CommittedOffset][] = [];
    for (const { topic, partition, topicId, offset, leaderEpoch, metadata } of request.offsets) {
      const isTooLarge = metadata.length > this.#options.offsetMetadataMaxBytes;
      results.push(isTooLarge ? "metadata-too-large" : undefined);
      if (isTooLarge) continue;
      const committed = { topicId, offset, leaderEpoch, metadata, commitTimestampMs: nowMs, expireTimestampMs: undefined };
      commits.push([{ topic, partition }, committed]);
    }
    return { results, commits };
  }

  /** A guard for the append; or why there may be none. */
  async #verify(request: TransactionalCommitRequest): Promise<number | GroupError | TransactionRefusal> {
    const { log, gate, clock, topicName, topicId, partition } = this.#options;
    const { transactionalId, producerId, producerEpoch, addsPartition, isVerified } = request;
    if (!isVerified) return NO_GUARD;
    const start = { producerId, producerEpoch, baseSequence: -1, supportsEpochBump: addsPartition };
    const guard = log.log.startVerification(start, clock.wallMs());
    if (guard === "stale-epoch") return "stale-producer-epoch";
    if (guard === "not-owner") return "not-coordinator";
    if (guard === NO_GUARD) return guard;
    const mode = addsPartition ? "add" : "verify";
    const partitions = [{ topicName, topicId, partition }];
    const [code = 0] = await gate.verify({ transactionalId, producerId, producerEpoch, partitions, mode });
    return code === 0 ? guard : { gateCode: code };
  }

  /** Resolves when the marker is durable; the offsets of the transaction count from then on, or are gone. Rejects with a Trouble. */
  async writeMarker(marker: TransactionMarker): Promise<MarkerResult> {
    const { log, clock, endTransaction } = this.#options;
    const { promise, resolve } = Promise.withResolvers<MarkerResult>();
    const outcome = await log.appendInTurn(MARKER_BATCH_BYTES, (reservation) => {
      const appended = log.log.appendMarker(marker, reservation, clock.wallMs());
      if (appended.kind !== "appended") return appended;
      endTransaction(marker.producerId, marker.isCommit);
      log.noteAppended(() => resolve("written"));
      return appended;
    });
    if (outcome === undefined) return "not-owner";
    return outcome.kind === "appended" ? promise : outcome.kind;
  }
}
