/** A seed's sequence: a theme decides which requests are frequent, so that states deep in one area are reached. */
import { Choice } from "./choice.ts";
import { alterConfigsSteps, incrementalAlterConfigsSteps } from "./config-steps.ts";
import { withCoordinators } from "./consumer-model.ts";
import { movesSteps } from "./consumer-moves-steps.ts";
import { oddMemberSteps } from "./consumer-odd-steps.ts";
import { patternSteps } from "./consumer-pattern-steps.ts";
import {
  consumerBeatSteps,
  consumerDescribeSteps,
  consumerJoinSteps,
  consumerLeaveSteps,
  consumerRefusedSteps,
  consumerReturnSteps,
  consumerRoundSteps,
} from "./consumer-steps.ts";
import {
  consumerCommitSteps,
  consumerFetchOffsetsSteps,
  consumerOffsetDeleteSteps,
  consumerTransactionSteps,
  deleteConsumerGroupSteps,
  describeAsClassicSteps,
} from "./consumer-tools-steps.ts";
import { uniformSteps } from "./consumer-uniform-steps.ts";
import { fetchSteps, leaderEpochSteps, listOffsetsSteps, readAllSteps, sessionSteps } from "./fetch-steps.ts";
import { alterGroupConfigSteps, describeGroupConfigSteps, listConfigResourcesSteps } from "./group-config-steps.ts";
import {
  deleteGroupsSteps,
  describeGroupsSteps,
  emptySteps,
  findCoordinatorSteps,
  heartbeatSteps,
  joinSteps,
  leaveSteps,
  listGroupsSteps,
  pairSteps,
  syncSteps,
} from "./group-steps.ts";
import { Model, type ServedVersions } from "./model.ts";
import { offsetCommitSteps, offsetDeleteSteps, offsetFetchSteps } from "./offset-steps.ts";
import { duplicateSteps, initProducerIdSteps, produceSteps } from "./produce-steps.ts";
import type { Step } from "./step.ts";
import {
  apiVersionsSteps,
  createPartitionsSteps,
  createTopicSteps,
  deleteTopicSteps,
  describeClusterSteps,
  describeConfigsSteps,
  describeTopicPartitionsSteps,
  firstTopic,
  lastSteps,
  metadataSteps,
  topicAgainSteps,
  unservedSteps,
} from "./topic-steps.ts";
import {
  addOffsetsSteps,
  addPartitionsSteps,
  describeProducersSteps,
  describeTransactionsSteps,
  endTxnSteps,
  initTransactionsSteps,
  listTransactionsSteps,
  transactionalProduceSteps,
  txnOffsetCommitSteps,
  wholeTransactionSteps,
  writeMarkersSteps,
} from "./transaction-steps.ts";
import { deleteRecordsSteps } from "./trim-steps.ts";

type Author = (model: Model, choice: Choice) => Step[];
export type Theme = "log" | "read" | "topics" | "groups" | "consumers" | "transactions" | "mixed";

/** API key that must be served, weights by theme, author. */
interface Kind {
  readonly key: number;
  readonly weights: Readonly<Partial<Record<Theme, number>>>;
  readonly author: Author;
}

