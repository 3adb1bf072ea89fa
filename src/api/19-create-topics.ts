/**
 * CreateTopics (key 19), versions 2-7.
 *
 * Behaviour: Kafka's checks and messages; validateOnly; any replication factor >= 1 or -1 is accepted and answered (Weir lists one replica whatever
 * it is); manual assignments are checked and give the number of partitions, placement is Weir's own. Answered when the metadata log holds it.
 *
 * Not done: quotas, policies, authorisation.
 */
import type { NewTopic, TopicView } from "../metadata/cluster-metadata.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type CreatableTopic,
  type CreatableTopicResult,
  type CreateTopicsRequest,
  type CreateTopicsResponse,
  createTopicsApi,
  newCreatableTopicConfigs,
  newCreatableTopicResult,
  newCreateTopicsResponse,
} from "../protocol/messages/create-topics.ts";
import { clampDeadline } from "./answers.ts";
import { describeCreatedConfigs } from "./config-answers.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";
import { type ApiError, findCountError, outcomeError, planTopic, TIMED_OUT } from "./topic-creation.ts";
import { CLUSTER_METADATA_TOPIC, findRepeated } from "./topic-names.ts";

export class CreateTopicsHandler implements SerialHandler<CreateTopicsRequest, CreateTopicsResponse> {
  readonly kind = "serial";
  readonly api = createTopicsApi;
  readonly minVersion = 2;
  readonly maxVersion = 7;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: CreateTopicsRequest): Promise<CreateTopicsResponse> {
    const repeated = findRepeated(request.topics.map((topic) => topic.name));
    const results = new Map<string, CreatableTopicResult>();
    const plans: NewTopic[] = [];
    const tooMany = this.#findTotalError(request.topics.filter(({ name }) => !repeated.has(name) && name !== CLUSTER_METADATA_TOPIC));
    if (tooMany !== undefined) return newCreateTopicsResponse({ topics: request.topics.map(({ name }) => describeError(name, tooMany)) });
    for (const topic of request.topics) {
      if (results.has(topic.name)) continue;
      const plan = this.#plan(topic, repeated);
      if ("code" in plan) results.set(topic.name, describeError(topic.name, plan));
      else if (request.validateOnly) results.set(topic.name, this.#describe(plan, undefined));
      else plans.push(plan);
    }
    if (plans.length > 0) await this.#create(plans, request.timeoutMs, results);
    return newCreateTopicsResponse({ topics: [...results.values()] });
  }

  #findTotalError(topics: readonly CreatableTopic[]): ApiError | undefined {
    const usual = this.#services.config.getNumber("num.partitions");
    const counts = topics.map(({ assignments, numPartitions }) => {
      if (assignments.length > 0) return assignments.length;
      return numPartitions === -1 ? usual : Math.max(0, numPartitions);
    });
    return findCountError(counts.reduce((total, count) => total + count, 0));
  }

  #plan(topic: CreatableTopic, repeated: ReadonlySet<string>): NewTopic | ApiError {
    if (repeated.has(topic.name)) return { code: ErrorCodes.INVALID_REQUEST, message: "Duplicate topic name." };
    if (topic.name === CLUSTER_METADATA_TOPIC) {
      return { code: ErrorCodes.INVALID_REQUEST, message: `Creation of internal topic ${CLUSTER_METADATA_TOPIC} is prohibited.` };
    }
    return planTopic(this.#services, {
      name: topic.name,
      partitionCount: topic.numPartitions,
      replicationFactor: topic.replicationFactor,
      assignments: topic.assignments,
      configs: topic.configs,
    });
  }

  async #create(plans: readonly NewTopic[], timeoutMs: number, results: Map<string, CreatableTopicResult>): Promise<void> {
    try {
      const outcomes = await this.#services.metadata.createTopics(plans, clampDeadline(timeoutMs));
      plans.forEach((plan, index) => {
        const outcome = outcomes[index];
        if (outcome?.kind === "done") results.set(plan.name, this.#describe(plan, outcome.topic));
        else results.set(plan.name, describeError(plan.name, outcome === undefined ? TIMED_OUT : outcomeError(outcome, plan.name)));
      });
    } catch (error) {
      this.#services.logger.warn("topic.create-failed", (error as Error).message, { topics: plans.length });
      for (const plan of plans) results.set(plan.name, describeError(plan.name, TIMED_OUT));
    }
  }

  #describe(plan: NewTopic, created: TopicView | undefined): CreatableTopicResult {
    const configs = describeCreatedConfigs(this.#services.config, plan.configs).map(({ name, value, source }) =>
      newCreatableTopicConfigs({ name, value, configSource: source, readOnly: false, isSensitive: false }),
    );
    const result = newCreatableTopicResult({
      name: plan.name,
      errorMessage: null,
      numPartitions: plan.partitionCount,
      replicationFactor: plan.replicationFactor,
      configs,
    });
    if (created !== undefined) result.topicId = created.topicId;
    return result;
  }
}

function describeError(name: string, error: ApiError): CreatableTopicResult {
  return newCreatableTopicResult({
    name,
    errorCode: error.code,
    errorMessage: error.message,
    numPartitions: -1,
    replicationFactor: -1,
    configs: [],
  });
}
