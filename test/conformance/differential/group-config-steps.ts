/** Settings of groups (IncrementalAlterConfigs and DescribeConfigs of resources of type GROUP), and ListConfigResources. */
import * as describeConfigs from "../../../src/protocol/messages/describe-configs.ts";
import * as incremental from "../../../src/protocol/messages/incremental-alter-configs.ts";
import * as listResources from "../../../src/protocol/messages/list-config-resources.ts";
import type { Choice } from "./choice.ts";
import { chooseConsumerGroup } from "./consumer-model.ts";
import type { Model } from "./model.ts";
import { newStep, type Step } from "./step.ts";

const groupType = 32;
const operations = { set: 0, delete: 1, append: 2, subtract: 3 } as const;

/** None that makes what comes next a matter of time. */
const values: readonly (readonly [name: string, value: string | null])[] = [
  ["consumer.heartbeat.interval.ms", "6000"],
  ["consumer.heartbeat.interval.ms", "15000"],
  ["consumer.heartbeat.interval.ms", "5000"],
  ["consumer.session.timeout.ms", "50000"],
  ["consumer.session.timeout.ms", "3600000"],
  ["consumer.assignment.interval.ms", "0"],
  ["consumer.assignor.offload.enable", "false"],
  ["share.session.timeout.ms", "50000"],
  ["share.isolation.level", "read_committed"],
  ["share.auto.offset.reset", "earliest"],
  ["streams.heartbeat.interval.ms", "6000"],
  ["streams.num.standby.replicas", "1"],
];
const badValues: readonly (readonly [name: string, value: string | null])[] = [
  ["consumer.heartbeat.interval.ms", "4999"],
  ["consumer.heartbeat.interval.ms", "15001"],
  ["consumer.heartbeat.interval.ms", "0"],
  ["consumer.heartbeat.interval.ms", "often"],
  ["consumer.session.timeout.ms", "44999"],
  ["consumer.session.timeout.ms", "3600001"],
  ["consumer.session.timeout.ms", "-1"],
  ["consumer.assignment.interval.ms", "-1"],
  ["consumer.assignment.interval.ms", "15001"],
  ["consumer.assignor.offload.enable", "perhaps"],
  ["share.isolation.level", "read_all"],
  ["share.auto.offset.reset", "by_duration:soon"],
  ["share.record.lock.duration.ms", "999"],
  ["streams.num.standby.replicas", "-1"],
  ["group.consumer.session.timeout.ms", "50000"],
  ["no.such.setting", "1"],
  ["retention.ms", "1"],
];

export function alterGroupConfigSteps(model: Model, choice: Choice): Step[] {
  const resourceName = choice.mostly(chooseConsumerGroup(model, choice).name, ["", `${model.prefix}-no-group`], 0.95);
  const isBad = choice.chance(0.3);
  const [name, value] = isBad ? choice.pick(badValues) : choice.pick(values);
  const changes = [{ name, value, configOperation: choice.mostly<number>(operations.set, [operations.delete, operations.append], 0.85) }];
  const [otherName, otherValue] = choice.pick(values);
  if (choice.chance(0.25) && otherName !== name) changes.push({ name: otherName, value: otherValue, configOperation: operations.set });
  const validateOnly = choice.chance(0.15);
  const request = () =>
    incremental.newIncrementalAlterConfigsRequest({
      validateOnly,
      resources: [
        incremental.newAlterConfigsResource({
          resourceType: groupType,
          resourceName,
          configs: changes.map((change) => incremental.newAlterableConfig(change)),
        }),
      ],
    });
  return [
    newStep(incremental, incremental.incrementalAlterConfigsApi, model.version(44, choice), request, {
      settle: (answer) =>
        !validateOnly && answer.responses.every((one) => one.errorCode === 0)
          ? [{ kind: "group-settings", probe: `probe-${model.prefix}` }]
          : [],
    }),
    ...(choice.chance(0.5) ? describeGroupConfigSteps(model, choice) : []),
  ];
}

export function describeGroupConfigSteps(model: Model, choice: Choice): Step[] {
  const resourceName = choice.mostly(chooseConsumerGroup(model, choice).name, ["", `${model.prefix}-no-group`], 0.92);
  const configurationKeys = choice.mostly<string[] | null>(null, [["consumer.heartbeat.interval.ms", "no.such.setting"], []], 0.8);
  const resource = () => describeConfigs.newDescribeConfigsResource({ resourceType: groupType, resourceName, configurationKeys });
  const [includeSynonyms, includeDocumentation] = [choice.chance(0.5), choice.chance(0.3)];
  const request = () => describeConfigs.newDescribeConfigsRequest({ resources: [resource()], includeSynonyms, includeDocumentation });
  return [newStep(describeConfigs, describeConfigs.describeConfigsApi, model.version(32, choice), request)];
}

export function listConfigResourcesSteps(model: Model, choice: Choice): Step[] {
  const version = model.version(74, choice);
  const resourceTypes = choice.weighted<number[]>([
    [2, []],
    [4, [groupType]],
    [2, [2, groupType]],
    [1, [4, 8, 2]],
    [0.7, [16]],
    [0.7, [groupType, groupType]],
    [0.5, [0]],
    [0.5, [99]],
    [0.5, [groupType, 1]],
  ]);
  const request = () => listResources.newListConfigResourcesRequest({ resourceTypes: version >= 1 ? resourceTypes : [] });
  return [newStep(listResources, listResources.listConfigResourcesApi, version, request)];
}
