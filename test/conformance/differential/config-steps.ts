/**
 * Changes of topics' settings: IncrementalAlterConfigs, AlterConfigs. Only settings that bear on no answer but DescribeConfigs': when a Kafka's log hears of a
 * change is a matter of time.
 */
import * as alterConfigs from "../../../src/protocol/messages/alter-configs.ts";
import * as incremental from "../../../src/protocol/messages/incremental-alter-configs.ts";
import type { Choice } from "./choice.ts";
import type { Model } from "./model.ts";
import { newStep, type Settle, type Step } from "./step.ts";

const topicType = 2;
const values: readonly (readonly [name: string, value: string | null])[] = [
  ["retention.bytes", "1000000000"],
  ["retention.bytes", "-1"],
  ["segment.bytes", "1048576000"],
  ["segment.ms", "86400000"],
  ["delete.retention.ms", "1234"],
  ["file.delete.delay.ms", "2000"],
  ["flush.ms", "5000"],
  ["flush.messages", "10"],
  ["index.interval.bytes", "8192"],
  ["unclean.leader.election.enable", "true"],
  ["preallocate", "false"],
  ["min.cleanable.dirty.ratio", "0.25"],
  ["segment.jitter.ms", "0"],
];
const badValues: readonly (readonly [name: string, value: string | null])[] = [
  ["retention.bytes", "much"],
  ["segment.bytes", "13"],
  ["segment.ms", "0"],
  ["flush.messages", null],
  ["min.cleanable.dirty.ratio", "1.5"],
  ["no.such.setting", "1"],
  ["unclean.leader.election.enable", "perhaps"],
  ["min.compaction.lag.ms", "-1"],
  ["cleanup.policy", "shred"],
];

const operations = { set: 0, delete: 1, append: 2, subtract: 3 } as const;

interface Change {
  readonly name: string;
  readonly value: string | null;
  readonly operation: number;
}

/** None of the settings is a list, to which could be appended. */
function isBad({ name, value, operation }: Change): boolean {
  return operation > operations.delete || badValues.some((bad) => bad[0] === name && bad[1] === value);
}

function chooseChanges(choice: Choice): readonly Change[] {
  const changes = Array.from({ length: choice.between(1, 3) }, (): Change => {
    const [name, value] = choice.chance(0.85) ? choice.pick(values) : choice.pick(badValues);
    return {
      name,
      value,
      operation: choice.mostly<number>(operations.set, [operations.delete, operations.append, operations.subtract], 0.75),
    };
  });
  // Of several bad changes Kafka tells the one that comes first out of a hash map.
  const sound = changes.filter((change) => !isBad(change) || change === changes.find(isBad));
  if (choice.chance(0.05)) return sound;
  return sound.filter((change, index) => sound.findIndex((other) => other.name === change.name) === index);
}

/** Once it is told, nothing else is asked before everybody on that server knows. */
function settleOf(name: string, changes: readonly Change[], isReplacing: boolean): Settle[] {
  return changes.map((change) => {
    const isSet = isReplacing || change.operation === operations.set;
    return { kind: "setting", topic: name, setting: change.name, value: isSet ? change.value : undefined };
  });
}

export function incrementalAlterConfigsSteps(model: Model, choice: Choice): Step[] {
  const resourceName = model.topicName(choice);
  const resourceType = choice.mostly(topicType, [0, 3], 0.98);
  const changes = chooseChanges(choice).filter((change) => resourceType === topicType || !isBad(change));
  const validateOnly = choice.chance(0.15);
  const resource = () =>
    incremental.newAlterConfigsResource({
      resourceType,
      resourceName,
      configs: changes.map(({ name, value, operation }) => incremental.newAlterableConfig({ name, value, configOperation: operation })),
    });
  const isTwice = choice.chance(0.03);
  const request = () =>
    incremental.newIncrementalAlterConfigsRequest({ resources: isTwice ? [resource(), resource()] : [resource()], validateOnly });
  return [
    newStep(incremental, incremental.incrementalAlterConfigsApi, model.version(44, choice), request, {
      settle: (answer) =>
        !validateOnly && answer.responses.every((one) => one.errorCode === 0) ? settleOf(resourceName, changes, false) : [],
    }),
  ];
}

export function alterConfigsSteps(model: Model, choice: Choice): Step[] {
  const resourceName = model.topicName(choice);
  const changes = chooseChanges(choice);
  const validateOnly = choice.chance(0.15);
  // It replaces all of a topic's settings: those that bear on other answers stay as the sequence's author knows them.
  const kept = Object.entries(model.topicOf(resourceName)?.configs ?? {}).filter(([name]) => changes.every((one) => one.name !== name));
  const request = () =>
    alterConfigs.newAlterConfigsRequest({
      validateOnly,
      resources: [
        alterConfigs.newAlterConfigsResource({
          resourceType: topicType,
          resourceName,
          configs: [
            ...changes.map(({ name, value }) => alterConfigs.newAlterableConfig({ name, value })),
            ...kept.map(([name, value]) => alterConfigs.newAlterableConfig({ name, value })),
          ],
        }),
      ],
    });
  return [
    newStep(alterConfigs, alterConfigs.alterConfigsApi, model.version(33, choice), request, {
      settle: (answer) =>
        !validateOnly && answer.responses.every((one) => one.errorCode === 0) ? settleOf(resourceName, changes, true) : [],
    }),
  ];
}