const kinds: readonly Kind[] = [
  { key: 0, weights: { log: 30, read: 14, mixed: 14, topics: 3 }, author: produceSteps },
  { key: 0, weights: { log: 2, mixed: 1 }, author: duplicateSteps },
  { key: 22, weights: { log: 4, mixed: 2 }, author: initProducerIdSteps },
  { key: 1, weights: { log: 10, read: 20, mixed: 10 }, author: fetchSteps },
  { key: 1, weights: { log: 2, read: 2, mixed: 1 }, author: readAllSteps },
  { key: 1, weights: { read: 8, mixed: 2, log: 1 }, author: sessionSteps },
  { key: 2, weights: { log: 6, read: 12, mixed: 6 }, author: listOffsetsSteps },
  { key: 23, weights: { log: 1, read: 5, mixed: 2 }, author: leaderEpochSteps },
  { key: 21, weights: { log: 1.5, read: 2.5, mixed: 1 }, author: deleteRecordsSteps },
  { key: 19, weights: { topics: 12, mixed: 3, read: 0.5, log: 1 }, author: createTopicSteps },
  { key: 20, weights: { topics: 6, mixed: 1, read: 0.3 }, author: deleteTopicSteps },
  { key: 37, weights: { topics: 6, mixed: 1, log: 0.5 }, author: createPartitionsSteps },
  { key: 32, weights: { topics: 8, mixed: 2 }, author: describeConfigsSteps },
  { key: 44, weights: { topics: 5, mixed: 0.5 }, author: incrementalAlterConfigsSteps },
  { key: 33, weights: { topics: 2.5, mixed: 0.3 }, author: alterConfigsSteps },
  { key: 3, weights: { topics: 12, mixed: 4, log: 0.5, read: 1 }, author: metadataSteps },
  { key: 75, weights: { topics: 5, mixed: 1 }, author: describeTopicPartitionsSteps },
  { key: 60, weights: { topics: 2, mixed: 0.5 }, author: describeClusterSteps },
  { key: 18, weights: { topics: 2, mixed: 0.5 }, author: apiVersionsSteps },
  { key: 3, weights: { topics: 1, mixed: 0.3 }, author: unservedSteps },
  { key: 11, weights: { groups: 12, mixed: 2 }, author: joinSteps },
  { key: 14, weights: { groups: 12, mixed: 2 }, author: syncSteps },
  { key: 12, weights: { groups: 6, mixed: 1 }, author: heartbeatSteps },
  { key: 13, weights: { groups: 4, mixed: 0.5 }, author: leaveSteps },
  { key: 13, weights: { groups: 3, mixed: 0.5 }, author: emptySteps },
  { key: 11, weights: { groups: 1 }, author: pairSteps },
  { key: 15, weights: { groups: 8, mixed: 1 }, author: describeGroupsSteps },
  { key: 16, weights: { groups: 4, mixed: 0.5 }, author: listGroupsSteps },
  { key: 42, weights: { groups: 3, mixed: 0.5 }, author: deleteGroupsSteps },
  { key: 10, weights: { groups: 3, mixed: 0.5 }, author: findCoordinatorSteps },
  { key: 8, weights: { groups: 12, mixed: 2 }, author: offsetCommitSteps },
  { key: 9, weights: { groups: 12, mixed: 2 }, author: offsetFetchSteps },
  { key: 47, weights: { groups: 3, mixed: 0.5 }, author: offsetDeleteSteps },
  { key: 19, weights: { groups: 1 }, author: createTopicSteps },
  { key: 20, weights: { groups: 0.4 }, author: deleteTopicSteps },
];

/** Frequent in their own theme only: a transaction that nobody ends holds back the readers of a partition. */
const transactionKinds: readonly Kind[] = [
  { key: 22, weights: { transactions: 8 }, author: initTransactionsSteps },
  { key: 24, weights: { transactions: 4 }, author: addPartitionsSteps },
  { key: 24, weights: { transactions: 12 }, author: transactionalProduceSteps },
  { key: 25, weights: { transactions: 3 }, author: addOffsetsSteps },
  { key: 28, weights: { transactions: 4 }, author: txnOffsetCommitSteps },
  { key: 26, weights: { transactions: 10 }, author: endTxnSteps },
  { key: 26, weights: { transactions: 6 }, author: wholeTransactionSteps },
  { key: 27, weights: { transactions: 1 }, author: writeMarkersSteps },
  { key: 61, weights: { transactions: 4 }, author: describeProducersSteps },
  { key: 65, weights: { transactions: 5 }, author: describeTransactionsSteps },
  { key: 66, weights: { transactions: 2 }, author: listTransactionsSteps },
  { key: 1, weights: { transactions: 8 }, author: fetchSteps },
  { key: 1, weights: { transactions: 4 }, author: readAllSteps },
  { key: 2, weights: { transactions: 4 }, author: listOffsetsSteps },
  { key: 9, weights: { transactions: 3 }, author: offsetFetchSteps },
  { key: 8, weights: { transactions: 1 }, author: offsetCommitSteps },
  { key: 0, weights: { transactions: 2 }, author: produceSteps },
  { key: 20, weights: { transactions: 0.3 }, author: deleteTopicSteps },
  { key: 21, weights: { transactions: 0.5 }, author: deleteRecordsSteps },
];

