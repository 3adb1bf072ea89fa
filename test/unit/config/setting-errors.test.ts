/** What is refused of settings that clients send for a broker or a group, and how values are written: as Apache Kafka 4.4 answered the same. */
import { expect, test } from "bun:test";
import { between, findValueError, rewriteSetting } from "../../../src/config/setting-checks.ts";
import { findBrokerConfigError, findGroupConfigError } from "../../../src/config/setting-errors.ts";
import { getEffectiveTopicSetting } from "../../../src/config/topic-settings.ts";
import { fakeConfig } from "../support/fake-config.ts";

test.each([
  ["log.retention.ms=0", "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1"],
  ["log.retention.ms=-7", undefined],
  ["log.roll.ms=0", "requirement failed: log.roll.ms must be greater than or equal to 1"],
  ["log.roll.jitter.ms=-1", "requirement failed: log.roll.jitter.ms must be greater than or equal to 0"],
  ["log.cleaner.dedupe.buffer.size=1048576", "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."],
  ["log.cleaner.dedupe.buffer.size=1048577", undefined],
  [
    "cordoned.log.dirs=x",
    "requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : x",
  ],
  ["cordoned.log.dirs=*,x", "requirement failed: When cordoned.log.dirs is set to *, it must not contain other values"],
  ["cordoned.log.dirs=*", undefined],
])("of a broker %s: %s", (setting, expected) => {
  const [name = "", value = ""] = setting.split("=");
  expect(findBrokerConfigError(fakeConfig(), new Map([[name, value]]), true)).toBe(expected);
});

test.each([
  ["streams.task.offset.interval.ms=14999", "streams.task.offset.interval.ms must be greater than or equal to 15000"],
  ["streams.task.offset.interval.ms=15000", undefined],
  ["streams.num.warmup.replicas=21", "streams.num.warmup.replicas must be less than or equal to 20"],
  ["streams.num.warmup.replicas=20", undefined],
  ["streams.num.standby.replicas=3", "streams.num.standby.replicas must be less than or equal to 2"],
  ["streams.rack.aware.assignment.tags=a, a", "streams.rack.aware.assignment.tags must not contain duplicate tag keys."],
  ["streams.rack.aware.assignment.tags=a,b", undefined],
])("of a group %s: %s", (setting, expected) => {
  const [name = "", value = ""] = setting.split("=");
  expect(findGroupConfigError(fakeConfig({ "group.streams.assignors": "sticky" }), new Map([[name, value]]))).toBe(expected);
});

test("a value is named and described as Java writes what it has parsed", () => {
  const ratio = (text: string) => findValueError("double", "r", text, between(0, 1));
  expect(ratio("2")).toBe("Invalid value 2.0 for configuration r: Value must be no more than 1");
  expect(ratio("-1e10")).toBe("Invalid value -1.0E10 for configuration r: Value must be at least 0");
  const written = [" 5 ", "+5", "1e-4", "-0.5", "TRUE", " a , b"];
  const types = ["int", "long", "double", "double", "boolean", "list"] as const;
  expect(types.map((type, index) => rewriteSetting(type, written[index] ?? ""))).toEqual(["5", "5", "1.0E-4", "-0.5", "true", "a,b"]);
});

test("of security settings only key and trust stores are per listener; the others are told as what they are", () => {
  const errorOf = (name: string, value: string, isForOne = true) => findBrokerConfigError(fakeConfig(), new Map([[name, value]]), isForOne);
  expect(errorOf("ssl.keystore.type", "PEM")).toStartWith("These security configs can be dynamically updated only per-listener");
  expect(errorOf("ssl.client.auth", "x")).toBe(
    "Invalid value x for configuration ssl.client.auth: String must be one of: required, requested, none",
  );
  expect(errorOf("ssl.client.auth", "none", false)).toStartWith("Cannot update these configs at default cluster level");
});

test("a setting that the broker was started with does not stand in the way of others", () => {
  const started = fakeConfig({ "log.cleaner.dedupe.buffer.size": "100", "log.roll.ms": "0" });
  expect(findBrokerConfigError(started, new Map([["log.retention.ms", "5"]]), true)).toBeUndefined();
});

test("a broker's retention below zero is none", () => {
  expect(getEffectiveTopicSetting(fakeConfig({ "log.retention.ms": "-7" }), new Map(), "retention.ms")).toBe("-1");
});
