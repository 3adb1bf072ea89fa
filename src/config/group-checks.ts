/**
 * Settings of groups that are right one by one and wrong together: which settings of the broker bound them, and what Kafka's GroupCoordinatorConfig of 4.4 refuses
 * at the start. And the assignors of consumer groups by name. What is wrong with a group's own settings: `setting-errors.ts`.
 */
import { splitList } from "./values.ts";

/** Kafka takes its own classes' names as well. */
const ASSIGNOR_NAMES: ReadonlyMap<string, string> = new Map([
  ["uniform", "uniform"],
  ["range", "range"],
  ["org.apache.kafka.coordinator.group.assignor.UniformAssignor", "uniform"],
  ["org.apache.kafka.coordinator.group.assignor.RangeAssignor", "range"],
]);
const ASSIGNORS = "group.consumer.assignors";

/** Types of groups that have settings. */
export const GROUP_TYPES = ["consumer", "share", "streams"] as const;
type GroupType = (typeof GROUP_TYPES)[number];

/** A setting that a group may have for itself, between two of the broker's, inclusive. */
export interface GroupBound {
  readonly type: GroupType;
  /** The group's own. */
  readonly name: string;
  /** The broker's, for groups that have none of their own. */
  readonly forAll: string;
  readonly least: string;
  readonly most: string;
  /** Whether `forAll` is held to the bounds when the broker starts. */
  readonly isCheckedAtStart: boolean;
}

/** In the order in which they are checked. */
export const GROUP_BOUNDS: readonly GroupBound[] = [
  ...GROUP_TYPES.flatMap((type) =>
    ["heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"].map((rest) => bound(type, rest, true)),
  ),
  ...["record.lock.duration.ms", "delivery.count.limit", "partition.max.record.locks"].map((rest) => bound("share", rest, false)),
];

function bound(type: GroupType, rest: string, isCheckedAtStart: boolean): GroupBound {
  const [least, most] = [`group.${type}.min.${rest}`, `group.${type}.max.${rest}`] as const;
  return { type, name: `${type}.${rest}`, forAll: `group.${type}.${rest}`, least, most, isCheckedAtStart };
}

export interface SettingMistake {
  readonly key: string;
  /** After "KEY must be". */
  readonly expected: string;
}

/** The names of `group.consumer.assignors` in its order, the default one first. */
export function readConsumerAssignors(value: string): readonly string[] {
  return splitList(value).flatMap((name) => ASSIGNOR_NAMES.get(name) ?? []);
}

export function findGroupMistake(get: (name: string) => string): SettingMistake | undefined {
  const names = splitList(get(ASSIGNORS));
  if (
    names.length === 0 ||
    names.some((name) => !ASSIGNOR_NAMES.has(name)) ||
    new Set(readConsumerAssignors(get(ASSIGNORS))).size < names.length
  ) {
    return { key: ASSIGNORS, expected: "a list of uniform, range, each at most once" };
  }
  for (const type of GROUP_TYPES) {
    const mistake = findBoundMistake(type, (name) => Number(get(name)));
    if (mistake !== undefined) return mistake;
  }
  return undefined;
}

function findBoundMistake(type: GroupType, get: (name: string) => number): SettingMistake | undefined {
  for (const { forAll: key, least, most } of GROUP_BOUNDS.filter((each) => each.type === type && each.isCheckedAtStart)) {
    if (get(most) < get(least)) return { key: most, expected: `at least ${least} (${get(least)})` };
    if (get(key) < get(least)) return { key, expected: `at least ${least} (${get(least)})` };
    if (get(key) > get(most)) return { key, expected: `at most ${most} (${get(most)})` };
  }
  const [heartbeat, session] = [`group.${type}.heartbeat.interval.ms`, `group.${type}.session.timeout.ms`] as const;
  return get(heartbeat) < get(session) ? undefined : { key: heartbeat, expected: `less than ${session} (${get(session)})` };
}
