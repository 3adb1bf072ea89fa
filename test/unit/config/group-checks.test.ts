import { expect, test } from "bun:test";
import { findGroupMistake, GROUP_BOUNDS } from "../../../src/config/group-checks.ts";
import { KAFKA_GROUP_SETTINGS } from "../../../src/config/kafka-group-settings.ts";
import { SETTINGS } from "../../../src/config/settings.ts";

test("every bound is of a setting that groups have, by settings that brokers have", () => {
  const synonyms = new Map(KAFKA_GROUP_SETTINGS.map(({ name, synonym }) => [name, synonym]));
  for (const { name, forAll, least, most } of GROUP_BOUNDS) {
    expect([name, synonyms.get(name)]).toEqual([name, forAll]);
    for (const key of [forAll, least, most]) expect([key, SETTINGS.has(key)]).toEqual([key, true]);
  }
});

test.each([
  [
    "group.share.heartbeat.interval.ms",
    "at least group.share.min.heartbeat.interval.ms (5000)",
    { "group.share.heartbeat.interval.ms": "4999" },
  ],
  [
    "group.consumer.session.timeout.ms",
    "at most group.consumer.max.session.timeout.ms (60000)",
    { "group.consumer.session.timeout.ms": "60001" },
  ],
  [
    "group.streams.max.assignment.interval.ms",
    "at least group.streams.min.assignment.interval.ms (500)",
    { "group.streams.min.assignment.interval.ms": "500", "group.streams.max.assignment.interval.ms": "499" },
  ],
  [
    "group.share.heartbeat.interval.ms",
    "less than group.share.session.timeout.ms (45000)",
    { "group.share.max.heartbeat.interval.ms": "50000", "group.share.heartbeat.interval.ms": "45000" },
  ],
])("%s must be %s", (key, expected, set: Readonly<Record<string, string>>) => {
  expect(findGroupMistake((name) => set[name] ?? SETTINGS.get(name)?.default ?? "")).toEqual({ key, expected });
});

test("the defaults are right together; of share groups, locks and deliveries are not held to their bounds at the start", () => {
  const mistakeWith = (set: Readonly<Record<string, string>>) => findGroupMistake((name) => set[name] ?? SETTINGS.get(name)?.default ?? "");
  expect(mistakeWith({})).toBeUndefined();
  expect(mistakeWith({ "group.share.delivery.count.limit": "1000000" })).toBeUndefined();
});
