/**
 * Subscriptions by pattern (RE2). Kafka looks at a new pattern in the background, and at a known one again at most every ten seconds: so a group is born, follows
 * one pattern at a time and ends within one run of steps, in which no topic comes.
 */
import type { Choice } from "./choice.ts";
import {
  type Beat,
  beatStep,
  type ConsumerGroupModel,
  type ConsumerMemberModel,
  goesOn,
  groupNamed,
  joins,
  newMember,
  ownedBy,
} from "./consumer-model.ts";
import { describeConsumersStep } from "./consumer-steps.ts";
import type { Model } from "./model.ts";
import type { Step } from "./step.ts";
import { deleteTopicSteps } from "./topic-steps.ts";

const rebalanceTimeoutMs = 600_000;

const invalidPatterns = [
  "(",
  "[",
  "*",
  "a**",
  "x{2,1}",
  "x{1001}",
  "(?=x)",
  "(?<name",
  "(?P<n",
  "\\8",
  "\\pX",
  "a\\",
  "[z-a]",
  "[[:foo:]]",
  "(?z)",
  "\\Qa\\E(",
  "(?i",
  "x{-1}+*",
];

function choosePattern(model: Model, choice: Choice): string {
  const { prefix } = model;
  return choice.pick([
    `${prefix}-t.*`,
    `${prefix}-t1`,
    `${prefix}-t[0-9]+`,
    `${prefix}-(?:t1|absent)`,
    `^${prefix}-t\\d{1,2}$`,
    `(?i)${prefix.toUpperCase()}-T1\\d*`,
    `${prefix}-\\pL\\d+`,
    `${prefix}-nothing.*`,
    `${prefix}-t`,
    `.*${prefix}-t[^1].*|${prefix}-t1`,
  ]);
}

class Follower {
  readonly #model: Model;
  readonly #group: ConsumerGroupModel;
  readonly #member: ConsumerMemberModel;

  constructor(model: Model, choice: Choice, group: ConsumerGroupModel) {
    this.#model = model;
    this.#group = group;
    this.#member = newMember(model, choice, group);
  }

  /** Of a pattern that nobody in the group follows: it is known when the third is answered. */
  meets(pattern: string, epoch: Beat["epoch"], topics: readonly string[] | null): Step[] {
    const isUnderWay = true;
    const settle = [{ kind: "pattern", group: this.#group.name, pattern }] as const;
    return [
      this.#beat({
        ...this.#all,
        epoch,
        pattern,
        topics,
        isUnderWay,
        settle,
        ...(epoch === joins ? { owned: () => [] } : {}),
      }),
      this.#beat({ owned: this.#owned, isUnderWay }),
      this.#beat({ ...this.#all, pattern }),
    ];
  }

  /** Of the pattern that others follow already. */
  joins(pattern: string, topics: readonly string[] | null): Step {
    return this.#beat({ ...this.#all, epoch: joins, pattern, topics, owned: () => [] });
  }

  says(beat: Partial<Beat> = {}): Step {
    return this.#beat({ owned: this.#owned, ...beat });
  }

  leaves(): Step {
    return this.#beat({ epoch: () => -1 });
  }

  get #all(): Partial<Beat> {
    return { rebalanceTimeoutMs, assignor: "range", owned: this.#owned };
  }

  readonly #owned = (bindings: Parameters<NonNullable<Beat["owned"]>>[0]) => ownedBy(this.#member, bindings);

  #beat(beat: Partial<Beat>): Step {
    const { served } = this.#model;
    return beatStep(served.get(68)?.max ?? 1, this.#group, this.#member, { epoch: goesOn, ...beat });
  }
}

export function patternSteps(model: Model, choice: Choice): Step[] {
  const group = groupNamed(model, choice.pick(["pattern-1", "pattern-2"]));
  const pattern = choosePattern(model, choice);
  const first = new Follower(model, choice, group);
  const second = new Follower(model, choice, group);
  const describe = describeConsumersStep(1, [group.name]);
  const round = () => [first.says(), second.says(), first.says(), second.says(), describe];
  const steps = [...first.meets(pattern, joins, choice.mostly<string[] | null>([], [null, [model.topicName(choice)]], 0.6)), describe];
  if (choice.chance(0.3)) steps.push(first.says({ pattern: choice.pick(invalidPatterns) }));
  if (choice.chance(0.2)) steps.push(second.joins(choice.pick(invalidPatterns), []));
  steps.push(second.joins(pattern, choice.mostly<string[] | null>([], [null, [model.topicName(choice)]], 0.6)), ...round());
  if (choice.chance(0.3)) steps.push(...deleteTopicSteps(model, choice), ...round());
  if (choice.chance(0.5)) steps.push(second.says({ pattern: "", topics: [model.topicName(choice)] }), ...round());
  else steps.push(second.leaves(), first.says());
  // One that is new to the group is looked at once the one before is forgotten.
  if (choice.chance(0.6)) {
    steps.push(first.says({ pattern: "", topics: [] }), first.says());
    const next = choosePattern(model, choice);
    steps.push(
      ...first.meets(next, goesOn, choice.mostly<string[] | null>(null, [[model.topicName(choice)]], 0.7)),
      first.says(),
      describe,
    );
  }
  if (choice.chance(0.3)) steps.push(first.says({ pattern: choice.pick(invalidPatterns) }));
  return [...steps, first.leaves(), second.leaves(), describe];
}
