/**
 * Settings of groups that are right one by one and wrong together: what Kafka's GroupCoordinatorConfig of 4.4 refuses at the start. And the assignors of consumer
 * groups by name.
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
  for (const type of ["consumer", "share", "streams"]) {
    const mistake = findBoundMistake(type, (name) => Number(get(name)));
    if (mistake !== undefined) return mistake;
  }
  return undefined;
}

function findBoundMistake(type: string, get: (name: string) => number): SettingMistake | undefined {
  for (const rest of ["heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"]) {
    const [key, least, most] = [`group.${type}.${rest}`, `group.${type}.min.${rest}`, `group.${type}.max.${rest}`] as const;
    if (get(most) < get(least)) return { key: most, expected: `at least ${least} (${get(least)})` };
    if (get(key) < get(least)) return { key, expected: `at least ${least} (${get(least)})` };
    if (get(key) > get(most)) return { key, expected: `at most ${most} (${get(most)})` };
  }
  const [heartbeat, session] = [`group.${type}.heartbeat.interval.ms`, `group.${type}.session.timeout.ms`] as const;
  return get(heartbeat) < get(session) ? undefined : { key: heartbeat, expected: `less than ${session} (${get(session)})` };
}
