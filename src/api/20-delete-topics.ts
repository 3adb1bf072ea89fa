/**
 * DeleteTopics (key 20), versions 1-6: by name, and by id from v6. Answered when the metadata log holds it; records go away later.
 * Order of answers is the order asked for (Kafka shuffles to hide what a principal may not see; there is no authoriser yet).
 */
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type DeletableTopicResult,
  type DeleteTopicsRequest,
  type DeleteTopicsResponse,
  deleteTopicsApi,
  newDeletableTopicResult,
  newDeleteTopicsResponse,
} from "../protocol/messages/delete-topics.ts";
import { ZERO_UUID } from "../protocol/reader.ts";
import { clampDeadline } from "./answers.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { type ApiError, outcomeError, TIMED_OUT } from "./topic-creation.ts";
import { findRepeated } from "./topic-names.ts";

interface TopicRef {
  readonly name: string | null;
  readonly topicId: string;
}

const TOPIC_DELETION_DISABLED: ApiError = { code: ErrorCodes.TOPIC_DELETION_DISABLED, message: "Topic deletion is disabled." };

export class DeleteTopicsHandler implements SerialHandler<DeleteTopicsRequest, DeleteTopicsResponse> {
  readonly kind = "serial";
  readonly api = deleteTopicsApi;
  readonly minVersion = 1;
  readonly maxVersion = 6;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: DeleteTopicsRequest, context: RequestContext): Promise<DeleteTopicsResponse> {
    const refs: TopicRef[] = context.apiVersion >= 6 ? request.topics : request.topicNames.map((name) => ({ name, topicId: ZERO_UUID }));
    if (!this.#services.config.getBoolean("delete.topic.enable")) {
      const error = context.apiVersion >= 3 ? TOPIC_DELETION_DISABLED : { ...TOPIC_DELETION_DISABLED, code: ErrorCodes.INVALID_REQUEST };
      return newDeleteTopicsResponse({ responses: refs.map((ref) => describe(ref, error)) });
    }
    const responses: DeletableTopicResult[] = [];
    const resolved = this.#resolve(refs, responses);
    if (resolved.length > 0) await this.#delete(resolved, request.timeoutMs, responses);
    return newDeleteTopicsResponse({ responses });
  }

  /** The topics to delete; what is wrong goes to `responses`. */
  #resolve(refs: readonly TopicRef[], responses: DeletableTopicResult[]): { name: string; topicId: string }[] {
    const { image } = this.#services.metadata;
    const invalid = (message: string): ApiError => ({ code: ErrorCodes.INVALID_REQUEST, message });
    const repeatedNames = findRepeated(refs.flatMap((ref) => (ref.name !== null && ref.topicId === ZERO_UUID ? [ref.name] : [])));
    const repeatedIds = findRepeated(refs.flatMap((ref) => (ref.name === null && ref.topicId !== ZERO_UUID ? [ref.topicId] : [])));
    const resolved = new Map<string, { name: string; topicId: string }>();
    const told = new Set<string>();
    for (const ref of refs) {
      const { name, topicId } = ref;
      const isRepeated = name !== null ? repeatedNames.has(name) : repeatedIds.has(topicId);
      if (name === null && topicId === ZERO_UUID) responses.push(describe(ref, invalid("Neither topic name nor id were specified.")));
      else if (name !== null && topicId !== ZERO_UUID)
        responses.push(describe(ref, invalid("You may not specify both topic name and topic id.")));
      else if (isRepeated) {
        const key = name ?? topicId;
        if (!told.has(key)) responses.push(describe(ref, invalid(name !== null ? "Duplicate topic name." : "Duplicate topic id.")));
        told.add(key);
      } else {
        const topic = name !== null ? image.getTopic(name) : image.getTopicById(topicId);
        if (topic === undefined) responses.push(describe(ref, unknownTopic(name)));
        else if (resolved.has(topic.topicId)) {
          resolved.delete(topic.topicId);
          responses.push(describe(topic, invalid("The provided topic name maps to an ID that was already supplied.")));
        } else resolved.set(topic.topicId, { name: topic.name, topicId: topic.topicId });
      }
    }
    return [...resolved.values()];
  }

  async #delete(topics: readonly { name: string; topicId: string }[], timeoutMs: number, responses: DeletableTopicResult[]): Promise<void> {
    const { metadata, logger } = this.#services;
    try {
      const ids = topics.map((topic) => topic.topicId);
      const outcomes = await metadata.deleteTopics(ids, clampDeadline(timeoutMs));
      topics.forEach((topic, index) => {
        const outcome = outcomes[index];
        if (outcome === undefined) responses.push(describe(topic, TIMED_OUT));
        else responses.push(describe(topic, outcome.kind === "done" ? undefined : outcomeError(outcome, topic.name)));
      });
    } catch (error) {
      logger.warn("topic.delete-failed", (error as Error).message, { topics: topics.length });
      for (const topic of topics) responses.push(describe(topic, TIMED_OUT));
    }
  }
}

function unknownTopic(name: string | null): ApiError {
  if (name === null) return { code: ErrorCodes.UNKNOWN_TOPIC_ID, message: "This server does not host this topic ID." };
  return { code: ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION, message: "This server does not host this topic-partition." };
}

function describe(ref: TopicRef, error: ApiError | undefined): DeletableTopicResult {
  return newDeletableTopicResult({
    name: ref.name,
    topicId: ref.topicId,
    errorCode: error?.code ?? ErrorCodes.NONE,
    errorMessage: error?.message ?? null,
  });
}
