/**
 * TxnOffsetCommit (key 28), versions 0-6.
 *
 * Behaviour: offsets that count when the producer's transaction commits; answered when durable. Member and generation, or member epoch (KIP-848), are checked from v3
 * (KIP-447); up to v4 the group's partition must be part of the transaction (AddOffsetsToTxn), from v5 the request adds it (KIP-890); topic ids from v6.
 *
 * Not done: authorisation.
 */
import type { OffsetToCommit } from "../group/group-types.ts";
import type { TransactionalCommitResult } from "../group/offsets/transactional-commits.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  newTxnOffsetCommitResponse,
  newTxnOffsetCommitResponsePartition,
  newTxnOffsetCommitResponseTopic,
  type TxnOffsetCommitRequest,
  type TxnOffsetCommitRequestTopic,
  type TxnOffsetCommitResponse,
  type TxnOffsetCommitResponsePartition,
  type TxnOffsetCommitResponseTopic,
  txnOffsetCommitApi,
} from "../protocol/messages/txn-offset-commit.ts";
import { groupErrorCode, resolveTopic } from "./group-answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { toProducerId } from "./transaction-answers.ts";

const KNOWS_LOADING_FROM = 2;
const KNOWS_ABORTABLE_FROM = 4;
const ADDS_PARTITION_FROM = 5;
const FIRST_WITH_TOPIC_IDS = 6;

/** A commit on its way: the answers stand in the order of `offsets`. */
interface Commit {
  readonly offsets: OffsetToCommit[];
  readonly answers: TxnOffsetCommitResponsePartition[];
}

export class TxnOffsetCommitHandler implements SerialHandler<TxnOffsetCommitRequest, TxnOffsetCommitResponse> {
  readonly kind = "serial";
  readonly api = txnOffsetCommitApi;
  readonly minVersion = 0;
  readonly maxVersion = 6;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: TxnOffsetCommitRequest, { apiVersion }: RequestContext): Promise<TxnOffsetCommitResponse> {
    const commit: Commit = { offsets: [], answers: [] };
    const topics = request.topics.map((topic) => this.#prepare(topic, apiVersion >= FIRST_WITH_TOPIC_IDS, commit));
    if (commit.offsets.length > 0) {
      const result = await this.#commit(request, apiVersion, commit.offsets);
      commit.answers.forEach((answer, index) => {
        answer.errorCode = codeOf(result, index, apiVersion);
      });
    }
    return newTxnOffsetCommitResponse({ topics });
  }

  async #commit(
    request: TxnOffsetCommitRequest,
    apiVersion: number,
    offsets: readonly OffsetToCommit[],
  ): Promise<TransactionalCommitResult> {
    const { groups, config } = this.#services;
    if (request.groupId === "") return { gateCode: ErrorCodes.INVALID_GROUP_ID };
    const addsPartition = apiVersion >= ADDS_PARTITION_FROM;
    return groups.commitTransactional({
      groupId: request.groupId,
      memberId: request.memberId,
      groupInstanceId: request.groupInstanceId ?? undefined,
      generation: request.generationIdOrMemberEpoch,
      transactionalId: request.transactionalId,
      producerId: toProducerId(request.producerId),
      producerEpoch: request.producerEpoch,
      addsPartition,
      isVerified: addsPartition || config.getBoolean("transaction.partition.verification.enable"),
      isNewClient: apiVersion >= FIRST_WITH_TOPIC_IDS,
      offsets,
    });
  }

  #prepare(topic: TxnOffsetCommitRequestTopic, byId: boolean, commit: Commit): TxnOffsetCommitResponseTopic {
    const known = resolveTopic(this.#services, topic, byId);
    const { image } = this.#services.metadata;
    const partitions = topic.partitions.map((wanted) => {
      const answer = newTxnOffsetCommitResponsePartition({ partitionIndex: wanted.partitionIndex });
      if (known === undefined) {
        answer.errorCode = byId ? ErrorCodes.UNKNOWN_TOPIC_ID : ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION;
      } else if (image.getPartition(known.topicId, wanted.partitionIndex) === undefined) {
        answer.errorCode = ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION;
      } else {
        commit.answers.push(answer);
        commit.offsets.push({
          topic: known.name,
          topicId: known.topicId,
          partition: wanted.partitionIndex,
          offset: wanted.committedOffset,
          leaderEpoch: wanted.committedLeaderEpoch,
          metadata: wanted.committedMetadata ?? "",
        });
      }
      return answer;
    });
    return newTxnOffsetCommitResponseTopic(byId ? { topicId: topic.topicId, partitions } : { name: topic.name, partitions });
  }
}

function codeOf(result: TransactionalCommitResult, index: number, apiVersion: number): number {
  const code = rawCodeOf(result, index);
  if (code === ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS && apiVersion < KNOWS_LOADING_FROM) return ErrorCodes.COORDINATOR_NOT_AVAILABLE;
  return code === ErrorCodes.TRANSACTION_ABORTABLE && apiVersion < KNOWS_ABORTABLE_FROM ? ErrorCodes.INVALID_TXN_STATE : code;
}

function rawCodeOf(result: TransactionalCommitResult, index: number): number {
  if (typeof result === "string") return result === "record-too-large" ? ErrorCodes.INVALID_COMMIT_OFFSET_SIZE : groupErrorCode(result);
  if (!("gateCode" in result)) return groupErrorCode(result[index]);
  // The transaction coordinator's words in those that a group's clients know (AddPartitionsToTxnManager, CoordinatorOperationExceptionHelper).
  switch (result.gateCode) {
    case ErrorCodes.PRODUCER_FENCED:
      return ErrorCodes.INVALID_PRODUCER_EPOCH;
    case ErrorCodes.NETWORK_EXCEPTION:
      return ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS;
    case ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION:
    case ErrorCodes.NOT_ENOUGH_REPLICAS:
    case ErrorCodes.REQUEST_TIMED_OUT:
      return ErrorCodes.COORDINATOR_NOT_AVAILABLE;
    default:
      return result.gateCode;
  }
}
