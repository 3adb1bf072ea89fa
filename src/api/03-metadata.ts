/**
 * Metadata (key 3), versions 0-13.
 *
 * Behaviour: null topics (v0: empty) means all, empty means none; topics by id from v12; unknown topics are created when broker and request both
 * allow it, and the answer already has their partitions with a leader. A partition lists exactly one replica, its owner, in sync.
 *
 * Not done: authorisation (every operation is answered as allowed), creation of Kafka's internal topics.
 */
import type { ImageView, NewTopic, TopicView } from "../metadata/cluster-metadata.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type MetadataRequest,
  type MetadataResponse,
  type MetadataResponsePartition,
  type MetadataResponseTopic,
  metadataApi,
  newMetadataResponse,
  newMetadataResponseBroker,
  newMetadataResponsePartition,
  newMetadataResponseTopic,
} from "../protocol/messages/metadata.ts";
import { ZERO_UUID } from "../protocol/reader.ts";
import { findEndpoint } from "./answers.ts";
import { CLUSTER_OPERATIONS, TOPIC_OPERATIONS } from "./authorized-operations.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { planTopic } from "./topic-creation.ts";
import { findTopicNameError, isInternalTopicName } from "./topic-names.ts";

export class MetadataHandler implements SerialHandler<MetadataRequest, MetadataResponse> {
  readonly kind = "serial";
  readonly api = metadataApi;
  readonly minVersion = 0;
  readonly maxVersion = 13;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: MetadataRequest, context: RequestContext): Promise<MetadataResponse> {
    const { apiVersion } = context;
    const { topics } = request;
    const isAll = topics === null || (apiVersion === 0 && topics.length === 0);
    if (!isAll && apiVersion < 12 && topics.some((topic) => topic.name === null || topic.topicId !== ZERO_UUID)) {
      return this.#refuseTopicIds(request);
    }
    if (!isAll) await this.#createUnknown(request);
    const { image } = this.#services.metadata;
    const answers = isAll ? Array.from(image.topics(), (topic) => describeTopic(image, topic)) : this.#describeNamed(request, image);
    if (apiVersion >= 8 && request.includeTopicAuthorizedOperations) {
      // As Kafka: also for names that are unknown or wrong, since it asks about the name; not for an unknown id.
      for (const answer of answers) if (answer.name !== null) answer.topicAuthorizedOperations = TOPIC_OPERATIONS;
    }
    return this.#answer(image, context, answers, request.includeClusterAuthorizedOperations);
  }

  #answer(image: ImageView, context: RequestContext, topics: MetadataResponseTopic[], withOperations: boolean): MetadataResponse {
    const response = newMetadataResponse({ clusterId: image.clusterId, controllerId: image.controllerNodeId, topics });
    for (const broker of image.brokers()) {
      const endpoint = broker.isFenced ? undefined : findEndpoint(broker, context.connection.listenerName);
      if (endpoint === undefined) continue;
      response.brokers.push(
        newMetadataResponseBroker({ nodeId: broker.nodeId, host: endpoint.host, port: endpoint.port, rack: broker.rack ?? null }),
      );
    }
    const { apiVersion } = context;
    if (withOperations && apiVersion >= 8 && apiVersion <= 10) response.clusterAuthorizedOperations = CLUSTER_OPERATIONS;
    return response;
  }

  #describeNamed(request: MetadataRequest, image: ImageView): MetadataResponseTopic[] {
    const requested = request.topics ?? [];
    const answers: MetadataResponseTopic[] = [];
    const seen = new Set<string>();
    // As in Kafka: where any topic is asked for by id, only those are answered.
    const usesIds = requested.some((topic) => topic.topicId !== ZERO_UUID);
    for (const { name, topicId } of requested) {
      if (usesIds && topicId === ZERO_UUID) continue;
      const key = usesIds ? topicId : (name ?? "");
      if (seen.has(key)) continue;
      seen.add(key);
      const topic = usesIds ? image.getTopicById(topicId) : image.getTopic(name ?? "");
      if (topic !== undefined) answers.push(describeTopic(image, topic));
      else if (usesIds) answers.push(newMetadataResponseTopic({ errorCode: ErrorCodes.UNKNOWN_TOPIC_ID, name: null, topicId }));
      else answers.push(describeUnknown(name ?? ""));
    }
    return answers;
  }

  /** Topic names that are unknown and right are created; whatever goes wrong shows as an unknown topic, and the client asks again. */
  async #createUnknown(request: MetadataRequest): Promise<void> {
    const { config, metadata, logger } = this.#services;
    if (!request.allowAutoTopicCreation || !config.getBoolean("auto.create.topics.enable")) return;
    const plans = new Map<string, NewTopic>();
    for (const { name, topicId } of request.topics ?? []) {
      if (topicId !== ZERO_UUID || name === null || isInternalTopicName(name) || metadata.image.getTopic(name) !== undefined) continue;
      const plan = planTopic(this.#services, { name, partitionCount: -1, replicationFactor: -1, assignments: [], configs: [] });
      if ("name" in plan) plans.set(name, plan);
    }
    if (plans.size === 0) return;
    try {
      await metadata.createTopics([...plans.values()], config.getNumber("request.timeout.ms"));
    } catch (error) {
      logger.warn("topic.auto-create-failed", (error as Error).message, { topics: plans.size });
    }
  }

  #refuseTopicIds(request: MetadataRequest): MetadataResponse {
    const topics = (request.topics ?? []).map(({ name, topicId }) =>
      newMetadataResponseTopic({ errorCode: ErrorCodes.INVALID_REQUEST, name: name ?? "", topicId }),
    );
    return newMetadataResponse({ topics });
  }
}

function describeUnknown(name: string): MetadataResponseTopic {
  const errorCode = findTopicNameError(name) === undefined ? ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION : ErrorCodes.INVALID_TOPIC_EXCEPTION;
  return newMetadataResponseTopic({ errorCode, name, isInternal: isInternalTopicName(name) });
}

function describeTopic(image: ImageView, topic: TopicView): MetadataResponseTopic {
  const partitions: MetadataResponsePartition[] = [];
  for (let index = 0; index < topic.partitionCount; index++) partitions.push(describePartition(image, topic.topicId, index));
  return newMetadataResponseTopic({ name: topic.name, topicId: topic.topicId, isInternal: topic.isInternal, partitions });
}

function describePartition(image: ImageView, topicId: string, partitionIndex: number): MetadataResponsePartition {
  const view = image.getPartition(topicId, partitionIndex);
  if (view === undefined || view.ownerNodeId < 0) {
    return newMetadataResponsePartition({
      errorCode: ErrorCodes.LEADER_NOT_AVAILABLE,
      partitionIndex,
      leaderId: -1,
      leaderEpoch: view?.term ?? -1,
    });
  }
  const replicas = [view.ownerNodeId];
  return newMetadataResponsePartition({
    partitionIndex,
    leaderId: view.ownerNodeId,
    leaderEpoch: view.term,
    replicaNodes: replicas,
    isrNodes: replicas,
  });
}