/** Members of the consumer protocol, with all that touches their groups. */
const consumerKinds: readonly Kind[] = [
  { key: 68, weights: { consumers: 10 }, author: consumerJoinSteps },
  { key: 68, weights: { consumers: 14 }, author: consumerBeatSteps },
  { key: 68, weights: { consumers: 8 }, author: consumerRoundSteps },
  { key: 68, weights: { consumers: 4 }, author: consumerLeaveSteps },
  { key: 68, weights: { consumers: 4 }, author: consumerReturnSteps },
  { key: 68, weights: { consumers: 6 }, author: consumerRefusedSteps },
  { key: 69, weights: { consumers: 6 }, author: consumerDescribeSteps },
  { key: 68, weights: { consumers: 2 }, author: patternSteps },
  { key: 68, weights: { consumers: 4 }, author: uniformSteps },
  { key: 68, weights: { consumers: 20 }, author: movesSteps },
  { key: 68, weights: { consumers: 1.5 }, author: oddMemberSteps },
  { key: 8, weights: { consumers: 7 }, author: consumerCommitSteps },
  { key: 9, weights: { consumers: 6 }, author: consumerFetchOffsetsSteps },
  { key: 28, weights: { consumers: 1.5 }, author: consumerTransactionSteps },
  { key: 47, weights: { consumers: 1.5 }, author: consumerOffsetDeleteSteps },
  { key: 42, weights: { consumers: 1.5 }, author: deleteConsumerGroupSteps },
  { key: 15, weights: { consumers: 1.5 }, author: describeAsClassicSteps },
  { key: 16, weights: { consumers: 3 }, author: listGroupsSteps },
  { key: 74, weights: { consumers: 2, topics: 1 }, author: listConfigResourcesSteps },
  { key: 44, weights: { consumers: 2, topics: 0.5 }, author: alterGroupConfigSteps },
  { key: 32, weights: { consumers: 1 }, author: describeGroupConfigSteps },
  { key: 19, weights: { consumers: 1.2 }, author: topicAgainSteps },
  { key: 20, weights: { consumers: 0.8 }, author: deleteTopicSteps },
  { key: 37, weights: { consumers: 1 }, author: createPartitionsSteps },
];

export interface Sequence {
  readonly prefix: string;
  readonly steps: readonly Step[];
}

/** The same for a seed and the versions served; `run` sets the names of a replay apart. `only`: a theme instead of the one that the seed has. */
export function generateSequence(seed: number, requests: number, served: ServedVersions, run: string, only?: Theme): Sequence {
  const choice = new Choice(seed);
  const model = new Model(`s${seed}${run}`, served);
  const steps: Step[] = [...firstTopic(model, choice), ...(choice.chance(0.5) ? firstTopic(model, choice) : [])];
  const chosen = choice.weighted<Theme>([
    [5, "log"],
    [4, "read"],
    [3, "topics"],
    [4, "groups"],
    [model.serves(68) ? 5 : 0, "consumers"],
    [model.serves(26) ? 5 : 0, "transactions"],
    [3, "mixed"],
  ]);
  const theme = only ?? chosen;
  const usable = [...kinds, ...consumerKinds, ...transactionKinds].filter((kind) => model.serves(kind.key));
  const weighted = usable.map((kind) => [kind.weights[theme] ?? 0, kind.author] as const);
  while (steps.length < requests - 1) steps.push(...choice.weighted(weighted)(model, choice));
  steps.push(...lastSteps(model));
  return { prefix: model.prefix, steps: theme === "consumers" ? steps.map((step) => withCoordinators(model, step)) : steps };
}
