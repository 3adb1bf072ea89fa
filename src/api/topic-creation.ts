/**
 * From what a client asks (CreateTopics, or Metadata with auto creation) to what the controller decides. The checks and their words are those of Kafka's
 * ReplicationControlManager; they are made against the image of this moment, and the controller decides again.
 */
import { findTopicConfigError } from "../config/topic-settings.ts";
import type { ImageView, NewTopic, TopicOutcome } from "../metadata/cluster-metadata.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import type { ApiServices } from "./services.ts";
import { findTopicNameError, hasCollisionChars, unifyCollisionChars } from "./topic-names.ts";

export interface ApiError {
  readonly code: number;
  readonly message: string | null;
}

export interface TopicRequest {
  readonly name: string;
  /** -1: the broker's default. */
  readonly partitionCount: number;
  /** -1: the broker's default. */
  readonly replicationFactor: number;
  readonly assignments: readonly { readonly partitionIndex: number; readonly brokerIds: readonly number[] }[];
  readonly configs: readonly { readonly name: string; readonly value: string | null }[];
}

/** Partitions that one request may make: bounded so that it cannot fill the image. */
const MAX_PARTITIONS_PER_REQUEST = 10_000;
const MAX_REPLICATION_FACTOR = 0x7fff;

/** Checks one topic; the answer is what to create, or Kafka's error. */
export function planTopic(services: ApiServices, request: TopicRequest): NewTopic | ApiError {
  const { image } = services.metadata;
  const nameError = findTopicNameError(request.name);
  if (nameError !== undefined) return { code: ErrorCodes.INVALID_TOPIC_EXCEPTION, message: nameError };
  if (image.getTopic(request.name) !== undefined) return topicExists(request.name);
  const colliding = findColliding(image, request.name);
  if (colliding !== undefined) {
    return { code: ErrorCodes.INVALID_TOPIC_EXCEPTION, message: `Topic '${request.name}' collides with existing topic: ${colliding}` };
  }
  const configs = planConfigs(services, request);
  if ("code" in configs) return configs;
  const shape = request.assignments.length > 0 ? planAssigned(image, request) : planCounted(services, request);
  if ("code" in shape) return shape;
  return { name: request.name, ...shape, configs };
}

function findColliding(image: ImageView, name: string): string | undefined {
  if (!hasCollisionChars(name)) return undefined;
  const unified = unifyCollisionChars(name);
  // The plain form is what most collisions are with: no scan for it.
  const direct = image.getTopic(unified);
  if (direct !== undefined) return direct.name;
  for (const topic of image.topics()) {
    if (hasCollisionChars(topic.name) && unifyCollisionChars(topic.name) === unified) return topic.name;
  }
  return undefined;
}

function planConfigs(services: ApiServices, request: TopicRequest): ReadonlyMap<string, string> | ApiError {
  const configs = new Map<string, string>();
  const nulls: string[] = [];
  for (const { name, value } of request.configs) {
    if (value === null) nulls.push(name);
    else configs.set(name, value);
  }
  if (nulls.length > 0)
    return { code: ErrorCodes.INVALID_CONFIG, message: `Null value not supported for topic configs: ${nulls.join(",")}` };
  const error = findTopicConfigError(services.config, configs);
  return error === undefined ? configs : { code: ErrorCodes.INVALID_CONFIG, message: error };
}

interface TopicShape {
  readonly partitionCount: number;
  readonly replicationFactor: number;
}

function planCounted(services: ApiServices, request: TopicRequest): TopicShape | ApiError {
  const { replicationFactor, partitionCount } = request;
  if (replicationFactor < -1 || replicationFactor === 0) {
    return {
      code: ErrorCodes.INVALID_REPLICATION_FACTOR,
      message: "Replication factor must be larger than 0, or -1 to use the default value.",
    };
  }
  if (partitionCount < -1 || partitionCount === 0) {
    return { code: ErrorCodes.INVALID_PARTITIONS, message: "Number of partitions was set to an invalid non-positive value." };
  }
  const shape = {
    partitionCount: partitionCount === -1 ? services.config.getNumber("num.partitions") : partitionCount,
    replicationFactor: replicationFactor === -1 ? services.config.getNumber("default.replication.factor") : replicationFactor,
  };
  return findCountError(shape.partitionCount) ?? shape;
}

