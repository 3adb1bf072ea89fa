/** Members of the consumer protocol that no client makes: ids and names of unusual lengths, names that no topic can have, ids that the server has to make. */
import * as heartbeat from "../../../src/protocol/messages/consumer-group-heartbeat.ts";
import type { Choice } from "./choice.ts";
import { describeConsumersStep } from "./consumer-steps.ts";
import type { Model } from "./model.ts";
import { type Bindings, newStep, type Step } from "./step.ts";

type Request = heartbeat.ConsumerGroupHeartbeatRequest;

/** The last that a record can hold as a string, and one more. */
const longest = 32_767;

function text(model: Model, length: number): string {
  return `${model.next("odd")}-`.padEnd(length, "x");
}

/** One member of a group of its own: joins, is described, beats and leaves. */
function life(model: Model, version: number, change: Partial<Request>): Step[] {
  const groupId = change.groupId ?? model.next("odd");
  const reference = model.reference("odd");
  const idOf = (bindings: Bindings) => change.memberId ?? bindings.string(`id:${reference}`, "");
  const beat = (fields: (bindings: Bindings) => Partial<Request>) =>
    newStep(
      heartbeat,
      heartbeat.consumerGroupHeartbeatApi,
      version,
      (bindings) => heartbeat.newConsumerGroupHeartbeatRequest({ groupId, instanceId: change.instanceId ?? null, ...fields(bindings) }),
      {
        bind: (answer, bindings) => {
          bindings.set(`epoch:${reference}`, answer.memberEpoch);
          if (answer.memberId !== null) bindings.set(`id:${reference}`, answer.memberId);
        },
      },
    );
  const full = { memberEpoch: 0, rebalanceTimeoutMs: 600_000, subscribedTopicNames: [`${model.prefix}-t1`], topicPartitions: [] };
  return [
    beat((bindings) => ({ ...full, ...change, groupId, memberId: idOf(bindings) })),
    beat((bindings) => ({ memberId: idOf(bindings), memberEpoch: bindings.number(`epoch:${reference}`, 1) })),
    describeConsumersStep(1, [groupId]),
    beat((bindings) => ({ memberId: idOf(bindings), memberEpoch: -1 })),
    describeConsumersStep(1, [groupId]),
  ];
}

export function oddMemberSteps(model: Model, choice: Choice): Step[] {
  const version = model.version(68, choice);
  const length = choice.pick([200, 249, 250, 300, longest]);
  const memberId = model.next("odd");
  const changes: Partial<Request>[] = [
    { memberId, groupId: text(model, length) },
    { memberId: text(model, length) },
    { memberId, instanceId: text(model, length) },
    { memberId, rackId: text(model, length) },
    { memberId, subscribedTopicNames: [text(model, length), `${model.prefix}-t1`] },
    { memberId, subscribedTopicNames: ["", ".", "..", "no such name", "ümlaut"] },
    { memberId, subscribedTopicNames: ["__consumer_offsets"] },
    { memberId: ` ${memberId} ` },
    { memberId: "\u0000" },
    { memberId, instanceId: "\u0007 \t" },
    { memberId, rackId: "\u00a0" },
    { memberId, instanceId: "\u2003" },
    { memberId, rebalanceTimeoutMs: 2_147_483_647 },
    { memberId, serverAssignor: text(model, length) },
  ];
  // Before version 1 the server makes an id where there is none.
  if (version === 0) changes.push({}, {}, {});
  return life(model, version, choice.pick(changes));
}
