/** CreatePartitions (key 37), versions 0-3. Kafka's checks and messages; validateOnly; assignments are checked, placement is Weir's own. */
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type CreatePartitionsRequest,
  type CreatePartitionsResponse,
  type CreatePartitionsTopic,
  type CreatePartitionsTopicResult,
  createPartitionsApi,
  newCreatePartitionsResponse,
  newCreatePartitionsTopicResult,
} from "../protocol/messages/create-partitions.ts";
import { clampDeadline } from "./answers.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { type ApiError, findAssignmentError, findCountError, outcomeError, TIMED_OUT } from "./topic-creation.ts";
import { findRepeated } from "./topic-names.ts";

interface Growth {
  readonly name: string;
  readonly topicId: string;
  readonly totalCount: number;
}

export class CreatePartitionsHandler implements SerialHandler<CreatePartitionsRequest, CreatePartitionsResponse> {
  readonly kind = "serial";
  readonly api = createPartitionsApi;
  readonly minVersion = 0;
  readonly maxVersion = 3;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: CreatePartitionsRequest): Promise<CreatePartitionsResponse> {
    const repeated = findRepeated(request.topics.map((topic) => topic.name));
    const results = new Map<string, CreatePartitionsTopicResult>();
    const growths: Growth[] = [];
    const tooMany = this.#findTotalError(request.topics.filter(({ name }) => !repeated.has(name)));
    if (tooMany !== undefined) return newCreatePartitionsResponse({ results: request.topics.map(({ name }) => describe(name, tooMany)) });
    for (const topic of request.topics) {
      if (results.has(topic.name)) continue;
      const plan = repeated.has(topic.name) ? { code: ErrorCodes.INVALID_REQUEST, message: "Duplicate topic name." } : this.#plan(topic);
      if ("code" in plan) results.set(topic.name, describe(topic.name, plan));
      else if (request.validateOnly) results.set(topic.name, describe(topic.name, undefined));
      else growths.push(plan);
    }
    if (growths.length > 0) await this.#grow(growths, request.timeoutMs, results);
    return newCreatePartitionsResponse({ results: [...results.values()] });
  }

  #findTotalError(topics: readonly CreatePartitionsTopic[]): ApiError | undefined {
    const { image } = this.#services.metadata;
    const additional = topics.map(({ name, count }) => Math.max(0, count - (image.getTopic(name)?.partitionCount ?? count)));
    return findCountError(
      additional.reduce((total, each) => total + each, 0),
      "additional partitions",
    );
  }

  #plan(request: CreatePartitionsTopic): Growth | ApiError {
    const { image } = this.#services.metadata;
    const { name, count, assignments } = request;
    const topic = image.getTopic(name);
    if (topic === undefined) return { code: ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION, message: null };
    if (count === topic.partitionCount) {
      return { code: ErrorCodes.INVALID_PARTITIONS, message: `Topic already has ${topic.partitionCount} partition(s).` };
    }
    if (count < topic.partitionCount) {
      const message = `The topic ${name} currently has ${topic.partitionCount} partition(s); ${count} would not be an increase.`;
      return { code: ErrorCodes.INVALID_PARTITIONS, message };
    }
    const additional = count - topic.partitionCount;
    if (assignments !== null && assignments.length !== additional) {
      return {
        code: ErrorCodes.INVALID_REPLICA_ASSIGNMENT,
        message: `Attempted to add ${additional} additional partition(s), but only ${assignments.length} assignment(s) were specified.`,
      };
    }
    for (const { brokerIds } of assignments ?? []) {
      // Partitions have one replica, and metadata says so: an assignment may name one, or as many as the topic asked for.
      const expected = brokerIds.length === 1 ? 1 : topic.replicationFactor;
      const error = findAssignmentError(image, brokerIds, expected);
      if (error !== undefined) return error;
    }
    return { name, topicId: topic.topicId, totalCount: count };
  }

  async #grow(growths: readonly Growth[], timeoutMs: number, results: Map<string, CreatePartitionsTopicResult>): Promise<void> {
    const { metadata, logger } = this.#services;
    try {
      const outcomes = await metadata.createPartitions(growths, clampDeadline(timeoutMs));
      growths.forEach(({ name }, index) => {
        const outcome = outcomes[index];
        if (outcome === undefined) results.set(name, describe(name, TIMED_OUT));
        else results.set(name, describe(name, outcome.kind === "done" ? undefined : outcomeError(outcome, name)));
      });
    } catch (error) {
      logger.warn("topic.grow-failed", (error as Error).message, { topics: growths.length });
      for (const { name } of growths) results.set(name, describe(name, TIMED_OUT));
    }
  }
}

function describe(name: string, error: ApiError | undefined): CreatePartitionsTopicResult {
  return newCreatePartitionsTopicResult({ name, errorCode: error?.code ?? ErrorCodes.NONE, errorMessage: error?.message ?? null });
}
