/**
 * ConsumerGroupDescribe (key 69), versions 0-1 (KIP-848).
 *
 * Behaviour: groups of the consumer protocol with their members, what each has and what it shall have; from v1 which protocol a member uses. A classic group is
 * GROUP_ID_NOT_FOUND, as in Kafka: tools ask DescribeGroups then.
 *
 * Not done: authorisation (every operation is answered as allowed).
 */
import type { ConsumerGroupDescription, ConsumerMemberDescription } from "../group/consumer/consumer-group-types.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type ConsumerGroupDescribeRequest,
  type ConsumerGroupDescribeResponse,
  consumerGroupDescribeApi,
  type DescribedGroup,
  type Member,
  newAssignment,
  newConsumerGroupDescribeResponse,
  newDescribedGroup,
  newMember,
  newTopicPartitions,
} from "../protocol/messages/consumer-group-describe.ts";
import { GROUP_OPERATIONS, groupErrorCode, isConsumerProtocolServed } from "./group-answers.ts";
import type { SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

const CLASSIC_MEMBER = 0;
const CONSUMER_MEMBER = 1;

export class ConsumerGroupDescribeHandler implements SerialHandler<ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse> {
  readonly kind = "serial";
  readonly api = consumerGroupDescribeApi;
  readonly minVersion = 0;
  readonly maxVersion = 1;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  async handle(request: ConsumerGroupDescribeRequest): Promise<ConsumerGroupDescribeResponse> {
    const groups = await Promise.all(request.groupIds.map((groupId) => this.#describe(groupId)));
    if (request.includeAuthorizedOperations) {
      for (const group of groups) if (group.errorCode === ErrorCodes.NONE) group.authorizedOperations = GROUP_OPERATIONS;
    }
    return newConsumerGroupDescribeResponse({ groups });
  }

  async #describe(groupId: string): Promise<DescribedGroup> {
    if (!isConsumerProtocolServed(this.#services)) return newDescribedGroup({ groupId, errorCode: ErrorCodes.UNSUPPORTED_VERSION });
    if (groupId === "") return newDescribedGroup({ groupId, errorCode: ErrorCodes.INVALID_GROUP_ID });
    const found = await this.#services.groups.describeConsumer(groupId);
    if (found === "other-type") return describeMissing(groupId, `Group ${groupId} is not a consumer group.`);
    if (found === "group-not-found") return describeMissing(groupId, `Group ${groupId} not found.`);
    if (typeof found === "string") return newDescribedGroup({ groupId, errorCode: groupErrorCode(found) });
    return this.#describeFound(found);
  }

  #describeFound(found: ConsumerGroupDescription): DescribedGroup {
    return newDescribedGroup({
      groupId: found.groupId,
      groupState: found.state,
      groupEpoch: found.groupEpoch,
      assignmentEpoch: found.assignmentEpoch,
      assignorName: found.assignor,
      members: found.members.map((member) => this.#describeMember(member)),
    });
  }

  #describeMember(member: ConsumerMemberDescription): Member {
    return newMember({
      memberId: member.memberId,
      instanceId: member.instanceId ?? null,
      rackId: member.rackId ?? null,
      memberEpoch: member.epoch,
      clientId: member.clientId,
      clientHost: member.clientHost,
      subscribedTopicNames: [...member.topics],
      subscribedTopicRegex: member.pattern,
      assignment: this.#describeAssignment(member.assigned),
      targetAssignment: this.#describeAssignment(member.target),
      memberType: member.isClassic ? CLASSIC_MEMBER : CONSUMER_MEMBER,
    });
  }

  /** Topics that are gone are left out: they have no name. */
  #describeAssignment(assignment: ConsumerMemberDescription["assigned"]) {
    const { image } = this.#services.metadata;
    const topicPartitions = [];
    for (const [topicId, partitions] of assignment) {
      const topic = image.getTopicById(topicId);
      if (topic !== undefined) topicPartitions.push(newTopicPartitions({ topicId, topicName: topic.name, partitions: [...partitions] }));
    }
    return newAssignment({ topicPartitions });
  }
}

function describeMissing(groupId: string, errorMessage: string): DescribedGroup {
  return newDescribedGroup({ groupId, errorCode: ErrorCodes.GROUP_ID_NOT_FOUND, errorMessage });
}