/** Kafka bounds a whole request, before it looks at any topic of it. `what`: "partitions" of new topics, "additional partitions" of ones that grow. */
export function findCountError(partitionCount: number, what = "partitions"): ApiError | undefined {
  if (partitionCount <= MAX_PARTITIONS_PER_REQUEST) return undefined;
  return { code: ErrorCodes.POLICY_VIOLATION, message: `Excessively large number of ${what} per request.` };
}

/** Weir places partitions itself; an assignment must be one that Kafka would take, and says how many partitions and replicas. */
function planAssigned(image: ImageView, request: TopicRequest): TopicShape | ApiError {
  const refuse = (message: string): ApiError => ({ code: ErrorCodes.INVALID_REQUEST, message });
  if (request.replicationFactor !== -1) {
    return refuse("A manual partition assignment was specified, but replication factor was not set to -1.");
  }
  if (request.partitionCount !== -1) {
    return refuse("A manual partition assignment was specified, but numPartitions was not set to -1.");
  }
  const indexes = new Set<number>();
  let replicationFactor: number | undefined;
  for (const { partitionIndex, brokerIds } of request.assignments) {
    if (indexes.has(partitionIndex)) {
      return badAssignment(`Found multiple manual partition assignments for partition ${partitionIndex}`);
    }
    indexes.add(partitionIndex);
    const error = findAssignmentError(image, brokerIds, replicationFactor);
    if (error !== undefined) return error;
    replicationFactor = brokerIds.length;
  }
  for (let index = 0; index < indexes.size; index++) {
    if (!indexes.has(index)) return badAssignment("partitions should be a consecutive 0-based integer sequence");
  }
  return (
    findCountError(indexes.size) ?? {
      partitionCount: indexes.size,
      replicationFactor: Math.min(replicationFactor ?? 1, MAX_REPLICATION_FACTOR),
    }
  );
}

function badAssignment(message: string): ApiError {
  return { code: ErrorCodes.INVALID_REPLICA_ASSIGNMENT, message };
}

export function findAssignmentError(
  image: ImageView,
  brokerIds: readonly number[],
  replicationFactor: number | undefined,
): ApiError | undefined {
  if (brokerIds.length === 0) return badAssignment("The manual partition assignment includes an empty replica list.");
  const known = new Set(image.brokers().map((broker) => broker.nodeId));
  const sorted = [...brokerIds].sort((a, b) => a - b);
  for (const [index, brokerId] of sorted.entries()) {
    if (!known.has(brokerId)) {
      return badAssignment(`The manual partition assignment includes broker ${brokerId}, but no such broker is registered.`);
    }
    if (index > 0 && sorted[index - 1] === brokerId) {
      return badAssignment(`The manual partition assignment includes the broker ${brokerId} more than once.`);
    }
  }
  if (replicationFactor === undefined || sorted.length === replicationFactor) return undefined;
  return badAssignment(
    `The manual partition assignment includes a partition with ${sorted.length} replica(s), but this is not consistent with previous partitions, which have ${replicationFactor} replica(s).`,
  );
}

export function topicExists(name: string): ApiError {
  return { code: ErrorCodes.TOPIC_ALREADY_EXISTS, message: `Topic '${name}' already exists.` };
}

/** What the controller decided, when it did not do it. */
export function outcomeError(outcome: Exclude<TopicOutcome, { kind: "done" }>, name: string): ApiError {
  switch (outcome.kind) {
    case "exists":
      return topicExists(name);
    case "unknown-topic":
      return { code: ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION, message: "This server does not host this topic-partition." };
    case "invalid-partitions":
      return { code: ErrorCodes.INVALID_PARTITIONS, message: outcome.message };
    case "limit-exceeded":
      return { code: ErrorCodes.POLICY_VIOLATION, message: outcome.message };
  }
}

/** The controller could not be reached in time: the change may or may not be made. */
export const TIMED_OUT: ApiError = { code: ErrorCodes.REQUEST_TIMED_OUT, message: "The request timed out." };
